// SPDX-License-Identifier: AGPL-3.0-only
//! The best route of each prefix and rank, if several route tables hold routes: a lookup costs the same
//! with one peer and with thousands.
//!
//! The first lookup after a change runs the decision process on the routes of the prefix. A change of a
//! route forgets the winner of its prefix. A change that may concern any prefix begins a new epoch, in
//! constant time: a page of an earlier epoch is cleared when it is next read.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use super::attributes::AttributesId;
use super::lookup::RANKS;
use super::peer::TableId;
use super::prefix::Family;

const UNKNOWN: u32 = 0;
/// No peer of the rank has a route.
const NOBODY: u32 = u32::MAX;

/// Prefixes of a page: so few that a lookup can clear it.
const PAGE: usize = 1 << 8;

/// By table, family and rank.
#[derive(Debug)]
pub struct Winners {
    boards: Vec<[[Board; RANKS]; 2]>,
    epoch: u32,
}

/// Winners by prefix number; without pages none is kept.
#[derive(Debug, Default)]
struct Board(Vec<Page>);

#[derive(Debug, Default)]
struct Page {
    /// The epoch of its winners.
    epoch: AtomicU32,
    winners: OnceLock<Box<[AtomicU32; PAGE]>>,
}

/// The winner of one prefix, if there is memory for it.
pub struct Slot<'a>(Option<&'a AtomicU32>);

impl Winners {
    pub fn new(tables: usize) -> Self {
        Self {
            boards: (0..tables).map(|_| Default::default()).collect(),
            epoch: 0,
        }
    }

    /// Provides memory for winners of these ranks, of prefixes with numbers below `universe`.
    pub fn fit(&mut self, table: TableId, family: Family, wanted: [bool; RANKS], universe: usize) {
        let boards = &mut self.boards[usize::from(table.0)][family as usize];
        for (Board(pages), wanted) in boards.iter_mut().zip(wanted) {
            if wanted && pages.len() * PAGE < universe {
                pages.resize_with(universe.div_ceil(PAGE), Page::default);
            }
        }
    }

    /// Gives the memory back of a table and family that lookups no longer ask for winners. Not done at once:
    /// the second of two peers may only flap.
    pub fn drop(&mut self, table: TableId, family: Family) {
        self.boards[usize::from(table.0)][family as usize] = Default::default();
    }

    /// Forgets all of them.
    pub fn forget_all(&mut self) {
        self.epoch = self.epoch.wrapping_add(1);
    }

    /// Forgets those of a prefix.
    pub fn forget(&mut self, family: Family, prefix: u32) {
        for table in &mut self.boards {
            for Board(pages) in &mut table[family as usize] {
                let page = pages.get_mut(prefix as usize / PAGE);
                if let Some(winners) = page.and_then(|page| page.winners.get_mut()) {
                    *winners[prefix as usize % PAGE].get_mut() = UNKNOWN;
                }
            }
        }
    }

    /// Returns the place of the winner of a prefix and rank.
    #[inline]
    pub fn slot(&self, table: TableId, family: Family, rank: usize, prefix: u32) -> Slot<'_> {
        let Board(pages) = &self.boards[usize::from(table.0)][family as usize][rank];
        let page = pages.get(prefix as usize / PAGE);
        Slot(page.map(|page| &page.of_epoch(self.epoch)[prefix as usize % PAGE]))
    }
}

impl Page {
    #[inline]
    fn of_epoch(&self, epoch: u32) -> &[AtomicU32; PAGE] {
        let winners = self
            .winners
            .get_or_init(|| Box::new([const { AtomicU32::new(UNKNOWN) }; PAGE]));
        // A thread that reads the new epoch also reads the cleared page. If two threads clear it at once, the
        // second may clear winners that were stored since: the next lookup decides again.
        if self.epoch.load(Ordering::Acquire) != epoch {
            winners
                .iter()
                .for_each(|winner| winner.store(UNKNOWN, Ordering::Relaxed));
            self.epoch.store(epoch, Ordering::Release);
        }
        winners
    }
}

impl Slot<'_> {
    /// `None` if it is not known.
    #[inline]
    pub fn get(&self) -> Option<Option<AttributesId>> {
        // nothing else is published with it: the Rib itself is under a lock
        match self.0?.load(Ordering::Relaxed) {
            UNKNOWN => None,
            NOBODY => Some(None),
            id => Some(Some(AttributesId(id))),
        }
    }

    pub fn set(&self, winner: Option<AttributesId>) {
        if let Some(slot) = self.0 {
            slot.store(winner.map_or(NOBODY, |id| id.0), Ordering::Relaxed);
        }
    }
}
