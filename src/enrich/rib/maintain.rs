// SPDX-License-Identifier: AGPL-3.0-only
//! Maintenance of a Rib, independent of messages: expires routes and frees the memory of removed ones.

use super::attributes::Attributes;
use super::eligibility::ActiveTables;
use super::peer::TableId;
use super::prefix::{Family, RoutePrefix};
use super::route_table::RoutePath;
use super::{PeerId, Rib, of_family};

/// Prefixes whose removed routes are freed in one step.
const SWEEP: usize = 1 << 12;
/// Peers whose stale routes expire in one step.
const EXPIRE: usize = 1 << 10;

impl Rib {
    /// Removes expired stale routes of a bounded number of peers, and routers without peers. Returns true
    /// if there are more.
    pub fn expire(&mut self, now: u64) -> bool {
        for _ in 0..EXPIRE {
            match self.aging.first() {
                Some(&(due, id)) if due <= now => self.expire_peer(id, now),
                _ => return false,
            }
        }
        true
    }

    fn expire_peer(&mut self, id: u32, now: u64) {
        for (_, view) in self.peers[id].family_views_mut() {
            view.expire(now, |routes| {
                self.holders.queue_removal(routes, &mut self.best_paths)
            });
        }
        self.process_queued_removals();
        self.schedule(id);
        let router = self.peers[id].router;
        self.remove_if_unused(id);
        self.remove_router_if_unused(router);
    }

    /// Schedules the expiry of a peer's stale routes.
    pub(super) fn schedule(&mut self, id: u32) {
        let peer = &mut self.peers[id];
        let due = peer.stale_until();
        let before = std::mem::replace(&mut peer.due, due);
        if before != due {
            before.map(|before| self.aging.remove(&(before, id)));
            due.map(|due| self.aging.insert((due, id)));
        }
    }

    /// Frees a bounded number of removed routes. Returns true if there are more.
    pub fn sweep(&mut self) -> bool {
        for _ in 0..SWEEP {
            let attributes = &mut self.attributes;
            let popped = self.holders.pop(|old| attributes.release(old));
            let Some((family, number, routes)) = popped else {
                break;
            };
            self.held[family as usize] -= routes;
            of_family!(self.prefixes, family, release(number));
        }
        self.holders.has_pending_removals()
    }

    /// Renumbers the prefixes or attributes after most of them were removed, so that the memory of the
    /// removed ones can be freed.
    pub fn compact(&mut self) {
        self.free_best_paths();
        if self.holders.has_pending_removals() {
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
        self.best_paths.invalidate_all();
        for (family, prefixes) in Family::ALL.into_iter().zip(&prefixes) {
            if let Some(prefixes) = prefixes {
                self.holders.renumber(family, prefixes);
            }
        }
        for id in self.peer_numbers() {
            for (family, view) in self.peers[id].family_views_mut() {
                let prefixes = prefixes[family as usize].as_deref();
                for routes in view.tables_mut() {
                    routes.renumber(prefixes, attributes.as_deref());
                    self.holders.fit(routes);
                }
            }
        }
    }

    /// Sets this AS in a peer's routes that have an empty path and were announced before the AS of the
    /// router was known.
    pub fn set_local_asn(&mut self, peer: PeerId, asn: u32) {
        let mut found = Vec::new();
        for (view, family, held) in self.peers[peer.0].views() {
            for number in held.fresh.prefixes() {
                let paths = held.fresh.paths(number);
                let is_own = |path: &RoutePath| self.attributes.peer_asn(path.attributes) == 0;
                found.extend(
                    paths
                        .filter(is_own)
                        .map(|path| (view, family, number, path)),
                );
            }
        }
        for (view, family, number, path) in found {
            let attributes = Attributes {
                origin_asn: asn,
                peer_asn: asn,
                ..self.attributes.get(path.attributes)
            };
            let (bits, length) = of_family!(self.prefixes, family, get(number));
            let prefix = RoutePrefix::new(family, bits, length);
            let (held, _) = self.acquire(&attributes);
            // it replaces another route, so there is room
            let _ = self.announce(peer, view, prefix, path.key(), held);
            self.release(held);
        }
    }

    fn free_best_paths(&mut self) {
        for table in (0..self.tables.len()).map(|table| TableId(table as u16)) {
            for family in Family::ALL {
                if !matches!(self.lookup_plan.of(table, family), ActiveTables::Multiple) {
                    self.best_paths.free(table, family);
                }
            }
        }
    }

    /// Returns whether the result of a lookup may have changed since the last call.
    pub fn take_changed(&mut self) -> bool {
        std::mem::take(&mut self.changed)
    }

    /// Removes a peer that is down and holds nothing.
    pub(super) fn remove_if_unused(&mut self, id: u32) {
        let peer = &self.peers[id];
        if peer.is_unused() {
            self.routers[peer.router].peers.remove(&peer.key);
            self.remove_peer(id);
        }
    }

    /// Removes an ended router without peers.
    pub(super) fn remove_router_if_unused(&mut self, id: u32) {
        let is_unused = |r: &super::RibRouter| r.ended.is_some() && r.peers.is_empty();
        if self.routers.get(id).is_some_and(is_unused) {
            self.routers.remove(id);
            self.ranks_outdated = true;
        }
    }

    /// Removes a peer that its router does not list.
    pub(super) fn remove_peer(&mut self, id: u32) {
        self.clear_peer(id);
        self.mark_down(id);
        self.schedule(id);
        self.peers.remove(id);
    }

    pub(super) fn clear_peer(&mut self, id: u32) {
        for (_, view) in self.peers[id].family_views_mut() {
            view.clear(|routes| self.holders.queue_removal(routes, &mut self.best_paths));
        }
        self.process_queued_removals();
    }

    fn peer_numbers(&self) -> Vec<u32> {
        self.peers.iter().map(|(id, _)| id).collect()
    }
}
