// SPDX-License-Identifier: AGPL-3.0-only
//! `rfm guard list`, `show` and `watch`

use std::time::SystemTime;

use crate::client::format::{self, until};
use crate::client::table::{Align, TextTable};
use crate::control::api::{GuardAttack, GuardEvent, GuardReply};
use crate::guard::links::FULL;
use crate::types::protocol::Protocol;

pub fn guard(reply: &GuardReply) -> String {
    let mut text = format!(
        "mode {}, action {}, protecting {}\n",
        reply.mode,
        reply.action,
        reply.protect.join(", ")
    );
    if !reply.allowed.is_empty() {
        text += &format!("no rules for {}\n", reply.allowed.join(", "));
    }
    if reply.active.is_empty() && reply.ended.is_empty() {
        return text + "no attacks\n";
    }
    let mut table = TextTable::new(&[
        ("ID", Align::Right),
        ("STATE", Align::Left),
        ("TARGET", Align::Left),
        ("DIR", Align::Left),
        ("KIND", Align::Left),
        ("PEAK/S", Align::Right),
        ("ACTION", Align::Left),
        ("MATCHED", Align::Right),
        ("BEGAN", Align::Left),
        ("SIGNATURE", Align::Left),
    ]);
    for attack in reply.active.iter().chain(&reply.ended) {
        let state = if attack.ended.is_none() {
            "active"
        } else {
            "ended"
        };
        table.row([
            attack.id.to_string(),
            state.to_owned(),
            attack.target.clone(),
            attack.direction.clone(),
            attack.kind.clone(),
            format!("{:.0}", value(attack)),
            action(attack),
            attack.matched_packets.to_string(),
            attack.began.clone(),
            attack.signature.clone().unwrap_or_else(|| "none".into()),
        ]);
    }
    text + &table.render()
}

/// Returns the value of the quantity that exceeds its threshold.
fn value(attack: &GuardAttack) -> f64 {
    match attack.kind.as_str() {
        "bits" | "above_bits" | "below_bits" => attack.bits_per_second,
        "new_flows" => attack.new_flows_per_second,
        "syn" => attack.syn_per_second,
        "fragments" => attack.fragments_per_second,
        _ => attack.packets_per_second,
    }
}

fn action(attack: &GuardAttack) -> String {
    let was_in_force = attack.in_force || attack.matched_packets > 0;
    match was_in_force || attack.action == "alert" {
        true => attack.action.clone(),
        false => format!("alert ({} proposed)", attack.action),
    }
}

/// Describes an event in one line.
pub fn event(event: &GuardEvent) -> String {
    let attack = &event.attack;
    let signature = attack.signature.as_deref().unwrap_or("none");
    format!(
        "{} {} attack {} on {}, direction {}: {:.0} {}/s, signature: {signature}; {}: {}",
        event.time,
        event.event,
        attack.id,
        attack.target,
        attack.direction,
        value(attack),
        attack.kind,
        action(attack),
        attack.reason
    )
}

pub fn attack(attack: &GuardAttack) -> String {
    let mut text = format!(
        "attack {} on {}, direction {}\n",
        attack.id, attack.target, attack.direction
    );
    let mut line = |name: &str, value: String| text += &format!("{name:<12}{value}\n");
    line(
        "kind",
        format!("{}, threshold {}/s", attack.kind, attack.threshold),
    );
    line(
        "peak",
        format!(
            "{} packets/s, {} bit/s, {} new flows/s, {} SYN/s, {} fragments/s",
            attack.packets_per_second,
            attack.bits_per_second,
            attack.new_flows_per_second,
            attack.syn_per_second,
            attack.fragments_per_second
        ),
    );
    line("began", attack.began.clone());
    line("alarm", attack.alarm.clone());
    if let Some(ended) = &attack.ended {
        line("ended", ended.clone());
    }
    let share = attack.share.unwrap_or_default() * 100.0;
    line(
        "signature",
        match &attack.signature {
            Some(signature) => format!("{signature} ({share:.0} % of the excess)"),
            None => "none".to_owned(),
        },
    );
    line("action", format!("{}: {}", action(attack), attack.reason));
    if let Some(problem) = &attack.problem {
        line("problem", problem.clone());
    }
    if let Some(pcap) = &attack.pcap {
        line("packets", pcap.clone());
    }
    if let Some(expires) = &attack.expires {
        line("expires", until(expires, SystemTime::now()));
    }
    line(
        "matched",
        format!(
            "{} packets, {}",
            attack.matched_packets,
            format::bytes(attack.matched_bytes)
        ),
    );
    for rule in &attack.rules {
        let words = rule.args();
        let options = words
            .iter()
            .filter_map(|(part, value)| Some((part.option, value?)));
        let options: Vec<_> = options
            .map(|(name, value)| format!("--{name} {value}"))
            .collect();
        line("rule", options.join(" "));
    }
    line(
        "sources",
        format!("{} in the sample", attack.sampled_sources),
    );
    if !attack.countries.is_empty() {
        line("countries", attack.countries.join(", "));
    }
    if !attack.peer_asns.is_empty() {
        let asns = attack.peer_asns.iter().map(|asn| format!("AS{asn}"));
        line("neighbors", asns.collect::<Vec<_>>().join(", "));
    }
    if let Some(interface) = &attack.interface {
        let load = attack.link_bits_per_second.zip(attack.link_speed);
        let load = load.map_or_else(String::new, |(rate, speed)| {
            format!(", {rate} of {speed} bit/s")
        });
        let full = match attack.link_full {
            true => format!("; the link is full: {FULL}"),
            false => String::new(),
        };
        line("interface", format!("{interface}{load}{full}"));
    }
    for flow in &attack.flows {
        line(
            "flow",
            format!(
                "{} {} port {} to {} port {}: {} packets, {}",
                Protocol(flow.protocol),
                flow.src,
                flow.src_port,
                flow.dst,
                flow.dst_port,
                flow.packets,
                format::bytes(flow.bytes)
            ),
        );
    }
    text
}
