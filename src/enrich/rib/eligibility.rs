// SPDX-License-Identifier: AGPL-3.0-only
//! Decides whether a view takes part in lookups, and in which rank. The answer for one view needs only
//! counters of its router, so that no other peer is read when a peer or a session begins or ends.

use super::holders::RouteTableKey;
use super::peer::{EligibleView, TableId, View};
use super::prefix::Family;
use super::rank::{RANKS, Rank};
use super::route_table::HolderId;
use super::{Rib, of_family};

/// The number of competing route tables, by routing table and family.
#[derive(Debug)]
pub(super) struct LookupPlan {
    active_tables: Vec<[ActiveTables; 2]>,
    /// The ranks that routers have.
    ranks: [bool; RANKS],
}

#[derive(Clone, Copy, Debug, Default)]
pub(super) enum ActiveTables {
    /// No route.
    #[default]
    None,
    /// One route table, whose view takes part.
    Single(HolderId),
    /// Several route tables: best paths are cached.
    Multiple,
}

impl LookupPlan {
    pub fn new(tables: usize) -> Self {
        Self {
            active_tables: vec![Default::default(); tables],
            ranks: [false; RANKS],
        }
    }

    #[inline]
    pub fn of(&self, table: TableId, family: Family) -> ActiveTables {
        self.active_tables[usize::from(table.0)][family as usize]
    }

    /// Returns whether routers have each rank.
    #[inline]
    pub fn ranks(&self) -> [bool; RANKS] {
        self.ranks
    }
}

impl Rib {
    /// Applies changes to ranks, best paths and blackholes. Must be called after changes and before
    /// lookups.
    pub fn apply_changes(&mut self) {
        if std::mem::take(&mut self.ranks_outdated) {
            self.find_ranks();
        }
        if std::mem::take(&mut self.best_paths_outdated) {
            self.changed = true;
            self.best_paths.invalidate_all();
        }
        self.update_blackholes();
        for table in (0..self.tables.len()).map(|table| TableId(table as u16)) {
            for family in Family::ALL {
                let active = self.find_active_tables(table, family);
                let is_several = matches!(active, ActiveTables::Multiple);
                let wanted = self.lookup_plan.ranks.map(|rank| rank && is_several);
                let universe = of_family!(self.prefixes, family, universe());
                self.best_paths.reserve(table, family, wanted, universe);
                self.lookup_plan.active_tables[usize::from(table.0)][family as usize] = active;
            }
        }
    }

    fn find_active_tables(&self, table: TableId, family: Family) -> ActiveTables {
        match self.holders.only(table, family) {
            (Some(holder), _) => {
                let table_key = self.holders.table_key(holder);
                match self.eligible_view(table_key.peer, table_key.view, family) {
                    Some(_) => ActiveTables::Single(holder),
                    None => ActiveTables::None,
                }
            }
            (None, true) => ActiveTables::Multiple,
            (None, false) => ActiveTables::None,
        }
    }

    /// Compares all sessions with each other: they are few.
    fn find_ranks(&mut self) {
        let mut ranks = [false; RANKS];
        let routers: Vec<_> = self.routers.iter().map(|(id, _)| id).collect();
        for &id in &routers {
            let router = &self.routers[id];
            let same = |other: &&u32| {
                let other = &self.routers[**other];
                other.serial > router.serial && other.identity.is_same(&router.identity)
            };
            let newer: Vec<_> = routers.iter().filter(same).copied().collect();
            let rank = match (router.local, newer.is_empty()) {
                (true, true) => Rank::Local,
                (true, false) => Rank::LocalOlder,
                (false, true) => Rank::Remote,
                (false, false) => Rank::RemoteOlder,
            };
            let lives = |id: &u32| self.routers[*id].ended.is_none();
            let newest = newer.into_iter().filter(lives);
            let newest = newest.max_by_key(|id| self.routers[*id].serial);
            ranks[rank as usize] = true;
            let router = &mut self.routers[id];
            self.best_paths_outdated |= router.rank != rank || router.newest != newest;
            (router.rank, router.newest) = (rank, newest);
        }
        self.lookup_plan.ranks = ranks;
        let newest = |id: &u32| self.routers[*id].newest;
        let replacing: Vec<_> = routers.iter().filter_map(newest).collect();
        for id in routers {
            self.routers[id].replaces = replacing.contains(&id);
        }
    }

    /// Returns the part of a view in lookups, if it has one.
    pub(super) fn eligible_view(
        &self,
        id: u32,
        view: View,
        family: Family,
    ) -> Option<EligibleView> {
        let peer = &self.peers[id];
        let table = peer.table?;
        let router = &self.routers[peer.router];
        let answers = match view {
            View::LocRib => true,
            // the router's own choice is known in full
            _ if router.route_counts.has_choice(table, family) => false,
            _ => {
                let sends_post = router.route_counts.has(family, View::PostPolicy);
                view == peer.policy_view(family, sends_post)
            }
        };
        // the newest session of the router has sent the view in full, so this session is half-open
        let is_superseded = router.newest.is_some_and(|newest| {
            let newest = &self.routers[newest];
            let held = newest.peers.get(&peer.key).map(|&id| &self.peers[id]);
            newest.route_counts.may_send(family, view)
                && held.is_some_and(|p| p.up && p.view(view, family).complete)
        });
        let takes_part = answers && !is_superseded && peer.view(view, family).has_routes();
        takes_part.then_some(EligibleView {
            rank: router.rank,
            view,
            peer: id,
        })
    }

    /// Records that `tables` of a view were empty and hold routes now.
    pub(super) fn filled(&mut self, id: u32, view: View, family: Family, tables: u32) {
        if tables == 0 {
            return;
        }
        let peer = &self.peers[id];
        let router = &mut self.routers[peer.router];
        let before = router.route_counts.has(family, view);
        router.route_counts.add(peer, view, family, tables);
        self.best_paths_outdated |= router.replaces
            || match view {
                View::LocRib => true,
                View::PostPolicy => !before || peer.view(View::PrePolicy, family).has_routes(),
                View::PrePolicy => false,
            };
    }

    /// Records that `tables` of a view held routes and are empty now.
    pub(super) fn emptied(&mut self, table_key: &RouteTableKey, tables: u32) {
        if tables == 0 {
            return;
        }
        let Some(peer) = self.peers.get(table_key.peer) else {
            return;
        };
        let RouteTableKey { view, family, .. } = *table_key;
        let (mut still, mut replaces) = (false, false);
        // its router may have been removed before it
        if let Some(router) = self.routers.get_mut(peer.router) {
            router.route_counts.remove(peer, view, family, tables);
            still = router.route_counts.has(family, view);
            replaces = router.replaces;
        }
        self.best_paths_outdated |= replaces
            || match view {
                View::LocRib => true,
                View::PostPolicy => !still || peer.view(View::PrePolicy, family).has_routes(),
                View::PrePolicy => false,
            };
    }

    /// Processes the route tables that were queued for removal.
    pub(super) fn process_queued_removals(&mut self) {
        for table_key in self.holders.take_queued_removals() {
            self.changed = true;
            self.blackholes.peer_changed(table_key.peer);
            self.emptied(&table_key, 1);
        }
    }
}
