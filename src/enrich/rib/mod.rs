// SPDX-License-Identifier: AGPL-3.0-only
//! Routes received over BMP, by router, peer, view and Add-Path identifier, and their lookup by address
//! (pure).
//!
//! Each prefix has a number ([`prefix_index`]), and so does each distinct set of attributes
//! ([`attribute_interner`]). The routes of one view of one peer are an array or a hash table from prefix to
//! attributes ([`route_table`]). The removal of a peer takes no time: the lookup ignores its routes
//! immediately, and their memory is freed step by step.
//!
//! [`SharedRib`] shares a Rib between the threads that write it and the thread that looks up routes.

mod as_path;
mod attribute_interner;
mod attributes;
mod best_path_cache;
mod blackhole;
mod counts;
mod decision;
mod details;
mod eligibility;
mod explain;
mod holders;
mod journal;
mod lookup;
mod maintain;
mod neighbors;
mod peer;
mod prefix;
mod prefix_block;
mod prefix_index;
mod rank;
mod route_table;
mod routers;
mod shared;
mod source_routes;
mod store;

use std::collections::BTreeSet;

use crate::types::distinguisher::Distinguisher;
use crate::types::slab::Slab;

use attribute_interner::AttributeInterner;
use best_path_cache::BestPathCache;
use blackhole::Blackholes;
use eligibility::LookupPlan;
use holders::{Holders, RouteTableKey};
use journal::Journal;
use peer::{RibPeer, RibRouter};
use prefix_index::PrefixIndex;
use route_table::RoutePath;

pub use as_path::{AsPath, SegmentKind};
pub use attribute_interner::AttributesId;
pub use attributes::Attributes;
pub use blackhole::{BlackholePolicy, BlackholeRejectReason};
pub use counts::{HeldRoute, PeerStatus, RibCounts};
pub use decision::DecisionStep;
pub use explain::ExplainedRoute;
pub use journal::Age;
pub use lookup::{Route, SHORTEST_NETWORK, is_unlabelled};
pub use neighbors::BgpNeighbors;
pub use peer::{PeerInfo, PeerKey, PeerKind, RouterIdentity, Speaker, TableId, View};
pub use prefix::{Family, RoutePrefix};
pub use route_table::{MAX_PATHS, PathKey};
pub use shared::{LookupGuard, SharedRib};
pub use source_routes::SourceRoutes;

/// Maximum number of peers of all routers together.
pub const MAX_PEERS: usize = 1 << 16;
/// Maximum number of routers whose session ended and whose routes are still valid.
const MAX_ENDED: usize = 256;
/// Bytes of AS paths and communities that are held for each route of `max_routes`; many routes share
/// them.
const DETAIL_BYTES: usize = 64;
const MAX_DETAIL_BYTES: usize = 1 << 31;

/// Parameters of the RIB.
#[derive(Clone, Debug, Default)]
pub struct RibConfig {
    pub max_routes: usize,
    pub stale_ms: u64,
    /// VRF device and the distinguisher of its routes.
    pub vrf: Vec<(String, Distinguisher)>,
    pub blackhole: BlackholePolicy,
}

/// A router that has, or had, a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RouterId(u32);

/// A peer of a router; valid until the peer is down.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerId(u32);

/// Why a route or a peer was rejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RibLimitError {
    /// `max_routes` are held.
    Routes,
    /// [`MAX_PATHS`] of one prefix are held of this peer.
    Paths,
    /// [`MAX_PEERS`] are up.
    Peers,
}

#[derive(Debug)]
pub struct Rib {
    config: RibConfig,
    /// Distinguisher of each table, the global one first.
    tables: Vec<Distinguisher>,
    routers: Slab<RibRouter>,
    peers: Slab<RibPeer>,
    prefixes: Prefixes,
    attributes: AttributeInterner,
    holders: Holders,
    lookup_plan: LookupPlan,
    best_paths: BestPathCache,
    blackholes: Blackholes,
    /// Peers with stale routes, by the time at which these are checked.
    aging: BTreeSet<(u64, u32)>,
    /// Peers that are up.
    up: usize,
    journal: Journal,
    /// Routes of peers and routes to be removed.
    held: [usize; 2],
    serial: u64,
    /// Sessions began or ended, or the identity of their routers is better known.
    ranks_outdated: bool,
    /// The best path of any prefix may have changed.
    best_paths_outdated: bool,
    /// The result of a lookup may have changed since this was last taken.
    changed: bool,
}

/// The prefixes of both families.
#[derive(Debug, Default)]
struct Prefixes {
    v4: PrefixIndex<u32>,
    v6: PrefixIndex<[u32; 4]>,
}

/// Calls a method of the prefix table of a family.
macro_rules! of_family {
    ($prefixes:expr, $family:expr, $method:ident($($argument:expr),*)) => {
        match $family {
            Family::Ipv4 => $prefixes.v4.$method($($argument),*),
            Family::Ipv6 => $prefixes.v6.$method($($argument),*),
        }
    };
}
use of_family;

impl Rib {
    pub fn new(mut config: RibConfig) -> Self {
        let mut tables = vec![Distinguisher([0; 8])];
        for (_, distinguisher) in &config.vrf {
            if !tables.contains(distinguisher) {
                tables.push(*distinguisher);
            }
        }
        Self {
            holders: Holders::new(tables.len()),
            lookup_plan: LookupPlan::new(tables.len()),
            best_paths: BestPathCache::new(tables.len()),
            blackholes: Blackholes::new(std::mem::take(&mut config.blackhole)),
            config,
            tables,
            routers: Slab::default(),
            peers: Slab::default(),
            prefixes: Prefixes::default(),
            attributes: AttributeInterner::default(),
            aging: BTreeSet::new(),
            up: 0,
            journal: Journal::default(),
            held: [0; 2],
            serial: 0,
            ranks_outdated: false,
            best_paths_outdated: false,
            changed: false,
        }
    }

    /// Sets other limits on routes and their age, and on blackholes. The VRFs do not change, and routes
    /// beyond a new limit remain.
    pub fn set_limits(&mut self, config: &RibConfig) {
        self.config.max_routes = config.max_routes;
        self.config.stale_ms = config.stale_ms;
        self.set_blackhole_policy(&config.blackhole);
    }

    /// Sets the time of the changes that follow, in milliseconds. An earlier time is ignored.
    pub fn set_now(&mut self, now: u64) {
        self.journal.set_now(now);
    }

    /// Returns the table for traffic on an interface enslaved to the VRF device `vrf`, or on any other
    /// interface.
    pub fn table(&self, vrf: Option<&str>) -> Option<TableId> {
        let Some(device) = vrf else {
            return Some(TableId::GLOBAL);
        };
        let (_, distinguisher) = self.config.vrf.iter().find(|(d, _)| d == device)?;
        self.table_of(distinguisher.0)
    }

    fn table_of(&self, distinguisher: [u8; 8]) -> Option<TableId> {
        let index = self.tables.iter().position(|d| d.0 == distinguisher)?;
        Some(TableId(index as u16))
    }

    /// Holds attributes for the routes about to be announced; the caller releases them once. The flag is
    /// false if there was no memory for AS path and communities.
    pub fn acquire(&mut self, attributes: &Attributes) -> (AttributesId, bool) {
        let limit = self.config.max_routes.saturating_mul(DETAIL_BYTES);
        self.attributes
            .acquire(attributes, limit.min(MAX_DETAIL_BYTES))
    }

    pub fn release(&mut self, attributes: AttributesId) {
        self.attributes.release(attributes);
    }

    /// Adds or replaces a route of a peer that is up.
    pub fn announce(
        &mut self,
        peer: PeerId,
        view: View,
        prefix: RoutePrefix,
        key: PathKey,
        attributes: AttributesId,
    ) -> Result<(), RibLimitError> {
        let family = prefix.family();
        let id = peer.0;
        let full = self.held() >= self.config.max_routes;
        let peer = &mut self.peers[id];
        let requested = self.attributes.requests_blackhole(attributes);
        let Some(table) = peer.table else {
            if requested {
                self.blackholes.refuse(BlackholeRejectReason::Vrf);
            }
            return Ok(());
        };
        let held = peer.view_mut(view, family);
        let number = of_family!(
            self.prefixes,
            family,
            get_or_insert(prefix.bits(), prefix.length())
        );
        if (full || !held.fresh.has_room(number)) && held.fresh.is_new(number, key) {
            of_family!(self.prefixes, family, drop_unused(number));
            return Err(if full {
                RibLimitError::Routes
            } else {
                RibLimitError::Paths
            });
        }
        let path = RoutePath {
            id: key.id,
            labelled: key.labelled,
            attributes,
        };
        let universe = of_family!(self.prefixes, family, universe());
        if held.fresh.is_empty() {
            held.fresh.since = self.journal.now();
        }
        if !held.fresh.paths(number).any(|held| held == path) {
            self.journal.note((id, view, prefix, key));
        }
        self.attributes.retain(attributes);
        let mut asked = false;
        let mut released = |old| {
            asked |= self.attributes.requests_blackhole(old);
            self.attributes.release(old);
        };
        let table_key = RouteTableKey {
            table,
            peer: id,
            view,
            family,
            stale: false,
        };
        let routes = &mut held.fresh;
        let change = routes.announce(number, path, universe, &mut released);
        let (mut opened, mut closed) = (0, 0);
        opened += u32::from(
            self.holders
                .route_added(routes, table_key, number, change.appeared),
        );
        let mut gone = change.removed;
        if change.appeared {
            of_family!(self.prefixes, family, retain(number));
        }
        // the new route supersedes those of the prefix from ended sessions
        for stale in &mut held.stale {
            let routes = &mut stale.routes;
            let all = PathKey { id: None, ..key };
            let change = routes.withdraw(number, all, &mut released);
            closed += u32::from(self.holders.routes_removed(routes, number, &change));
            gone += change.removed;
            if change.vanished {
                of_family!(self.prefixes, family, release(number));
            }
        }
        held.stale.retain(|stale| !stale.routes.is_empty());
        let held = &mut self.held[family as usize];
        *held += change.added;
        *held -= gone;
        if requested || asked {
            self.blackholes.mark_dirty(prefix, id, view, requested);
        }
        self.best_paths.invalidate(family, number);
        self.filled(id, view, family, opened);
        self.emptied(&table_key, closed);
        self.changed = true;
        Ok(())
    }

    /// Withdraws a route; without a path identifier, all paths that the peer has for the prefix in the
    /// family.
    pub fn withdraw(&mut self, peer: PeerId, view: View, prefix: RoutePrefix, key: PathKey) {
        let family = prefix.family();
        let number = of_family!(self.prefixes, family, find(prefix.bits(), prefix.length()));
        let Some(number) = number else {
            return;
        };
        let state = &mut self.peers[peer.0];
        let Some(table) = state.table else { return };
        let held = state.view_mut(view, family);
        let (mut gone, mut closed, mut asked) = (0, 0, false);
        for routes in held.tables_mut() {
            let change = routes.withdraw(number, key, |old| {
                asked |= self.attributes.requests_blackhole(old);
                self.attributes.release(old);
            });
            closed += u32::from(self.holders.routes_removed(routes, number, &change));
            gone += change.removed;
            if change.vanished {
                of_family!(self.prefixes, family, release(number));
            }
        }
        held.stale.retain(|stale| !stale.routes.is_empty());
        if asked {
            self.blackholes.mark_dirty(prefix, peer.0, view, false);
        }
        self.held[family as usize] -= gone;
        self.changed |= gone > 0;
        self.best_paths.invalidate(family, number);
        let table_key = RouteTableKey {
            table,
            peer: peer.0,
            view,
            family,
            stale: false,
        };
        self.emptied(&table_key, closed);
    }

    /// Handles an End-of-RIB: the peer has sent all its routes of unicast, or of labelled unicast, so that
    /// the remaining routes of ended sessions are removed.
    pub fn end_of_rib(&mut self, peer: PeerId, view: View, family: Family, labelled: bool) {
        let state = &mut self.peers[peer.0];
        // a post-policy view without routes may now answer for the peer
        let may_answer = view == View::PostPolicy || self.routers[state.router].replaces;
        let held = state.view_mut(view, family);
        self.best_paths_outdated |= !held.complete && may_answer && !labelled;
        held.complete |= !labelled;
        held.end_stale(labelled, |routes| {
            self.holders.queue_removal(routes, &mut self.best_paths)
        });
        self.process_queued_removals();
    }
}
