// SPDX-License-Identifier: AGPL-3.0-only
//! Bytes by the state of their source address: the counters of the source check. Pure.
//!
//! The state depends on interface, neighbor and source. A direct-mapped cache holds the last results, so that a record
//! of a known source costs one lookup in it. A change of names or enrichment makes all results outdated.

use std::hash::BuildHasher;
use std::sync::Arc;

use foldhash::fast::RandomState;
use hashbrown::HashMap;

use crate::types::flow::{Direction, FlowRecord};
use crate::types::source::{CheckedSource, SourceState};

/// Number of cached results, of 40 bytes each.
const CACHED: usize = 1 << 14;
/// Maximum number of series with a neighbor; further neighbors count as [`OTHER_PEERS`].
pub const MAX_SERIES: usize = 4096;
/// Stands for all neighbors that found no room; RFC 7300 reserves this number.
pub const OTHER_PEERS: u32 = u32::MAX;

/// Looks up what a result depends on.
pub trait SourceLookup {
    fn ifname(&self, ifindex: u32) -> Arc<str>;
    /// Returns the result for the source of a record; `None` if sources are not checked here.
    fn check_source(&self, record: &FlowRecord) -> Option<CheckedSource>;
}

/// One series and its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceRow {
    pub ifname: Arc<str>,
    pub state: SourceState,
    /// 0 = unknown.
    pub peer_asn: u32,
    /// Scaled by the sample rate.
    pub bytes: u64,
    /// The time of the first record, on the clock of the snapshot.
    pub created_ms: u64,
}

/// All series at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SourceSnapshot {
    pub rows: Vec<SourceRow>,
    /// Records of neighbors that found no room.
    pub folded: u64,
}

type Key = (Arc<str>, SourceState, u32);

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
struct CacheKey {
    source: [u8; 16],
    ifindex: u32,
    mac: [u8; 6],
    family: u8,
}

#[derive(Clone, Copy, Debug, Default)]
struct CacheEntry {
    key: CacheKey,
    generation: u32,
    /// The series plus one; 0: the sources of the interface are not checked.
    series: u32,
    used: bool,
}

#[derive(Debug)]
struct Series {
    key: Key,
    bytes: u64,
    created_ms: u64,
    last_ms: u64,
}

#[derive(Debug)]
pub struct SourceCounters {
    cache: Box<[CacheEntry]>,
    hasher: RandomState,
    series: Vec<Series>,
    index: HashMap<Key, u32, RandomState>,
    folded: u64,
}

impl Default for SourceCounters {
    fn default() -> Self {
        Self {
            cache: vec![CacheEntry::default(); CACHED].into(),
            hasher: RandomState::default(),
            series: Vec::new(),
            index: HashMap::default(),
            folded: 0,
        }
    }
}

impl SourceCounters {
    /// Adds a record that was received. `generation` advances when a result may have changed.
    pub fn count(
        &mut self,
        record: &FlowRecord,
        now_ms: u64,
        generation: u32,
        lookup: &impl SourceLookup,
    ) {
        if record.key.direction != Direction::Ingress {
            return;
        }
        let key = CacheKey {
            source: record.key.src,
            ifindex: record.key.ifindex,
            mac: record.src_mac,
            family: record.key.family as u8,
        };
        let at = self.hasher.hash_one(key) as usize % CACHED;
        let entry = self.cache[at];
        let series = match entry.used && entry.generation == generation && entry.key == key {
            true => entry.series,
            false => {
                let series = self.series(record, now_ms, lookup);
                self.cache[at] = CacheEntry {
                    key,
                    generation,
                    series,
                    used: true,
                };
                series
            }
        };
        let series = series.checked_sub(1);
        if let Some(series) = series.and_then(|at| self.series.get_mut(at as usize)) {
            let rate = u64::from(record.sample_rate);
            let bytes = record.frame_bytes.wrapping_mul(rate);
            series.bytes = series.bytes.wrapping_add(bytes);
            series.last_ms = now_ms;
        }
    }

    /// Returns the number of the series of a record plus one, or 0.
    fn series(&mut self, record: &FlowRecord, now_ms: u64, lookup: &impl SourceLookup) -> u32 {
        let Some(check) = lookup.check_source(record) else {
            return 0;
        };
        // bytes of valid sources are only counted by interface
        let peer_asn = match check.state {
            SourceState::Feasible => 0,
            _ => check.peer_asn,
        };
        let mut key = (lookup.ifname(record.key.ifindex), check.state, peer_asn);
        if self.series.len() >= MAX_SERIES && peer_asn > 0 && !self.index.contains_key(&key) {
            key.2 = OTHER_PEERS;
            self.folded += 1;
        }
        let next = self.series.len() as u32;
        let at = *self.index.entry(key.clone()).or_insert(next);
        if at == next {
            self.series.push(Series {
                key,
                bytes: 0,
                created_ms: now_ms,
                last_ms: now_ms,
            });
        }
        at + 1
    }

    /// Removes the series without traffic for `ttl_ms`.
    pub fn expire(&mut self, now_ms: u64, ttl_ms: u64) {
        let before = self.series.len();
        self.series
            .retain(|series| now_ms.saturating_sub(series.last_ms) < ttl_ms);
        if self.series.len() == before {
            return;
        }
        let numbered = self.series.iter().zip(0..);
        self.index = numbered.map(|(s, at)| (s.key.clone(), at)).collect();
        self.cache.fill(CacheEntry::default());
    }

    pub fn snapshot(&self) -> SourceSnapshot {
        let row = |series: &Series| SourceRow {
            ifname: series.key.0.clone(),
            state: series.key.1,
            peer_asn: series.key.2,
            bytes: series.bytes,
            created_ms: series.created_ms,
        };
        let mut rows: Vec<_> = self.series.iter().map(row).collect();
        rows.sort_unstable_by(|a, b| {
            (&a.ifname, a.state, a.peer_asn).cmp(&(&b.ifname, b.state, b.peer_asn))
        });
        SourceSnapshot {
            rows,
            folded: self.folded,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    use crate::types::flow::{Family, FlowKey};

    /// Sources that begin with 0 are infeasible, 1 unknown, 2 not checked; all others are feasible.
    #[derive(Default)]
    struct Lookup {
        shift: u32,
        calls: Cell<u32>,
    }

    impl SourceLookup for Lookup {
        fn ifname(&self, ifindex: u32) -> Arc<str> {
            format!("eth{ifindex}").into()
        }

        fn check_source(&self, record: &FlowRecord) -> Option<CheckedSource> {
            self.calls.set(self.calls.get() + 1);
            let state = match record.key.src[0] {
                0 => SourceState::Infeasible,
                1 => SourceState::Unknown,
                2 => return None,
                _ => SourceState::Feasible,
            };
            let mac = record.src_mac;
            let peer_asn = u32::from(mac[4]) << 8 | u32::from(mac[5]);
            Some(CheckedSource {
                state,
                peer_asn: peer_asn + self.shift,
            })
        }
    }

    fn record(first: u8, peer: u16, bytes: u64) -> FlowRecord {
        let mut src = [0; 16];
        src[0] = first;
        let mac = peer.to_be_bytes();
        FlowRecord {
            key: FlowKey {
                src,
                dst: [0; 16],
                ifindex: 1,
                src_port: 0,
                dst_port: 0,
                vlan_outer: 0,
                vlan_inner: 0,
                protocol: 17,
                direction: Direction::Ingress,
                family: Family::Ipv4,
            },
            packets: 1,
            frame_bytes: bytes,
            ip_bytes: bytes,
            first: 0,
            last: 0,
            sample_rate: 2,
            ingress_ifindex: 0,
            src_mac: [2, 0, 0, 0, mac[0], mac[1]],
            dst_mac: [0; 6],
            tcp_flags: 0,
            tos: 0,
            weights: Default::default(),
        }
    }

    fn rows(counters: &SourceCounters) -> Vec<(SourceState, u32, u64)> {
        let rows = counters.snapshot().rows.into_iter();
        rows.map(|row| (row.state, row.peer_asn, row.bytes))
            .collect()
    }

    #[test]
    fn received_bytes_count_by_state_and_neighbor() {
        let (mut counters, mut lookup) = (SourceCounters::default(), Lookup::default());
        for (first, peer, bytes) in [(0, 1, 10), (0, 1, 20), (0, 2, 5), (1, 3, 7), (2, 1, 9)] {
            counters.count(&record(first, peer, bytes), 0, 1, &lookup);
        }
        for peer in [1, 2] {
            counters.count(&record(9, peer, 50), 0, 1, &lookup);
        }
        let mut sent = record(0, 1, 1000);
        sent.key.direction = Direction::Egress;
        counters.count(&sent, 0, 1, &lookup);
        use SourceState::{Feasible, Infeasible, Unknown};
        let expected = [
            (Feasible, 0, 200),
            (Unknown, 3, 14),
            (Infeasible, 1, 60),
            (Infeasible, 2, 10),
        ];
        assert_eq!(rows(&counters), expected);
        assert_eq!(lookup.calls.get(), 6, "the second record was cached");
        // a new generation: the bytes counted so far stay
        lookup.shift = 100;
        counters.count(&record(0, 1, 1), 0, 1, &lookup);
        counters.count(&record(0, 1, 1), 0, 2, &lookup);
        assert_eq!(
            rows(&counters)[2..],
            [
                (Infeasible, 1, 62),
                (Infeasible, 2, 10),
                (Infeasible, 101, 2)
            ]
        );
    }

    #[test]
    fn series_are_limited_and_expire() {
        let (mut counters, lookup) = (SourceCounters::default(), Lookup::default());
        let peers = MAX_SERIES as u16 + 10;
        for peer in 1..=peers {
            counters.count(&record(0, peer, 1), u64::from(peer), 1, &lookup);
        }
        let snapshot = counters.snapshot();
        assert_eq!(snapshot.rows.len(), MAX_SERIES + 1);
        assert_eq!(snapshot.folded, 10);
        let others = snapshot.rows.last().unwrap();
        assert_eq!((others.peer_asn, others.bytes), (OTHER_PEERS, 20));
        counters.expire(u64::from(peers) + 5, 10);
        assert_eq!(counters.snapshot().rows.len(), 1, "that of the others");
        counters.count(&record(0, 7, 3), 5000, 1, &lookup);
        assert_eq!(
            rows(&counters),
            [
                (SourceState::Infeasible, 7, 6),
                (SourceState::Infeasible, OTHER_PEERS, 20)
            ]
        );
    }
}
