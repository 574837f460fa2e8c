// SPDX-License-Identifier: AGPL-3.0-only
//! /v1/paths: bytes by AS path, and the paths that match.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, SystemTime};

use super::api::{PathEntry, PathHistory, PathSums, PathsReply};
use super::rfc3339;
use crate::flow::paths::{INTERVAL, MAX_INTERVALS, PathInterval, PathSnapshot, PathVolumes};
use crate::sys::clock;
use crate::types::flow::Direction;
use crate::types::network_path::PathWords;

/// Selects paths: those that have all of these.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct PathFilter {
    /// An AS anywhere on the path.
    pub via: Option<u32>,
    /// The last AS.
    pub origin: Option<u32>,
    /// The first AS.
    pub peer: Option<u32>,
}

impl PathFilter {
    fn matches(&self, path: PathWords) -> bool {
        self.via.is_none_or(|asn| path.place(asn).is_some())
            && self.origin.is_none_or(|asn| path.origin() == asn)
            && self.peer.is_none_or(|asn| path.neighbors().contains(&asn))
    }
}

/// The intervals that a snapshot covers, those without traffic included.
pub(super) struct Period<'a> {
    snapshot: &'a PathSnapshot,
    first: u64,
    last: u64,
}

impl<'a> Period<'a> {
    pub fn new(snapshot: &'a PathSnapshot) -> Self {
        let last = snapshot.now / INTERVAL;
        let day = (last + 1).saturating_sub(MAX_INTERVALS as u64);
        Self {
            snapshot,
            first: (snapshot.since / INTERVAL).max(day),
            last,
        }
    }

    /// Returns the number of intervals.
    pub fn len(&self) -> usize {
        (self.last + 1 - self.first) as usize
    }

    /// Returns the beginning of the period, in seconds since the Unix epoch.
    pub fn since(&self) -> u64 {
        self.start(0)
    }

    /// Returns the beginning of an interval, in seconds since the Unix epoch.
    pub fn start(&self, at: usize) -> u64 {
        ((self.first + at as u64) * INTERVAL).max(self.snapshot.since)
    }

    /// Returns how many seconds of an interval were counted.
    pub fn seconds(&self, at: usize) -> u64 {
        let end = (self.first + at as u64 + 1) * INTERVAL;
        end.min(self.snapshot.now).saturating_sub(self.start(at))
    }

    /// Returns the intervals with traffic, each with its place in the period.
    pub fn intervals(&self) -> impl Iterator<Item = (usize, &'a PathInterval)> {
        let first = self.first;
        let intervals = self.snapshot.intervals.iter();
        intervals.filter_map(move |interval| {
            let at = interval.number.checked_sub(first)?;
            Some((at as usize, &**interval))
        })
    }
}

pub(super) fn add(sums: &mut PathSums, direction: Direction, bytes: u64, packets: u64) {
    let sum = match direction {
        Direction::Ingress => &mut sums.ingress,
        Direction::Egress => &mut sums.egress,
    };
    sum.bytes = sum.bytes.wrapping_add(bytes);
    sum.packets = sum.packets.wrapping_add(packets);
}

fn add_all(sums: &mut PathSums, volumes: &PathVolumes) {
    for (direction, volume) in Direction::ALL.into_iter().zip(volumes) {
        add(sums, direction, volume.bytes, volume.packets);
    }
}

pub(super) fn time(seconds: u64) -> String {
    rfc3339(clock::printable_since_epoch(Duration::from_secs(seconds)))
}

/// Returns the sums over all paths, and the largest that match.
pub fn paths(
    snapshot: &PathSnapshot,
    filter: PathFilter,
    limit: usize,
    with_history: bool,
) -> PathsReply {
    let period = Period::new(snapshot);
    let [mut total, mut matched, mut unknown, mut rest] = [PathSums::default(); 4];
    let mut by_path: HashMap<u32, (PathWords, PathSums)> = HashMap::new();
    let mut history = vec![PathSums::default(); period.len()];
    for (at, interval) in period.intervals() {
        add_all(&mut total, &interval.rest);
        add_all(&mut rest, &interval.rest);
        for row in interval.rows() {
            let path = snapshot.path(&row);
            let count = |sums: &mut PathSums| {
                add(sums, row.direction, row.volume.bytes, row.volume.packets);
            };
            count(&mut total);
            if path.is_unknown() {
                count(&mut unknown);
            } else if filter.matches(path) {
                count(&mut matched);
                count(&mut history[at]);
                let entry = by_path.entry(row.path);
                count(&mut entry.or_insert((path, PathSums::default())).1);
            }
        }
    }
    let mut paths: Vec<_> = by_path.into_values().map(entry).collect();
    paths.sort_by(|a, b| {
        let bytes = b.sums.bytes().cmp(&a.sums.bytes());
        bytes.then_with(|| a.path.cmp(&b.path))
    });
    let count = paths.len() as u64;
    paths.truncate(limit);
    let history = history.into_iter().enumerate();
    let history = history.map(|(at, sums)| PathHistory {
        start: time(period.start(at)),
        seconds: period.seconds(at),
        sums,
    });
    PathsReply {
        time: rfc3339(SystemTime::now()),
        since: time(period.since()),
        interval_seconds: INTERVAL,
        total,
        matched,
        unknown,
        rest,
        count,
        paths,
        asn_names: BTreeMap::new(),
        history: with_history.then(|| history.collect()),
    }
}

fn entry((path, sums): (PathWords, PathSums)) -> PathEntry {
    PathEntry {
        path: path.to_string(),
        origin_asn: Some(path.origin()).filter(|origin| *origin > 0),
        sums,
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::control::api::PathSum;
    use crate::flow::paths::{PathCounters, PathVolume};
    use crate::types::network_path::NetworkPath;

    /// Counts that begin 100 s before the end of an interval.
    pub fn counters() -> PathCounters {
        let epoch = SystemTime::UNIX_EPOCH + Duration::from_secs(1000 * INTERVAL - 100);
        PathCounters::new(epoch, 0)
    }

    pub fn count(
        counters: &mut PathCounters,
        at_s: u64,
        direction: Direction,
        asns: &[u32],
        bytes: u64,
    ) {
        let mut path = NetworkPath::default();
        path.push_sequence(asns.iter().copied());
        path.set_origin(asns.last().copied().unwrap_or(0));
        let volume = PathVolume { bytes, packets: 1 };
        counters.count(at_s * 1000, direction, path.path(), volume);
    }

    fn sums(ingress: (u64, u64), egress: (u64, u64)) -> PathSums {
        let sum = |(bytes, packets)| PathSum { bytes, packets };
        PathSums {
            ingress: sum(ingress),
            egress: sum(egress),
        }
    }

    fn made() -> PathSnapshot {
        let mut counters = counters();
        let mut egress = |at, asns: &[u32], bytes| {
            count(&mut counters, at, Direction::Egress, asns, bytes);
        };
        egress(0, &[1, 2, 3], 10);
        egress(0, &[1, 3], 20);
        egress(50, &[2, 3], 30);
        egress(50, &[], 7);
        egress(450, &[1, 2], 40);
        count(&mut counters, 450, Direction::Ingress, &[1, 2], 1);
        counters.snapshot(460_000)
    }

    fn matched(filter: PathFilter) -> Vec<(String, u64)> {
        let reply = paths(&made(), filter, 10, false);
        let entries = reply.paths.iter();
        entries.map(|e| (e.path.clone(), e.sums.bytes())).collect()
    }

    #[test]
    fn paths_match_by_neighbor_origin_and_any_place() {
        let row = |path: &str, bytes| (path.to_owned(), bytes);
        let via = |asn| PathFilter {
            via: Some(asn),
            ..PathFilter::default()
        };
        let all = [
            row("1 2", 41),
            row("2 3", 30),
            row("1 3", 20),
            row("1 2 3", 10),
        ];
        assert_eq!(matched(PathFilter::default()), all);
        assert_eq!(
            matched(via(2)),
            [row("1 2", 41), row("2 3", 30), row("1 2 3", 10)]
        );
        let peer = PathFilter {
            peer: Some(2),
            ..PathFilter::default()
        };
        assert_eq!(matched(peer), [row("2 3", 30)]);
        let both = PathFilter {
            origin: Some(3),
            ..via(2)
        };
        assert_eq!(matched(both), [row("2 3", 30), row("1 2 3", 10)]);
        assert_eq!(matched(via(9)), []);
    }

    #[test]
    fn sums_and_history_are_exact() {
        let filter = PathFilter {
            peer: Some(1),
            ..PathFilter::default()
        };
        let reply = paths(&made(), filter, 1, true);
        assert_eq!(reply.total, sums((1, 1), (107, 5)));
        assert_eq!(reply.matched, sums((1, 1), (70, 3)));
        assert_eq!(reply.unknown, sums((0, 0), (7, 1)));
        assert_eq!((reply.rest, reply.count), (PathSums::default(), 3));
        assert_eq!(reply.paths.len(), 1);
        assert_eq!(reply.since, "1970-01-04T11:18:20.000Z");
        let history = reply.history.unwrap();
        let seconds: Vec<_> = history.iter().map(|h| (h.seconds, h.sums)).collect();
        assert_eq!(
            seconds,
            [
                (100, sums((0, 0), (30, 2))),
                (300, sums((0, 0), (0, 0))),
                (60, sums((1, 1), (40, 1))),
            ]
        );
        assert_eq!(history[2].start, "1970-01-04T11:25:00.000Z");
    }

    #[test]
    fn the_period_is_at_most_a_day() {
        let mut counters = counters();
        count(&mut counters, 0, Direction::Egress, &[1], 1);
        let later = 2 * MAX_INTERVALS as u64 * INTERVAL;
        counters.advance(later * 1000);
        let reply = paths(
            &counters.snapshot(later * 1000),
            PathFilter::default(),
            1,
            true,
        );
        assert_eq!(reply.total, PathSums::default());
        assert_eq!(reply.history.unwrap().len(), MAX_INTERVALS);
    }
}
