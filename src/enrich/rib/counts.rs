// SPDX-License-Identifier: AGPL-3.0-only
//! What a Rib holds, in numbers and route by route.

use std::net::IpAddr;

use super::attributes::Attributes;
use super::peer::{Identity, Peer, PeerKey, View};
use super::prefix::{Family, Prefix};
use super::routes::RouteTable;
use super::{Rib, of_family};

/// By family.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
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
    pub prefix: Prefix,
    pub path_id: Option<u32>,
    pub attributes: Attributes,
    pub stale: bool,
}

/// A peer and what it holds, by family.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerStatus {
    pub router: Identity,
    pub key: PeerKey,
    pub up: bool,
    pub routes: [usize; 2],
}

impl Rib {
    /// The first `limit` peers, in the order of router and peer; and how many there are.
    pub fn peers(&self, limit: usize) -> (Vec<PeerStatus>, usize) {
        let mut peers: Vec<_> = self.peers.iter().map(|(_, peer)| peer).collect();
        let count = peers.len();
        peers.sort_unstable_by_key(|peer| (peer.router, peer.key));
        peers.truncate(limit);
        let status = |peer: &Peer| {
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
        (peers.into_iter().map(status).collect(), count)
    }

    pub fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        for (_, peer) in self.peers.iter() {
            counts.peers += usize::from(peer.up);
            for (_, family, view) in peer.views() {
                let stale = view.stale_routes();
                counts.stale_routes[family as usize] += stale;
                counts.routes[family as usize] += view.fresh.len() + stale;
            }
        }
        counts.prefixes = Family::ALL.map(|family| of_family!(self.prefixes, family, len()));
        counts
    }

    /// Routes held, those included that are about to be forgotten.
    pub fn held(&self) -> usize {
        self.held
    }

    /// Sets of attributes held.
    pub fn attribute_sets(&self) -> usize {
        self.attributes.len()
    }

    /// Every route that is not doomed, in no order.
    pub fn routes(&self) -> Vec<HeldRoute> {
        let mut routes = Vec::new();
        self.each_table(|family, place, table| {
            for number in table.prefixes() {
                self.routes_in(family, number, place, table, &mut routes);
            }
        });
        routes
    }

    /// The routes of one prefix, in no order.
    pub fn routes_of(&self, prefix: Prefix) -> Vec<HeldRoute> {
        let mut routes = Vec::new();
        let (bits, length) = (prefix.bits(), prefix.length());
        let Some(number) = of_family!(self.prefixes, prefix.family(), find(bits, length)) else {
            return routes;
        };
        self.each_table(|family, place, table| {
            if family == prefix.family() {
                self.routes_in(family, number, place, table, &mut routes);
            }
        });
        routes
    }

    fn each_table(&self, mut visit: impl FnMut(Family, Place, &RouteTable)) {
        for (_, peer) in self.peers.iter() {
            for (view, family, held) in peer.views() {
                for (generation, table) in held.tables().enumerate() {
                    let place = Place {
                        router: self.routers[peer.router].identity.address,
                        peer: peer.key,
                        view,
                        stale: generation > 0,
                    };
                    visit(family, place, table);
                }
            }
        }
    }

    fn routes_in(
        &self,
        family: Family,
        number: u32,
        place: Place,
        table: &RouteTable,
        routes: &mut Vec<HeldRoute>,
    ) {
        let (bits, length) = of_family!(self.prefixes, family, get(number));
        routes.extend(table.paths(number).map(|path| HeldRoute {
            router: place.router,
            peer: place.peer,
            view: place.view,
            prefix: Prefix::new(family, bits, length),
            path_id: path.id,
            attributes: self.attributes.get(path.attributes),
            stale: place.stale,
        }));
    }
}

/// Where a route table stands.
#[derive(Clone, Copy)]
struct Place {
    router: IpAddr,
    peer: PeerKey,
    view: View,
    stale: bool,
}
