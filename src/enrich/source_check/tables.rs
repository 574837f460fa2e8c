// SPDX-License-Identifier: AGPL-3.0-only
//! The tables of the source check at one moment (pure).

use std::cmp::Reverse;
use std::net::IpAddr;

use foldhash::fast::RandomState;
use hashbrown::{HashMap, HashSet};

use crate::enrich::rib::{Family, PeerId};
use crate::types::prefix::Prefix;

/// Maximum number of pairs of neighbor AS and origin AS, of 8 bytes each. A transit provider with a full table has
/// about 85,000.
pub const MAX_ORIGINS: usize = 1 << 20;
/// Maximum number of sessions stored of one neighbor AS.
pub const MAX_SESSIONS: usize = 8;

/// The prefixes and routes to which the check compares a source address.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SourceTables {
    /// Interfaces with the role internal: their sources are not checked.
    pub internal: Vec<u32>,
    pub bogons: PrefixMap<()>,
    /// The connected networks, each with the interfaces on which its addresses are expected.
    pub local: PrefixMap<Vec<u32>>,
    pub views: NeighborViews,
}

/// Values by prefix, found by longest match. A lookup probes each length that occurs.
#[derive(Clone, Debug)]
pub struct PrefixMap<T> {
    entries: HashMap<Prefix, T, RandomState>,
    /// Family (true: IPv4) and length, the longest first.
    lengths: Vec<(bool, u8)>,
}

impl<T> Default for PrefixMap<T> {
    fn default() -> Self {
        Self {
            entries: HashMap::default(),
            lengths: Vec::new(),
        }
    }
}

impl<T: PartialEq> PartialEq for PrefixMap<T> {
    fn eq(&self, other: &Self) -> bool {
        self.entries == other.entries
    }
}

impl<T> PrefixMap<T> {
    pub fn new(entries: impl IntoIterator<Item = (Prefix, T)>) -> Self {
        let entries: HashMap<Prefix, T, RandomState> = entries.into_iter().collect();
        let lengths = entries.keys().map(|p| (p.is_ipv4(), p.length()));
        let mut lengths: Vec<_> = lengths.collect();
        lengths.sort_unstable_by_key(|&(ipv4, length)| (Reverse(length), ipv4));
        lengths.dedup();
        Self { entries, lengths }
    }

    pub fn iter(&self) -> impl Iterator<Item = (&Prefix, &T)> {
        self.entries.iter()
    }

    pub fn get(&self, address: IpAddr) -> Option<&T> {
        self.lengths
            .iter()
            .filter(|(ipv4, _)| *ipv4 == address.is_ipv4())
            .find_map(|&(_, length)| self.entries.get(&Prefix::new(address, length)))
    }
}

/// The routes of the neighbors before import policy: the sessions from which rfm receives them, and the origins.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct NeighborViews {
    /// By neighbor AS and family: sessions whose routes have this AS first in their path.
    sessions: HashMap<(u32, bool), Vec<PeerId>, RandomState>,
    /// Neighbor AS and origin AS, sorted.
    origins: Box<[(u32, u32)]>,
    /// Neighbors whose origins are incomplete, because there was no room.
    incomplete: HashSet<u32, RandomState>,
}

impl NeighborViews {
    /// Returns the sessions that carry routes of a neighbor AS; none if rfm has no view of it.
    pub fn sessions(&self, asn: u32, family: Family) -> &[PeerId] {
        if self.incomplete.contains(&asn) {
            return &[];
        }
        let sessions = self.sessions.get(&(asn, family == Family::Ipv4));
        sessions.map_or(&[], Vec::as_slice)
    }

    /// Returns whether the neighbor announces a route of this origin AS.
    pub fn announces(&self, asn: u32, origin: u32) -> bool {
        self.origins.binary_search(&(asn, origin)).is_ok()
    }

    /// Returns whether rfm has a view of a neighbor AS, in any family.
    pub fn has(&self, asn: u32) -> bool {
        Family::ALL
            .into_iter()
            .any(|family| !self.sessions(asn, family).is_empty())
    }
}

/// The views while they are read from the RIB.
#[derive(Default)]
pub struct ViewsDraft {
    views: NeighborViews,
    origins: HashSet<(u32, u32), RandomState>,
}

impl ViewsDraft {
    /// Adds the pairs of first and last AS of the routes of one session and family.
    pub fn add(
        &mut self,
        session: PeerId,
        family: Family,
        pairs: impl IntoIterator<Item = (u32, u32)>,
    ) {
        for (asn, origin) in pairs {
            let key = (asn, family == Family::Ipv4);
            let sessions = self.views.sessions.entry(key).or_default();
            if !sessions.contains(&session) && sessions.len() < MAX_SESSIONS {
                sessions.push(session);
            }
            match self.origins.len() < MAX_ORIGINS || self.origins.contains(&(asn, origin)) {
                true => drop(self.origins.insert((asn, origin))),
                false => drop(self.views.incomplete.insert(asn)),
            }
        }
    }

    pub fn finish(mut self) -> NeighborViews {
        let mut origins: Vec<_> = self.origins.into_iter().collect();
        origins.sort_unstable();
        self.views.origins = origins.into();
        self.views
    }
}
