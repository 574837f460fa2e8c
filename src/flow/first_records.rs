// SPDX-License-Identifier: AGPL-3.0-only
//! Lists of the first partial records of flows, with a different timeout for each list. Pure.
//!
//! Long flows that start in the same second would complete their partial records in the same second
//! forever. The first partial record of a flow is therefore shorter: a hash of the flow selects one of
//! [`CLASSES`] timeouts, which are evenly spread over the active timeout. All records of a list have the
//! same timeout, so each list is ordered by it, like the list of the other partial records.

use super::list::{Linked, List};

/// The number of timeouts: with the default active timeout, they differ by 0.23 s.
const CLASSES: usize = 256;

#[derive(Debug)]
pub struct FirstRecords<const L: usize> {
    /// One list for each class; empty until the lists are first used.
    lists: Vec<List<L>>,
    /// The class with which the search for due records continues.
    next: usize,
    /// The tick of the last complete search.
    searched: Option<u64>,
    /// The last change of the sample rate for which the lists were searched, and the class with which that
    /// search continues.
    change: u32,
    next_of_change: usize,
}

impl<const L: usize> FirstRecords<L> {
    pub const fn new() -> Self {
        Self {
            lists: Vec::new(),
            next: 0,
            searched: None,
            change: 0,
            next_of_change: 0,
        }
    }

    /// Appends a record that starts now.
    pub fn push_back<T: Linked<L>>(&mut self, flows: &mut [T], i: u32, class: u8) {
        if self.lists.is_empty() {
            self.lists.resize_with(CLASSES, List::new);
        }
        self.lists[usize::from(class)].push_back(flows, i);
    }

    pub fn unlink<T: Linked<L>>(&mut self, flows: &mut [T], i: u32, class: u8) {
        if let Some(list) = self.lists.get_mut(usize::from(class)) {
            list.unlink(flows, i);
        }
    }

    /// Updates the list of a flow that was moved to index `i`.
    pub fn relocated<T: Linked<L>>(&mut self, flows: &mut [T], i: u32, class: u8) {
        if let Some(list) = self.lists.get_mut(usize::from(class)) {
            list.relocated(flows, i);
        }
    }

    /// Returns a record that is due: one that started at least its timeout before tick `now`. Searches each list
    /// once in a tick, so that the number of lists does not matter for the cost of a call.
    pub fn due(
        &mut self,
        now: u64,
        active_timeout: u64,
        start: impl Fn(u32) -> u32,
    ) -> Option<u32> {
        if self.searched == Some(now) {
            return None;
        }
        while let Some(list) = self.lists.get(self.next) {
            let timeout = timeout(self.next, active_timeout);
            if let Some(i) = list.front()
                && now.saturating_sub(start(i).into()) >= timeout
            {
                return Some(i);
            }
            self.next += 1;
        }
        self.next = 0;
        self.searched = Some(now);
        None
    }

    /// Returns a record that `is_outdated`. After a change of the sample rate, such records are at the front of
    /// the lists and none is added, so each list is searched once. `change` counts the changes.
    pub fn under_previous_rate(
        &mut self,
        change: u32,
        is_outdated: impl Fn(u32) -> bool,
    ) -> Option<u32> {
        if std::mem::replace(&mut self.change, change) != change {
            self.next_of_change = 0;
        }
        while let Some(list) = self.lists.get(self.next_of_change) {
            if let Some(i) = list.front()
                && is_outdated(i)
            {
                return Some(i);
            }
            self.next_of_change += 1;
        }
        None
    }
}

/// Returns the timeout of a class, at least one tick and at most the active timeout.
fn timeout(class: usize, active_timeout: u64) -> u64 {
    let share = class as u64 + 1;
    (u128::from(active_timeout) * u128::from(share)).div_ceil(CLASSES as u128) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeouts_are_spread_evenly_up_to_the_active_timeout() {
        for active_timeout in [1, 10, 600, 365 * 864_000] {
            let timeouts: Vec<_> = (0..CLASSES).map(|c| timeout(c, active_timeout)).collect();
            assert!(timeouts.is_sorted() && timeouts[0] >= 1);
            assert_eq!(timeouts[CLASSES - 1], active_timeout);
            assert_eq!(timeouts[CLASSES / 2 - 1], active_timeout.div_ceil(2));
        }
    }
}
