// SPDX-License-Identifier: AGPL-3.0-only
//! Stores every prefix once, under a small number, with longest match.
//!
//! Prefixes of the usual lengths of networks are in blocks ([`super::prefix_block`]). The others, and those
//! that find no room in a block, are in one hash table for all lengths. A lookup in this table would have
//! to try each length that occurs; a filter of one word per part of the address space shows the lengths
//! that occur there.

use std::hash::{BuildHasher, Hash};

use foldhash::fast::RandomState;
use hashbrown::HashTable;

use super::prefix::mask;
use super::prefix_block::{self, BlockKey, PrefixBlock, PrefixBlocks};

/// An address as it is stored: IPv4 in 4 bytes, IPv6 in 16 bytes that need no alignment beyond 4.
pub trait Key: Copy + Eq + Hash {
    const BITS: u8;
    /// The shortest length that blocks and the filter cover.
    const DEEP: u8;

    fn from_bits(bits: u128) -> Self;
    fn to_bits(self) -> u128;
    /// Returns the index of the filter word of an address. It is the same for all addresses that share the
    /// first `DEEP - 1` bits.
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
/// Bit of a filter word for the lengths that have no bit of their own.
const LONG: u32 = 63;
/// Bits of a filter word for the lengths that blocks cover.
const IN_BLOCKS: u64 = u32::MAX as u64;
/// Tables smaller than this are not rebuilt.
const KEEP: usize = 1 << 14;

#[derive(Debug)]
pub struct PrefixIndex<K> {
    entries: Vec<PrefixEntry<K>>,
    free: Vec<u32>,
    /// By the first `DEEP - 1` bits.
    blocks: PrefixBlocks,
    /// The prefixes that are in no block.
    hash_index: HashTable<u32>,
    hasher: RandomState,
    len: usize,
    /// Number of prefixes of each length in `hash_index`.
    lengths: [u32; 129],
    /// The lengths that occur in `hash_index` under each bucket. Bits are set immediately and cleared only
    /// when the table is rebuilt: a superfluous bit costs a probe. Empty until a bit is set.
    filter: Vec<u64>,
}

#[derive(Clone, Copy, Debug)]
struct PrefixEntry<K> {
    key: K,
    /// Length in the upper 8 bits, number of users in the lower 24. The users are the route tables that
    /// hold the prefix; there are far fewer of them ([`super::MAX_PEERS`]).
    state: u32,
}

impl<K> PrefixEntry<K> {
    fn length(&self) -> u8 {
        (self.state >> 24) as u8
    }

    fn users(&self) -> u32 {
        self.state & 0x00ff_ffff
    }
}

impl<K: Key> Default for PrefixIndex<K> {
    fn default() -> Self {
        Self {
            entries: Vec::new(),
            free: Vec::new(),
            blocks: PrefixBlocks::new(K::DEEP - 1),
            hash_index: HashTable::new(),
            hasher: RandomState::default(),
            len: 0,
            lengths: [0; 129],
            filter: Vec::new(),
        }
    }
}

impl<K: Key> PrefixIndex<K> {
    /// Returns the number of distinct prefixes.
    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns one more than the greatest number ever assigned.
    pub fn universe(&self) -> usize {
        self.entries.len()
    }

    pub fn find(&self, bits: u128, length: u8) -> Option<u32> {
        if let Some(block_key) = block_key::<K>(bits, length) {
            let found = self.blocks.find(block_key);
            if found.is_some() || self.word(bits) & 1 << block_key.length == 0 {
                return found;
            }
        }
        self.find_in_hash_index(bits, length)
    }

    fn find_in_hash_index(&self, bits: u128, length: u8) -> Option<u32> {
        let key = K::from_bits(bits);
        let same = |&id: &u32| {
            let entry = &self.entries[id as usize];
            entry.key == key && entry.length() == length
        };
        self.hash_index.find(self.hash(key, length), same).copied()
    }

    /// Returns the number of a prefix. Enters a new prefix without users.
    pub fn get_or_insert(&mut self, bits: u128, length: u8) -> u32 {
        if let Some(id) = self.find(bits, length) {
            return id;
        }
        let entry = PrefixEntry {
            key: K::from_bits(bits),
            state: u32::from(length) << 24,
        };
        let id = match self.free.pop() {
            Some(id) => {
                self.entries[id as usize] = entry;
                id
            }
            None => {
                self.entries.push(entry);
                (self.entries.len() - 1) as u32
            }
        };
        self.len += 1;
        let block_key = block_key::<K>(bits, length);
        let grouped = block_key.is_some_and(|block_key| self.blocks.insert(block_key, id));
        if !grouped {
            self.hash_index_insert(id, bits, length);
        }
        id
    }

    fn hash_index_insert(&mut self, id: u32, bits: u128, length: u8) {
        let hash = self.hash(K::from_bits(bits), length);
        let Self {
            entries,
            hash_index,
            hasher,
            ..
        } = self;
        hash_index.insert_unique(hash, id, |&id| {
            let entry = &entries[id as usize];
            hasher.hash_one((entry.key, entry.length()))
        });
        self.lengths[usize::from(length)] += 1;
        if let Some(bit) = length.checked_sub(K::DEEP) {
            if self.filter.is_empty() {
                self.filter = vec![0; BUCKETS];
            }
            self.filter[K::bucket(bits)] |= 1 << u32::from(bit).min(LONG);
        }
    }

    pub fn retain(&mut self, id: u32) {
        self.entries[id as usize].state += 1;
    }

    /// Removes one user; without users the prefix is removed.
    pub fn release(&mut self, id: u32) {
        let entry = &mut self.entries[id as usize];
        entry.state -= 1;
        if entry.users() == 0 {
            self.remove(id);
        }
    }

    /// Removes a prefix that was entered and has no user.
    pub fn drop_unused(&mut self, id: u32) {
        if self.entries[id as usize].users() == 0 {
            self.remove(id);
        }
    }

    pub fn get(&self, id: u32) -> (u128, u8) {
        let entry = &self.entries[id as usize];
        (entry.key.to_bits(), entry.length())
    }

    /// Prefetches the memory that a lookup of this address reads, so that it need not wait for it.
    #[inline]
    pub fn prefetch(&self, bits: u128) {
        std::hint::black_box(
            self.blocks
                .get(block_number::<K>(bits))
                .map(PrefixBlock::prefetch),
        );
    }

    /// Calls `visit` with every prefix that contains the address, longest first, until `visit` returns
    /// true.
    pub fn matches(&self, bits: u128, mut visit: impl FnMut(u32, u8) -> bool) {
        if self.is_empty() {
            return;
        }
        let mut probe = |id: Option<u32>, length| id.is_some_and(|id| visit(id, length));
        let word = self.word(bits);
        if word & !IN_BLOCKS != 0 {
            let all = (K::DEEP + prefix_block::LENGTHS..=K::BITS).rev();
            for length in all.filter(|l| self.lengths[usize::from(*l)] > 0) {
                let bit = u32::from(length - K::DEEP).min(LONG);
                let bits = bits & mask(length);
                if word & 1 << bit != 0 && probe(self.find_in_hash_index(bits, length), length) {
                    return;
                }
            }
        }
        let block_number = block_number::<K>(bits);
        let mut block = self.blocks.get(block_number).unwrap_or_default();
        let below = below::<K>(bits);
        let mut lengths = (word & IN_BLOCKS) as u32 | block.lengths;
        while lengths != 0 {
            let bit = 31 - lengths.leading_zeros();
            lengths &= !(1 << bit);
            let length = K::DEEP + bit as u8;
            let mut id = block.find_next(BlockKey {
                block: block_number,
                length: bit as u8,
                bits: below & u32::MAX << (31 - bit),
            });
            if id.is_none() && word & 1 << bit != 0 {
                id = self.find_in_hash_index(bits & mask(length), length);
            }
            if probe(id, length) {
                return;
            }
        }
        for length in (0..K::DEEP).rev() {
            if self.lengths[usize::from(length)] > 0
                && probe(self.find_in_hash_index(bits & mask(length), length), length)
            {
                return;
            }
        }
    }

    /// Returns whether most of the memory is held for removed prefixes.
    pub fn is_sparse(&self) -> bool {
        self.entries.len() > KEEP && self.len() < self.entries.len() / 4
    }

    /// Renumbers the prefixes and frees memory. Returns the new number of each old one; the numbers of
    /// removed prefixes are meaningless.
    pub fn rebuild(&mut self) -> Vec<u32> {
        let mut renumbered = vec![0; self.entries.len()];
        let old = std::mem::take(self);
        self.entries.reserve_exact(old.len());
        for id in old.blocks.ids().chain(old.hash_index.iter().copied()) {
            let entry = old.entries[id as usize];
            let new = self.get_or_insert(entry.key.to_bits(), entry.length());
            self.entries[new as usize].state = entry.state;
            renumbered[id as usize] = new;
        }
        renumbered
    }

    fn remove(&mut self, id: u32) {
        let (bits, length) = self.get(id);
        self.len -= 1;
        if self.is_empty() {
            *self = Self::default();
            return;
        }
        self.free.push(id);
        if block_key::<K>(bits, length).is_some_and(|block_key| self.blocks.remove(block_key)) {
            return;
        }
        let hash = self.hash(K::from_bits(bits), length);
        if let Ok(found) = self.hash_index.find_entry(hash, |&other| other == id) {
            found.remove();
            self.lengths[usize::from(length)] -= 1;
        }
    }

    fn word(&self, bits: u128) -> u64 {
        self.filter.get(K::bucket(bits)).copied().unwrap_or(0)
    }

    fn hash(&self, key: K, length: u8) -> u64 {
        self.hasher.hash_one((key, length))
    }
}

/// Returns the key of a prefix in its block, if blocks cover its length.
fn block_key<K: Key>(bits: u128, length: u8) -> Option<BlockKey> {
    let length = length.checked_sub(K::DEEP)?;
    (length < prefix_block::LENGTHS).then(|| BlockKey {
        block: block_number::<K>(bits),
        length,
        bits: below::<K>(bits),
    })
}

/// Returns the first `DEEP - 1` bits.
fn block_number<K: Key>(bits: u128) -> u32 {
    (bits >> (129 - u32::from(K::DEEP))) as u32
}

/// Returns the 32 bits after the first `DEEP - 1` bits.
fn below<K: Key>(bits: u128) -> u32 {
    (bits << (K::DEEP - 1) >> 96) as u32
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
        let mut table = PrefixIndex::<K>::default();
        let mut model = BTreeMap::new();
        for (step, &((bits, length), add)) in steps.iter().enumerate() {
            if add {
                let id = table.get_or_insert(bits, length);
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
    fn a_full_block_does_not_stop_insertion() {
        let mut table = PrefixIndex::<u32>::default();
        // all in 10.1.0.0/16
        let prefix = |n: u128| (0x0a01 << 112 | n << 96, 32);
        let ids: Vec<_> = (0..3000)
            .map(|n| table.get_or_insert(prefix(n).0, 32))
            .collect();
        let wide = table.get_or_insert(0x0a01 << 112, 17);
        ids.iter().for_each(|&id| table.retain(id));
        table.retain(wide);
        for round in 0..2 {
            for n in (0..3000).step_by(7) {
                let mut found = Vec::new();
                table.matches(prefix(n).0, |id, length| {
                    found.push((table.get(id), length));
                    false
                });
                assert_eq!(found, [(prefix(n), 32), ((0x0a01 << 112, 17), 17)]);
            }
            if round == 0 {
                table.rebuild();
            }
        }
        assert_eq!(table.len(), 3001);
        for n in 0..3000 {
            let id = table.find(prefix(n).0, 32).unwrap();
            table.release(id);
            assert_eq!(table.find(prefix(n).0, 32), None);
        }
        assert_eq!(table.len(), 1);
    }

    #[test]
    fn an_empty_table_holds_no_memory() {
        let mut table = PrefixIndex::<u32>::default();
        let ids: Vec<_> = (0..1000u128)
            .map(|n| table.get_or_insert(n << 104, 24))
            .collect();
        ids.iter().for_each(|&id| table.retain(id));
        ids.iter().for_each(|&id| table.release(id));
        assert_eq!(table.entries.capacity() + table.filter.capacity(), 0);
        assert_eq!(table.hash_index.capacity() + table.free.capacity(), 0);
    }
}
