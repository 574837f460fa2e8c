// SPDX-License-Identifier: AGPL-3.0-only
//! Counts bytes and packets by AS path, for a day in intervals of five minutes. Bounded, and exact in sum.
//!
//! A completed flow record counts in the interval in which it is completed, on the path that its route has then. Each
//! interval has at most [`MAX_ENTRIES`] paths by direction. A further path replaces the smallest one, whose counts are
//! added to the rest of the interval. This is "space saving" (Metwally, Agrawal, El Abbadi 2005), so that a path with
//! more than its share (one in [`MAX_ENTRIES`]) of the bytes stays; unlike there, a path has only its own counts.
//!
//! Paths are stored as numbers of words, independent of the RIB: a change of a route changes no count.

mod interner;
mod interval;
mod transit;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use interner::PathInterner;
use interval::OpenInterval;
use transit::TransitCounters;

use crate::types::flow::Direction;
use crate::types::network_path::PathWords;

pub use interval::{PathInterval, PathRow};
pub use transit::{TransitKey, TransitRow};

/// The length of an interval, in seconds: the one by which transit is billed.
pub const INTERVAL: u64 = 300;
/// The number of intervals: a day.
pub const MAX_INTERVALS: usize = 288;
/// Maximum number of entries of an interval, each for a path and a direction.
pub const MAX_ENTRIES: usize = 1024;

/// Bytes of frames and packets, scaled by the sample rate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PathVolume {
    pub bytes: u64,
    pub packets: u64,
}

impl std::ops::AddAssign for PathVolume {
    fn add_assign(&mut self, other: Self) {
        self.bytes = self.bytes.wrapping_add(other.bytes);
        self.packets = self.packets.wrapping_add(other.packets);
    }
}

/// The rest of an interval, by [`Direction`].
pub type PathVolumes = [PathVolume; Direction::ALL.len()];

/// All counts at one moment, cheap to make: closed intervals and paths are shared.
#[derive(Clone, Debug)]
pub struct PathSnapshot {
    /// When counting began, and now; in seconds since the Unix epoch.
    pub since: u64,
    pub now: u64,
    /// In ascending order. Intervals without traffic are left out; the current one is always the last.
    pub intervals: Vec<Arc<PathInterval>>,
    /// The words of each path, by its number.
    paths: Vec<Option<Arc<[u32]>>>,
}

impl PathSnapshot {
    pub fn path(&self, row: &PathRow) -> PathWords<'_> {
        let words = self.paths.get(row.path as usize).and_then(Option::as_ref);
        PathWords(words.map_or(&[], |words| words))
    }
}

#[derive(Debug)]
pub struct PathCounters {
    /// The wall clock at the origin of the times, in milliseconds since the Unix epoch. It is read once: intervals
    /// have the same length when the clock is set.
    epoch_ms: u64,
    paths: PathInterner,
    current: OpenInterval,
    closed: VecDeque<Arc<PathInterval>>,
    transit: TransitCounters,
}

impl PathCounters {
    /// `epoch` is the wall clock at the origin of the times of the other methods.
    pub fn new(epoch: SystemTime, transit_series: usize) -> Self {
        let since = epoch.duration_since(SystemTime::UNIX_EPOCH);
        let epoch_ms = since.unwrap_or(Duration::ZERO).as_millis() as u64;
        Self {
            epoch_ms,
            paths: PathInterner::default(),
            current: OpenInterval::new(epoch_ms / 1000 / INTERVAL),
            closed: VecDeque::new(),
            transit: TransitCounters::new(transit_series),
        }
    }

    /// Adds a record on a path.
    pub fn count(
        &mut self,
        now_ms: u64,
        direction: Direction,
        path: PathWords,
        volume: PathVolume,
    ) {
        self.advance(now_ms);
        match self.paths.find_or_insert(path.0) {
            Some(id) => {
                let (paths, transit) = (&mut self.paths, &mut self.transit);
                self.current.count(paths, transit, id, direction, volume);
            }
            None => self.current.rest[direction as usize] += volume,
        }
    }

    /// Closes the current interval if it has ended, and expires old ones.
    pub fn advance(&mut self, now_ms: u64) {
        let number = (self.epoch_ms + now_ms) / 1000 / INTERVAL;
        if number <= self.current.number() {
            return;
        }
        self.add_transit(now_ms);
        self.transit.end_interval();
        let ended = std::mem::replace(&mut self.current, OpenInterval::new(number));
        let ended = ended.pack();
        if !ended.is_empty() {
            self.closed.push_back(Arc::new(ended));
        }
        // the current one is one of the day
        let oldest = (number + 1).saturating_sub(MAX_INTERVALS as u64);
        while self
            .closed
            .front()
            .is_some_and(|first| first.number < oldest)
        {
            let expired = self.closed.pop_front();
            let rows = expired.iter().flat_map(|interval| interval.rows());
            rows.for_each(|row| self.paths.release(row.path));
        }
        self.make_room();
    }

    pub fn snapshot(&self, now_ms: u64) -> PathSnapshot {
        let mut intervals: Vec<_> = self.closed.iter().cloned().collect();
        intervals.push(Arc::new(self.current.pack()));
        PathSnapshot {
            since: self.epoch_ms / 1000,
            now: (self.epoch_ms + now_ms) / 1000,
            intervals,
            paths: self.paths.all(),
        }
    }

    /// Returns the bytes by AS on the path.
    pub fn transit(&mut self, now_ms: u64) -> Vec<TransitRow> {
        self.add_transit(now_ms);
        self.transit.rows()
    }

    fn add_transit(&mut self, now_ms: u64) {
        self.current.add_transit(&self.paths, &mut self.transit);
        self.transit.set_complete(now_ms);
    }

    /// Shortens closed intervals to their largest entries, the oldest first, until there is room for the paths of a
    /// whole interval.
    fn make_room(&mut self) {
        while !self.paths.has_room() && self.closed.iter().any(|interval| interval.rows > 0) {
            for at in 0..self.closed.len() {
                if self.paths.has_room() {
                    return;
                }
                let (kept, removed) = self.closed[at].halved();
                self.closed[at] = Arc::new(kept);
                removed.iter().for_each(|row| self.paths.release(row.path));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;
    use crate::types::network_path::NetworkPath;

    const SECOND: u64 = 1000;

    fn path(asns: &[u32]) -> NetworkPath {
        let mut path = NetworkPath::default();
        path.push_sequence(asns.iter().copied());
        path.set_origin(asns.last().copied().unwrap_or(0));
        path
    }

    fn counters() -> PathCounters {
        let epoch = SystemTime::UNIX_EPOCH + Duration::from_secs(1000 * INTERVAL + 10);
        PathCounters::new(epoch, 100)
    }

    fn count(counters: &mut PathCounters, at_s: u64, asns: &[u32], bytes: u64) {
        let volume = PathVolume { bytes, packets: 1 };
        counters.count(at_s * SECOND, Direction::Egress, path(asns).path(), volume);
    }

    /// The number of an interval, the bytes of each path, and those of the rest.
    type Listed = (u64, Vec<(String, u64)>, u64);

    fn listed(snapshot: &PathSnapshot) -> Vec<Listed> {
        let interval = |interval: &Arc<PathInterval>| {
            let rows = interval.rows();
            let rows = rows.map(|row| (snapshot.path(&row).to_string(), row.volume.bytes));
            let rest = interval.rest[Direction::Egress as usize].bytes;
            (interval.number, rows.collect(), rest)
        };
        snapshot.intervals.iter().map(interval).collect()
    }

    fn sum(snapshot: &PathSnapshot) -> (u64, u64) {
        let mut sum = PathVolume::default();
        for interval in &snapshot.intervals {
            interval.rows().for_each(|row| sum += row.volume);
            interval.rest.into_iter().for_each(|rest| sum += rest);
        }
        (sum.bytes, sum.packets)
    }

    #[test]
    fn each_interval_has_the_bytes_of_its_paths_the_largest_first() {
        let mut counters = counters();
        count(&mut counters, 0, &[1, 2], 5);
        count(&mut counters, 289, &[1, 3], 7);
        count(&mut counters, 289, &[1, 1, 2], 6);
        let ingress = PathVolume {
            bytes: 1,
            packets: 3,
        };
        counters.count(0, Direction::Ingress, path(&[]).path(), ingress);
        // the next interval has no traffic
        count(&mut counters, 290 + INTERVAL, &[1, 2], 9);
        let snapshot = counters.snapshot(900 * SECOND);
        let row = |path: &str, bytes| (path.to_owned(), bytes);
        let first = vec![row("1 2", 11), row("1 3", 7), row("", 1)];
        assert_eq!(
            listed(&snapshot),
            [(1000, first, 0), (1002, vec![row("1 2", 9)], 0)]
        );
        assert_eq!(sum(&snapshot), (28, 7));
        assert_eq!(
            (snapshot.since, snapshot.now),
            (1000 * INTERVAL + 10, 1000 * INTERVAL + 910)
        );
        let last = snapshot.intervals[0].rows().last().unwrap();
        assert!(last.direction == Direction::Ingress && snapshot.path(&last).is_unknown());
    }

    #[test]
    fn a_flood_of_paths_is_bounded_and_leaves_large_ones_alone() {
        let mut counters = counters();
        let mut expected = 0;
        for n in 0..20 * MAX_ENTRIES as u32 {
            count(&mut counters, 1, &[1, 100_000 + n], 100);
            count(&mut counters, 1, &[1, 2 + n % 50], 100);
            expected += 200;
        }
        let snapshot = counters.snapshot(SECOND);
        assert_eq!(sum(&snapshot), (expected, 40 * MAX_ENTRIES as u64));
        let [(_, rows, rest)] = &listed(&snapshot)[..] else {
            panic!("one interval");
        };
        assert_eq!(rows.len(), MAX_ENTRIES);
        assert!(*rest > 0 && *rest < expected / 2);
        let each = expected / 2 / 50;
        // each of the fifty has a share above one in the number of entries
        let large = rows.iter().filter(|(_, bytes)| *bytes > each * 9 / 10);
        assert_eq!(large.count(), 50);
        assert_eq!(counters.paths.len(), MAX_ENTRIES);
    }

    #[test]
    fn a_day_of_new_paths_keeps_the_sum_and_the_memory() {
        let mut counters = counters();
        let mut expected = HashMap::new();
        let intervals = MAX_INTERVALS as u64 + 12;
        for interval in 0..intervals {
            for n in 0..MAX_ENTRIES as u32 {
                let asn = 1000 + interval as u32 * MAX_ENTRIES as u32 + n;
                count(&mut counters, interval * INTERVAL, &[1, asn], n.into());
                *expected.entry(1000 + interval).or_insert(0) += u64::from(n);
            }
            assert!(counters.paths.len() <= interner::MAX_PATHS);
        }
        let snapshot = counters.snapshot((intervals - 1) * INTERVAL * SECOND);
        assert_eq!(snapshot.intervals.len(), MAX_INTERVALS);
        for (number, rows, rest) in listed(&snapshot) {
            let kept: u64 = rows.iter().map(|(_, bytes)| bytes).sum();
            assert_eq!(kept + rest, expected[&number]);
            // the largest of an interval stay longest
            let largest = rows.first().map(|(_, bytes)| *bytes);
            assert!(largest.is_none_or(|bytes| bytes == MAX_ENTRIES as u64 - 1));
        }
        let bytes: usize = counters.closed.iter().map(|i| i.bytes()).sum();
        assert!(bytes + counters.paths.bytes() < 7 << 20, "{bytes}");
        // after a day without traffic nothing is left
        counters.advance(2 * intervals * INTERVAL * SECOND);
        assert_eq!((counters.paths.len(), counters.closed.len()), (0, 0));
    }

    #[test]
    fn the_bytes_of_each_as_on_the_path_survive_evictions_and_intervals() {
        let mut counters = counters();
        let mut expected = 0;
        for n in 0..3 * MAX_ENTRIES as u32 {
            count(&mut counters, u64::from(n), &[1, 2, 100_000 + n], 10);
            expected += 10;
            if n % 1000 == 0 {
                let first = counters.transit(u64::from(n) * SECOND)[0];
                assert_eq!(first.created_ms, 0);
                assert_eq!((first.key.asn, first.bytes), (1, [0, expected]));
            }
        }
        let rows = counters.transit(4000 * SECOND);
        let of = |asn, position| TransitRow {
            key: TransitKey { asn, position },
            bytes: [0, expected],
            created_ms: 0,
        };
        assert_eq!(rows, [of(1, 1), of(2, 2)]);
        count(&mut counters, 4001, &[7, 3], 1);
        let new = counters.transit(4002 * SECOND)[2];
        assert_eq!((new.key.asn, new.created_ms), (7, 4001 * SECOND));
    }

    #[test]
    fn the_largest_numbers_are_kept() {
        let mut counters = counters();
        let volume = PathVolume {
            bytes: u64::MAX,
            packets: u64::MAX - 1,
        };
        counters.count(0, Direction::Ingress, path(&[u32::MAX]).path(), volume);
        let snapshot = counters.snapshot(0);
        let rows: Vec<_> = snapshot.intervals[0].rows().collect();
        assert_eq!(rows[0].volume, volume);
        assert_eq!(snapshot.path(&rows[0]).to_string(), "4294967295");
    }
}
