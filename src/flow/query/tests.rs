// SPDX-License-Identifier: AGPL-3.0-only

use std::collections::HashMap;
use std::time::Duration;

use crossbeam_channel::bounded;

use super::*;
use crate::flow::table::{self, CompletedRecord, FlowObserver, FlowTable};
use crate::types::address_detail::AddressDetail;
use crate::types::flow::{Direction, Family};
use crate::types::label::Endpoint;
use crate::types::weights::Weights;

const NOW_NS: u64 = 1_700_000_100_000_000_000;
const SECOND_NS: u64 = 1_000_000_000;

struct Nobody;

impl FlowObserver for Nobody {
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

/// Uses the last byte of the address as the source AS; the destination AS is unknown.
struct Known;

impl FlowContext for Known {
    fn known(&self, record: &FlowRecord) -> Enrichment {
        let key = &record.key;
        Enrichment {
            src: Endpoint {
                asn: key.src[3].into(),
                asn_name: Some(format!("AS {}", key.src[3]).into()),
                city: (key.src[3] == 1).then(|| "Bern".into()),
                ..Endpoint::default()
            },
            dst: Endpoint::default(),
            peer_asn: 0,
        }
    }

    fn asns(&self, key: &FlowKey, _: SetId) -> [u32; 2] {
        [key.src[3].into(), 0]
    }

    fn asn_name(&self, asn: u32) -> Option<Arc<str>> {
        Some(format!("peer {asn}").into())
    }

    fn name(&self, ifindex: u32) -> Option<Arc<str>> {
        Some(format!("eth{ifindex}").into())
    }
}

fn record(host: u8, dst_port: u16, bytes: u64) -> FlowRecord {
    let mut src = [0; 16];
    src[..4].copy_from_slice(&[10, 0, 0, host]);
    let mut dst = [0; 16];
    dst[..4].copy_from_slice(&[192, 0, 2, 1]);
    FlowRecord {
        key: FlowKey {
            src,
            dst,
            ifindex: 1,
            src_port: 40_000,
            dst_port,
            vlan_outer: 0,
            vlan_inner: 0,
            protocol: 6,
            direction: Direction::Ingress,
            family: Family::Ipv4,
        },
        packets: bytes / 100,
        frame_bytes: bytes,
        ip_bytes: bytes,
        first: NOW_NS - 10 * SECOND_NS,
        last: NOW_NS,
        sample_rate: 10,
        ingress_ifindex: 0,
        src_mac: [0; 6],
        dst_mac: [0; 6],
        tcp_flags: 0,
        tos: 0,
        weights: Default::default(),
    }
}

fn table(records: &[FlowRecord]) -> FlowTable {
    let mut table = FlowTable::new(table::TableLimits {
        max_flows: 1 << 20,
        idle_timeout_ms: 30_000,
        active_timeout_ms: 60_000,
        tcp_close_delay_ms: None,
        spread: false,
    });
    for record in records {
        table.update(record, 0, &mut Nobody);
    }
    table
}

fn flows(table: &FlowTable, filter: Filter, sort: Sort, limit: usize) -> (Vec<FlowRow>, u64) {
    let (reply, answer) = bounded(1);
    let mut scan = Scan::new(Question::Flows(reply), filter, sort, limit);
    while !scan.go_on(table, &Known, NOW_NS, Duration::ZERO) {}
    scan.finish(&Known, NOW_NS);
    answer.try_recv().expect("the scan answers")
}

fn hosts(rows: &[FlowRow]) -> Vec<u8> {
    rows.iter().map(|row| row.record.key.src[3]).collect()
}

#[test]
fn the_largest_come_first_and_no_more_than_asked_for() {
    let records: Vec<_> = (1..=200)
        .map(|n| record(n, 80, u64::from(n) * 100))
        .collect();
    let table = table(&records);
    let (rows, matched) = flows(&table, Filter::default(), Sort::Bytes, 3);
    assert_eq!((hosts(&rows), matched), (vec![200, 199, 198], 200));
    assert_eq!(rows[0].sum.bytes, 200_000, "scaled");
    assert_eq!(rows[0].sum.sampled_packets, 200);
    assert_eq!(rows[0].sum.bytes_per_second, 20_000);
    assert_eq!(rows[0].known.src.asn, 200);
}

#[test]
fn each_part_of_a_filter_counts() {
    let mut other = record(3, 443, 500);
    other.key.protocol = 17;
    other.key.direction = Direction::Egress;
    other.key.ifindex = 2;
    let table = table(&[record(1, 80, 100), record(2, 443, 200), other]);
    let end = |prefix: Option<&str>, port, asn| EndpointFilter {
        prefix: prefix.map(|p| p.parse().unwrap()),
        port,
        asn,
    };
    let cases: Vec<(Filter, Vec<u8>)> = vec![
        (Filter::default(), vec![3, 2, 1]),
        (
            Filter {
                interfaces: Some(vec![2, 7]),
                ..Filter::default()
            },
            vec![3],
        ),
        (
            Filter {
                direction: Some(Direction::Ingress),
                ..Filter::default()
            },
            vec![2, 1],
        ),
        (
            Filter {
                protocol: Some(17),
                ..Filter::default()
            },
            vec![3],
        ),
        (
            Filter {
                either: end(None, Some(443), None),
                ..Filter::default()
            },
            vec![3, 2],
        ),
        (
            Filter {
                src: end(None, Some(443), None),
                ..Filter::default()
            },
            vec![],
        ),
        (
            Filter {
                either: end(Some("10.0.0.2/31"), None, None),
                ..Filter::default()
            },
            vec![3, 2],
        ),
        (
            Filter {
                dst: end(Some("10.0.0.0/8"), None, None),
                ..Filter::default()
            },
            vec![],
        ),
        (
            Filter {
                either: end(None, None, Some(2)),
                ..Filter::default()
            },
            vec![2],
        ),
        (
            Filter {
                dst: end(None, None, Some(2)),
                ..Filter::default()
            },
            vec![],
        ),
        // an address of one endpoint, a port of the other
        (
            Filter {
                either: end(Some("10.0.0.2/32"), Some(443), None),
                ..Filter::default()
            },
            vec![2],
        ),
    ];
    for (filter, expected) in cases {
        let (rows, matched) = flows(&table, filter.clone(), Sort::Bytes, 10);
        assert_eq!(hosts(&rows), expected, "{filter:?}");
        assert_eq!(matched, expected.len() as u64);
    }
}

#[test]
fn a_part_that_carries_nothing_yet_is_left_out() {
    let mut table = table(&[record(1, 80, 100)]);
    assert!(!table.expire(60_000, 10, &mut Nobody));
    assert!(table.is_empty());
}

#[test]
fn every_order_is_its_own() {
    let mut many = record(1, 80, 100);
    many.packets = 1000;
    let mut old = record(2, 80, 300);
    (old.first, old.last) = (NOW_NS - 90 * SECOND_NS, NOW_NS - 20 * SECOND_NS);
    let mut brief = record(3, 80, 200);
    brief.first = NOW_NS - SECOND_NS / 2;
    let table = table(&[many, old, brief]);
    for (sort, expected) in [
        (Sort::Bytes, [2, 3, 1]),
        (Sort::Packets, [1, 2, 3]),
        (Sort::Rate, [3, 1, 2]),
        (Sort::Duration, [2, 1, 3]),
    ] {
        let (rows, _) = flows(&table, Filter::default(), sort, 10);
        assert_eq!(hosts(&rows), expected, "{}", sort.name());
    }
    let (rows, _) = flows(&table, Filter::default(), Sort::Last, 10);
    assert_eq!(rows[2].record.key.src[3], 2, "heard of longest ago");
    // idle for 20 s: the rate is over the time until now
    assert_eq!(rows[2].sum.bytes_per_second, 3000 / 90);
}

#[test]
fn groups_add_up_to_the_whole() {
    let mut records: Vec<_> = (0..60).map(|n| record(n % 3, n.into(), 100)).collect();
    records[0].frame_bytes = 5000;
    let table = table(&records);
    let fields = vec![
        Field::Label(Label::SrcAsn),
        Field::Label(Label::SrcCity),
        Field::Label(Label::Ifname),
        Field::Dst,
    ];
    let (reply, answer) = bounded(1);
    let question = Question::Groups(fields, AddressDetail::Full, reply);
    let mut scan = Scan::new(question, Filter::default(), Sort::Bytes, 2);
    while !scan.go_on(&table, &Known, NOW_NS, Duration::ZERO) {}
    scan.finish(&Known, NOW_NS);
    let (groups, total) = answer.try_recv().unwrap();
    let (groups, count, rest) = groups.sorted(Sort::Bytes, 2);
    assert_eq!((groups.len(), count, rest), (2, 3, Sum::default()));
    assert_eq!((total.flows, total.bytes), (60, 10 * (59 * 100 + 5000)));
    let dst = Value::Address("192.0.2.1".parse().unwrap());
    let eth1 = Value::Text("eth1".into());
    let expected = [Value::Nothing, Value::Nothing, eth1.clone(), dst.clone()];
    assert_eq!(*groups[0].values, expected, "AS 0 is none");
    assert_eq!(groups[0].sum.bytes, 10 * (19 * 100 + 5000));
    let bern = Value::Text("Bern".into());
    let mut met: HashMap<_, _> = groups.iter().map(|g| (&g.values[0], g)).collect();
    if let Some(one) = met.remove(&Value::Number(1)) {
        assert_eq!(*one.values, [Value::Number(1), bern, eth1, dst]);
        let names = one.asn_names.iter().map(Option::as_deref);
        assert!(names.eq([Some("AS 1"), None, None, None]));
    }
}

/// Flows end and start between the slices; no flow that existed during the whole scan is missing.
#[test]
fn what_lives_throughout_is_in_the_answer_once() {
    let stay: Vec<_> = (1..=100).map(|n| record(n, 1, 1000)).collect();
    let mut all = Vec::new();
    for (n, flow) in stay.iter().enumerate() {
        // short-lived flows between them: expired after 30 s
        all.push(record(200, 2 + n as u16, 10_000));
        all.push(*flow);
    }
    let mut table = table(&all);
    let (reply, answer) = bounded(1);
    let mut scan = Scan::new(Question::Flows(reply), Filter::default(), Sort::Bytes, 1000);
    for flow in &stay {
        table.update(flow, 29_000, &mut Nobody);
    }
    let mut port = 1000;
    loop {
        if scan.go_on(&table, &Known, NOW_NS, Duration::ZERO) {
            break;
        }
        table.expire(31_000, 20, &mut Nobody);
        for _ in 0..5 {
            port += 1;
            table.update(&record(201, port, 1), 31_000, &mut Nobody);
        }
    }
    scan.finish(&Known, NOW_NS);
    let (rows, _) = answer.try_recv().unwrap();
    for n in 1..=100 {
        let met = hosts(&rows).iter().filter(|&&host| host == n).count();
        assert_eq!(met, 1, "host {n}");
    }
}

#[test]
fn nobody_waits_for_an_answer_that_is_not_wanted_any_more() {
    let table = table(&[record(1, 80, 100)]);
    let (reply, answer) = bounded(1);
    drop(answer);
    let mut scan = Scan::new(Question::Flows(reply), Filter::default(), Sort::Bytes, 1);
    assert!(scan.go_on(&table, &Known, NOW_NS, Duration::from_secs(1)));
    scan.finish(&Known, NOW_NS);
}

/// The error of adaptive sampling, by the weights of all records of the flows.
#[test]
fn sums_have_the_variance_of_all_their_records() {
    let mut records = [record(1, 80, 400), record(1, 80, 800), record(2, 80, 100)];
    records[0].weights = Weights::of(4);
    records[1].weights = Weights::of(8);
    let table = table(&records);
    let (rows, _) = flows(&table, Filter::default(), Sort::Bytes, 3);
    let errors = |sum: &Sum| (sum.variance.error_packets(), sum.variance.error_bytes());
    // 10 √(4 · 3 + 8 · 7), of 100 bytes each
    assert_eq!(errors(&rows[0].sum), (82, 8_246));
    assert_eq!(errors(&rows[1].sum), (0, 0));
    let (reply, answer) = bounded(1);
    let question = Question::Groups(vec![Field::DstPort], AddressDetail::Full, reply);
    let mut scan = Scan::new(question, Filter::default(), Sort::Bytes, 2);
    while !scan.go_on(&table, &Known, NOW_NS, Duration::ZERO) {}
    scan.finish(&Known, NOW_NS);
    let (groups, _) = answer.try_recv().unwrap();
    let (groups, ..) = groups.sorted(Sort::Bytes, 2);
    assert_eq!(errors(&groups[0].sum), (82, 8_246));
}
