// SPDX-License-Identifier: AGPL-3.0-only
//! Plain thresholds: a busy link, and a neighbor that becomes silent.

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use serde_json::Value;

use crate::common::lab::{can_run, wait_for};
use crate::common::traffic::{Other, meanwhile};
use crate::floods::{ethernet, flood, spoofed};
use crate::network::{HOST, Network, TOOLS};

/// 700 packets with 800 bytes of payload a second: 4,715,200 bit/s of frames.
const PACKETS: u64 = 700;
const PLAIN: &str = "[[agent.guard.threshold]]\ninterface = \"wan0\"\nabove_bits = 4_000_000\nfor = \"2s\"\n\
     [[agent.guard.threshold]]\nprefix = \"192.0.2.7\"\nabove_packets = 2_000\nfor = \"1s\"\n\
     [[agent.guard.threshold]]\npeer_asn = 64500\nbelow_packets = 300\nfor = \"2s\"\n";

/// Returns the last event about a kind, as target and name of the event.
fn last(events: &[Value], kind: &str) -> Option<(String, String)> {
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    let event = events
        .iter()
        .rfind(|event| event["attack"]["kind"] == kind)?;
    Some((text(&event["attack"]["target"]), text(&event["event"])))
}

#[test]
fn a_busy_link_and_a_silent_neighbor_raise_alarms() {
    if !can_run(&TOOLS) {
        return;
    }
    let network = Network::new();
    let agent = network.agent_with("drop", PLAIN);
    let is = |kind: &str, target: &str, step: &str| {
        let limit = Duration::from_secs(15);
        let expected = (target.to_owned(), step.to_owned());
        let reached = wait_for(limit, || {
            last(&network.events(), kind).as_ref() == Some(&expected)
        });
        assert!(reached, "{kind} {step}: {:#?}", network.events());
    };
    // nothing has arrived yet
    is("below_packets", "AS64500", "alarm");
    let sent = AtomicU64::new(0);
    let frame = |n: u64| {
        let frame = ethernet().ipv4(spoofed(n % 100), HOST).udp();
        frame.ports(5_000, 5_001).payload(800).build()
    };
    let sender: Other<'_> = &|stop| flood(&network.outside, PACKETS, &frame, &sent, stop);
    meanwhile(&[sender], || {
        is("above_bits", "wan0", "alarm");
        is("below_packets", "AS64500", "end");
        let guard = network.guard();
        let active = guard["active"].as_array().expect("a list");
        let [link] = &active[..] else {
            panic!("{guard:#}")
        };
        let bits = link["bits_per_second"].as_f64().expect("a number");
        let expected = (PACKETS * 8 * (800 + 28 + 14)) as f64;
        assert!(
            (bits / expected - 1.0).abs() < 0.2,
            "{bits}, not {expected}"
        );
        assert_eq!(link["action"], "alert");
        let metrics = agent.scrape();
        let count = |kind: &str| {
            let labels = [("kind", kind), ("action", "alert")];
            metrics.sum("rfm_guard_attacks_total", &labels)
        };
        assert_eq!((count("above_bits"), count("below_packets")), (1, 1));
        assert_eq!(metrics.sum("rfm_problems", &[("kind", "attack")]), 1);
    });
    is("above_bits", "wan0", "end");
    is("below_packets", "AS64500", "alarm");
    assert_eq!(last(&network.events(), "above_packets"), None);
    agent.stop();
}
