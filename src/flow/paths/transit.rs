// SPDX-License-Identifier: AGPL-3.0-only
//! Counts bytes by the ASes on the path before the origin, and selects those with the most traffic for series.
//!
//! A counter only grows while it is stored. Series are selected again at the end of each interval, by the bytes of the
//! last two; a counter without a series is stored as well, as long as there is room.

use std::cmp::Reverse;
use std::collections::HashMap;

use foldhash::fast::RandomState;

use crate::types::flow::Direction;
use crate::types::network_path::PathWords;

/// Maximum number of counters. The smallest are removed at the end of an interval, until there is room for half as
/// many new ones.
const MAX_COUNTERS: usize = 1 << 13;

/// An AS at a place on paths.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TransitKey {
    pub asn: u32,
    /// 1 for the neighbor.
    pub position: u8,
}

/// Bytes by [`Direction`].
pub type TransitBytes = [u64; Direction::ALL.len()];

/// The series of one AS at one place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TransitRow {
    pub key: TransitKey,
    pub bytes: TransitBytes,
    /// A time before its first byte, on the clock of the flow thread.
    pub created_ms: u64,
}

#[derive(Debug, Default)]
struct Counter {
    bytes: TransitBytes,
    created_ms: u64,
    /// Bytes of the current interval and of the previous one.
    recent: [u64; 2],
    has_series: bool,
}

impl Counter {
    /// Returns the traffic by which series are selected. A series keeps its place against an equal one.
    fn weight(&self) -> u64 {
        let bytes = self.recent[0].saturating_add(self.recent[1]);
        match self.has_series {
            true => bytes.saturating_add(bytes / 8),
            false => bytes,
        }
    }
}

#[derive(Debug)]
pub struct TransitCounters {
    max_series: usize,
    series: usize,
    counters: HashMap<TransitKey, Counter, RandomState>,
    /// The time at which no bytes were pending.
    complete_ms: u64,
}

impl TransitCounters {
    pub fn new(max_series: usize) -> Self {
        Self {
            max_series,
            series: 0,
            counters: HashMap::default(),
            complete_ms: 0,
        }
    }

    /// Called after all bytes until now were added.
    pub fn set_complete(&mut self, now_ms: u64) {
        self.complete_ms = now_ms;
    }

    /// Adds bytes to each AS before the origin, at its first place.
    pub fn add(&mut self, path: PathWords, direction: Direction, bytes: u64) {
        if self.max_series == 0 {
            return;
        }
        for (asn, place) in path.transit() {
            let position = u8::try_from(place).unwrap_or(u8::MAX);
            self.add_one(TransitKey { asn, position }, direction, bytes);
        }
    }

    fn add_one(&mut self, key: TransitKey, direction: Direction, bytes: u64) {
        if self.counters.len() >= MAX_COUNTERS && !self.counters.contains_key(&key) {
            return;
        }
        let has_series = self.series < self.max_series;
        let counter = self.counters.entry(key).or_insert_with(|| Counter {
            created_ms: self.complete_ms,
            ..Counter::default()
        });
        if has_series && !counter.has_series {
            counter.has_series = true;
            self.series += 1;
        }
        let total = &mut counter.bytes[direction as usize];
        *total = total.wrapping_add(bytes);
        counter.recent[0] = counter.recent[0].saturating_add(bytes);
    }

    /// Selects the series, and removes the smallest counters if there are many.
    pub fn end_interval(&mut self) {
        let mut ranked: Vec<_> = self
            .counters
            .iter()
            .map(|(key, counter)| (Reverse(counter.weight()), *key))
            .collect();
        let stored = self.max_series.max(MAX_COUNTERS / 2);
        let (ranked, smallest) = split_least(&mut ranked, stored);
        for (_, key) in smallest {
            self.counters.remove(key);
        }
        for counter in self.counters.values_mut() {
            counter.has_series = false;
            counter.recent = [0, counter.recent[0]];
        }
        let (selected, _) = split_least(ranked, self.max_series);
        for (_, key) in &*selected {
            if let Some(counter) = self.counters.get_mut(key) {
                counter.has_series = true;
            }
        }
        self.series = selected.len();
    }

    /// Returns the series, in ascending order.
    pub fn rows(&self) -> Vec<TransitRow> {
        let shown = self.counters.iter().filter(|(_, c)| c.has_series);
        let mut rows: Vec<_> = shown
            .map(|(key, counter)| TransitRow {
                key: *key,
                bytes: counter.bytes,
                created_ms: counter.created_ms,
            })
            .collect();
        rows.sort_unstable_by_key(|row| row.key);
        rows
    }
}

/// Splits off the `count` least values, in any order: a whole sort takes most of the time of an interval's end.
fn split_least<T: Ord>(values: &mut [T], count: usize) -> (&mut [T], &mut [T]) {
    if count < values.len() {
        values.select_nth_unstable(count);
    }
    values.split_at_mut(count.min(values.len()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::network_path::NetworkPath;

    fn add(counters: &mut TransitCounters, asns: &[u32], origin: u32, bytes: u64) {
        let mut path = NetworkPath::default();
        path.push_sequence(asns.iter().copied());
        path.set_origin(origin);
        counters.add(path.path(), Direction::Egress, bytes);
    }

    fn rows(counters: &TransitCounters) -> Vec<(u32, u8, u64)> {
        let rows = counters.rows().into_iter();
        rows.map(|row| (row.key.asn, row.key.position, row.bytes[1]))
            .collect()
    }

    #[test]
    fn each_as_before_the_origin_counts_once_at_its_place() {
        let mut counters = TransitCounters::new(10);
        add(&mut counters, &[1, 2, 1, 9], 9, 10);
        add(&mut counters, &[1, 9], 9, 5);
        add(&mut counters, &[9], 9, 100);
        // a default route
        add(&mut counters, &[9], 0, 1);
        assert_eq!(rows(&counters), [(1, 1, 15), (2, 2, 10), (9, 1, 1)]);
        let mut set = NetworkPath::default();
        set.push_sequence([1].into_iter());
        set.push_set([7, 8].into_iter());
        counters.add(set.path(), Direction::Ingress, 3);
        let row = counters.rows().into_iter().find(|row| row.key.asn == 8);
        assert_eq!(
            row.map(|row| (row.key.position, row.bytes)),
            Some((2, [3, 0]))
        );
    }

    #[test]
    fn the_largest_have_series_and_a_counter_never_falls() {
        let mut counters = TransitCounters::new(2);
        add(&mut counters, &[1, 9], 9, 10);
        add(&mut counters, &[2, 9], 9, 20);
        add(&mut counters, &[3, 9], 9, 21);
        assert_eq!(rows(&counters), [(1, 1, 10), (2, 1, 20)]);
        counters.end_interval();
        // 21 is not an eighth more than 20, but more than 10
        assert_eq!(rows(&counters), [(2, 1, 20), (3, 1, 21)]);
        add(&mut counters, &[1, 9], 9, 100);
        counters.end_interval();
        assert_eq!(rows(&counters).len(), 2);
        assert!(rows(&counters).contains(&(1, 1, 110)));
        let mut off = TransitCounters::new(0);
        add(&mut off, &[1, 9], 9, 10);
        off.end_interval();
        assert!(off.rows().is_empty() && off.counters.is_empty());
    }

    #[test]
    fn counters_are_bounded() {
        let mut counters = TransitCounters::new(5);
        add(&mut counters, &[1, 9], 9, 1_000_000);
        for asn in 10..3 * MAX_COUNTERS as u32 {
            add(&mut counters, &[asn, 9], 9, 1);
        }
        assert_eq!(counters.counters.len(), MAX_COUNTERS);
        counters.end_interval();
        assert_eq!(counters.counters.len(), MAX_COUNTERS / 2);
        assert!(rows(&counters).contains(&(1, 1, 1_000_000)));
    }
}
