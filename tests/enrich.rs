// SPDX-License-Identifier: AGPL-3.0-only
//! Labels of live traffic: what the databases and the configuration say of its addresses, and how the
//! series keep within their limit.

mod common;

use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use common::agent::{Agent, EACH_PACKET, EXACT, config};
use common::cases::{DST_MAC, SRC_MAC};
use common::frames::Frame;
use common::lab::{Lab, Namespace, can_run};
use common::metrics::Metrics;
use common::mmdb::{Value, Writer};
use common::packet::Sender;

const DATA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/mmdb");
const SETTLED: Duration = Duration::from_secs(5);

/// A silent namespace in which frames are sent on `v0`, and what sends them.
fn wire(lab: &Lab) -> (Namespace, Sender) {
    let namespace = lab.namespace("e");
    lab.veth((&namespace, "v0"), (&namespace, "v1"));
    let sender = namespace.inside(|| Sender::new("v0").expect("a packet socket"));
    (namespace, sender)
}

fn databases(asn: &Path, city: &Path) -> String {
    let (asn, city) = (asn.display(), city.display());
    format!("[agent.enrich.mmdb]\nasn_db = \"{asn}\"\ncity_db = \"{city}\"\n")
}

/// The database that comes with MaxMind's tests, where it may be replaced.
fn copy(lab: &Lab, name: &str) -> std::path::PathBuf {
    let path = lab.path(name);
    fs::copy(Path::new(DATA).join(name), &path).expect("copied");
    path
}

fn send(sender: &Sender, src: &str, dst: &str, count: u64) {
    let frame = Frame::ethernet(SRC_MAC, DST_MAC);
    let frame = match (src.parse().unwrap(), dst.parse().unwrap()) {
        (IpAddr::V4(src), IpAddr::V4(dst)) => frame.ipv4(src, dst),
        (IpAddr::V6(src), IpAddr::V6(dst)) => frame.ipv6(src, dst),
        _ => panic!("two families"),
    };
    let frame = frame.udp().payload(20).build();
    for _ in 0..count {
        sender.send(&frame, 0).expect("sent");
    }
}

fn packets(metrics: &Metrics, labels: &[(&str, &str)]) -> u64 {
    metrics.sum("rfm_flow_packets_total", labels)
}

fn accounted(metrics: &Metrics) -> u64 {
    metrics.sum("rfm_collector_accounted_packets_total", &[])
}

#[test]
fn labels_of_live_traffic_are_those_of_the_databases() {
    if !can_run(&["ip", "sysctl"]) {
        return;
    }
    let lab = Lab::new();
    let (namespace, sender) = wire(&lab);
    let (asn, city) = (
        copy(&lab, "GeoLite2-ASN-Test.mmdb"),
        copy(&lab, "GeoLite2-City-Test.mmdb"),
    );
    let prefixes =
        "[[agent.enrich.prefix]]\nprefix = \"10.0.0.0/8\"\nasn = 65000\nname = \"own\"\n";
    let more = format!("{EACH_PACKET}{}{prefixes}", databases(&asn, &city));
    let labels = "labels = [\"ifname\", \"direction\", \"src_asn\", \"dst_asn\", \"src_city\", \
                  \"dst_city\", \"src_country\", \"dst_country\", \"src_net\", \"dst_net\"]\n";
    let config = config(r#"["v0"]"#, &more) + labels;
    let agent = Agent::start(&lab, &namespace, &config);
    type Ends = [(&'static str, &'static str, &'static str, &'static str); 2];
    let cases: [(&str, &str, Ends); 5] = [
        (
            "1.0.0.1",
            "1.128.0.1",
            [("15169", "", "", ""), ("1221", "", "", "")],
        ),
        (
            "81.2.69.142",
            "10.1.2.3",
            [("", "London", "GB", ""), ("65000", "", "", "own")],
        ),
        (
            "89.160.20.120",
            "175.16.199.1",
            [
                ("29518", "Linköping", "SE", ""),
                ("", "Changchun", "CN", ""),
            ],
        ),
        (
            "2001:480::1",
            "2600:7000::1",
            [("", "San Diego", "US", ""), ("6939", "", "", "")],
        ),
        (
            "192.0.2.1",
            "224.0.0.5",
            [("", "", "", ""), ("", "", "", "")],
        ),
    ];
    let mut sent = 0;
    for (n, (src, dst, _)) in (1..).zip(&cases) {
        send(&sender, src, dst, n);
        sent += n;
    }
    let (metrics, all) = agent.scrape_until(SETTLED, |m| accounted(m) == sent);
    assert!(all, "{} of {sent} accounted", accounted(&metrics));
    for (n, (src, dst, [s, d])) in (1..).zip(cases) {
        let labels = [
            ("direction", "egress"),
            ("src_asn", s.0),
            ("src_city", s.1),
            ("src_country", s.2),
            ("src_net", s.3),
            ("dst_asn", d.0),
            ("dst_city", d.1),
            ("dst_country", d.2),
            ("dst_net", d.3),
        ];
        assert_eq!(packets(&metrics, &labels), n, "{src} to {dst}");
    }
    assert_eq!(
        metrics.get("rfm_flow_packets_total", &[]),
        Some(sent as f64)
    );
    for (asn, name, there) in [
        ("15169", "Google Inc.", true),
        ("1221", "Telstra Pty Ltd", true),
        ("29518", "Bredband2 AB", true),
        ("6939", "Hurricane Electric, Inc.", true),
        // in the database, and not in the traffic
        ("71", "Hewlett-Packard Company", false),
    ] {
        let found = metrics.get("rfm_asn_info", &[("asn", asn), ("name", name)]);
        assert_eq!(found.is_some(), there, "{asn}");
    }
    // 65000 is no AS of the database
    assert_eq!(metrics.get("rfm_asn_info", &[]), Some(4.0));
    for database in ["asn", "city"] {
        let built = metrics.get(
            "rfm_mmdb_build_timestamp_seconds",
            &[("database", database)],
        );
        assert_eq!(built, Some(1_770_245_369.0), "{database}");
    }
    agent.stop();
}

/// 192.0.2.0/24 is AS `number`.
fn one(number: u32) -> Vec<u8> {
    let mut writer = Writer::new(4, 24, number);
    writer.insert("192.0.2.0/24", &common::mmdb::asn(number, "Example"));
    writer.finish()
}

#[test]
fn a_replaced_database_labels_what_comes_later() {
    if !can_run(&["ip", "sysctl"]) {
        return;
    }
    let lab = Lab::new();
    let (namespace, sender) = wire(&lab);
    let path = lab.path("asn.mmdb");
    fs::write(&path, one(64500)).expect("written");
    let more = format!("{EACH_PACKET}{}", databases(&path, Path::new("")));
    let agent = Agent::start(&lab, &namespace, &config(r#"["v0"]"#, &more));
    let of = |asn| [("src_asn", asn)];
    let built = |m: &Metrics| m.sum("rfm_mmdb_build_timestamp_seconds", &[("database", "asn")]);
    let errors = |m: &Metrics| m.sum("rfm_errors_total", &[("subsystem", "mmdb")]);

    send(&sender, "192.0.2.1", "203.0.113.1", 5);
    let (metrics, _) = agent.scrape_until(SETTLED, |m| accounted(m) == 5);
    assert_eq!(
        (packets(&metrics, &of("64500")), built(&metrics)),
        (5, 64500)
    );

    fs::write(lab.path("new"), one(64501)).expect("written");
    fs::rename(lab.path("new"), &path).expect("renamed");
    let (_, noticed) = agent.scrape_until(SETTLED, |m| built(m) == 64501);
    assert!(noticed, "within five seconds");
    // the flow thread asks for news twice a second
    std::thread::sleep(Duration::from_millis(600));
    send(&sender, "192.0.2.1", "203.0.113.1", 7);
    let (metrics, _) = agent.scrape_until(SETTLED, |m| accounted(m) == 12);
    assert_eq!(
        packets(&metrics, &of("64500")),
        5,
        "counts stay where they were"
    );
    assert_eq!(packets(&metrics, &of("64501")), 7);
    let live = |asn| metrics.get("rfm_flow_sampled_packets", &of(asn));
    assert_eq!(
        (live("64500"), live("64501")),
        (None, Some(12.0)),
        "gauges follow"
    );

    // cut short in place: refused, counted, and what is known stays
    let file = fs::File::options().write(true).open(&path).expect("there");
    file.set_len(100).expect("cut");
    let (_, refused) = agent.scrape_until(SETTLED, |m| errors(m) == 1);
    assert!(refused, "{}", agent.log());
    send(&sender, "192.0.2.1", "203.0.113.2", 3);
    let (metrics, _) = agent.scrape_until(SETTLED, |m| accounted(m) == 15);
    assert_eq!((packets(&metrics, &of("64501")), errors(&metrics)), (10, 1));
    let told =
        "it is incomplete, or no MMDB database: download it again; the previous one stays in use";
    assert_eq!(agent.log().matches(told).count(), 1, "{}", agent.log());
    agent.stop();
}

/// 32,768 networks, each an AS of its own: 16.0.0.0/24 is AS 1.
fn many() -> Vec<u8> {
    let mut writer = Writer::new(4, 32, 1);
    for n in 0..32_768u32 {
        let network = Ipv4Addr::from_bits((16 << 24) + (n << 8));
        let record = Value::Map(vec![("asn", Value::Number(n + 1))]);
        writer.insert(&format!("{network}/24"), &record);
    }
    writer.finish()
}

fn host(asn: u32) -> Ipv4Addr {
    Ipv4Addr::from_bits((16 << 24) + ((asn - 1) << 8) + 1)
}

/// Ten networks carry much, both before and while somebody scans 20,000 others from 20,000 addresses.
#[test]
fn scanners_do_not_push_the_top_networks_out() {
    if !can_run(&["ip", "sysctl"]) {
        return;
    }
    const SCANNED: u32 = 20_000;
    const TOP: [u32; 10] = [
        30_001, 30_002, 30_003, 30_004, 30_005, 30_006, 30_007, 30_008, 30_009, 30_010,
    ];
    let lab = Lab::new();
    let (namespace, sender) = wire(&lab);
    let path = lab.path("asn.mmdb");
    fs::write(&path, many()).expect("written");
    let bpf = format!("{EXACT}ring_buf_size = 4194304\n");
    let more = format!("{bpf}{}", databases(&path, Path::new("")));
    let config = config(r#"["v0"]"#, &more) + "max_series = 64\n";
    let agent = Agent::start(&lab, &namespace, &config);

    let own = Ipv4Addr::new(198, 51, 100, 1);
    let frame = |src, dst, size| {
        let frame = Frame::ethernet(SRC_MAC, DST_MAC).ipv4(src, dst);
        frame.udp().payload(size).build()
    };
    let mut top = 0;
    let mut carry = |count| {
        for asn in TOP {
            let frame = frame(own, host(asn), 1000);
            (0..count).for_each(|_| sender.send(&frame, 0).expect("sent"));
        }
        top += count;
    };
    carry(20);
    for asn in 1..=SCANNED {
        sender.send(&frame(host(asn), own, 20), 0).expect("sent");
        if asn % 1000 == 0 {
            carry(5);
        }
    }
    let sent = u64::from(SCANNED) + 10 * top;
    let (metrics, all) = agent.scrape_until(SETTLED, |m| accounted(m) == sent);
    assert!(all, "{} of {sent} accounted", accounted(&metrics));
    for asn in TOP {
        let asn = asn.to_string();
        assert_eq!(packets(&metrics, &[("dst_asn", &asn)]), top, "AS {asn}");
    }
    let other = packets(&metrics, &[("src_asn", "other"), ("dst_asn", "other")]);
    assert!(other > u64::from(SCANNED) * 9 / 10, "{other}");
    assert!(metrics.sum("rfm_flow_series", &[]) <= 64);
    assert_eq!(metrics.sum("rfm_flow_series_limit", &[]), 64);
    assert!(metrics.sum("rfm_flow_series_folded_total", &[]) > 0);
    agent.stop();
}

#[test]
fn labels_left_out_roll_up_to_the_same_totals() {
    if !can_run(&["ip", "sysctl"]) {
        return;
    }
    let lab = Lab::new();
    let (namespace, sender) = wire(&lab);
    let city = copy(&lab, "GeoLite2-City-Test.mmdb");
    let asn = copy(&lab, "GeoLite2-ASN-Test.mmdb");
    let more = format!("{EACH_PACKET}{}", databases(&asn, &city));
    let config = config(r#"["v0"]"#, &more) + "labels = [\"dst_asn\", \"ifname\"]\n";
    let agent = Agent::start(&lab, &namespace, &config);
    // of three cities to two ASes
    for (src, dst, count) in [
        ("81.2.69.142", "1.0.0.1", 1),
        ("89.160.20.120", "1.0.0.1", 2),
        ("175.16.199.1", "1.0.0.1", 4),
        ("175.16.199.1", "15.0.0.1", 8),
    ] {
        send(&sender, src, dst, count);
    }
    agent.scrape_until(SETTLED, |m| accounted(m) == 15);
    let reply = agent.get("/metrics").expect("/metrics");
    let lines = reply
        .body
        .lines()
        .filter(|l| l.starts_with("rfm_flow_packets_total{"));
    let mut lines: Vec<_> = lines.collect();
    lines.sort_unstable();
    assert_eq!(
        lines,
        [
            r#"rfm_flow_packets_total{ifname="v0",dst_asn="15169"} 7"#,
            r#"rfm_flow_packets_total{ifname="v0",dst_asn="71"} 8"#,
        ]
    );
    agent.stop();
}

#[test]
fn a_start_without_a_usable_database_fails_and_says_why() {
    if !can_run(&["ip", "sysctl"]) {
        return;
    }
    let lab = Lab::new();
    let broken = lab.file("broken.mmdb", "no database");
    for (path, reason) in [
        (
            lab.path("none.mmdb"),
            "no such file or directory; check the path",
        ),
        (
            broken,
            "it is incomplete, or no MMDB database: download it again",
        ),
    ] {
        let text = config(r#"["lo"]"#, &databases(&path, Path::new("")));
        let file = lab.file("rfm.toml", &text);
        for (arguments, code) in [(&["--check"][..], 2), (&[], 1)] {
            let mut command = Command::new(env!("CARGO_BIN_EXE_rfm"));
            command.arg("--config").arg(&file).args(arguments);
            let output = command.output().expect("started");
            let said = String::from_utf8_lossy(&output.stderr);
            let path = path.display();
            let expected = format!("agent.enrich.mmdb.asn_db: cannot use {path}: {reason}\n");
            assert!(said.ends_with(&expected), "{said}");
            assert_eq!(output.status.code(), Some(code), "{said}");
        }
    }
}
