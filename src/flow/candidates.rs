// SPDX-License-Identifier: AGPL-3.0-only
//! Remembers, in bounded memory, what label sets without a series carried lately.
//!
//! This is "space saving" (Metwally, Agrawal, El Abbadi 2005) over a sliding window: a newcomer takes
//! the place that carried least, and the place goes on from what it had, so that a flood of sets
//! seen once cannot push out one that is seen often: any set with more than its share (one in the
//! number of places) of the traffic stays. What a tenant itself carried is kept apart, and only that
//! speaks for it when it asks for a series.

use super::labels::SetId;
use super::least::{Least, Tenant};
use super::recent::Recent;
use crate::types::slab::Slab;

#[derive(Debug)]
pub struct Candidates {
    places: Slab<Place>,
    least: Least<u64>,
    capacity: usize,
    serial: u64,
}

#[derive(Debug)]
struct Place {
    set: SetId,
    /// What the tenant carried.
    own: Recent,
    /// What the place carried, under all its tenants.
    all: Recent,
    serial: u64,
}

impl Candidates {
    pub fn new(capacity: usize) -> Self {
        Self {
            places: Slab::default(),
            least: Least::new(),
            capacity,
            serial: 0,
        }
    }

    /// What the tenant of a place carried in the last minutes.
    pub fn carried(&self, place: u32, minute: u32) -> u64 {
        self.places[place].own.sum(minute)
    }

    pub fn add(&mut self, place: u32, minute: u32, bytes: u64) {
        let place = &mut self.places[place];
        place.own.add(minute, bytes);
        place.all.add(minute, bytes);
    }

    /// Finds a place for a set that has none, and tells which set lost it.
    pub fn insert(&mut self, set: SetId, own: Recent, minute: u32) -> (u32, Option<SetId>) {
        if self.places.len() >= self.capacity
            && let Some(Tenant { slot, .. }) =
                self.least.least(|t| carried(&self.places, t, minute))
        {
            let place = &mut self.places[slot];
            let ousted = std::mem::replace(&mut place.set, set);
            place.own = own;
            place.all.merge(minute, own);
            return (slot, Some(ousted));
        }
        self.serial += 1;
        let serial = self.serial;
        let all = own;
        let slot = self.places.insert(Place {
            set,
            own,
            all,
            serial,
        });
        let live = self.places.len();
        self.least.push(Tenant { slot, serial }, live, |t| {
            carried(&self.places, t, minute)
        });
        (slot, None)
    }

    /// Gives up a place, and returns what its tenant carried.
    pub fn vacate(&mut self, place: u32) -> Recent {
        self.places
            .remove(place)
            .map_or(Recent::default(), |p| p.own)
    }

    /// A minute has passed: places that carried nothing in the window are given up, their sets returned.
    pub fn turn(&mut self, minute: u32) -> Vec<SetId> {
        let silent: Vec<(u32, SetId)> = self
            .places
            .iter()
            .filter(|(_, p)| p.own.sum(minute) == 0)
            .map(|(slot, p)| (slot, p.set))
            .collect();
        for (slot, _) in &silent {
            self.places.remove(*slot);
        }
        self.least.rebuild(|t| carried(&self.places, t, minute));
        silent.into_iter().map(|(_, set)| set).collect()
    }
}

fn carried(places: &Slab<Place>, tenant: Tenant, minute: u32) -> Option<u64> {
    let place = places.get(tenant.slot)?;
    (place.serial == tenant.serial).then(|| place.all.sum(minute))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn carrying(bytes: u64) -> Recent {
        let mut recent = Recent::default();
        recent.add(0, bytes);
        recent
    }

    #[test]
    fn the_place_goes_on_and_its_tenant_begins_anew() {
        let mut candidates = Candidates::new(2);
        let (a, none) = candidates.insert(SetId(1), carrying(100), 0);
        assert_eq!(none, None);
        candidates.insert(SetId(2), carrying(150), 0);
        // The third takes the place of the first, the fourth that of the second: 160 is more than 150.
        let (place, ousted) = candidates.insert(SetId(3), carrying(60), 0);
        assert_eq!((place, ousted), (a, Some(SetId(1))));
        let (_, ousted) = candidates.insert(SetId(4), carrying(60), 0);
        assert_eq!(ousted, Some(SetId(2)));
        candidates.add(place, 0, 7);
        assert_eq!(candidates.carried(place, 0), 67);
        assert_eq!(candidates.vacate(place).sum(0), 67);
    }

    #[test]
    fn silence_frees_places() {
        let mut candidates = Candidates::new(2);
        candidates.insert(SetId(1), carrying(100), 0);
        let (place, _) = candidates.insert(SetId(2), carrying(100), 0);
        candidates.add(place, 5, 1);
        assert_eq!(candidates.turn(5), []);
        assert_eq!(candidates.turn(6), [SetId(1)]);
        assert_eq!(candidates.insert(SetId(3), carrying(1), 6).1, None);
    }
}
