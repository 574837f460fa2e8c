// SPDX-License-Identifier: AGPL-3.0-only
//! Adds up rows by group in bounded memory (pure): a table as long as the answer, whatever the number of stored rows.

use std::cmp::Reverse;
use std::hash::Hash;

use foldhash::fast::RandomState;
use hashbrown::HashMap;

/// The maximum number of groups of one query, in all scopes together.
pub const MAX_GROUPS: usize = 65_536;

/// Bytes and packets of a group, and a detail of its first row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupSum<D> {
    pub bytes: u64,
    pub packets: u64,
    pub detail: D,
}

/// The sums of several scopes, such as interfaces.
#[derive(Debug)]
pub struct GroupSums<S, K, D> {
    scopes: Vec<(S, ScopeSums<K, D>)>,
    groups: usize,
    max: usize,
}

/// The place of a scope until the next call of [`GroupSums::scope`] or [`GroupSums::take`].
#[derive(Clone, Copy, Debug)]
pub struct ScopePlace(usize);

/// The groups of one scope.
#[derive(Debug)]
pub struct ScopeSums<K, D> {
    groups: HashMap<K, GroupSum<D>, RandomState>,
    /// Bytes and packets of the dropped groups.
    dropped: (u128, u128),
    max_missing: u64,
}

impl<K, D> Default for ScopeSums<K, D> {
    fn default() -> Self {
        Self {
            groups: HashMap::default(),
            dropped: (0, 0),
            max_missing: 0,
        }
    }
}

impl<S, K, D> Default for GroupSums<S, K, D> {
    fn default() -> Self {
        Self {
            scopes: Vec::new(),
            groups: 0,
            max: MAX_GROUPS,
        }
    }
}

impl<S: Clone + Eq, K: Eq + Hash + Ord, D> GroupSums<S, K, D> {
    /// Returns the place of a scope. At [`MAX_GROUPS`] scopes, drops all of them first.
    pub fn scope(&mut self, scope: &S) -> ScopePlace {
        if let Some(known) = self.scopes.iter().position(|(name, _)| name == scope) {
            return ScopePlace(known);
        }
        if self.scopes.len() >= self.max {
            self.scopes.clear();
            self.groups = 0;
        }
        self.scopes.push((scope.clone(), ScopeSums::default()));
        ScopePlace(self.scopes.len() - 1)
    }

    /// Adds a row; `detail` is kept if it is the first one of its group. At [`MAX_GROUPS`] groups, the smaller half is
    /// dropped first.
    pub fn add(
        &mut self,
        ScopePlace(place): ScopePlace,
        key: K,
        (bytes, packets): (u64, u64),
        detail: D,
    ) {
        if self.groups >= self.max {
            let scope = self.scopes.get(place);
            if !scope.is_some_and(|(_, sums)| sums.groups.contains_key(&key)) {
                self.drop_smaller();
            }
        }
        let Some((_, scope)) = self.scopes.get_mut(place) else {
            return;
        };
        let before = scope.groups.len();
        let sum = scope.groups.entry(key).or_insert(GroupSum {
            bytes: 0,
            packets: 0,
            detail,
        });
        sum.bytes = sum.bytes.saturating_add(bytes);
        sum.packets = sum.packets.saturating_add(packets);
        self.groups += scope.groups.len() - before;
    }

    /// Removes and returns the groups of a scope.
    pub fn take(&mut self, scope: &S) -> ScopeSums<K, D> {
        let Some(place) = self.scopes.iter().position(|(name, _)| name == scope) else {
            return ScopeSums::default();
        };
        let (_, taken) = self.scopes.swap_remove(place);
        self.groups -= taken.groups.len();
        taken
    }

    /// Keeps the largest groups of each scope, the same number of each: a busy interface displaces none of a quiet one.
    fn drop_smaller(&mut self) {
        let share = self.max / 2 / self.scopes.len().max(1);
        for (_, scope) in &mut self.scopes {
            scope.keep_largest(share);
        }
        self.groups = self
            .scopes
            .iter()
            .map(|(_, scope)| scope.groups.len())
            .sum();
    }
}

impl<K: Eq + Hash + Ord, D> ScopeSums<K, D> {
    fn keep_largest(&mut self, count: usize) {
        if self.groups.len() <= count {
            return;
        }
        let mut sizes: Vec<u64> = self.groups.values().map(|sum| sum.bytes).collect();
        let (_, largest_dropped, _) =
            sizes.select_nth_unstable_by_key(count, |bytes| Reverse(*bytes));
        let limit = *largest_dropped;
        // of equal ones, any
        let larger = self.groups.values().filter(|sum| sum.bytes > limit).count();
        let mut equal = count.saturating_sub(larger);
        let dropped = &mut self.dropped;
        self.groups.retain(|_, sum| {
            let is_kept = sum.bytes > limit || (sum.bytes == limit && equal > 0);
            if is_kept {
                equal -= usize::from(sum.bytes == limit);
            } else {
                dropped.0 += u128::from(sum.bytes);
                dropped.1 += u128::from(sum.packets);
            }
            is_kept
        });
        self.max_missing = self.max_missing.saturating_add(limit);
    }

    /// Returns the number of groups that are left.
    pub fn len(&self) -> usize {
        self.groups.len()
    }

    pub fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }

    /// Returns bytes and packets of all rows, with those of dropped groups.
    pub fn total(&self) -> (u128, u128) {
        let sums = self.groups.values();
        sums.fold(self.dropped, |(bytes, packets), sum| {
            (
                bytes + u128::from(sum.bytes),
                packets + u128::from(sum.packets),
            )
        })
    }

    /// Returns the most bytes that a group may lack; 0 if none was dropped.
    pub fn max_missing(&self) -> u64 {
        self.max_missing
    }

    /// Returns the `count` largest groups, largest first, equal ones in the order of their keys.
    pub fn largest(self, count: usize) -> Vec<(K, GroupSum<D>)> {
        let mut groups: Vec<_> = self.groups.into_iter().collect();
        groups.sort_unstable_by(|(a, x), (b, y)| y.bytes.cmp(&x.bytes).then_with(|| a.cmp(b)));
        groups.truncate(count);
        groups
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn limited(max: usize) -> GroupSums<&'static str, u32, u32> {
        GroupSums {
            max,
            ..GroupSums::default()
        }
    }

    fn rows(scope: ScopeSums<u32, u32>, count: usize) -> Vec<(u32, u64)> {
        let largest = scope.largest(count).into_iter();
        largest.map(|(key, sum)| (key, sum.bytes)).collect()
    }

    #[test]
    fn rows_of_a_group_are_added_and_the_first_detail_stays() {
        let mut sums = limited(10);
        for (detail, key) in [7, 5, 7, 6].into_iter().enumerate() {
            let place = sums.scope(&"eth0");
            sums.add(place, key, (10, 1), detail as u32);
        }
        let scope = sums.take(&"eth0");
        assert_eq!(
            (scope.len(), scope.total(), scope.max_missing()),
            (3, (40, 4), 0)
        );
        let expected = GroupSum {
            bytes: 20,
            packets: 2,
            detail: 0,
        };
        let largest = scope.largest(2);
        assert_eq!(largest[0], (7, expected));
        assert_eq!((largest.len(), largest[1].0), (2, 5));
        assert!(sums.take(&"eth0").is_empty());
    }

    #[test]
    fn the_smaller_half_is_dropped_and_stays_in_the_total() {
        let mut sums = limited(100);
        let mut most = 0;
        // ten large groups between many small ones, each of which occurs once
        for n in 0..10_000u32 {
            let place = sums.scope(&"eth0");
            sums.add(place, 1_000_000 + n % 10, (1000, 1), 0);
            let place = sums.scope(&"eth0");
            sums.add(place, n, (u64::from(n % 7), 1), 0);
            most = most.max(sums.groups);
        }
        assert_eq!(most, 100);
        let scope = sums.take(&"eth0");
        assert_eq!(sums.groups, 0);
        let small: u128 = (0..10_000).map(|n| n % 7).sum();
        assert_eq!(scope.total(), (10_000_000 + small, 20_000));
        let expected: Vec<_> = (0..10).map(|n| (1_000_000 + n, 1_000_000)).collect();
        assert_eq!(rows(scope, 10), expected);
    }

    #[test]
    fn no_group_lacks_more_than_is_stated() {
        let mut sums = limited(64);
        let mut right = BTreeMap::<u32, u64>::new();
        let mut state = 1u32;
        for _ in 0..50_000 {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            // most rows are of few groups
            let key = (state >> 16) % (1 + (state >> 8) % 1000);
            let bytes = u64::from(state >> 24) + 1;
            *right.entry(key).or_default() += bytes;
            let place = sums.scope(&"eth0");
            sums.add(place, key, (bytes, 1), 0);
        }
        let scope = sums.take(&"eth0");
        let missing = scope.max_missing();
        assert!(missing > 0);
        assert_eq!(
            scope.total().0,
            right.values().map(|n| u128::from(*n)).sum()
        );
        let found: BTreeMap<_, _> = rows(scope, 64).into_iter().collect();
        for (key, bytes) in right {
            let found = found.get(&key).copied().unwrap_or(0);
            assert!(
                (found..=found + missing).contains(&bytes),
                "{key}: {found} of {bytes}"
            );
        }
    }

    #[test]
    fn a_busy_scope_displaces_no_group_of_a_quiet_one() {
        let mut sums = limited(100);
        for n in 0..20 {
            let place = sums.scope(&"quiet");
            sums.add(place, n, (1, 1), 0);
        }
        for n in 0..5000 {
            let place = sums.scope(&"busy");
            sums.add(place, n, (1_000_000, 1), 0);
        }
        let quiet = sums.take(&"quiet");
        assert_eq!((quiet.len(), quiet.max_missing()), (20, 0));
        let busy = sums.take(&"busy");
        assert!((25..=80).contains(&busy.len()), "{}", busy.len());
        assert_eq!(busy.total(), (5_000_000_000, 5000));
    }

    #[test]
    fn many_scopes_are_bounded() {
        let mut sums = GroupSums::<u32, u32, ()> {
            max: 100,
            ..GroupSums::default()
        };
        for n in 0..10_000 {
            let place = sums.scope(&n);
            sums.add(place, 0, (1, 1), ());
            assert!(sums.groups <= 100 && sums.scopes.len() <= 100);
        }
    }
}
