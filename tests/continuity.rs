// SPDX-License-Identifier: AGPL-3.0-only
//! Counters and flows stay exact whatever happens in mid traffic: interfaces go down and up, traffic
//! moves from CPU to CPU, the sample rate changes.

mod common;

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use common::accounting::{SETTLED, of_hooks, seen_ip, settle};
use common::agent::{Agent, EACH_PACKET, EXACT, config};
use common::flood::pin_to;
use common::kernel::{Kernel, Record};
use common::lab::{Lab, Namespace, can_run, wait_for};
use common::packet::Sender;
use common::traffic::{meanwhile, send_burst, small_frame};
use rfm::types::flow::Direction::{Egress, Ingress};
use rfm::types::hook::{HookKind, Position};

const FLOWS: u16 = 50;

/// Sends out of `v0`, the same flows now from one CPU, now from the other: at most 50,000 packets a second, so
/// that the ring holds what a reader without a CPU misses.
fn roaming_traffic(stop: &AtomicBool) {
    let sender = Sender::new("v0").expect("a packet socket");
    let frames: Vec<_> = (0..FLOWS).map(small_frame).collect();
    for cpu in [0, 1].into_iter().cycle() {
        pin_to(cpu);
        for frame in &frames {
            if stop.load(Ordering::Relaxed) {
                return;
            }
            // while the interface is down it refuses
            let _ = sender.try_send(frame);
        }
        thread::sleep(Duration::from_millis(1));
    }
}

fn crossed_packets(agent: &Agent) -> (u64, u64) {
    let metrics = agent.scrape();
    let packets = |device, hook| seen_ip(&metrics, device, hook).packets;
    (packets("v0", "egress"), packets("v1", "ingress"))
}

#[test]
fn interfaces_go_down_and_up_and_traffic_moves_between_cpus() {
    if !can_run(&["ip", "sysctl"]) {
        return;
    }
    let lab = Lab::new();
    let namespace = lab.wire();
    for cache in [EXACT, EACH_PACKET] {
        let more = format!("{cache}ring_buf_size = 4194304\n");
        let agent = Agent::start(&lab, &namespace, &config(r#"["v0", "v1"]"#, &more));
        let device_before = namespace.device_counters("v1");
        namespace.inside(|| meanwhile(&[&roaming_traffic], || down_and_up(&namespace, &agent)));
        let (metrics, _) = settle(&agent, &["v0", "v1"]);
        let device = namespace.device_counters("v1") - device_before;
        assert_eq!(of_hooks(&metrics, "v1"), device);
        // five times 500, and what was lost while a device was down
        assert!(device.rx_packets > 2_500, "hardly any traffic: {device:?}");

        // and the hooks are where they were
        let (sent, received) = crossed_packets(&agent);
        let sender = namespace.inside(|| Sender::new("v0").expect("a packet socket"));
        send_burst(&sender, 1_000);
        let expected = (sent + 1_000, received + 1_000);
        wait_for(SETTLED, || crossed_packets(&agent) == expected);
        assert_eq!(crossed_packets(&agent), expected);
        settle(&agent, &["v0", "v1"]);
        agent.stop();
    }
}

/// Each interface twice; traffic flows before, between and after.
fn down_and_up(namespace: &Namespace, agent: &Agent) {
    for device in ["v0", "v1", "v0", "v1"] {
        let (_, before) = crossed_packets(agent);
        let flows = || crossed_packets(agent).1 > before + 500;
        assert!(wait_for(SETTLED, flows), "no traffic before {device}");
        namespace.ip(&format!("link set {device} down"));
        thread::sleep(Duration::from_millis(50));
        namespace.ip(&format!("link set {device} up"));
    }
    let (_, before) = crossed_packets(agent);
    let flows = || crossed_packets(agent).1 > before + 500;
    assert!(wait_for(SETTLED, flows), "no traffic at the end");
}

#[test]
fn the_sample_rate_changes_in_mid_traffic() {
    if !can_run(&["ip", "sysctl"]) {
        return;
    }
    let lab = Lab::new();
    let namespace = lab.wire();
    let [v0, v1] = ["v0", "v1"].map(|name| namespace.ifindex(name));
    for flow_cache in [8192, 0] {
        namespace.inside(|| {
            let mut kernel = Kernel::load_with_cache(&[(v0, false), (v1, false)], flow_cache);
            kernel.attach(HookKind::detect(), Position::Head);
            let mut records = Vec::new();
            // each phase is shorter than a sweep: the cache holds records of several rates
            meanwhile(&[&roaming_traffic], || {
                for rate in [1, 10, 3, 20, 1, 7] {
                    kernel.set_sample_rate(rate);
                    for _ in 0..100 {
                        thread::sleep(Duration::from_millis(3));
                        records.extend(kernel.records());
                    }
                }
            });
            let hooks = [(v0, Egress), (v1, Ingress)];
            let accounted = |records: &[Record]| {
                hooks.map(|(ifindex, direction)| {
                    let (packets, bytes) = kernel.dropped(ifindex, direction);
                    let of_hook = |r: &&Record| (r.ifindex, r.direction) == (ifindex, direction);
                    let of_hook = records.iter().filter(of_hook);
                    of_hook.fold((packets, bytes), |sum, record| {
                        (sum.0 + record.packets, sum.1 + record.bytes)
                    })
                })
            };
            let sampled = hooks.map(|(ifindex, direction)| kernel.sampled(ifindex, direction));
            wait_for(SETTLED, || {
                records.extend(kernel.records());
                accounted(&records) == sampled
            });
            assert_eq!(accounted(&records), sampled, "flow_cache = {flow_cache}");
            estimates_are_true(&kernel, &records, hooks.map(|(ifindex, _)| ifindex));
        });
    }
}

#[test]
fn what_begins_while_the_sweep_makes_its_last_round_is_swept() {
    if !can_run(&["ip", "sysctl"]) {
        return;
    }
    let lab = Lab::new();
    let namespace = lab.wire();
    let v0 = namespace.ifindex("v0");
    namespace.inside(|| {
        let mut kernel = Kernel::load_with_cache(&[(v0, false)], 8192);
        kernel.attach(HookKind::detect(), Position::Head);
        let sender = Sender::new("v0").expect("a packet socket");
        pin_to(0);
        let mut received = 0;
        // the timer has ended; the first packet starts it, is found in the round of the first second, and
        // the second packet comes near the end of the next, where most places have been looked at
        for (n, pause) in [1850, 1900, 1950].into_iter().enumerate() {
            let sent = 2 * n as u64 + 2;
            thread::sleep(Duration::from_millis(2200));
            sender.send(&small_frame(1), 0).expect("sent");
            thread::sleep(Duration::from_millis(pause));
            sender.send(&small_frame(2 + n as u16), 0).expect("sent");
            let all = wait_for(SETTLED, || {
                received += kernel.records().iter().map(|r| r.packets).sum::<u64>();
                received == sent
            });
            assert!(
                all,
                "{received} of {sent} packets, the last after {pause} ms"
            );
        }
    });
}

/// Each record is scaled by the rate of its samples, so that the sum is near the number of observed packets.
fn estimates_are_true(kernel: &Kernel, records: &[Record], [v0, v1]: [u32; 2]) {
    for (ifindex, direction) in [(v0, Egress), (v1, Ingress)] {
        let (observed, _) = kernel.observed(ifindex, direction);
        let (dropped, _) = kernel.dropped(ifindex, direction);
        assert_eq!(dropped, 0, "the ring is large enough for this");
        let scaled: u64 = records
            .iter()
            .filter(|r| r.ifindex == ifindex)
            .map(|r| r.packets * u64::from(r.sample_rate))
            .sum();
        let ratio = scaled as f64 / observed as f64;
        println!("{direction:?}: {scaled} of {observed} packets, {ratio:.4}");
        assert!((ratio - 1.0).abs() < 0.05, "{ratio}");
    }
}
