// SPDX-License-Identifier: AGPL-3.0-only
//! `rfm firewall list` and `rfm firewall stats`

use std::time::SystemTime;

use super::flows::end;
use crate::client::format::{self, Estimate, plural, until};
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
    // a column for each condition that some rule has
    let all: Vec<_> = list
        .rules
        .iter()
        .map(|listed| conditions(&listed.rule))
        .collect();
    let names = conditions(&api::FirewallRule::default())
        .into_iter()
        .enumerate();
    let shown: Vec<(usize, &str)> = names
        .filter(|(at, _)| all.iter().any(|values| !values[*at].1.is_empty()))
        .map(|(at, (name, _))| (at, name))
        .collect();
    let name =
        |(_, name): &(usize, &str)| (name.to_ascii_uppercase().replace('_', "-"), Align::Left);
    headings.extend(shown.iter().map(name));
    headings.extend(columns(&["EXPIRES"], Align::Left));
    headings.extend(columns(&["PACKETS", "BYTES", "DROPPED"], Align::Right));
    let mut table = TextTable::new(&headings);
    for (listed, values) in list.rules.iter().zip(&all) {
        let rule = &listed.rule;
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        let per = rule.per.as_ref();
        let per = per.map_or_else(String::new, |scope| format!(" a {scope}"));
        let rate = rule.rate.as_ref().map(|rate| format!("{rate}/s{per}"));
        let dropped = rule
            .rate
            .as_ref()
            .map(|_| listed.dropped_packets.to_string());
        let mut row = vec![
            listed.id.to_string(),
            listed.origin.clone(),
            text(&rule.action),
            text(&rate),
        ];
        row.extend(shown.iter().map(|(at, _)| values[*at].1.clone()));
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

/// Returns the values of the conditions of a rule, each with the name of its part.
fn conditions(rule: &api::FirewallRule) -> Vec<(&'static str, String)> {
    let args = rule.args();
    let conditions = args.iter().filter(|(part, _)| part.role == PartRole::Match);
    conditions
        .map(|(part, value)| (part.name, value.unwrap_or_default().to_owned()))
        .collect()
}

pub fn firewall(firewall: &api::FirewallStatus) -> String {
    let rules = &firewall.rules;
    let mut text = format!(
        "rules: {} allow, {} runtime, {} config, {} guard, {} blackhole, {} source-check\n\n",
        rules.allow, rules.runtime, rules.config, rules.guard, rules.blackhole, rules.source_check
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
        match Estimate::from(flow).error() {
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
