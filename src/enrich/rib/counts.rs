// SPDX-License-Identifier: AGPL-3.0-only
//! The content of a Rib: counts, and routes one by one.

use std::net::IpAddr;

use super::attributes::Attributes;
use super::holders::RouteTableKey;
use super::peer::{PeerKey, RibPeer, RouterIdentity, View};
use super::prefix::{Family, RoutePrefix};
use super::route_table::RouteTable;
use super::{Rib, of_family};

/// By family.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RibCounts {
    pub routes: [usize; 2],
    pub prefixes: [usize; 2],
    pub stale_routes: [usize; 2],
    /// Peers that are up in a session that is up.
    pub peers: usize,
}

/// One route, with everything that distinguishes it from others.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct HeldRoute {
    pub router: IpAddr,
    pub peer: PeerKey,
    pub view: View,
    pub prefix: RoutePrefix,
    pub path_id: Option<u32>,
    /// The route is of labelled unicast (RFC 8277).
    pub labelled: bool,
    pub attributes: Attributes,
    pub stale: bool,
}

/// A peer and the number of its routes, by family.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerStatus {
    pub router: RouterIdentity,
    pub key: PeerKey,
    pub up: bool,
    pub routes: [usize; 2],
}

impl Rib {
    /// Returns the first `limit` peers, ordered by router and peer, and the number of all peers.
    pub fn peers(&self, limit: usize) -> (Vec<PeerStatus>, usize) {
        let peers = self.routers.iter().flat_map(|(_, r)| r.peers.values());
        let peers = peers.take(limit).map(|&id| &self.peers[id]);
        let status = |peer: &RibPeer| {
            let mut routes = [0; 2];
            for (_, family, view) in peer.views() {
                routes[family as usize] += view.fresh.len() + view.stale_routes();
            }
            PeerStatus {
                router: self.routers[peer.router].identity.clone(),
                key: peer.key,
                up: peer.up,
                routes,
            }
        };
        (peers.map(status).collect(), self.peers.len())
    }

    pub fn counts(&self) -> RibCounts {
        let pending_removal = self.holders.pending_removal_routes();
        RibCounts {
            routes: Family::ALL.map(|f| self.held[f as usize] - pending_removal[f as usize]),
            prefixes: Family::ALL.map(|family| of_family!(self.prefixes, family, len())),
            stale_routes: self.holders.stale_routes(),
            peers: self.up,
        }
    }

    /// Returns the number of routes held, including those that are about to be removed.
    pub fn held(&self) -> usize {
        self.held.iter().sum()
    }

    /// Returns the number of attribute sets held.
    pub fn attribute_sets(&self) -> usize {
        self.attributes.len()
    }

    /// Returns every route that is not to be removed, in no particular order.
    pub fn routes(&self) -> Vec<HeldRoute> {
        let mut routes = Vec::new();
        let views = self.peers.iter().flat_map(|(_, peer)| peer.views());
        let tables = views.flat_map(|(.., held)| held.tables());
        for (holder, table) in tables.filter_map(|table| Some((table.holder?, table))) {
            for number in table.prefixes() {
                self.routes_in(number, self.holders.table_key(holder), table, &mut routes);
            }
        }
        routes
    }

    /// Returns the routes of one prefix, in no particular order.
    pub fn routes_of(&self, prefix: RoutePrefix) -> Vec<HeldRoute> {
        let mut routes = Vec::new();
        let (bits, length) = (prefix.bits(), prefix.length());
        let Some(number) = of_family!(self.prefixes, prefix.family(), find(bits, length)) else {
            return routes;
        };
        for (table_key, table) in self.holding(prefix.family(), number) {
            self.routes_in(number, table_key, table, &mut routes);
        }
        routes
    }

    fn routes_in(
        &self,
        number: u32,
        table_key: &RouteTableKey,
        table: &RouteTable,
        routes: &mut Vec<HeldRoute>,
    ) {
        let RouteTableKey { family, view, .. } = *table_key;
        let peer = &self.peers[table_key.peer];
        let (bits, length) = of_family!(self.prefixes, family, get(number));
        routes.extend(table.paths(number).map(|path| HeldRoute {
            router: self.routers[peer.router].identity.address,
            peer: peer.key,
            view,
            prefix: RoutePrefix::new(family, bits, length),
            path_id: path.id,
            labelled: path.labelled,
            attributes: self.attributes.get(path.attributes),
            stale: table_key.stale,
        }));
    }
}
