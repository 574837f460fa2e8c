// SPDX-License-Identifier: AGPL-3.0-only
//! The flow table against a naive model: a list of flows, searched from end to end.

use std::collections::BTreeMap;

use proptest::prelude::*;
use rfm::flow::labels::SetId;
use rfm::flow::table::{CompletedRecord, EndReason, FlowObserver, FlowTable, TableLimits};
use rfm::types::flow::{Direction, Family, FlowKey, FlowRecord};

mod neighbors;
mod spread;

const LIMITS: TableLimits = TableLimits {
    max_flows: 5,
    idle_timeout_ms: 3_000,
    active_timeout_ms: 7_000,
    tcp_close_delay_ms: Some(1_000),
    spread: false,
};

/// How long after a change records under the rate before it are late ones.
const LATE_WINDOW_MS: u64 = 2_000;

fn key(n: u8) -> FlowKey {
    FlowKey {
        src: [n; 16],
        dst: [0; 16],
        ifindex: 1,
        src_port: 1000,
        dst_port: 53,
        vlan_outer: 0,
        vlan_inner: 0,
        protocol: 17,
        direction: Direction::Ingress,
        family: Family::Ipv6,
    }
}

fn record(n: u8, packets: u64, sample_rate: u32) -> FlowRecord {
    FlowRecord {
        key: key(n),
        packets,
        frame_bytes: packets * 100,
        ip_bytes: packets * 86,
        first: 10,
        last: 20,
        sample_rate,
        ingress_ifindex: 0,
        src_mac: [1; 6],
        dst_mac: [2; 6],
        tcp_flags: 0,
        tos: 0,
        weights: Default::default(),
    }
}

/// Writes down everything it is told. A set is the number of its opening.
#[derive(Default)]
struct Log {
    generation: u32,
    opened: u32,
    /// What is open, and what it carries according to what was told of it.
    open: BTreeMap<u32, u64>,
    done: Vec<(u8, u64, EndReason)>,
    records: Vec<FlowRecord>,
    relabelled: u32,
}

impl FlowObserver for Log {
    fn generation(&self) -> u32 {
        self.generation
    }

    fn started(&mut self, _: &FlowRecord) -> SetId {
        self.opened += 1;
        self.open.insert(self.opened, 0);
        SetId(self.opened)
    }

    fn relabelled(&mut self, set: SetId, part: &FlowRecord) -> SetId {
        self.relabelled += 1;
        assert_eq!(self.open.remove(&set.0), Some(part.packets));
        self.opened += 1;
        self.open.insert(self.opened, part.packets);
        SetId(self.opened)
    }

    fn updated(&mut self, set: SetId, record: &FlowRecord) {
        *self.open.get_mut(&set.0).unwrap() += record.packets;
    }

    fn exported(&mut self, set: SetId, part: &CompletedRecord) {
        let carried = self.open.get_mut(&set.0).unwrap();
        // More only where a late record is a part of its own.
        *carried = carried.checked_sub(part.record.packets).unwrap();
        let CompletedRecord { record, reason, .. } = *part;
        self.done.push((record.key.src[0], record.packets, reason));
        self.records.push(record);
    }

    fn ended(&mut self, set: SetId) {
        assert_eq!(self.open.remove(&set.0), Some(0));
    }
}

/// A live flow and its part in progress.
struct Live {
    n: u8,
    packets: u64,
    rate: u32,
    seen: u64,
    start: u64,
    /// Its FIN was seen, whether or not that ended anything.
    saw_fin: bool,
    /// When its FIN began to count.
    fin: Option<u64>,
}

/// Live flows in order of their last arrival.
#[derive(Default)]
struct Model {
    flows: Vec<Live>,
    done: Vec<(u8, u64, EndReason)>,
    forced: u64,
    rate: u32,
    previous_rate: (u32, u64),
    linger: Option<u64>,
}

impl Model {
    fn finish(&mut self, i: usize, reason: EndReason) {
        let flow = &mut self.flows[i];
        if flow.packets > 0 {
            self.done.push((flow.n, flow.packets, reason));
        }
        (flow.packets, flow.fin, flow.saw_fin) = (0, None, false);
    }

    fn is_late(&mut self, rate: u32, now: u64) -> bool {
        if rate != self.rate {
            if rate == self.previous_rate.0 && now < self.previous_rate.1 {
                return true;
            }
            self.previous_rate = (self.rate, now + LATE_WINDOW_MS);
            self.rate = rate;
        }
        false
    }

    fn update(&mut self, n: u8, packets: u64, rate: u32, fin: bool, now: u64) {
        let late = self.is_late(rate, now);
        let mut flow = match self.flows.iter().position(|f| f.n == n) {
            Some(i) => self.flows.remove(i),
            None => {
                if self.flows.len() == LIMITS.max_flows {
                    self.forced += 1;
                    self.finish(0, EndReason::LackOfResources);
                    self.flows.remove(0);
                }
                Live {
                    n,
                    packets: 0,
                    rate,
                    seen: now,
                    start: now,
                    saw_fin: false,
                    fin: None,
                }
            }
        };
        flow.seen = now;
        if late {
            self.done.push((n, packets, EndReason::ForcedEnd));
        } else {
            if flow.packets > 0 && flow.rate != rate {
                self.done.push((n, flow.packets, EndReason::ForcedEnd));
                (flow.packets, flow.fin, flow.saw_fin) = (0, None, false);
            }
            if flow.packets == 0 {
                (flow.start, flow.fin, flow.saw_fin) = (now, None, false);
            }
            flow.packets += packets;
            flow.rate = rate;
            flow.saw_fin |= fin;
            let counts = flow.saw_fin && self.linger.is_some();
            flow.fin = flow.fin.or(counts.then_some(now));
        }
        self.flows.push(flow);
    }

    /// Those that fulfil the condition and have something, in the order of a time.
    fn due(&self, yes: impl Fn(&Live) -> bool, time: impl Fn(&Live) -> u64) -> Vec<u8> {
        let mut due: Vec<&Live> = self
            .flows
            .iter()
            .filter(|f| f.packets > 0 && yes(f))
            .collect();
        due.sort_by_key(|f| time(f));
        due.iter().map(|f| f.n).collect()
    }

    fn position(&self, n: u8) -> usize {
        self.flows.iter().position(|f| f.n == n).unwrap()
    }

    fn expire(&mut self, now: u64) {
        let rate = self.rate;
        for n in self.due(|f| f.rate != rate && f.fin.is_none(), |f| f.start) {
            self.finish(self.position(n), EndReason::ForcedEnd);
        }
        for n in self.due(|f| f.rate != rate, |f| f.fin.unwrap()) {
            self.finish(self.position(n), EndReason::ForcedEnd);
        }
        let linger = self.linger.unwrap_or(0);
        let ended = |f: &Live| f.fin.is_some_and(|fin| now - fin >= linger);
        for n in self.due(ended, |f| f.fin.unwrap()) {
            let i = self.position(n);
            self.finish(i, EndReason::EndOfFlow);
            self.flows.remove(i);
        }
        while self
            .flows
            .first()
            .is_some_and(|f| now - f.seen >= LIMITS.idle_timeout_ms)
        {
            self.finish(0, EndReason::IdleTimeout);
            self.flows.remove(0);
        }
        let active = |f: &Live| f.fin.is_none() && now - f.start >= LIMITS.active_timeout_ms;
        for n in self.due(active, |f| f.start) {
            self.finish(self.position(n), EndReason::ActiveTimeout);
        }
    }
}

#[derive(Clone, Debug)]
enum Op {
    Record(u8, u64, u32, bool),
    Wait(u64),
    Learn,
    /// Whether the end of a connection counts from now on: as when a reload adds or removes collectors.
    Linger(bool),
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let rate = prop_oneof![9 => Just(1u32), 1 => Just(100)];
    let op = prop_oneof![
        10 => (0..8u8, 1..100u64, rate, prop::bool::weighted(0.2))
            .prop_map(|(n, p, r, fin)| Op::Record(n, p, r, fin)),
        4 => (1..20u64).prop_map(|t| Op::Wait(100 * t)),
        1 => Just(Op::Learn),
        1 => prop::bool::ANY.prop_map(Op::Linger),
    ];
    prop::collection::vec(op, 1..300)
}

/// A record of a TCP flow.
fn tcp(n: u8, packets: u64, sample_rate: u32, fin: bool) -> FlowRecord {
    let mut record = record(n, packets, sample_rate);
    record.key.protocol = 6;
    record.tcp_flags = if fin { 0x11 } else { 0x10 };
    record
}

proptest! {
    #[test]
    fn behaves_like_the_model(ops in ops()) {
        let (mut table, mut log) = (FlowTable::new(LIMITS), Log::default());
        let linger = LIMITS.tcp_close_delay_ms;
        let (mut model, mut now, mut sent) = (Model { linger, ..Model::default() }, 0, 0);
        for op in ops {
            match op {
                Op::Record(n, packets, rate, fin) => {
                    sent += packets;
                    table.update(&tcp(n, packets, rate, fin), now, &mut log);
                    model.update(n, packets, rate, fin, now);
                    // Parts that start in one instant are cut in the order of their start.
                    now += 100;
                }
                Op::Wait(ms) => now += ms,
                Op::Learn => log.generation += 1,
                Op::Linger(on) => {
                    model.linger = linger.filter(|_| on);
                    table.set_limits(TableLimits { tcp_close_delay_ms: model.linger, ..LIMITS });
                }
            }
            prop_assert!(!table.expire(now, 100, &mut log));
            model.expire(now);
            prop_assert_eq!(&log.done, &model.done);
            let mut live: Vec<_> = table.parts().map(|p| (p.key.src[0], p.packets)).collect();
            let mut expected: Vec<_> = model.flows.iter().map(|f| (f.n, f.packets)).collect();
            live.sort();
            expected.sort();
            prop_assert_eq!(&live, &expected);
            prop_assert!(table.parts().all(|p| p.packets == 0 || p.sample_rate == model.rate));
            prop_assert_eq!(log.open.len(), table.len());
            prop_assert_eq!(table.forced_evictions(), model.forced);
            // Whatever left and whatever stays: nothing is lost, nothing counted twice.
            let done: u64 = log.done.iter().map(|d| d.1).sum();
            let live: u64 = live.iter().map(|l| l.1).sum();
            prop_assert_eq!(done + live, sent);
            prop_assert_eq!(log.open.values().sum::<u64>(), live);
        }
    }
}

#[test]
fn the_flow_idle_longest_makes_room() {
    let (mut table, mut log) = (FlowTable::new(LIMITS), Log::default());
    for n in [1, 2, 3, 4, 5, 1, 6] {
        table.update(&record(n, 1, 1), 0, &mut log);
    }
    assert_eq!(log.done, [(2, 1, EndReason::LackOfResources)]);
    assert_eq!((table.len(), table.forced_evictions()), (5, 1));
}

#[test]
fn parts_of_a_long_flow_add_up() {
    let (mut table, mut log) = (FlowTable::new(LIMITS), Log::default());
    for second in 0..60 {
        table.update(&record(1, 1, 1), second * 1000, &mut log);
        table.expire(second * 1000, 100, &mut log);
    }
    assert_eq!(log.opened, 1);
    table.expire(100_000, 100, &mut log);
    let (last, parts) = log.done.split_last().unwrap();
    assert!(parts.iter().all(|p| *p == (1, 8, EndReason::ActiveTimeout)));
    assert_eq!(*last, (1, 4, EndReason::IdleTimeout));
    assert_eq!(log.done.iter().map(|d| d.1).sum::<u64>(), 60);
    assert!(table.is_empty());
}

#[test]
fn a_part_has_one_sample_rate() {
    let (mut table, mut log) = (FlowTable::new(LIMITS), Log::default());
    // the last is late: a record from before the change
    for (packets, rate) in [(1, 1), (2, 1), (4, 100), (8, 100), (16, 1)] {
        table.update(&record(1, packets, rate), 0, &mut log);
    }
    // this one is no longer late
    table.update(&record(1, 32, 1), 2_000, &mut log);
    let rates: Vec<_> = log
        .records
        .iter()
        .map(|r| (r.packets, r.sample_rate))
        .collect();
    assert_eq!(rates, [(3, 1), (16, 1), (12, 100)]);
    assert!(log.done.iter().all(|d| d.2 == EndReason::ForcedEnd));
}

#[test]
fn a_new_rate_completes_every_part_a_bounded_piece_at_a_time() {
    let limits = TableLimits {
        max_flows: 200,
        ..LIMITS
    };
    let (mut table, mut log) = (FlowTable::new(limits), Log::default());
    for n in 0..100 {
        table.update(&record(n, 1, 10), 0, &mut log);
        table.update(&tcp(100 + n, 1, 10, n % 2 == 0), 0, &mut log);
    }
    assert!(!table.expire(100, 50, &mut log));
    table.update(&record(7, 2, 20), 100, &mut log);
    assert!(table.expire(100, 150, &mut log));
    assert!(!table.expire(100, 150, &mut log));
    assert_eq!((table.len(), log.done.len()), (200, 200));
    assert!(log.done.iter().all(|d| d.2 == EndReason::ForcedEnd));
    assert!(log.records.iter().all(|r| r.sample_rate == 10));
    let live: Vec<_> = table.parts().filter(|p| p.packets > 0).collect();
    assert_eq!((live.len(), live[0].sample_rate), (1, 20));
}

#[test]
fn a_connection_ends_soon_after_its_fin() {
    let (mut table, mut log) = (FlowTable::new(LIMITS), Log::default());
    table.update(&tcp(1, 5, 1, false), 0, &mut log);
    table.update(&tcp(1, 5, 1, true), 100, &mut log);
    // what straggles is still of it, and does not keep it open
    table.update(&tcp(1, 1, 1, false), 1_000, &mut log);
    table.expire(1_000, 100, &mut log);
    assert_eq!(log.done, []);
    table.expire(1_100, 100, &mut log);
    assert_eq!(log.done, [(1, 11, EndReason::EndOfFlow)]);
    assert!(table.is_empty() && log.open.is_empty());
    // UDP has no such flags, whatever the record says
    let mut udp = tcp(2, 1, 1, true);
    udp.key.protocol = 17;
    table.update(&udp, 2_000, &mut log);
    table.expire(4_900, 100, &mut log);
    assert_eq!(table.len(), 1);
}

#[test]
fn a_reload_that_adds_or_removes_collectors_loses_no_ended_connection() {
    const OFF: TableLimits = TableLimits {
        tcp_close_delay_ms: None,
        ..LIMITS
    };
    for (before, after) in [(OFF, LIMITS), (LIMITS, OFF)] {
        let (mut table, mut log) = (FlowTable::new(before), Log::default());
        for n in 0..5 {
            table.update(&tcp(n, 1, 1, n % 2 == 0), 0, &mut log);
        }
        table.set_limits(after);
        for n in [1, 2, 5, 6] {
            table.update(&tcp(n, 1, 1, n % 2 == 0), 100, &mut log);
        }
        for now in (100..4_000).step_by(100) {
            assert!(!table.expire(now, 100, &mut log));
        }
        assert!(table.is_empty() && log.open.is_empty());
        assert_eq!(log.done.iter().map(|done| done.1).sum::<u64>(), 9);
    }
}

#[test]
fn at_the_end_every_flow_is_completed_a_bounded_piece_at_a_time() {
    let (mut table, mut log) = (FlowTable::new(LIMITS), Log::default());
    for n in 0..5 {
        table.update(&record(n, 1, 1), 0, &mut log);
    }
    assert!(table.end(3, &mut log));
    assert_eq!(log.done.len(), 3);
    assert!(!table.end(3, &mut log));
    assert_eq!(log.done.len(), 5);
    assert!(log.done.iter().all(|d| d.2 == EndReason::ForcedEnd));
    assert!(table.is_empty() && log.open.is_empty());
}

#[test]
fn what_is_told_of_the_first_packet_is_told_of_the_earliest() {
    let (mut table, mut log) = (FlowTable::new(LIMITS), Log::default());
    let later = FlowRecord {
        first: 100,
        last: 200,
        tos: 1,
        tcp_flags: 0x10,
        ..record(1, 1, 1)
    };
    let earlier = FlowRecord {
        first: 50,
        last: 150,
        tos: 2,
        tcp_flags: 0x02,
        src_mac: [9; 6],
        ingress_ifindex: 4,
        ..record(1, 2, 1)
    };
    table.update(&later, 0, &mut log);
    table.update(&earlier, 0, &mut log);
    let expected = FlowRecord {
        packets: 3,
        frame_bytes: 300,
        ip_bytes: 258,
        first: 50,
        last: 200,
        tos: 2,
        tcp_flags: 0x12,
        src_mac: [9; 6],
        ingress_ifindex: 4,
        ..later
    };
    assert_eq!(table.parts().collect::<Vec<_>>(), [&expected]);
}

#[test]
fn timeouts_are_not_early() {
    let (mut table, mut log) = (FlowTable::new(LIMITS), Log::default());
    table.update(&record(1, 1, 1), 1, &mut log);
    table.expire(3_000, 100, &mut log);
    assert_eq!(table.len(), 1);
    table.expire(3_200, 100, &mut log);
    assert_eq!(log.done, [(1, 1, EndReason::IdleTimeout)]);
}

#[test]
fn expiry_does_a_bounded_piece_at_a_time() {
    let limits = TableLimits {
        max_flows: 200,
        ..LIMITS
    };
    let (mut table, mut log) = (FlowTable::new(limits), Log::default());
    for n in 0..200 {
        table.update(&record(n, 1, 1), 0, &mut log);
    }
    assert!(table.expire(10_000, 150, &mut log));
    assert_eq!((table.len(), log.done.len()), (50, 150));
    assert!(!table.expire(10_000, 150, &mut log));
    assert_eq!((table.len(), log.done.len()), (0, 200));
    assert!(log.open.is_empty());
}

#[test]
fn flows_are_asked_about_again_when_something_was_learnt() {
    let (mut table, mut log) = (FlowTable::new(LIMITS), Log::default());
    table.update(&record(1, 5, 1), 0, &mut log);
    table.update(&record(1, 5, 1), 0, &mut log);
    assert_eq!(log.relabelled, 0);
    log.generation += 1;
    table.update(&record(1, 5, 1), 0, &mut log);
    table.update(&record(1, 5, 1), 0, &mut log);
    assert_eq!(log.relabelled, 1);
    assert_eq!(log.open.values().copied().collect::<Vec<_>>(), [20]);
}
