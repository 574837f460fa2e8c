// SPDX-License-Identifier: AGPL-3.0-only
//! Routers, their peers, and the content of each peer's views.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;

use super::prefix::Family;
use super::rank::Rank;
use super::route_table::RouteTable;

/// Maximum number of generations of stale routes of one view: a flapping session leaves one each time.
const MAX_STALE: usize = 16;

/// Maximum number of speakers stored per router: a router has one, or one for each `local-as`.
const MAX_SPEAKERS: usize = 16;

/// The router of a BMP session, as far as it stays the same when the router connects again. The sysDescr is
/// not part of it: it contains the version (RFC 7854 section 4.4) and changes with an upgrade.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouterIdentity {
    pub address: IpAddr,
    pub sys_name: String,
    speakers: Vec<Speaker>,
}

/// The BGP identifier and AS in an OPEN that a router sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Speaker {
    pub bgp_id: u32,
    pub asn: u32,
}

impl RouterIdentity {
    pub fn new(address: IpAddr, sys_name: String) -> Self {
        Self {
            address,
            sys_name,
            speakers: Vec::new(),
        }
    }

    /// Adds a speaker. Returns true if it was not known.
    pub(super) fn add(&mut self, speaker: Speaker) -> bool {
        let new = !self.speakers.contains(&speaker) && self.speakers.len() < MAX_SPEAKERS;
        if new {
            self.speakers.push(speaker);
        }
        new
    }

    pub(super) fn has_speaker(&self) -> bool {
        !self.speakers.is_empty()
    }

    /// Returns whether two sessions are of one router. Two daemons on one machine may have the same name,
    /// such as "GoBGP": in that case the BGP identifiers or the ASes differ. An identifier is unique only
    /// within an AS (RFC 6286).
    pub(super) fn is_same(&self, other: &Self) -> bool {
        let shares = |speaker: &Speaker| other.speakers.contains(speaker);
        self.sys_name == other.sys_name
            && match self.has_speaker() && other.has_speaker() {
                true => self.speakers.iter().any(shares),
                false => self.address == other.address,
            }
    }
}

/// The kind of a peer (RFC 7854 section 4.2, RFC 9069 section 4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PeerKind {
    Global,
    Distinguished,
    Local,
    LocRib,
    /// The router itself, as the origin of routes (RFC 7854 section 8.2).
    Originated,
}

/// Identifies a peer of a router.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerKey {
    pub kind: PeerKind,
    pub distinguisher: [u8; 8],
    pub address: IpAddr,
    /// Two neighbors may have the same link-local address, on two interfaces. These values are 0 for a
    /// Loc-RIB and for the router itself: a table has one of each, and senders fill in arbitrary values.
    pub asn: u32,
    pub bgp_id: u32,
}

impl PeerKey {
    pub fn is_loc_rib(&self) -> bool {
        self.kind == PeerKind::LocRib
    }

    /// Returns the bounds of the keys that have everything but AS and BGP identifier in common.
    pub(super) fn address_range(&self) -> std::ops::RangeInclusive<Self> {
        let with = |asn, bgp_id| Self {
            asn,
            bgp_id,
            ..*self
        };
        with(0, 0)..=with(u32::MAX, u32::MAX)
    }

    /// Returns whether two keys that differ at most in AS and BGP identifier may be of one peer: some
    /// senders leave a value out in one message.
    pub(super) fn may_match(&self, other: &Self) -> bool {
        let agree = |a, b| a == b || a == 0 || b == 0;
        agree(self.asn, other.asn) && agree(self.bgp_id, other.bgp_id)
    }

    /// Returns the same for a peer that is up: in this case the values of the message are also known.
    pub(super) fn may_match_up(&self, up: &Self) -> bool {
        let agree = |own, up| own == up || up == 0;
        agree(self.asn, up.asn) && agree(self.bgp_id, up.bgp_id)
    }
}

/// The values of a peer that the decision process and the blackhole policy use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PeerInfo {
    pub asn: u32,
    pub bgp_id: u32,
    /// The AS of the peer is the router's own AS.
    pub internal: bool,
}

/// The kind of a peer's routes: as received, after import policy, or the router's choice. Adj-RIB-Out is
/// not stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum View {
    LocRib,
    PostPolicy,
    PrePolicy,
}

/// Number of the routing table that a lookup queries: 0 is the global table, the others belong to VRFs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TableId(pub(super) u16);

impl TableId {
    pub const GLOBAL: Self = Self(0);
}

/// A view that takes part in lookups.
#[derive(Clone, Copy, Debug)]
pub(super) struct EligibleView {
    pub rank: Rank,
    pub view: View,
    pub peer: u32,
}

#[derive(Debug)]
pub(super) struct RibRouter {
    pub identity: RouterIdentity,
    pub local: bool,
    /// `None` while the session is up, otherwise the time at which it ended.
    pub ended: Option<u64>,
    /// Numbers the sessions in the order of their start.
    pub serial: u64,
    /// The session has taken over the peers of an ended session.
    pub continues: bool,
    pub peers: BTreeMap<PeerKey, u32>,
    /// The peers that are up.
    pub up: Vec<u32>,
    pub route_counts: RouteCounts,
    pub rank: Rank,
    /// The newest of the sessions of the same router that began later and have not ended.
    pub newest: Option<u32>,
    /// The session is the newest of another one: its peers decide whether views of that one answer.
    pub replaces: bool,
}

/// The number of route tables with routes, by view, of the peers of a router.
#[derive(Debug, Default)]
pub(super) struct RouteCounts {
    /// By family and view. Routes of the router itself do not count: they are in one view, regardless of
    /// the views that it sends of its peers.
    views: [[u32; 3]; 2],
    /// The tables of unfiltered Loc-RIBs, which hold the router's own choice.
    chosen: HashMap<(TableId, Family), u32>,
}

impl RouteCounts {
    /// Records that `tables` more route tables of this view of a peer hold routes.
    pub fn add(&mut self, peer: &RibPeer, view: View, family: Family, tables: u32) {
        if peer.key.kind != PeerKind::Originated {
            self.views[family as usize][view as usize] += tables;
        }
        if let Some(table) = peer.table.filter(|_| peer.chooses()) {
            *self.chosen.entry((table, family)).or_default() += tables;
        }
    }

    /// Records that `tables` fewer route tables hold routes.
    pub fn remove(&mut self, peer: &RibPeer, view: View, family: Family, tables: u32) {
        if peer.key.kind != PeerKind::Originated {
            self.views[family as usize][view as usize] -= tables;
        }
        if let Some(table) = peer.table.filter(|_| peer.chooses())
            && let Entry::Occupied(mut count) = self.chosen.entry((table, family))
        {
            *count.get_mut() -= tables;
            if *count.get() == 0 {
                count.remove();
            }
        }
    }

    pub fn has(&self, family: Family, view: View) -> bool {
        self.views[family as usize][view as usize] > 0
    }

    pub fn has_choice(&self, table: TableId, family: Family) -> bool {
        self.chosen.contains_key(&(table, family))
    }

    /// Returns whether the router may send a view. An End-of-RIB is meaningful only for such a view.
    /// Without any route, the router may send each view.
    pub fn may_send(&self, family: Family, view: View) -> bool {
        self.has(family, view) || self.views[family as usize] == [0; 3]
    }
}

#[derive(Debug)]
pub(super) struct RibPeer {
    pub router: u32,
    pub key: PeerKey,
    pub info: PeerInfo,
    /// The name that the peer sent.
    pub name: Option<Box<str>>,
    /// The table of the peer's routes; without a table they are not kept.
    pub table: Option<TableId>,
    /// The peer is up in the router's current session.
    pub up: bool,
    /// The index of the peer among the peers that are up.
    pub up_index: u32,
    /// The time at which the peer's stale routes are checked.
    pub due: Option<u64>,
    /// Loc-RIB only: the view does not contain all routes (RFC 9069 section 4.2).
    pub filtered: bool,
    /// The two views: a Loc-RIB has one, at the second position.
    views: [[FamilyView; 2]; 2],
}

#[derive(Debug, Default)]
pub(super) struct FamilyView {
    pub fresh: RouteTable,
    /// End-of-RIB has arrived since the last peer-up.
    pub complete: bool,
    /// The routes of ended sessions, newest last. No prefix is in two of them, or in one and in `fresh`.
    pub stale: Vec<Stale>,
}

#[derive(Debug)]
pub(super) struct Stale {
    pub until: u64,
    pub routes: RouteTable,
    /// End-of-RIB of unicast, and of labelled unicast, arrived in the following session.
    ended: [bool; 2],
}

impl RibPeer {
    pub fn new(router: u32, key: PeerKey, info: PeerInfo, table: Option<TableId>) -> Self {
        Self {
            router,
            key,
            info,
            name: None,
            table,
            up: false,
            up_index: 0,
            due: None,
            filtered: false,
            views: Default::default(),
        }
    }

    pub fn view(&self, view: View, family: Family) -> &FamilyView {
        &self.views[view_index(view)][family as usize]
    }

    pub fn view_mut(&mut self, view: View, family: Family) -> &mut FamilyView {
        &mut self.views[view_index(view)][family as usize]
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

    /// Returns the view that answers if no Loc-RIB does. `router_sends_post`: the router carries routes of
    /// other peers in its post-policy view, so that an End-of-RIB without routes means that import policy
    /// accepted none of this peer.
    pub fn policy_view(&self, family: Family, router_sends_post: bool) -> View {
        let post = self.view(View::PostPolicy, family);
        if post.has_routes() || post.complete && router_sends_post {
            View::PostPolicy
        } else {
            View::PrePolicy
        }
    }

    /// Returns whether the peer is an unfiltered Loc-RIB: the router's own choice, in full.
    fn chooses(&self) -> bool {
        self.key.is_loc_rib() && !self.filtered
    }

    /// Returns the number of route tables with routes, by view and family.
    pub fn filled(&self) -> impl Iterator<Item = (View, Family, u32)> {
        self.views().map(|(view, family, held)| {
            let filled = held.tables().filter(|routes| !routes.is_empty());
            (view, family, filled.count() as u32)
        })
    }

    /// Returns the time at which the first of the peer's stale routes expire.
    pub fn stale_until(&self) -> Option<u64> {
        let views = self.views().flat_map(|(.., view)| &view.stale);
        views.map(|stale| stale.until).min()
    }

    /// Returns whether the peer is down and holds no valid route.
    pub fn is_unused(&self) -> bool {
        !self.up && self.views().all(|(.., view)| !view.has_routes())
    }
}

impl FamilyView {
    /// Returns whether the view has routes. Only such a view replaces others: senders report End-of-RIB
    /// also for views that they do not send.
    pub fn has_routes(&self) -> bool {
        self.tables().any(|routes| !routes.is_empty())
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

    /// Handles the end of the session: fresh routes become stale. `queue_removal` receives removed tables,
    /// as below.
    pub fn retire(&mut self, until: u64, mut queue_removal: impl FnMut(RouteTable)) {
        self.complete = false;
        if !self.fresh.is_empty() {
            let routes = std::mem::take(&mut self.fresh);
            self.stale.push(Stale {
                until,
                routes,
                ended: [false; 2],
            });
        }
        if self.stale.len() > MAX_STALE {
            queue_removal(self.stale.remove(0).routes);
        }
    }

    /// Handles the return of the router: the routes of the session that ended last, which were valid until
    /// `before`, wait for its End-of-RIB. Those of earlier sessions have already waited.
    pub fn extend(&mut self, before: u64, until: u64) {
        if let Some(last) = self.stale.last_mut()
            && last.until == before
        {
            last.until = until;
        }
    }

    pub fn expire(&mut self, now: u64, mut queue_removal: impl FnMut(RouteTable)) {
        for stale in self.stale.extract_if(.., |s| s.until <= now) {
            queue_removal(stale.routes);
        }
    }

    /// Handles an End-of-RIB of unicast, or of labelled unicast: removes the stale tables that wait for no
    /// other End-of-RIB.
    pub fn end_stale(&mut self, labelled: bool, mut queue_removal: impl FnMut(RouteTable)) {
        for stale in &mut self.stale {
            stale.ended[usize::from(labelled)] = true;
        }
        let waits = |stale: &Stale| {
            let ended = [false, true].into_iter().zip(stale.ended);
            ended
                .filter(|(_, ended)| !ended)
                .any(|(labelled, _)| stale.routes.has(labelled))
        };
        for stale in self.stale.extract_if(.., |stale| !waits(stale)) {
            queue_removal(stale.routes);
        }
    }

    pub fn clear_stale(&mut self, mut queue_removal: impl FnMut(RouteTable)) {
        for stale in self.stale.drain(..) {
            queue_removal(stale.routes);
        }
    }

    pub fn clear(&mut self, mut queue_removal: impl FnMut(RouteTable)) {
        self.complete = false;
        queue_removal(std::mem::take(&mut self.fresh));
        self.clear_stale(queue_removal);
    }
}

fn view_index(view: View) -> usize {
    match view {
        View::PrePolicy => 0,
        View::PostPolicy | View::LocRib => 1,
    }
}
