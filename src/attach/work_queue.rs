// SPDX-License-Identifier: AGPL-3.0-only
//! Stores the links according to the events, and a queue of those to reconcile. Pure.
//!
//! Attaching takes longer than receiving an event. The queue applies all events that arrive before a link is
//! processed, and a link that was removed meanwhile is not attached.

use std::collections::{BTreeMap, HashSet, VecDeque};

use crate::netlink::{Event, Link};

/// A unit of work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// The link of this index was removed; the index may belong to another one.
    Remove(u32),
    /// This link may have to be attached, updated or detached.
    Reconcile(u32),
}

#[derive(Default)]
pub struct WorkQueue {
    links: BTreeMap<u32, Link>,
    work: VecDeque<Work>,
    /// The links that the queue has to reconcile.
    queued: HashSet<u32>,
    /// A link with a master, or a VRF, was changed or removed.
    membership_changed: bool,
}

impl WorkQueue {
    /// Returns the current link of this index, if there is one.
    pub fn link(&self, ifindex: u32) -> Option<&Link> {
        self.links.get(&ifindex)
    }

    /// Returns all current links.
    pub fn links(&self) -> impl Iterator<Item = &Link> + Clone {
        self.links.values()
    }

    pub fn apply(&mut self, event: Event) {
        match event {
            Event::New(link) => {
                let ifindex = link.ifindex;
                let membership = |link: &Link| (link.name.clone(), link.master, link.kind.clone());
                let after = membership(&link);
                let matters = is_member(&link);
                let before = self.links.insert(ifindex, link);
                if matters || before.as_ref().is_some_and(is_member) {
                    self.membership_changed |= before.as_ref().map(membership) != Some(after);
                }
                self.reconcile(ifindex);
            }
            Event::Gone(ifindex) => {
                let before = self.links.remove(&ifindex);
                self.membership_changed |= before.as_ref().is_some_and(is_member);
                if self.queued.remove(&ifindex) {
                    self.work.retain(|other| *other != Work::Reconcile(ifindex));
                }
                self.work.push_back(Work::Remove(ifindex));
            }
        }
    }

    /// Replaces all links and the queue.
    pub fn replace(&mut self, links: Vec<Link>) {
        let before = std::mem::take(&mut self.links);
        self.membership_changed = true;
        self.work.clear();
        self.queued.clear();
        let now: HashSet<u32> = links.iter().map(|link| link.ifindex).collect();
        for ifindex in before.into_keys().filter(|i| !now.contains(i)) {
            self.work.push_back(Work::Remove(ifindex));
        }
        for link in links {
            self.apply(Event::New(link));
        }
    }

    /// Returns for every link its VRF device, if that may have changed since the last call.
    pub fn vrfs(&mut self) -> Option<Vec<(u32, Option<&str>)>> {
        if !std::mem::take(&mut self.membership_changed) {
            return None;
        }
        let vrf = |link| crate::netlink::vrf_among(|ifindex| self.links.get(&ifindex), link);
        let links = self.links.values();
        let vrfs = links.map(|link| (link.ifindex, vrf(link).map(|vrf| vrf.name.as_str())));
        Some(vrfs.collect())
    }

    /// Queues a link.
    pub fn reconcile(&mut self, ifindex: u32) {
        if self.queued.insert(ifindex) {
            self.work.push_back(Work::Reconcile(ifindex));
        }
    }

    pub fn reconcile_all(&mut self) {
        let all: Vec<u32> = self.links.keys().copied().collect();
        for ifindex in all {
            self.reconcile(ifindex);
        }
    }

    pub fn next(&mut self) -> Option<Work> {
        let work = self.work.pop_front()?;
        if let Work::Reconcile(ifindex) = work {
            self.queued.remove(&ifindex);
        }
        Some(work)
    }

    pub fn is_empty(&self) -> bool {
        self.work.is_empty()
    }
}

fn is_member(link: &Link) -> bool {
    link.master.is_some() || link.kind == "vrf"
}

#[cfg(test)]
mod tests {
    use super::Work::{Reconcile, Remove};
    use super::*;

    fn new(ifindex: u32, name: &str) -> Event {
        Event::New(link(ifindex, name))
    }

    fn link(ifindex: u32, name: &str) -> Link {
        Link {
            ifindex,
            name: name.into(),
            ..Link::default()
        }
    }

    fn all(queue: &mut WorkQueue) -> Vec<Work> {
        std::iter::from_fn(|| queue.next()).collect()
    }

    #[test]
    fn links_wait_in_the_order_of_their_events_each_once() {
        let mut queue = WorkQueue::default();
        for event in [new(9, "a"), new(3, "b"), new(9, "renamed")] {
            queue.apply(event);
        }
        assert_eq!(all(&mut queue), [Reconcile(9), Reconcile(3)]);
        assert_eq!(queue.link(9).unwrap().name, "renamed");
        queue.apply(new(9, "a"));
        assert_eq!(all(&mut queue), [Reconcile(9)]);
    }

    #[test]
    fn a_link_that_was_removed_again_is_not_reconciled() {
        let mut queue = WorkQueue::default();
        for event in [new(1, "a"), new(2, "b"), Event::Gone(1)] {
            queue.apply(event);
        }
        assert_eq!(all(&mut queue), [Reconcile(2), Remove(1)]);
        assert!(queue.link(1).is_none());
    }

    #[test]
    fn a_reused_index_is_removed_first() {
        let mut queue = WorkQueue::default();
        for event in [new(5, "a"), Event::Gone(5), new(5, "b")] {
            queue.apply(event);
        }
        // otherwise the new link would be found before the old one is removed
        assert_eq!(all(&mut queue), [Remove(5), Reconcile(5)]);
    }

    #[test]
    fn a_dump_replaces_all_links() {
        let mut queue = WorkQueue::default();
        queue.apply(new(1, "a"));
        queue.apply(new(2, "b"));
        all(&mut queue);
        queue.apply(new(3, "c"));
        queue.replace(vec![link(2, "b"), link(4, "d")]);
        assert_eq!(
            all(&mut queue),
            [Remove(1), Remove(3), Reconcile(2), Reconcile(4)]
        );
        queue.reconcile_all();
        assert_eq!(all(&mut queue), [Reconcile(2), Reconcile(4)]);
    }

    #[test]
    fn vrfs_are_reported_again_after_a_change_of_a_master() {
        let mut queue = WorkQueue::default();
        let port = |master| {
            Event::New(Link {
                master,
                ..link(1, "port")
            })
        };
        let red = Link {
            kind: "vrf".into(),
            ..link(9, "red")
        };
        queue.apply(port(None));
        assert_eq!(queue.vrfs(), None);
        queue.apply(Event::New(red));
        queue.apply(port(Some(9)));
        let expected = vec![(1, Some("red")), (9, Some("red"))];
        assert_eq!(queue.vrfs(), Some(expected));
        queue.apply(port(Some(9)));
        assert_eq!(queue.vrfs(), None);
        queue.apply(port(None));
        let expected = vec![(1, None), (9, Some("red"))];
        assert_eq!(queue.vrfs(), Some(expected));
        queue.apply(Event::Gone(9));
        assert_eq!(queue.vrfs(), Some(vec![(1, None)]));
    }
}
