// SPDX-License-Identifier: AGPL-3.0-only
//! The times at which the latest routes were received, so that an operator sees the age of a route (pure).
//! A time for each route would take 5 MB for a full table: therefore a table holds the time of its first
//! route, and this journal the times of the latest changes of all tables. A route that is not in the
//! journal is older than its oldest entry and younger than its table.

use std::collections::VecDeque;
use std::hash::BuildHasher;

use foldhash::fast::RandomState;

use super::peer::View;
use super::prefix::RoutePrefix;
use super::route_table::PathKey;

/// Maximum number of entries of 16 bytes; beyond it, the oldest entry is evicted.
const ENTRIES: usize = 1 << 16;

/// The least and the greatest age that a route may have, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Age {
    pub least: u64,
    pub most: u64,
}

#[derive(Debug, Default)]
pub(super) struct Journal {
    /// Hash of the route, and seconds since the agent began to receive routes.
    entries: VecDeque<(u64, u32)>,
    hasher: RandomState,
    now: u64,
    evicted: bool,
}

/// Identifies a route of one peer.
pub(super) type RouteKey = (u32, View, RoutePrefix, PathKey);

impl Journal {
    /// Sets the time of the changes that follow, in milliseconds.
    pub fn set_now(&mut self, now: u64) {
        self.now = self.now.max(now);
    }

    pub fn now(&self) -> u64 {
        self.now
    }

    pub fn note(&mut self, route: RouteKey) {
        if self.entries.len() == ENTRIES {
            self.entries.pop_front();
            self.evicted = true;
        }
        let entry = (self.hasher.hash_one(route), seconds(self.now));
        self.entries.push_back(entry);
    }

    /// Returns the age of a route. `since` is the time of the first route in the table that holds this one.
    pub fn age(&self, route: RouteKey, since: u64) -> Age {
        let hash = self.hasher.hash_one(route);
        let most = self.now.saturating_sub(since);
        let until = |time: u32| self.now.saturating_sub(u64::from(time) * 1000).min(most);
        if let Some((_, time)) = self.entries.iter().rev().find(|(h, _)| *h == hash) {
            let age = until(*time);
            return Age {
                least: age,
                most: age,
            };
        }
        let oldest = self.entries.front().filter(|_| self.evicted);
        Age {
            least: oldest.map_or(most, |(_, time)| until(*time)),
            most,
        }
    }
}

fn seconds(ms: u64) -> u32 {
    u32::try_from(ms / 1000).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::enrich::rib::Family;

    fn route(n: u32) -> RouteKey {
        let bits = u128::from(n) << 96;
        (
            1,
            View::PostPolicy,
            RoutePrefix::new(Family::Ipv4, bits, 32),
            PathKey {
                id: None,
                labelled: false,
            },
        )
    }

    #[test]
    fn the_latest_change_counts_and_older_routes_lie_between_two_times() {
        let mut journal = Journal::default();
        journal.set_now(10_000);
        journal.note(route(1));
        journal.set_now(15_000);
        journal.note(route(2));
        journal.set_now(60_000);
        let age = |journal: &Journal, n| {
            let Age { least, most } = journal.age(route(n), 10_000);
            (least, most)
        };
        assert_eq!(age(&journal, 1), (50_000, 50_000));
        journal.note(route(1));
        journal.set_now(61_000);
        assert_eq!(age(&journal, 1), (1000, 1000));
        assert_eq!(age(&journal, 2), (46_000, 46_000));
        for n in 0..ENTRIES as u32 {
            journal.note(route(100 + n));
        }
        journal.set_now(70_000);
        assert_eq!(age(&journal, 2), (9000, 60_000));
        assert_eq!(journal.entries.len(), ENTRIES);
    }
}
