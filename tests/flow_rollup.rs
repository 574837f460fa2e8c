// SPDX-License-Identifier: AGPL-3.0-only
//! The rollup: sums, limits, and what strangers can and cannot do to the series.

use std::collections::BTreeMap;

use proptest::prelude::*;
use rfm::flow::labels::SetId;
use rfm::flow::rollup::{Rollup, RollupLimits};
use rfm::flow::snapshot::SeriesRow;
use rfm::flow::volume::{Variance, Volume};
use rfm::types::flow::{Direction, Family, FlowKey, FlowRecord};
use rfm::types::label::{Endpoint, Enrichment, Label, Labels};
use rfm::types::weights::Weights;

const MINUTE: u64 = 60_000;
const TTL: u64 = 20 * MINUTE;

fn key(ifindex: u32) -> FlowKey {
    FlowKey {
        src: [0; 16],
        dst: [0; 16],
        ifindex,
        src_port: 0,
        dst_port: 0,
        vlan_outer: 0,
        vlan_inner: 0,
        protocol: 6,
        direction: Direction::Ingress,
        family: Family::Ipv4,
    }
}

fn from(asn: u32) -> Enrichment {
    let src = Endpoint {
        asn,
        ..Endpoint::default()
    };
    Enrichment {
        src,
        ..Enrichment::default()
    }
}

fn volume(bytes: u64) -> Volume {
    Volume {
        bytes,
        packets: 1,
        sampled_bytes: bytes,
        sampled_packets: 1,
    }
}

fn rollup(max_series: usize) -> Rollup {
    let labels = [Label::Ifname, Label::Proto, Label::SrcAsn];
    Rollup::new(
        labels.into_iter().collect(),
        RollupLimits {
            max_series,
            series_ttl_ms: TTL,
        },
    )
}

/// A flow that carries something and ends at once.
fn pass(rollup: &mut Rollup, asn: u32, bytes: u64) {
    let set = rollup.open(&key(1), "eth0", &from(asn));
    rollup.count(set, volume(bytes));
    rollup.remove_live(set, volume(bytes));
    rollup.close(set);
}

fn rows(rollup: &Rollup) -> BTreeMap<String, SeriesRow> {
    let rows = rollup.rows();
    let count = rows.len();
    let rows: BTreeMap<_, _> = rows
        .into_iter()
        .map(|r| (r.labels.to_string(), r))
        .collect();
    assert_eq!(rows.len(), count, "two series read the same");
    rows
}

fn label(asn: &str) -> String {
    format!(r#"ifname="eth0",proto="6",src_asn="{asn}""#)
}

#[test]
fn counters_stay_and_gauges_go_with_the_flow() {
    let mut rollup = rollup(10);
    let set = rollup.open(&key(1), "eth0", &from(1));
    let t = Volume {
        bytes: 1000,
        packets: 20,
        sampled_bytes: 100,
        sampled_packets: 2,
    };
    rollup.count(set, t);
    let row = &rows(&rollup)[&label("1")];
    assert_eq!((row.bytes_total, row.packets_total), (1000, 20));
    assert_eq!((row.live_bytes, row.live_packets), (1000, 20));
    assert_eq!((row.live_sampled_bytes, row.live_sampled_packets), (100, 2));
    assert_eq!(row.live_flows, 1);
    rollup.remove_live(set, t);
    rollup.close(set);
    let row = &rows(&rollup)[&label("1")];
    assert_eq!((row.bytes_total, row.packets_total), (1000, 20));
    assert_eq!((row.live_bytes, row.live_packets), (0, 0));
    assert_eq!((row.live_sampled_bytes, row.live_sampled_packets), (0, 0));
    assert_eq!(row.live_flows, 0);
}

#[test]
fn a_new_label_takes_later_traffic_and_the_gauges() {
    let mut rollup = rollup(10);
    let old = rollup.open(&key(1), "eth0", &from(1));
    rollup.count(old, volume(100));
    let new = rollup.open(&key(1), "eth0", &from(2));
    rollup.relabel(old, new, volume(100));
    rollup.count(new, volume(7));
    let rows = rows(&rollup);
    let of = |asn| &rows[&label(asn)];
    assert_eq!((of("1").bytes_total, of("1").live_bytes), (100, 0));
    assert_eq!((of("2").bytes_total, of("2").live_bytes), (7, 107));
    assert_eq!((of("1").live_flows, of("2").live_flows), (0, 1));
}

#[test]
fn an_untouched_set_is_forgotten_with_its_counts() {
    let mut rollup = rollup(10);
    pass(&mut rollup, 1, 100);
    rollup.advance(TTL / 2);
    pass(&mut rollup, 2, 100);
    rollup.advance(TTL - 1);
    assert_eq!(rollup.series(), 2);
    rollup.advance(TTL + 1000);
    assert_eq!(rows(&rollup).keys().collect::<Vec<_>>(), [&label("2")]);
    pass(&mut rollup, 1, 5);
    assert_eq!(rows(&rollup)[&label("1")].bytes_total, 5);
}

#[test]
fn a_set_with_a_live_flow_is_not_forgotten() {
    let mut rollup = rollup(10);
    let set = rollup.open(&key(1), "eth0", &from(1));
    rollup.count(set, volume(100));
    rollup.advance(10 * TTL);
    assert_eq!(rows(&rollup)[&label("1")].live_bytes, 100);
    rollup.remove_live(set, volume(100));
    rollup.close(set);
    rollup.advance(10 * TTL + 1001);
    assert_eq!(rollup.rows().len(), 0);
}

#[test]
fn what_fits_nowhere_is_counted_under_other() {
    let mut rollup = rollup(2);
    for asn in 1..=2 {
        pass(&mut rollup, asn, 1000);
    }
    let live = rollup.open(&key(1), "eth0", &from(3));
    rollup.count(live, volume(10));
    pass(&mut rollup, 4, 20);
    let rows = rows(&rollup);
    assert_eq!(rows.len(), 3);
    let other = &rows[&label("other")];
    assert_eq!((other.bytes_total, other.packets_total), (30, 2));
    assert_eq!((other.live_bytes, other.live_flows), (10, 1));
    assert_eq!((rollup.series(), rollup.folded()), (2, 2));
}

#[test]
fn the_least_gives_way_to_one_that_carried_more() {
    let mut rollup = rollup(2);
    let small = rollup.open(&key(1), "eth0", &from(1));
    rollup.count(small, volume(100));
    pass(&mut rollup, 2, 5000);
    // Small flows add up: the third of them has carried more than AS 1.
    for _ in 0..3 {
        pass(&mut rollup, 3, 50);
    }
    let now = rows(&rollup);
    assert_eq!(
        now.keys().cloned().collect::<Vec<_>>(),
        ["2", "3", "other"].map(label)
    );
    // What was counted under `other` stays there; what AS 1 had counted is gone with it.
    assert_eq!(now[&label("3")].bytes_total, 50);
    assert_eq!(now[&label("other")].bytes_total, 100);
    // Its live flow lives on under `other`.
    assert_eq!(now[&label("other")].live_bytes, 100);
    assert_eq!(now[&label("other")].live_flows, 1);
    // It comes back when it carries more again, and brings its flow.
    rollup.count(small, volume(100));
    let now = rows(&rollup);
    assert_eq!(
        now.keys().cloned().collect::<Vec<_>>(),
        ["1", "2", "other"].map(label)
    );
    assert_eq!(now[&label("1")].bytes_total, 100);
    assert_eq!(now[&label("1")].live_bytes, 200);
    assert_eq!(now[&label("other")].live_bytes, 0);
}

#[test]
fn only_the_last_five_minutes_speak_for_a_series() {
    let mut rollup = rollup(1);
    pass(&mut rollup, 1, 1_000_000);
    rollup.advance(5 * MINUTE);
    pass(&mut rollup, 2, 100);
    assert!(rows(&rollup).contains_key(&label("1")));
    rollup.advance(6 * MINUTE);
    pass(&mut rollup, 2, 100);
    assert!(rows(&rollup).contains_key(&label("2")));
}

#[test]
fn sets_of_equal_traffic_do_not_take_turns() {
    let mut rollup = rollup(1);
    for round in 0..100_000 {
        rollup.advance(round * 100);
        pass(&mut rollup, 1, 1000);
        pass(&mut rollup, 2, 1001);
    }
    let rows = rows(&rollup);
    assert_eq!(rows[&label("1")].bytes_total, 100_000_000);
    assert_eq!(rows[&label("other")].bytes_total, 100_100_000);
}

/// A scan makes a million sets of one packet each; the networks that carry traffic stay what they are.
#[test]
fn a_scanner_does_not_push_out_those_who_carry_traffic() {
    let mut rollup = rollup(100);
    let mut scanner = 1_000_000;
    for round in 0..1000u64 {
        rollup.advance(round * 1000);
        for asn in 1..=100 {
            pass(&mut rollup, asn, 1500);
        }
        for _ in 0..1000 {
            scanner += 1;
            pass(&mut rollup, scanner, 60);
        }
    }
    let rows = rows(&rollup);
    assert_eq!(rows.len(), 101);
    for asn in 1..=100 {
        assert_eq!(rows[&label(&asn.to_string())].bytes_total, 1_500_000);
    }
    assert_eq!(rows[&label("other")].bytes_total, 60_000_000);
}

/// A network that begins to carry traffic during a scan is found among the scanner's million sets,
/// although its own packets are no greater than the scanner's.
#[test]
fn a_scanner_does_not_keep_out_a_new_network() {
    let mut rollup = rollup(100);
    for asn in 1..=100 {
        pass(&mut rollup, asn, 3000 + u64::from(asn));
    }
    let mut scanner = 1_000_000;
    let mut scan = |rollup: &mut Rollup, packets| {
        for _ in 0..packets {
            scanner += 1;
            pass(rollup, scanner, 60);
        }
    };
    // Long enough to fill the memory of candidates many times over.
    scan(&mut rollup, 20_000);
    for _ in 0..400 {
        pass(&mut rollup, 777, 60);
        scan(&mut rollup, 1000);
    }
    let rows = rows(&rollup);
    assert!(rows.contains_key(&label("777")));
    assert!(!rows.contains_key(&label("1")));
    assert!((2..=100).all(|asn: u32| rows.contains_key(&label(&asn.to_string()))));
}

#[test]
fn labels_that_never_say_other_share_a_series_of_last_resort() {
    let limits = RollupLimits {
        max_series: 10,
        series_ttl_ms: TTL,
    };
    let mut rollup = Rollup::new([Label::Ifname].into_iter().collect(), limits);
    let mut live = Vec::new();
    for n in 0..5000 {
        let set = rollup.open(&key(n), &format!("ppp{n}"), &from(0));
        rollup.count(set, volume(1));
        live.push(set);
    }
    let now = rows(&rollup);
    assert_eq!(now.len(), 1025);
    assert_eq!(now[r#"ifname="other""#].bytes_total, 5000 - 1024);
    assert_eq!(now[r#"ifname="other""#].live_flows, 5000 - 1024);
    for set in live {
        rollup.remove_live(set, volume(1));
        rollup.close(set);
    }
    rollup.advance(TTL + 1001);
    rollup.advance(TTL + 2002);
    assert_eq!(rollup.rows().len(), 0);
}

#[test]
fn an_interface_named_other_is_no_trouble() {
    let limits = RollupLimits {
        max_series: 0,
        series_ttl_ms: TTL,
    };
    let mut rollup = Rollup::new([Label::Ifname].into_iter().collect(), limits);
    for n in 0..2000 {
        let name = if n == 1500 {
            "other".into()
        } else {
            format!("ppp{n}")
        };
        let set = rollup.open(&key(n), &name, &from(0));
        rollup.count(set, volume(1));
    }
    let rows = rows(&rollup);
    assert_eq!(rows.values().map(|r| r.bytes_total).sum::<u64>(), 2000);
    assert_eq!(rows.values().map(|r| r.live_flows).sum::<u64>(), 2000);
}

#[test]
fn default_labels_are_the_seven() {
    let text = Label::USUAL.map(Label::name).join(",");
    assert_eq!(
        text,
        "ifname,direction,proto,src_asn,dst_asn,src_city,dst_city"
    );
    assert!(Label::USUAL.into_iter().all(|l| Labels::default().has(l)));
    assert!(!Labels::default().has(Label::Vlan));
}

#[derive(Clone, Debug)]
enum Op {
    Open(u32, u32),
    Count(usize, u64),
    Cut(usize),
    Relabel(usize, u32),
    Close(usize),
    Wait(u64),
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let op = prop_oneof![
        4 => (1..3u32, 0..12u32).prop_map(|(i, a)| Op::Open(i, a)),
        8 => (any::<usize>(), 1..2000u64).prop_map(|(f, b)| Op::Count(f, b)),
        1 => any::<usize>().prop_map(Op::Cut),
        2 => (any::<usize>(), 0..12u32).prop_map(|(f, a)| Op::Relabel(f, a)),
        3 => any::<usize>().prop_map(Op::Close),
        2 => (1..4 * MINUTE).prop_map(Op::Wait),
        1 => Just(Op::Wait(TTL)),
    ];
    prop::collection::vec(op, 1..400)
}

struct Live {
    ifindex: u32,
    asn: u32,
    set: SetId,
    carried: Volume,
}

proptest! {
    /// Whatever happens: each record is counted once, in its set or in `other`; a counter never falls
    /// while its series lives; the gauges are the sum over live flows.
    #[test]
    fn sums_hold(ops in ops(), max_series in 0..6usize) {
        let mut rollup = rollup(max_series);
        let mut live: Vec<Live> = Vec::new();
        let mut now = 0;
        let mut before = BTreeMap::new();
        for op in ops {
            let mut counted = 0;
            match op {
                Op::Open(ifindex, asn) => {
                    let set = rollup.open(&key(ifindex), &format!("eth{ifindex}"), &from(asn));
                    // As the table does, a flow begins with a record.
                    rollup.count(set, volume(10));
                    counted = 10;
                    live.push(Live { ifindex, asn, set, carried: volume(10) });
                }
                Op::Count(f, bytes) if !live.is_empty() => {
                    let f = f % live.len();
                    rollup.count(live[f].set, volume(bytes));
                    live[f].carried += volume(bytes);
                    counted = bytes;
                }
                Op::Cut(f) if !live.is_empty() => {
                    let f = f % live.len();
                    rollup.remove_live(live[f].set, live[f].carried);
                    live[f].carried = Volume::default();
                }
                Op::Relabel(f, asn) if !live.is_empty() => {
                    let f = f % live.len();
                    let flow = &mut live[f];
                    let name = format!("eth{}", flow.ifindex);
                    let new = rollup.open(&key(flow.ifindex), &name, &from(asn));
                    rollup.relabel(flow.set, new, flow.carried);
                    (flow.set, flow.asn) = (new, asn);
                }
                Op::Close(f) if !live.is_empty() => {
                    let flow = live.swap_remove(f % live.len());
                    rollup.remove_live(flow.set, flow.carried);
                    rollup.close(flow.set);
                }
                Op::Wait(ms) => {
                    now += ms;
                    rollup.advance(now);
                }
                _ => {}
            }
            let after = rows(&rollup);
            prop_assert!(rollup.series() <= max_series.max(2));
            prop_assert!(after.len() <= max_series + 2);
            check_counters(&before, &after, counted)?;
            check_gauges(&live, &after)?;
            before = after;
        }
    }
}

fn check_counters(
    before: &BTreeMap<String, SeriesRow>,
    after: &BTreeMap<String, SeriesRow>,
    counted: u64,
) -> Result<(), TestCaseError> {
    let mut grown = 0;
    for (labels, row) in after {
        let was = before.get(labels).map_or(0, |r| r.bytes_total);
        // One that left and came back within one step starts again.
        if row.bytes_total < was {
            prop_assert_eq!(row.bytes_total, counted);
            grown += row.bytes_total;
        } else {
            grown += row.bytes_total - was;
        }
    }
    prop_assert_eq!(grown, counted);
    Ok(())
}

/// Every live flow is in the gauges of its own series or, where there is none, of `other`.
fn check_gauges(live: &[Live], rows: &BTreeMap<String, SeriesRow>) -> Result<(), TestCaseError> {
    let mut expected: BTreeMap<String, (Volume, u64)> = BTreeMap::new();
    for flow in live {
        let text = |asn: &str| format!(r#"ifname="eth{}",proto="6",src_asn="{asn}""#, flow.ifindex);
        let own = match flow.asn {
            0 => text(""),
            asn => text(&asn.to_string()),
        };
        let home = if rows.contains_key(&own) {
            own
        } else {
            text("other")
        };
        let (volume, flows) = expected.entry(home).or_default();
        *volume += flow.carried;
        *flows += 1;
    }
    for (labels, row) in rows {
        let (volume, flows) = expected.remove(labels).unwrap_or_default();
        prop_assert_eq!(row.live_bytes, volume.bytes, "{}", labels);
        prop_assert_eq!(row.live_packets, volume.packets);
        prop_assert_eq!(row.live_sampled_bytes, volume.sampled_bytes);
        prop_assert_eq!(row.live_sampled_packets, volume.sampled_packets);
        prop_assert_eq!(row.live_flows, flows);
    }
    prop_assert!(expected.is_empty(), "flows in no series: {expected:?}");
    Ok(())
}

/// The error of a series is that of what was counted in it, also of sets without room for a series.
#[test]
fn errors_add_up_where_the_traffic_is_counted() {
    let mut record = FlowRecord::empty(Family::Ipv4);
    (record.packets, record.frame_bytes, record.weights) = (4, 400, Weights::of(4));
    let variance = Variance::from(&record);
    let mut rollup = rollup(1);
    let (first, second) = (
        rollup.open(&key(1), "eth0", &from(1)),
        rollup.open(&key(1), "eth0", &from(2)),
    );
    for (set, records) in [(first, 1), (second, 4)] {
        rollup.count(set, volume(400));
        (0..records).for_each(|_| rollup.add_variance(set, variance));
    }
    let rows = rows(&rollup);
    let errors = |asn: &str| {
        let row = &rows[&format!(r#"ifname="eth0",proto="6",src_asn="{asn}""#)];
        (row.error_packets, row.error_bytes)
    };
    // the square roots of 4 * 3 and of four times that
    assert_eq!(errors("1"), (3, 346));
    assert_eq!(errors("other"), (6, 692));
}
