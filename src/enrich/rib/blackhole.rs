// SPDX-License-Identifier: AGPL-3.0-only
//! Blackhole routes (RFC 7999): a neighbor requests that traffic to a prefix is dropped, as far as the
//! configuration permits it.
//!
//! The Rib never stores whether such a route is still present, only the key at which one was present: after
//! each change, the affected keys are evaluated again. So no way of removing a route, present or future,
//! can leave a blackhole behind.

use std::collections::BTreeSet;

use super::peer::{RibPeer, TableId, View};
use super::prefix::{Family, RoutePrefix, split};
use super::{Rib, of_family};
use crate::types::prefix::Prefix;
use crate::types::rule::TrustedPeer;

/// Routes that may request a blackhole for the same prefix, on average: a customer has a few sessions, a
/// router two views.
const ROUTES_PER_PREFIX: usize = 16;
/// Prefixes examined in one step of a search.
const STEP: usize = 1 << 14;

/// The rules for accepting blackhole requests. The default accepts none.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct BlackholePolicy {
    /// In the encoding of an UPDATE.
    pub communities: Vec<u32>,
    pub within: Vec<Prefix>,
    pub peers: Vec<TrustedPeer>,
    /// By family.
    pub min_length: [u8; 2],
    /// Maximum number of prefixes.
    pub max: usize,
}

/// Why a route that requests a blackhole is refused: the first reason that applies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum BlackholeRejectReason {
    /// The route has not passed import policy.
    PrePolicy,
    /// The route belongs to the table of a VRF.
    Vrf,
    /// `blackhole_peers` does not list the peer of the route.
    Peer,
    /// The prefix is shorter than `blackhole_min_length`.
    Length,
    /// The prefix is not in `blackhole_within`.
    Within,
    /// `blackhole_max` prefixes are held.
    Limit,
}

impl BlackholeRejectReason {
    pub const ALL: [Self; 6] = [
        Self::PrePolicy,
        Self::Vrf,
        Self::Peer,
        Self::Length,
        Self::Within,
        Self::Limit,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::PrePolicy => "pre_policy",
            Self::Vrf => "vrf",
            Self::Peer => "peer",
            Self::Length => "length",
            Self::Within => "within",
            Self::Limit => "limit",
        }
    }
}

/// The key of a route. Ordered by prefix, so that the routes of one prefix are adjacent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct BlackholeKey {
    prefix: RoutePrefix,
    peer: u32,
    view: View,
}

/// A key to evaluate again.
#[derive(Clone, Copy, Debug)]
struct Dirty {
    key: BlackholeKey,
    /// A route that requests a blackhole was announced there: if it is refused, the refusal is counted.
    announced: bool,
}

/// The result of the evaluation of a key.
enum BlackholeState {
    /// No route requests a blackhole.
    NotRequested,
    Taken,
    Refused(BlackholeRejectReason),
}

#[derive(Debug, Default)]
pub(super) struct Blackholes {
    policy: BlackholePolicy,
    taken: BTreeSet<BlackholeKey>,
    /// The keys of `taken`, ordered by peer.
    by_peer: BTreeSet<(u32, RoutePrefix, View)>,
    /// Number of distinct prefixes in `taken`.
    prefixes: usize,
    dirty: Vec<Dirty>,
    /// Peers whose views were removed or whose data changed.
    changed_peers: Vec<u32>,
    /// Acceptable routes were left out because a limit was reached: a search starts when there is room.
    incomplete: bool,
    /// The number of the next prefix of this search.
    search: Option<(Family, u32)>,
    generation: u64,
    refused: [u64; BlackholeRejectReason::ALL.len()],
}

impl Blackholes {
    pub fn new(policy: BlackholePolicy) -> Self {
        Self {
            policy,
            ..Self::default()
        }
    }

    pub fn refuse(&mut self, why: BlackholeRejectReason) {
        self.refused[why as usize] += 1;
    }

    pub fn mark_dirty(&mut self, prefix: RoutePrefix, peer: u32, view: View, announced: bool) {
        let key = BlackholeKey { prefix, peer, view };
        self.dirty.push(Dirty { key, announced });
    }

    pub fn peer_changed(&mut self, peer: u32) {
        if !self.taken.is_empty() {
            self.changed_peers.push(peer);
        }
    }

    /// Takes the keys of the peers that changed.
    fn take_changed_peers(&mut self) -> Vec<BlackholeKey> {
        let mut peers = std::mem::take(&mut self.changed_peers);
        peers.sort_unstable();
        peers.dedup();
        let keys = peers.into_iter().flat_map(|id| {
            let first = RoutePrefix::new(Family::Ipv4, 0, 0);
            let from = self.by_peer.range((id, first, View::LocRib)..);
            from.take_while(move |(peer, ..)| *peer == id)
        });
        let key =
            |&(peer, prefix, view): &(u32, RoutePrefix, View)| BlackholeKey { prefix, peer, view };
        keys.map(key).collect()
    }

    fn holds(&self, prefix: RoutePrefix) -> bool {
        let from = BlackholeKey {
            prefix,
            peer: 0,
            view: View::LocRib,
        };
        let first = self.taken.range(from..).next();
        first.is_some_and(|key| key.prefix == prefix)
    }

    /// Accepts a route. Returns false if there is no room.
    fn insert(&mut self, key: BlackholeKey) -> bool {
        if self.taken.contains(&key) {
            return true;
        }
        let held = self.holds(key.prefix);
        let full = !held && self.prefixes >= self.policy.max;
        if full || self.taken.len() >= self.max_routes() {
            self.incomplete = true;
            return false;
        }
        self.taken.insert(key);
        self.by_peer.insert((key.peer, key.prefix, key.view));
        if !held {
            self.prefixes += 1;
            self.generation += 1;
        }
        true
    }

    fn remove(&mut self, key: &BlackholeKey) {
        if !self.taken.remove(key) {
            return;
        }
        let BlackholeKey { prefix, peer, view } = *key;
        self.by_peer.remove(&(peer, prefix, view));
        if !self.holds(key.prefix) {
            self.prefixes -= 1;
            self.generation += 1;
        }
    }

    fn has_room(&self) -> bool {
        self.prefixes < self.policy.max && self.taken.len() < self.max_routes()
    }

    fn max_routes(&self) -> usize {
        self.policy.max.saturating_mul(ROUTES_PER_PREFIX)
    }

    /// Returns the position at which a search continues. Starts a search if routes were left out and there
    /// is room.
    fn search(&mut self) -> Option<(Family, u32)> {
        if self.search.is_none() && self.incomplete && self.has_room() {
            self.incomplete = false;
            self.search = Some((Family::Ipv4, 0));
        }
        self.search
    }
}

impl BlackholePolicy {
    /// Returns why no neighbor may request a blackhole for a prefix.
    fn check_prefix(&self, prefix: RoutePrefix) -> Result<(), BlackholeRejectReason> {
        if prefix.length() < self.min_length[prefix.family() as usize] {
            return Err(BlackholeRejectReason::Length);
        }
        let address = prefix.address();
        // a network that is not longer than the prefix contains all of it if it contains its first address
        let holds = |network: &Prefix| {
            network.is_ipv4() == address.is_ipv4()
                && network.length() <= prefix.length()
                && network.contains(address)
        };
        match self.within.iter().any(holds) {
            true => Ok(()),
            false => Err(BlackholeRejectReason::Within),
        }
    }

    /// Returns whether the policy trusts the peer that sent a route. A Loc-RIB does not show this peer. The
    /// first AS of the path shows it; the next hop does not, because a neighbor chooses it freely.
    fn trusts(&self, peer: &RibPeer, peer_asn: u32) -> bool {
        let is_loc_rib = peer.key.is_loc_rib();
        self.peers.iter().any(|trusted| match *trusted {
            TrustedPeer::Address(address) => {
                !is_loc_rib && split(peer.key.address) == split(address)
            }
            TrustedPeer::Asn(asn) if is_loc_rib => asn == peer_asn,
            TrustedPeer::Asn(asn) => asn == peer.info.asn,
        })
    }
}

impl Rib {
    /// Sets the policy, also for the routes that are held. Their requests were detected with the
    /// communities that were configured when they were announced.
    pub(super) fn set_blackhole_policy(&mut self, policy: &BlackholePolicy) {
        let blackholes = &mut self.blackholes;
        if blackholes.policy == *policy {
            return;
        }
        blackholes.policy = policy.clone();
        let keys = std::mem::take(&mut blackholes.taken);
        blackholes.by_peer.clear();
        blackholes.generation += u64::from(!keys.is_empty());
        blackholes.prefixes = 0;
        for key in keys {
            blackholes.mark_dirty(key.prefix, key.peer, key.view, false);
        }
        blackholes.incomplete = true;
        blackholes.search = None;
    }

    pub fn blackhole_policy(&self) -> &BlackholePolicy {
        &self.blackholes.policy
    }

    /// Returns the prefixes to be dropped, in order, and a number that changes with them.
    pub fn blackholes(&self) -> (u64, Vec<RoutePrefix>) {
        let keys = self.blackholes.taken.iter();
        let mut prefixes: Vec<_> = keys.map(|key| key.prefix).collect();
        prefixes.dedup();
        (self.blackholes.generation, prefixes)
    }

    /// Returns whether the routes at a key that request a blackhole have one, or why not. `None` if no
    /// route requests one.
    pub(super) fn blackhole_at(
        &self,
        prefix: RoutePrefix,
        peer: u32,
        view: View,
    ) -> Option<Result<(), BlackholeRejectReason>> {
        let key = BlackholeKey { prefix, peer, view };
        match self.blackhole_state(&key) {
            BlackholeState::NotRequested => None,
            BlackholeState::Taken if self.blackholes.taken.contains(&key) => Some(Ok(())),
            BlackholeState::Taken => Some(Err(BlackholeRejectReason::Limit)),
            BlackholeState::Refused(why) => Some(Err(why)),
        }
    }

    fn takes_blackholes(&self) -> bool {
        !self.blackholes.policy.communities.is_empty()
    }

    pub fn blackhole_generation(&self) -> u64 {
        self.blackholes.generation
    }

    /// Returns how often a route that requests a blackhole was announced and refused, by reason. Empty if
    /// the policy accepts none.
    pub fn blackholes_refused(&self) -> Vec<(BlackholeRejectReason, u64)> {
        match self.takes_blackholes() {
            true => BlackholeRejectReason::ALL
                .map(|why| (why, self.blackholes.refused[why as usize]))
                .into(),
            false => Vec::new(),
        }
    }

    /// Evaluates the keys that changes affected.
    pub(super) fn update_blackholes(&mut self) {
        for key in self.blackholes.take_changed_peers() {
            if !matches!(self.blackhole_state(&key), BlackholeState::Taken) {
                self.blackholes.remove(&key);
            }
        }
        for Dirty { key, announced } in std::mem::take(&mut self.blackholes.dirty) {
            let refused = match self.blackhole_state(&key) {
                BlackholeState::Taken if self.blackholes.insert(key) => None,
                BlackholeState::Taken => Some(BlackholeRejectReason::Limit),
                BlackholeState::NotRequested => {
                    self.blackholes.remove(&key);
                    None
                }
                BlackholeState::Refused(why) => {
                    self.blackholes.remove(&key);
                    Some(why)
                }
            };
            if let Some(why) = refused.filter(|_| announced) {
                self.blackholes.refuse(why);
            }
        }
    }

    fn blackhole_state(&self, key: &BlackholeKey) -> BlackholeState {
        let BlackholeKey { prefix, peer, view } = *key;
        let family = prefix.family();
        let number = of_family!(self.prefixes, family, find(prefix.bits(), prefix.length()));
        let (Some(peer), Some(number)) = (self.peers.get(peer), number) else {
            return BlackholeState::NotRequested;
        };
        // the number of a removed peer may have been reused
        if peer.key.is_loc_rib() != (view == View::LocRib) {
            return BlackholeState::NotRequested;
        }
        let tables = peer.view(view, family).tables();
        let paths = tables.flat_map(|routes| routes.paths(number));
        let mut asking = paths
            .map(|path| path.attributes)
            .filter(|attributes| self.attributes.requests_blackhole(*attributes))
            .peekable();
        if asking.peek().is_none() || !self.takes_blackholes() {
            return BlackholeState::NotRequested;
        }
        let policy = &self.blackholes.policy;
        if view == View::PrePolicy {
            return BlackholeState::Refused(BlackholeRejectReason::PrePolicy);
        }
        if peer.table != Some(TableId::GLOBAL) {
            return BlackholeState::Refused(BlackholeRejectReason::Vrf);
        }
        if !asking.any(|id| policy.trusts(peer, self.attributes.peer_asn(id))) {
            return BlackholeState::Refused(BlackholeRejectReason::Peer);
        }
        match policy.check_prefix(prefix) {
            Ok(()) => BlackholeState::Taken,
            Err(why) => BlackholeState::Refused(why),
        }
    }

    /// Runs one step of the search for refused routes that may now be accepted. Returns true if there are
    /// more.
    pub fn search_blackholes(&mut self) -> bool {
        let Some((family, from)) = self.blackholes.search() else {
            return false;
        };
        let universe = of_family!(self.prefixes, family, universe());
        let until = (from as usize + STEP).min(universe) as u32;
        for number in from..until {
            if !self.insert_all_of(family, number) {
                self.blackholes.search = None;
                return false;
            }
        }
        self.blackholes.search = match family {
            _ if (until as usize) < universe => Some((family, until)),
            Family::Ipv4 => Some((Family::Ipv6, 0)),
            Family::Ipv6 => None,
        };
        self.blackholes.search.is_some()
    }

    /// Accepts all acceptable routes of a prefix. Returns false if there is no room.
    fn insert_all_of(&mut self, family: Family, number: u32) -> bool {
        let (bits, length) = of_family!(self.prefixes, family, get(number));
        let prefix = RoutePrefix::new(family, bits, length);
        if self.blackholes.policy.check_prefix(prefix).is_err() {
            return true;
        }
        let keys = self.holding(family, number).map(|(key, _)| BlackholeKey {
            prefix,
            peer: key.peer,
            view: key.view,
        });
        let taken = |key: &BlackholeKey| matches!(self.blackhole_state(key), BlackholeState::Taken);
        let keys: Vec<_> = keys.filter(taken).collect();
        keys.into_iter().all(|key| self.blackholes.insert(key))
    }
}
