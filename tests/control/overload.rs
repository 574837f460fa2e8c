// SPDX-License-Identifier: AGPL-3.0-only
//! The error of flows and sums after more new flows than the agent can read.

use std::thread::sleep;
use std::time::Duration;

use rustix::process::Signal;

use crate::common::accounting::settle_totals;
use crate::common::flood::{Flood, Flows};
use crate::common::lab::{can_run, mac_of};
use crate::harness::Fixture;

const ROUNDS: u32 = 30;
const PACKETS: u32 = 10_000;

#[test]
fn flows_and_sums_state_the_error_of_adaptive_sampling() {
    if !can_run(&["ip", "sysctl", "clang"]) {
        return;
    }
    let fixture = Fixture::new("");
    let namespace = &fixture.namespace;
    let to = namespace.inside(|| mac_of("v1"));
    let flood = Flood::new(&fixture.lab.path(""), to, Flows::Uniform(1 << 15));
    let v1 = namespace.ifindex("v1");
    for _ in 0..ROUNDS {
        fixture.agent.signal(Signal::STOP);
        flood.run_on(namespace, v1, PACKETS, 0);
        fixture.agent.signal(Signal::CONT);
        sleep(Duration::from_millis(20));
    }
    settle_totals(&fixture.agent);
    let sent = f64::from(ROUNDS * PACKETS);

    let top = fixture.json("top --by dst --protocol udp");
    let sum = &top["top"][0];
    let number = |name: &str| sum[name].as_f64().expect("a number");
    let (packets, error) = (number("packets"), number("standard_error_packets"));
    println!("{packets} ± {error} of {sent} packets");
    assert!(error > 0.0 && error < sent / 20.0, "{sum}");
    assert!((packets - sent).abs() < 5.0 * error, "{packets} of {sent}");
    let bytes = number("standard_error_bytes") / error;
    assert!((bytes - 60.0).abs() < 1.0, "{bytes} bytes a packet");
    let text = fixture.rfm("top --by dst --protocol udp");
    assert!(text.contains(" ±"), "{text}");

    // most flows have a record with k > 1
    let flows = fixture.json("flows --protocol udp --sort packets --limit 100");
    let flows = flows["flows"].as_array().expect("a list");
    let has_error = |flow: &&serde_json::Value| flow["standard_error_packets"].as_u64() > Some(0);
    assert!(flows.iter().filter(has_error).count() > 50, "{flows:?}");
    let text = fixture.rfm("flows --protocol udp --sort packets --limit 100");
    assert!(text.matches('±').count() > 50, "{text}");
}
