// SPDX-License-Identifier: AGPL-3.0-only

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};

use proptest::prelude::*;

use super::filter::Condition;
use super::top_list::{Addition, TopList};
use super::*;
use crate::flow::table::{CompletedRecord, FlowObserver, TableLimits};
use crate::flow::volume::Volume;
use crate::types::flow::{Direction, Family, FlowKey};
use crate::types::label::{Endpoint, Enrichment};

const SECOND_NS: u64 = 1_000_000_000;
const NOW_NS: u64 = 1000 * SECOND_NS;

/// Every address 10.N.x.y belongs to AS N of country "CN".
struct Named;

fn end(address: &[u8; 16]) -> Endpoint {
    let asn = u32::from(address[1]);
    Endpoint {
        asn,
        asn_name: Some(format!("AS {asn}").into()),
        country: Some(format!("C{asn}").into()),
        ..Endpoint::default()
    }
}

impl FlowContext for Named {
    fn known(&self, record: &FlowRecord) -> Enrichment {
        Enrichment {
            src: end(&record.key.src),
            dst: end(&record.key.dst),
            peer_asn: 0,
        }
    }

    fn asns(&self, key: &FlowKey, _: SetId) -> [u32; 2] {
        [end(&key.src).asn, end(&key.dst).asn]
    }

    fn asn_name(&self, asn: u32) -> Option<Arc<str>> {
        Some(format!("AS {asn}").into())
    }

    fn name(&self, _: u32) -> Option<Arc<str>> {
        None
    }
}

impl FlowObserver for Named {
    fn generation(&self) -> u32 {
        0
    }
    fn started(&mut self, _: &FlowRecord) -> SetId {
        SetId(0)
    }
    fn relabelled(&mut self, set: SetId, _: &FlowRecord) -> SetId {
        set
    }
    fn updated(&mut self, _: SetId, _: &FlowRecord) {}
    fn exported(&mut self, _: SetId, _: &CompletedRecord) {}
    fn ended(&mut self, _: SetId) {}
}

fn host(network: u8, host: u8) -> IpAddr {
    Ipv4Addr::new(10, network, 0, host).into()
}

fn bytes_of(address: IpAddr) -> [u8; 16] {
    let mut bytes = [0; 16];
    if let IpAddr::V4(address) = address {
        bytes[..4].copy_from_slice(&address.octets());
    }
    bytes
}

/// A record of TCP port 443, on interface 1.
fn record(direction: Direction, remote: IpAddr, local: IpAddr, bytes: u64) -> FlowRecord {
    let (src, dst, src_port, dst_port) = match direction {
        Direction::Ingress => (remote, local, 443, 40_000),
        Direction::Egress => (local, remote, 40_000, 443),
    };
    FlowRecord {
        key: FlowKey {
            src: bytes_of(src),
            dst: bytes_of(dst),
            ifindex: 1,
            src_port,
            dst_port,
            vlan_outer: 0,
            vlan_inner: 0,
            protocol: 6,
            direction,
            family: Family::Ipv4,
        },
        packets: bytes / 100,
        frame_bytes: bytes,
        ip_bytes: bytes,
        first: NOW_NS - 10 * SECOND_NS,
        last: NOW_NS,
        sample_rate: 2,
        ingress_ifindex: 0,
        src_mac: [0; 6],
        dst_mac: [0; 6],
        tcp_flags: 0,
        tos: 0,
        weights: Default::default(),
    }
}

fn query(list: TalkerList, conditions: Vec<Condition>) -> TalkerQuery {
    let interfaces = vec![1];
    TalkerQuery {
        filter: TrafficFilter {
            interfaces,
            conditions,
        },
        list,
    }
}

fn table(records: &[FlowRecord]) -> FlowTable {
    let mut table = FlowTable::new(TableLimits {
        max_flows: 1 << 16,
        idle_timeout_ms: 30_000,
        active_timeout_ms: 60_000,
        tcp_close_delay_ms: None,
        spread: false,
    });
    records.iter().for_each(|r| table.update(r, 0, &mut Named));
    table
}

fn seed(talkers: &mut Talkers, table: &FlowTable, now_ms: u64) {
    while talkers.seed(table, (now_ms, NOW_NS), Duration::ZERO, &Named) {}
}

fn count(talkers: &mut Talkers, record: &FlowRecord, now_ms: u64) {
    talkers.advance(now_ms);
    talkers.count(record, SetId(0), now_ms, &Named);
}

/// The talkers of an answer with the bytes of each direction.
fn listed(answer: &TalkerAnswer) -> Vec<(Talker, [u64; 2])> {
    let rows = answer.rows.iter();
    rows.map(|row| (row.talker, row.volumes.map(|v| v.bytes)))
        .collect()
}

#[test]
fn nothing_counts_until_somebody_asks_and_after_nobody_does() {
    let mut talkers = Talkers::default();
    let download = record(Direction::Ingress, host(1, 1), host(9, 9), 1000);
    count(&mut talkers, &download, 0);
    assert!(talkers.is_idle());
    let hosts = query(TalkerList::Hosts(TrafficEnd::Remote), Vec::new());
    talkers.open(&hosts, 1000);
    seed(&mut talkers, &table(&[]), 1000);
    count(&mut talkers, &download, 2000);
    let upload = record(Direction::Egress, host(1, 1), host(9, 9), 300);
    count(&mut talkers, &upload, 2000);
    let answer = talkers.answer(&hosts, 3000, &Named);
    let expected = [(Talker::Host(host(1, 1)), [2000, 600])];
    assert_eq!(listed(&answer), expected);
    assert_eq!(answer.covered_ms, 2000);
    assert_eq!(answer.rows[0].asn_name.as_deref(), Some("AS 1"));
    talkers.advance(1000 + KEEP_MS);
    assert!(talkers.is_idle());
    assert_eq!(talkers.answer(&hosts, 0, &Named).bytes, 0);
}

#[test]
fn a_new_list_starts_with_the_flow_table() {
    let mut talkers = Talkers::default();
    let flows: Vec<_> = (0..200u8)
        .map(|n| record(Direction::Ingress, host(1, n), host(9, 9), 1000))
        .collect();
    let table = table(&flows);
    let prefixes = query(TalkerList::Prefixes(TrafficEnd::Remote), Vec::new());
    talkers.open(&prefixes, 60_000);
    assert!(talkers.is_seeding());
    // a record that arrives meanwhile is in the table
    count(&mut talkers, &flows[0], 60_000);
    seed(&mut talkers, &table, 60_000);
    let answer = talkers.answer(&prefixes, 60_000, &Named);
    let network = Talker::Network(host(1, 0));
    assert_eq!(listed(&answer), [(network, [400_000, 0])]);
    assert!(answer.is_complete);
    assert_eq!(answer.covered_ms, 10_000);
    // 200 flows of 2,000 bytes in 10 s
    let now = answer.rows[0].volumes[0].bytes_now;
    assert!((now - 40_000.0).abs() < 1.0, "{now}");
    // the next tick replaces the rate
    talkers.advance(65_000);
    let answer = talkers.answer(&prefixes, 65_000, &Named);
    assert_eq!(answer.rows[0].volumes[0].bytes_now, 0.0);
    assert_eq!(answer.rows[0].volumes[0].bytes, 400_000);
}

#[test]
fn conditions_select_the_traffic() {
    let both = [
        record(Direction::Ingress, host(1, 1), host(9, 9), 1000),
        record(Direction::Egress, host(1, 1), host(9, 9), 100),
        record(Direction::Ingress, host(2, 1), host(9, 9), 1000),
        record(Direction::Ingress, host(1, 2), host(8, 8), 1000),
    ];
    let mut other = both[0];
    other.key.ifindex = 2;
    let prefix = |text: &str| text.parse().unwrap();
    let asn = Condition::Asn(TrafficEnd::Remote, 1);
    for (conditions, expected) in [
        (vec![], [6000, 200]),
        (vec![asn.clone()], [4000, 200]),
        (
            vec![Condition::Country(TrafficEnd::Remote, "C2".into())],
            [2000, 0],
        ),
        (vec![Condition::Asn(TrafficEnd::Local, 9)], [4000, 200]),
        (
            vec![
                asn,
                Condition::Address(TrafficEnd::Local, prefix("10.8.0.0/24")),
            ],
            [2000, 0],
        ),
        (
            vec![Condition::Address(
                TrafficEnd::Remote,
                prefix("10.8.0.0/24"),
            )],
            [0, 0],
        ),
        (vec![Condition::Service(6, 443)], [6000, 200]),
        (vec![Condition::Service(17, 443)], [0, 0]),
        (vec![Condition::Protocol(6)], [6000, 200]),
        (vec![Condition::Peer(TrafficEnd::Remote, 5)], [0, 0]),
    ] {
        let query = query(TalkerList::Services, conditions);
        let mut talkers = Talkers::default();
        talkers.open(&query, 0);
        seed(&mut talkers, &table(&[]), 0);
        for record in both.iter().chain([&other]) {
            count(&mut talkers, record, 1000);
        }
        talkers.advance(TICK_MS);
        let answer = talkers.answer(&query, TICK_MS, &Named);
        assert_eq!(answer.totals.map(|t| t.bytes), expected, "{query:?}");
        let service = (Talker::Service(6, 443), expected);
        let rows = if expected == [0, 0] {
            vec![]
        } else {
            vec![service]
        };
        assert_eq!(listed(&answer), rows);
        let point = answer.points[0].map(|families| families[0][0] * 5.0);
        assert_eq!(point, expected.map(|bytes| bytes as f32));
    }
}

#[test]
fn icmp_has_no_port() {
    let mut ping = record(Direction::Ingress, host(1, 1), host(9, 9), 100);
    (ping.key.protocol, ping.key.src_port, ping.key.dst_port) = (1, 0, 8 << 8);
    assert_eq!(filter::service(&ping.key), (1, 0));
}

#[test]
fn watches_and_lists_are_bounded() {
    let mut talkers = Talkers::default();
    let of = |asn, list| query(list, vec![Condition::Asn(TrafficEnd::Remote, asn)]);
    let lists = [
        TalkerList::Services,
        TalkerList::Hosts(TrafficEnd::Remote),
        TalkerList::Hosts(TrafficEnd::Local),
    ];
    for n in 0..40u32 {
        for list in lists {
            talkers.open(&of(n, list), n.into());
        }
        assert!(talkers.watches.len() <= MAX_WATCHES);
        let held: usize = talkers.watches.iter().map(|w| w.lists.len()).sum();
        assert!(held <= MAX_LISTS, "{held}");
    }
    seed(&mut talkers, &table(&[]), 40);
    // the lists that were asked last are complete
    let answer = talkers.answer(&of(39, TalkerList::Services), 40, &Named);
    assert!(answer.is_complete && answer.evicted_lists > 90);
    // lists of everything, and an hour of points
    for tick in 0..POINTS as u64 + 10 {
        for n in 0..=255 {
            let conditions = [39, 38, 37, 36, 35].map(|asn| of(asn, lists[0]));
            for query in &conditions {
                talkers.open(query, tick * TICK_MS);
            }
            for watch in &mut talkers.watches {
                let record = record(Direction::Ingress, host(tick as u8, n), host(9, n), 100);
                watch.count(&record, SetId(0), tick * TICK_MS, &Named);
            }
        }
        talkers.advance(tick * TICK_MS);
    }
    let answer = talkers.answer(&of(39, TalkerList::Services), 0, &Named);
    assert_eq!(answer.points.len(), POINTS);
    let most = MAX_LISTS * 110_000 + MAX_WATCHES * 50_000;
    println!("{} bytes", answer.bytes);
    assert!(answer.bytes < most, "{} bytes", answer.bytes);
}

/// A flood of addresses seen once evicts no host with more than its share.
#[test]
fn a_flood_does_not_evict_a_large_host() {
    let mut talkers = Talkers::default();
    let hosts = query(TalkerList::Hosts(TrafficEnd::Remote), Vec::new());
    talkers.open(&hosts, 0);
    seed(&mut talkers, &table(&[]), 0);
    for n in 0..20_000u32 {
        let flood = Ipv4Addr::from(0x0b00_0000 + n).into();
        count(
            &mut talkers,
            &record(Direction::Ingress, flood, host(9, 9), 100),
            n.into(),
        );
        if n % 100 == 0 {
            let large = record(Direction::Ingress, host(1, 1), host(9, 9), 1000);
            count(&mut talkers, &large, n.into());
        }
    }
    let answer = talkers.answer(&hosts, 20_000, &Named);
    let first = &answer.rows[0];
    assert_eq!(first.talker, Talker::Host(host(1, 1)));
    assert_eq!(first.volumes[0].bytes + first.error, 400_000);
    assert!(answer.evicted > 19_000);
    let total = answer.totals[0].bytes;
    assert_eq!((total, answer.missing_at_most), (4_400_000, total / 256));
}

proptest! {
    /// Within a window: bytes are too low by at most the error, and the counters have all bytes.
    #[test]
    fn bytes_are_within_the_bounds(added in prop::collection::vec((0..600u32, 1..1000u64), 1..3000)) {
        let mut list = TopList::new(0);
        let mut exact: HashMap<Talker, u64> = HashMap::new();
        let mut total = 0;
        for (n, bytes) in added {
            // few talkers have most of the bytes
            let talker = Talker::Service(6, (n * n / 600) as u16);
            let volume = Volume { bytes, packets: 1, ..Volume::default() };
            list.add(talker, 0, &Addition { direction: Direction::Egress, volume, rates: None });
            *exact.entry(talker).or_default() += bytes;
            total += bytes;
        }
        let lines = list.lines(0, usize::MAX);
        let held: u64 = lines.iter().map(|line| line.volumes[1].bytes + line.error).sum();
        prop_assert_eq!(held, total);
        for line in &lines {
            let (own, right) = (line.volumes[1].bytes, exact[&line.talker]);
            prop_assert!(own <= right && right <= own + line.error);
            prop_assert!(line.error <= total / COUNTERS as u64);
        }
        for (talker, bytes) in exact {
            let is_listed = lines.iter().any(|line| line.talker == talker);
            prop_assert!(is_listed || bytes <= total / COUNTERS as u64);
        }
    }
}
