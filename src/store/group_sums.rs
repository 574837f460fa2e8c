// SPDX-License-Identifier: AGPL-3.0-only
//! Adds up rows by group in bounded memory (pure): a table as long as the answer, whatever the number of stored rows.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;

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
    scopes: BTreeMap<S, ScopeSums<K, D>>,
    groups: usize,
    max: usize,
}

/// The groups of one scope.
#[derive(Debug)]
pub struct ScopeSums<K, D> {
    groups: HashMap<K, GroupSum<D>>,
    /// Bytes and packets of the dropped groups.
    dropped: (u128, u128),
    max_missing: u64,
}

impl<K, D> Default for ScopeSums<K, D> {
    fn default() -> Self {
        Self {
            groups: HashMap::new(),
            dropped: (0, 0),
            max_missing: 0,
        }
    }
}

impl<S, K, D> Default for GroupSums<S, K, D> {
    fn default() -> Self {
        Self {
            scopes: BTreeMap::new(),
            groups: 0,
            max: MAX_GROUPS,
        }
    }
}

impl<S: Clone + Ord, K: Eq + Hash + Ord, D> GroupSums<S, K, D> {
    /// Adds a row; `detail` is kept if it is the first one of its group. At [`MAX_GROUPS`] groups, the smaller half is
    /// dropped first.
    pub fn add(&mut self, scope: &S, key: K, (bytes, packets): (u64, u64), detail: D) {
        let is_known = |scope: &ScopeSums<K, D>| scope.groups.contains_key(&key);
        if self.groups >= self.max && !self.scopes.get(scope).is_some_and(is_known) {
            self.drop_smaller();
        }
        if !self.scopes.contains_key(scope) {
            self.scopes.insert(scope.clone(), ScopeSums::default());
        }
        let Some(scope) = self.scopes.get_mut(scope) else {
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
        let taken = self.scopes.remove(scope).unwrap_or_default();
        self.groups -= taken.groups.len();
        taken
    }

    /// Keeps the largest groups of each scope, the same number of each: a busy interface displaces none of a quiet one.
    fn drop_smaller(&mut self) {
        let share = self.max / 2 / self.scopes.len().max(1);
        for scope in self.scopes.values_mut() {
            scope.keep_largest(share);
        }
        if share == 0 {
            self.scopes.clear();
        }
        self.groups = self.scopes.values().map(|scope| scope.groups.len()).sum();
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
            sums.add(&"eth0", key, (10, 1), detail as u32);
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
            sums.add(&"eth0", 1_000_000 + n % 10, (1000, 1), 0);
            sums.add(&"eth0", n, (u64::from(n % 7), 1), 0);
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
            sums.add(&"eth0", key, (bytes, 1), 0);
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
            sums.add(&"quiet", n, (1, 1), 0);
        }
        for n in 0..5000 {
            sums.add(&"busy", n, (1_000_000, 1), 0);
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
            sums.add(&n, 0, (1, 1), ());
            assert!(sums.groups <= 100 && sums.scopes.len() <= 100);
        }
    }
}
