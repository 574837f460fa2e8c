// SPDX-License-Identifier: AGPL-3.0-only
//! Flows that were dropped: told from samples, and in no flow series.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::common::agent::Agent;
use crate::common::lab::Lab;
use crate::common::lab::{can_run, wait_for};
use crate::common::packet::Sender;
use crate::fixture::Listener;
use crate::harness::Folder;
use crate::wire::{LIMIT, TOOLS, attached, file, guarded, packet, past, send};

#[test]
fn what_is_dropped_is_told_and_in_no_flow_series() {
    if !can_run(&TOOLS) {
        return;
    }
    const SENT: u64 = 50_000;
    let fixture = guarded("[[agent.firewall.rule]]\nsrc = \"192.0.2.0/24\"\n");
    let frame = packet("192.0.2.7");
    send(&fixture, &frame, SENT);
    send(&fixture, &packet("192.0.3.7"), 3);
    let mut stats = Value::Null;
    let told = wait_for(LIMIT, || {
        stats = fixture.json("firewall stats");
        stats["dropped_flows"][0].is_object()
    });
    assert!(told, "{stats}");
    let flows = stats["dropped_flows"].as_array().expect("a list");
    let flow = &flows[0];
    assert_eq!((flows.len(), &flow["interface"]), (1, &"v1".into()));
    assert_eq!(
        (&flow["src"], &flow["src_port"]),
        (&"192.0.2.7".into(), &40_000.into())
    );
    assert_eq!(
        (&flow["protocol"], &flow["dst_port"]),
        (&17.into(), &53.into())
    );
    assert_eq!(flow["sample_rate"], 100);
    // an interval may have ended in the middle of it, and a sample may have found no room
    let estimated = flow["packets"].as_u64().expect("a number");
    println!("{estimated} of {SENT} packets estimated");
    assert!(estimated > 0 && estimated < SENT * 3 / 2, "{flow}");

    let (metrics, reached) = fixture
        .agent
        .scrape_until(LIMIT, |m| m.sum("rfm_flow_packets_total", &[]) == 3);
    assert!(reached);
    assert_eq!(past(&metrics), 3);
    assert_eq!(metrics.sum("rfm_collector_sampled_packets_total", &[]), 3);
}

#[test]
fn collectors_tell_what_was_dropped_from_the_rest() {
    if !can_run(&TOOLS) {
        return;
    }
    let lab = Lab::new();
    let namespace = lab.wire();
    let socket = namespace.inside(|| std::net::UdpSocket::bind("127.0.0.1:4739").expect("bound"));
    let mut collector = Listener::around(socket);
    let rule = "[[agent.firewall.rule]]\nsrc = \"192.0.2.0/24\"\n\
                [agent.ipfix]\nhost = \"127.0.0.1\"\n\
                [agent.collector]\neviction_timeout = \"1s\"\n";
    let agent = Agent::start(&lab, &namespace, &file(&Folder::new(), rule));
    attached(&agent);
    collector.introduced();
    namespace.inside(|| {
        let sender = Sender::new("v0").expect("a packet socket");
        for _ in 0..20_000 {
            sender.send(&packet("192.0.2.7"), 0).expect("sent");
        }
        sender.send(&packet("192.0.3.7"), 0).expect("sent");
    });
    // an interval of samples may end in the middle of what was dropped
    let mut seen = BTreeSet::new();
    while seen.len() < 2 {
        for flow in collector.flows(1) {
            let was_dropped = flow.number(8) == u64::from(u32::from_be_bytes([192, 0, 2, 7]));
            let status = if was_dropped { 130 } else { 0 };
            assert_eq!(flow.number(89), status, "{flow:?}");
            seen.insert(status);
        }
    }
    agent.stop();
}
