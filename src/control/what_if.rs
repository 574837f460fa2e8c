// SPDX-License-Identifier: AGPL-3.0-only
//! /v1/paths/what_if: the traffic that would move to a new peer, at most.

use std::collections::{BTreeMap, BTreeSet};
use std::time::SystemTime;

use super::api::{PathSums, PeakHour, WhatIfLoad, WhatIfLoads, WhatIfNeighbor, WhatIfReply};
use super::paths::{Period, add, time};
use super::rfc3339;
use crate::flow::paths::{INTERVAL, PathSnapshot};
use crate::types::flow::Direction;

const HOUR: usize = (3600 / INTERVAL) as usize;

/// Bytes of each interval, by [`Direction`].
type Series = [Vec<u64>; Direction::ALL.len()];

/// The traffic of one neighbor: with the cone, and without.
struct Traffic {
    with_cone: Series,
    without_cone: Series,
}

impl Traffic {
    fn new(intervals: usize) -> Self {
        let series = || Direction::ALL.map(|_| vec![0; intervals]);
        Self {
            with_cone: series(),
            without_cone: series(),
        }
    }
}

/// Returns the traffic of the paths on which `asn` is behind the neighbor.
pub fn what_if(snapshot: &PathSnapshot, asn: u32) -> WhatIfReply {
    let period = Period::new(snapshot);
    let mut total = Traffic::new(period.len());
    let mut neighbors: BTreeMap<u32, Traffic> = BTreeMap::new();
    let mut cone = BTreeSet::new();
    let mut direct = PathSums::default();
    for (at, interval) in period.intervals() {
        for row in interval.rows() {
            let path = snapshot.path(&row);
            let (direction, bytes) = (row.direction, row.volume.bytes);
            let place = match path.place(asn) {
                None => continue,
                Some(1) => {
                    add(&mut direct, direction, bytes, row.volume.packets);
                    continue;
                }
                Some(place) => place,
            };
            let behind = path.hops().skip(place).flatten();
            cone.extend(behind.filter(|behind| **behind != asn));
            // a path that begins with a set has no certain neighbor
            let neighbor = match path.neighbors() {
                [neighbor] => *neighbor,
                _ => 0,
            };
            let traffic = neighbors.entry(neighbor);
            let traffic = traffic.or_insert_with(|| Traffic::new(period.len()));
            for traffic in [traffic, &mut total] {
                traffic.with_cone[direction as usize][at] += bytes;
                if path.origin() == asn {
                    traffic.without_cone[direction as usize][at] += bytes;
                }
            }
        }
    }
    let neighbors = neighbors.iter();
    let mut neighbors: Vec<_> = neighbors
        .map(|(asn, traffic)| neighbor(&period, Some(*asn).filter(|asn| *asn > 0), traffic))
        .collect();
    let bytes = |n: &WhatIfNeighbor| {
        let loads = &n.with_cone;
        loads.ingress.bytes.saturating_add(loads.egress.bytes)
    };
    neighbors.sort_by_key(|n| std::cmp::Reverse(bytes(n)));
    WhatIfReply {
        time: rfc3339(SystemTime::now()),
        since: time(period.since()),
        interval_seconds: INTERVAL,
        asn,
        neighbors,
        total: neighbor(&period, None, &total),
        direct,
        cone: cone.into_iter().collect(),
        asn_names: BTreeMap::new(),
        upper_bound: format!(
            "This is an upper bound: as a peer, AS{asn} announces only its networks and those of its customers. \
             Some of the ASes behind it may be no customers, and may prefer another way. At ingress, the path is that \
             back to the source: the sender decides which way its packets take."
        ),
    }
}

fn neighbor(period: &Period, asn: Option<u32>, traffic: &Traffic) -> WhatIfNeighbor {
    let loads = |[ingress, egress]: &Series| WhatIfLoads {
        ingress: load(period, ingress),
        egress: load(period, egress),
    };
    WhatIfNeighbor {
        peer_asn: asn,
        with_cone: loads(&traffic.with_cone),
        without_cone: loads(&traffic.without_cone),
    }
}

fn load(period: &Period, series: &[u64]) -> WhatIfLoad {
    // the current interval is not complete
    let complete = match series {
        [_] | [] => series,
        [complete @ .., _] => complete,
    };
    let rates = complete.iter().enumerate();
    let rates = rates.map(|(at, bytes)| bytes / period.seconds(at).max(1));
    WhatIfLoad {
        bytes: series.iter().sum(),
        p95_bytes_per_second: percentile_95(rates.collect()),
        peak_hour: peak_hour(period, series),
    }
}

/// Returns the 95th percentile as transit is billed: the largest value after the highest 5 % are discarded.
fn percentile_95(mut values: Vec<u64>) -> u64 {
    values.sort_unstable();
    let kept = (values.len() * 95).div_ceil(100);
    kept.checked_sub(1).map_or(0, |last| values[last])
}

/// Returns the twelve successive intervals with the most bytes: the first such hour.
fn peak_hour(period: &Period, series: &[u64]) -> Option<PeakHour> {
    let length = series.len().min(HOUR);
    let mut best: Option<(usize, u64)> = None;
    for (at, hour) in series.windows(length.max(1)).enumerate() {
        let bytes = hour.iter().sum();
        if bytes > best.map_or(0, |(_, most)| most) {
            best = Some((at, bytes));
        }
    }
    let (at, bytes) = best?;
    let seconds: u64 = (at..at + length).map(|at| period.seconds(at)).sum();
    Some(PeakHour {
        start: time(period.start(at)),
        bytes,
        bytes_per_second: bytes / seconds.max(1),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::paths::tests::{count, counters};

    #[test]
    fn traffic_behind_a_neighbor_is_summed_with_and_without_the_cone() {
        let mut counters = counters();
        let mut egress = |asns: &[u32], bytes| {
            count(&mut counters, 0, Direction::Egress, asns, bytes);
        };
        egress(&[1, 9], 100);
        egress(&[1, 9, 20], 1000);
        egress(&[1, 5, 9, 21, 20], 10_000);
        egress(&[2, 9, 9], 5);
        egress(&[2, 5], 1_000_000);
        egress(&[9, 20], 7);
        count(&mut counters, 0, Direction::Ingress, &[2, 9], 3);
        let reply = what_if(&counters.snapshot(100_000), 9);
        let bytes = |loads: &WhatIfLoads| (loads.ingress.bytes, loads.egress.bytes);
        let rows: Vec<_> = reply
            .neighbors
            .iter()
            .map(|n| (n.peer_asn, bytes(&n.with_cone), bytes(&n.without_cone)))
            .collect();
        assert_eq!(
            rows,
            [(Some(1), (0, 11_100), (0, 100)), (Some(2), (3, 5), (3, 5)),]
        );
        assert_eq!(bytes(&reply.total.with_cone), (3, 11_105));
        assert_eq!(bytes(&reply.total.without_cone), (3, 105));
        assert_eq!((reply.direct.bytes(), reply.direct.packets()), (7, 1));
        assert_eq!(reply.cone, [20, 21]);
        // the only interval has 100 s so far
        assert_eq!(reply.total.with_cone.egress.p95_bytes_per_second, 111);
    }

    #[test]
    fn peak_hour_and_percentile_are_of_the_intervals() {
        let mut counters = counters();
        // the first interval has 100 s, the next forty are complete, the last one has 100 s
        for n in 0..42 {
            let bytes = match n {
                0 => 100,
                10 | 11 => 300_000,
                12..22 => 3000,
                30 => 90_000,
                41 => 9_000_000,
                _ => 300,
            };
            count(
                &mut counters,
                n * INTERVAL,
                Direction::Egress,
                &[1, 9],
                bytes,
            );
        }
        let reply = what_if(&counters.snapshot((41 * INTERVAL) * 1000), 9);
        let load = &reply.total.without_cone.egress;
        // of 41 rates, the two highest are discarded
        assert_eq!(load.p95_bytes_per_second, 300);
        let peak = load.peak_hour.as_ref().unwrap();
        // the current interval has the most bytes
        assert_eq!(peak.bytes, 9_000_000 + 90_000 + 10 * 300);
        assert_eq!(peak.start, time(1029 * INTERVAL));
        assert_eq!(peak.bytes_per_second, peak.bytes / (11 * INTERVAL + 200));
        assert_eq!(reply.total.without_cone.ingress.peak_hour, None);
    }

    #[test]
    fn the_percentile_discards_the_highest_twentieth() {
        assert_eq!(percentile_95((1..=100).collect()), 95);
        assert_eq!(percentile_95((1..=288).collect()), 274);
        assert_eq!(percentile_95(vec![7]), 7);
        assert_eq!(percentile_95(Vec::new()), 0);
    }
}
