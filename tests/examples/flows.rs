// SPDX-License-Identifier: AGPL-3.0-only
//! Known flows through the agent to the collector on this machine, and how a store has to tell them.

use std::collections::BTreeMap;
use std::fs;
use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use super::common::agent::{Agent, EXACT, config};
use super::common::cases::{DST_MAC, DST4, DST6, SRC_MAC, SRC4, SRC6};
use super::common::frames::Frame;
use super::common::lab::Namespace;
use super::common::lab::{Lab, wait_for};
use super::common::packet::Sender;

/// "source destination port port protocol" → packets, bytes of IP.
pub type Flows = BTreeMap<String, (u64, u64)>;

pub const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);
/// Flows of either family by either protocol.
const PORTS: std::ops::Range<u16> = 20_000..20_025;
const ETHERNET: u64 = 14;

pub fn example(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("docs/examples")
        .join(name);
    fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// `text` with `old` replaced, which has to be there.
pub fn replaced(text: &str, old: &str, new: &str) -> String {
    assert!(text.contains(old), "no {old:?} in {text}");
    text.replace(old, new)
}

/// Lines of a store's answer: five words that name a flow, packets and bytes.
pub fn parsed(answer: &str) -> Flows {
    let line = |line: &str| {
        let (rest, bytes) = line.rsplit_once(' ').expect("words");
        let (name, packets) = rest.rsplit_once(' ').expect("words");
        let number = |text: &str| text.parse().expect("a number");
        (name.to_owned(), (number(packets), number(bytes)))
    };
    answer.lines().map(line).collect()
}

/// `said` is what there is to read where they differ.
pub fn assert_same(found: &Flows, expected: &Flows, said: &str) {
    let lacking: Vec<_> = expected
        .iter()
        .filter(|flow| found.get(flow.0) != Some(flow.1))
        .collect();
    let first = lacking.first().map(|flow| (flow, found.get(flow.0)));
    assert!(
        lacking.is_empty() && found.len() == expected.len(),
        "{} found, {} of {} lacking or wrong: {first:?}\n{said}",
        found.len(),
        lacking.len(),
        expected.len()
    );
}

/// An agent that exports to this machine's collector sees a hundred flows and ends; what they were.
pub fn export(lab: &Lab, namespace: &Namespace) -> Flows {
    let more = format!("{EXACT}[agent.ipfix]\nhost = \"127.0.0.1\"\nport = 4739\n");
    let agent = Agent::start(lab, namespace, &config(r#"["v0"]"#, &more));
    let sender = namespace.inside(|| Sender::new("v0").expect("a packet socket"));
    let mut flows = Flows::new();
    for port in PORTS {
        for (name, frame, times) in frames(port) {
            for _ in 0..times {
                sender.send(&frame, 0).expect("sent");
            }
            flows.insert(name, (times, times * (frame.len() as u64 - ETHERNET)));
        }
    }
    let packets: u64 = flows.values().map(|flow| flow.0).sum();
    let accounted = wait_for(ANSWER_TIMEOUT, || {
        agent
            .scrape()
            .sum("rfm_collector_accounted_packets_total", &[])
            == packets
    });
    assert!(accounted, "{packets} packets were sent");
    // a clean end exports what lives
    agent.stop();
    flows
}

fn frames(port: u16) -> [(String, Vec<u8>, u64); 4] {
    let ethernet = || Frame::ethernet(SRC_MAC, DST_MAC);
    let (v4, v6) = (ethernet().ipv4(SRC4, DST4), ethernet().ipv6(SRC6, DST6));
    let name = |src: IpAddr, dst: IpAddr, to: u16, protocol: u8| {
        format!("{src} {dst} {port} {to} {protocol}")
    };
    let size = usize::from(port % 100);
    let times = u64::from(port % 5) + 1;
    let udp = |frame: Frame| frame.udp().ports(port, 53).payload(40 + size).build();
    let tcp = |frame: Frame| {
        frame
            .tcp(0x18)
            .ports(port, 443)
            .payload(1000 + size)
            .build()
    };
    [
        (
            name(SRC4.into(), DST4.into(), 53, 17),
            udp(v4.clone()),
            times,
        ),
        (name(SRC4.into(), DST4.into(), 443, 6), tcp(v4), 2 * times),
        (
            name(SRC6.into(), DST6.into(), 53, 17),
            udp(v6.clone()),
            times,
        ),
        (name(SRC6.into(), DST6.into(), 443, 6), tcp(v6), 3 * times),
    ]
}
