// SPDX-License-Identifier: AGPL-3.0-only
//! The agent at work in network namespaces: generated frames and real traffic, beside the counters of
//! the devices.

mod common;

use std::collections::BTreeMap;
use std::time::Duration;

use common::accounting::{Count, SETTLED, of_device, of_hooks, seen_ip, settle};
use common::agent::{Agent, EACH_PACKET, EXACT, config};
use common::cases::{self, Case, Expect, Link};
use common::kernel::{Kernel, Record};
use common::lab::{DeviceCounters, Lab, Namespace, can_run, ipv4, ipv6, wait_for};
use common::packet::{Sender, Tun};
use common::traffic::{EXCHANGE_TOOLS, exchange, iperf3_server};
use rfm::types::flow::Direction::{self, Egress, Ingress};
use rfm::types::hook::{HookKind, Position};

// Crafted frames

type Moved = BTreeMap<String, u64>;

/// The series that a frame must move when it crosses one hook at a sample rate of 1.
fn add_series(moved: &mut Moved, expect: &Expect, device: &str, direction: Direction) {
    let mut count = |series: String, amount: u64| *moved.entry(series).or_default() += amount;
    let (way, hook) = match direction {
        Ingress => ("rx", "ingress"),
        Egress => ("tx", "egress"),
    };
    let family = expect.family.name();
    for (unit, amount) in [("packets", expect.packets), ("bytes", expect.bytes)] {
        count(
            format!("rfm_interface_{way}_{unit}_total{{family={family:?},ifname={device:?}}}"),
            amount,
        );
        let Some(flow) = &expect.flow else {
            continue;
        };
        let on_hook = format!("direction={hook:?},ifname={device:?}");
        count(
            format!("rfm_interface_sampled_{unit}_total{{{on_hook}}}"),
            amount,
        );
        let protocol = flow.protocol.to_string();
        count(
            format!("rfm_flow_{unit}_total{{{on_hook},proto={protocol:?}}}"),
            amount,
        );
        for what in ["sampled", "accounted"] {
            count(format!("rfm_collector_{what}_{unit}_total"), amount);
        }
    }
    if let Some(reason) = expect.error {
        count(format!("rfm_parse_errors_total{{reason={reason:?}}}"), 1);
    }
}

/// Does `action` move these series, soon, and nothing else?
fn check(agent: &Agent, name: &str, expected: &Moved, action: impl FnOnce()) -> Result<(), String> {
    let before = agent.scrape();
    action();
    let (after, same) = agent.scrape_until(Duration::from_secs(3), |now| {
        now.moved_since(&before) == *expected
    });
    let moved = after.moved_since(&before);
    match same {
        true => Ok(()),
        false => Err(format!(
            "{name}\n  expected {expected:?}\n  seen     {moved:?}"
        )),
    }
}

fn report(results: Vec<Result<(), String>>) {
    let failures: Vec<String> = results.into_iter().filter_map(Result::err).collect();
    let count = failures.len();
    assert!(
        failures.is_empty(),
        "{count} cases:\n{}",
        failures.join("\n")
    );
}

#[test]
fn each_frame_over_a_veth_moves_exactly_its_series() {
    if !can_run(&["ip", "sysctl"]) {
        return;
    }
    let lab = Lab::new();
    let namespace = lab.wire();
    let agent = Agent::start(&lab, &namespace, &config(r#"["v0", "v1"]"#, EACH_PACKET));
    let sender = namespace.inside(|| Sender::with_offload("v0").expect("a packet socket"));
    let check = |case: Case| {
        let mut expected = Moved::new();
        add_series(&mut expected, &case.expect, "v0", Egress);
        if let Some(ingress) = case.expect_at_ingress() {
            add_series(&mut expected, ingress, "v1", Ingress);
        }
        check(&agent, case.name, &expected, || {
            match case.super_packet() {
                Some(what) => sender.send_segmented(&case.frame, what),
                None => sender.send(&case.frame, 0),
            }
            .expect(case.name);
        })
    };
    let results = cases::all()
        .into_iter()
        .filter(|case| case.link == Link::Ethernet)
        // a GSO packet of one segment is none to the kernel
        .filter(|case| case.segmentation.is_none() || case.super_packet().is_some())
        .map(check)
        .collect();
    report(results);
    agent.stop();
}

#[test]
fn each_packet_over_a_tun_device_moves_exactly_its_series() {
    if !can_run(&["ip", "sysctl"]) {
        return;
    }
    let lab = Lab::new();
    let namespace = lab.namespace("t");
    let (tun, sender) = namespace.inside(|| {
        let tun = Tun::new("t0").expect("a tun device");
        namespace.ip("link set t0 mtu 9000 up");
        (tun, Sender::new("t0").expect("a packet socket"))
    });
    let agent = Agent::start(&lab, &namespace, &config(r#"["t0"]"#, EACH_PACKET));
    let mut results = Vec::new();
    for case in cases::all() {
        let Link::Layer3(protocol) = case.link else {
            continue;
        };
        let mut expected = Moved::new();
        add_series(&mut expected, &case.expect, "t0", Ingress);
        add_series(&mut expected, &case.expect, "t0", Egress);
        results.push(check(&agent, case.name, &expected, || {
            tun.inject(&case.frame, protocol).expect(case.name);
            sender.send(&case.frame, protocol).expect(case.name);
        }));
    }
    report(results);
    agent.stop();
}

// Real traffic

/// With segmentation offloads on, both hooks are shown GSO packets.
#[test]
fn flows_sum_to_the_interface_counters_under_real_traffic() {
    if !can_run(&EXCHANGE_TOOLS) {
        return;
    }
    let lab = Lab::new();
    let (a, b) = lab.pair();
    iperf3_server(&lab, &b);
    for cache in [EXACT, EACH_PACKET] {
        let more = format!("{cache}ring_buf_size = 4194304\n");
        let agent = Agent::start(&lab, &a, &config(r#"["a0"]"#, &more));
        exchange(&a);
        let (metrics, lost) = settle(&agent, &["a0"]);
        assert_eq!(lost, Count::default(), "the ring is large enough for this");
        let sent = seen_ip(&metrics, "a0", "egress").bytes;
        assert!(sent > 400_000_000, "only {sent} bytes were sent");
        for direction in ["ingress", "egress"] {
            for proto in ["1", "6", "17", "58"] {
                let labels = [("direction", direction), ("proto", proto)];
                let packets = metrics.sum("rfm_flow_packets_total", &labels);
                assert!(packets >= 20, "{direction}, protocol {proto}: {packets}");
            }
        }
        agent.stop();
    }
}

/// With segmentation offloads off the devices count what is on the wire, and so do we, though the
/// egress hook is still shown GSO packets.
#[test]
fn counters_equal_those_of_a_device_that_does_not_segment() {
    if !can_run(&EXCHANGE_TOOLS) || !can_run(&["ethtool"]) {
        return;
    }
    let lab = Lab::new();
    let (a, b) = lab.pair();
    a.offloads_off("a0");
    b.offloads_off("b0");
    iperf3_server(&lab, &b);
    for cache in [EXACT, EACH_PACKET] {
        let more = format!("{cache}ring_buf_size = 4194304\n");
        let agent = Agent::start(&lab, &a, &config(r#"["a0"]"#, &more));
        let device_before = a.device_counters("a0");
        let ours_before = of_hooks(&agent.scrape(), "a0");
        exchange(&a);
        let (metrics, _) = settle(&agent, &["a0"]);
        let device = a.device_counters("a0") - device_before;
        assert_eq!(of_hooks(&metrics, "a0") - ours_before, device);
        assert_eq!(of_device(&metrics, "a0"), a.device_counters("a0"));
        assert!(device.tx_packets > 10_000, "{device:?}");
        agent.stop();
    }
}

/// Super-packets inside VXLAN: each segment has all headers, the outer and the inner.
#[test]
fn counters_equal_those_of_the_device_under_a_tunnel() {
    if !can_run(&["ip", "sysctl", "iperf3", "ss", "ethtool"]) {
        return;
    }
    let lab = Lab::new();
    let (a, b) = lab.pair();
    a.offloads_off("a0");
    b.offloads_off("b0");
    for (namespace, device, host, other) in [(&a, "a0", 1, 2), (&b, "b0", 2, 1)] {
        let remote = ipv4(other);
        namespace.ip(&format!(
            "link add x0 mtu 8000 type vxlan id 7 dstport 4789 dev {device} remote {remote}"
        ));
        namespace.ip(&format!("address add 10.98.0.{host}/24 dev x0"));
        namespace.ip("link set x0 up");
    }
    let records = counted_as_the_device(&lab, (&a, &b), "10.98.0.2", &["", "-R"]);
    assert!(records.len() > 100);
}

/// BIG TCP: IPv6 packets above 64 KiB, with a hop-by-hop header that no segment has.
#[test]
fn counters_equal_those_of_the_device_with_big_tcp() {
    if !can_run(&["ip", "sysctl", "iperf3", "ss", "ethtool"]) {
        return;
    }
    let lab = Lab::new();
    let (a, b) = lab.pair();
    a.offloads_off("a0");
    b.offloads_off("b0");
    a.ip("link set dev a0 gso_max_size 180000 gro_max_size 180000");
    let records = counted_as_the_device(&lab, (&a, &b), &ipv6(2).to_string(), &[""]);
    let largest = records.iter().map(|record| record.bytes).max();
    assert!(largest > Some(70_000), "BIG TCP is not in use: {largest:?}");
}

/// Sends TCP from `a` to `address` in `b`, and compares the counters of the hooks of a0 with those of the
/// device. Returns the records, one for each packet.
fn counted_as_the_device(
    lab: &Lab,
    (a, b): (&Namespace, &Namespace),
    address: &str,
    ways: &[&str],
) -> Vec<Record> {
    let a0 = a.ifindex("a0");
    a.inside(|| {
        let mut kernel = Kernel::load(&[(a0, false)]);
        let before = a.device_counters("a0");
        kernel.attach(HookKind::detect(), Position::Head);
        iperf3_server(lab, b);
        for way in ways {
            a.run("iperf3", &format!("-c {address} -t 1 {way}"));
        }
        let both = || {
            let device = a.device_counters("a0") - before;
            let (rx_packets, rx_bytes) = kernel.observed(a0, Ingress);
            let (tx_packets, tx_bytes) = kernel.observed(a0, Egress);
            let ours = DeviceCounters {
                rx_packets,
                rx_bytes,
                tx_packets,
                tx_bytes,
            };
            (ours, device)
        };
        wait_for(SETTLED, || both().0 == both().1);
        let (ours, device) = both();
        assert_eq!(ours, device);
        assert!(device.tx_packets > 10_000, "{device:?}");
        kernel.records()
    })
}
