// SPDX-License-Identifier: AGPL-3.0-only
//! What a Rib holds, in numbers and route by route.

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
    /// Up in a session that is up.
    pub peers: usize,
}

/// One route, with all that tells it from others.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct HeldRoute {
    pub router: IpAddr,
    pub peer: PeerKey,
    pub view: View,
    pub prefix: RoutePrefix,
    pub path_id: Option<u32>,
    /// Of labelled unicast (RFC 8277).
    pub labelled: bool,
    pub attributes: Attributes,
    pub stale: bool,
}

/// A peer and what it holds, by family.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerStatus {
    pub router: RouterIdentity,
    pub key: PeerKey,
    pub up: bool,
    pub routes: [usize; 2],
}

impl Rib {
    /// The first `limit` peers, in the order of router and peer; and how many there are.
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

    /// Routes held, those included that are about to be forgotten.
    pub fn held(&self) -> usize {
        self.held.iter().sum()
    }

    /// Sets of attributes held.
    pub fn attribute_sets(&self) -> usize {
        self.attributes.len()
    }

    /// Every route that is not to be removed, in no order.
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

    /// The routes of one prefix, in no order.
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
