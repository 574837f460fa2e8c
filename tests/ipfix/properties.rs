// SPDX-License-Identifier: AGPL-3.0-only
//! Random flows in, decoded by another's decoder, equal out; tshark finds nothing malformed.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::process::Command;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use rfm::flow::table::{CompletedRecord, EndReason};
use rfm::types::flow::{Direction, Family, FlowKey, FlowRecord};

use super::common::lab::run;
use super::decode::{OF_ENTERPRISE, Record};
use super::fixture::{DOMAIN, Fixture, Listener, OFFSET, routing};

fn any_key() -> impl Strategy<Value = FlowKey> {
    let protocol = prop_oneof![Just(1u8), Just(6), Just(17), Just(58), any::<u8>()];
    (
        any::<([u8; 16], [u8; 16], u32, u16, u16)>(),
        (0..4096u16, 0..4096u16),
        protocol,
        any::<(bool, bool)>(),
    )
        .prop_map(
            |((mut src, mut dst, ifindex, src_port, dst_port), vlans, protocol, (v4, out))| {
                if v4 {
                    src[4..].fill(0);
                    dst[4..].fill(0);
                }
                FlowKey {
                    src,
                    dst,
                    ifindex,
                    src_port,
                    dst_port,
                    vlan_outer: vlans.0,
                    vlan_inner: vlans.1,
                    protocol,
                    direction: if out {
                        Direction::Egress
                    } else {
                        Direction::Ingress
                    },
                    family: if v4 { Family::Ipv4 } else { Family::Ipv6 },
                }
            },
        )
}

fn any_part() -> impl Strategy<Value = CompletedRecord> {
    let reason = prop_oneof![
        Just(EndReason::IdleTimeout),
        Just(EndReason::ActiveTimeout),
        Just(EndReason::EndOfFlow),
        Just(EndReason::ForcedEnd),
        Just(EndReason::LackOfResources),
    ];
    // the rate may be any, but few are there at a time
    let rate = prop_oneof![Just(1u32), Just(100), Just(u32::MAX)];
    (
        any_key(),
        any::<(u64, u64, u64, u64, u64, u32)>(),
        prop_oneof![Just(([0; 6], [0; 6])), any::<([u8; 6], [u8; 6])>()],
        any::<(u8, u8)>(),
        rate,
        reason,
    )
        .prop_map(
            |(key, (packets, bytes, octets, first, last, from), macs, bits, rate, reason)| {
                CompletedRecord {
                    record: FlowRecord {
                        key,
                        packets,
                        frame_bytes: bytes,
                        ip_bytes: octets,
                        first,
                        last,
                        sample_rate: rate,
                        ingress_ifindex: from,
                        src_mac: macs.0,
                        dst_mac: macs.1,
                        tcp_flags: bits.0,
                        tos: bits.1,
                        weights: Default::default(),
                    },
                    reason,
                    dropped: bits.0 & 1 == 1,
                }
            },
        )
}

/// The fields as RFC 7012 and IANA's registry number them, written out once more.
fn expected(part: &CompletedRecord) -> BTreeMap<u16, Vec<u8>> {
    let r = &part.record;
    let k = &r.key;
    let known = routing(k);
    let v4 = k.family == Family::Ipv4;
    let bytes = |a: Option<IpAddr>| match a {
        Some(IpAddr::V4(a)) => a.octets().to_vec(),
        Some(IpAddr::V6(a)) => a.octets().to_vec(),
        None => unreachable!("all are known"),
    };
    let size = if v4 { 4 } else { 16 };
    let egress = k.direction == Direction::Egress;
    let (input, output) = if egress {
        (r.ingress_ifindex, k.ifindex)
    } else {
        (k.ifindex, 0)
    };
    let mut fields: Vec<(u16, Vec<u8>)> = vec![
        (if v4 { 8 } else { 27 }, k.src[..size].into()),
        (if v4 { 12 } else { 28 }, k.dst[..size].into()),
        (4, vec![k.protocol]),
        (7, k.src_port.to_be_bytes().into()),
        (11, k.dst_port.to_be_bytes().into()),
        (6, vec![r.tcp_flags]),
        (5, vec![r.tos]),
        (1, r.ip_bytes.to_be_bytes().into()),
        (2, r.packets.to_be_bytes().into()),
        (352, r.frame_bytes.to_be_bytes().into()),
        (
            152,
            (r.first.saturating_add_signed(OFFSET) / 1_000_000)
                .to_be_bytes()
                .into(),
        ),
        (
            153,
            (r.last.saturating_add_signed(OFFSET) / 1_000_000)
                .to_be_bytes()
                .into(),
        ),
        (10, input.to_be_bytes().into()),
        (14, output.to_be_bytes().into()),
        (61, vec![u8::from(egress)]),
        (
            136,
            vec![match part.reason {
                EndReason::IdleTimeout => 1,
                EndReason::ActiveTimeout => 2,
                EndReason::EndOfFlow => 3,
                EndReason::ForcedEnd => 4,
                EndReason::LackOfResources => 5,
            }],
        ),
        // the states in the order of docs/ipfix.md
        (OF_ENTERPRISE | 1, vec![(k.src_port % 7 + 1) as u8 % 7]),
        (89, vec![if part.dropped { 130 } else { 0 }]),
        (16, known.src.asn.to_be_bytes().into()),
        (17, known.dst.asn.to_be_bytes().into()),
        (128, known.dst.peer_asn.to_be_bytes().into()),
        (129, known.src.peer_asn.to_be_bytes().into()),
        (if v4 { 9 } else { 29 }, vec![known.src.prefix_len]),
        (if v4 { 13 } else { 30 }, vec![known.dst.prefix_len]),
        (if v4 { 18 } else { 63 }, bytes(known.dst.next_hop)),
        (if v4 { 15 } else { 62 }, bytes(known.ip_next_hop)),
    ];
    if (v4, k.protocol) == (true, 1) {
        fields.push((32, k.dst_port.to_be_bytes().into()));
    }
    if (v4, k.protocol) == (false, 58) {
        fields.push((139, k.dst_port.to_be_bytes().into()));
    }
    if (r.src_mac, r.dst_mac) != ([0; 6], [0; 6]) {
        fields.push((56, r.src_mac.into()));
        fields.push((80, r.dst_mac.into()));
        fields.push((58, k.vlan_outer.to_be_bytes().into()));
        fields.push((245, k.vlan_inner.to_be_bytes().into()));
    }
    fields.into_iter().collect()
}

/// What has come in, as a collector that takes each option at once reads it.
struct Reader {
    listener: Listener,
    rate: u64,
    sequence: Option<u32>,
}

impl Reader {
    /// So many records, each with the rate in force before it.
    fn read(&mut self, count: usize) -> Vec<(u64, BTreeMap<u16, Vec<u8>>)> {
        let mut records = Vec::new();
        while records.len() < count {
            let message = self
                .listener
                .next(super::fixture::ANSWER_TIMEOUT)
                .expect("a message");
            assert_eq!(message.domain, DOMAIN);
            let now = std::time::UNIX_EPOCH
                .elapsed()
                .expect("after 1970")
                .as_secs();
            assert!(now - u64::from(message.export_time) < 60);
            let expected = self.sequence.unwrap_or(message.sequence);
            assert_eq!(message.sequence, expected, "RFC 7011 section 3.1");
            self.sequence = Some(message.sequence.wrapping_add(message.records.len() as u32));
            for record in message.records {
                self.take(record, &mut records);
            }
        }
        records
    }

    fn take(&mut self, record: Record, records: &mut Vec<(u64, BTreeMap<u16, Vec<u8>>)>) {
        if record.is_flow() {
            records.push((self.rate, record.fields));
        } else if record.has(34) {
            assert_eq!(record.number(149), u64::from(DOMAIN));
            self.rate = record.number(34);
        }
    }
}

#[test]
fn random_flows_come_out_as_they_went_in() {
    let listener = Listener::new();
    let fixture = RefCell::new(Fixture::with_source_check(listener.port()));
    let reader = RefCell::new(Reader {
        listener,
        rate: 0,
        sequence: None,
    });
    reader.borrow_mut().listener.introduced();
    // its options say 1
    reader.borrow_mut().rate = 1;
    let config = Config {
        cases: 20,
        failure_persistence: None,
        max_shrink_iters: 0,
        ..Config::default()
    };
    let flows = prop::collection::vec(any_part(), 1..800);
    let total = RefCell::new(0);
    TestRunner::new(config)
        .run(&flows, |parts| {
            fixture.borrow_mut().export(&parts);
            *total.borrow_mut() += parts.len();
            let mut got = reader.borrow_mut().read(parts.len());
            let mut wanted: Vec<_> = parts
                .iter()
                .map(|part| (u64::from(part.record.sample_rate), expected(part)))
                .collect();
            got.sort();
            wanted.sort();
            prop_assert_eq!(got, wanted);
            Ok(())
        })
        .unwrap();
    let total = total.into_inner();
    let (sent, dropped) = fixture.borrow().settle(total as u64);
    assert_eq!((sent, dropped), (total as u64, 0));
    tshark_agrees(&reader.borrow().listener.raw, total);
}

/// Nothing malformed, and as many records.
fn tshark_agrees(messages: &[Vec<u8>], records: usize) {
    if !super::common::lab::can_run(&["tshark"]) {
        return;
    }
    let name = format!("ipfix-{}.pcap", std::process::id());
    let file = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::write(&file, pcap(messages)).unwrap();
    let tshark = |args: &[&str]| {
        let mut command = Command::new("tshark");
        command
            .args(["-n", "-d", "udp.port==4739,cflow", "-r"])
            .arg(&file)
            .args(args);
        run(&mut command)
    };
    let bad = tshark(&["-Y", "_ws.malformed || _ws.expert"]);
    let reasons = tshark(&[
        "-T",
        "fields",
        "-E",
        "aggregator=/s",
        "-e",
        "cflow.flow_end_reason",
    ]);
    std::fs::remove_file(&file).unwrap();
    assert_eq!(bad, "");
    assert_eq!(reasons.split_whitespace().count(), records);
}

/// Messages as packets of a capture without link layer.
fn pcap(messages: &[Vec<u8>]) -> Vec<u8> {
    const LINKTYPE_RAW: u32 = 101;
    let mut out = Vec::new();
    for word in [0xa1b2_c3d4u32, 0x0004_0002, 0, 0, 65_535, LINKTYPE_RAW] {
        out.extend(word.to_ne_bytes());
    }
    for message in messages {
        let length = message.len() as u32 + 28;
        for word in [1_700_000_000u32, 0, length, length] {
            out.extend(word.to_ne_bytes());
        }
        out.extend([0x45, 0]);
        out.extend((length as u16).to_be_bytes());
        out.extend([0, 0, 0, 0, 64, 17, 0, 0, 127, 0, 0, 1, 127, 0, 0, 1]);
        for field in [40_000u16, 4739, message.len() as u16 + 8, 0] {
            out.extend(field.to_be_bytes());
        }
        out.extend(message);
    }
    out
}
