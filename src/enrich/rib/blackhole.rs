// SPDX-License-Identifier: AGPL-3.0-only
//! Routes by which a neighbour asks to drop what goes to a prefix (RFC 7999), as far as the configuration
//! lets it ask.
//!
//! Whether such a route stands is never remembered, only where one stood: after each change the places
//! that it touched are evaluated again. So there is no way for a route to leave, and none will be added,
//! that leaves a blackhole behind.

use std::collections::BTreeSet;

use super::peer::{RibPeer, TableId, View};
use super::prefix::{Family, RoutePrefix, split};
use super::{Rib, of_family};
use crate::types::prefix::Prefix;
use crate::types::rule::TrustedPeer;

/// Routes that may ask for the same prefix, on average: a customer has a few sessions, a router two views.
const ROUTES_PER_PREFIX: usize = 16;
/// Prefixes that are looked at in one step of a search.
const STEP: usize = 1 << 14;

/// Which routes may ask for a blackhole. The default accepts none.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct BlackholePolicy {
    /// As they stand in an UPDATE.
    pub communities: Vec<u32>,
    pub within: Vec<Prefix>,
    pub peers: Vec<TrustedPeer>,
    /// By family.
    pub min_length: [u8; 2],
    /// Prefixes at most.
    pub max: usize,
}

/// Why a route that asks for a blackhole gets none: the first that holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum BlackholeRejectReason {
    /// Import policy has not passed it.
    PrePolicy,
    /// It belongs to the table of a VRF.
    Vrf,
    /// `blackhole_peers` does not list the peer of the route.
    Peer,
    /// Shorter than `blackhole_min_length`.
    Length,
    /// Not in `blackhole_within`.
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

/// Where a route stands. In the order of prefixes, so that those of one are together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct BlackholeKey {
    prefix: RoutePrefix,
    peer: u32,
    view: View,
}

/// A place to be looked at.
#[derive(Clone, Copy, Debug)]
struct Dirty {
    key: BlackholeKey,
    /// A route that asks was announced there: if it is refused, that counts.
    announced: bool,
}

/// What is found at a place.
enum BlackholeState {
    /// No route that asks.
    NotRequested,
    Taken,
    Refused(BlackholeRejectReason),
}

#[derive(Debug, Default)]
pub(super) struct Blackholes {
    policy: BlackholePolicy,
    taken: BTreeSet<BlackholeKey>,
    /// The same, in the order of peers.
    by_peer: BTreeSet<(u32, RoutePrefix, View)>,
    /// Distinct ones in `taken`.
    prefixes: usize,
    dirty: Vec<Dirty>,
    /// Peers whose views were removed or whose data changed.
    changed_peers: Vec<u32>,
    /// Some that would be taken are not: they are looked for when there is room.
    incomplete: bool,
    /// The number of the next prefix of the search for them.
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

    /// The places of disturbed peers.
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

    /// False if there is no room.
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

    /// Where a search goes on, or begins if there is something to find.
    fn search(&mut self) -> Option<(Family, u32)> {
        if self.search.is_none() && self.incomplete && self.has_room() {
            self.incomplete = false;
            self.search = Some((Family::Ipv4, 0));
        }
        self.search
    }
}

impl BlackholePolicy {
    /// Why a prefix may not be dropped by any neighbour.
    fn check_prefix(&self, prefix: RoutePrefix) -> Result<(), BlackholeRejectReason> {
        if prefix.length() < self.min_length[prefix.family() as usize] {
            return Err(BlackholeRejectReason::Length);
        }
        let address = prefix.address();
        // a network as long as it or shorter holds all of it if it holds its first address
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

    /// A Loc-RIB does not tell from which neighbour a route came; the first AS of the path does, and no
    /// next hop, which a neighbour chooses as it likes.
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
    /// Another policy from now on, also for the routes that are held: but which of them ask was decided by the
    /// communities of the time when they came.
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

    /// The prefixes to be dropped, in their order, and a number that changes with them.
    pub fn blackholes(&self) -> (u64, Vec<RoutePrefix>) {
        let keys = self.blackholes.taken.iter();
        let mut prefixes: Vec<_> = keys.map(|key| key.prefix).collect();
        prefixes.dedup();
        (self.blackholes.generation, prefixes)
    }

    /// Whether the routes there that ask have their blackhole, or why not.
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

    /// How often a route that asks was announced and refused. Nothing where none could be taken.
    pub fn blackholes_refused(&self) -> Vec<(BlackholeRejectReason, u64)> {
        match self.takes_blackholes() {
            true => BlackholeRejectReason::ALL
                .map(|why| (why, self.blackholes.refused[why as usize]))
                .into(),
            false => Vec::new(),
        }
    }

    /// Checks the places that changes touched.
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
        // another may have got the number of a peer that is gone
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

    /// A step of the search for routes that were refused and may stand now. True if there are more.
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

    /// False if there is no room.
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
