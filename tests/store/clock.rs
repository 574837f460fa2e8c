// SPDX-License-Identifier: AGPL-3.0-only
//! Steps of the clock neither damage rows nor count them twice, and no file is deleted for its age, except those with
//! conversations.

use std::collections::BTreeMap;
use std::time::Duration;

use rfm::store::types::{
    ConversationList, ConversationRow, CurveFilter, HistoryInput, MinuteLists, Tier, TimeSpan,
};
use rfm::types::flow::Direction;

use crate::harness::{START, Scratch, Store, check, minute, row, totals};

const YEAR: u64 = 365 * 86_400;

/// Adds `minutes` rows and lets the clocks advance.
fn record(store: &mut Store, minutes: u64, written: &mut BTreeMap<u64, u64>) {
    for n in 0..minutes {
        let time = store.now.wall / 60 * 60;
        let bytes = 1000 + n;
        *written.entry(time).or_default() += bytes;
        store.add(minute(time, vec![row("eth0", [bytes, 0, 0], vec![])]));
        store.advance(60);
    }
}

fn step(store: &mut Store, wall: u64) {
    store.now.wall = wall;
    store.now.monotonic += Duration::from_secs(1);
    store.writer.as_mut().unwrap().tick(store.now);
}

#[test]
fn steps_by_years_keep_and_count_each_row_once() {
    let scratch = Scratch::new("clock");
    let mut store = Store::open(&scratch.history(), START);
    let mut written = BTreeMap::new();
    record(&mut store, 200, &mut written);
    step(&mut store, START - 6 * YEAR);
    record(&mut store, 30, &mut written);
    step(&mut store, START + 12 * YEAR);
    record(&mut store, 30, &mut written);
    // back to minutes that have rows already
    step(&mut store, START + 3600);
    record(&mut store, 100, &mut written);
    store.advance(2 * 86_400);
    record(&mut store, 20, &mut written);
    store.advance(600);
    assert_eq!(store.problem(), None);
    for around in [START, START - 6 * YEAR, START + 12 * YEAR] {
        let span = TimeSpan::new(around - 86_400, around + 4 * 86_400);
        for (tier, found) in Tier::ALL.into_iter().zip(check(&store.reader(), span, 0)) {
            let mut model: BTreeMap<u64, u64> = BTreeMap::new();
            for (time, bytes) in written.range(span.from..span.to) {
                *model
                    .entry(time / tier.seconds() * tier.seconds())
                    .or_default() += bytes;
            }
            assert_eq!(found, model, "{tier:?} around {around}");
        }
    }
}

#[test]
fn a_minute_that_was_counted_twice_keeps_its_mean_rate() {
    let scratch = Scratch::new("mean");
    let mut store = Store::open(&scratch.history(), START);
    for _ in 0..2 {
        step(&mut store, START);
        store.add(minute(START, vec![row("eth0", [6000, 0, 0], vec![])]));
        store.advance(900);
    }
    let span = TimeSpan::new(START, START + 60);
    let curves = store
        .reader()
        .curves(span, Some(Tier::Minute), &CurveFilter::default());
    let point = curves.curves[0].points[0];
    assert_eq!((point.bytes, point.covered_ms), (12_000, 120_000));
}

/// Adds a conversation in the current minute.
fn converse(store: &mut Store) {
    let row = ConversationRow {
        source: "192.0.2.0".parse().unwrap(),
        destination: "198.51.100.0".parse().unwrap(),
        protocol: 6,
        service_port: 443,
        bytes: 1000,
        packets: 10,
    };
    store.add(HistoryInput::Lists(MinuteLists {
        minute: store.now.wall / 60 * 60,
        conversations: vec![ConversationList {
            interface: "eth0".into(),
            direction: Direction::Ingress,
            rows: vec![row],
            rest: (0, 0),
        }],
        ..MinuteLists::default()
    }));
}

/// The times of all stored conversations.
fn conversations(store: &Store) -> Vec<u64> {
    let all = TimeSpan::new(0, START + 20 * YEAR);
    let found = store.reader().conversations(all, &CurveFilter::default());
    found.periods.iter().map(|period| period.time).collect()
}

#[test]
fn conversations_of_a_router_that_is_seldom_on_are_deleted_by_age() {
    let scratch = Scratch::new("age");
    let mut store = Store::open(&scratch.history(), START);
    let mut written = BTreeMap::new();
    let mut starts = Vec::new();
    for _ in 0..12 {
        starts.push(store.now.wall);
        for _ in 0..100 {
            converse(&mut store);
            record(&mut store, 1, &mut written);
        }
        let now = store.now.wall;
        let oldest = now - 15 * 86_400;
        let times = conversations(&store);
        assert!(times.iter().all(|time| *time > oldest), "{now}: {times:?}");
        let kept = starts.iter().filter(|start| **start > now - 14 * 86_400);
        for start in kept {
            assert!(times.contains(start), "{now}: none of {start}");
        }
        // off for three and a half days
        store.restart();
        store.now.wall += 302_400;
        store.restart();
    }
    assert_eq!(store.problem(), None);
    // the curves are kept
    let span = TimeSpan::new(START, store.now.wall);
    let found = check(&store.reader(), span, 0);
    let sum: u64 = written.values().sum();
    assert_eq!(found[1].values().sum::<u64>(), sum);
}

#[test]
fn a_clock_that_is_wrong_for_a_moment_deletes_no_conversations() {
    let scratch = Scratch::new("moment");
    let mut store = Store::open(&scratch.history(), START);
    for _ in 0..70 {
        converse(&mut store);
        store.advance(60);
    }
    // another log file is open
    store.advance(21_600);
    converse(&mut store);
    store.advance(600);
    let now = store.now.wall;
    step(&mut store, START + 3 * YEAR);
    // the first tick derives the old files, the next ones could delete them
    (0..6).for_each(|_| store.advance(300));
    step(&mut store, now + 1800);
    store.advance(600);
    assert_eq!(conversations(&store).len(), 71);
}

#[test]
fn a_pause_stays_a_gap() {
    let scratch = Scratch::new("gap");
    let mut store = Store::open(&scratch.history(), START);
    let mut written = BTreeMap::new();
    record(&mut store, 10, &mut written);
    store.advance(3 * 86_400);
    record(&mut store, 10, &mut written);
    store.advance(600);
    let span = TimeSpan::new(START, START + 4 * 86_400);
    let curves = store
        .reader()
        .curves(span, Some(Tier::FiveMinutes), &CurveFilter::default());
    assert_eq!(curves.curves[0].points.len(), 4);
    assert_eq!(totals(&curves.curves).len(), 4);
}
