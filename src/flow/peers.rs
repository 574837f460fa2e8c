// SPDX-License-Identifier: AGPL-3.0-only
//! Bytes by neighbor: the counters of each MAC address on the segments of the monitored interfaces. Pure.
//!
//! Each record counts for the neighbor of its first packet, so that the sums of all neighbors of an interface equal its
//! flows. Groups (broadcast, multicast) and devices without Ethernet have no neighbor.

use std::hash::BuildHasher;
use std::sync::Arc;

use foldhash::fast::RandomState;
use hashbrown::{HashMap, HashTable};

use crate::types::flow::{Direction, FlowRecord};
use crate::types::mac::MacAddress;

/// Maximum number of series sets: of neighbors, and of neighbors whose AS changed within the time to live.
pub const MAX_PEERS: usize = 2_500;

/// Flows have two families: IPv4 and IPv6.
const FAMILIES: usize = 2;
/// The number of entries for which memory is allocated at once.
const GROWTH: usize = 256;
/// The time after a search for an entry to evict that found none.
const SEARCH_INTERVAL_MS: u64 = 1_000;
/// A tenth of a second.
const TENTH_MS: u64 = 100;

/// A number for each [`Direction`] and family.
type PerCounter<T> = [[T; FAMILIES]; Direction::ALL.len()];

/// Bytes, scaled by the sample rate.
pub type PeerBytes = PerCounter<u64>;

/// The identity of a neighbor.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Peer {
    /// 0 if unknown.
    pub asn: u32,
    /// Empty if unknown.
    pub name: Arc<str>,
    /// The neighbor is in a neighbor table or in the configuration. Entries of others are evicted first: any host on
    /// the segment can invent MAC addresses.
    pub known: bool,
}

/// The series of one neighbor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerRow {
    pub ifname: Arc<str>,
    pub peer: Peer,
    /// `None`: all neighbors of the interface that found no room.
    pub mac: Option<MacAddress>,
    pub bytes: PeerBytes,
    /// The time of the first record of each counter, in milliseconds.
    pub created_ms: PerCounter<u64>,
}

/// The series of all neighbors on segments with several, at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PeerSnapshot {
    pub rows: Vec<PeerRow>,
    /// Records of neighbors that found no room.
    pub folded: u64,
    /// Neighbors whose counters made room for others.
    pub evicted: u64,
}

#[derive(Debug)]
struct Entry {
    ifindex: u32,
    mac: MacAddress,
    ifname: Arc<str>,
    /// The fields of [`Peer`], without its padding.
    asn: u32,
    name: Arc<str>,
    known: bool,
    /// The generation in which name and peer were looked up.
    generation: u32,
    /// False if the interface or the peer has another name now, under another entry.
    current: bool,
    counters: PeerCounts,
    /// The second of the last record, rounded up.
    last: u32,
}

/// The counters of one neighbor.
#[derive(Debug, Default)]
struct PeerCounts {
    bytes: PeerBytes,
    /// The time of the first record of each, in tenths of a second, rounded down.
    created: PerCounter<u32>,
}

impl PeerCounts {
    fn count(&mut self, record: &FlowRecord, now_ms: u64) {
        let (direction, family) = (record.key.direction as usize, record.key.family as usize);
        let Some(bytes) = self.bytes[direction].get_mut(family) else {
            return;
        };
        if *bytes == 0 {
            let tenths = u32::try_from(now_ms / TENTH_MS).unwrap_or(u32::MAX);
            self.created[direction][family] = tenths;
        }
        let rate = u64::from(record.sample_rate);
        *bytes = bytes.wrapping_add(record.frame_bytes.wrapping_mul(rate));
    }

    fn created_ms(&self) -> PerCounter<u64> {
        let created_ms = |tenths: u32| u64::from(tenths) * TENTH_MS;
        self.created.map(|families| families.map(created_ms))
    }
}

type Key = (u32, MacAddress);

impl Entry {
    fn key(&self) -> Key {
        (self.ifindex, self.mac)
    }
}

/// Looks up the names of the series.
pub trait PeerNames {
    fn ifname(&self, ifindex: u32) -> Arc<str>;
    fn peer(&self, ifindex: u32, mac: MacAddress) -> Peer;
}

#[derive(Debug, Default)]
pub struct PeerCounters {
    entries: Vec<Entry>,
    /// The current entry of each neighbor, by the hash of its interface and MAC address.
    index: HashTable<u32>,
    hasher: RandomState,
    /// The neighbors without an entry, by interface.
    rest: HashMap<u32, (Arc<str>, PeerCounts), RandomState>,
    folded: u64,
    evicted: u64,
    /// No search for an entry to evict before this time.
    next_search_ms: u64,
}

impl PeerCounters {
    /// Adds a record. `generation` advances when a name may have changed.
    pub fn count(
        &mut self,
        record: &FlowRecord,
        now_ms: u64,
        generation: u32,
        names: &impl PeerNames,
    ) {
        let mac = record.neighbor_mac();
        if mac.is_group() || mac == MacAddress::ZERO {
            return;
        }
        let key = (record.key.ifindex, mac);
        let at = match self.find(key) {
            Some(at) if self.entries[at as usize].generation == generation => Some(at),
            Some(at) => self.renamed(at, now_ms, generation, names),
            None => self.insert(key, now_ms, generation, names),
        };
        let counters = match at.and_then(|at| self.entries.get_mut(at as usize)) {
            Some(entry) => {
                entry.last = second(now_ms);
                &mut entry.counters
            }
            None => {
                self.folded += 1;
                let rest = self.rest.entry(key.0);
                &mut rest
                    .or_insert_with(|| (names.ifname(key.0), PeerCounts::default()))
                    .1
            }
        };
        counters.count(record, now_ms);
    }

    /// Removes the series without traffic for `ttl_ms`.
    pub fn expire(&mut self, now_ms: u64, ttl_ms: u64) {
        let mut at = 0;
        while at < self.entries.len() {
            let last_ms = u64::from(self.entries[at].last) * 1000;
            match now_ms.saturating_sub(last_ms) >= ttl_ms {
                true => self.remove(at),
                false => at += 1,
            }
        }
    }

    /// Returns the series of the interfaces with several neighbors.
    pub fn snapshot(&self) -> PeerSnapshot {
        let mut neighbors: HashMap<u32, u32, RandomState> = HashMap::default();
        for entry in self.entries.iter().filter(|entry| entry.current) {
            *neighbors.entry(entry.ifindex).or_default() += 1;
        }
        let has_several = |ifindex: &u32| {
            neighbors.get(ifindex).is_some_and(|n| *n > 1) || self.rest.contains_key(ifindex)
        };
        let entries = self.entries.iter().filter(|e| has_several(&e.ifindex));
        let mut rows: Vec<_> = entries
            .map(|entry| PeerRow {
                ifname: entry.ifname.clone(),
                peer: Peer {
                    asn: entry.asn,
                    name: entry.name.clone(),
                    known: entry.known,
                },
                mac: Some(entry.mac),
                bytes: entry.counters.bytes,
                created_ms: entry.counters.created_ms(),
            })
            .collect();
        rows.extend(self.rest.values().map(|(ifname, counters)| PeerRow {
            ifname: ifname.clone(),
            peer: Peer::default(),
            mac: None,
            bytes: counters.bytes,
            created_ms: counters.created_ms(),
        }));
        PeerSnapshot {
            rows,
            folded: self.folded,
            evicted: self.evicted,
        }
    }

    /// Looks up the names of an entry again. If they have changed, the neighbor has a new entry: its counts stay under
    /// the previous names.
    fn renamed(
        &mut self,
        at: u32,
        now_ms: u64,
        generation: u32,
        names: &impl PeerNames,
    ) -> Option<u32> {
        let entry = &mut self.entries[at as usize];
        let key = (entry.ifindex, entry.mac);
        let (ifname, peer) = (names.ifname(key.0), names.peer(key.0, key.1));
        let same = entry.ifname == ifname && (entry.asn, &entry.name) == (peer.asn, &peer.name);
        if same {
            entry.generation = generation;
            entry.known = peer.known;
            return Some(at);
        }
        entry.current = false;
        self.unlink(key, at);
        self.insert(key, now_ms, generation, names)
    }

    fn insert(
        &mut self,
        key: Key,
        now_ms: u64,
        generation: u32,
        names: &impl PeerNames,
    ) -> Option<u32> {
        if self.entries.len() >= MAX_PEERS && now_ms < self.next_search_ms {
            return None;
        }
        let peer = names.peer(key.0, key.1);
        if self.entries.len() >= MAX_PEERS && !self.evict(peer.known, now_ms) {
            return None;
        }
        let at = self.entries.len() as u32;
        if self.entries.len() == self.entries.capacity() {
            self.entries.reserve_exact(GROWTH);
        }
        self.entries.push(Entry {
            ifindex: key.0,
            mac: key.1,
            ifname: names.ifname(key.0),
            asn: peer.asn,
            name: peer.name,
            known: peer.known,
            generation,
            current: true,
            counters: PeerCounts::default(),
            last: second(now_ms),
        });
        self.link(key, at);
        Some(at)
    }

    /// Returns about the memory in use, without the names: these are those of the map of neighbors.
    #[cfg(test)]
    fn bytes(&self) -> usize {
        self.entries.capacity() * size_of::<Entry>() + self.index.allocation_size()
    }

    fn find(&self, key: Key) -> Option<u32> {
        let hash = self.hasher.hash_one(key);
        let is_key = |&at: &u32| self.entries[at as usize].key() == key;
        self.index.find(hash, is_key).copied()
    }

    fn link(&mut self, key: Key, at: u32) {
        let (entries, hasher) = (&self.entries, &self.hasher);
        let rehash = |&at: &u32| hasher.hash_one(entries[at as usize].key());
        self.index.insert_unique(hasher.hash_one(key), at, rehash);
    }

    fn unlink(&mut self, key: Key, at: u32) {
        let hash = self.hasher.hash_one(key);
        if let Ok(entry) = self.index.find_entry(hash, |&held| held == at) {
            entry.remove();
        }
    }

    /// Removes the entry without a name or with a previous one that was idle longest, for a known neighbor. Returns
    /// false if there is none.
    fn evict(&mut self, for_known: bool, now_ms: u64) -> bool {
        let entries = self.entries.iter().enumerate();
        let evictable = entries.filter(|(_, e)| for_known && (!e.known || !e.current));
        match evictable.min_by_key(|(_, e)| e.last) {
            Some((at, _)) => {
                self.remove(at);
                self.evicted += 1;
                true
            }
            None => {
                if for_known {
                    self.next_search_ms = now_ms + SEARCH_INTERVAL_MS;
                }
                false
            }
        }
    }

    fn remove(&mut self, at: usize) {
        let last = self.entries.len() - 1;
        for at in [at, last] {
            if self.entries[at].current {
                self.unlink(self.entries[at].key(), at as u32);
            }
        }
        self.entries.swap_remove(at);
        let moved = self.entries.get(at).filter(|moved| moved.current);
        if let Some(key) = moved.map(Entry::key) {
            self.link(key, at as u32);
        }
    }
}

fn second(ms: u64) -> u32 {
    u32::try_from(ms.div_ceil(1000)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv6Addr};

    use super::*;
    use crate::enrich::neighbors::{Neighbor, NeighborMap, NeighborTable, PeerAs};
    use crate::types::flow::{Family, FlowKey};

    /// Neighbors with a last byte below 100 are known; `shift` changes their ASes.
    struct Names {
        shift: u32,
    }

    impl PeerNames for Names {
        fn ifname(&self, ifindex: u32) -> Arc<str> {
            format!("eth{ifindex}").into()
        }

        fn peer(&self, _: u32, mac: MacAddress) -> Peer {
            let last = u32::from(mac.0[5]);
            let known = last < 100 && mac.0[1] == 0;
            Peer {
                asn: if known { 64500 + last + self.shift } else { 0 },
                name: "".into(),
                known,
            }
        }
    }

    fn record(ifindex: u32, mac: [u8; 6], direction: Direction, bytes: u64) -> FlowRecord {
        let (src_mac, dst_mac) = match direction {
            Direction::Ingress => (mac, [9; 6]),
            Direction::Egress => ([9; 6], mac),
        };
        FlowRecord {
            key: FlowKey {
                src: [1; 16],
                dst: [2; 16],
                ifindex,
                src_port: 1,
                dst_port: 2,
                vlan_outer: 0,
                vlan_inner: 0,
                protocol: 17,
                direction,
                family: Family::Ipv6,
            },
            packets: 1,
            frame_bytes: bytes,
            ip_bytes: bytes,
            first: 0,
            last: 0,
            sample_rate: 10,
            ingress_ifindex: 0,
            src_mac,
            dst_mac,
            tcp_flags: 0,
            tos: 0,
            weights: Default::default(),
        }
    }

    const IN: Direction = Direction::Ingress;

    fn mac(last: u8) -> [u8; 6] {
        [2, 0, 0, 0, 0, last]
    }

    fn rows(counters: &PeerCounters) -> Vec<(u32, Option<u8>, PeerBytes)> {
        let mut rows: Vec<_> = counters
            .snapshot()
            .rows
            .into_iter()
            .map(|row| (row.peer.asn, row.mac.map(|mac| mac.0[5]), row.bytes))
            .collect();
        rows.sort();
        rows
    }

    #[test]
    fn each_neighbor_has_its_bytes_in_both_directions() {
        let mut counters = PeerCounters::default();
        let names = Names { shift: 0 };
        let mut count = |record| counters.count(&record, 0, 0, &names);
        count(record(1, mac(1), IN, 100));
        count(record(1, mac(1), Direction::Egress, 7));
        count(record(1, mac(200), IN, 50));
        // a segment with one neighbor, a group, and a device without Ethernet
        count(record(2, mac(1), IN, 1));
        count(record(1, [0xff; 6], Direction::Egress, 1));
        count(record(1, [0; 6], IN, 1));
        assert_eq!(
            rows(&counters),
            [
                (0, Some(200), [[0, 500], [0, 0]]),
                (64501, Some(1), [[0, 1000], [0, 70]])
            ]
        );
    }

    #[test]
    fn each_counter_has_the_time_of_its_first_record() {
        let mut counters = PeerCounters::default();
        let names = Names { shift: 0 };
        for (now_ms, direction) in [(1_299, IN), (5_000, IN), (7_050, Direction::Egress)] {
            let record = record(1, mac(1), direction, 100);
            counters.count(&record, now_ms, 0, &names);
        }
        counters.count(&record(1, mac(2), IN, 100), 9_000, 0, &names);
        let snapshot = counters.snapshot();
        let row = |last| {
            let of = |row: &&PeerRow| row.mac.is_some_and(|mac| mac.0[5] == last);
            snapshot.rows.iter().find(of).unwrap().created_ms
        };
        assert_eq!(row(1), [[0, 1_200], [0, 7_000]]);
        assert_eq!(row(2), [[0, 9_000], [0, 0]]);
    }

    #[test]
    fn another_as_begins_at_zero_and_the_previous_one_expires() {
        let mut counters = PeerCounters::default();
        counters.count(&record(1, mac(1), IN, 1), 0, 0, &Names { shift: 0 });
        counters.count(&record(1, mac(2), IN, 1), 0, 0, &Names { shift: 0 });
        counters.count(&record(1, mac(1), IN, 2), 5, 1, &Names { shift: 0 });
        counters.count(&record(1, mac(1), IN, 4), 5, 2, &Names { shift: 10 });
        let bytes = |n| [[0, n], [0, 0]];
        let both = [
            (64501, Some(1), bytes(30)),
            (64502, Some(2), bytes(10)),
            (64511, Some(1), bytes(40)),
        ];
        assert_eq!(rows(&counters), both);
        counters.count(&record(1, mac(2), IN, 0), 9000, 2, &Names { shift: 0 });
        counters.count(&record(1, mac(1), IN, 1), 9000, 2, &Names { shift: 10 });
        counters.expire(10_000, 5000);
        assert_eq!(
            rows(&counters),
            [(64502, Some(2), bytes(10)), (64511, Some(1), bytes(50))]
        );
        counters.expire(14_000, 5000);
        assert!(rows(&counters).is_empty() && counters.index.is_empty());
    }

    #[test]
    fn invented_addresses_are_bounded_and_make_room_for_neighbors() {
        let mut counters = PeerCounters::default();
        let names = Names { shift: 0 };
        for n in 0..3000u16 {
            let [high, low] = n.to_be_bytes();
            let mac = [2, 1, 0, 0, high, low];
            counters.count(&record(1, mac, IN, 1), n.into(), 0, &names);
        }
        counters.count(&record(1, mac(1), IN, 1), 4000, 0, &names);
        let snapshot = counters.snapshot();
        assert_eq!(snapshot.rows.len(), MAX_PEERS + 1);
        assert_eq!((snapshot.folded, snapshot.evicted), (500, 1));
        let rest = snapshot.rows.iter().find(|row| row.mac.is_none()).unwrap();
        assert_eq!(rest.bytes[0], [0, 5000]);
        let found = snapshot.rows.iter().find(|row| row.peer.asn == 64501);
        assert_eq!(found.unwrap().bytes[0], [0, 10]);
        assert_eq!(counters.index.len(), MAX_PEERS);
    }

    /// A full table of routers that have an IPv4, an IPv6 and a link-local address, of which BGP knows two.
    #[test]
    fn a_full_table_of_neighbors_takes_at_most_a_megabyte() {
        let mac = |n: u16| {
            let [high, low] = n.to_be_bytes();
            MacAddress([2, 0, 0, 0, high, low])
        };
        let addresses = |n: u16| -> [IpAddr; 3] {
            let [high, low] = n.to_be_bytes();
            let six = |first| Ipv6Addr::new(first, 0, 0, 0, 0, 0, 0, n).into();
            [[10, 0, high, low].into(), six(0xfd00), six(0xfe80)]
        };
        let (mut table, mut counters) = (NeighborTable::default(), PeerCounters::default());
        let all = 0..MAX_PEERS as u16;
        let map = NeighborMap::of(all.clone().map(|n| {
            let neighbor = Neighbor {
                asn: PeerAs::One(64500 + u32::from(n)),
                name: format!("Network of member {n}").into(),
                addresses: addresses(n)[..2].into(),
            };
            ((1, mac(n)), neighbor)
        }));
        for n in all {
            for address in addresses(n) {
                table.update(1, address, Some(mac(n)), 0);
            }
            let record = record(1, mac(n).0, IN, 1);
            counters.count(&record, 0, 0, &Names { shift: 0 });
        }
        assert_eq!((map.len(), counters.entries.len()), (MAX_PEERS, MAX_PEERS));
        let bytes = [table.bytes(), map.bytes(), counters.bytes()];
        let sum: usize = bytes.iter().sum();
        // the rest is for the memory that the allocator keeps
        assert!(sum <= 900_000, "{bytes:?}");
    }
}
