// SPDX-License-Identifier: AGPL-3.0-only
//! The route tables that hold a prefix: this index makes the cost of a decision depend on the routes of the
//! prefix and not on the number of peers.
//!
//! A large table is an array by prefix number. All large tables are searched: there are few of them, since
//! each holds at least one in 64 prefixes ([`super::route_table`]). The prefixes of all other tables are in
//! an index.

use std::collections::BTreeSet;

use crate::types::slab::Slab;

use super::attribute_interner::AttributesId;
use super::best_path_cache::BestPathCache;
use super::peer::{TableId, View};
use super::prefix::Family;
use super::route_table::{HolderId, PendingRemoval, RouteChange, RouteTable};

/// If a table has no more routes than this, the best paths of its prefixes are invalidated one by one: a
/// small peer that flaps does not invalidate all others.
const SMALL_TABLE: usize = 32;

/// The position of a route table in the Rib.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RouteTableKey {
    pub table: TableId,
    pub peer: u32,
    pub view: View,
    pub family: Family,
    /// The table belongs to a session that has ended.
    pub stale: bool,
}

#[derive(Debug)]
struct Holder {
    table_key: RouteTableKey,
    /// The index of the table among the large tables.
    large: Option<u32>,
    /// Number of its entries in the index. A table that becomes large keeps them.
    indexed: u32,
    pending_removal: bool,
}

/// The tables of one family and one routing table that hold something.
#[derive(Clone, Copy, Debug, Default)]
struct HolderCount {
    tables: u32,
    /// The exclusive or of the table numbers: with one table, its number.
    numbers: u32,
}

#[derive(Debug)]
pub struct Holders {
    entries: Slab<Holder>,
    /// By family.
    large: [Vec<HolderId>; 2],
    /// Prefix number and table, by family.
    index: [BTreeSet<(u32, HolderId)>; 2],
    /// By routing table and family.
    counts: Vec<[HolderCount; 2]>,
    pending_removal: Vec<PendingRemoval>,
    /// The routes in `pending_removal`, by family.
    pending_removal_routes: [usize; 2],
    /// Tables queued for removal that the Rib has not processed yet.
    queued_removals: Vec<RouteTableKey>,
    stale_routes: [usize; 2],
}

impl Holders {
    pub fn new(tables: usize) -> Self {
        Self {
            entries: Slab::default(),
            large: Default::default(),
            index: Default::default(),
            counts: vec![Default::default(); tables],
            pending_removal: Vec::new(),
            pending_removal_routes: [0; 2],
            queued_removals: Vec::new(),
            stale_routes: [0; 2],
        }
    }

    /// Returns the position of a table.
    pub fn table_key(&self, holder: HolderId) -> &RouteTableKey {
        &self.entries[holder.0].table_key
    }

    /// Returns the number of routes of ended sessions, by family.
    pub fn stale_routes(&self) -> [usize; 2] {
        self.stale_routes
    }

    /// Returns the number of routes in tables queued for removal, by family.
    pub fn pending_removal_routes(&self) -> [usize; 2] {
        self.pending_removal_routes
    }

    /// Returns the only table that holds routes, and whether several do.
    pub fn only(&self, table: TableId, family: Family) -> (Option<HolderId>, bool) {
        let count = self.counts[usize::from(table.0)][family as usize];
        let only = (count.tables == 1).then_some(HolderId(count.numbers));
        (only, count.tables > 1)
    }

    /// Returns the tables that may hold a prefix: all large ones, and those of the index.
    pub fn of(&self, family: Family, prefix: u32) -> impl Iterator<Item = HolderId> {
        let large = self.large[family as usize].iter();
        let range = (prefix, HolderId(0))..=(prefix, HolderId(u32::MAX));
        let indexed = self.index[family as usize].range(range);
        let indexed = indexed.map(|(_, holder)| holder).filter(|holder| {
            let entry = &self.entries[holder.0];
            !entry.pending_removal && entry.large.is_none()
        });
        large.chain(indexed).copied()
    }

    /// Records that a table received a route. Returns true if it was empty before.
    pub fn route_added(
        &mut self,
        routes: &mut RouteTable,
        table_key: RouteTableKey,
        prefix: u32,
        is_new: bool,
    ) -> bool {
        let opens = routes.holder.is_none();
        let holder = *routes.holder.get_or_insert_with(|| {
            self.counts[usize::from(table_key.table.0)][table_key.family as usize].tables += 1;
            HolderId(self.entries.insert(Holder {
                table_key,
                large: None,
                indexed: 0,
                pending_removal: false,
            }))
        });
        if opens {
            self.toggle(holder);
        }
        if routes.is_large() {
            self.make_large(holder);
        } else if is_new {
            self.insert(holder, prefix);
        }
        opens
    }

    /// Records that routes of a prefix were removed from a table. Returns true if it is now empty.
    pub fn routes_removed(
        &mut self,
        routes: &mut RouteTable,
        prefix: u32,
        change: &RouteChange,
    ) -> bool {
        let Some(holder) = routes.holder else {
            return false;
        };
        let table_key = *self.table_key(holder);
        if table_key.stale {
            self.stale_routes[table_key.family as usize] -= change.removed;
        }
        if !change.vanished {
            return false;
        }
        self.remove(holder, prefix);
        if routes.is_empty() {
            routes.holder = None;
            self.close(holder);
            self.entries.remove(holder.0);
            return true;
        }
        self.fit(routes);
        false
    }

    /// Records whether a table is large.
    pub fn fit(&mut self, routes: &RouteTable) {
        let Some(holder) = routes.holder else { return };
        let was_large = self.entries[holder.0].large.is_some();
        match routes.is_large() {
            true => self.make_large(holder),
            false if was_large => {
                self.make_small(holder);
                for prefix in routes.prefixes() {
                    self.insert(holder, prefix);
                }
            }
            false => {}
        }
    }

    /// Records that the session of a table ended.
    pub fn mark_stale(&mut self, routes: &RouteTable) {
        let Some(holder) = routes.holder else { return };
        let table_key = &mut self.entries[holder.0].table_key;
        table_key.stale = true;
        self.stale_routes[table_key.family as usize] += routes.len();
    }

    /// Excludes a table from lookups; its routes are removed step by step.
    pub fn queue_removal(&mut self, routes: RouteTable, best_paths: &mut BestPathCache) {
        let Some(holder) = routes.holder else { return };
        let table_key = *self.table_key(holder);
        if table_key.stale {
            self.stale_routes[table_key.family as usize] -= routes.len();
        }
        if routes.len() <= SMALL_TABLE {
            let prefixes = routes.prefixes();
            prefixes.for_each(|prefix| best_paths.invalidate(table_key.family, prefix));
        } else {
            best_paths.invalidate_all();
        }
        self.close(holder);
        self.entries[holder.0].pending_removal = true;
        self.pending_removal_routes[table_key.family as usize] += routes.len();
        self.pending_removal
            .push(routes.into_pending_removal(holder));
        self.queued_removals.push(table_key);
    }

    /// Returns the positions of the tables that were queued for removal since the last call.
    pub fn take_queued_removals(&mut self) -> Vec<RouteTableKey> {
        std::mem::take(&mut self.queued_removals)
    }

    /// Removes the paths to be removed of one prefix. Returns its family, its number, and the number of paths.
    pub fn pop(&mut self, released: impl FnMut(AttributesId)) -> Option<(Family, u32, usize)> {
        let pending_removal = self.pending_removal.last_mut()?;
        let holder = pending_removal.holder;
        let before = pending_removal.len();
        let prefix = pending_removal.pop(released)?;
        let popped = before - pending_removal.len();
        let is_empty = pending_removal.is_empty();
        let family = self.table_key(holder).family;
        self.pending_removal_routes[family as usize] -= popped;
        self.remove(holder, prefix);
        if is_empty {
            self.entries.remove(holder.0);
            self.pending_removal.pop();
        }
        Some((family, prefix, popped))
    }

    pub fn has_pending_removals(&self) -> bool {
        !self.pending_removal.is_empty()
    }

    /// Applies new numbers to the prefixes of a family.
    pub fn renumber(&mut self, family: Family, prefixes: &[u32]) {
        let index = &mut self.index[family as usize];
        let old = std::mem::take(index).into_iter();
        *index = old
            .map(|(prefix, holder)| (prefixes[prefix as usize], holder))
            .collect();
    }

    fn insert(&mut self, holder: HolderId, prefix: u32) {
        let entry = &mut self.entries[holder.0];
        let index = &mut self.index[entry.table_key.family as usize];
        entry.indexed += u32::from(index.insert((prefix, holder)));
    }

    fn remove(&mut self, holder: HolderId, prefix: u32) {
        let entry = &mut self.entries[holder.0];
        if entry.indexed > 0 {
            let index = &mut self.index[entry.table_key.family as usize];
            entry.indexed -= u32::from(index.remove(&(prefix, holder)));
        }
    }

    fn make_large(&mut self, holder: HolderId) {
        let entry = &mut self.entries[holder.0];
        if entry.large.is_none() {
            let large = &mut self.large[entry.table_key.family as usize];
            entry.large = Some(large.len() as u32);
            large.push(holder);
        }
    }

    fn make_small(&mut self, holder: HolderId) {
        let entry = &mut self.entries[holder.0];
        let Some(at) = entry.large.take() else { return };
        let large = &mut self.large[entry.table_key.family as usize];
        large.swap_remove(at as usize);
        if let Some(moved) = large.get(at as usize) {
            self.entries[moved.0].large = Some(at);
        }
    }

    /// Excludes a table from lookups.
    fn close(&mut self, holder: HolderId) {
        let RouteTableKey { table, family, .. } = *self.table_key(holder);
        self.counts[usize::from(table.0)][family as usize].tables -= 1;
        self.toggle(holder);
        self.make_small(holder);
    }

    fn toggle(&mut self, holder: HolderId) {
        let RouteTableKey { table, family, .. } = *self.table_key(holder);
        self.counts[usize::from(table.0)][family as usize].numbers ^= holder.0;
    }
}
