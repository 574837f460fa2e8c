// SPDX-License-Identifier: AGPL-3.0-only
//! Flows that start together, and a spread of their first parts over the active timeout.

use super::*;

const FLOWS: u32 = 1_000;
const SPREAD: TableLimits = TableLimits {
    max_flows: 2_000,
    active_timeout_ms: 6_000,
    tcp_close_delay_ms: None,
    spread: true,
    ..LIMITS
};

/// Counts parts by the tick in which they were completed.
#[derive(Default)]
struct Ticks {
    now: u64,
    ticks: BTreeMap<u64, u64>,
    packets: u64,
}

impl FlowObserver for Ticks {
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
    fn exported(&mut self, _: SetId, part: &CompletedRecord) {
        // a record of each second up to the active timeout
        assert!(part.record.packets <= 7, "{part:?}");
        *self.ticks.entry(self.now).or_default() += 1;
        self.packets += part.record.packets;
    }
    fn ended(&mut self, _: SetId) {}
}

fn numbered(n: u32, rate: u32) -> FlowRecord {
    let mut record = record(0, 1, rate);
    record.key.src[..4].copy_from_slice(&n.to_be_bytes());
    record
}

/// Returns the completed parts of 10 s in which each flow has a record in each second.
fn ten_seconds(table: &mut FlowTable, log: &mut Ticks, from: u64, rate: u32) -> Vec<u64> {
    log.ticks.clear();
    for tick in 10 * from..10 * (from + 10) {
        log.now = tick;
        if tick % 10 == 0 {
            for n in 0..FLOWS {
                table.update(&numbered(n, rate), tick * 100, log);
            }
        }
        while table.expire(tick * 100, 7, log) {}
    }
    log.ticks.values().copied().collect()
}

#[test]
fn flows_that_start_together_are_not_completed_together() {
    let (mut table, mut log) = (FlowTable::new(SPREAD), Ticks::default());
    for from in [0, 10, 20] {
        let bursts = ten_seconds(&mut table, &mut log, from, 1);
        assert!(*bursts.iter().max().unwrap() < 250, "{bursts:?}");
        // one or two parts of each flow
        let parts: u64 = bursts.iter().sum();
        assert!((1_000..3_000).contains(&parts), "{parts}: {bursts:?}");
    }
    while table.end(1_000, &mut log) {}
    assert_eq!(log.packets, 30 * u64::from(FLOWS));
}

#[test]
fn a_new_rate_completes_them_and_spreads_them_again() {
    let (mut table, mut log) = (FlowTable::new(SPREAD), Ticks::default());
    for (from, rate) in [(0, 1), (10, 2), (20, 1), (30, 3)] {
        ten_seconds(&mut table, &mut log, from, rate);
        // in the first tick all parts in progress, because of the rate; then a few at a time
        let first = log.ticks.remove(&(from * 10)).unwrap_or(0);
        assert!(from == 0 || first >= 700, "{first} at {from} s");
        let most = log.ticks.values().max();
        assert!(most.is_some_and(|&most| most < 250), "{:?}", log.ticks);
        assert!(
            table
                .parts()
                .all(|p| p.packets == 0 || p.sample_rate == rate)
        );
    }
    while table.end(1_000, &mut log) {}
    assert_eq!(log.packets, 40 * u64::from(FLOWS));
}

proptest! {
    #[test]
    fn no_packet_is_lost_or_late(ops in ops()) {
        let limits = TableLimits { spread: true, ..LIMITS };
        let (mut table, mut log) = (FlowTable::new(limits), Log::default());
        let (mut now, mut sent) = (0, 0);
        let mut model = Model::default();
        for op in ops {
            match op {
                Op::Record(n, packets, rate, fin) => {
                    sent += packets;
                    model.is_late(rate, now);
                    table.update(&FlowRecord { first: now, ..tcp(n, packets, rate, fin) }, now, &mut log);
                }
                Op::Wait(ms) => now += ms,
                Op::Learn => log.generation += 1,
                // as when a reload adds or removes collectors
                Op::Linger(spread) => table.set_limits(TableLimits {
                    spread,
                    tcp_close_delay_ms: LIMITS.tcp_close_delay_ms.filter(|_| spread),
                    ..LIMITS
                }),
            }
            while table.expire(now, 3, &mut log) {}
            // a connection that ended in time waits for late packets
            let longest = LIMITS.active_timeout_ms + LIMITS.tcp_close_delay_ms.unwrap() + 200;
            for part in table.parts().filter(|part| part.packets > 0) {
                prop_assert!(now - part.first < longest, "{part:?} at {now}");
                prop_assert_eq!(part.sample_rate, model.rate);
            }
            let done: u64 = log.done.iter().map(|d| d.1).sum();
            let live: u64 = table.parts().map(|p| p.packets).sum();
            prop_assert_eq!(done + live, sent);
            prop_assert_eq!(log.open.values().sum::<u64>(), live);
            prop_assert_eq!(log.open.len(), table.len());
        }
        table.expire(now + 100_000, 1_000, &mut log);
        prop_assert!(table.is_empty());
    }
}
