// SPDX-License-Identifier: AGPL-3.0-only
//! Readings of the page become rows of minutes: exact, cut at the minute, through steps of the clock.

use std::sync::Arc;

use crossbeam_channel::Receiver;
use rfm::flow::snapshot::SeriesRow;
use rfm::history::recorder::Recorder;
use rfm::history::{History, HistoryReading, InterfaceReading};
use rfm::netlink::Link;
use rfm::store::sender::HistorySender;
use rfm::store::shared::SharedHistory;
use rfm::store::types::{HistoryInput, MinuteRows, Part, ScopeRow};
use rfm::types::counters::{Count, HookCounters};

use crate::harness::START;

/// A router with one interface and one network behind it.
struct Router {
    history: History,
    recorder: Recorder,
    received: Receiver<HistoryInput>,
    link: Link,
    hook: HookCounters,
    series: SeriesRow,
    now_ms: u64,
    wall: f64,
}

impl Router {
    fn new(wall: f64) -> Self {
        let shared = Arc::new(SharedHistory::new("/nonexistent".into()));
        let (sender, received) = HistorySender::new(shared);
        let mut router = Self {
            history: History::default(),
            recorder: Recorder::new(sender),
            received,
            link: Link {
                ifindex: 1,
                name: "eth0".into(),
                ..Link::default()
            },
            hook: HookCounters::default(),
            series: SeriesRow {
                labels: "ifname=\"eth0\",direction=\"ingress\",proto=\"6\",src_asn=\"64500\",src_country=\"CH\"".into(),
                created_ms: 0,
                bytes_total: 0,
                packets_total: 0,
                live_bytes: 0,
                live_packets: 0,
                live_sampled_bytes: 0,
                live_sampled_packets: 0,
                error_bytes: 0,
                error_packets: 0,
                live_flows: 0,
            },
            now_ms: 100,
            wall,
        };
        // the counters began earlier
        router.hook.families[0].observed = Count {
            packets: 1 << 40,
            bytes: 1 << 50,
        };
        router.series.bytes_total = 1 << 49;
        router.read(0, 0);
        router
    }

    /// Advances both clocks and reads counters that grew.
    fn read(&mut self, ms: u64, bytes: u64) {
        self.now_ms += ms;
        self.wall += ms as f64 / 1000.0;
        self.hook.families[0].observed += Count { packets: 1, bytes };
        self.series.bytes_total += bytes / 2;
        self.series.packets_total += 1;
        let interface = InterfaceReading {
            link: &self.link,
            master: "",
            attach: "tcx",
            role: None,
            provider: "",
            is_summed: true,
            hooks: [Some(&self.hook), None],
        };
        self.history.feed(&HistoryReading {
            now_ms: self.now_ms,
            wall: self.wall,
            interfaces: &[interface],
            uplink: None,
            series: std::slice::from_ref(&self.series),
            asns: &[],
            sample_rate: 1,
        });
        self.recorder.read(&self.history, self.now_ms, self.wall);
    }

    fn minutes(&mut self) -> Vec<MinuteRows> {
        self.recorder.flush();
        let minute = |input| match input {
            HistoryInput::Minute(minute) => minute,
            other => panic!("{other:?}"),
        };
        self.received.try_iter().map(minute).collect()
    }
}

fn bytes(row: &ScopeRow) -> u64 {
    row.totals.iter().map(|total| total.bytes).sum()
}

#[test]
fn a_minute_has_the_traffic_of_its_readings() {
    let mut router = Router::new(START as f64);
    for _ in 0..36 {
        router.read(5000, 1000);
    }
    let minutes = router.minutes();
    let starts: Vec<_> = minutes.iter().map(|minute| minute.minute).collect();
    assert_eq!(starts, [START, START + 60, START + 120]);
    for minute in minutes {
        let [row] = &minute.rows[..] else {
            panic!("{minute:?}");
        };
        assert_eq!((bytes(row), row.covered_ms), (12_000, 60_000));
        assert_eq!(row.totals[0].max_rate, 200.0);
        let mut parts: Vec<_> = row
            .parts
            .iter()
            .map(|p| (p.part.clone(), p.bytes))
            .collect();
        parts.sort();
        let expected = [(Part::Network(64_500), 6000), (Part::Country(*b"CH"), 6000)];
        assert_eq!(parts, expected);
    }
}

#[test]
fn a_reading_across_minutes_is_cut_and_loses_nothing() {
    let mut router = Router::new(START as f64 + 57.7);
    router.read(5000, 999);
    router.read(150_000, 1_000_003);
    let minutes = router.minutes();
    let starts: Vec<_> = minutes.iter().map(|minute| minute.minute - START).collect();
    assert_eq!(starts, [0, 60, 120, 180]);
    let rows: Vec<_> = minutes.iter().flat_map(|minute| &minute.rows).collect();
    assert_eq!(rows.iter().map(|row| bytes(row)).sum::<u64>(), 1_001_002);
    let covered: Vec<_> = rows.iter().map(|row| row.covered_ms).collect();
    assert_eq!(covered.iter().sum::<u32>(), 155_000);
    assert_eq!(covered[1..3], [60_000, 60_000]);
    // 2.3 of the first 5 seconds
    assert_eq!(bytes(rows[0]), 999 * 2300 / 5000);
}

#[test]
fn a_step_of_the_clock_moves_later_traffic_only() {
    let mut router = Router::new(START as f64);
    router.read(5000, 100);
    router.wall -= 1e8;
    router.read(5000, 200);
    router.wall += 3e8;
    router.read(5000, 400);
    let minutes = router.minutes();
    let mut found: Vec<_> = minutes
        .iter()
        .map(|minute| (minute.minute, minute.rows.iter().map(bytes).sum::<u64>()))
        .collect();
    found.sort_unstable();
    let near = |minute: u64, time: f64| (minute as f64 - time).abs() <= 60.0;
    assert_eq!(found.iter().map(|(_, bytes)| bytes).sum::<u64>(), 700);
    assert!(near(found[0].0, START as f64 - 1e8), "{found:?}");
    assert!(
        near(found[found.len() - 1].0, START as f64 + 2e8),
        "{found:?}"
    );
}

#[test]
fn a_counter_that_starts_again_gives_no_spike() {
    let mut router = Router::new(START as f64);
    router.read(5000, 100);
    router.hook = HookCounters::default();
    router.series.bytes_total = 0;
    router.read(5000, 300);
    let minutes = router.minutes();
    let rows = minutes.iter().flat_map(|minute| &minute.rows);
    assert_eq!(rows.map(bytes).sum::<u64>(), 400);
}
