// SPDX-License-Identifier: AGPL-3.0-only
//! Neighbors on the segments of the monitored interfaces: which AS has a MAC address.
//!
//! ```text
//! kernel: neighbor tables ──► NeighborTable ──┐   table.rs: keeps entries for a day after they expire
//! RIB: peers, next hops of routes ────────────┼─► NeighborMap ──► SharedNeighbors ──► thread flow, ipfix
//! configuration: [[agent.enrich.peer]] ───────┘   build.rs
//! ```
//!
//! Thread neighbors ([`thread`]) builds a new map when one of the sources has changed. [`NeighborMap::get`] looks
//! up a neighbor by interface and MAC address.

mod build;
mod table;
mod thread;

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use crate::types::flow::FlowRecord;
use crate::types::mac::MacAddress;

pub use table::NeighborTable;
pub use thread::{NeighborSources, run};

/// Maximum number of MAC addresses in the map.
pub const MAX_MACS: usize = 2_500;

/// The AS of a neighbor.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PeerAs {
    /// BGP does not know the neighbor.
    #[default]
    Unknown,
    One(u32),
    /// The router that has the MAC address has several ASes; only a route can decide.
    Several,
}

impl PeerAs {
    pub(super) fn of(asn: u32) -> Self {
        match asn {
            0 => Self::Unknown,
            asn => Self::One(asn),
        }
    }

    pub(super) fn merge(self, other: Self) -> Self {
        match (self, other) {
            (Self::Unknown, known) | (known, Self::Unknown) => known,
            (Self::One(a), Self::One(b)) if a == b => self,
            _ => Self::Several,
        }
    }
}

/// A neighbor on the segment of an interface: a router, identified by its MAC address.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Neighbor {
    pub asn: PeerAs,
    /// The name in the configuration, otherwise the one that the BGP peer sent; empty if there is none.
    pub name: Arc<str>,
    /// Its addresses in the neighbor tables, now or within the last day, that are BGP peers or next hops of routes. A
    /// map stores them only for a neighbor with several ASes: no other needs them.
    pub addresses: Box<[IpAddr]>,
}

impl Neighbor {
    /// Returns the AS of the neighbor for a flow, 0 if it is unknown. `route` is the next hop and peer AS of the route
    /// to the end of the flow that is beyond the neighbor: the source at ingress, the destination at egress.
    pub fn asn_for(&self, route: impl FnOnce() -> Option<(IpAddr, u32)>) -> u32 {
        match self.asn {
            PeerAs::Unknown => 0,
            PeerAs::One(asn) => asn,
            PeerAs::Several => match route() {
                Some((next_hop, asn)) if self.addresses.contains(&next_hop) => asn,
                _ => 0,
            },
        }
    }
}

/// The neighbors at one moment, by interface and MAC address. The lists are sorted: a hash table would take half as
/// much again, and only new flows look up their neighbors.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct NeighborMap {
    by_mac: Box<[((u32, MacAddress), Neighbor)]>,
    /// The neighbors of interfaces that the configuration assigns to one peer.
    by_interface: Box<[(u32, Neighbor)]>,
}

impl NeighborMap {
    /// Returns the neighbor with this MAC address on the segment of an interface. Devices without Ethernet have one
    /// neighbor, whose MAC address is zero.
    pub fn get(&self, ifindex: u32, mac: MacAddress) -> Option<&Neighbor> {
        let by_interface = || find(&self.by_interface, &ifindex);
        find(&self.by_mac, &(ifindex, mac)).or_else(by_interface)
    }

    /// Returns the neighbor that handed over the packets of a record, or to which they were handed.
    pub fn of_record(&self, record: &FlowRecord) -> Option<&Neighbor> {
        self.get(record.key.ifindex, record.neighbor_mac())
    }

    /// Returns a map of these neighbors.
    pub fn of(neighbors: impl IntoIterator<Item = ((u32, MacAddress), Neighbor)>) -> Self {
        let neighbors = neighbors.into_iter();
        let mut by_mac: Vec<_> = neighbors
            .map(|(key, mut neighbor)| {
                if neighbor.asn != PeerAs::Several {
                    neighbor.addresses = Box::default();
                }
                (key, neighbor)
            })
            .collect();
        by_mac.sort_unstable_by_key(|(key, _)| *key);
        Self {
            by_mac: by_mac.into(),
            by_interface: Box::default(),
        }
    }

    /// Returns about the memory in use, with the headers of the allocator.
    #[cfg(test)]
    pub fn bytes(&self) -> usize {
        let list = |neighbor: &Neighbor| {
            let name = 2 * size_of::<usize>() + neighbor.name.len();
            let addresses = size_of_val(&*neighbor.addresses);
            let used = [name, addresses].into_iter().filter(|bytes| *bytes > 0);
            used.map(|bytes| (bytes + 8).next_multiple_of(16))
                .sum::<usize>()
        };
        let lists: usize = self.by_mac.iter().map(|(_, n)| list(n)).sum();
        size_of_val(&*self.by_mac) + lists
    }

    /// Returns the ASes of all neighbors that have one AS.
    pub fn asns(&self) -> BTreeSet<u32> {
        let by_mac = self.by_mac.iter().map(|(_, neighbor)| neighbor);
        let by_interface = self.by_interface.iter().map(|(_, neighbor)| neighbor);
        let asns = by_mac
            .chain(by_interface)
            .filter_map(|neighbor| match neighbor.asn {
                PeerAs::One(asn) => Some(asn),
                PeerAs::Unknown | PeerAs::Several => None,
            });
        asns.collect()
    }

    pub fn len(&self) -> usize {
        self.by_mac.len()
    }

    pub fn is_empty(&self) -> bool {
        self.by_mac.is_empty() && self.by_interface.is_empty()
    }
}

fn find<'a, K: Ord>(sorted: &'a [(K, Neighbor)], key: &K) -> Option<&'a Neighbor> {
    let at = sorted.binary_search_by(|(held, _)| held.cmp(key)).ok()?;
    Some(&sorted[at].1)
}

/// The current map, which thread neighbors replaces.
#[derive(Debug, Default)]
pub struct SharedNeighbors {
    map: RwLock<Arc<NeighborMap>>,
    generation: AtomicU32,
}

impl SharedNeighbors {
    pub fn get(&self) -> Arc<NeighborMap> {
        self.map
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Returns a number that advances when the map changes.
    pub fn generation(&self) -> u32 {
        self.generation.load(Ordering::Acquire)
    }

    /// Replaces the map if it differs.
    pub fn set(&self, map: NeighborMap) {
        if *self.get() == map {
            return;
        }
        let new = Arc::new(map);
        *self.map.write().unwrap_or_else(PoisonError::into_inner) = new;
        self.generation.fetch_add(1, Ordering::Release);
    }
}
