// SPDX-License-Identifier: AGPL-3.0-only
//! Finds the best route for an address.

use std::net::IpAddr;

use super::attribute_interner::AttributesId;
use super::attributes::Attributes;
use super::decision::{self, Candidate};
use super::eligibility::ActiveTables;
use super::holders::RouteTableKey;
use super::peer::TableId;
use super::prefix::{Family, split};
use super::rank::RANKS;
use super::route_table::{HolderId, RouteTable, SinglePath};
use super::{Rib, of_family};
use crate::types::network_path::NetworkPath;

/// The shortest prefix that counts as a network. A shorter one is a default route: it determines the next
/// hop, but not the owner of an address.
pub const SHORTEST_NETWORK: u8 = 8;

/// The result of a lookup.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Route {
    /// 0: unknown, because of a default route or an AS_SET.
    pub origin_asn: u32,
    /// 0: unknown.
    pub peer_asn: u32,
    pub next_hop: Option<IpAddr>,
    pub prefix_len: u8,
    pub blackhole: bool,
}

/// Maximum number of paths of a prefix that are compared, for each rank: a router that sends more must not
/// make lookups slow.
const MAX_CANDIDATES: usize = 1 << 13;

impl Rib {
    /// Returns the best route for an address in a table.
    pub fn lookup(&self, address: IpAddr, table: TableId) -> Option<Route> {
        debug_assert!(!self.best_paths_outdated, "apply_changes() comes first");
        let (family, bits) = split(address);
        self.route(address, self.best_match(family, bits, table)?)
    }

    /// Returns all attributes of the best route for an address in a table.
    pub fn best_attributes(&self, address: IpAddr, table: TableId) -> Option<Attributes> {
        let (family, bits) = split(address);
        let (_, attributes) = self.best_match(family, bits, table)?;
        Some(self.attributes.get(attributes))
    }

    /// Writes the AS path of the best route for an address in a table. Returns the length of its prefix, or `None` if
    /// there is no route. A default route shows only the neighbor.
    pub fn best_network_path(
        &self,
        address: IpAddr,
        table: TableId,
        path: &mut NetworkPath,
    ) -> Option<u8> {
        if is_unlabelled(address) {
            return None;
        }
        let (family, bits) = split(address);
        let (length, attributes) = self.best_match(family, bits, table)?;
        self.attributes.network_path(attributes, path);
        if length < SHORTEST_NETWORK {
            path.keep_neighbor();
        }
        Some(length)
    }

    /// Returns the routes for several addresses: the processor waits for the memory of all of them at once.
    pub fn lookup_all<const N: usize>(
        &self,
        addresses: [IpAddr; N],
        table: TableId,
    ) -> [Option<Route>; N] {
        let keys = addresses.map(split);
        for (family, bits) in keys {
            of_family!(self.prefixes, family, prefetch(bits));
        }
        let mut found = [None; N];
        for (found, (family, bits)) in found.iter_mut().zip(keys) {
            *found = self.best_match(family, bits, table);
        }
        let mut routes = [None; N];
        for (i, found) in found.into_iter().enumerate() {
            routes[i] = found.and_then(|found| self.route(addresses[i], found));
        }
        routes
    }

    fn route(&self, address: IpAddr, found: (u8, AttributesId)) -> Option<Route> {
        if is_unlabelled(address) {
            return None;
        }
        let (length, attributes) = found;
        let (origin_asn, peer_asn, next_hop, blackhole) = self.attributes.lookup_values(attributes);
        let is_default = length < SHORTEST_NETWORK;
        Some(Route {
            origin_asn: if is_default { 0 } else { origin_asn },
            peer_asn,
            next_hop,
            prefix_len: length,
            blackhole,
        })
    }

    fn best_match(&self, family: Family, bits: u128, table: TableId) -> Option<(u8, AttributesId)> {
        match self.lookup_plan.of(table, family) {
            ActiveTables::None => None,
            ActiveTables::Single(holder) => self.longest_of(holder, family, bits),
            ActiveTables::Multiple => match self.lookup_plan.ranks() {
                // all sessions have one rank
                [true, false, false, false] => self.longest(0, family, bits, table),
                [false, false, true, false] => self.longest(2, family, bits, table),
                ranks => self.first_rank(ranks, family, bits, table),
            },
        }
    }

    /// Returns the longest match if only one route table holds routes.
    fn longest_of(
        &self,
        holder: HolderId,
        family: Family,
        bits: u128,
    ) -> Option<(u8, AttributesId)> {
        let (table_key, routes) = self.routes_at(holder);
        let mut found = None;
        let visit = |prefix: u32, length: u8| {
            found = match routes.single_path(prefix) {
                SinglePath::None => None,
                SinglePath::Path(attributes) if self.is_looped(table_key.view, attributes) => None,
                SinglePath::Path(attributes) => Some((length, attributes)),
                SinglePath::Many => {
                    let best = self.best(table_key.table, family, prefix);
                    best.into_iter().flatten().next().map(|id| (length, id))
                }
            };
            found.is_some()
        };
        of_family!(self.prefixes, family, matches(bits, visit));
        found
    }

    fn longest(
        &self,
        rank: usize,
        family: Family,
        bits: u128,
        table: TableId,
    ) -> Option<(u8, AttributesId)> {
        let mut found = None;
        let visit = |prefix: u32, length: u8| {
            let best_path = self.best_path(rank, family, prefix, table);
            found = best_path.map(|attributes| (length, attributes));
            found.is_some()
        };
        of_family!(self.prefixes, family, matches(bits, visit));
        found
    }

    /// Returns the match of the first rank that has more than a default route, otherwise of the first rank
    /// that has one.
    fn first_rank(
        &self,
        ranks: [bool; RANKS],
        family: Family,
        bits: u128,
        table: TableId,
    ) -> Option<(u8, AttributesId)> {
        let first = ranks.iter().position(|rank| *rank)?;
        let mut found: [Option<(u8, AttributesId)>; RANKS] = [None; RANKS];
        let visit = |prefix: u32, length: u8| {
            for rank in (first..RANKS).filter(|&rank| ranks[rank]) {
                if found[rank].is_none() {
                    let best_path = self.best_path(rank, family, prefix, table);
                    found[rank] = best_path.map(|attributes| (length, attributes));
                }
            }
            found[first].is_some()
        };
        of_family!(self.prefixes, family, matches(bits, visit));
        let specific = |route: &&Option<(u8, AttributesId)>| {
            route.is_some_and(|(length, _)| length >= SHORTEST_NETWORK)
        };
        let network = found.iter().find(specific).copied().flatten();
        network.or_else(|| found.into_iter().flatten().next())
    }

    /// Returns the best route of a rank for a prefix: the stored one, otherwise the result of a new
    /// decision.
    #[inline]
    fn best_path(
        &self,
        rank: usize,
        family: Family,
        prefix: u32,
        table: TableId,
    ) -> Option<AttributesId> {
        let known = self.best_paths.slot(table, family, rank, prefix).get();
        known.unwrap_or_else(|| self.find_best_paths(family, prefix, table)[rank])
    }

    #[cold]
    fn find_best_paths(
        &self,
        family: Family,
        prefix: u32,
        table: TableId,
    ) -> [Option<AttributesId>; RANKS] {
        let best_paths = self.best(table, family, prefix);
        for (rank, best_path) in best_paths.iter().enumerate() {
            self.best_paths
                .slot(table, family, rank, prefix)
                .set(*best_path);
        }
        best_paths
    }

    /// Returns the best route of a prefix for each rank.
    fn best(&self, table: TableId, family: Family, prefix: u32) -> [Option<AttributesId>; RANKS] {
        let best = self.decide(table, family, prefix);
        best.map(|candidate| candidate.map(|c| c.attributes))
    }

    /// Returns the best candidate of a prefix for each rank, with everything that the decision compares.
    pub(super) fn decide(
        &self,
        table: TableId,
        family: Family,
        prefix: u32,
    ) -> [Option<Candidate>; RANKS] {
        let mut counts = [0; RANKS];
        let mut candidates = Vec::new();
        for (table_key, routes) in self.holding(family, prefix) {
            let mut paths = routes.paths(prefix).peekable();
            if table_key.table != table || paths.peek().is_none() {
                continue;
            }
            let Some(source) = self.eligible_view(table_key.peer, table_key.view, family) else {
                continue;
            };
            let count = &mut counts[source.rank as usize];
            for path in paths.take(MAX_CANDIDATES - *count) {
                *count += 1;
                candidates.push(self.candidate(source, path));
            }
        }
        let best = |rank: usize| {
            let of_rank = candidates.iter().copied();
            decision::choose(of_rank.filter(|c| c.source.rank as usize == rank))
        };
        std::array::from_fn(|rank| (counts[rank] > 0).then(|| best(rank)).flatten())
    }

    /// Returns the route tables that may hold a prefix.
    pub(super) fn holding(
        &self,
        family: Family,
        prefix: u32,
    ) -> impl Iterator<Item = (&RouteTableKey, &RouteTable)> {
        let holders = self.holders.of(family, prefix);
        holders.map(|holder| self.routes_at(holder))
    }

    fn routes_at(&self, holder: HolderId) -> (&RouteTableKey, &RouteTable) {
        let table_key = self.holders.table_key(holder);
        let view = self.peers[table_key.peer].view(table_key.view, table_key.family);
        let mut tables = view.tables();
        // a view that holds routes has a table with this number
        let routes = tables.find(|routes| routes.holder == Some(holder));
        (table_key, routes.unwrap_or(&view.fresh))
    }
}

/// Returns whether no routing table applies to an address.
pub fn is_unlabelled(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(a) => a.is_loopback() || a.is_link_local() || a.is_multicast(),
        IpAddr::V6(a) => a.is_loopback() || a.is_unicast_link_local() || a.is_multicast(),
    }
}
