// SPDX-License-Identifier: AGPL-3.0-only
//! A router that forwards: what crosses it once, in parts, with the routes it takes; and the export that
//! is not exported.

use std::io::Write;
use std::net::TcpStream;
use std::time::Duration;

use super::builders::{initiation, peer};
use super::common::agent::{Agent, config};
use super::common::cases::{DST_MAC, DST4, SRC_MAC, SRC4};
use super::common::flood::pin_to;
use super::common::frames::Frame;
use super::common::lab::{Lab, Namespace, can_run, ipv4, mac_of, wait_for};
use super::common::metrics::Metrics;
use super::common::packet::Sender;
use super::fixture::Listener;

const SETTLED: Duration = Duration::from_secs(15);

/// Every packet is taken, and a silent flow ends soon.
const EXACT: &str = "[agent.bpf]\nsample_rate = 1\n[agent.collector]\neviction_timeout = \"2s\"\n";

fn flow_packets(metrics: &Metrics) -> u64 {
    metrics.sum("rfm_flow_packets_total", &[])
}

/// Frames of one flow, of 142 bytes, into `lan0`.
fn send_through(router: &Namespace, packets: u64) {
    let frame = Frame::ethernet(SRC_MAC, mac_of("lan0")).ipv4(SRC4, DST4);
    let frame = frame.udp().ports(5, 53).payload(100).build();
    router.inside(|| {
        let sender = Sender::new("lan1").unwrap();
        for _ in 0..packets {
            sender.send(&frame, 0).unwrap();
        }
    });
}

/// A collector of ours inside a namespace.
fn listener(namespace: &Namespace, address: &str) -> Listener {
    let socket = namespace.inside(|| std::net::UdpSocket::bind(address).unwrap());
    Listener::around(socket)
}

#[test]
fn a_forwarded_packet_counts_once_and_names_both_interfaces() {
    forward(2, |_| {});
}

/// The packet leaves through a bridge and its port: two interfaces see it at egress.
#[test]
fn a_forwarded_packet_counts_once_with_stacked_interfaces() {
    forward(3, |router| {
        router.ip("address flush dev wan0");
        router.ip("link add br0 type bridge mcast_snooping 0");
        router.ip("link set wan0 master br0");
        router.ip("link set br0 up");
        router.ip("address add 10.99.0.1/24 dev br0");
        let sink = super::common::lab::mac_of("sink0").map(|byte| format!("{byte:02x}"));
        router.ip(&format!(
            "neighbour replace 10.99.0.2 lladdr {} nud permanent dev br0",
            sink.join(":")
        ));
        router.ip("route replace default via 10.99.0.2");
    });
}

/// Forwards packets, which `sightings` hooks see, and expects one exported flow.
fn forward(sightings: u64, stack: impl FnOnce(&Namespace)) {
    if !can_run(&["ip", "sysctl"]) {
        return;
    }
    const PACKETS: u64 = 40;
    let lab = Lab::new();
    let (router, _far) = lab.router();
    stack(&router);
    let mut collector = listener(&router, "127.0.0.1:4739");
    // all are watched but the peer of the veth, which is in the same namespace here
    let more = format!(
        "exclude_interfaces = [\"lan1\"]\n{EXACT}[agent.ipfix]\nhost = \"127.0.0.1\"\n\
         directions = [\"egress\"]\n"
    );
    let agent = Agent::start(&lab, &router, &config("[\"*\"]", &more));
    collector.introduced();
    send_through(&router, PACKETS);
    let (last, reached) = agent.scrape_until(SETTLED, |m| flow_packets(m) == sightings * PACKETS);
    let seen = flow_packets(&last);
    assert!(reached, "{seen} packets\n{}", router.ip("-s link"));
    let flows = collector.flows(1);
    let (lan, wan) = (router.ifindex("lan0"), router.ifindex("wan0"));
    let flow = &flows[0];
    assert_eq!(flow.number(2), PACKETS);
    assert_eq!(flow.number(1), PACKETS * 128);
    assert_eq!((flow.number(10), flow.number(14)), (lan.into(), wan.into()));
    assert_eq!(flow.number(61), 1);
    agent.stop();
    // nothing else, not even at the end
    while let Some(message) = collector.next(Duration::from_millis(300)) {
        assert_eq!(message.flows().count(), 0, "{message:?}");
    }
}

#[test]
fn the_parts_of_a_flow_add_up_and_the_exporter_does_not_export_itself() {
    if !can_run(&["ip", "sysctl"]) {
        return;
    }
    let lab = Lab::new();
    let (a, b) = lab.pair();
    let mut collector = listener(&b, &format!("{}:4739", ipv4(2)));
    let more = format!(
        "[agent.bpf]\nsample_rate = 1\n[agent.collector]\nactive_timeout = \"1s\"\n\
         [agent.ipfix]\nhost = \"{}\"\ntemplate_refresh = \"1s\"\n",
        ipv4(2)
    );
    let agent = Agent::start(&lab, &a, &config("[\"a0\"]", &more));
    collector.introduced();
    let frame = Frame::ethernet(SRC_MAC, DST_MAC)
        .ipv4(SRC4, DST4)
        .udp()
        .ports(5, 53)
        .payload(100)
        .build();
    let send = |count, pause| {
        a.inside(|| {
            // a flow that changes its CPU has a record on each, and their times overlap
            pin_to(0);
            let sender = Sender::new("a0").unwrap();
            for _ in 0..count {
                sender.send(&frame, 0).unwrap();
                std::thread::sleep(pause);
            }
        });
    };
    send(55, Duration::from_millis(100));
    // the agent has seen its own packets
    let own = |m: &super::common::metrics::Metrics| m.sum("rfm_flow_packets_total", &[]) > 57;
    assert!(
        wait_for(SETTLED, || own(&agent.scrape())),
        "{}",
        agent.log()
    );
    // the part in progress ends, and another is begun that does not
    std::thread::sleep(Duration::from_millis(2_500));
    send(5, Duration::ZERO);
    agent.stop();
    let mut flows = Vec::new();
    while let Some(message) = collector.next(Duration::from_millis(500)) {
        flows.extend(message.flows().cloned());
    }
    assert!(flows.len() >= 3, "{} parts", flows.len());
    assert!(flows.iter().all(|flow| flow.number(7) == 5), "{flows:?}");
    assert_eq!(flows.iter().map(|flow| flow.number(2)).sum::<u64>(), 60);
    assert_eq!(
        flows.iter().map(|flow| flow.number(1)).sum::<u64>(),
        60 * 128
    );
    let (last, parts) = flows.split_last().unwrap();
    assert!(parts.iter().all(|flow| flow.number(136) == 2), "{flows:?}");
    assert_eq!(last.number(136), 4, "the end was forced");
    for pair in flows.windows(2) {
        assert!(pair[0].number(153) < pair[1].number(152), "{flows:?}");
    }
}

/// The exporter's attempts to connect to a collector that refuses are its own traffic as well.
#[test]
fn refused_connections_to_a_collector_are_not_exported() {
    if !can_run(&["ip", "sysctl"]) {
        return;
    }
    let lab = Lab::new();
    let (a, b) = lab.pair();
    let mut collector = listener(&b, &format!("{}:4739", ipv4(2)));
    let more = format!(
        "{EXACT}[agent.ipfix]\nhost = \"{}\"\ntemplate_refresh = \"2s\"\n\
         directions = [\"ingress\", \"egress\"]\n\
         [[agent.ipfix.collector]]\nhost = \"{}\"\nport = 4740\ntransport = \"tcp\"\n",
        ipv4(2),
        ipv4(2)
    );
    let agent = Agent::start(&lab, &a, &config("[\"a0\"]", &more));
    collector.introduced();
    // a SYN and its RST for each attempt; the flows end 2 s later
    let attempts = |m: &Metrics| flow_packets(m) >= 12;
    let (last, reached) = agent.scrape_until(SETTLED, attempts);
    assert!(reached, "{} packets", flow_packets(&last));
    std::thread::sleep(Duration::from_secs(4));
    agent.stop();
    while let Some(message) = collector.next(Duration::from_millis(500)) {
        let tcp = message.flows().find(|flow| flow.number(4) == 6);
        assert_eq!(tcp, None);
    }
}

#[test]
fn a_record_tells_the_routes_that_bmp_tells() {
    if !can_run(&["ip", "sysctl"]) {
        return;
    }
    let lab = Lab::new();
    let (router, _far) = lab.router();
    let mut collector = listener(&router, "127.0.0.1:4739");
    let more = format!(
        "{EXACT}[agent.ipfix]\nhost = \"127.0.0.1\"\ndirections = [\"egress\"]\n\
         [agent.enrich.rib.bmp]\nhost = \"127.0.0.1\"\n"
    );
    let agent = Agent::start(&lab, &router, &config("[\"lan0\", \"wan0\"]", &more));
    collector.introduced();
    let said = [
        initiation("edge"),
        peer(1).up(),
        peer(1).announce("192.0.2.0/24", &[65001, 64700]),
        peer(2).up(),
        peer(2).announce("8.0.0.0/8", &[65002, 64601, 64800]),
    ];
    let mut session = router.inside(|| TcpStream::connect("127.0.0.1:11019").unwrap());
    session.write_all(&said.concat()).unwrap();
    let routes = |m: &Metrics| m.sum("rfm_rib_routes", &[]);
    assert!(wait_for(SETTLED, || routes(&agent.scrape()) == 2));
    send_through(&router, 3);
    let flows = collector.flows(1);
    let flow = &flows[0];
    for (element, value) in [
        (16, 64800),
        (17, 64700),
        // towards the destination, and back to the source
        (128, 65001),
        (129, 65002),
        (9, 8),
        (13, 24),
    ] {
        assert_eq!(flow.number(element), value, "element {element} of {flow:?}");
    }
    // BGP's next hop, and the router that the kernel hands packets for it to
    assert_eq!(flow.fields[&18], [192, 0, 2, 1]);
    assert_eq!(flow.fields[&15], [10, 99, 0, 2]);
    agent.stop();
}
