// SPDX-License-Identifier: AGPL-3.0-only
//! Every prefix once, under a small number, with longest match.
//!
//! One hash table serves all lengths. A lookup would have to try each length that occurs; a filter of
//! one word per part of the address space tells which occur there.

use std::hash::{BuildHasher, Hash};

use foldhash::fast::RandomState;
use hashbrown::HashTable;
use hashbrown::hash_table::Entry as Slot;

use super::prefix::mask;

/// An address as it is stored: IPv4 in 4 bytes, IPv6 in 16 that need no alignment beyond 4.
pub trait Key: Copy + Eq + Hash {
    const BITS: u8;
    /// From this length on the filter tells the lengths; below, one word for all does.
    const DEEP: u8;

    fn from_bits(bits: u128) -> Self;
    fn to_bits(self) -> u128;
    /// The word of the filter for an address: the same for all addresses that share the first
    /// `DEEP - 1` bits.
    fn bucket(bits: u128) -> usize;
}

impl Key for u32 {
    const BITS: u8 = 32;
    const DEEP: u8 = 17;

    fn from_bits(bits: u128) -> Self {
        (bits >> 96) as u32
    }

    fn to_bits(self) -> u128 {
        u128::from(self) << 96
    }

    fn bucket(bits: u128) -> usize {
        (bits >> 112) as usize
    }
}

impl Key for [u32; 4] {
    const BITS: u8 = 128;
    const DEEP: u8 = 33;

    fn from_bits(bits: u128) -> Self {
        [96, 64, 32, 0].map(|shift| (bits >> shift) as u32)
    }

    fn to_bits(self) -> u128 {
        self.iter()
            .fold(0, |bits, &word| bits << 32 | u128::from(word))
    }

    fn bucket(bits: u128) -> usize {
        // Fibonacci hashing: allocations differ in the middle bits, the buckets are the high ones
        let high = (bits >> 96) as u32;
        (high.wrapping_mul(0x9e37_79b1) >> 16) as usize
    }
}

const BUCKETS: usize = 1 << 16;
/// Bit of a filter word for the lengths that have none of their own.
const LONG: u32 = 63;
/// Tables smaller than this are left as they are.
const KEEP: usize = 1 << 14;

#[derive(Debug)]
pub struct PrefixTable<K> {
    entries: Vec<Entry<K>>,
    free: Vec<u32>,
    index: HashTable<u32>,
    hasher: RandomState,
    /// How many prefixes have each length.
    lengths: [u32; 129],
    /// Which lengths occur under each bucket. Bits are set at once and cleared only when the table
    /// is rebuilt: one too many costs a probe.
    filter: Vec<u64>,
}

#[derive(Clone, Copy, Debug)]
struct Entry<K> {
    key: K,
    /// Length in the upper 8 bits, users in the lower 24: route tables that hold the prefix, of
    /// which there are far fewer ([`super::MAX_PEERS`]).
    state: u32,
}

impl<K> Entry<K> {
    fn length(&self) -> u8 {
        (self.state >> 24) as u8
    }

    fn users(&self) -> u32 {
        self.state & 0x00ff_ffff
    }
}

impl<K: Key> Default for PrefixTable<K> {
    fn default() -> Self {
        Self {
            entries: Vec::new(),
            free: Vec::new(),
            index: HashTable::new(),
            hasher: RandomState::default(),
            lengths: [0; 129],
            filter: Vec::new(),
        }
    }
}

impl<K: Key> PrefixTable<K> {
    /// Distinct prefixes.
    pub fn len(&self) -> usize {
        self.index.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// One more than the greatest number ever given out.
    pub fn universe(&self) -> usize {
        self.entries.len()
    }

    pub fn find(&self, bits: u128, length: u8) -> Option<u32> {
        let key = K::from_bits(bits);
        let same = |&id: &u32| self.is(id, key, length);
        self.index.find(self.hash(key, length), same).copied()
    }

    /// The number of a prefix, which is entered without users if it is new.
    pub fn enter(&mut self, bits: u128, length: u8) -> u32 {
        let key = K::from_bits(bits);
        let hash = self.hash(key, length);
        let Self {
            entries,
            free,
            index,
            hasher,
            ..
        } = self;
        let state = u32::from(length) << 24;
        let same = |&id: &u32| {
            let entry = &entries[id as usize];
            entry.key == key && entry.length() == length
        };
        let rehash = |&id: &u32| {
            let entry = &entries[id as usize];
            hasher.hash_one((entry.key, entry.length()))
        };
        let slot = match index.entry(hash, same, rehash) {
            Slot::Occupied(found) => return *found.get(),
            Slot::Vacant(slot) => slot,
        };
        let entry = Entry { key, state };
        let id = match free.pop() {
            Some(id) => {
                slot.insert(id);
                entries[id as usize] = entry;
                id
            }
            None => {
                let id = entries.len() as u32;
                slot.insert(id);
                entries.push(entry);
                id
            }
        };
        self.lengths[usize::from(length)] += 1;
        self.note(bits, length);
        id
    }

    pub fn retain(&mut self, id: u32) {
        self.entries[id as usize].state += 1;
    }

    /// One user less; without users the prefix is gone.
    pub fn release(&mut self, id: u32) {
        let entry = &mut self.entries[id as usize];
        entry.state -= 1;
        if entry.users() == 0 {
            self.remove(id);
        }
    }

    /// Takes out a prefix that was entered and found no user.
    pub fn drop_unused(&mut self, id: u32) {
        if self.entries[id as usize].users() == 0 {
            self.remove(id);
        }
    }

    pub fn get(&self, id: u32) -> (u128, u8) {
        let entry = &self.entries[id as usize];
        (entry.key.to_bits(), entry.length())
    }

    /// Shows every prefix that holds the address, longest first, until `visit` says true.
    pub fn matches(&self, bits: u128, mut visit: impl FnMut(u32, u8) -> bool) {
        if self.is_empty() {
            return;
        }
        let mut probe = |length: u8| {
            self.find(bits & mask(length), length)
                .is_some_and(|id| visit(id, length))
        };
        let mut word = self.filter[K::bucket(bits)];
        if word >> LONG != 0 {
            word &= !(1 << LONG);
            let first = K::DEEP + LONG as u8;
            for length in (first..=K::BITS).rev() {
                if self.lengths[usize::from(length)] > 0 && probe(length) {
                    return;
                }
            }
        }
        while word != 0 {
            let bit = 63 - word.leading_zeros();
            word &= !(1 << bit);
            if probe(K::DEEP + bit as u8) {
                return;
            }
        }
        for length in (0..K::DEEP).rev() {
            if self.lengths[usize::from(length)] > 0 && probe(length) {
                return;
            }
        }
    }

    /// Whether most of the memory is held for prefixes that are gone.
    pub fn is_sparse(&self) -> bool {
        self.entries.len() > KEEP && self.len() < self.entries.len() / 4
    }

    /// Numbers the prefixes anew and gives memory back. The result tells the new number of each old
    /// one; the numbers of prefixes that are gone mean nothing.
    pub fn rebuild(&mut self) -> Vec<u32> {
        let mut renumbered = vec![0; self.entries.len()];
        let old = std::mem::take(self);
        self.entries.reserve_exact(old.len());
        self.index
            .reserve(old.len(), |_| unreachable!("it is empty"));
        for &id in &old.index {
            let entry = old.entries[id as usize];
            let new = self.enter(entry.key.to_bits(), entry.length());
            self.entries[new as usize].state = entry.state;
            renumbered[id as usize] = new;
        }
        renumbered
    }

    fn note(&mut self, bits: u128, length: u8) {
        if self.filter.is_empty() {
            self.filter = vec![0; BUCKETS];
        }
        if let Some(bit) = length.checked_sub(K::DEEP) {
            self.filter[K::bucket(bits)] |= 1 << u32::from(bit).min(LONG);
        }
    }

    fn remove(&mut self, id: u32) {
        let Entry { key, .. } = self.entries[id as usize];
        let length = self.entries[id as usize].length();
        let hash = self.hash(key, length);
        if let Ok(found) = self.index.find_entry(hash, |&other| other == id) {
            found.remove();
        }
        self.lengths[usize::from(length)] -= 1;
        if self.is_empty() {
            // the seed stays: the same prefixes tend to come back
            self.entries = Vec::new();
            self.free = Vec::new();
            self.index = HashTable::new();
            self.filter = Vec::new();
        } else {
            self.free.push(id);
        }
    }

    fn is(&self, id: u32, key: K, length: u8) -> bool {
        let entry = &self.entries[id as usize];
        entry.key == key && entry.length() == length
    }

    fn hash(&self, key: K, length: u8) -> u64 {
        self.hasher.hash_one((key, length))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    /// Few bits vary, so that prefixes nest; each family's bounds of the filter are among the
    /// lengths.
    fn prefixes(lengths: &'static [u8]) -> impl Strategy<Value = (u128, u8)> {
        let bits = any::<u128>().prop_map(|b| b & 0x8001_8001_8001_8001_8001_8001_8001_8001);
        (bits, prop::sample::select(lengths)).prop_map(|(b, l)| (b & mask(l), l))
    }

    fn check<K: Key>(steps: &[((u128, u8), bool)], address: u128) {
        let address = address & mask(K::BITS);
        let mut table = PrefixTable::<K>::default();
        let mut model = BTreeMap::new();
        for (step, &((bits, length), add)) in steps.iter().enumerate() {
            if add {
                let id = table.enter(bits, length);
                if model.insert((bits, length), id).is_none() {
                    table.retain(id);
                }
            } else if let Some(id) = model.remove(&(bits, length)) {
                table.release(id);
            }
            if step == steps.len() / 2 {
                let renumbered = table.rebuild();
                model
                    .values_mut()
                    .for_each(|id| *id = renumbered[*id as usize]);
            }
        }
        let mut expected: Vec<_> = model
            .iter()
            .filter(|((bits, length), _)| address & mask(*length) == *bits)
            .map(|((_, length), id)| (*id, *length))
            .collect();
        expected.sort_unstable_by_key(|(_, length)| std::cmp::Reverse(*length));
        let mut found = Vec::new();
        table.matches(address, |id, length| {
            found.push((id, length));
            false
        });
        assert_eq!(found, expected);
        assert_eq!(table.len(), model.len());
        for (&prefix, &id) in &model {
            assert_eq!(table.find(prefix.0, prefix.1), Some(id));
            assert_eq!(table.get(id), prefix);
        }
    }

    proptest! {
        #[test]
        fn longest_match_is_that_of_a_list(
            v4 in prop::collection::vec((prefixes(&[0, 1, 8, 16, 17, 24, 32]), any::<bool>()), 1..60),
            v6 in prop::collection::vec((prefixes(&[0, 1, 32, 33, 64, 95, 96, 97, 128]), any::<bool>()), 1..60),
            address in any::<u128>(),
        ) {
            let address = address & 0x8001_8001_8001_8001_8001_8001_8001_8001;
            check::<u32>(&v4, address);
            check::<[u32; 4]>(&v6, address);
        }
    }

    #[test]
    fn an_empty_table_holds_no_memory() {
        let mut table = PrefixTable::<u32>::default();
        let ids: Vec<_> = (0..1000u128).map(|n| table.enter(n << 104, 24)).collect();
        ids.iter().for_each(|&id| table.retain(id));
        ids.iter().for_each(|&id| table.release(id));
        assert_eq!(table.entries.capacity() + table.filter.capacity(), 0);
        assert_eq!(table.index.capacity() + table.free.capacity(), 0);
    }
}
