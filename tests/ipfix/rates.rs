// SPDX-License-Identifier: AGPL-3.0-only
//! The sample rate changes while flows go on: no record mixes two, and each is scaled by its own.

use std::sync::Arc;
use std::time::Duration;

use rfm::flow::export_queue::ExportSender;
use rfm::flow::labels::SetId;
use rfm::flow::table::{CompletedRecord, FlowObserver, FlowTable, TableLimits};
use rfm::types::flow::FlowRecord;
use rfm::types::transport::Transport;

use super::common::lab::{Lab, can_run, wait_for};
use super::fixture::{ANSWER_TIMEOUT, Fixture, Listener, part};
use super::peers::{Peers, TOOLS, number};

/// Collects completed parts.
#[derive(Default)]
struct Parts(Vec<CompletedRecord>);

impl FlowObserver for Parts {
    fn generation(&self) -> u32 {
        0
    }
    fn started(&mut self, _: &FlowRecord) -> SetId {
        SetId(0)
    }
    fn relabelled(&mut self, set: SetId, _: &rfm::types::flow::FlowRecord) -> SetId {
        set
    }
    fn updated(&mut self, _: SetId, _: &rfm::types::flow::FlowRecord) {}
    fn exported(&mut self, _: SetId, part: &CompletedRecord) {
        self.0.push(*part);
    }
    fn ended(&mut self, _: SetId) {}
}

/// Ten flows under each rate in turn, through a flow table; the last are forced to end.
fn parts_under(rates: &[u32]) -> Vec<CompletedRecord> {
    let mut table = FlowTable::new(TableLimits {
        max_flows: 100,
        idle_timeout_ms: 30_000,
        active_timeout_ms: 60_000,
        tcp_close_delay_ms: None,
        spread: false,
    });
    let mut parts = Parts::default();
    for (turn, &rate) in rates.iter().enumerate() {
        let now = 5_000 * turn as u64;
        for port in 0..10 {
            let mut record = part(port).record;
            record.sample_rate = rate;
            table.update(&record, now, &mut parts);
        }
        table.expire(now, 1_000, &mut parts);
    }
    table.end(1_000, &mut parts);
    parts.0
}

#[test]
fn options_come_before_the_first_record_under_a_new_rate() {
    let mut collector = Listener::new();
    let mut fixture = Fixture::udp(collector.port());
    collector.introduced();
    fixture.export(&parts_under(&[1, 10, 1]));
    let (mut rate, mut seen) = (1, Vec::new());
    while seen.len() < 30 {
        let message = collector.next(ANSWER_TIMEOUT).expect("a message");
        for record in &message.records {
            if record.has(34) {
                rate = record.number(34);
            } else if record.is_flow() {
                seen.push(rate);
            }
        }
    }
    assert_eq!(
        seen,
        [[1; 20].as_slice(), &[10; 10]].concat(),
        "grouped by rate"
    );
    assert_eq!(fixture.settle(30), (30, 0));
}

#[test]
fn nfdump_and_nfacctd_scale_each_record_by_its_own_rate() {
    if !can_run(&TOOLS) {
        return;
    }
    let lab = Lab::new();
    let wire = lab.wire();
    let mut peers = Peers::start(&lab, &wire);
    let targets = Peers::ports().map(|port| (Transport::Udp, port));
    let mut fixture = wire.inside(|| Fixture::new(&targets, Duration::from_secs(60)));
    std::thread::sleep(Duration::from_secs(1));
    // in batches of their own: to a collector these are three changes
    for rate in [1, 10, 100, 10] {
        fixture.export(&parts_under(&[rate]));
        std::thread::sleep(Duration::from_millis(700));
    }
    let sent = || fixture.stats.iter().all(|stats| stats.records() == 40);
    assert!(wait_for(ANSWER_TIMEOUT, sent), "{:?}", fixture.counts());
    fixture.stop();
    peers.stop();
    let sum =
        |rows: &[super::peers::Row], field| rows.iter().map(|r| number(r, field)).sum::<u64>();
    let expected = 10 * 3 * (1 + 10 + 100 + 10);
    assert_eq!(sum(&peers.nfdump(), "in_packets"), expected);
    assert_eq!(sum(&peers.nfacctd(), "packets"), expected);
}

#[test]
fn what_finds_no_room_is_counted_and_not_waited_for() {
    let (mut export_sender, export_receiver) =
        ExportSender::new(vec![rfm::types::flow::Direction::Egress], Arc::default());
    // nobody takes anything
    for n in 0..20_000 {
        export_sender.push(&part(n));
    }
    drop(export_sender);
    let waiting: usize = export_receiver.parts.iter().map(|batch| batch.len()).sum();
    let lost = export_receiver.losses.get();
    assert_eq!(waiting + lost.parts as usize, 20_000);
    assert_eq!(waiting, 64 * 256);
    assert_eq!(
        (lost.packets, lost.octets),
        (3 * lost.parts, 138 * lost.parts)
    );
}
