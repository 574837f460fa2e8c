// SPDX-License-Identifier: AGPL-3.0-only
//! Storage for parts of attributes: values that many attributes share, and short byte strings.

use std::hash::Hash;

use foldhash::fast::RandomState;
use hashbrown::HashMap;

use crate::types::slab::Slab;

/// Distinct values by number, each with the number of its users.
#[derive(Debug)]
pub struct RefCounted<T> {
    entries: Slab<(T, u32)>,
    numbers: HashMap<T, u32, RandomState>,
}

impl<T> Default for RefCounted<T> {
    fn default() -> Self {
        Self {
            entries: Slab::default(),
            numbers: HashMap::default(),
        }
    }
}

impl<T: Copy + Eq + Hash> RefCounted<T> {
    /// Returns the number of a value, which has one more user from now on.
    pub fn acquire(&mut self, value: T) -> u32 {
        let entries = &mut self.entries;
        let number = *self
            .numbers
            .entry(value)
            .or_insert_with(|| entries.insert((value, 0)));
        self.entries[number].1 += 1;
        number
    }

    pub fn release(&mut self, number: u32) {
        let (value, users) = &mut self.entries[number];
        *users -= 1;
        if *users == 0 {
            self.numbers.remove(value);
            self.entries.remove(number);
        }
    }

    pub fn get(&self, number: u32) -> &T {
        &self.entries[number].0
    }

    pub fn values(&self) -> impl Iterator<Item = &T> {
        self.entries.iter().map(|(_, (value, _))| value)
    }
}

/// Size of a chunk in bytes. Chunks are allocated one by one, so that growth never moves stored strings.
const CHUNK: usize = 4096;
/// The length of a slot is a multiple of this.
const UNIT: usize = 4;
/// Number of units of a chunk, as a power of two.
const UNIT_BITS: u32 = 10;
/// Strings longer than this have a separate allocation.
const MAX_SLOT: usize = 256;
/// In a number: the string is in `ByteStore::long`.
const LONG: u32 = 1 << 31;
const NONE: u32 = u32::MAX;

/// Byte strings by number. Short ones share chunks with others of the same length.
#[derive(Debug)]
pub struct ByteStore {
    chunks: Vec<Chunk>,
    classes: [Class; MAX_SLOT / UNIT + 1],
    long: Slab<Box<[u8]>>,
    /// Bytes in use.
    used: usize,
}

#[derive(Debug)]
struct Chunk {
    bytes: Box<[u8; CHUNK]>,
    /// Length of a slot in bytes.
    slot: u16,
}

/// Slots of one length.
#[derive(Clone, Copy, Debug)]
struct Class {
    /// The first free slot. Each free slot begins with the number of the next.
    free: u32,
    /// The chunk that has slots never used, and the offset of the first.
    fresh: Option<(u32, u16)>,
}

impl Default for ByteStore {
    fn default() -> Self {
        const EMPTY: Class = Class {
            free: NONE,
            fresh: None,
        };
        Self {
            chunks: Vec::new(),
            classes: [EMPTY; MAX_SLOT / UNIT + 1],
            long: Slab::default(),
            used: 0,
        }
    }
}

impl ByteStore {
    /// Returns the length that a string must have to be stored. The caller pads it.
    pub fn padded(length: usize) -> usize {
        length.max(1).next_multiple_of(UNIT)
    }

    pub fn used(&self) -> usize {
        self.used
    }

    /// Stores a string of a padded length and returns its number.
    pub fn insert(&mut self, bytes: &[u8]) -> u32 {
        debug_assert_eq!(bytes.len(), Self::padded(bytes.len()));
        self.used += bytes.len();
        if bytes.len() > MAX_SLOT {
            return self.long.insert(bytes.into()) | LONG;
        }
        let number = self.vacant(bytes.len());
        self.slot_mut(number).copy_from_slice(bytes);
        number
    }

    pub fn remove(&mut self, number: u32) {
        self.used -= self.get(number).len();
        if number & LONG != 0 {
            self.long.remove(number & !LONG);
            return;
        }
        let class = self.slot_mut(number).len() / UNIT;
        let next = std::mem::replace(&mut self.classes[class].free, number);
        self.slot_mut(number)[..UNIT].copy_from_slice(&next.to_ne_bytes());
    }

    pub fn get(&self, number: u32) -> &[u8] {
        if number & LONG != 0 {
            return &self.long[number & !LONG];
        }
        let (chunk, start) = chunk_offset(number);
        let chunk = &self.chunks[chunk];
        &chunk.bytes[start..start + usize::from(chunk.slot)]
    }

    fn slot_mut(&mut self, number: u32) -> &mut [u8] {
        let (chunk, start) = chunk_offset(number);
        let chunk = &mut self.chunks[chunk];
        &mut chunk.bytes[start..start + usize::from(chunk.slot)]
    }

    /// Returns an unused slot of this length.
    fn vacant(&mut self, length: usize) -> u32 {
        let free = self.classes[length / UNIT].free;
        if free != NONE {
            let mut next = [0; UNIT];
            next.copy_from_slice(&self.slot_mut(free)[..UNIT]);
            self.classes[length / UNIT].free = u32::from_ne_bytes(next);
            return free;
        }
        let class = &mut self.classes[length / UNIT];
        let (chunk, start) = *class.fresh.get_or_insert_with(|| {
            self.chunks.push(Chunk {
                bytes: Box::new([0; CHUNK]),
                slot: length as u16,
            });
            (self.chunks.len() as u32 - 1, 0)
        });
        let end = usize::from(start) + length;
        class.fresh = (end + length <= CHUNK).then_some((chunk, end as u16));
        (chunk << UNIT_BITS) | (u32::from(start) / UNIT as u32)
    }
}

/// Returns the chunk and the first byte of a slot.
fn chunk_offset(number: u32) -> (usize, usize) {
    let unit = number & ((1 << UNIT_BITS) - 1);
    ((number >> UNIT_BITS) as usize, unit as usize * UNIT)
}

const _: () = assert!(CHUNK == UNIT << UNIT_BITS);

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn each_string_is_found_under_its_number(
            steps in prop::collection::vec((1_usize..300, any::<u8>(), any::<bool>()), 1..600),
        ) {
            let mut bytes = ByteStore::default();
            let mut model: HashMap<u32, Vec<u8>> = HashMap::new();
            for (length, fill, remove) in steps {
                if let Some(&number) = model.keys().next().filter(|_| remove) {
                    bytes.remove(number);
                    model.remove(&number);
                } else {
                    let string = vec![fill; ByteStore::padded(length)];
                    let number = bytes.insert(&string);
                    prop_assert!(model.insert(number, string).is_none());
                }
                for (&number, string) in &model {
                    prop_assert_eq!(bytes.get(number), &string[..]);
                }
                let used: usize = model.values().map(Vec::len).sum();
                prop_assert_eq!(bytes.used(), used);
            }
        }
    }

    #[test]
    fn freed_slots_are_used_again() {
        let mut bytes = ByteStore::default();
        for _ in 0..10 {
            let numbers: Vec<_> = (0..5000).map(|_| bytes.insert(&[7; 24])).collect();
            numbers.into_iter().for_each(|number| bytes.remove(number));
        }
        assert_eq!(bytes.chunks.len(), 5000_usize.div_ceil(CHUNK / 24));
        assert_eq!(bytes.used(), 0);
    }
}
