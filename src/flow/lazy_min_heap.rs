// SPDX-License-Identifier: AGPL-3.0-only
//! Finds the least of many growing values, without work when they grow.
//!
//! The heap stores for each entry a value that it once had: a lower bound, since values only grow.
//! A query refreshes outdated values at the top until the top is correct. Each refresh is paid for
//! by at least one growth since the previous refresh, so the cost is at most O(log n) per growth,
//! and mostly zero. When values fall (a window advanced), the owner rebuilds the heap.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::collections::binary_heap::PeekMut;

/// An entry of the heap: a slot, and the serial number of its occupant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct HeapEntry {
    pub slot: u32,
    pub serial: u64,
}

/// The heap tolerates this many entries whose occupants were removed.
const SLACK: usize = 64;

#[derive(Debug)]
pub struct LazyMinHeap<V> {
    heap: BinaryHeap<Reverse<(V, HeapEntry)>>,
}

impl<V: Ord + Copy> LazyMinHeap<V> {
    pub fn new() -> Self {
        Self {
            heap: BinaryHeap::new(),
        }
    }

    /// Returns the memory of the entries.
    pub fn bytes(&self) -> usize {
        self.heap.capacity() * size_of::<Reverse<(V, HeapEntry)>>()
    }

    /// Adds an entry. `value` returns the current value of an entry, `None` if it was removed;
    /// `live` is the number of entries not removed: the heap holds at most about twice as many.
    pub fn push(&mut self, entry: HeapEntry, live: usize, value: impl Fn(HeapEntry) -> Option<V>) {
        if self.heap.len() > 2 * live + SLACK {
            self.rebuild(&value);
        }
        if let Some(v) = value(entry) {
            self.heap.push(Reverse((v, entry)));
        }
    }

    /// Returns the entry with the least value, if that is below `bound`.
    pub fn below(&mut self, bound: V, value: impl Fn(HeapEntry) -> Option<V>) -> Option<HeapEntry> {
        self.find(|v| v < bound, value)
    }

    /// Returns the entry with the least value.
    pub fn least(&mut self, value: impl Fn(HeapEntry) -> Option<V>) -> Option<HeapEntry> {
        self.find(|_| true, value)
    }

    fn find(
        &mut self,
        wanted: impl Fn(V) -> bool,
        value: impl Fn(HeapEntry) -> Option<V>,
    ) -> Option<HeapEntry> {
        loop {
            let mut top = self.heap.peek_mut()?;
            let Reverse((noted, entry)) = *top;
            if !wanted(noted) {
                return None;
            }
            match value(entry) {
                None => drop(PeekMut::pop(top)),
                Some(v) if v > noted => *top = Reverse((v, entry)),
                Some(_) => return Some(entry),
            }
        }
    }

    /// Rebuilds the heap with the current values, after some of them fell; drops removed entries.
    pub fn rebuild(&mut self, value: impl Fn(HeapEntry) -> Option<V>) {
        let mut entries = std::mem::take(&mut self.heap).into_vec();
        entries.retain_mut(|Reverse((noted, entry))| match value(*entry) {
            Some(v) => {
                *noted = v;
                true
            }
            None => false,
        });
        if entries.capacity() > SLACK.max(4 * entries.len()) {
            entries.shrink_to(2 * entries.len());
        }
        self.heap = entries.into();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[derive(Clone, Debug)]
    enum Op {
        Grow(usize, u64),
        Replace(usize, u64),
        Leave(usize),
        Fall(u64),
        Ask(u64),
    }

    fn op() -> impl Strategy<Value = Op> {
        prop_oneof![
            4 => (0..8usize, 0..50u64).prop_map(|(i, n)| Op::Grow(i, n)),
            2 => (0..8usize, 0..50u64).prop_map(|(i, n)| Op::Replace(i, n)),
            1 => (0..8usize).prop_map(Op::Leave),
            1 => (1..4u64).prop_map(Op::Fall),
            3 => (0..200u64).prop_map(Op::Ask),
        ]
    }

    proptest! {
        #[test]
        fn always_names_the_least(ops in prop::collection::vec(op(), 1..400)) {
            let mut slots: [Option<(u64, u64)>; 8] = [None; 8];
            let (mut least, mut serial) = (LazyMinHeap::new(), 0);
            for op in ops {
                match op {
                    Op::Grow(i, n) => {
                        if let Some((_, v)) = &mut slots[i] { *v += n }
                    }
                    Op::Replace(i, n) => {
                        serial += 1;
                        slots[i] = Some((serial, n));
                        let live = slots.iter().flatten().count();
                        let entry = HeapEntry { slot: i as u32, serial };
                        least.push(entry, live, |t| value(&slots, t));
                        prop_assert!(least.heap.len() <= 2 * live + SLACK + 1);
                    }
                    Op::Leave(i) => slots[i] = None,
                    Op::Fall(by) => {
                        for (_, v) in slots.iter_mut().flatten() { *v /= by }
                        least.rebuild(|t| value(&slots, t));
                    }
                    Op::Ask(bound) => {
                        let expected = slots.iter().flatten().map(|&(_, v)| v).min().filter(|&v| v < bound);
                        let found = least.below(bound, |t| value(&slots, t));
                        prop_assert_eq!(found.and_then(|t| value(&slots, t)), expected);
                        let expected = slots.iter().flatten().map(|&(_, v)| v).min();
                        let found = least.least(|t| value(&slots, t));
                        prop_assert_eq!(found.and_then(|t| value(&slots, t)), expected);
                    }
                }
            }
        }
    }

    fn value(slots: &[Option<(u64, u64)>], entry: HeapEntry) -> Option<u64> {
        let (serial, v) = slots[entry.slot as usize]?;
        (serial == entry.serial).then_some(v)
    }
}
