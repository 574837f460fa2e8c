// SPDX-License-Identifier: AGPL-3.0-only
//! `rfm firewall list` and `rfm firewall stats`

use std::time::SystemTime;

use super::flows::end;
use crate::client::format::{self, plural, until};
use crate::client::table::{Align, TextTable};
use crate::control::api;
use crate::types::protocol::Protocol;
use crate::types::rule::PartRole;

/// `hidden` rules of the allow list are not in the list.
pub fn firewall_rules(list: &api::FirewallRules, hidden: usize) -> String {
    let note = match hidden {
        0 => String::new(),
        n => format!(
            "{} of the allow list, listed with --all\n",
            plural(n as u64, "rule")
        ),
    };
    if list.rules.is_empty() {
        return format!("no rules\n{note}");
    }
    let now = SystemTime::now();
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
            listed
                .expires
                .as_deref()
                .map_or_else(String::new, |time| until(time, now)),
            listed.packets.to_string(),
            format::bytes(listed.bytes),
            text(&dropped),
        ]);
        table.row(row);
    }
    table.render() + &note
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

/// Formats the dropped flows, summed by interface, protocol, source and destination. They are estimated from samples: a
/// few samples give a rough estimate.
fn dropped_flows(flows: &[api::FirewallFlow]) -> String {
    let mut sums: Vec<(api::FirewallFlow, u64)> = Vec::new();
    for flow in flows {
        let same = |sum: &&mut (api::FirewallFlow, u64)| {
            let (sum, _) = sum;
            (&sum.interface, sum.protocol, &sum.src, &sum.dst)
                == (&flow.interface, flow.protocol, &flow.src, &flow.dst)
        };
        match sums.iter_mut().find(same) {
            Some((sum, flows)) => {
                sum.packets += flow.packets;
                sum.bytes += flow.bytes;
                sum.sampled_packets += flow.sampled_packets;
                *flows += 1;
            }
            None => sums.push((flow.clone(), 1)),
        }
    }
    if sums.is_empty() {
        return String::new();
    }
    sums.sort_by_key(|(sum, _)| std::cmp::Reverse(sum.bytes));
    let mut table = TextTable::new(&[
        ("INTERFACE", Align::Left),
        ("PROTO", Align::Left),
        ("SOURCE", Align::Left),
        ("DESTINATION", Align::Left),
        ("FLOWS", Align::Right),
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
    for (flow, flows) in &sums {
        // one flow has its ports
        let has_ports = *flows == 1 && Protocol(flow.protocol).has_ports();
        table.row([
            flow.interface.clone(),
            Protocol(flow.protocol).to_string(),
            end(&flow.src, flow.src_port, has_ports),
            end(&flow.dst, flow.dst_port, has_ports),
            flows.to_string(),
            packets(flow),
            format::bytes(flow.bytes),
        ]);
    }
    format!(
        "\ndropped in the last 5 seconds, estimated:\n{}",
        table.render()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flow(src: &str, src_port: u16, packets: u64) -> api::FirewallFlow {
        api::FirewallFlow {
            interface: "wan0".into(),
            protocol: 17,
            src: src.into(),
            dst: "192.0.2.1".into(),
            src_port,
            dst_port: 53,
            vlan: 0,
            packets,
            bytes: packets * 100,
            sampled_packets: packets / 100,
            sample_rate: 100,
            last: String::new(),
        }
    }

    #[test]
    fn dropped_flows_are_summed_by_source_and_destination() {
        let flows = [
            flow("198.51.100.7", 1, 1000),
            flow("203.0.113.9", 5, 4000),
            flow("198.51.100.7", 2, 2000),
            flow("198.51.100.7", 3, 3000),
        ];
        let text = dropped_flows(&flows);
        let lines: Vec<Vec<&str>> = text
            .lines()
            .map(|line| line.split_whitespace().collect())
            .collect();
        // the blank line, the title, the header, and a line for each pair
        assert_eq!(lines.len(), 5, "{text}");
        assert_eq!(
            lines[3][..5],
            ["wan0", "udp", "198.51.100.7", "192.0.2.1", "3"],
            "{text}"
        );
        assert_eq!(lines[3].last(), Some(&"kB"), "{text}");
        assert!(text.contains("600"), "{text}");
        // one flow has its ports
        assert_eq!(
            lines[4][..5],
            ["wan0", "udp", "203.0.113.9:5", "192.0.2.1:53", "1"],
            "{text}"
        );
    }
}
