// SPDX-License-Identifier: AGPL-3.0-only
//! Stores nearby prefixes next to each other in memory: most lookups end in one block, while a hash table
//! would have to be probed once for each length.
//!
//! All blocks share one array. A block that outgrows its span moves to the end of the array; when the
//! abandoned spans take too much memory, all blocks are moved together.

use foldhash::fast::RandomState;
use hashbrown::HashMap;

/// Number of lengths that a block holds, from the first length on.
pub const LENGTHS: u8 = 32;
/// Maximum number of entries of a block: an insertion into a larger one would have to move too many.
const MAX_ENTRIES: usize = 1024;
/// Prefix numbers must be below this to fit.
const MAX_ID: u32 = 1 << ID_BITS;
const ID_BITS: u32 = 27;
/// Number of words that the array may waste in any case.
const KEEP: usize = 1 << 13;
/// Number of words in a cache line.
const LINE: usize = 8;
/// Maximum number of cache lines that are prefetched before a search.
const MAX_LINES: usize = 5;
/// Blocks with numbers of this many bits have an array for their spans.
const DIRECT_BITS: u8 = 16;

/// Key of a prefix: the block, its length from the first that blocks hold, and the 32 bits of the
/// address that follow those that the block shares.
#[derive(Clone, Copy, Debug)]
pub struct BlockKey {
    pub block: u32,
    pub length: u8,
    pub bits: u32,
}

#[derive(Debug)]
pub struct PrefixBlocks {
    spans: BlockSpans,
    /// A block is a word with a bit for each length that occurs in it, and its entries, sorted by
    /// length and then by address: length in 5 bits, address in 32, number in 27.
    words: Vec<u64>,
    /// Words that belong to a block.
    used: usize,
}

#[derive(Debug)]
enum BlockSpans {
    Direct(Vec<BlockSpan>),
    Hashed(HashMap<u32, BlockSpan, RandomState>),
}

/// The position of a block. A span without entries is no block.
#[derive(Clone, Copy, Debug, Default)]
struct BlockSpan {
    start: u32,
    entries: u16,
    /// Number of entries that fit.
    capacity: u16,
}

impl PrefixBlocks {
    /// Returns an empty set of blocks, which are numbered by this many bits.
    pub fn new(bits: u8) -> Self {
        Self {
            spans: match bits {
                DIRECT_BITS => BlockSpans::Direct(Vec::new()),
                _ => BlockSpans::Hashed(HashMap::default()),
            },
            words: Vec::new(),
            used: 0,
        }
    }

    /// Returns the block of this number, to search it for several prefixes.
    #[inline]
    pub fn get(&self, block: u32) -> Option<PrefixBlock<'_>> {
        let span = self.spans.get(block)?;
        let (lengths, entries) = self.words[span.words()].split_first()?;
        Some(PrefixBlock {
            lengths: *lengths as u32,
            entries,
        })
    }

    pub fn find(&self, block_key: BlockKey) -> Option<u32> {
        self.get(block_key.block)?.find(block_key)
    }

    /// Enters a prefix that is not in its block. Returns false if it does not fit.
    pub fn insert(&mut self, block_key: BlockKey, id: u32) -> bool {
        let mut span = self.spans.get(block_key.block).unwrap_or_default();
        let entries = usize::from(span.entries);
        if entries >= MAX_ENTRIES || id >= MAX_ID || self.words.len() > u32::MAX as usize / 2 {
            return false;
        }
        if span.entries == span.capacity {
            span = self.grow(span);
        }
        span.entries += 1;
        self.spans.set(block_key.block, span);
        let block = &mut self.words[span.words()];
        let at = 1 + search(&block[1..=entries], block_key);
        block.copy_within(at..=entries, at + 1);
        block[at] = block_key.sort_key() << ID_BITS | u64::from(id);
        block[0] |= 1 << block_key.length;
        self.compact();
        true
    }

    /// Removes a prefix. Returns false if it is not in its block.
    pub fn remove(&mut self, block_key: BlockKey) -> bool {
        if self.find(block_key).is_none() {
            return false;
        }
        let Some(mut span) = self.spans.get(block_key.block) else {
            return false;
        };
        let block = &mut self.words[span.words()];
        let at = 1 + search(&block[1..], block_key);
        let of_length = |entry: &u64| entry >> (ID_BITS + 32) == u64::from(block_key.length);
        if block[1..].iter().filter(|entry| of_length(entry)).count() == 1 {
            block[0] &= !(1 << block_key.length);
        }
        block.copy_within(at + 1.., at);
        span.entries -= 1;
        if span.entries == 0 {
            self.used -= span.size();
            self.spans.remove(block_key.block);
        } else {
            self.spans.set(block_key.block, span);
        }
        self.compact();
        true
    }

    /// Returns the numbers of all prefixes.
    pub fn ids(&self) -> impl Iterator<Item = u32> + '_ {
        let spans = self.spans.all();
        let entries = spans.flat_map(|span| &self.words[span.words()][1..]);
        entries.map(|entry| id(*entry))
    }

    /// Moves a block to the end of the array, with more room.
    fn grow(&mut self, span: BlockSpan) -> BlockSpan {
        let capacity = (span.capacity + span.capacity / 2).max(4);
        let larger = BlockSpan {
            start: self.words.len() as u32,
            capacity,
            ..span
        };
        if span.entries == 0 {
            self.words.push(0);
        } else {
            self.words.extend_from_within(span.words());
            self.used -= span.size();
        }
        self.words.resize(larger.start as usize + larger.size(), 0);
        self.used += larger.size();
        larger
    }

    /// Moves all blocks together when the wasted words reach `KEEP` plus half of the used words.
    fn compact(&mut self) {
        if self.words.len() < KEEP + self.used + self.used / 2 {
            return;
        }
        let mut words = Vec::with_capacity(self.used + self.used / 4);
        self.spans.each(|span| {
            let start = words.len() as u32;
            words.extend_from_slice(&self.words[span.words()]);
            // leave room for a few more entries
            let capacity = span.entries + span.entries / 8 + 1;
            span.start = start;
            span.capacity = capacity.min(span.capacity);
            words.resize(start as usize + span.size(), 0);
        });
        self.used = words.len();
        self.words = words;
    }
}

/// One block.
#[derive(Clone, Copy, Debug, Default)]
pub struct PrefixBlock<'a> {
    pub lengths: u32,
    entries: &'a [u64],
}

impl PrefixBlock<'_> {
    /// Reads a word of each of the first cache lines; most blocks have no more. These reads do not depend on
    /// each other, while those of a search do.
    #[inline]
    pub fn prefetch(self) -> u64 {
        let lines = self.entries.chunks(LINE).take(MAX_LINES);
        lines.fold(0, |sum, line| sum ^ line[line.len() - 1])
    }

    /// Returns the number of a prefix of this block.
    pub fn find(&self, block_key: BlockKey) -> Option<u32> {
        let entry = *self.entries.get(search(self.entries, block_key))?;
        (entry >> ID_BITS == block_key.sort_key()).then_some(id(entry))
    }

    /// Returns the same if only shorter prefixes are searched for afterwards: each search covers only the
    /// entries that the previous one left.
    #[inline]
    pub fn find_next(&mut self, block_key: BlockKey) -> Option<u32> {
        let span = search(self.entries, block_key);
        let entry = self.entries.get(span).copied();
        self.entries = &self.entries[..span];
        entry
            .filter(|e| e >> ID_BITS == block_key.sort_key())
            .map(id)
    }
}

impl BlockSpan {
    /// Returns the range of the words in use.
    fn words(self) -> std::ops::Range<usize> {
        let start = self.start as usize;
        start..start + 1 + usize::from(self.entries)
    }

    /// Returns the number of all words.
    fn size(self) -> usize {
        1 + usize::from(self.capacity)
    }
}

impl BlockSpans {
    fn get(&self, block: u32) -> Option<BlockSpan> {
        let span = match self {
            Self::Direct(spans) => spans.get(block as usize),
            Self::Hashed(spans) => spans.get(&block),
        };
        span.copied().filter(|span| span.entries > 0)
    }

    fn set(&mut self, block: u32, span: BlockSpan) {
        match self {
            Self::Direct(spans) => {
                if spans.is_empty() {
                    spans.resize(1 << DIRECT_BITS, BlockSpan::default());
                }
                spans[block as usize] = span;
            }
            Self::Hashed(spans) => drop(spans.insert(block, span)),
        }
    }

    fn remove(&mut self, block: u32) {
        match self {
            Self::Direct(spans) => spans[block as usize] = BlockSpan::default(),
            Self::Hashed(spans) => drop(spans.remove(&block)),
        }
    }

    fn all(&self) -> Box<dyn Iterator<Item = BlockSpan> + '_> {
        match self {
            Self::Direct(spans) => Box::new(spans.iter().copied().filter(|p| p.entries > 0)),
            Self::Hashed(spans) => Box::new(spans.values().copied()),
        }
    }

    fn each(&mut self, change: impl FnMut(&mut BlockSpan)) {
        match self {
            Self::Direct(spans) => spans.iter_mut().filter(|p| p.entries > 0).for_each(change),
            Self::Hashed(spans) => spans.values_mut().for_each(change),
        }
    }
}

impl BlockKey {
    fn sort_key(self) -> u64 {
        u64::from(self.length) << 32 | u64::from(self.bits)
    }
}

/// Returns the position of a prefix among the entries, or the position at which it would be inserted.
fn search(entries: &[u64], block_key: BlockKey) -> usize {
    let key = block_key.sort_key();
    entries.partition_point(|entry| entry >> ID_BITS < key)
}

fn id(entry: u64) -> u32 {
    (entry & u64::from(MAX_ID - 1)) as u32
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn many_blocks_grow_and_shrink_in_one_array() {
        for bits in [DIRECT_BITS, 32] {
            let mut blocks = PrefixBlocks::new(bits);
            let mut model = BTreeMap::new();
            let mut state = 1_u64;
            let mut most = 0;
            for step in 0..400_000_u32 {
                state = state
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1);
                let random = (state >> 33) as u32;
                let block_key = BlockKey {
                    block: random % 500,
                    length: (random >> 9) as u8 % 4,
                    bits: (random >> 11) % 64,
                };
                let key = (block_key.block, block_key.length, block_key.bits);
                // first mostly in, then mostly out
                let into = (random >> 20) % 8 < if step < 250_000 { 7 } else { 1 };
                let held = model.get(&key).copied();
                assert_eq!(blocks.find(block_key), held);
                match (held, into) {
                    (None, true) => {
                        assert!(blocks.insert(block_key, step));
                        model.insert(key, step);
                    }
                    (Some(_), false) => {
                        assert!(blocks.remove(block_key));
                        model.remove(&key);
                    }
                    (None, false) => assert!(!blocks.remove(block_key)),
                    (Some(_), true) => {}
                }
                most = most.max(model.len());
            }
            assert!(most > 20_000 && model.len() < most / 2);
            let mut ids: Vec<_> = blocks.ids().collect();
            let mut expected: Vec<_> = model.values().copied().collect();
            ids.sort_unstable();
            expected.sort_unstable();
            assert_eq!(ids, expected);
            assert!(blocks.words.len() <= KEEP + 2 * blocks.used);
            for ((block, length, bits), id) in model {
                let block_key = BlockKey {
                    block,
                    length,
                    bits,
                };
                assert_eq!(blocks.find(block_key), Some(id));
                assert!(blocks.get(block).unwrap().lengths & 1 << length != 0);
            }
        }
    }
}
