// SPDX-License-Identifier: AGPL-3.0-only
//! Flows that were dropped: told from samples, and in no flow series.

use serde_json::Value;

use crate::common::lab::{can_run, wait_for};
use crate::wire::{LIMIT, TOOLS, guarded, packet, past, send};

#[test]
fn what_is_dropped_is_told_and_in_no_flow_series() {
    if !can_run(&TOOLS) {
        return;
    }
    const SENT: u64 = 50_000;
    let rig = guarded("[[agent.firewall.rule]]\nsrc = \"192.0.2.0/24\"\n");
    let frame = packet("192.0.2.7");
    send(&rig, &frame, SENT);
    send(&rig, &packet("192.0.3.7"), 3);
    let mut stats = Value::Null;
    let told = wait_for(LIMIT, || {
        stats = rig.json("firewall stats");
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

    let (metrics, reached) = rig
        .agent
        .scrape_until(LIMIT, |m| m.sum("rfm_flow_packets_total", &[]) == 3);
    assert!(reached);
    assert_eq!(past(&metrics), 3);
    assert_eq!(metrics.sum("rfm_collector_sampled_packets_total", &[]), 3);
}
