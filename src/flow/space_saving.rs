// SPDX-License-Identifier: AGPL-3.0-only
//! Stores, in bounded memory, the recent traffic of sets without a series.
//!
//! This is "space saving" (Metwally, Agrawal, El Abbadi 2005) over a sliding window: a new set
//! takes the slot with the least traffic, and the slot keeps its previous traffic. A flood of sets
//! seen once can therefore not evict one that is seen often: any set with more than its share (one
//! in the number of slots) of the traffic stays. The traffic of the set itself is stored
//! separately; only that counts when the set competes for a series.

use super::labels::SetId;
use super::lazy_min_heap::{HeapEntry, LazyMinHeap};
use super::sliding_window::SlidingWindow;
use crate::types::slab::Slab;

#[derive(Debug)]
pub struct SpaceSaving {
    slots: Slab<CandidateSlot>,
    least: LazyMinHeap<u64>,
    capacity: usize,
    serial: u64,
}

#[derive(Debug)]
struct CandidateSlot {
    set: SetId,
    /// The traffic of the current set.
    own: SlidingWindow,
    /// The traffic of the slot, over all its sets.
    all: SlidingWindow,
    serial: u64,
}

impl SpaceSaving {
    pub fn new(capacity: usize) -> Self {
        Self {
            slots: Slab::default(),
            least: LazyMinHeap::new(),
            capacity,
            serial: 0,
        }
    }

    /// Returns the traffic of the current set of a slot in the last minutes.
    pub fn carried(&self, candidate: u32, minute: u32) -> u64 {
        self.slots[candidate].own.sum(minute)
    }

    pub fn add(&mut self, candidate: u32, minute: u32, bytes: u64) {
        let candidate = &mut self.slots[candidate];
        candidate.own.add(minute, bytes);
        candidate.all.add(minute, bytes);
    }

    /// Assigns a slot to a set that has none. Returns the slot, and the set that was evicted from
    /// it.
    pub fn insert(&mut self, set: SetId, own: SlidingWindow, minute: u32) -> (u32, Option<SetId>) {
        if self.slots.len() >= self.capacity
            && let Some(HeapEntry { slot, .. }) =
                self.least.least(|t| carried(&self.slots, t, minute))
        {
            let candidate = &mut self.slots[slot];
            let ousted = std::mem::replace(&mut candidate.set, set);
            candidate.own = own;
            candidate.all.merge(minute, own);
            return (slot, Some(ousted));
        }
        self.serial += 1;
        let serial = self.serial;
        let all = own;
        let slot = self.slots.insert(CandidateSlot {
            set,
            own,
            all,
            serial,
        });
        let live = self.slots.len();
        self.least.push(HeapEntry { slot, serial }, live, |t| {
            carried(&self.slots, t, minute)
        });
        (slot, None)
    }

    /// Frees a slot and returns the traffic of its set.
    pub fn vacate(&mut self, candidate: u32) -> SlidingWindow {
        self.slots
            .remove(candidate)
            .map_or(SlidingWindow::default(), |p| p.own)
    }

    /// Advances to a new minute: frees the slots without traffic in the window and returns their
    /// sets.
    pub fn advance(&mut self, minute: u32) -> Vec<SetId> {
        let silent: Vec<(u32, SetId)> = self
            .slots
            .iter()
            .filter(|(_, p)| p.own.sum(minute) == 0)
            .map(|(slot, p)| (slot, p.set))
            .collect();
        for (slot, _) in &silent {
            self.slots.remove(*slot);
        }
        self.least.rebuild(|t| carried(&self.slots, t, minute));
        silent.into_iter().map(|(_, set)| set).collect()
    }
}

fn carried(slots: &Slab<CandidateSlot>, entry: HeapEntry, minute: u32) -> Option<u64> {
    let candidate = slots.get(entry.slot)?;
    (candidate.serial == entry.serial).then(|| candidate.all.sum(minute))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn carrying(bytes: u64) -> SlidingWindow {
        let mut recent = SlidingWindow::default();
        recent.add(0, bytes);
        recent
    }

    #[test]
    fn the_place_goes_on_and_its_tenant_begins_anew() {
        let mut candidates = SpaceSaving::new(2);
        let (a, none) = candidates.insert(SetId(1), carrying(100), 0);
        assert_eq!(none, None);
        candidates.insert(SetId(2), carrying(150), 0);
        // The third set takes the slot of the first, the fourth that of the second: 160 is more
        // than 150.
        let (candidate, ousted) = candidates.insert(SetId(3), carrying(60), 0);
        assert_eq!((candidate, ousted), (a, Some(SetId(1))));
        let (_, ousted) = candidates.insert(SetId(4), carrying(60), 0);
        assert_eq!(ousted, Some(SetId(2)));
        candidates.add(candidate, 0, 7);
        assert_eq!(candidates.carried(candidate, 0), 67);
        assert_eq!(candidates.vacate(candidate).sum(0), 67);
    }

    #[test]
    fn silence_frees_places() {
        let mut candidates = SpaceSaving::new(2);
        candidates.insert(SetId(1), carrying(100), 0);
        let (candidate, _) = candidates.insert(SetId(2), carrying(100), 0);
        candidates.add(candidate, 5, 1);
        assert_eq!(candidates.advance(5), []);
        assert_eq!(candidates.advance(6), [SetId(1)]);
        assert_eq!(candidates.insert(SetId(3), carrying(1), 6).1, None);
    }
}
