// SPDX-License-Identifier: AGPL-3.0-only
//! Routers, their peers, and what each peer's views hold.

use std::collections::HashMap;
use std::net::IpAddr;

use super::prefix::Family;
use super::routes::{Doomed, RouteTable};

/// Generations of stale routes of one view: a session that flaps leaves one each time.
const MAX_STALE: usize = 16;

/// Who a BMP session comes from: what stays the same when the router connects again.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Identity {
    pub address: IpAddr,
    pub sys_name: String,
    pub sys_descr: String,
}

/// RFC 7854 section 4.2, RFC 9069 section 4.1
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PeerKind {
    Global,
    Distinguished,
    Local,
    LocRib,
}

/// What tells a peer from the others of its router.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerKey {
    pub kind: PeerKind,
    pub distinguisher: [u8; 8],
    pub address: IpAddr,
}

impl PeerKey {
    pub fn is_loc_rib(&self) -> bool {
        self.kind == PeerKind::LocRib
    }
}

/// What best path asks of a peer, and whether it may ask for a blackhole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PeerInfo {
    pub asn: u32,
    pub bgp_id: u32,
    /// Its AS is the router's own.
    pub internal: bool,
}

/// Which routes of a peer: as received, after import policy, or the router's choice. Adj-RIB-Out has
/// no place here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum View {
    LocRib,
    PostPolicy,
    PrePolicy,
}

/// Number of the routing table a lookup asks: 0 is the global one, the others belong to VRFs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TableId(pub(super) u16);

impl TableId {
    pub const GLOBAL: Self = Self(0);
}

#[derive(Debug)]
pub(super) struct Router {
    pub identity: Identity,
    pub local: bool,
    /// A session is up; else the time it ended.
    pub ended: Option<u64>,
    /// Sessions in the order of their start.
    pub serial: u64,
    pub peers: HashMap<PeerKey, u32>,
}

#[derive(Debug)]
pub(super) struct Peer {
    pub router: u32,
    pub key: PeerKey,
    pub info: PeerInfo,
    /// The table its routes belong to; without one they are not kept.
    pub table: Option<TableId>,
    /// Up in the router's present session.
    pub up: bool,
    /// Loc-RIB only: it does not hold all routes (RFC 9069 section 4.2).
    pub filtered: bool,
    /// Of both views: a Loc-RIB has one, in the second place.
    views: [[FamilyView; 2]; 2],
}

#[derive(Debug, Default)]
pub(super) struct FamilyView {
    pub fresh: RouteTable,
    /// A route or End-of-RIB came since the peer is up.
    pub seen: bool,
    /// Of sessions that ended, newest last. No prefix is in two of them, or in one and in `fresh`.
    pub stale: Vec<Stale>,
}

#[derive(Debug)]
pub(super) struct Stale {
    pub until: u64,
    pub routes: RouteTable,
}

impl Peer {
    pub fn new(router: u32, key: PeerKey, info: PeerInfo, table: Option<TableId>) -> Self {
        Self {
            router,
            key,
            info,
            table,
            up: true,
            filtered: false,
            views: Default::default(),
        }
    }

    pub fn view(&self, view: View, family: Family) -> &FamilyView {
        &self.views[place(view)][family as usize]
    }

    pub fn view_mut(&mut self, view: View, family: Family) -> &mut FamilyView {
        &mut self.views[place(view)][family as usize]
    }

    pub fn views(&self) -> impl Iterator<Item = (View, Family, &FamilyView)> {
        let places = if self.key.is_loc_rib() {
            [View::LocRib; 2]
        } else {
            [View::PrePolicy, View::PostPolicy]
        };
        let views = places.into_iter().zip(&self.views);
        views.flat_map(|(view, families)| {
            let families = Family::ALL.into_iter().zip(families);
            families.map(move |(family, held)| (view, family, held))
        })
    }

    pub fn family_views_mut(&mut self) -> impl Iterator<Item = (Family, &mut FamilyView)> {
        let families = self.views.iter_mut();
        families.flat_map(|view| Family::ALL.into_iter().zip(view))
    }

    /// The view that answers where no Loc-RIB does.
    pub fn policy_view(&self, family: Family) -> View {
        if self.view(View::PostPolicy, family).counts() {
            View::PostPolicy
        } else {
            View::PrePolicy
        }
    }

    /// Neither up nor holding anything that is still good.
    pub fn is_void(&self) -> bool {
        !self.up && self.views().all(|(.., view)| !view.counts())
    }
}

impl FamilyView {
    /// Whether the peer sends this view, as far as is known.
    pub fn counts(&self) -> bool {
        self.seen || !self.stale.is_empty()
    }

    pub fn stale_routes(&self) -> usize {
        self.stale.iter().map(|s| s.routes.len()).sum()
    }

    pub fn tables(&self) -> impl Iterator<Item = &RouteTable> {
        std::iter::once(&self.fresh).chain(self.stale.iter().map(|s| &s.routes))
    }

    pub fn tables_mut(&mut self) -> impl Iterator<Item = &mut RouteTable> {
        std::iter::once(&mut self.fresh).chain(self.stale.iter_mut().map(|s| &mut s.routes))
    }

    /// The session ended: what was fresh is stale.
    pub fn retire(&mut self, until: u64, doom: &mut impl FnMut(Doomed)) {
        self.seen = false;
        let routes = std::mem::take(&mut self.fresh);
        if !routes.is_empty() {
            self.stale.push(Stale { until, routes });
        }
        if self.stale.len() > MAX_STALE {
            doom(self.stale.remove(0).routes.into_doomed());
        }
    }

    /// The router is back: the routes of the session that ended last, which were good until
    /// `before`, wait for its End-of-RIB. Those of sessions before it have had their wait.
    pub fn extend(&mut self, before: u64, until: u64) {
        if let Some(last) = self.stale.last_mut()
            && last.until == before
        {
            last.until = until;
        }
    }

    pub fn expire(&mut self, now: u64, doom: &mut impl FnMut(Doomed)) {
        for stale in self.stale.extract_if(.., |s| s.until <= now) {
            doom(stale.routes.into_doomed());
        }
    }

    pub fn clear_stale(&mut self, doom: &mut impl FnMut(Doomed)) {
        for stale in self.stale.drain(..) {
            doom(stale.routes.into_doomed());
        }
    }

    pub fn clear(&mut self, doom: &mut impl FnMut(Doomed)) {
        self.seen = false;
        doom(std::mem::take(&mut self.fresh).into_doomed());
        self.clear_stale(doom);
    }
}

fn place(view: View) -> usize {
    match view {
        View::PrePolicy => 0,
        View::PostPolicy | View::LocRib => 1,
    }
}
