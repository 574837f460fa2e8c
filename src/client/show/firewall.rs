// SPDX-License-Identifier: AGPL-3.0-only
//! `rfm firewall list` and `rfm firewall stats`

use crate::client::table::{Align, Table};
use crate::client::units;
use crate::control::api;

pub fn firewall_rules(list: &api::FirewallRules) -> String {
    if list.rules.is_empty() {
        return "no rules\n".into();
    }
    let mut table = Table::new(&[
        ("ID", Align::Right),
        ("FROM", Align::Left),
        ("ACTION", Align::Left),
        ("RATE", Align::Right),
        ("SRC", Align::Left),
        ("DST", Align::Left),
        ("PROTO", Align::Left),
        ("SPORT", Align::Left),
        ("DPORT", Align::Left),
        ("INTERFACE", Align::Left),
        ("EXPIRES", Align::Left),
        ("PACKETS", Align::Right),
        ("BYTES", Align::Right),
        ("DROPPED", Align::Right),
    ]);
    for listed in &list.rules {
        let rule = &listed.rule;
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        let is_limit = rule.rate.is_some();
        let per = rule.per.as_ref();
        let per = per.map_or_else(String::new, |whom| format!(" a {whom}"));
        table.row([
            listed.id.to_string(),
            listed.origin.clone(),
            text(&rule.action),
            rule.rate
                .map_or_else(String::new, |rate| format!("{rate}/s{per}")),
            text(&rule.src),
            text(&rule.dst),
            text(&rule.proto),
            text(&listed.sport),
            text(&rule.dport),
            text(&rule.interface),
            text(&listed.expires),
            listed.packets.to_string(),
            units::bytes(listed.bytes),
            match is_limit {
                true => listed.dropped_packets.to_string(),
                false => String::new(),
            },
        ]);
    }
    table.render()
}

pub fn firewall(firewall: &api::Firewall) -> String {
    let rules = &firewall.rules;
    let mut text = format!(
        "rules: {} allow, {} runtime, {} config, {} blackhole\n\n",
        rules.allow, rules.runtime, rules.config, rules.blackhole
    );
    let mut interfaces = Table::new(&[
        ("INTERFACE", Align::Left),
        ("MODE", Align::Left),
        ("PROBLEM", Align::Left),
    ]);
    for interface in &firewall.interfaces {
        let problem = interface.problem.clone().unwrap_or_default();
        interfaces.row([interface.name.clone(), interface.mode.clone(), problem]);
    }
    text += &match firewall.interfaces.is_empty() {
        true => "no interface matches agent.firewall.interfaces\n".to_owned(),
        false => interfaces.render(),
    };
    let mut series = Table::new(&[
        ("RULE", Align::Left),
        ("ACTION", Align::Left),
        ("PACKETS", Align::Right),
        ("BYTES", Align::Right),
    ]);
    for one in &firewall.series {
        series.row([
            one.rule.clone(),
            one.action.clone(),
            one.packets.to_string(),
            units::bytes(one.bytes),
        ]);
    }
    if !firewall.series.is_empty() {
        text.push('\n');
        text += &series.render();
    }
    if firewall.new_sources > 0 {
        text += &format!("\nnew sources of limits: {}\n", firewall.new_sources);
    }
    text + &dropped_flows(&firewall.dropped_flows)
}

/// From samples: rough where there are few.
fn dropped_flows(flows: &[api::FirewallFlow]) -> String {
    if flows.is_empty() {
        return String::new();
    }
    let mut table = Table::new(&[
        ("INTERFACE", Align::Left),
        ("PROTO", Align::Right),
        ("SOURCE", Align::Left),
        ("DESTINATION", Align::Left),
        ("PACKETS", Align::Right),
        ("BYTES", Align::Right),
    ]);
    let packets = |flow: &api::FirewallFlow| {
        let packets = units::count(flow.packets as f64);
        match units::uncertainty(flow.sample_rate, flow.sampled_packets) {
            Some(percent) => format!("{packets} ±{percent}%"),
            None => packets,
        }
    };
    for flow in flows {
        table.row([
            flow.interface.clone(),
            flow.protocol.to_string(),
            format!("{} {}", flow.src, flow.src_port),
            format!("{} {}", flow.dst, flow.dst_port),
            packets(flow),
            units::bytes(flow.bytes),
        ]);
    }
    format!(
        "\ndropped in the last 5 seconds, estimated:\n{}",
        table.render()
    )
}
