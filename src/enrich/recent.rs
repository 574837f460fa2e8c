// SPDX-License-Identifier: AGPL-3.0-only
//! Answers of the RIB for the addresses asked last: of most flows at least one end is an address that
//! many others have, and a table of a million prefixes does not fit the processor's cache. (Pure.)

use std::hash::BuildHasher;
use std::net::IpAddr;

use foldhash::fast::RandomState;

use super::rib::{Route, TableId};

/// Addresses; some 150 kB.
const PLACES: usize = 1 << 11;

/// Each address has one place, and the newer takes it.
#[derive(Debug, Default)]
pub struct Recent {
    /// Empty until there is something to remember.
    places: Vec<Option<Answer>>,
    hasher: RandomState,
}

#[derive(Clone, Copy, Debug)]
struct Answer {
    address: IpAddr,
    table: TableId,
    /// The RIB's when this was its answer.
    generation: u32,
    route: Option<Route>,
}

impl Recent {
    /// What is remembered, or else what `find` finds.
    pub fn get_or(
        &mut self,
        address: IpAddr,
        table: TableId,
        generation: u32,
        find: impl FnOnce() -> Option<Route>,
    ) -> Option<Route> {
        if generation == 0 {
            // there never was a route
            return find();
        }
        if self.places.is_empty() {
            self.places = vec![None; PLACES];
        }
        let hash = self.hasher.hash_one((address, table));
        let place = &mut self.places[hash as usize % PLACES];
        if let Some(held) = place
            && held.address == address
            && held.table == table
            && held.generation == generation
        {
            return held.route;
        }
        let route = find();
        *place = Some(Answer {
            address,
            table,
            generation,
            route,
        });
        route
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_holds_until_the_next_generation() {
        let mut recent = Recent::default();
        let mut asked = 0;
        let mut ask = |address: [u8; 4], generation, origin_asn| {
            let route = Route {
                origin_asn,
                ..Route::default()
            };
            let found = recent.get_or(address.into(), TableId::GLOBAL, generation, || {
                asked += 1;
                Some(route)
            });
            found.map_or(0, |route| route.origin_asn)
        };
        assert_eq!(ask([10, 0, 0, 1], 0, 1), 1);
        assert_eq!(ask([10, 0, 0, 1], 0, 2), 2, "nothing to remember yet");
        assert_eq!(ask([10, 0, 0, 1], 1, 3), 3);
        assert_eq!(ask([10, 0, 0, 1], 1, 4), 3);
        assert_eq!(ask([10, 0, 0, 2], 1, 5), 5);
        assert_eq!(ask([10, 0, 0, 1], 2, 6), 6);
        assert_eq!(asked, 5);
    }

    #[test]
    fn more_addresses_than_places_are_answered_rightly() {
        let mut recent = Recent::default();
        for _ in 0..2 {
            for n in 0..3 * PLACES as u32 {
                let route = Route {
                    origin_asn: n,
                    ..Route::default()
                };
                let address = IpAddr::from(n.to_be_bytes());
                let found = recent.get_or(address, TableId::GLOBAL, 1, || Some(route));
                assert_eq!(found, Some(route));
            }
        }
        assert_eq!(recent.places.len(), PLACES);
    }
}
