// SPDX-License-Identifier: AGPL-3.0-only
//! The neighbors that BGP knows: the peers that are up, and the next hops of routes.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use super::Rib;
use super::peer::PeerKind;
use crate::enrich::neighbors::PeerAs;

/// Maximum number of pairs of next hop and peer AS that are read; a router has some thousands.
const MAX_EXITS: usize = 1 << 16;

/// The AS of each address that is a BGP peer or the next hop of routes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct BgpNeighbors {
    peers: HashMap<IpAddr, (PeerAs, Option<Arc<str>>)>,
    next_hops: HashMap<IpAddr, PeerAs>,
}

impl BgpNeighbors {
    /// Returns the AS of the peer with this address; if there is none, the first AS of the routes with this next hop.
    pub fn asn(&self, address: IpAddr) -> PeerAs {
        let peer = self.peers.get(&address).map(|(asn, _)| *asn);
        let next_hop = || self.next_hops.get(&address).copied();
        peer.or_else(next_hop).unwrap_or_default()
    }

    /// Returns the name that the peer with this address sent.
    pub fn name(&self, address: IpAddr) -> Option<Arc<str>> {
        self.peers.get(&address)?.1.clone()
    }

    pub fn peers(&self) -> impl Iterator<Item = (IpAddr, PeerAs)> {
        self.peers
            .iter()
            .map(|(address, (asn, _))| (*address, *asn))
    }

    pub fn add_peer(&mut self, address: IpAddr, asn: u32, name: Option<&str>) {
        let (held, held_name) = self.peers.entry(address).or_default();
        *held = held.merge(PeerAs::of(asn));
        if held_name.is_none() {
            *held_name = name.map(Into::into);
        }
    }

    pub fn add_next_hop(&mut self, address: IpAddr, asn: u32) {
        let held = self.next_hops.entry(address).or_default();
        *held = held.merge(PeerAs::of(asn));
    }
}

impl Rib {
    /// Returns the peers that are up, and the next hops for which `is_neighbor` is true. If the machine's own router
    /// has a session, only its peers count: other routers have other neighbors.
    pub fn bgp_neighbors(&self, mut is_neighbor: impl FnMut(IpAddr) -> bool) -> BgpNeighbors {
        let mut found = BgpNeighbors::default();
        let has_local = self.routers.iter().any(|(_, router)| router.local);
        for (_, peer) in self.peers.iter().filter(|(_, peer)| peer.up) {
            let is_peer = !matches!(peer.key.kind, PeerKind::LocRib | PeerKind::Originated);
            if is_peer && self.routers[peer.router].local == has_local {
                let asn = match peer.info.asn {
                    0 => peer.key.asn,
                    asn => asn,
                };
                found.add_peer(peer.key.address, asn, peer.name.as_deref());
            }
        }
        for (next_hop, asn) in self.attributes.exits().take(MAX_EXITS) {
            if is_neighbor(next_hop) {
                found.add_next_hop(next_hop, asn);
            }
        }
        found
    }
}
