// SPDX-License-Identifier: AGPL-3.0-only
//! The routes to a source address, from the views before import policy of one neighbor and from all views.

use std::net::IpAddr;

use super::lookup::SHORTEST_NETWORK;
use super::peer::{RibPeer, TableId, View};
use super::prefix::{Family, split};
use super::{PeerId, Rib, of_family};

/// A view without End-of-RIB counts as complete when its first route is this old: some senders report none.
const SETTLED_MS: u64 = 30_000;
/// Maximum number of paths that a lookup reads: a prefix of many peers must not make it slow.
const MAX_PATHS: usize = 1 << 13;
/// Maximum number of origins of one prefix.
const MAX_ORIGINS: usize = 8;

/// The routes to a source address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SourceRoutes {
    /// The neighbor announces a route that covers the address.
    Announced,
    /// rfm has no complete view of the neighbor before import policy.
    NoView,
    /// No route covers the address, except default routes of others.
    None,
    /// Others announce routes: the origins of the longest prefix.
    OfOthers(Box<[u32]>),
}

impl Rib {
    /// Returns the routes to an address for the check of a neighbor AS. `sessions` carry its routes.
    pub fn source_routes<'a>(
        &self,
        address: IpAddr,
        table: TableId,
        asn: u32,
        sessions: impl FnOnce(Family) -> &'a [PeerId],
    ) -> SourceRoutes {
        let (family, bits) = split(address);
        let (mut announced, mut left) = (false, MAX_PATHS);
        let mut longest: Option<(u8, Vec<u32>)> = None;
        let visit = |prefix: u32, length: u8| {
            for (key, routes) in self.holding(family, prefix) {
                if key.table != table {
                    continue;
                }
                for path in routes.paths(prefix).take(left) {
                    left -= 1;
                    let (origin, first, ..) = self.attributes.lookup_values(path.attributes);
                    announced = key.view == View::PrePolicy && first == asn;
                    if announced {
                        return true;
                    }
                    if length >= SHORTEST_NETWORK {
                        let (longest, origins) = longest.get_or_insert((length, Vec::new()));
                        let is_new = *longest == length && !origins.contains(&origin);
                        if is_new && origin > 0 && origins.len() < MAX_ORIGINS {
                            origins.push(origin);
                        }
                    }
                }
            }
            left == 0
        };
        of_family!(self.prefixes, family, matches(bits, visit));
        if announced {
            return SourceRoutes::Announced;
        }
        // without all routes, the others do not matter
        let has_view = sessions(family)
            .iter()
            .any(|session| self.has_source_view(*session, family));
        match longest {
            _ if !has_view || left == 0 => SourceRoutes::NoView,
            None => SourceRoutes::None,
            Some((_, origins)) => SourceRoutes::OfOthers(origins.into()),
        }
    }

    /// Returns whether a session is up and has sent its routes before import policy.
    fn has_source_view(&self, session: PeerId, family: Family) -> bool {
        let peer = self.peers.get(session.0);
        peer.is_some_and(|peer| self.is_source_view(peer, family))
    }

    fn is_source_view(&self, peer: &RibPeer, family: Family) -> bool {
        let view = peer.view(View::PrePolicy, family);
        let age = self.journal.now().saturating_sub(view.fresh.since);
        let is_external = !peer.info.internal && !peer.key.is_loc_rib();
        peer.up && is_external && !view.fresh.is_empty() && (view.complete || age >= SETTLED_MS)
    }

    /// Returns the sessions with a complete view before import policy.
    pub fn source_views(&self) -> Vec<(PeerId, Family)> {
        let peers = self.peers.iter().filter(|(_, peer)| peer.up);
        peers
            .flat_map(|(id, peer)| {
                let families = Family::ALL.into_iter();
                let families = families.filter(|family| self.is_source_view(peer, *family));
                families.map(move |family| (PeerId(id), family))
            })
            .collect()
    }

    /// Calls `found` with first and last AS of the paths of a view, of `count` prefixes after the first `from`. Returns
    /// whether there may be more: the caller releases the lock in between.
    pub fn source_origins(
        &self,
        (session, family): (PeerId, Family),
        from: usize,
        count: usize,
        mut found: impl FnMut(u32, u32),
    ) -> bool {
        let Some(peer) = self.peers.get(session.0) else {
            return false;
        };
        let routes = &peer.view(View::PrePolicy, family).fresh;
        let mut read = 0;
        for prefix in routes.prefixes().skip(from).take(count) {
            read += 1;
            for path in routes.paths(prefix) {
                let (origin, first, ..) = self.attributes.lookup_values(path.attributes);
                found(first, origin);
            }
        }
        read == count
    }
}
