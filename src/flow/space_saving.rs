// SPDX-License-Identifier: AGPL-3.0-only
//! Counts the keys with most traffic, in a fixed number of counters.
//!
//! This is "space saving" (Metwally, Agrawal, El Abbadi 2005): a new key takes the counter with the
//! least traffic, and the counter keeps its previous traffic. A flood of keys seen once can therefore
//! not evict one that is seen often: a key with more than its share (one in the number of counters)
//! of the traffic stays. The owner stores the traffic of the key itself in the occupant: it is too low
//! by at most the traffic that the counter had before, which is at most that share.
//!
//! The traffic of a counter is a sum since its creation, or that of a sliding window.

use super::lazy_min_heap::{HeapEntry, LazyMinHeap};
use super::sliding_window::SlidingWindow;
use crate::types::slab::Slab;

/// The traffic of a counter, over all its occupants.
pub trait CounterTraffic: Copy + Default {
    fn sum(self, minute: u32) -> u64;
    fn merge(&mut self, minute: u32, other: Self);
}

impl CounterTraffic for SlidingWindow {
    fn sum(self, minute: u32) -> u64 {
        SlidingWindow::sum(self, minute)
    }

    fn merge(&mut self, minute: u32, other: Self) {
        SlidingWindow::merge(self, minute, other);
    }
}

/// Bytes since the counter was created.
impl CounterTraffic for u64 {
    fn sum(self, _: u32) -> u64 {
        self
    }

    fn merge(&mut self, _: u32, other: Self) {
        *self = self.saturating_add(other);
    }
}

#[derive(Debug)]
pub struct SpaceSaving<T, W> {
    counters: Slab<SharedCounter<T, W>>,
    least: LazyMinHeap<u64>,
    capacity: usize,
    serial: u64,
}

#[derive(Debug)]
struct SharedCounter<T, W> {
    occupant: T,
    all: W,
    serial: u64,
}

impl<T, W: CounterTraffic> SpaceSaving<T, W> {
    pub fn new(capacity: usize) -> Self {
        Self {
            counters: Slab::default(),
            least: LazyMinHeap::new(),
            capacity,
            serial: 0,
        }
    }

    /// Returns an occupant and the traffic of its counter, to add to both.
    pub fn get_mut(&mut self, at: u32) -> (&mut T, &mut W) {
        let counter = &mut self.counters[at];
        (&mut counter.occupant, &mut counter.all)
    }

    pub fn get(&self, at: u32) -> &T {
        &self.counters[at].occupant
    }

    /// Returns the number, the occupant and the traffic of each counter.
    pub fn iter(&self) -> impl Iterator<Item = (u32, &T, W)> {
        let counters = self.counters.iter();
        counters.map(|(at, counter)| (at, &counter.occupant, counter.all))
    }

    pub fn occupants_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.counters.iter_mut().map(|(_, c)| &mut c.occupant)
    }

    /// Assigns a counter to an occupant that has none, and adds `traffic` to it. Returns the number of
    /// the counter, and the occupant that was evicted from it.
    pub fn insert(&mut self, occupant: T, traffic: W, minute: u32) -> (u32, Option<T>) {
        if self.counters.len() >= self.capacity
            && let Some(HeapEntry { slot, .. }) =
                self.least.least(|t| sum(&self.counters, t, minute))
        {
            let counter = &mut self.counters[slot];
            counter.all.merge(minute, traffic);
            let evicted = std::mem::replace(&mut counter.occupant, occupant);
            return (slot, Some(evicted));
        }
        self.serial += 1;
        let serial = self.serial;
        let slot = self.counters.insert(SharedCounter {
            occupant,
            all: traffic,
            serial,
        });
        let live = self.counters.len();
        self.least.push(HeapEntry { slot, serial }, live, |t| {
            sum(&self.counters, t, minute)
        });
        (slot, None)
    }

    /// Frees a counter and returns its occupant.
    pub fn remove(&mut self, at: u32) -> Option<T> {
        Some(self.counters.remove(at)?.occupant)
    }

    /// Advances to a new minute: frees the counters that `is_silent` selects, and returns their
    /// occupants.
    pub fn advance(&mut self, minute: u32, is_silent: impl Fn(&T, W) -> bool) -> Vec<T> {
        let counters = self.counters.iter();
        let silent: Vec<u32> = counters
            .filter(|(_, counter)| is_silent(&counter.occupant, counter.all))
            .map(|(at, _)| at)
            .collect();
        let removed = silent
            .into_iter()
            .filter_map(|at| self.remove(at))
            .collect();
        self.least.rebuild(|t| sum(&self.counters, t, minute));
        removed
    }

    /// Frees all counters.
    pub fn clear(&mut self) {
        let capacity = self.capacity;
        *self = Self::new(capacity);
    }

    /// Returns the memory of the counters.
    pub fn bytes(&self) -> usize {
        self.counters.bytes() + self.least.bytes()
    }
}

fn sum<T, W: CounterTraffic>(
    counters: &Slab<SharedCounter<T, W>>,
    entry: HeapEntry,
    minute: u32,
) -> Option<u64> {
    let counter = counters.get(entry.slot)?;
    (counter.serial == entry.serial).then(|| counter.all.sum(minute))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_counter_keeps_its_traffic_and_its_occupants_change() {
        let mut counters = SpaceSaving::new(2);
        let (a, none) = counters.insert('a', 100u64, 0);
        assert_eq!(none, None);
        counters.insert('b', 150, 0);
        // the third takes the counter of the first, the fourth that of the second: 160 is more than 150
        assert_eq!(counters.insert('c', 60, 0), (a, Some('a')));
        let (b, evicted) = counters.insert('d', 60, 0);
        assert_eq!(evicted, Some('b'));
        *counters.get_mut(a).1 += 7;
        let traffic: Vec<_> = counters.iter().map(|(_, key, all)| (*key, all)).collect();
        assert_eq!(traffic, [('c', 167), ('d', 210)]);
        assert_eq!(counters.remove(b), Some('d'));
        assert_eq!(counters.insert('e', 1, 0), (b, None));
    }

    #[test]
    fn a_window_frees_silent_counters() {
        let mut counters = SpaceSaving::new(2);
        let mut window = SlidingWindow::default();
        window.add(0, 100);
        counters.insert('a', window, 0);
        let (b, _) = counters.insert('b', window, 0);
        counters.get_mut(b).1.add(5, 1);
        let silent = |minute| move |_: &char, all: SlidingWindow| all.sum(minute) == 0;
        assert_eq!(counters.advance(5, silent(5)), []);
        assert_eq!(counters.advance(6, silent(6)), ['a']);
        // the counter of `b` has 1 byte in this window, and is not the one that is free
        assert_eq!(counters.insert('c', window, 6).1, None);
    }
}
