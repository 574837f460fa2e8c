// SPDX-License-Identifier: AGPL-3.0-only
//! `rfm flows` and `rfm top`: what the generated traffic was, no more and no less.

use std::net::Ipv4Addr;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use humantime_serde::re::humantime::parse_rfc3339;
use serde_json::{Value, json};

use crate::common::agent::Agent;
use crate::common::cases::{DOT1Q, DST_MAC, DST6, SRC_MAC, SRC6};
use crate::common::frames::Frame;
use crate::common::lab::{Lab, Namespace, can_run, wait_for};
use crate::common::packet::Sender;
use crate::harness::{Fixture, Folder, config, parts, rfm};

const PREFIXES: &str = "[[agent.enrich.prefix]]\nprefix = \"10.0.0.0/24\"\nasn = 64500\nname = \"lab\"\n\
                        [[agent.enrich.prefix]]\nprefix = \"10.0.1.0/24\"\nasn = 64501\n";

fn udp(host: u8, dst_port: u16, length: usize) -> Vec<u8> {
    Frame::ethernet(SRC_MAC, DST_MAC)
        .ipv4(Ipv4Addr::new(10, 0, 0, host), Ipv4Addr::new(10, 0, 1, 1))
        .udp()
        .ports(40_000, dst_port)
        .pad_to(length)
        .build()
}

fn send(namespace: &Namespace, frames: &[(Vec<u8>, u32)]) {
    namespace.inside(|| {
        let sender = Sender::new("v0").expect("a packet socket");
        for (frame, times) in frames {
            for _ in 0..*times {
                sender.send(frame, 0).expect("sent");
            }
        }
    });
}

/// Three IPv4 flows, a tagged TCP flow over IPv6, and an ICMP echo; waits until all are accounted.
fn traffic(fixture: &Fixture) {
    let tcp = Frame::ethernet(SRC_MAC, DST_MAC)
        .vlan(DOT1Q, 7)
        .ipv6(SRC6, DST6)
        .tcp(0x12)
        .ports(50_000, 443)
        .pad_to(1000)
        .build();
    let echo = Frame::ethernet(SRC_MAC, DST_MAC)
        .ipv4(Ipv4Addr::new(10, 0, 0, 1), Ipv4Addr::new(10, 0, 1, 9))
        .icmp(8, 0)
        .pad_to(98)
        .build();
    send(
        &fixture.namespace,
        &[
            (udp(1, 53, 100), 10),
            (udp(2, 53, 200), 20),
            (udp(3, 123, 300), 30),
            (tcp, 5),
            (echo, 2),
        ],
    );
    let accounted = || fixture.json("status")["flows"]["accounted_packets"] == 67;
    assert!(wait_for(Duration::from_secs(5), accounted));
}

fn hosts(list: &Value) -> Vec<String> {
    let flows = list["flows"].as_array().expect("a list").iter();
    let end = |flow: &Value| format!("{}>{}", flow["src"].as_str().unwrap(), flow["dst_port"]);
    flows.map(end).collect()
}

#[test]
fn flows_are_those_that_were_sent() {
    if !can_run(&["ip", "sysctl"]) {
        return;
    }
    let fixture = Fixture::new(PREFIXES);
    traffic(&fixture);
    let list = fixture.json("flows");
    assert_eq!(list["matched"], 5);
    let v6 = format!("{SRC6}>443");
    assert_eq!(
        hosts(&list),
        [
            "10.0.0.3>123",
            &v6,
            "10.0.0.2>53",
            "10.0.0.1>53",
            "10.0.0.1>2048"
        ]
    );
    let largest = &list["flows"][0];
    for (field, value) in [
        ("interface", json!("v1")),
        ("direction", json!("ingress")),
        ("protocol", json!(17)),
        ("dst", json!("10.0.1.1")),
        ("src_port", json!(40_000)),
        ("bytes", json!(9000)),
        ("packets", json!(30)),
        ("sampled_packets", json!(30)),
        ("sample_rate", json!(1)),
        ("vlan", json!(0)),
        ("src_asn", json!(64500)),
        ("dst_asn", json!(64501)),
        ("src_net", json!("lab")),
        ("dst_net", json!(null)),
        ("bytes_per_second", json!(9000)),
    ] {
        assert_eq!(largest[field], value, "{field}");
    }
    let tagged = &list["flows"][1];
    assert_eq!(
        (&tagged["vlan"], &tagged["tcp_flags"]),
        (&json!(7), &json!(0x12))
    );
    assert_eq!(tagged["src_asn"], json!(null));
    let first = tagged["first"].as_str().unwrap();
    assert!(first.len() == "2026-01-01T00:00:00.000000000Z".len() && first.ends_with('Z'));
}

#[test]
fn each_filter_and_order_chooses_its_own() {
    if !can_run(&["ip", "sysctl"]) {
        return;
    }
    let fixture = Fixture::new(PREFIXES);
    traffic(&fixture);
    let v6 = format!("{SRC6}>443");
    let all = [
        "10.0.0.3>123",
        &v6,
        "10.0.0.2>53",
        "10.0.0.1>53",
        "10.0.0.1>2048",
    ];
    let cases: [(&str, &[&str]); 15] = [
        ("--sort packets", &[all[0], all[2], all[3], all[1], all[4]]),
        ("--limit 2", &all[..2]),
        ("--protocol tcp", &[&v6]),
        ("--protocol 1", &all[4..]),
        ("--port 53", &[all[2], all[3]]),
        ("--src-port 53", &[]),
        ("--dst-port 123", &all[..1]),
        ("--address 10.0.0.2/31", &[all[0], all[2]]),
        ("--src 10.0.0.1", &all[3..]),
        ("--dst 10.0.1.9", &all[4..]),
        ("--asn AS64501 --port 53", &[all[2], all[3]]),
        ("--src-asn 64501", &[]),
        ("--dst-asn 64501 --limit 1", &all[..1]),
        ("--direction egress", &[]),
        ("--interface v1 --address 2001:db8::/32", &[&v6]),
    ];
    for (words, expected) in cases {
        assert_eq!(
            hosts(&fixture.json(&format!("flows {words}"))),
            expected,
            "{words}"
        );
    }
    let (code, _, error) = fixture.try_rfm("flows --interface v9");
    assert_eq!(
        (code, &*error),
        (
            1,
            "rfm: no monitored interface is called v9 (see: rfm status)\n"
        )
    );
    let (code, _, error) = fixture.try_rfm("flows --sort size");
    assert_eq!(code, 2);
    assert!(
        error.starts_with("rfm: --sort: expected one of bytes, packets, rate"),
        "{error}"
    );
}

#[test]
fn top_adds_up_by_any_label() {
    if !can_run(&["ip", "sysctl"]) {
        return;
    }
    let fixture = Fixture::new(PREFIXES);
    traffic(&fixture);
    let groups = |words: &str| {
        let top = fixture.json(&format!("top --once {words}"));
        let groups = top["top"].as_array().expect("a list").iter();
        let groups = groups.map(|g| (g["values"].clone(), g["bytes"].as_u64().unwrap()));
        groups.collect::<Vec<_>>()
    };
    assert_eq!(
        groups("--by proto"),
        [
            (json!({"proto": 17}), 14_000),
            (json!({"proto": 6}), 5000),
            (json!({"proto": 1}), 196),
        ]
    );
    assert_eq!(
        groups("--by src_asn,dst_port --protocol udp"),
        [
            (json!({"src_asn": 64500, "dst_port": 123}), 9000),
            (json!({"src_asn": 64500, "dst_port": 53}), 5000),
        ]
    );
    assert_eq!(
        groups("--by src_net,vlan --limit 1"),
        [(json!({"src_net": "lab", "vlan": null}), 14_196)]
    );
    assert_eq!(
        groups("--by ifname,direction"),
        [(json!({"ifname": "v1", "direction": "ingress"}), 19_196)]
    );
    let text = fixture.rfm("top --by src");
    let first = text.lines().nth(1).expect("a row");
    assert!(
        first.starts_with("10.0.0.3 ") && first.contains("46.9%"),
        "{text}"
    );
}

/// A VLAN's packets cross its parent, too; here a bridge stands for what lies above.
#[test]
fn what_is_stacked_is_counted_once() {
    if !can_run(&["ip", "sysctl"]) {
        return;
    }
    let lab = crate::common::lab::Lab::new();
    let namespace = lab.wire();
    namespace.ip("link add br0 type bridge");
    namespace.ip("link set v1 master br0");
    namespace.ip("link set br0 up");
    let mac = crate::common::lab::mac_of("v1");
    namespace.ip(&format!(
        "link set br0 address {}",
        mac.map(|b| format!("{b:02x}")).join(":")
    ));
    let folder = crate::harness::Folder::new();
    let config = crate::harness::config(&folder, "[\"v1\", \"br0\"]", 1, "");
    let agent = crate::common::agent::Agent::start(&lab, &namespace, &config);
    let frame = Frame::ethernet(SRC_MAC, mac)
        .ipv4(Ipv4Addr::new(10, 0, 0, 1), Ipv4Addr::new(10, 0, 1, 1))
        .udp()
        .ports(1, 2)
        .pad_to(100)
        .build();
    let fixture = Fixture {
        agent,
        namespace,
        folder,
        lab,
    };
    send(&fixture.namespace, &[(frame, 10)]);
    let seen = || fixture.json("flows --protocol udp")["matched"] == 2;
    assert!(wait_for(Duration::from_secs(5), seen), "once on each");
    let top = fixture.json("top --by proto --protocol udp");
    assert_eq!(top["left_out"], json!(["br0"]));
    assert_eq!(top["total"]["packets"], 10);
    assert_eq!(top["top"][0]["packets"], 10);
    let only = fixture.json("top --by ifname --interface br0 --protocol udp");
    assert_eq!(only["total"]["packets"], 10);
    let status = fixture.json("status");
    let interfaces = status["interfaces"].as_array().unwrap();
    let br0 = interfaces.iter().find(|i| i["name"] == "br0").unwrap();
    assert_eq!(br0["stacked_on"], "v1");
}

/// A full table is asked for its largest flows while records go on coming in.
#[test]
fn a_full_table_answers_soon() {
    if !can_run(&["ip", "sysctl"]) {
        return;
    }
    let fixture = Fixture::new("");
    fixture.namespace.inside(|| {
        let sender = Sender::new("v0").expect("a packet socket");
        for n in 0..60_000u32 {
            let [_, _, x, y] = n.to_be_bytes();
            let frame = Frame::ethernet(SRC_MAC, DST_MAC)
                .ipv4(Ipv4Addr::new(10, 9, x, y), Ipv4Addr::new(10, 0, 1, 1))
                .udp()
                .ports(n as u16, 9)
                .pad_to(60 + n as usize % 1000)
                .build();
            sender.send(&frame, 0).expect("sent");
        }
    });
    let full = || fixture.json("flows --limit 1")["matched"].as_u64() > Some(50_000);
    assert!(wait_for(Duration::from_secs(10), full));
    for path in [
        "/v1/flows?limit=1000",
        "/v1/top?by=src,dst_port&limit=1000",
        "/v1/top?by=src_asn,src_city",
    ] {
        let start = Instant::now();
        let (status, _) = fixture.get(path);
        let took = start.elapsed();
        println!(
            "{path}: {took:?} over {} flows",
            fixture.json("status")["flows"]["active"]
        );
        assert_eq!(status, 200);
        assert!(took < Duration::from_secs(3), "{path}: {took:?}");
    }
}

/// In a time namespace the agent's boot clock is not the one that the kernel stamps packets with.
#[test]
fn flow_times_are_right_in_a_time_namespace() {
    if !can_run(&["ip", "sysctl", "unshare"]) || !Path::new("/proc/self/timens_offsets").exists() {
        return;
    }
    let lab = Lab::new();
    let namespace = lab.wire();
    let folder = Folder::new();
    let text = config(&folder, "[\"v1\"]", 1, "");
    let inside = ["unshare", "--time", "--boottime", "1000000"];
    let agent = Agent::start_under(&lab, &namespace, &text, &inside);
    let before = SystemTime::now();
    send(&namespace, &[(udp(1, 53, 100), 10)]);
    let mut times = Vec::new();
    wait_for(Duration::from_secs(5), || {
        let (_, out, _) = parts(rfm(&folder.socket(), "flows --json"));
        let flows: Value = serde_json::from_str(&out).expect("JSON");
        let fields = ["first", "last"].map(|name| flows["flows"][0][name].as_str().map(time));
        times = fields.into_iter().flatten().collect();
        times.len() == 2
    });
    assert_eq!(times.len(), 2);
    for time in times {
        let after = time.duration_since(before - Duration::from_secs(2));
        assert!(after.is_ok_and(|d| d < Duration::from_secs(15)), "{time:?}");
    }
    agent.stop();
}

fn time(text: &str) -> SystemTime {
    parse_rfc3339(text).unwrap_or_else(|e| panic!("{text}: {e}"))
}
