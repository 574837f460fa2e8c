// SPDX-License-Identifier: AGPL-3.0-only
//! Mode enforce: the firewall drops bogons and local prefixes, and nothing that a segment needs.

use std::net::{IpAddr, UdpSocket};
use std::time::Duration;

use serde_json::Value;

use crate::INSIDE;
use crate::common::agent::Agent;
use crate::common::frames::Frame;
use crate::common::lab::{Lab, Namespace, can_run, mac_of, wait_for};
use crate::common::packet::Sender;
use crate::harness::{Fixture, Folder};

const COUNT: u64 = 50;
const SETTLED: Duration = Duration::from_secs(15);

fn rules(fixture: &Fixture) -> Vec<Value> {
    let list = fixture.json("firewall list");
    let rules = list["rules"].as_array().cloned().unwrap_or_default();
    rules
        .into_iter()
        .filter(|rule| rule["origin"] == "source-check")
        .collect()
}

/// Packets that the rules for a source and an action matched.
fn matched(fixture: &Fixture, source: &str, action: &str) -> u64 {
    let is_rule = |rule: &&Value| rule["rule"]["src"] == source && rule["rule"]["action"] == action;
    let rules = rules(fixture);
    let found = rules.iter().filter(is_rule);
    found
        .map(|rule| rule["packets"].as_u64().expect("a number"))
        .sum()
}

fn send(outside: &Namespace, source: &str, destination: IpAddr) {
    let frame = Frame::ethernet(mac_of("out0"), mac_of("ix0"));
    let frame = match (source.parse().expect("an address"), destination) {
        (IpAddr::V4(source), IpAddr::V4(to)) => frame.ipv4(source, to),
        (IpAddr::V6(source), IpAddr::V6(to)) => frame.ipv6(source, to),
        _ => unreachable!("one family"),
    };
    let frame = frame.udp().ports(7777, 9).payload(30).build();
    let sender = outside.inside(|| Sender::new("out0").expect("a packet socket"));
    for _ in 0..COUNT {
        sender.send(&frame, 0).expect("sent");
    }
}

#[test]
fn bogons_and_local_prefixes_are_dropped_and_nothing_else() {
    if !can_run(&["ip", "sysctl", "ethtool"]) {
        return;
    }
    let lab = Lab::new();
    let (router, outside, inside) = (lab.namespace("r"), lab.namespace("o"), lab.namespace("i"));
    lab.veth((&router, "ix0"), (&outside, "out0"));
    lab.veth((&router, "in0"), (&inside, "in1"));
    router.ip("address add 10.98.0.1/24 dev ix0");
    router.ip("address add 10.99.0.1/24 dev in0");
    inside.ip(&format!("address add {INSIDE}/24 dev in1"));
    inside.ip("route add default via 10.99.0.1");
    for text in [
        "ip_forward=1",
        "conf.all.rp_filter=0",
        "conf.ix0.rp_filter=0",
    ] {
        router.run("sysctl", &format!("-qw net.ipv4.{text}"));
    }
    inside.run(
        "sysctl",
        "-qw net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.in1.rp_filter=0",
    );
    let folder = Folder::new();
    let text = format!(
        "[agent]\ninterfaces = [\"ix0\", \"in0\"]\n[agent.bpf]\nsample_rate = 1\n\
         [agent.prometheus]\nhost = \"127.0.0.1\"\nport = 9669\n[agent.control]\nsocket = \"{}\"\n\
         [agent.enrich.source_check]\nmode = \"enforce\"\n\
         bogons = [\"192.168.0.0/16\", \"10.0.0.0/8\", \"0.0.0.0/8\", \"169.254.0.0/16\", \"::/8\", \"fe80::/10\"]\n\
         [agent.firewall]\nenabled = true\ninterfaces = [\"ix0\"]\nallow = [\"192.168.9.0/24\"]\n",
        folder.socket().display()
    );
    let agent = Agent::start(&lab, &router, &text);
    let fixture = Fixture {
        agent,
        namespace: router,
        folder,
        lab,
    };
    // the networks of both interfaces, the sources of a segment, and the bogons
    let complete = || {
        let dropped = ["10.98.0.0/24", "10.99.0.0/24", "10.0.0.0/8", "fe80::/10"];
        let rules = rules(&fixture);
        dropped.iter().all(|source| {
            let drops =
                |rule: &&Value| rule["rule"]["src"] == *source && rule["rule"]["action"] == "drop";
            rules.iter().any(|rule| drops(&rule))
        })
    };
    assert!(wait_for(SETTLED, complete), "{:?}", rules(&fixture));
    let shown = fixture.rfm("firewall list");
    assert!(shown.contains("source-check"), "{shown}");

    let socket = inside.inside(|| {
        let socket = UdpSocket::bind((INSIDE, 9)).expect("an address of its own");
        socket.set_nonblocking(true).expect("a socket");
        socket
    });
    let inside_address = IpAddr::V4(INSIDE);
    for source in ["192.168.7.7", "10.99.0.77", "10.97.0.1"] {
        send(&outside, source, inside_address);
    }
    // the segment itself, the internet, the allow list
    for source in ["10.98.0.77", "8.8.8.8", "192.168.9.1"] {
        send(&outside, source, inside_address);
    }
    // routing protocols, DHCP, duplicate address detection, neighbor discovery
    for (source, destination) in [
        ("10.98.0.77", "224.0.0.5"),
        ("0.0.0.0", "255.255.255.255"),
        ("169.254.9.9", "224.0.0.251"),
        ("::", "ff02::1:ff00:1"),
        ("fe80::9", "ff02::5"),
    ] {
        send(&outside, source, destination.parse().expect("an address"));
    }
    for (source, action, packets) in [
        ("192.168.0.0/16", "drop", COUNT),
        ("10.99.0.0/24", "drop", COUNT),
        ("10.0.0.0/8", "drop", COUNT),
        ("10.98.0.0/24", "pass", 2 * COUNT),
        ("10.98.0.0/24", "drop", 0),
        ("0.0.0.0/32", "pass", COUNT),
        ("0.0.0.0/8", "drop", 0),
        ("169.254.0.0/16", "pass", COUNT),
        ("169.254.0.0/16", "drop", 0),
        // the program passes IPv6 link-local packets before it evaluates rules
        ("::/8", "drop", 0),
        ("fe80::/10", "drop", 0),
    ] {
        let is_counted = || matched(&fixture, source, action) == packets;
        let found = || matched(&fixture, source, action);
        assert!(
            wait_for(SETTLED, is_counted),
            "{action} {source}: {}, {:?}",
            found(),
            rules(&fixture)
        );
    }
    let metrics = fixture.agent.scrape();
    let labels = [("rule", "source-check"), ("action", "drop")];
    assert_eq!(
        metrics.sum("rfm_firewall_packets_total", &labels),
        3 * COUNT
    );
    let mut arrived = std::collections::BTreeMap::new();
    let mut buffer = [0; 100];
    while let Ok((_, from)) = socket.recv_from(&mut buffer) {
        *arrived.entry(from.ip().to_string()).or_insert(0) += 1;
    }
    let expected = ["10.98.0.77", "192.168.9.1", "8.8.8.8"];
    let expected = expected.map(|source| (source.to_owned(), COUNT));
    assert_eq!(arrived, expected.into());
    fixture.agent.stop();
}
