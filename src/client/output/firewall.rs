// SPDX-License-Identifier: AGPL-3.0-only
//! `rfm firewall list` and `rfm firewall stats`

use crate::client::format;
use crate::client::table::{Align, TextTable};
use crate::control::api;
use crate::types::rule::PartRole;

pub fn firewall_rules(list: &api::FirewallRules) -> String {
    if list.rules.is_empty() {
        return "no rules\n".into();
    }
    let columns = |names: &[&str], align| {
        let column = |name: &&str| (name.to_string(), align);
        names.iter().map(column).collect::<Vec<_>>()
    };
    let mut headings = columns(&["ID"], Align::Right);
    headings.extend(columns(&["FROM", "ACTION"], Align::Left));
    headings.extend(columns(&["RATE"], Align::Right));
    headings.extend(
        conditions(&api::FirewallRule::default(), None).map(|(name, _)| (name, Align::Left)),
    );
    headings.extend(columns(&["EXPIRES"], Align::Left));
    headings.extend(columns(&["PACKETS", "BYTES", "DROPPED"], Align::Right));
    let mut table = TextTable::new(&headings);
    for listed in &list.rules {
        let rule = &listed.rule;
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        let per = rule.per.as_ref();
        let per = per.map_or_else(String::new, |scope| format!(" a {scope}"));
        let rate = rule.rate.map(|rate| format!("{rate}/s{per}"));
        let dropped = rule.rate.map(|_| listed.dropped_packets.to_string());
        let mut row = vec![
            listed.id.to_string(),
            listed.origin.clone(),
            text(&rule.action),
            text(&rate),
        ];
        row.extend(conditions(rule, listed.sport.as_deref()).map(|(_, value)| value));
        row.extend([
            text(&listed.expires),
            listed.packets.to_string(),
            format::bytes(listed.bytes),
            text(&dropped),
        ]);
        table.row(row);
    }
    table.render()
}

/// Returns headings and values of the columns with the conditions of a rule. Only rules of the allow list have a
/// source port.
fn conditions(
    rule: &api::FirewallRule,
    sport: Option<&str>,
) -> impl Iterator<Item = (String, String)> {
    let mut columns = Vec::new();
    for (part, value) in rule.args().iter() {
        if part.name == "dport" {
            columns.push(("SPORT".to_owned(), sport.unwrap_or_default().to_owned()));
        }
        if part.role == PartRole::Match {
            columns.push((
                part.name.to_ascii_uppercase(),
                value.unwrap_or_default().to_owned(),
            ));
        }
    }
    columns.into_iter()
}

pub fn firewall(firewall: &api::FirewallStatus) -> String {
    let rules = &firewall.rules;
    let mut text = format!(
        "rules: {} allow, {} runtime, {} config, {} blackhole, {} source-check\n\n",
        rules.allow, rules.runtime, rules.config, rules.blackhole, rules.source_check
    );
    let mut interfaces = TextTable::new(&[
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
    let mut series = TextTable::new(&[
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
            format::bytes(one.bytes),
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

/// Formats the dropped flows. They are estimated from samples: a few samples give a rough estimate.
fn dropped_flows(flows: &[api::FirewallFlow]) -> String {
    if flows.is_empty() {
        return String::new();
    }
    let mut table = TextTable::new(&[
        ("INTERFACE", Align::Left),
        ("PROTO", Align::Right),
        ("SOURCE", Align::Left),
        ("DESTINATION", Align::Left),
        ("PACKETS", Align::Right),
        ("BYTES", Align::Right),
    ]);
    let packets = |flow: &api::FirewallFlow| {
        let packets = format::count(flow.packets as f64);
        match format::sampling_error(flow.sample_rate, flow.sampled_packets) {
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
            format::bytes(flow.bytes),
        ]);
    }
    format!(
        "\ndropped in the last 5 seconds, estimated:\n{}",
        table.render()
    )
}
