// SPDX-License-Identifier: AGPL-3.0-only
use std::sync::atomic::{AtomicU32, Ordering};

use super::*;
use crate::flow::snapshot::SeriesRow;
use crate::sys::threads::Threads;
use crate::types::flow::{Direction, Family};

const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// Interface `n` is `eth<n>`, or `wan<n>` from the second generation on.
#[derive(Clone, Default)]
struct TestNames {
    generation: Arc<AtomicU32>,
    /// The number of name lookups: one for each flow that starts.
    asked: Arc<AtomicU32>,
}

impl InterfaceNames for TestNames {
    fn generation(&self) -> u32 {
        self.generation.load(Ordering::SeqCst)
    }

    fn name(&self, ifindex: u32) -> Option<Arc<str>> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let kind = if self.generation() == 0 { "eth" } else { "wan" };
        (ifindex != 99).then(|| format!("{kind}{ifindex}").into())
    }

    fn is_summed(&self, ifindex: u32) -> bool {
        ifindex != 7
    }
}

struct Fixture {
    threads: Threads,
    names: TestNames,
    records: Option<Sender<Vec<FlowRecord>>>,
    spare: Receiver<Vec<FlowRecord>>,
    requests: Sender<Request>,
}

fn settings(max_flows: usize) -> FlowSettings {
    FlowSettings {
        peer_series: false,
        paths: false,
        transit_series: 0,
        source_check: false,
        history: None,
        table: table::TableLimits {
            max_flows,
            idle_timeout_ms: 1_000,
            active_timeout_ms: 60_000,
            tcp_close_delay_ms: None,
            spread: false,
        },
        rollup: rollup::RollupLimits {
            max_series: 100,
            series_ttl_ms: 3_600_000,
        },
        labels: Labels::default(),
    }
}

fn fixture(max_flows: usize) -> Fixture {
    let (records, records_rx) = bounded(4);
    let (spare_tx, spare) = bounded(1);
    let (requests, requests_rx) = bounded(4);
    let settings = settings(max_flows);
    let endpoints = Endpoints {
        records: records_rx,
        spare: spare_tx,
        requests: requests_rx,
        export_sender: None,
        history_sender: None,
        guard: None,
    };
    let (threads, names) = (Threads::new(), TestNames::default());
    let theirs = names.clone();
    threads
        .spawn("flow", move |heartbeat| {
            run(&settings, theirs, (), endpoints, &heartbeat)
        })
        .unwrap();
    Fixture {
        threads,
        names,
        records: Some(records),
        spare,
        requests,
    }
}

impl Fixture {
    fn send(&self, batch: Vec<FlowRecord>) {
        self.records.as_ref().unwrap().send(batch).unwrap();
    }

    /// Waits for a snapshot that fulfils the condition.
    fn wait_for(&self, condition: impl Fn(&Snapshot) -> bool) -> Snapshot {
        let deadline = Instant::now() + ANSWER_TIMEOUT;
        loop {
            let snapshot = snapshot(&self.requests, ANSWER_TIMEOUT).expect("the thread answers");
            if condition(&snapshot) {
                return snapshot;
            }
            assert!(Instant::now() < deadline, "not reached: {snapshot:?}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

fn record(ifindex: u32, port: u16, packets: u64) -> FlowRecord {
    FlowRecord {
        key: FlowKey {
            src: [1; 16],
            dst: [2; 16],
            ifindex,
            src_port: port,
            dst_port: 53,
            vlan_outer: 0,
            vlan_inner: 0,
            protocol: 17,
            direction: Direction::Egress,
            family: Family::Ipv6,
        },
        packets,
        frame_bytes: packets * 100,
        ip_bytes: packets * 86,
        first: 1,
        last: 2,
        sample_rate: 10,
        ingress_ifindex: 0,
        src_mac: [0; 6],
        dst_mac: [0; 6],
        tcp_flags: 0,
        tos: 0,
        weights: Default::default(),
    }
}

fn row<'a>(snapshot: &'a Snapshot, ifname: &str) -> &'a SeriesRow {
    let start = format!("ifname=\"{ifname}\",direction=\"egress\",proto=\"17\",");
    let mut rows = snapshot.series.iter();
    rows.find(|r| r.labels.starts_with(&start))
        .unwrap_or_else(|| panic!("no series for {ifname}: {snapshot:?}"))
}

#[test]
fn records_become_totals_series_and_gauges() {
    let fixture = fixture(100);
    fixture.send(vec![record(1, 1, 2), record(1, 2, 3), record(99, 1, 4)]);
    let live = fixture.wait_for(|s| s.totals.accounted_packets == 9);
    let expected = Totals {
        accounted_packets: 9,
        accounted_bytes: 900,
        active_flows: 3,
        max_flows: 100,
        forced_evictions: 0,
        series: 2,
        series_limit: 100,
        series_folded: 0,
    };
    assert_eq!(live.totals, expected);
    let eth1 = row(&live, "eth1");
    assert_eq!((eth1.packets_total, eth1.bytes_total), (50, 5000));
    assert_eq!((eth1.live_packets, eth1.live_sampled_packets), (50, 5));
    assert_eq!(row(&live, "").packets_total, 40);
    // The flows expire, the counters stay.
    let idle = fixture.wait_for(|s| s.totals.active_flows == 0);
    let eth1 = row(&idle, "eth1");
    assert_eq!((eth1.packets_total, eth1.bytes_total), (50, 5000));
    assert_eq!((eth1.live_packets, eth1.live_flows), (0, 0));
    assert_eq!(idle.totals.accounted_packets, 9);
}

#[test]
fn batches_come_back_empty_and_are_never_waited_for() {
    let fixture = fixture(100);
    for _ in 0..20 {
        let mut batch = Vec::with_capacity(64);
        batch.push(record(1, 1, 1));
        fixture.send(batch);
    }
    fixture.wait_for(|s| s.totals.accounted_packets == 20);
    let spare = fixture.spare.recv_timeout(ANSWER_TIMEOUT).unwrap();
    assert!(spare.is_empty() && spare.capacity() == 64);
}

#[test]
fn evicted_flows_stay_in_the_counters() {
    let fixture = fixture(8);
    for batch in 0..10 {
        fixture.send((0..100).map(|n| record(1, 100 * batch + n, 1)).collect());
    }
    let snapshot = fixture.wait_for(|s| s.totals.accounted_packets == 1000);
    assert_eq!(row(&snapshot, "eth1").packets_total, 10_000);
    assert!(snapshot.totals.forced_evictions > 0);
    assert!(snapshot.totals.active_flows <= 8);
}

#[test]
fn a_renamed_interface_takes_later_counts_and_the_gauges() {
    let fixture = fixture(100);
    fixture.send(vec![record(1, 1, 2)]);
    fixture.wait_for(|s| s.totals.accounted_packets == 2);
    fixture.names.generation.store(1, Ordering::SeqCst);
    fixture.send(vec![record(1, 1, 3)]);
    let snapshot = fixture.wait_for(|s| s.totals.accounted_packets == 5);
    let (old, new) = (row(&snapshot, "eth1"), row(&snapshot, "wan1"));
    assert_eq!((old.packets_total, old.live_packets), (20, 0));
    assert_eq!((new.packets_total, new.live_packets), (30, 50));
}

/// Returns the source port as the source AS of a flow, plus 1000 for each second.
struct Learning(u32);

impl Enrich for Learning {
    fn generation(&mut self, now_ms: u64) -> u32 {
        self.0 = (now_ms / 1000) as u32;
        self.0
    }

    fn enrichment(&self, key: &FlowKey, _: MacAddress) -> Enrichment {
        let mut enrichment = Enrichment::default();
        enrichment.src.asn = u32::from(key.src_port) + 1000 * self.0;
        enrichment.src.asn_name = Some(format!("AS {}", enrichment.src.asn).into());
        enrichment
    }

    /// The path of each flow ends at its source port.
    fn path(&self, key: &FlowKey, path: &mut NetworkPath) {
        path.clear();
        path.push_sequence([1, key.src_port.into()].into_iter());
        path.set_origin(key.src_port.into());
    }

    fn set_prefixes(&mut self, _: &[StaticPrefix]) {}
}

#[test]
fn what_is_learnt_moves_flows_as_they_go_on_and_leaves_the_counts() {
    let limits = settings(100);
    let mut accounting = FlowAccounting {
        rollup: Rollup::new(limits.labels, limits.rollup),
        names: TestNames::default(),
        enricher: Learning(0),
        generation: 0,
        export_sender: None,
        paths: None,
        path: NetworkPath::default(),
        talkers: Talkers::default(),
        now_ms: 0,
    };
    let mut table = FlowTable::new(limits.table);
    let mut count = |now_ms, record: FlowRecord| {
        accounting.update_generation(now_ms);
        table.update(&record, now_ms, &mut accounting);
        let mut rows: Vec<_> = accounting.rollup.rows();
        rows.sort_by(|a, b| a.labels.cmp(&b.labels));
        let of = |r: &SeriesRow| {
            let asn = r.labels.split("src_asn=\"").nth(1).unwrap();
            let asn = asn.split('"').next().unwrap().parse().unwrap();
            (asn, r.packets_total, r.live_packets)
        };
        let named = accounting
            .rollup
            .asns(|_| None)
            .into_iter()
            .map(|(asn, _)| asn)
            .collect();
        (rows.iter().map(of).collect::<Vec<(u32, u64, u64)>>(), named)
    };
    assert_eq!(count(1, record(1, 7, 2)).0, [(7, 20, 20)]);
    assert_eq!(count(2, record(1, 8, 1)).0, [(7, 20, 20), (8, 10, 10)]);
    // flow 8 has no further record: it keeps its label
    let (rows, named): (_, Vec<u32>) = count(1500, record(1, 7, 3));
    assert_eq!(rows, [(1007, 30, 50), (7, 20, 0), (8, 10, 10)]);
    assert_eq!(named, [7, 8, 1007]);
}

#[test]
fn completed_records_count_on_their_paths_and_only_on_interfaces_that_sums_include() {
    let limits = settings(100);
    let mut accounting = FlowAccounting {
        rollup: Rollup::new(limits.labels, limits.rollup),
        names: TestNames::default(),
        enricher: Learning(0),
        generation: 0,
        export_sender: None,
        paths: Some(PathCounters::new(SystemTime::now(), 0)),
        path: NetworkPath::default(),
        talkers: Talkers::default(),
        now_ms: 0,
    };
    let mut table = FlowTable::new(limits.table);
    // interface 7 is left out
    for (ifindex, port, packets) in [(1, 5, 2), (2, 5, 1), (1, 6, 4), (7, 5, 64)] {
        table.update(&record(ifindex, port, packets), 0, &mut accounting);
    }
    let rows = |accounting: &FlowAccounting<_, _>| {
        let snapshot = accounting.paths.as_ref().map(|paths| paths.snapshot(0));
        let snapshot = snapshot.expect("paths are counted");
        let interval = snapshot.intervals.last().expect("the current one").clone();
        let rows = interval.rows();
        let rows = rows.map(|row| (snapshot.path(&row).to_string(), row.volume.packets));
        rows.collect::<Vec<_>>()
    };
    assert_eq!(rows(&accounting), [], "no record is complete");
    table.expire(10_000, 100, &mut accounting);
    // scaled by the sample rate of 10
    assert_eq!(rows(&accounting), [("1 6".into(), 40), ("1 5".into(), 30)]);
}

#[test]
fn the_thread_ends_after_the_last_record() {
    let mut fixture = fixture(100);
    for _ in 0..4 {
        fixture.send(vec![record(1, 1, 1); 1000]);
    }
    fixture.records = None;
    fixture.wait_for(|s| s.totals.accounted_packets == 4000);
    assert_eq!(fixture.threads.failed(), None, "it waits to be told");
    fixture.threads.stop("flow");
    assert!(snapshot(&fixture.requests, Duration::from_millis(10)).is_none());
}

#[test]
fn records_that_wait_are_accounted_before_the_end() {
    let fixture = fixture(100_000);
    let batch = |n| (0..10_000).map(|port| record(n, port, 1)).collect();
    for n in 0..4 {
        fixture.send(batch(n));
    }
    fixture.threads.stop("flow");
    assert_eq!(fixture.names.asked.load(Ordering::SeqCst), 40_000);
}
