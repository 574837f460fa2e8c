// SPDX-License-Identifier: AGPL-3.0-only
//! The largest keys of a minute, for each interface and direction, and the rest.

use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasher, Hash};

use foldhash::fast::RandomState;
use hashbrown::HashTable;

use crate::flow::space_saving::SpaceSaving;
use crate::types::flow::Direction;

/// An interface number and a direction.
pub(super) type Scope = (u32, Direction);

pub(super) trait SketchKey: Copy + Eq + Ord + Hash {
    fn scope(&self) -> Scope;
}

/// The traffic of a key since it got its counter.
#[derive(Clone, Copy, Debug)]
pub(super) struct Counted<K> {
    pub key: K,
    pub bytes: u64,
    pub packets: u64,
    /// Bytes since the last tick.
    pending: u64,
    /// The highest rate of a tick, in bytes per second.
    pub max_rate: f32,
}

/// Bytes and packets.
pub(super) type Sums = (u64, u64);

/// The lists of a minute.
pub(super) type Lists<K> = BTreeMap<Scope, (Vec<Counted<K>>, Sums)>;

/// Counters of one minute. The traffic of an evicted key counts in the rest of its interface and direction, so that
/// the listed keys and the rest add up to all traffic.
#[derive(Debug)]
pub(super) struct Sketch<K> {
    counters: SpaceSaving<Counted<K>, u64>,
    index: HashTable<u32>,
    hasher: RandomState,
    rests: HashMap<Scope, Sums, RandomState>,
    evicted: u64,
}

impl<K: SketchKey> Sketch<K> {
    pub fn new(capacity: usize) -> Self {
        Self {
            counters: SpaceSaving::new(capacity),
            index: HashTable::new(),
            hasher: RandomState::default(),
            rests: HashMap::default(),
            evicted: 0,
        }
    }

    pub fn add(&mut self, key: K, bytes: u64, packets: u64) {
        let hash = self.hasher.hash_one(key);
        let counters = &self.counters;
        let found = self.index.find(hash, |at| counters.get(*at).key == key);
        let at = match found {
            Some(at) => *at,
            None => self.place(key, hash),
        };
        let (counted, all) = self.counters.get_mut(at);
        *all = all.saturating_add(bytes);
        counted.bytes = counted.bytes.saturating_add(bytes);
        counted.packets = counted.packets.saturating_add(packets);
        counted.pending = counted.pending.saturating_add(bytes);
    }

    /// Adds traffic that has no key.
    pub fn add_rest(&mut self, scope: Scope, bytes: u64, packets: u64) {
        let rest = self.rests.entry(scope).or_default();
        *rest = (rest.0.saturating_add(bytes), rest.1.saturating_add(packets));
    }

    /// Gives a new key a counter.
    fn place(&mut self, key: K, hash: u64) -> u32 {
        let counted = Counted {
            key,
            bytes: 0,
            packets: 0,
            pending: 0,
            max_rate: 0.0,
        };
        let (at, evicted) = self.counters.insert(counted, 0, 0);
        if let Some(evicted) = evicted {
            let old = self.hasher.hash_one(evicted.key);
            if let Ok(entry) = self.index.find_entry(old, |other| *other == at) {
                entry.remove();
            }
            self.add_rest(evicted.key.scope(), evicted.bytes, evicted.packets);
            self.evicted += 1;
        }
        let (counters, hasher) = (&self.counters, &self.hasher);
        let hash_of = |at: &u32| hasher.hash_one(counters.get(*at).key);
        self.index.insert_unique(hash, at, hash_of);
        at
    }

    /// Completes a tick of `seconds`.
    pub fn tick(&mut self, seconds: f32) {
        for counted in self.counters.occupants_mut() {
            let rate = std::mem::take(&mut counted.pending) as f32 / seconds;
            counted.max_rate = counted.max_rate.max(rate);
        }
    }

    /// Returns the `limit` largest keys of each interface and direction, the largest first, and its rest; begins a new
    /// minute.
    pub fn take(&mut self, limit: usize) -> Lists<K> {
        let mut lists: Lists<K> = BTreeMap::new();
        for (scope, rest) in self.rests.drain() {
            lists.entry(scope).or_default().1 = rest;
        }
        for (_, counted, _) in self.counters.iter() {
            let (list, _) = lists.entry(counted.key.scope()).or_default();
            list.push(*counted);
        }
        for (list, rest) in lists.values_mut() {
            shorten(list, rest, limit);
        }
        self.counters.clear();
        self.index.clear();
        lists
    }

    /// Returns the number of keys that were evicted since the start.
    pub fn evicted(&self) -> u64 {
        self.evicted
    }

    /// Returns the memory of the counters.
    pub fn bytes(&self) -> usize {
        self.counters.bytes() + self.index.allocation_size()
    }
}

/// Sorts a list, the largest first, and moves all but the `limit` largest to the rest.
pub(super) fn shorten<K: Ord + Copy>(list: &mut Vec<Counted<K>>, rest: &mut Sums, limit: usize) {
    list.sort_unstable_by(|a, b| b.bytes.cmp(&a.bytes).then(a.key.cmp(&b.key)));
    for small in list.drain(limit.min(list.len())..) {
        rest.0 = rest.0.saturating_add(small.bytes);
        rest.1 = rest.1.saturating_add(small.packets);
    }
}
