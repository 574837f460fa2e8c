// SPDX-License-Identifier: AGPL-3.0-only
//! An agent with a firewall on `v1`, and packets that come to it from `v0`. What gets past it the agent
//! counts behind it, as any packet.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use crate::common::agent::Agent;
use crate::common::cases::{DST_MAC, SRC_MAC};
use crate::common::frames::Frame;
use crate::common::lab::Lab;
use crate::common::metrics::Metrics;
use crate::common::packet::Sender;
use crate::harness::{Fixture, Folder, config};

pub const TOOLS: [&str; 2] = ["ip", "sysctl"];
pub const LIMIT: Duration = Duration::from_secs(10);

/// To an address that is nobody's here: own ones always pass.
pub const TO: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 9);

/// `[agent.firewall]` on `v1`; `more` begins inside it.
pub fn section(more: &str) -> String {
    format!("[agent.firewall]\nenabled = true\ninterfaces = [\"v1\"]\n{more}\n")
}

/// The whole file of an agent that has this.
pub fn file(folder: &Folder, more: &str) -> String {
    config(folder, "[\"v1\"]", 1, &section(more))
}

/// Started, and the firewall attached.
pub fn guarded(more: &str) -> Fixture {
    let fixture = Fixture::new(&section(more));
    attached(&fixture.agent);
    fixture
}

/// As [`guarded`], on a wire that is there already.
pub fn agent_on(lab: &Lab, namespace: &crate::common::lab::Namespace, text: &str) -> Agent {
    let agent = Agent::start(lab, namespace, text);
    attached(&agent);
    agent
}

pub fn attached(agent: &Agent) {
    let on = |m: &Metrics| m.sum("rfm_firewall_interfaces", &[]) == 1;
    let well = |m: &Metrics| on(m) && m.sum("rfm_firewall_interfaces", &[("mode", "none")]) == 0;
    assert!(agent.scrape_until(LIMIT, well).1, "{}", agent.log());
}

/// A UDP packet to port 53 of [`TO`], or of an address of the same family.
pub fn packet(from: &str) -> Vec<u8> {
    to_port(from, 53)
}

pub fn to_port(from: &str, port: u16) -> Vec<u8> {
    let frame = Frame::ethernet(SRC_MAC, DST_MAC);
    let frame = match from.parse().expect("an address") {
        IpAddr::V4(from) => frame.ipv4(from, TO),
        IpAddr::V6(from) => frame.ipv6(from, "2001:db8:9::9".parse().expect("an address")),
    };
    frame.udp().ports(40_000, port).payload(20).build()
}

/// So many of this, out of `v0`.
pub fn send(fixture: &Fixture, frame: &[u8], count: u64) {
    fixture.namespace.inside(|| {
        let sender = Sender::new("v0").expect("a packet socket");
        for _ in 0..count {
            sender.send(frame, 0).expect("sent");
        }
    });
}

/// Packets that got past the firewall.
pub fn past(metrics: &Metrics) -> u64 {
    metrics.sum("rfm_interface_rx_packets_total", &[("ifname", "v1")])
}

pub fn matched(metrics: &Metrics, rule: &str, action: &str) -> u64 {
    let labels = [("rule", rule), ("action", action)];
    metrics.sum("rfm_firewall_packets_total", &labels)
}

/// How many of `count` packets get past; the others are dropped, by whatever rule.
pub fn passed(fixture: &Fixture, frame: &[u8], count: u64) -> u64 {
    let dropped = |m: &Metrics| m.sum("rfm_firewall_packets_total", &[("action", "drop")]);
    let sum = |m: &Metrics| past(m) + dropped(m);
    let before = fixture.agent.scrape();
    send(fixture, frame, count);
    let all = |m: &Metrics| sum(m) == sum(&before) + count;
    let (after, reached) = fixture.agent.scrape_until(LIMIT, all);
    let (was, is) = (sum(&before), sum(&after));
    assert!(
        reached,
        "{was} and {count} more are not {is}\n{}",
        fixture.agent.log()
    );
    past(&after) - past(&before)
}

/// The number that `rfm firewall add` printed.
pub fn add(fixture: &Fixture, words: &str) -> u32 {
    let said = fixture.rfm(&format!("firewall add {words}"));
    let id = said
        .trim()
        .strip_prefix("rule ")
        .and_then(|id| id.parse().ok());
    id.unwrap_or_else(|| panic!("{words}: {said}"))
}
