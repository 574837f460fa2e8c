// SPDX-License-Identifier: AGPL-3.0-only
//! The links as the events tell them, and which of them are to be looked at, in that order. Pure.
//!
//! To attach takes longer than to hear of a link: what happened to one meanwhile is known when its turn
//! comes, and one that has gone again is not attached at all.

use std::collections::{BTreeMap, HashSet, VecDeque};

use crate::netlink::{Event, Link};

/// What to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// This index stands for no link any more, or for another one than before.
    Depart(u32),
    /// This link may have to be watched, or in another way, or not any more.
    Look(u32),
}

#[derive(Default)]
pub struct Pending {
    links: BTreeMap<u32, Link>,
    queue: VecDeque<Work>,
    /// Those that stand in the queue to be looked at.
    looks: HashSet<u32>,
    /// One that has a master, or is one that has a table of its own, has changed or gone.
    membership_changed: bool,
}

impl Pending {
    /// The link of this index, if there is one now.
    pub fn link(&self, ifindex: u32) -> Option<&Link> {
        self.links.get(&ifindex)
    }

    pub fn take(&mut self, event: Event) {
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
                self.look(ifindex);
            }
            Event::Gone(ifindex) => {
                let before = self.links.remove(&ifindex);
                self.membership_changed |= before.as_ref().is_some_and(is_member);
                if self.looks.remove(&ifindex) {
                    self.queue.retain(|work| *work != Work::Look(ifindex));
                }
                self.queue.push_back(Work::Depart(ifindex));
            }
        }
    }

    /// Forgets what waits: `links` are all there are.
    pub fn replace(&mut self, links: Vec<Link>) {
        let before = std::mem::take(&mut self.links);
        self.membership_changed = true;
        self.queue.clear();
        self.looks.clear();
        let now: HashSet<u32> = links.iter().map(|link| link.ifindex).collect();
        for ifindex in before.into_keys().filter(|i| !now.contains(i)) {
            self.queue.push_back(Work::Depart(ifindex));
        }
        for link in links {
            self.take(Event::New(link));
        }
    }

    /// For every link the VRF device that it belongs to, if that may have changed since the last question.
    pub fn vrfs(&mut self) -> Option<Vec<(u32, Option<&str>)>> {
        if !std::mem::take(&mut self.membership_changed) {
            return None;
        }
        let vrf = |link| crate::netlink::vrf_among(|ifindex| self.links.get(&ifindex), link);
        let links = self.links.values();
        let vrfs = links.map(|link| (link.ifindex, vrf(link).map(|vrf| vrf.name.as_str())));
        Some(vrfs.collect())
    }

    /// Has a link looked at again.
    pub fn look(&mut self, ifindex: u32) {
        if self.looks.insert(ifindex) {
            self.queue.push_back(Work::Look(ifindex));
        }
    }

    pub fn look_at_all(&mut self) {
        let all: Vec<u32> = self.links.keys().copied().collect();
        for ifindex in all {
            self.look(ifindex);
        }
    }

    pub fn next(&mut self) -> Option<Work> {
        let work = self.queue.pop_front()?;
        if let Work::Look(ifindex) = work {
            self.looks.remove(&ifindex);
        }
        Some(work)
    }

    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }
}

fn is_member(link: &Link) -> bool {
    link.master.is_some() || link.kind == "vrf"
}

#[cfg(test)]
mod tests {
    use super::Work::{Depart, Look};
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

    fn all(pending: &mut Pending) -> Vec<Work> {
        std::iter::from_fn(|| pending.next()).collect()
    }

    #[test]
    fn links_wait_in_the_order_of_their_events_each_once() {
        let mut pending = Pending::default();
        for event in [new(9, "a"), new(3, "b"), new(9, "renamed")] {
            pending.take(event);
        }
        assert_eq!(all(&mut pending), [Look(9), Look(3)]);
        assert_eq!(pending.link(9).unwrap().name, "renamed");
        pending.take(new(9, "a"));
        assert_eq!(all(&mut pending), [Look(9)]);
    }

    #[test]
    fn one_that_has_gone_again_is_not_looked_at() {
        let mut pending = Pending::default();
        for event in [new(1, "a"), new(2, "b"), Event::Gone(1)] {
            pending.take(event);
        }
        assert_eq!(all(&mut pending), [Look(2), Depart(1)]);
        assert!(pending.link(1).is_none());
    }

    #[test]
    fn an_index_that_is_given_again_departs_first() {
        let mut pending = Pending::default();
        for event in [new(5, "a"), Event::Gone(5), new(5, "b")] {
            pending.take(event);
        }
        // to look at it first would find the new link where the old one has not left yet
        assert_eq!(all(&mut pending), [Depart(5), Look(5)]);
    }

    #[test]
    fn a_dump_says_all_there_is() {
        let mut pending = Pending::default();
        pending.take(new(1, "a"));
        pending.take(new(2, "b"));
        all(&mut pending);
        pending.take(new(3, "c"));
        pending.replace(vec![link(2, "b"), link(4, "d")]);
        assert_eq!(all(&mut pending), [Depart(1), Depart(3), Look(2), Look(4)]);
        pending.look_at_all();
        assert_eq!(all(&mut pending), [Look(2), Look(4)]);
    }

    #[test]
    fn vrfs_are_told_anew_when_a_master_changes() {
        let mut pending = Pending::default();
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
        pending.take(port(None));
        assert_eq!(pending.vrfs(), None);
        pending.take(Event::New(red));
        pending.take(port(Some(9)));
        let expected = vec![(1, Some("red")), (9, Some("red"))];
        assert_eq!(pending.vrfs(), Some(expected));
        pending.take(port(Some(9)));
        assert_eq!(pending.vrfs(), None);
        pending.take(port(None));
        let expected = vec![(1, None), (9, Some("red"))];
        assert_eq!(pending.vrfs(), Some(expected));
        pending.take(Event::Gone(9));
        assert_eq!(pending.vrfs(), Some(vec![(1, None)]));
    }
}
