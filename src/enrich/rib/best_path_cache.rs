// SPDX-License-Identifier: AGPL-3.0-only
//! Caches the best route of each prefix and rank, if several route tables hold routes: a lookup costs the
//! same with one peer and with thousands.
//!
//! The first lookup after a change runs the decision process on the routes of the prefix. A change of a
//! route invalidates the best path of its prefix. A change that may concern any prefix begins a new epoch,
//! in constant time: a page of an earlier epoch is cleared when it is next read.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use super::attribute_interner::AttributesId;
use super::peer::TableId;
use super::prefix::Family;
use super::rank::RANKS;

const UNKNOWN: u32 = 0;
/// No peer of the rank has a route.
const NO_ROUTE: u32 = u32::MAX;

/// Number of prefixes of a page: small enough for a lookup to clear it.
const PAGE: usize = 1 << 8;

/// The best paths by table, family and rank.
#[derive(Debug)]
pub struct BestPathCache {
    rank_caches: Vec<[[RankCache; RANKS]; 2]>,
    epoch: u32,
}

/// The best paths by prefix number; without pages none is cached.
#[derive(Debug, Default)]
struct RankCache(Vec<CachePage>);

#[derive(Debug, Default)]
struct CachePage {
    /// The epoch of its best paths.
    epoch: AtomicU32,
    best_paths: OnceLock<Box<[AtomicU32; PAGE]>>,
}

/// The best path of one prefix, if there is memory for it.
pub struct BestPathSlot<'a>(Option<&'a AtomicU32>);

impl BestPathCache {
    pub fn new(tables: usize) -> Self {
        Self {
            rank_caches: (0..tables).map(|_| Default::default()).collect(),
            epoch: 0,
        }
    }

    /// Provides memory for best paths of these ranks, of prefixes with numbers below `universe`.
    pub fn reserve(
        &mut self,
        table: TableId,
        family: Family,
        wanted: [bool; RANKS],
        universe: usize,
    ) {
        let rank_caches = &mut self.rank_caches[usize::from(table.0)][family as usize];
        for (RankCache(pages), wanted) in rank_caches.iter_mut().zip(wanted) {
            if wanted && pages.len() * PAGE < universe {
                pages.resize_with(universe.div_ceil(PAGE), CachePage::default);
            }
        }
    }

    /// Frees the memory of a table and family whose best paths lookups no longer read. This is not done
    /// immediately: the second of two peers may only be flapping.
    pub fn free(&mut self, table: TableId, family: Family) {
        self.rank_caches[usize::from(table.0)][family as usize] = Default::default();
    }

    /// Invalidates all best paths.
    pub fn invalidate_all(&mut self) {
        self.epoch = self.epoch.wrapping_add(1);
    }

    /// Invalidates the best paths of a prefix.
    pub fn invalidate(&mut self, family: Family, prefix: u32) {
        for table in &mut self.rank_caches {
            for RankCache(pages) in &mut table[family as usize] {
                let page = pages.get_mut(prefix as usize / PAGE);
                if let Some(best_paths) = page.and_then(|page| page.best_paths.get_mut()) {
                    *best_paths[prefix as usize % PAGE].get_mut() = UNKNOWN;
                }
            }
        }
    }

    /// Returns the slot of the best path of a prefix and rank.
    #[inline]
    pub fn slot(
        &self,
        table: TableId,
        family: Family,
        rank: usize,
        prefix: u32,
    ) -> BestPathSlot<'_> {
        let RankCache(pages) = &self.rank_caches[usize::from(table.0)][family as usize][rank];
        let page = pages.get(prefix as usize / PAGE);
        BestPathSlot(page.map(|page| &page.of_epoch(self.epoch)[prefix as usize % PAGE]))
    }
}

impl CachePage {
    #[inline]
    fn of_epoch(&self, epoch: u32) -> &[AtomicU32; PAGE] {
        let best_paths = self
            .best_paths
            .get_or_init(|| Box::new([const { AtomicU32::new(UNKNOWN) }; PAGE]));
        // A thread that reads the new epoch also reads the cleared page. If two threads clear it at once, the
        // second may clear best paths that were stored since: the next lookup decides again.
        if self.epoch.load(Ordering::Acquire) != epoch {
            best_paths
                .iter()
                .for_each(|best_path| best_path.store(UNKNOWN, Ordering::Relaxed));
            self.epoch.store(epoch, Ordering::Release);
        }
        best_paths
    }
}

impl BestPathSlot<'_> {
    /// Returns the best path, or `None` if it is unknown.
    #[inline]
    pub fn get(&self) -> Option<Option<AttributesId>> {
        // nothing else is published with it: the Rib itself is under a lock
        match self.0?.load(Ordering::Relaxed) {
            UNKNOWN => None,
            NO_ROUTE => Some(None),
            id => Some(Some(AttributesId(id))),
        }
    }

    pub fn set(&self, best_path: Option<AttributesId>) {
        if let Some(slot) = self.0 {
            slot.store(best_path.map_or(NO_ROUTE, |id| id.0), Ordering::Relaxed);
        }
    }
}
