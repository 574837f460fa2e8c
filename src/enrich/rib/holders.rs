// SPDX-License-Identifier: AGPL-3.0-only
//! The route tables that hold a prefix: with them the cost of a decision depends on the routes of the
//! prefix and not on the number of peers.
//!
//! A large table is an array by prefix number. Each of them is searched: they are few, since each holds
//! at least one in 64 prefixes ([`super::routes`]). The prefixes of all other tables are in an index.

use std::collections::BTreeSet;

use crate::types::slab::Slab;

use super::attributes::AttributesId;
use super::peer::{TableId, View};
use super::prefix::Family;
use super::routes::{Change, Doomed, RouteTable};
use super::winners::Winners;

/// If a table has no more routes than this, the winners of its prefixes are forgotten one by one: a small
/// peer that flaps does not invalidate all others.
const FEW: usize = 32;

/// Number of a route table that holds something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Home(u32);

/// The position of a route table in the Rib.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    pub table: TableId,
    pub peer: u32,
    pub view: View,
    pub family: Family,
    /// Of a session that has ended.
    pub stale: bool,
}

#[derive(Debug)]
struct Entry {
    place: Place,
    /// Its index among the large tables.
    large: Option<u32>,
    /// Its entries in the index. A table that becomes large keeps them.
    indexed: u32,
    doomed: bool,
}

/// The tables of one family and one routing table that hold something.
#[derive(Clone, Copy, Debug, Default)]
struct Group {
    count: u32,
    /// The exclusive or of their numbers: of one table, its number.
    numbers: u32,
}

#[derive(Debug)]
pub struct Holders {
    entries: Slab<Entry>,
    /// By family.
    large: [Vec<Home>; 2],
    /// Prefix number and table, by family.
    index: [BTreeSet<(u32, Home)>; 2],
    /// By routing table and family.
    groups: Vec<[Group; 2]>,
    doomed: Vec<Doomed>,
    /// Of these, routes by family.
    doomed_routes: [usize; 2],
    /// Buried tables that the Rib has not processed yet.
    buried: Vec<Place>,
    stale_routes: [usize; 2],
}

impl Holders {
    pub fn new(tables: usize) -> Self {
        Self {
            entries: Slab::default(),
            large: Default::default(),
            index: Default::default(),
            groups: vec![Default::default(); tables],
            doomed: Vec::new(),
            doomed_routes: [0; 2],
            buried: Vec::new(),
            stale_routes: [0; 2],
        }
    }

    /// Returns the position of a table.
    pub fn place(&self, home: Home) -> &Place {
        &self.entries[home.0].place
    }

    /// Routes of ended sessions, by family.
    pub fn stale_routes(&self) -> [usize; 2] {
        self.stale_routes
    }

    /// Routes of buried tables, by family.
    pub fn doomed_routes(&self) -> [usize; 2] {
        self.doomed_routes
    }

    /// Returns the only table that holds something; true if there are several.
    pub fn only(&self, table: TableId, family: Family) -> (Option<Home>, bool) {
        let group = self.groups[usize::from(table.0)][family as usize];
        let only = (group.count == 1).then_some(Home(group.numbers));
        (only, group.count > 1)
    }

    /// Returns the tables that may hold a prefix: all large ones, and those of the index.
    pub fn of(&self, family: Family, prefix: u32) -> impl Iterator<Item = Home> {
        let large = self.large[family as usize].iter();
        let range = (prefix, Home(0))..=(prefix, Home(u32::MAX));
        let indexed = self.index[family as usize].range(range);
        let indexed = indexed.map(|(_, home)| home).filter(|home| {
            let entry = &self.entries[home.0];
            !entry.doomed && entry.large.is_none()
        });
        large.chain(indexed).copied()
    }

    /// Records that a table received a route. True if it was empty before.
    pub fn enter(
        &mut self,
        routes: &mut RouteTable,
        place: Place,
        prefix: u32,
        is_new: bool,
    ) -> bool {
        let opens = routes.home.is_none();
        let home = *routes.home.get_or_insert_with(|| {
            self.groups[usize::from(place.table.0)][place.family as usize].count += 1;
            Home(self.entries.insert(Entry {
                place,
                large: None,
                indexed: 0,
                doomed: false,
            }))
        });
        if opens {
            self.toggle(home);
        }
        if routes.is_large() {
            self.make_large(home);
        } else if is_new {
            self.insert(home, prefix);
        }
        opens
    }

    /// Records that routes of a prefix were removed from a table. True if it is empty now.
    pub fn leave(&mut self, routes: &mut RouteTable, prefix: u32, change: &Change) -> bool {
        let Some(home) = routes.home else {
            return false;
        };
        let place = *self.place(home);
        if place.stale {
            self.stale_routes[place.family as usize] -= change.removed;
        }
        if !change.vanished {
            return false;
        }
        self.remove(home, prefix);
        if routes.is_empty() {
            routes.home = None;
            self.close(home);
            self.entries.remove(home.0);
            return true;
        }
        self.fit(routes);
        false
    }

    /// Records whether a table is large.
    pub fn fit(&mut self, routes: &RouteTable) {
        let Some(home) = routes.home else { return };
        let was_large = self.entries[home.0].large.is_some();
        match routes.is_large() {
            true => self.make_large(home),
            false if was_large => {
                self.make_small(home);
                for prefix in routes.prefixes() {
                    self.insert(home, prefix);
                }
            }
            false => {}
        }
    }

    /// Records that the session of a table ended.
    pub fn retire(&mut self, routes: &RouteTable) {
        let Some(home) = routes.home else { return };
        let place = &mut self.entries[home.0].place;
        place.stale = true;
        self.stale_routes[place.family as usize] += routes.len();
    }

    /// Takes a table out of lookups; its routes are removed step by step.
    pub fn bury(&mut self, routes: RouteTable, winners: &mut Winners) {
        let Some(home) = routes.home else { return };
        let place = *self.place(home);
        if place.stale {
            self.stale_routes[place.family as usize] -= routes.len();
        }
        if routes.len() <= FEW {
            let prefixes = routes.prefixes();
            prefixes.for_each(|prefix| winners.forget(place.family, prefix));
        } else {
            winners.forget_all();
        }
        self.close(home);
        self.entries[home.0].doomed = true;
        self.doomed_routes[place.family as usize] += routes.len();
        self.doomed.push(routes.into_doomed(home));
        self.buried.push(place);
    }

    /// Returns the positions of the tables that were buried since the last call.
    pub fn take_buried(&mut self) -> Vec<Place> {
        std::mem::take(&mut self.buried)
    }

    /// Removes the doomed paths of one prefix. Returns its family, its number, and the number of paths.
    pub fn pop(&mut self, released: impl FnMut(AttributesId)) -> Option<(Family, u32, usize)> {
        let doomed = self.doomed.last_mut()?;
        let home = doomed.home;
        let before = doomed.len();
        let prefix = doomed.pop(released)?;
        let popped = before - doomed.len();
        let is_empty = doomed.is_empty();
        let family = self.place(home).family;
        self.doomed_routes[family as usize] -= popped;
        self.remove(home, prefix);
        if is_empty {
            self.entries.remove(home.0);
            self.doomed.pop();
        }
        Some((family, prefix, popped))
    }

    pub fn has_doomed(&self) -> bool {
        !self.doomed.is_empty()
    }

    /// Applies new numbers to the prefixes of a family.
    pub fn renumber(&mut self, family: Family, prefixes: &[u32]) {
        let index = &mut self.index[family as usize];
        let old = std::mem::take(index).into_iter();
        *index = old
            .map(|(prefix, home)| (prefixes[prefix as usize], home))
            .collect();
    }

    fn insert(&mut self, home: Home, prefix: u32) {
        let entry = &mut self.entries[home.0];
        let index = &mut self.index[entry.place.family as usize];
        entry.indexed += u32::from(index.insert((prefix, home)));
    }

    fn remove(&mut self, home: Home, prefix: u32) {
        let entry = &mut self.entries[home.0];
        if entry.indexed > 0 {
            let index = &mut self.index[entry.place.family as usize];
            entry.indexed -= u32::from(index.remove(&(prefix, home)));
        }
    }

    fn make_large(&mut self, home: Home) {
        let entry = &mut self.entries[home.0];
        if entry.large.is_none() {
            let large = &mut self.large[entry.place.family as usize];
            entry.large = Some(large.len() as u32);
            large.push(home);
        }
    }

    fn make_small(&mut self, home: Home) {
        let entry = &mut self.entries[home.0];
        let Some(at) = entry.large.take() else { return };
        let large = &mut self.large[entry.place.family as usize];
        large.swap_remove(at as usize);
        if let Some(moved) = large.get(at as usize) {
            self.entries[moved.0].large = Some(at);
        }
    }

    /// Takes a table out of lookups.
    fn close(&mut self, home: Home) {
        let Place { table, family, .. } = *self.place(home);
        self.groups[usize::from(table.0)][family as usize].count -= 1;
        self.toggle(home);
        self.make_small(home);
    }

    fn toggle(&mut self, home: Home) {
        let Place { table, family, .. } = *self.place(home);
        self.groups[usize::from(table.0)][family as usize].numbers ^= home.0;
    }
}
