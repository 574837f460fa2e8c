// SPDX-License-Identifier: AGPL-3.0-only
//! What happens to a Rib without a message: routes age out, forgotten ones give back their memory.

use super::prefix::Family;
use super::{Rib, SWEEP, of_family};

impl Rib {
    /// Forgets stale routes whose time has come, and routers of which nothing is left.
    pub fn expire(&mut self, now: u64) {
        for id in self.peer_numbers() {
            let mut expired = false;
            for (family, view) in self.peers[id].family_views_mut() {
                let generations = view.stale.len();
                view.expire(now, &mut |d| self.doomed.push((family, d)));
                expired |= view.stale.len() < generations;
            }
            self.unsettled |= expired;
        }
        let routers: Vec<_> = self.routers.iter().map(|(id, _)| id).collect();
        routers
            .into_iter()
            .for_each(|id| self.forget_void_peers(id));
    }

    /// Forgets a bounded number of doomed routes. True if there are more.
    pub fn sweep(&mut self) -> bool {
        for _ in 0..SWEEP {
            let Some((family, doomed)) = self.doomed.last_mut() else {
                break;
            };
            let before = doomed.len();
            let attributes = &mut self.attributes;
            let popped = doomed.pop(|old| attributes.release(old));
            self.held -= before - doomed.len();
            match popped {
                Some(number) => of_family!(self.prefixes, *family, release(number)),
                None => drop(self.doomed.pop()),
            }
        }
        !self.doomed.is_empty()
    }

    /// After a great part of the prefixes or attributes is gone, numbers the rest anew, so that the
    /// memory of the others can be given back.
    pub fn compact(&mut self) {
        if !self.doomed.is_empty() {
            return;
        }
        let attributes = self
            .attributes
            .is_sparse()
            .then(|| self.attributes.rebuild());
        let prefixes = Family::ALL.map(|family| {
            of_family!(self.prefixes, family, is_sparse())
                .then(|| of_family!(self.prefixes, family, rebuild()))
        });
        if attributes.is_none() && prefixes.iter().all(Option::is_none) {
            return;
        }
        self.winners.clear();
        for id in self.peer_numbers() {
            for (family, view) in self.peers[id].family_views_mut() {
                let prefixes = prefixes[family as usize].as_deref();
                for routes in view.tables_mut() {
                    routes.renumber(prefixes, attributes.as_deref());
                }
            }
        }
    }

    /// Whether a lookup may have another result than at the last call.
    pub fn take_changed(&mut self) -> bool {
        std::mem::take(&mut self.changed)
    }

    /// Takes out the peers of a router that hold nothing, and an ended router without peers.
    pub(super) fn forget_void_peers(&mut self, router: u32) {
        let peers = &self.routers[router].peers;
        let is_void = |id: &&u32| self.peers[**id].is_void();
        let void: Vec<_> = peers.values().filter(is_void).copied().collect();
        for id in void {
            let key = self.peers[id].key;
            self.routers[router].peers.remove(&key);
            self.forget_peer(id);
        }
        let router_is_void = |r: &super::Router| r.ended.is_some() && r.peers.is_empty();
        if router_is_void(&self.routers[router]) {
            self.routers.remove(router);
            self.unsettled = true;
        }
    }

    /// Takes out a peer; its router has let go of it.
    pub(super) fn forget_peer(&mut self, id: u32) {
        self.unsettled = true;
        self.clear_peer(id);
        self.peers.remove(id);
    }

    pub(super) fn clear_peer(&mut self, id: u32) {
        self.unsettled = true;
        for (family, view) in self.peers[id].family_views_mut() {
            view.clear(&mut |d| {
                if !d.is_empty() {
                    self.doomed.push((family, d));
                }
            });
        }
    }

    fn peer_numbers(&self) -> Vec<u32> {
        self.peers.iter().map(|(id, _)| id).collect()
    }
}
