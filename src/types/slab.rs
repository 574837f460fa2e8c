// SPDX-License-Identifier: AGPL-3.0-only
//! Stores values under small numbers, which stay the same as long as the value exists.
//!
//! The lowest free number is assigned first, so that the upper end becomes empty after a burst and its memory
//! can be freed.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::ops::{Index, IndexMut};

/// With fewer entries it is not worth freeing memory.
const KEEP: usize = 256;

#[derive(Debug)]
pub struct Slab<T> {
    entries: Vec<Option<T>>,
    /// Free numbers; those beyond the end of `entries` are invalid.
    free: BinaryHeap<Reverse<u32>>,
    len: usize,
}

impl<T> Default for Slab<T> {
    fn default() -> Self {
        Self {
            entries: Vec::new(),
            free: BinaryHeap::new(),
            len: 0,
        }
    }
}

impl<T> Slab<T> {
    pub fn len(&self) -> usize {
        self.len
    }

    pub fn insert(&mut self, value: T) -> u32 {
        self.len += 1;
        match self.free.pop() {
            Some(Reverse(i)) if (i as usize) < self.entries.len() => {
                self.entries[i as usize] = Some(value);
                i
            }
            // The lowest free number is invalid, and so are all others.
            _ => {
                self.free.clear();
                self.entries.push(Some(value));
                (self.entries.len() - 1) as u32
            }
        }
    }

    pub fn get(&self, i: u32) -> Option<&T> {
        self.entries.get(i as usize)?.as_ref()
    }

    pub fn get_mut(&mut self, i: u32) -> Option<&mut T> {
        self.entries.get_mut(i as usize)?.as_mut()
    }

    pub fn remove(&mut self, i: u32) -> Option<T> {
        let value = self.entries.get_mut(i as usize)?.take()?;
        self.len -= 1;
        self.free.push(Reverse(i));
        while let Some(None) = self.entries.last() {
            self.entries.pop();
        }
        if self.entries.capacity() > KEEP.max(4 * self.entries.len()) {
            self.entries.shrink_to(2 * self.entries.len());
            self.free
                .retain(|&Reverse(i)| (i as usize) < self.entries.len());
            self.free.shrink_to(self.entries.len());
        }
        Some(value)
    }

    pub fn iter_mut(&mut self) -> impl Iterator<Item = (u32, &mut T)> {
        let entries = self.entries.iter_mut().enumerate();
        entries.filter_map(|(i, e)| Some((i as u32, e.as_mut()?)))
    }

    /// Returns the memory of the entries.
    pub fn bytes(&self) -> usize {
        self.entries.capacity() * size_of::<Option<T>>()
            + self.free.capacity() * size_of::<Reverse<u32>>()
    }

    pub fn iter(&self) -> impl Iterator<Item = (u32, &T)> {
        self.entries
            .iter()
            .enumerate()
            .filter_map(|(i, e)| Some((i as u32, e.as_ref()?)))
    }
}

/// Accepts only a number that is in use; any other is a bug in the program.
impl<T> Index<u32> for Slab<T> {
    type Output = T;

    fn index(&self, i: u32) -> &T {
        match &self.entries[i as usize] {
            Some(value) => value,
            None => panic!("slab entry {i} is empty"),
        }
    }
}

impl<T> IndexMut<u32> for Slab<T> {
    fn index_mut(&mut self, i: u32) -> &mut T {
        match &mut self.entries[i as usize] {
            Some(value) => value,
            None => panic!("slab entry {i} is empty"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    proptest! {
        #[test]
        fn behaves_like_a_map(ops in prop::collection::vec((any::<bool>(), any::<u32>()), 1..2000)) {
            let (mut slab, mut model) = (Slab::default(), BTreeMap::new());
            for (insert, x) in ops {
                if insert || model.is_empty() {
                    prop_assert_eq!(model.insert(slab.insert(x), x), None);
                } else {
                    let i = *model.keys().nth(x as usize % model.len()).unwrap();
                    prop_assert_eq!(slab.remove(i), model.remove(&i));
                    prop_assert_eq!(slab.remove(i), None);
                }
                prop_assert_eq!(slab.len(), model.len());
            }
            let listed: BTreeMap<u32, u32> = slab.iter().map(|(i, &x)| (i, x)).collect();
            prop_assert_eq!(listed, model);
        }
    }

    #[test]
    fn a_burst_leaves_no_memory_behind() {
        let mut slab = Slab::default();
        let numbers: Vec<u32> = (0..100_000).map(|x| slab.insert(x)).collect();
        for &i in &numbers[10..] {
            slab.remove(i);
        }
        assert!(slab.entries.capacity() <= KEEP);
        assert!(slab.free.capacity() <= KEEP);
        assert_eq!(slab.insert(7), 10);
    }
}
