// SPDX-License-Identifier: AGPL-3.0-only
//! Sessions and peers: assigns sessions to routers and messages to peers, and handles the routes when a
//! session or a peer ends.

use super::peer::{PeerInfo, PeerKey, RibPeer, RibRouter, RouterIdentity, Speaker};
use super::rank::Rank;
use super::{MAX_ENDED, MAX_PEERS, PeerId, Rib, RibLimitError, RouterId};

/// If more peers have one address, a message applies to a peer only if all its values match: the search for
/// other matches must be short.
const MAX_AT_ADDRESS: usize = 64;

impl Rib {
    /// Adds a session that begins. Until [`Rib::add_speaker`] or [`Rib::take_over`] is called, it is
    /// unknown which ended session it continues.
    pub fn connect(&mut self, identity: RouterIdentity, local: bool) -> RouterId {
        self.serial += 1;
        self.ranks_outdated = true;
        RouterId(self.routers.insert(RibRouter {
            identity,
            local,
            ended: None,
            serial: self.serial,
            continues: false,
            peers: Default::default(),
            up: Vec::new(),
            route_counts: Default::default(),
            rank: Rank::Remote,
            newest: None,
            replaces: false,
        }))
    }

    /// Records an OPEN that the router sent with these values, by which the router is recognized.
    pub fn add_speaker(&mut self, id: RouterId, speaker: Speaker, now: u64) {
        if self.routers[id.0].identity.add(speaker) {
            self.ranks_outdated = true;
            self.take_over(id, now);
        }
    }

    /// Continues the ended session of the same router: its routes are now stale routes of this session.
    /// Does nothing after the first time, or if that session is ambiguous.
    pub fn take_over(&mut self, id: RouterId, now: u64) {
        let router = &self.routers[id.0];
        if router.continues {
            return;
        }
        let identity = &router.identity;
        let ended = self.routers.iter().filter(|(_, r)| r.ended.is_some());
        let same: Vec<_> = ended
            .filter(|(_, r)| r.identity.is_same(identity))
            .collect();
        let Some(&(old, latest)) = same.iter().max_by_key(|(_, r)| r.serial) else {
            return;
        };
        let mut others = same.iter().map(|(_, r)| &r.identity);
        if !identity.has_speaker() && !others.all(|other| other.is_same(&latest.identity)) {
            return;
        }
        self.best_paths_outdated = true;
        self.ranks_outdated = true;
        let Some(old) = self.routers.remove(old) else {
            return;
        };
        let before = old.ended.unwrap_or(now);
        let before = before.saturating_add(self.config.stale_ms);
        let until = now.saturating_add(self.config.stale_ms);
        let router = &mut self.routers[id.0];
        router.continues = true;
        let mut surplus = Vec::new();
        for (key, peer) in old.peers {
            if router.peers.contains_key(&key) {
                surplus.push(peer);
                continue;
            }
            router.peers.insert(key, peer);
            let peer = &mut self.peers[peer];
            peer.router = id.0;
            for (view, family, tables) in peer.filled() {
                router.route_counts.add(peer, view, family, tables);
            }
            for (_, view) in peer.family_views_mut() {
                view.extend(before, until);
            }
        }
        surplus.into_iter().for_each(|peer| self.remove_peer(peer));
    }

    /// Handles the end of a session: its routes become stale.
    pub fn disconnect(&mut self, id: RouterId, now: u64) {
        self.best_paths_outdated = true;
        self.ranks_outdated = true;
        let router = &mut self.routers[id.0];
        router.ended = Some(now);
        let up = std::mem::take(&mut router.up);
        self.up -= up.len();
        let until = now.saturating_add(self.config.stale_ms);
        for &peer in &up {
            let state = &mut self.peers[peer];
            state.up = false;
            for (_, view) in state.family_views_mut() {
                self.holders.mark_stale(&view.fresh);
                view.retire(until, |routes| {
                    self.holders.queue_removal(routes, &mut self.best_paths)
                });
            }
            self.schedule(peer);
        }
        self.process_queued_removals();
        up.into_iter().for_each(|peer| self.remove_if_unused(peer));
        self.remove_router_if_unused(id.0);
        let routers = self.routers.iter();
        let ended: Vec<_> = routers
            .filter_map(|(id, r)| Some((r.ended?, r.serial, id)))
            .collect();
        if ended.len() > MAX_ENDED
            && let Some(&(.., oldest)) = ended.iter().min()
        {
            self.remove_router(RouterId(oldest));
        }
    }

    /// Removes a router whose session has ended, with all its routes.
    pub fn remove_router(&mut self, id: RouterId) {
        let ended = self.routers.get(id.0).is_some_and(|r| r.ended.is_some());
        if ended {
            self.best_paths_outdated = true;
            self.ranks_outdated = true;
            let peers: Vec<_> = self.routers[id.0].peers.values().copied().collect();
            peers.into_iter().for_each(|peer| self.remove_peer(peer));
            self.routers.remove(id.0);
        }
    }

    /// Handles a peer-up. If the peer was up before, its session was reset and its routes are removed.
    pub fn peer_up(
        &mut self,
        router: RouterId,
        key: PeerKey,
        info: PeerInfo,
    ) -> Result<PeerId, RibLimitError> {
        self.best_paths_outdated |= self.routers[router.0].replaces;
        let known = self.routers[router.0].peers.get(&key).copied();
        if let Some(id) = known.or_else(|| self.rename_ended(router, key)) {
            if self.peers[id].up {
                self.clear_peer(id);
            } else {
                self.mark_up(id);
            }
            self.set_filtered(PeerId(id), false);
            let peer = &mut self.peers[id];
            // the peer's routes are from an ended session, and these values take part in their comparison
            self.best_paths_outdated |= peer.info != info && peer.due.is_some();
            peer.info = info;
            self.blackholes.peer_changed(id);
            return Ok(PeerId(id));
        }
        if self.peers.len() >= MAX_PEERS {
            return Err(RibLimitError::Peers);
        }
        let table = self.table_of(key.distinguisher);
        let id = self.peers.insert(RibPeer::new(router.0, key, info, table));
        self.routers[router.0].peers.insert(key, id);
        self.mark_up(id);
        Ok(PeerId(id))
    }

    /// Sets the name that operators see next to the address of a peer.
    pub fn set_peer_name(&mut self, peer: PeerId, name: Option<&str>) {
        self.peers[peer.0].name = name.map(Into::into);
    }

    fn mark_up(&mut self, id: u32) {
        let peer = &mut self.peers[id];
        let up = &mut self.routers[peer.router].up;
        peer.up = true;
        peer.up_index = up.len() as u32;
        up.push(id);
        self.up += 1;
    }

    /// Removes a peer from the peers that are up.
    pub(super) fn mark_down(&mut self, id: u32) {
        let peer = &mut self.peers[id];
        if !std::mem::take(&mut peer.up) {
            return;
        }
        let index = peer.up_index;
        let up = &mut self.routers[peer.router].up;
        up.swap_remove(index as usize);
        if let Some(&moved) = up.get(index as usize) {
            self.peers[moved].up_index = index;
        }
        self.up -= 1;
    }

    /// Returns the only peer of an ended session with the address of `key`, under its new key: its BGP
    /// identifier changed while the router was disconnected.
    fn rename_ended(&mut self, router: RouterId, key: PeerKey) -> Option<u32> {
        let ended = |_: &PeerKey, peer: &RibPeer| !peer.up;
        let id = self.only_peer(router, &key, ended)?;
        let peer = &mut self.peers[id];
        let peers = &mut self.routers[router.0].peers;
        peers.remove(&peer.key);
        peers.insert(key, id);
        peer.key = key;
        Some(id)
    }

    /// Handles a peer-down: removes the peer's routes, also those of an ended session. Returns the peer.
    ///
    /// FRR reports neighbors that are configured and not up with the AS and BGP identifier that it knows,
    /// or 0. Such a message must not remove another neighbor that is up at the same link-local address.
    pub fn peer_down(&mut self, router: RouterId, key: &PeerKey) -> Option<PeerId> {
        let up = |held: &PeerKey, peer: &RibPeer| peer.up && key.may_match_up(held);
        let ended = |held: &PeerKey, peer: &RibPeer| !peer.up && key.may_match(held);
        let exact = self.routers[router.0].peers.get(key).copied();
        let id = exact
            .or_else(|| self.only_peer(router, key, up))
            .or_else(|| self.only_peer(router, key, ended))?;
        let key = self.peers[id].key;
        self.best_paths_outdated |= self.routers[router.0].replaces;
        self.routers[router.0].peers.remove(&key);
        self.remove_peer(id);
        Some(PeerId(id))
    }

    /// Returns whether the peer with all these values is up.
    pub fn is_up(&self, router: RouterId, key: &PeerKey) -> bool {
        let id = self.routers[router.0].peers.get(key);
        id.is_some_and(|id| self.peers[*id].up)
    }

    /// Returns the peer of a message, if it is up: the one with all values of the header, or the only one
    /// that agrees with the values that both have.
    pub fn peer(&self, router: RouterId, key: &PeerKey) -> Option<PeerId> {
        let exact = self.routers[router.0].peers.get(key).copied();
        let id = match exact {
            Some(id) if self.peers[id].up => id,
            _ => self.only_peer(router, key, |held, peer| peer.up && key.may_match(held))?,
        };
        Some(PeerId(id))
    }

    /// Returns the peer with the address of `key` that fits, if there is only one.
    fn only_peer(
        &self,
        router: RouterId,
        key: &PeerKey,
        fits: impl Fn(&PeerKey, &RibPeer) -> bool,
    ) -> Option<u32> {
        let mut peers = self.routers[router.0].peers.range(key.address_range());
        let near = peers.by_ref().take(MAX_AT_ADDRESS);
        let mut fitting = near.filter(|(held, id)| fits(held, &self.peers[**id]));
        let (_, id) = fitting.next()?;
        let is_only = fitting.next().is_none() && peers.next().is_none();
        is_only.then_some(*id)
    }

    /// Records whether a Loc-RIB is filtered.
    pub fn set_filtered(&mut self, peer: PeerId, filtered: bool) {
        let peer = &mut self.peers[peer.0];
        if peer.filtered == filtered {
            return;
        }
        let router = &mut self.routers[peer.router];
        for (view, family, tables) in peer.filled().filter(|(.., tables)| *tables > 0) {
            self.best_paths_outdated = true;
            router.route_counts.remove(peer, view, family, tables);
        }
        peer.filtered = filtered;
        for (view, family, tables) in peer.filled().filter(|(.., tables)| *tables > 0) {
            router.route_counts.add(peer, view, family, tables);
        }
    }
}
