// SPDX-License-Identifier: AGPL-3.0-only
//! The agent in a namespace, generated traffic, and what the collectors have understood of it.

use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::common::agent::{Agent, config};
use super::common::cases::{DOT1AD, DOT1Q, DST_MAC, DST4, DST6, SRC_MAC, SRC4, SRC6};
use super::common::frames::Frame;
use super::common::lab::{Lab, can_run, run};
use super::common::packet::{Sender, Super};
use super::decode::ENTERPRISE;
use super::peers::{Peers, Row, TOOLS, number};

const SETTLED: Duration = Duration::from_secs(15);

/// One generated flow, and what every collector must report.
struct Truth {
    frames: Vec<Vec<u8>>,
    segmented: Option<Super>,
    src_port: u16,
    protocol: u8,
    v6: bool,
    packets: u64,
    octets: u64,
    bytes: u64,
    tos: u8,
    flags: u8,
    vlans: (u16, u16),
    icmp: Option<(u8, u8)>,
    reason: u8,
}

fn ethernet() -> Frame {
    Frame::ethernet(SRC_MAC, DST_MAC)
}

fn truth(src_port: u16, protocol: u8, frames: Vec<Vec<u8>>, octets: u64) -> Truth {
    Truth {
        packets: frames.len() as u64,
        bytes: frames.iter().map(|f| f.len() as u64).sum(),
        frames,
        segmented: None,
        src_port,
        protocol,
        v6: false,
        octets,
        tos: 0,
        flags: 0,
        vlans: (0, 0),
        icmp: None,
        reason: 1,
    }
}

/// Every flow has another source port, or protocol where there is none.
fn truths() -> Vec<Truth> {
    let tcp = |port, flags: u8, payload| {
        let frame = ethernet().ipv4(SRC4, DST4).tos(0xb8).tcp(flags);
        frame.ports(port, 443).payload(payload).build()
    };
    let padded = ethernet().ipv4(SRC4, DST4).udp().ports(7, 53).pad_to(60);
    let tagged = ethernet().vlan(DOT1Q, 10).ipv4(SRC4, DST4).udp();
    let stacked = ethernet().vlan(DOT1AD, 20).vlan(DOT1Q, 30);
    let stacked = stacked.ipv4(SRC4, DST4).udp().ports(9, 53).payload(50);
    let ping = ethernet().ipv4(SRC4, DST4).icmp(8, 0).payload(56).build();
    let unreachable = ethernet().ipv6(SRC6, DST6).icmpv6(1, 4).payload(40).build();
    let six = ethernet()
        .ipv6(SRC6, DST6)
        .tos(0x28)
        .tcp(0x18)
        .ports(10, 80);
    let whole = ethernet()
        .ipv4(SRC4, DST4)
        .tcp(0x10)
        .ports(11, 443)
        .payload(3000);
    let segmented = Super {
        gso_size: 1000,
        transport: 34,
        payload: 54,
        udp: false,
        ipv6: false,
    };
    vec![
        Truth {
            tos: 0xb8,
            flags: 0x13,
            reason: 3,
            ..truth(
                6,
                6,
                vec![tcp(6, 2, 0), tcp(6, 0x10, 500), tcp(6, 0x11, 0)],
                620,
            )
        },
        // padding is of the frame and not of the packet
        truth(7, 17, vec![padded.build(); 4], 4 * 28),
        Truth {
            vlans: (10, 0),
            ..truth(
                8,
                17,
                vec![tagged.ports(8, 53).payload(80).build(); 2],
                2 * 108,
            )
        },
        Truth {
            vlans: (20, 30),
            ..truth(9, 17, vec![stacked.build()], 78)
        },
        Truth {
            icmp: Some((8, 0)),
            ..truth(0, 1, vec![ping; 3], 3 * 84)
        },
        Truth {
            icmp: Some((1, 4)),
            v6: true,
            ..truth(0, 58, vec![unreachable], 88)
        },
        Truth {
            v6: true,
            tos: 0x28,
            flags: 0x18,
            ..truth(10, 6, vec![six.payload(100).build(); 2], 320)
        },
        Truth {
            segmented: Some(segmented),
            flags: 0x10,
            packets: 3,
            bytes: 3 * 1054,
            ..truth(11, 6, vec![whole.build()], 3 * 1040)
        },
    ]
}

/// Static networks give the addresses of [`truths`] their ASes.
const NETWORKS: &str = "[[agent.enrich.prefix]]\nprefix = \"8.0.0.0/24\"\nasn = 64496\n\
    [[agent.enrich.prefix]]\nprefix = \"192.0.2.0/24\"\nasn = 4200000001\n\
    [[agent.enrich.prefix]]\nprefix = \"2001:db8::/32\"\nasn = 64498\n";

fn now_ms() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.expect("after 1970").as_millis() as u64
}

fn sampled(rate: u32) -> String {
    format!(
        "[agent.bpf]\nsample_rate = {rate}\n[agent.collector]\neviction_timeout = \"2s\"\nactive_timeout = \"1h\"\n"
    )
}

/// Until so many records went to each collector, and none was dropped.
fn wait_for_records(agent: &Agent, count: u64) {
    let of = |metrics: &super::common::metrics::Metrics| {
        Peers::ports().map(|port| {
            let collector = format!("127.0.0.1:{port}");
            metrics.sum("rfm_ipfix_records_total", &[("collector", &collector)])
        })
    };
    let (last, reached) = agent.scrape_until(SETTLED, |m| of(m) == [count; 2]);
    assert!(
        reached,
        "{:?} records, not {count}\n{}",
        of(&last),
        agent.log()
    );
    assert_eq!(last.sum("rfm_ipfix_dropped_records_total", &[]), 0);
}

#[test]
fn every_field_is_the_truth_in_every_collector() {
    if can_run(&TOOLS) {
        compare_fields("", "", false);
    }
}

/// The result of the source check is an enterprise-specific element (RFC 7011, section 3.2): collectors that do not know
/// it read all other fields as before.
#[test]
fn every_field_is_the_truth_beside_the_result_of_the_source_check() {
    if !can_run(&TOOLS) {
        return;
    }
    let number = format!("enterprise_number = {ENTERPRISE}");
    let check = "[agent.enrich.source_check]\nmode = \"count\"\n\
                 [agent.enrich.rib.bmp]\nhost = \"127.0.0.1\"\n";
    compare_fields(&number, check, true);
}

/// Exports each flow of [`truths`], and compares the fields that the collectors read. `with_result` is whether the records
/// have an enterprise-specific element.
fn compare_fields(ipfix: &str, more: &str, with_result: bool) {
    let lab = Lab::new();
    let wire = lab.wire();
    let mut peers = Peers::start(&lab, &wire);
    let more = [&sampled(1), &Peers::config(ipfix)[..], NETWORKS, more].concat();
    let more = format!("directions = [\"ingress\"]\n{more}");
    let agent = Agent::start(&lab, &wire, &config("[\"v1\"]", &more));
    let truths = truths();
    std::thread::sleep(Duration::from_secs(1));
    let start = now_ms();
    wire.inside(|| {
        let (plain, offload) = (
            Sender::new("v0").unwrap(),
            Sender::with_offload("v0").unwrap(),
        );
        for truth in &truths {
            for frame in &truth.frames {
                match truth.segmented {
                    Some(what) => offload.send_segmented(frame, what).unwrap(),
                    None => plain.send(frame, 0).unwrap(),
                }
            }
        }
    });
    let times = start - 20..=now_ms() + 20;
    wait_for_records(&agent, truths.len() as u64);
    agent.stop();
    peers.stop();
    let ifindex = wire.ifindex("v1");
    let (nfdump, nfacctd, tshark) = (peers.nfdump(), peers.nfacctd(), peers.tshark());
    for rows in [&nfdump, &nfacctd, &tshark] {
        assert_eq!(rows.len(), truths.len(), "{rows:#?}");
    }
    for row in &tshark {
        let has_result = row.contains_key("cflow.enterprise_private_entry");
        assert_eq!(has_result, with_result, "{row:#?}");
    }
    for truth in &truths {
        let first = check_nfdump(truth, &nfdump, ifindex);
        let ms = unix_ms(&first);
        assert!(times.contains(&ms), "{ms} is not in {times:?}");
        check_nfacctd(truth, &nfacctd, ifindex, &first);
        check_tshark(truth, &tshark, ifindex, &first);
    }
}

fn find(rows: &[Row], yes: impl Fn(&Row) -> bool) -> &Row {
    let found: Vec<_> = rows.iter().filter(|row| yes(row)).collect();
    assert_eq!(found.len(), 1, "{rows:#?}");
    found[0]
}

fn assert_fields(row: &Row, expected: &[(&str, String)]) {
    for (field, value) in expected {
        assert_eq!(row.get(*field), Some(value), "{field} in {row:#?}");
    }
}

fn addresses(truth: &Truth) -> (String, String) {
    match truth.v6 {
        true => (SRC6.to_string(), DST6.to_string()),
        false => (SRC4.to_string(), DST4.to_string()),
    }
}

fn ases(truth: &Truth) -> (String, String) {
    match truth.v6 {
        true => ("64498".into(), "64498".into()),
        false => ("64496".into(), "4200000001".into()),
    }
}

fn mac(mac: [u8; 6]) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}

/// The time of the first packet, in nfdump's words.
fn check_nfdump(truth: &Truth, rows: &[Row], ifindex: u32) -> String {
    let row = find(rows, |row| {
        number(row, "proto") == u64::from(truth.protocol)
            && number(row, "src_port") == u64::from(truth.src_port)
    });
    let (src, dst) = addresses(truth);
    let (src_as, dst_as) = ases(truth);
    let family = if truth.v6 { 6 } else { 4 };
    let flags = "CEUAPRSF".char_indices().map(|(i, name)| {
        let set = truth.flags & (0x80 >> i) != 0;
        if set { name } else { '.' }
    });
    assert_fields(
        row,
        &[
            (&format!("src{family}_addr"), src),
            (&format!("dst{family}_addr"), dst),
            ("in_packets", truth.packets.to_string()),
            ("in_bytes", truth.octets.to_string()),
            ("input_snmp", ifindex.to_string()),
            ("output_snmp", "0".into()),
            ("direction", "0".into()),
            ("src_as", src_as),
            ("dst_as", dst_as),
            ("src_vlan", truth.vlans.0.to_string()),
            ("in_src_mac", mac(SRC_MAC)),
            ("in_dst_mac", mac(DST_MAC)),
        ],
    );
    if truth.protocol == 6 {
        assert_fields(row, &[("tcp_flags", flags.collect())]);
    }
    match truth.icmp {
        Some((kind, code)) => {
            let (kind, code) = (kind.to_string(), code.to_string());
            assert_fields(row, &[("icmp_type", kind), ("icmp_code", code)]);
        }
        None => assert_fields(row, &[("src_tos", truth.tos.to_string())]),
    }
    row["first"].clone()
}

fn check_nfacctd(truth: &Truth, rows: &[Row], ifindex: u32, first: &str) {
    let name = match truth.protocol {
        1 => "icmp",
        6 => "tcp",
        17 => "udp",
        _ => "ipv6-icmp",
    };
    let row = find(rows, |row| {
        row["ip_proto"] == name && number(row, "port_src") == u64::from(truth.src_port)
    });
    let (src, dst) = addresses(truth);
    let (src_as, dst_as) = ases(truth);
    assert_fields(
        row,
        &[
            ("ip_src", src),
            ("ip_dst", dst),
            ("packets", truth.packets.to_string()),
            ("bytes", truth.octets.to_string()),
            ("tcp_flags", truth.flags.to_string()),
            ("tos", truth.tos.to_string()),
            ("iface_in", ifindex.to_string()),
            ("iface_out", "0".into()),
            ("as_src", src_as),
            ("as_dst", dst_as),
            ("vlan", truth.vlans.0.to_string()),
            ("mac_src", mac(SRC_MAC)),
            ("mac_dst", mac(DST_MAC)),
        ],
    );
    assert_eq!(clock(&row["timestamp_start"]), clock(first));
}

fn check_tshark(truth: &Truth, rows: &[Row], ifindex: u32, first: &str) {
    let row = find(rows, |row| {
        number(row, "cflow.protocol") == u64::from(truth.protocol)
            && number(row, "cflow.srcport") == u64::from(truth.src_port)
    });
    let (src, dst) = addresses(truth);
    let (src_as, dst_as) = ases(truth);
    let six = if truth.v6 { "v6" } else { "" };
    assert_fields(
        row,
        &[
            (&format!("cflow.srcaddr{six}"), src),
            (&format!("cflow.dstaddr{six}"), dst),
            ("cflow.packets", truth.packets.to_string()),
            ("cflow.octets", truth.octets.to_string()),
            ("cflow.layer2_octet_delta_count", truth.bytes.to_string()),
            ("cflow.tcpflags", format!("{:#04x}", truth.flags)),
            ("cflow.tos", format!("{:#04x}", truth.tos)),
            ("cflow.inputint", ifindex.to_string()),
            ("cflow.outputint", "0".into()),
            ("cflow.direction", "0".into()),
            ("cflow.flow_end_reason", truth.reason.to_string()),
            ("cflow.srcas", src_as),
            ("cflow.dstas", dst_as),
            ("cflow.vlanid", truth.vlans.0.to_string()),
            ("cflow.dot1q_customer_vlan_id", truth.vlans.1.to_string()),
            ("cflow.srcmac", mac(SRC_MAC)),
            ("cflow.dstmac", mac(DST_MAC)),
        ],
    );
    assert_eq!(clock(&row["cflow.abstimestart"]), clock(first));
}

/// `hh:mm:ss.mmm`, which all of them write somehow.
fn clock(time: &str) -> &str {
    let at = time.find(':').expect("a time") - 2;
    &time[at..at + 12]
}

/// Of a time in UTC such as `2026-11-25T04:05:18.213`.
fn unix_ms(time: &str) -> u64 {
    let text = run(Command::new("date").args(["-u", "+%s%3N", "-d", &time.replace('T', " ")]));
    text.trim().parse().expect("milliseconds")
}

/// Packets and octets in all.
fn totals(rows: &[Row], packets: &str, octets: &str) -> (u64, u64) {
    let sum = |field| rows.iter().map(|row| number(row, field)).sum();
    (sum(packets), sum(octets))
}

/// Sends 60,000 packets of 4 flows; what nfdump and nfacctd make of them, the sent ones, and those taken.
fn sampled_traffic(rate: u32) -> [(u64, u64); 4] {
    const PACKETS: u64 = 60_000;
    const PAYLOAD: usize = 172;
    const OCTETS: u64 = PAYLOAD as u64 + 28;
    let lab = Lab::new();
    let wire = lab.wire();
    let mut peers = Peers::start(&lab, &wire);
    let more = [sampled(rate), Peers::config("")].concat();
    let more = format!("directions = [\"ingress\"]\n{more}");
    let agent = Agent::start(&lab, &wire, &config("[\"v1\"]", &more));
    std::thread::sleep(Duration::from_secs(1));
    let frame = |port| {
        ethernet()
            .ipv4(SRC4, DST4)
            .udp()
            .ports(port, 53)
            .payload(PAYLOAD)
            .build()
    };
    let frames = [1, 2, 3, 4].map(frame);
    wire.inside(|| {
        let sender = Sender::new("v0").unwrap();
        for n in 0..PACKETS {
            sender.send(&frames[(n % 4) as usize], 0).unwrap();
        }
    });
    wait_for_records(&agent, 4);
    let taken = agent
        .scrape()
        .sum("rfm_interface_sampled_packets_total", &[]);
    agent.stop();
    peers.stop();
    [
        totals(&peers.nfdump(), "in_packets", "in_bytes"),
        totals(&peers.nfacctd(), "packets", "bytes"),
        (PACKETS, PACKETS * OCTETS),
        (taken, taken * OCTETS),
    ]
}

#[test]
fn what_is_sampled_is_scaled_by_the_collectors_themselves() {
    if !can_run(&TOOLS) {
        return;
    }
    let [nfdump, nfacctd, sent, taken] = sampled_traffic(10);
    assert_eq!(nfdump, (10 * taken.0, 10 * taken.1));
    assert_eq!(nfacctd, nfdump);
    // gaps uniform on 1..19 vary by 10/sqrt(3): 0.75 % of 6,000; this is four times that
    let error = nfdump.0 as f64 / sent.0 as f64 - 1.0;
    println!("{} of {} packets, {error:+.4}", nfdump.0, sent.0);
    assert!(error.abs() < 0.03, "{error}");
    let error = nfacctd.1 as f64 / sent.1 as f64 - 1.0;
    assert!(error.abs() < 0.03, "{error}");
}

#[test]
fn what_is_not_sampled_is_exact() {
    if !can_run(&TOOLS) {
        return;
    }
    let [nfdump, nfacctd, sent, taken] = sampled_traffic(1);
    assert_eq!([nfdump, nfacctd, taken], [sent; 3]);
}
