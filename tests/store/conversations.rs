// SPDX-License-Identifier: AGPL-3.0-only
//! Conversations over several days: those of a minute while the log has them, and of ten minutes before.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use rfm::store::types::{
    ConversationList, ConversationRow, Conversations, CurveFilter, HistoryInput, MinuteLists,
    TimeSpan,
};
use rfm::types::flow::Direction;

use crate::harness::{START, Scratch, Store};

const DAY: u64 = 86_400;
const DAYS: u64 = 5;

/// Bytes of each interface and direction, by the day.
type Sums = BTreeMap<(String, Direction, u64), u64>;

fn list(minute: u64, interface: &str, direction: Direction) -> ConversationList {
    let row = |n: u64| ConversationRow {
        source: Ipv4Addr::new(192, 0, 2, (minute / 60 % 7 + n) as u8).into(),
        destination: Ipv4Addr::new(198, 51, 100, 0).into(),
        protocol: 6,
        service_port: 443,
        bytes: 100_003 * (n + 1) + minute % 997,
        packets: 100 * (n + 1),
    };
    ConversationList {
        interface: interface.into(),
        direction,
        rows: (0..3).map(row).collect(),
        rest: (minute % 1009, 1),
    }
}

fn sums(found: &Conversations) -> Sums {
    let mut sums = Sums::new();
    for period in &found.periods {
        for list in &period.lists {
            let day = (period.time - START) / DAY;
            let key = (list.interface.to_string(), list.direction, day);
            let rows: u64 = list.rows.iter().map(|row| row.bytes).sum();
            *sums.entry(key).or_default() += rows + list.rest.0;
        }
    }
    sums
}

/// Rows are rounded down by less than 1/4096; a minute of a day is 1/1440.
fn assert_same(found: &Sums, expected: &Sums) {
    assert!(found.keys().eq(expected.keys()), "{found:?}");
    for (key, bytes) in expected {
        let missing = bytes.checked_sub(found[key]).expect("no row counts twice");
        assert!(missing < bytes / 4096, "{key:?}: {missing} of {bytes}");
    }
}

#[test]
fn each_minute_of_several_days_counts_once() {
    let scratch = Scratch::new("conversations");
    let mut store = Store::open(&scratch.history(), START);
    let mut expected = Sums::new();
    for n in 0..DAYS * 1440 {
        let minute = START + n * 60;
        let conversations = vec![
            list(minute, "eth0", Direction::Ingress),
            list(minute, "eth0", Direction::Egress),
            list(minute + 7, "eth1", Direction::Ingress),
        ];
        for list in &conversations {
            let rows: u64 = list.rows.iter().map(|row| row.bytes).sum();
            let key = (list.interface.to_string(), list.direction, n / 1440);
            *expected.entry(key).or_default() += rows + list.rest.0;
        }
        store.add(HistoryInput::Lists(MinuteLists {
            minute,
            conversations,
            ..MinuteLists::default()
        }));
        store.advance(60);
    }
    store.advance(600);
    assert_eq!(store.problem(), None);

    let span = TimeSpan::new(START, START + DAYS * DAY);
    let found = store.reader().conversations(span, &CurveFilter::default());
    assert_eq!(found.damaged_blocks, 0);
    assert_same(&sums(&found), &expected);
    let seconds = |day: u64| {
        let of_day = found
            .periods
            .iter()
            .filter(|period| (period.time - START) / DAY == day);
        let mut seconds: Vec<_> = of_day.map(|period| period.seconds).collect();
        seconds.dedup();
        seconds
    };
    assert_eq!((seconds(0), seconds(DAYS - 1)), (vec![600], vec![60]));

    // the lists of one interface, old and new
    let filter = CurveFilter {
        interfaces: vec!["eth0".into()],
        directions: vec![Direction::Egress],
        ..CurveFilter::default()
    };
    let selected = store.reader().conversations(span, &filter);
    expected.retain(|(name, direction, _), _| name == "eth0" && *direction == Direction::Egress);
    assert_same(&sums(&selected), &expected);
}
