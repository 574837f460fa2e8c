// SPDX-License-Identifier: AGPL-3.0-only
//! The networks on AS paths, as the page shows them: the traffic that each carries, and the traffic that each originates.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::flow::paths::{INTERVAL, MAX_INTERVALS, PathSnapshot};
use crate::history::window_totals::Window;
use crate::types::flow::Direction;

/// The time between two readings. Counts of paths change when flows end, and reading a day takes up to 0.1 s.
const READ_INTERVAL: Duration = Duration::from_secs(30);
/// The number of networks in a table: the largest on the path, and the largest origins.
const LARGEST: usize = 20;
const HOUR: u64 = 3600 / INTERVAL;

/// Bytes by [`Direction`].
type Bytes = [u64; Direction::ALL.len()];

/// The tables of both windows.
#[derive(Debug, PartialEq, Eq)]
pub struct PathTables {
    hour: PathTable,
    day: PathTable,
}

/// The networks of one window.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct PathTable {
    /// The length of the window in seconds.
    seconds: u64,
    /// The ASN, bytes on the path before the origin, and bytes of which it is the origin.
    networks: Vec<(u32, Bytes, Bytes)>,
    networks_total: usize,
    /// All traffic, and the part without a route or without room in the table of paths.
    total: Bytes,
    unknown: Bytes,
}

impl PathTables {
    pub fn new(snapshot: &PathSnapshot) -> Self {
        Self {
            hour: PathTable::new(snapshot, HOUR),
            day: PathTable::new(snapshot, MAX_INTERVALS as u64),
        }
    }

    pub fn of(&self, window: Window) -> &PathTable {
        match window {
            Window::Hour => &self.hour,
            Window::Day => &self.day,
        }
    }

    /// Returns the ASNs in the tables.
    pub fn asns(&self) -> impl Iterator<Item = u32> {
        let rows = self.hour.networks.iter().chain(&self.day.networks);
        rows.map(|(asn, ..)| *asn)
    }
}

impl PathTable {
    /// Sums the last intervals, the current one included.
    fn new(snapshot: &PathSnapshot, intervals: u64) -> Self {
        let first = (snapshot.now / INTERVAL + 1).saturating_sub(intervals);
        let (mut total, mut unknown) = (Bytes::default(), Bytes::default());
        let mut networks: HashMap<u32, (Bytes, Bytes)> = HashMap::new();
        let in_window = |number: &u64| *number >= first;
        for interval in &snapshot.intervals {
            if !in_window(&interval.number) {
                continue;
            }
            for direction in Direction::ALL {
                let rest = interval.rest[direction as usize].bytes;
                add(&mut total, direction, rest);
                add(&mut unknown, direction, rest);
            }
            for row in interval.rows() {
                let (path, direction) = (snapshot.path(&row), row.direction);
                let bytes = row.volume.bytes;
                add(&mut total, direction, bytes);
                if path.is_unknown() {
                    add(&mut unknown, direction, bytes);
                }
                for (asn, _) in path.transit() {
                    add(&mut networks.entry(asn).or_default().0, direction, bytes);
                }
                if path.origin() > 0 {
                    let network = networks.entry(path.origin()).or_default();
                    add(&mut network.1, direction, bytes);
                }
            }
        }
        let since = (first * INTERVAL).max(snapshot.since);
        Self {
            seconds: snapshot.now.saturating_sub(since),
            networks_total: networks.len(),
            networks: largest(networks),
            total,
            unknown,
        }
    }
}

fn add(sum: &mut Bytes, direction: Direction, bytes: u64) {
    let sum = &mut sum[direction as usize];
    *sum = sum.wrapping_add(bytes);
}

/// Returns the networks that carry most and those that originate most, in this order.
fn largest(networks: HashMap<u32, (Bytes, Bytes)>) -> Vec<(u32, Bytes, Bytes)> {
    let both = |bytes: &Bytes| {
        bytes
            .iter()
            .fold(0u64, |sum, bytes| sum.saturating_add(*bytes))
    };
    let mut rows: Vec<_> = networks
        .into_iter()
        .map(|(asn, (carried, originated))| (asn, carried, originated))
        .collect();
    rows.sort_unstable_by_key(|row| (std::cmp::Reverse(both(&row.2)), row.0));
    let origins: BTreeSet<u32> = rows.iter().take(LARGEST).map(|row| row.0).collect();
    rows.sort_by_key(|row| std::cmp::Reverse(both(&row.1)));
    let mut place = 0;
    rows.retain(|row| {
        place += 1;
        place <= LARGEST && both(&row.1) > 0 || origins.contains(&row.0)
    });
    rows
}

/// The state of the tables.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum PathsState {
    #[default]
    NotCounted,
    /// Nobody has looked at the page for some time: the next tick reads the paths.
    Waiting,
    Read(Arc<PathTables>),
}

impl PathsState {
    pub fn tables(&self) -> Option<&PathTables> {
        match self {
            Self::Read(tables) => Some(tables),
            Self::NotCounted | Self::Waiting => None,
        }
    }
}

/// Reads the paths at intervals while the page has readers.
#[derive(Debug, Default)]
pub struct PathReader {
    next: Option<Instant>,
    state: PathsState,
}

impl PathReader {
    /// Returns the current state. `ask` asks thread flow for the paths: `Some(None)` if they are not counted, `None`
    /// if it does not answer.
    pub fn read(
        &mut self,
        now: Instant,
        has_readers: bool,
        ask: impl FnOnce() -> Option<Option<PathSnapshot>>,
    ) -> PathsState {
        // the first time, to learn whether paths are counted
        let is_first = self.next.is_none();
        if self.next.is_none_or(|next| now >= next) {
            if has_readers || is_first {
                self.next = Some(now + READ_INTERVAL);
                // if there is no answer, the page shows the previous tables
                if let Some(snapshot) = ask() {
                    let read = |snapshot| PathsState::Read(PathTables::new(&snapshot).into());
                    self.state = snapshot.map_or(PathsState::NotCounted, read);
                }
            } else if self.state != PathsState::NotCounted {
                self.state = PathsState::Waiting;
            }
        }
        self.state.clone()
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;
    use crate::flow::paths::{PathCounters, PathVolume};
    use crate::types::network_path::NetworkPath;

    fn count(counters: &mut PathCounters, at_s: u64, asns: &[u32], bytes: u64) {
        let mut path = NetworkPath::default();
        path.push_sequence(asns.iter().copied());
        path.set_origin(asns.last().copied().unwrap_or(0));
        let volume = PathVolume { bytes, packets: 1 };
        counters.count(at_s * 1000, Direction::Egress, path.path(), volume);
    }

    /// Counts that begin in the middle of an interval.
    fn counters() -> PathCounters {
        let epoch = SystemTime::UNIX_EPOCH + Duration::from_secs(1000 * INTERVAL + 150);
        PathCounters::new(epoch, 0)
    }

    #[test]
    fn a_network_on_the_path_stands_beside_an_origin() {
        let mut counters = counters();
        count(&mut counters, 0, &[1, 2, 9], 1000);
        // three hours later
        count(&mut counters, 10_800, &[1, 2], 10);
        count(&mut counters, 10_800, &[1, 1, 9, 2, 9], 5);
        count(&mut counters, 10_800, &[], 3);
        let tables = PathTables::new(&counters.snapshot(10_900_000));
        let expected = PathTable {
            // eleven complete intervals, and 250 s of the current one
            seconds: 11 * INTERVAL + 250,
            networks: vec![
                (1, [0, 15], [0, 0]),
                (2, [0, 5], [0, 10]),
                (9, [0, 0], [0, 5]),
            ],
            networks_total: 3,
            total: [0, 18],
            unknown: [0, 3],
        };
        assert_eq!(*tables.of(Window::Hour), expected);
        let day = tables.of(Window::Day);
        assert_eq!((day.seconds, day.total), (10_900, [0, 1018]));
        let expected = [
            (1, [0, 1015], [0, 0]),
            (2, [0, 1005], [0, 10]),
            (9, [0, 0], [0, 1005]),
        ];
        assert_eq!(day.networks, expected);
    }

    #[test]
    fn a_table_has_the_largest_of_both_kinds() {
        let mut counters = counters();
        for n in 0..100 {
            count(&mut counters, 0, &[1000 + n, 2000 + n], u64::from(n) + 1);
        }
        let tables = PathTables::new(&counters.snapshot(0));
        let table = tables.of(Window::Hour);
        assert_eq!(table.networks_total, 200);
        let asns: Vec<_> = table.networks.iter().map(|row| row.0).collect();
        let largest = |first: u32| (0..20).map(move |n| first + 99 - n);
        let expected: Vec<_> = largest(1000).chain(largest(2000)).collect();
        assert_eq!(asns, expected);
        assert!(tables.asns().all(|asn| expected.contains(&asn)));
    }

    #[test]
    fn paths_are_read_while_the_page_has_readers() {
        let (mut reader, start) = (PathReader::default(), Instant::now());
        let mut asked = Vec::new();
        let mut read = |seconds, has_readers| {
            let ask = || {
                asked.push(seconds);
                Some(Some(counters().snapshot(seconds * 1000)))
            };
            let now = start + Duration::from_secs(seconds);
            matches!(reader.read(now, has_readers, ask), PathsState::Read(_))
        };
        assert!(read(0, false), "at the start");
        assert!(read(29, false));
        // the tables are too old to be shown
        assert!(!read(30, false));
        assert!(!read(7200, false));
        assert!(read(7205, true), "at the first tick with a reader");
        assert!(read(7234, true));
        assert!(read(7235, true));
        assert!(read(7264, false));
        assert!(!read(7265, false));
        assert_eq!(asked, [0, 7205, 7235]);
    }

    #[test]
    fn paths_that_are_not_counted_and_an_answer_that_is_missing() {
        let (mut reader, start) = (PathReader::default(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        let state = reader.read(start, true, || Some(None));
        assert_eq!(state, PathsState::NotCounted);
        assert_eq!(reader.read(at(99), false, || None), state);
        let counted = reader.read(at(100), true, || Some(Some(counters().snapshot(0))));
        assert!(counted.tables().is_some());
        assert_eq!(reader.read(at(200), true, || None), counted);
    }
}
