// SPDX-License-Identifier: AGPL-3.0-only
//! The agent at work in network namespaces: crafted frames, real traffic, company on its hooks, and
//! more packets than it can take.

mod common;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use common::agent::{Agent, EACH_PACKET, EXACT, config};
use common::cases::{self, Case, DST_MAC, DST4, Expect, Link, SRC_MAC, SRC4};
use common::frames::Frame;
use common::kernel::Kernel;
use common::lab::{DeviceCounters, Lab, Namespace, can_run, ipv4, ipv6, wait_for};
use common::metrics::Metrics;
use common::packet::{Sender, Tun};
use common::witness::{Place, Witness, tcx_programs};
use rfm::bpf::attach::{HookKind, Position};
use rfm::flow::key::Direction::{self, Egress, Ingress};
use rfm::flow::key::Family;

/// Records are in the ring, a channel and the flow table within this time.
const SETTLED: Duration = Duration::from_secs(5);

/// A silent namespace with the veth pair `v0`, `v1`; frames sent on `v0` are seen twice.
fn wire(lab: &Lab) -> Namespace {
    let namespace = lab.namespace("w");
    lab.veth((&namespace, "v0"), (&namespace, "v1"));
    namespace
}

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
        count(format!("rfm_collector_accounted_{unit}_total"), amount);
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
    let namespace = wire(&lab);
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
        // a super-packet of one segment is none to the kernel
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

/// iperf3 and ping between `a0` and `b0`, both ways, IPv4 and IPv6, then silence.
fn exchange(lab: &Lab, a: &Namespace, b: &Namespace) {
    lab.spawn(b, "iperf3.log", "iperf3", &["-s"]);
    let listening = || b.run("ss", "-Hltn sport = 5201").contains("5201");
    assert!(wait_for(SETTLED, listening), "iperf3 does not listen");
    for host in [ipv4(2).to_string(), ipv6(2).to_string()] {
        for how in ["", "-R", "-u -b 200M", "-u -b 200M -R"] {
            a.run("iperf3", &format!("-c {host} -t 1 {how}"));
        }
        a.run("ping", &format!("-q -c 20 -i 0.01 -s 100 {host}"));
        a.run("ping", &format!("-q -c 5 -i 0.01 -s 3000 {host}"));
    }
}

fn crossed_ip(metrics: &Metrics, way: &str, unit: &str) -> u64 {
    let name = format!("rfm_interface_{way}_{unit}_total");
    let of = |family| metrics.sum(&name, &[("ifname", "a0"), ("family", family)]);
    of("ipv4") + of("ipv6")
}

/// Promise 3 on `a0` at a sample rate of 1: what crossed is what was taken is what is in flows, but for
/// what was lost, which is told. Returns how much was lost.
fn accounted(metrics: &Metrics) -> Result<u64, String> {
    let mut lost_packets = 0;
    for unit in ["packets", "bytes"] {
        let mut flows_of_all = 0;
        let mut taken_of_all = 0;
        for (way, hook) in [("rx", "ingress"), ("tx", "egress")] {
            let labels = [("ifname", "a0"), ("direction", hook)];
            let crossed = crossed_ip(metrics, way, unit);
            let name = format!("rfm_interface_sampled_{unit}_total");
            let taken = metrics.sum(&name, &labels);
            if crossed != taken {
                return Err(format!("{hook}: {crossed} {unit} crossed, {taken} taken"));
            }
            flows_of_all += metrics.sum(&format!("rfm_flow_{unit}_total"), &labels);
            taken_of_all += taken;
        }
        let accounted = metrics.sum(&format!("rfm_collector_accounted_{unit}_total"), &[]);
        let lost = metrics.sum(&format!("rfm_collector_dropped_{unit}_total"), &[]);
        if flows_of_all != accounted || accounted + lost != taken_of_all {
            return Err(format!(
                "{unit}: {flows_of_all} in flows, {accounted} accounted, {lost} lost, \
                 {taken_of_all} taken"
            ));
        }
        if unit == "packets" {
            lost_packets = lost;
        }
    }
    Ok(lost_packets)
}

fn settle(agent: &Agent) -> (Metrics, u64) {
    let (metrics, _) = agent.scrape_until(SETTLED, |m| accounted(m).is_ok());
    let lost = accounted(&metrics).unwrap_or_else(|e| panic!("{e}"));
    (metrics, lost)
}

#[test]
fn flows_sum_to_the_interface_counters_under_real_traffic() {
    if !can_run(&["ip", "sysctl", "iperf3", "ping", "ss"]) {
        return;
    }
    let lab = Lab::new();
    let (a, b) = lab.pair();
    let more = format!("{EXACT}ring_buf_size = 4194304\n");
    let agent = Agent::start(&lab, &a, &config(r#"["a0"]"#, &more));
    exchange(&lab, &a, &b);
    let (metrics, lost) = settle(&agent);
    assert_eq!(lost, 0, "the ring is large enough for this");
    let gigabytes = crossed_ip(&metrics, "tx", "bytes") as f64 / 1e9;
    assert!(gigabytes > 0.1, "only {gigabytes} GB were sent");
    for (direction, protocols) in [
        ("ingress", ["1", "6", "17", "58"]),
        ("egress", ["1", "6", "17", "58"]),
    ] {
        for proto in protocols {
            let labels = [("direction", direction), ("proto", proto)];
            let packets = metrics.sum("rfm_flow_packets_total", &labels);
            assert!(packets >= 20, "{direction}, protocol {proto}: {packets}");
        }
    }
    agent.stop();
}

/// With segmentation offloads off the devices count what is on the wire, and so do we, though the
/// egress hook is still shown super-packets.
#[test]
fn counters_equal_those_of_a_device_that_does_not_segment() {
    if !can_run(&["ip", "sysctl", "iperf3", "ping", "ss", "ethtool"]) {
        return;
    }
    let lab = Lab::new();
    let (a, b) = lab.pair();
    a.offloads_off("a0");
    b.offloads_off("b0");
    let agent = Agent::start(&lab, &a, &config(r#"["a0"]"#, EXACT));
    let device_before = a.device_counters("a0");
    let ours_before = all_families(&agent.scrape());
    exchange(&lab, &a, &b);
    let (metrics, _) = settle(&agent);
    let device = a.device_counters("a0") - device_before;
    assert_eq!(all_families(&metrics) - ours_before, device);
    assert_eq!(device_series(&metrics), a.device_counters("a0"));
    assert!(device.tx_packets > 10_000, "{device:?}");
    agent.stop();
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
    let a0 = a.ifindex("a0");
    a.inside(|| {
        let mut kernel = Kernel::load(&[(a0, false)]);
        let before = a.device_counters("a0");
        kernel.attach(HookKind::detect(), Position::Head);
        lab.spawn(&b, "iperf3.log", "iperf3", &["-s"]);
        let listening = || b.run("ss", "-Hltn sport = 5201").contains("5201");
        assert!(wait_for(SETTLED, listening), "iperf3 does not listen");
        for how in ["", "-R"] {
            a.run("iperf3", &format!("-c 10.98.0.2 -t 1 {how}"));
        }
        let both = || {
            let device = a.device_counters("a0") - before;
            let (rx_packets, rx_bytes) = kernel.crossed(a0, Ingress);
            let (tx_packets, tx_bytes) = kernel.crossed(a0, Egress);
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
    });
}

fn all_families(metrics: &Metrics) -> DeviceCounters {
    let sum = |name| metrics.sum(name, &[("ifname", "a0")]);
    DeviceCounters {
        rx_packets: sum("rfm_interface_rx_packets_total"),
        rx_bytes: sum("rfm_interface_rx_bytes_total"),
        tx_packets: sum("rfm_interface_tx_packets_total"),
        tx_bytes: sum("rfm_interface_tx_bytes_total"),
    }
}

fn device_series(metrics: &Metrics) -> DeviceCounters {
    let sum = |name| metrics.sum(name, &[("ifname", "a0")]);
    DeviceCounters {
        rx_packets: sum("rfm_interface_device_rx_packets_total"),
        rx_bytes: sum("rfm_interface_device_rx_bytes_total"),
        tx_packets: sum("rfm_interface_device_tx_packets_total"),
        tx_bytes: sum("rfm_interface_device_tx_bytes_total"),
    }
}

// Company on the hooks

/// `count` small frames out of `v0`, each a flow of its own.
fn send_burst(sender: &Sender, count: u16) {
    for port in 0..count {
        let frame = Frame::ethernet(SRC_MAC, DST_MAC)
            .ipv4(SRC4, DST4)
            .udp()
            .ports(port, 9);
        sender.send(&frame.build(), 0).expect("sent");
    }
}

fn crossed(agent: &Agent, way: &str, device: &str) -> u64 {
    let name = format!("rfm_interface_{way}_packets_total");
    agent.scrape().sum(&name, &[("ifname", device)])
}

#[test]
fn other_tcx_programs_before_and_after_see_every_packet() {
    if !can_run(&["ip", "sysctl", "clang"]) {
        return;
    }
    for position in ["head", "tail"] {
        let lab = Lab::new();
        let namespace = wire(&lab);
        let (v0, v1) = (namespace.ifindex("v0"), namespace.ifindex("v1"));
        let sender = namespace.inside(|| Sender::new("v0").expect("a packet socket"));
        let more = format!("{EXACT}position = {position:?}\n");
        namespace.inside(|| {
            let witness =
                |place| [(v0, Egress), (v1, Ingress)].map(|(i, d)| Witness::tcx(&lab, i, d, place));
            let earlier = witness(Place::Last);
            let agent = Agent::start(&lab, &namespace, &config(r#"["v0", "v1"]"#, &more));
            send_burst(&sender, 100);
            let later: Vec<Witness> = [Place::First, Place::Last]
                .into_iter()
                .flat_map(witness)
                .collect();
            send_burst(&sender, 200);
            let complete =
                || earlier.iter().all(|w| w.seen() == 300) && later.iter().all(|w| w.seen() == 200);
            wait_for(SETTLED, complete);
            let seen = |witnesses: &[Witness]| witnesses.iter().map(Witness::seen).collect();
            let (earlier_saw, later_saw): (Vec<_>, Vec<_>) = (seen(&earlier), seen(&later));
            assert_eq!(earlier_saw, [300, 300], "{position}");
            assert_eq!(later_saw, [200, 200, 200, 200], "{position}");
            assert_eq!(crossed(&agent, "tx", "v0"), 300, "{position}");
            assert_eq!(crossed(&agent, "rx", "v1"), 300, "{position}");
            // a clean end leaves theirs, and takes ours away
            agent.stop();
            assert_eq!(tcx_programs(v0, Egress), 3, "{position}");
            assert_eq!(tcx_programs(v0, Ingress), 0, "{position}");
        });
    }
}

#[test]
fn nothing_is_attached_after_sigkill() {
    if !can_run(&["ip", "sysctl"]) {
        return;
    }
    let lab = Lab::new();
    let namespace = wire(&lab);
    let devices = ["v0", "v1"].map(|name| namespace.ifindex(name));
    let attached = || {
        let count = |device| {
            Direction::ALL
                .map(|d| tcx_programs(device, d))
                .iter()
                .sum::<u32>()
        };
        devices.map(count)
    };
    namespace.inside(|| {
        let agent = Agent::start(&lab, &namespace, &config(r#"["v0", "v1"]"#, EXACT));
        assert_eq!(attached(), [2, 2]);
        agent.kill();
        // links are freed by a kernel worker
        wait_for(SETTLED, || attached() == [0, 0]);
        assert_eq!(attached(), [0, 0]);
    });
}

/// A filter outlives its process: what a killed run left is replaced, and another filter keeps
/// working all the time.
#[test]
fn a_clsact_filter_that_was_left_is_replaced_and_others_are_not_touched() {
    if !can_run(&["ip", "tc", "sysctl", "clang"]) {
        return;
    }
    let lab = Lab::new();
    let namespace = wire(&lab);
    let (v0, v1) = (namespace.ifindex("v0"), namespace.ifindex("v1"));
    let sender = namespace.inside(|| Sender::new("v0").expect("a packet socket"));
    let filters = |name: &str| {
        let text = namespace.run("tc", "filter show dev v0 egress");
        text.lines().filter(|line| line.contains(name)).count()
    };
    namespace.inside(|| {
        let theirs = Witness::clsact(&lab, v0, Egress, 100);
        let mut left = Kernel::load(&[(v0, false), (v1, false)]);
        left.attach(HookKind::Clsact, Position::Head);
        left.leave_attached();
        assert_eq!((filters("rfm_"), filters("witness")), (1, 1));

        let mut kernel = Kernel::load(&[(v0, false), (v1, false)]);
        kernel.attach(HookKind::Clsact, Position::Head);
        assert_eq!((filters("rfm_"), filters("witness")), (1, 1));
        send_burst(&sender, 100);
        assert_eq!(theirs.seen(), 100);
        assert_eq!(kernel.crossed_packets(v0, Egress, Family::Ipv4), 100);

        drop(kernel);
        assert_eq!((filters("rfm_"), filters("witness")), (0, 1));
        send_burst(&sender, 100);
        assert_eq!(theirs.seen(), 200);
    });
}

// More than it can take

#[test]
fn a_flood_that_fills_the_ring_is_forwarded_and_accounted() {
    if !can_run(&["ip", "sysctl"]) {
        return;
    }
    const FRAMES: u64 = 500_000;
    let lab = Lab::new();
    let (a, b) = lab.pair();
    // a ring of one page holds some thirty records
    let more = format!("{EACH_PACKET}ring_buf_size = 4096\n[agent.collector]\nmax_flows = 1024\n");
    let agent = Agent::start(&lab, &a, &config(r#"["a0"]"#, &more));
    let memory_before = agent.resident_memory();
    let received_before = b.device_counters("b0").rx_packets;

    let mut slowest = Duration::ZERO;
    let mut memory = 0;
    std::thread::scope(|scope| {
        let flood = scope.spawn(|| a.inside(|| flood("a0", FRAMES)));
        while !flood.is_finished() {
            let reply = agent
                .get("/metrics")
                .expect("/metrics answers in the flood");
            assert_eq!(reply.status, 200);
            slowest = slowest.max(reply.took);
            memory = memory.max(agent.resident_memory());
        }
    });

    let received = || b.device_counters("b0").rx_packets - received_before;
    wait_for(SETTLED, || received() == FRAMES);
    assert_eq!(received(), FRAMES, "forwarding suffered");
    let (metrics, lost) = settle(&agent);
    assert_eq!(crossed_ip(&metrics, "tx", "packets"), FRAMES);
    assert!(lost > 0, "the ring was never full: no test");
    assert!(lost < FRAMES, "nothing got through");
    assert!(
        slowest < Duration::from_secs(2),
        "a scrape took {slowest:?}"
    );
    let grown = memory.saturating_sub(memory_before);
    assert!(
        grown < 16 << 20,
        "grew by {grown} bytes from {memory_before}"
    );
    println!("{lost} of {FRAMES} lost, slowest scrape {slowest:?}, grew by {grown} bytes");
    agent.stop();
}

/// Tiny packets over 65,536 flows, as fast as one thread can.
fn flood(device: &str, frames: u64) {
    let sender = Sender::new(device).expect("a packet socket");
    let mut frame = Frame::ethernet(SRC_MAC, DST_MAC)
        .ipv4(SRC4, DST4)
        .udp()
        .pad_to(60)
        .build();
    let start = Instant::now();
    for i in 0..frames {
        frame[34..36].copy_from_slice(&(i as u16).to_be_bytes());
        sender.send(&frame, 0).expect("sent");
    }
    let rate = frames as f64 / start.elapsed().as_secs_f64() / 1e6;
    println!("{rate:.2} million frames a second");
}
