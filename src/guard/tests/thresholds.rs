//! Plain thresholds.

use std::time::Duration;

use super::simulation::*;
use crate::guard::report::{AttackId, DetectorEvent};
use crate::guard::thresholds::{PlainThreshold, PlainThresholds};
use crate::types::flow::FlowRecord;
use crate::types::guard::{AlarmKind, AlarmTarget, Heading, Quantity};

fn threshold(target: AlarmTarget, kind: AlarmKind, limit: u64, seconds: u64) -> PlainThreshold {
    PlainThreshold {
        target,
        heading: Heading::In,
        kind,
        limit,
        lasts: Duration::from_secs(seconds),
    }
}

/// Returns the kind, the time in seconds and whether it begins, of each alarm.
fn run(
    thresholds: Vec<PlainThreshold>,
    streams: &[Stream],
    until: u64,
) -> Vec<(AlarmKind, f64, bool)> {
    let mut plain = PlainThresholds::new(thresholds, START);
    let mut arrivals: Vec<_> = streams
        .iter()
        .flat_map(|stream| records(stream, 5))
        .collect();
    arrivals.sort_by_key(|(at, _)| *at);
    let mut arrivals = arrivals.into_iter().peekable();
    let (mut id, mut kinds, mut events) = (0, Vec::new(), Vec::new());
    for now in (START..START + until).step_by(67_000_000) {
        while let Some((_, record)) = arrivals.next_if(|(at, _)| *at <= now) {
            plain.count(&record, &TestLookup);
        }
        let new = plain.advance(now, || {
            id += 1;
            AttackId(id)
        });
        let at = (now - START) as f64 / 1e9;
        for event in new {
            match event {
                DetectorEvent::Alarm(report) => {
                    kinds.push(report.kind);
                    let rate = report.values[report.quantity() as usize];
                    assert_eq!(rate > report.threshold, !report.kind.is_below());
                    events.push((report.kind, at, true));
                }
                DetectorEvent::Calm(AttackId(id)) => {
                    events.push((kinds[id as usize - 1], at, false));
                }
                DetectorEvent::Update(_) => {}
            }
        }
    }
    events
}

fn assert_times(events: &[(AlarmKind, f64, bool)], expected: &[(AlarmKind, f64, bool)]) {
    assert_eq!(events.len(), expected.len(), "{events:?}");
    for (event, expected) in events.iter().zip(expected) {
        assert_eq!((event.0, event.2), (expected.0, expected.2), "{events:?}");
        // a step begins up to a second later, and its records arrive up to 1.3 s after its end
        let late = event.1 - expected.1;
        assert!((0.0..=2.5).contains(&late), "{events:?}");
    }
}

#[test]
fn an_alarm_begins_and_ends_after_its_time() {
    let link = AlarmTarget::Interface("wan0".into());
    let stream = Stream::udp(
        "203.0.113.9",
        "192.0.2.7",
        500.0,
        (20 * SECOND, 60 * SECOND),
    );
    let all = [
        (link.clone(), AlarmKind::AboveBits, 1_500_000),
        (link, AlarmKind::AbovePackets, 501),
        (AlarmTarget::Peer(64_500), AlarmKind::BelowPackets, 1),
        (AlarmTarget::Peer(64_501), AlarmKind::AbovePackets, 1),
        (
            AlarmTarget::Prefix("192.0.2.0/24".parse().unwrap()),
            AlarmKind::AbovePackets,
            490,
        ),
        (
            AlarmTarget::Prefix("192.0.3.0/24".parse().unwrap()),
            AlarmKind::AbovePackets,
            1,
        ),
    ];
    let all = all.map(|(target, kind, limit)| threshold(target, kind, limit, 5));
    let events = run(all.into(), &[stream], 90 * SECOND);
    use AlarmKind::{AboveBits, AbovePackets, BelowPackets};
    // in the order of the tables if at the same time
    let expected = [
        (BelowPackets, 5.0, true),
        (AboveBits, 25.0, true),
        (BelowPackets, 25.0, false),
        (AbovePackets, 25.0, true),
        (AboveBits, 65.0, false),
        (BelowPackets, 65.0, true),
        (AbovePackets, 65.0, false),
    ];
    assert_times(&events, &expected);
}

#[test]
fn a_shorter_time_on_the_other_side_changes_nothing() {
    let link = AlarmTarget::Interface("wan0".into());
    let bursts: Vec<_> = (0..6)
        .map(|n| {
            let from = (10 + n * 15) * SECOND;
            Stream::udp("203.0.113.9", "192.0.2.7", 900.0, (from, from + 7 * SECOND))
        })
        .collect();
    let thresholds = vec![threshold(link.clone(), AlarmKind::AbovePackets, 500, 10)];
    assert_eq!(run(thresholds, &bursts, 110 * SECOND), []);
    // a minute has steps of six seconds: the mean of each counts
    let bursts: Vec<_> = (0..60)
        .map(|n| {
            let from = (10 + n * 2) * SECOND;
            Stream::udp("203.0.113.9", "192.0.2.7", 1_400.0, (from, from + SECOND))
        })
        .collect();
    let thresholds = vec![threshold(link, AlarmKind::AbovePackets, 500, 60)];
    let events = run(thresholds, &bursts, 120 * SECOND);
    assert_eq!(events.len(), 1, "{events:?}");
    assert!((70.0..=84.0).contains(&events[0].1), "{events:?}");
}

#[test]
fn a_step_of_hours_adds_up_exactly() {
    let link = AlarmTarget::Interface("wan0".into());
    let threshold = threshold(link, AlarmKind::AboveBits, 9_900_000_000, 86_400);
    let mut plain = PlainThresholds::new(vec![threshold], 0);
    let stream = Stream::udp("203.0.113.9", "192.0.2.7", 1.0, (0, 2 * SECOND));
    let (_, record) = records(&stream, 0)[0];
    let mut alarms = 0;
    for second in 0..100_000u64 {
        // ten records of 1 Gbit
        for _ in 0..10 {
            let (first, last) = (second * SECOND, second * SECOND + SECOND - 1);
            let frame_bytes = 125_000_000;
            plain.count(
                &FlowRecord {
                    first,
                    last,
                    frame_bytes,
                    ..record
                },
                &TestLookup,
            );
        }
        for event in plain.advance(second * SECOND, || AttackId(1)) {
            if let DetectorEvent::Alarm(report) = event {
                alarms += 1;
                let bits = f64::from(report.values[Quantity::Bits as usize]);
                assert!((bits / 1e10 - 1.0).abs() < 1e-4, "{bits}");
            }
        }
    }
    assert_eq!(alarms, 1);
}
