// SPDX-License-Identifier: AGPL-3.0-only
//! The parts and their rest are the interface in every tier, whatever cuts and restarts there are.

use std::collections::BTreeMap;

use proptest::prelude::*;
use rfm::store::types::{CurveFilter, Part, Tier, TimeSpan};
use rfm::types::flow::Family;

use crate::harness::{START, Scratch, Store, check, minute, row, sums, totals};

#[test]
fn a_minute_is_read_from_memory_and_from_disk() {
    let scratch = Scratch::new("minute");
    let mut store = Store::open(&scratch.history(), START);
    let parts = || vec![(Part::Network(64_500), 700), (Part::Network(64_501), 100)];
    store.add(minute(START, vec![row("eth0", [1000, 24, 0], parts())]));
    let span = TimeSpan::new(START, START + 3600);
    let read = |store: &Store| {
        store
            .reader()
            .curves(span, Some(Tier::Minute), &CurveFilter::everything())
    };
    let from_memory = read(&store);
    store.advance(600);
    assert_eq!(store.problem(), None);
    assert!(store.shared.read().is_empty());
    let from_disk = read(&store);
    assert_eq!(from_memory.curves.len(), from_disk.curves.len());
    assert_eq!(totals(&from_disk.curves), BTreeMap::from([(START, 1024)]));
    let ipv4 = Part::Total(Family::Ipv4);
    let found = from_disk.curves.iter().find(|curve| curve.part == ipv4);
    let point = found.unwrap().points[0];
    assert_eq!(
        (point.bytes, point.packets, point.covered_ms),
        (1000, 10, 60_000)
    );
    assert!((point.max_rate - 1000.0 / 60.0).abs() < 0.5);
    check(&store.reader(), span, 0);
}

/// A part that exceeds its interface passes the surplus to the next minutes, also to those of the next block.
#[test]
fn the_surplus_of_a_part_is_in_the_next_minutes() {
    let scratch = Scratch::new("surplus");
    let mut store = Store::open(&scratch.history(), START);
    for n in 0..8 {
        let parts = match n {
            3 => vec![(Part::Network(64_500), 3500)],
            _ => Vec::new(),
        };
        let time = START + n * 60;
        store.add(minute(time, vec![row("eth0", [1000, 0, 0], parts)]));
        store.advance(60);
    }
    store.advance(600);
    let span = TimeSpan::new(START, START + 3600);
    let filter = CurveFilter::everything();
    let curves = store.reader().curves(span, Some(Tier::Minute), &filter);
    let found = sums(&curves.curves, |curve| curve.part == Part::Network(64_500));
    let expected = [(3, 1000), (4, 1000), (5, 1000), (6, 500)];
    assert_eq!(found.len(), expected.len(), "{found:?}");
    for ((time, bytes), (n, exact)) in found.into_iter().zip(expected) {
        assert_eq!(time, START + n * 60);
        assert!((exact - 1..=exact).contains(&bytes), "{n}: {bytes}");
    }
    check(&store.reader(), span, 0);
}

/// Parts of an interface, by number.
type Parts = Vec<(u8, u64)>;

/// What happens in a minute.
#[derive(Clone, Debug)]
enum Step {
    Traffic(Vec<(u8, u64, Parts)>),
    Pause(u64),
    Restart,
    Crash,
}

fn step() -> impl Strategy<Value = Step> {
    let part = (0..8u8, prop_oneof![0..5000u64, 0..1u64 << 40]);
    let rows = (0..3u8, 0..1u64 << 40, prop::collection::vec(part, 0..10));
    prop_oneof![
        20 => prop::collection::vec(rows, 1..4).prop_map(Step::Traffic),
        1 => (0..200_000u64).prop_map(Step::Pause),
        1 => Just(Step::Restart),
        1 => Just(Step::Crash),
    ]
}

fn part(number: u8) -> Part {
    match number {
        0..=2 => Part::Network(u32::from(number) * 64_500),
        3 => Part::Neighbor(64_496),
        4 => Part::Country(*b"CH"),
        5 => Part::Prefix("servers".into()),
        _ => Part::Service(number, 443),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn parts_and_rest_are_the_interface(steps in prop::collection::vec(step(), 1..120)) {
        let scratch = Scratch::new("sums");
        let mut store = Store::open(&scratch.history(), START);
        // without the rows that a crash lost
        let mut expected: BTreeMap<u64, u64> = BTreeMap::new();
        for step in steps {
            match step {
                Step::Traffic(rows) => {
                    let time = store.now.wall / 60 * 60;
                    let rows: Vec<_> = rows
                        .into_iter()
                        .map(|(interface, bytes, parts)| {
                            *expected.entry(time).or_default() += bytes;
                            let parts = parts.into_iter().map(|(n, bytes)| (part(n), bytes));
                            row(&format!("eth{interface}"), [bytes, 0, 0], parts.collect())
                        })
                        .collect();
                    store.add(minute(time, rows));
                    store.advance(60);
                }
                Step::Pause(seconds) => store.advance(seconds),
                Step::Restart => store.restart(),
                Step::Crash => {
                    let lost: Vec<_> = store.shared.read().minutes.keys().copied().collect();
                    expected.retain(|time, _| !lost.contains(time));
                    store.crash();
                }
            }
            prop_assert_eq!(store.problem(), None);
        }
        expected.retain(|_, bytes| *bytes > 0);
        // six days: the log has the last two of them
        let end = store.now.wall + 60;
        let span = TimeSpan::new(START.max(end.saturating_sub(500_000)), end);
        let logged = end.saturating_sub(2 * 86_400);
        for (tier, mut found) in Tier::ALL.into_iter().zip(check(&store.reader(), span, 0)) {
            let slot = |time: u64| time / tier.seconds() * tier.seconds();
            let mut model: BTreeMap<u64, u64> = BTreeMap::new();
            for (time, bytes) in expected.range(slot(span.from)..) {
                *model.entry(slot(*time)).or_default() += bytes;
            }
            if tier == Tier::Minute {
                model.retain(|time, _| *time >= logged);
                found.retain(|time, _| *time >= logged);
            }
            prop_assert_eq!(found, model, "{:?}", tier);
        }
    }
}

#[test]
fn a_part_differs_by_a_thousandth_at_most() {
    let scratch = Scratch::new("error");
    let mut store = Store::open(&scratch.history(), START);
    let mut expected: BTreeMap<(u32, u64), u64> = BTreeMap::new();
    let mut random = 1u64;
    for n in 0..3 * 1440 {
        let time = START + n * 60;
        let mut parts = Vec::new();
        for asn in 1..20u32 {
            random = random
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            let bytes = 1_000_000 / u64::from(asn) + (random >> 40);
            parts.push((Part::Network(asn), bytes));
            for tier in Tier::ALL {
                let slot = time / tier.seconds() * tier.seconds();
                *expected.entry((asn, slot * 10 + tier as u64)).or_default() += bytes;
            }
        }
        let total = parts.iter().map(|(_, bytes)| bytes).sum();
        store.add(minute(time, vec![row("eth0", [total, 0, 0], parts)]));
        store.advance(60);
    }
    store.advance(86_400);
    let span = TimeSpan::new(START, START + 3 * 86_400);
    for tier in Tier::ALL {
        let curves = store
            .reader()
            .curves(span, Some(tier), &CurveFilter::everything());
        let mut worst = 0f64;
        let mut points = 0;
        for asn in 1..20 {
            let found = sums(&curves.curves, |curve| curve.part == Part::Network(asn));
            for (time, bytes) in found {
                let exact = expected[&(asn, time * 10 + tier as u64)];
                assert!(bytes <= exact);
                worst = worst.max((exact - bytes) as f64 / exact as f64);
                points += 1;
            }
        }
        println!(
            "{}: {points} points, largest error {:.4} %",
            tier.name(),
            worst * 100.0
        );
        assert!(points >= 19 * 3, "{tier:?}: {points}");
        assert!(worst <= 0.001, "{tier:?}: {worst}");
    }
}
