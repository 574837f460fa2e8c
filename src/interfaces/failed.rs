// SPDX-License-Identifier: AGPL-3.0-only
//! Lists the interfaces that match the configuration but could not be attached.

use std::collections::BTreeMap;
use std::sync::Arc;

/// Maximum number of listed interfaces; the others are only in the log.
const MAX_FAILED: usize = 4096;

/// Maximum number of names in the text of the problem.
const NAMED: usize = 3;

/// An interface that matches the configuration but could not be attached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnmonitoredInterface {
    pub ifindex: u32,
    pub name: Arc<str>,
    pub reason: String,
}

/// The list, by ifindex.
#[derive(Default)]
pub(super) struct FailedInterfaces(BTreeMap<u32, UnmonitoredInterface>);

impl FailedInterfaces {
    pub fn insert(&mut self, ifindex: u32, name: &str, reason: &str) {
        if self.0.len() < MAX_FAILED || self.contains(ifindex) {
            let entry = UnmonitoredInterface {
                ifindex,
                name: name.into(),
                reason: reason.to_owned(),
            };
            self.0.insert(ifindex, entry);
        }
    }

    pub fn contains(&self, ifindex: u32) -> bool {
        self.0.contains_key(&ifindex)
    }

    pub fn remove(&mut self, ifindex: u32) {
        self.0.remove(&ifindex);
    }

    pub fn all(&self) -> impl Iterator<Item = &UnmonitoredInterface> {
        self.0.values()
    }

    /// Returns the names of the first ones, and the reason of the first.
    pub fn problem(&self) -> Option<String> {
        let first = self.all().next()?;
        let names: Vec<_> = self.all().map(|entry| &*entry.name).take(NAMED).collect();
        let more = if self.0.len() > NAMED { ", ..." } else { "" };
        let count = match self.0.len() {
            1 => "1 interface is".to_owned(),
            n => format!("{n} interfaces are"),
        };
        let (names, reason) = (names.join(", "), &first.reason);
        Some(format!("{count} not counted ({names}{more}): {reason}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_that_could_not_be_attached_are_a_problem_until_settled() {
        let mut failed = FailedInterfaces::default();
        assert_eq!(failed.problem(), None);
        for ifindex in [9, 5, 7, 8] {
            failed.insert(ifindex, &format!("eth{ifindex}"), "no room");
        }
        failed.insert(5, "wan", "no room");
        let expected = "4 interfaces are not counted (wan, eth7, eth8, ...): no room";
        assert_eq!(failed.problem().as_deref(), Some(expected));
        for ifindex in [5, 7, 8, 1] {
            failed.remove(ifindex);
        }
        let expected = "1 interface is not counted (eth9): no room";
        assert_eq!(failed.problem().as_deref(), Some(expected));
        for ifindex in 0..2 * MAX_FAILED as u32 {
            failed.insert(ifindex, "x", "no room");
        }
        assert_eq!(failed.all().count(), MAX_FAILED);
    }
}
