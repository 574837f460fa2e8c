// SPDX-License-Identifier: AGPL-3.0-only
//! Remembers, in bounded memory, what flows without a series carried lately.
//!
//! This is "space saving" (Metwally, Agrawal, El Abbadi 2005) over a sliding window: a newcomer takes
//! the place that carried least, and the place goes on from what it had, so that a flood of sets
//! seen once cannot push out one that is seen often: any set with more than its share (one in the
//! number of places) of the traffic stays. What a tenant itself carried is kept apart, and only that
//! speaks for it when it asks for a series.

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
    /// What the tenant carried.
    own: SlidingWindow,
    /// What the place carried, under all its tenants.
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

    /// What the tenant of a place carried in the last minutes.
    pub fn carried(&self, candidate: u32, minute: u32) -> u64 {
        self.slots[candidate].own.sum(minute)
    }

    pub fn add(&mut self, candidate: u32, minute: u32, bytes: u64) {
        let candidate = &mut self.slots[candidate];
        candidate.own.add(minute, bytes);
        candidate.all.add(minute, bytes);
    }

    /// Finds a place for a set that has none, and tells which set lost it.
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

    /// Gives up a place, and returns what its tenant carried.
    pub fn vacate(&mut self, candidate: u32) -> SlidingWindow {
        self.slots
            .remove(candidate)
            .map_or(SlidingWindow::default(), |p| p.own)
    }

    /// A minute has passed: places that carried nothing in the window are given up, their sets returned.
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
        // The third takes the place of the first, the fourth that of the second: 160 is more than 150.
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
