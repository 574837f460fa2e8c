// SPDX-License-Identifier: AGPL-3.0-only
//! Answers of the RIB for the addresses asked last: many flows are between addresses that others have,
//! too, and a table of a million prefixes does not fit the processor's cache. (Pure.)

use std::net::IpAddr;

use super::rib::{Route, TableId};

/// Addresses; some 300 kB. A power of two.
const PLACES: usize = 1 << 12;

/// Each address has one place, and the newer takes it.
#[derive(Debug, Default)]
pub struct Recent {
    /// Empty until there is something to remember.
    places: Vec<Option<Answer>>,
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
    /// The answer of this generation, which may be that there is no route.
    pub fn get(&self, address: IpAddr, table: TableId, generation: u32) -> Option<Option<Route>> {
        let answer = self.places.get(place(address))?.as_ref()?;
        (answer.address == address && answer.table == table && answer.generation == generation)
            .then_some(answer.route)
    }

    pub fn put(&mut self, address: IpAddr, table: TableId, generation: u32, route: Option<Route>) {
        if self.places.is_empty() {
            self.places = vec![None; PLACES];
        }
        self.places[place(address)] = Some(Answer {
            address,
            table,
            generation,
            route,
        });
    }
}

/// Who makes addresses collide gains nothing but lookups that take their ordinary time.
fn place(address: IpAddr) -> usize {
    const ODD: u64 = 0x9e37_79b9_7f4a_7c15;
    let bits = match address {
        IpAddr::V4(address) => u64::from(address.to_bits()),
        IpAddr::V6(address) => {
            let bits = address.to_bits();
            (bits >> 64) as u64 ^ (bits as u64).wrapping_mul(ODD)
        }
    };
    (bits.wrapping_mul(ODD) >> (64 - PLACES.ilog2())) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    const GLOBAL: TableId = TableId::GLOBAL;

    fn route(origin_asn: u32) -> Option<Route> {
        Some(Route {
            origin_asn,
            ..Route::default()
        })
    }

    #[test]
    fn an_answer_holds_for_its_generation() {
        let mut recent = Recent::default();
        let [one, two] = [1, 2].map(|n| IpAddr::from([10, 0, 0, n]));
        assert_eq!(recent.get(one, GLOBAL, 1), None);
        recent.put(one, GLOBAL, 1, route(5));
        recent.put(two, GLOBAL, 1, None);
        assert_eq!(recent.get(one, GLOBAL, 1), Some(route(5)));
        assert_eq!(recent.get(two, GLOBAL, 1), Some(None));
        assert_eq!(recent.get(one, GLOBAL, 2), None);
        let mapped = "::ffff:10.0.0.1".parse().unwrap();
        assert_eq!(recent.get(mapped, GLOBAL, 1), None);
    }

    #[test]
    fn more_addresses_than_places_are_answered_rightly_or_not_at_all() {
        let mut recent = Recent::default();
        let address = |n: u32| match n % 2 {
            0 => IpAddr::from(n.to_be_bytes()),
            _ => IpAddr::from((u128::from(n) << 64).to_be_bytes()),
        };
        let all = 0..3 * PLACES as u32;
        all.clone()
            .for_each(|n| recent.put(address(n), GLOBAL, 1, route(n)));
        let mut found = 0;
        for n in all {
            if let Some(answer) = recent.get(address(n), GLOBAL, 1) {
                assert_eq!(answer, route(n));
                found += 1;
            }
        }
        assert!((PLACES / 2..=PLACES).contains(&found), "{found}");
        assert_eq!(recent.places.len(), PLACES);
    }
}
