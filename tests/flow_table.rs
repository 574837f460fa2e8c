// SPDX-License-Identifier: AGPL-3.0-only
//! The flow table against a naive model: a list of flows, searched from end to end.

use std::collections::BTreeMap;

use proptest::prelude::*;
use rfm::flow::key::{Direction, Family, FlowKey, FlowRecord};
use rfm::flow::labels::SetId;
use rfm::flow::table::{CompletedFlow, EndReason, FlowTable, Ledger, Limits};

const LIMITS: Limits = Limits {
    max_flows: 5,
    idle_timeout_ms: 3_000,
    active_timeout_ms: 7_000,
};

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
        bytes: packets * 100,
        octets: packets * 86,
        first: 10,
        last: 20,
        sample_rate,
        ingress_ifindex: 0,
        src_mac: [1; 6],
        dst_mac: [2; 6],
        tcp_flags: 0,
        tos: 0,
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

impl Ledger for Log {
    fn generation(&self) -> u32 {
        self.generation
    }

    fn open(&mut self, _: &FlowKey) -> SetId {
        self.opened += 1;
        self.open.insert(self.opened, 0);
        SetId(self.opened)
    }

    fn relabel(&mut self, set: SetId, part: &FlowRecord) -> SetId {
        self.relabelled += 1;
        assert_eq!(self.open.remove(&set.0), Some(part.packets));
        self.opened += 1;
        self.open.insert(self.opened, part.packets);
        SetId(self.opened)
    }

    fn count(&mut self, set: SetId, record: &FlowRecord) {
        *self.open.get_mut(&set.0).unwrap() += record.packets;
    }

    fn complete(&mut self, set: SetId, part: &CompletedFlow) {
        let carried = self.open.get_mut(&set.0).unwrap();
        assert_eq!(*carried, part.record.packets);
        *carried = 0;
        let CompletedFlow { record, reason } = *part;
        self.done.push((record.key.src[0], record.packets, reason));
        self.records.push(record);
    }

    fn close(&mut self, set: SetId) {
        assert_eq!(self.open.remove(&set.0), Some(0));
    }
}

/// Live flows in order of their last arrival: number, packets, rate, last arrival, start of the part.
#[derive(Default)]
struct Model {
    flows: Vec<(u8, u64, u32, u64, u64)>,
    done: Vec<(u8, u64, EndReason)>,
    forced: u64,
}

impl Model {
    fn finish(&mut self, i: usize, reason: EndReason) {
        let (n, packets, ..) = self.flows[i];
        if packets > 0 {
            self.done.push((n, packets, reason));
        }
        self.flows[i].1 = 0;
    }

    fn update(&mut self, n: u8, packets: u64, rate: u32, now: u64) {
        match self.flows.iter().position(|f| f.0 == n) {
            Some(i) => {
                if self.flows[i].2 != rate {
                    self.finish(i, EndReason::ForcedEnd);
                }
                let (_, before, _, _, start) = self.flows.remove(i);
                let start = if before == 0 { now } else { start };
                self.flows.push((n, before + packets, rate, now, start));
            }
            None => {
                if self.flows.len() == LIMITS.max_flows {
                    self.forced += 1;
                    self.finish(0, EndReason::LackOfResources);
                    self.flows.remove(0);
                }
                self.flows.push((n, packets, rate, now, now));
            }
        }
    }

    fn expire(&mut self, now: u64) {
        while self
            .flows
            .first()
            .is_some_and(|f| now - f.3 >= LIMITS.idle_timeout_ms)
        {
            self.finish(0, EndReason::IdleTimeout);
            self.flows.remove(0);
        }
        let mut due: Vec<usize> = (0..self.flows.len())
            .filter(|&i| self.flows[i].1 > 0 && now - self.flows[i].4 >= LIMITS.active_timeout_ms)
            .collect();
        due.sort_by_key(|&i| self.flows[i].4);
        for i in due {
            self.finish(i, EndReason::ActiveTimeout);
        }
    }
}

#[derive(Clone, Debug)]
enum Op {
    Record(u8, u64, u32),
    Wait(u64),
    Learn,
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let op = prop_oneof![
        10 => (0..8u8, 1..100u64, prop_oneof![9 => Just(1u32), 1 => Just(100)])
            .prop_map(|(n, p, r)| Op::Record(n, p, r)),
        4 => (1..20u64).prop_map(|t| Op::Wait(100 * t)),
        1 => Just(Op::Learn),
    ];
    prop::collection::vec(op, 1..300)
}

proptest! {
    #[test]
    fn behaves_like_the_model(ops in ops()) {
        let (mut table, mut log) = (FlowTable::new(LIMITS), Log::default());
        let (mut model, mut now, mut sent) = (Model::default(), 0, 0);
        for op in ops {
            match op {
                Op::Record(n, packets, rate) => {
                    sent += packets;
                    table.update(&record(n, packets, rate), now, &mut log);
                    model.update(n, packets, rate, now);
                    // Parts that start in one instant are cut in the order of their start.
                    now += 100;
                }
                Op::Wait(ms) => now += ms,
                Op::Learn => log.generation += 1,
            }
            prop_assert!(!table.expire(now, 100, &mut log));
            model.expire(now);
            prop_assert_eq!(&log.done, &model.done);
            let mut live: Vec<_> = table.parts().map(|p| (p.key.src[0], p.packets)).collect();
            let mut expected: Vec<_> = model.flows.iter().map(|f| (f.0, f.1)).collect();
            live.sort();
            expected.sort();
            prop_assert_eq!(&live, &expected);
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
    for (packets, rate) in [(1, 1), (2, 1), (4, 100), (8, 100), (16, 1)] {
        table.update(&record(1, packets, rate), 0, &mut log);
    }
    let rates: Vec<_> = log
        .records
        .iter()
        .map(|r| (r.packets, r.sample_rate))
        .collect();
    assert_eq!(rates, [(3, 1), (12, 100)]);
    assert!(log.done.iter().all(|d| d.2 == EndReason::ForcedEnd));
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
        bytes: 300,
        octets: 258,
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
    let limits = Limits {
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
