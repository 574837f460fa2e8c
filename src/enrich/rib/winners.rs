// SPDX-License-Identifier: AGPL-3.0-only
//! Best paths that lookups have found, where several peers have a say: the next lookup of the same
//! prefix costs no more than with one peer.

use std::sync::atomic::{AtomicU32, Ordering};

use super::attributes::AttributesId;
use super::peer::TableId;
use super::prefix::Family;

const UNKNOWN: u32 = 0;
/// None of the peers has a route.
const NOBODY: u32 = u32::MAX;

/// By table, family and prefix number. Lookups fill it in while others read; whoever changes a route
/// of a prefix forgets the winner, before the next lookup.
#[derive(Debug)]
pub struct Winners(Vec<[Vec<AtomicU32>; 2]>);

impl Winners {
    pub fn new(tables: usize) -> Self {
        Self((0..tables).map(|_| Default::default()).collect())
    }

    /// Keeps winners of prefixes with numbers below `universe`; 0 keeps none.
    pub fn fit(&mut self, table: usize, family: Family, universe: usize) {
        let winners = &mut self.0[table][family as usize];
        if universe == 0 {
            *winners = Vec::new();
        } else if winners.len() < universe {
            winners.resize_with(universe, AtomicU32::default);
        }
    }

    pub fn clear(&mut self) {
        for winners in self.0.iter_mut().flatten() {
            *winners = Vec::new();
        }
    }

    pub fn forget(&mut self, family: Family, prefix: u32) {
        for table in &mut self.0 {
            if let Some(winner) = table[family as usize].get_mut(prefix as usize) {
                *winner.get_mut() = UNKNOWN;
            }
        }
    }

    /// What is known of a prefix, or else what `find` finds.
    pub fn get_or(
        &self,
        table: TableId,
        family: Family,
        prefix: u32,
        find: impl FnOnce() -> Option<AttributesId>,
    ) -> Option<AttributesId> {
        let winners = &self.0[usize::from(table.0)][family as usize];
        let Some(winner) = winners.get(prefix as usize) else {
            return find();
        };
        // nothing else is published with it: the Rib itself is under a lock
        match winner.load(Ordering::Relaxed) {
            UNKNOWN => {
                let found = find();
                winner.store(found.map_or(NOBODY, |id| id.0), Ordering::Relaxed);
                found
            }
            NOBODY => None,
            id => Some(AttributesId(id)),
        }
    }
}
