// SPDX-License-Identifier: AGPL-3.0-only
//! Enrichment: looks up both ends of a flow in an ordered list of sources (BGP, configuration, databases).
//!
//! A new source is a file here and a line in [`Enricher::endpoint`].

mod bgp_info;
pub mod bmp;
pub mod mmdb;
pub mod neighbors;
mod prefixes;
pub mod rib;
pub mod rpki;
pub mod source_check;
#[cfg(test)]
mod tests;
mod trace;
mod vrf_rib;

use std::net::IpAddr;
use std::sync::Arc;

use maxminddb::MaxMindDbError;

use crate::flow::peers::Peer;
use crate::flow::thread::Enrich;
use crate::sys::error_counters::{ErrorCounters, Subsystem};
use crate::types::community_pattern::CommunityPattern;
use crate::types::database::DatabaseKind;
use crate::types::flow::{Direction, FlowKey, FlowRecord};
use crate::types::label::{Endpoint, Enrichment};
use crate::types::mac::MacAddress;
use crate::types::network_path::NetworkPath;
use crate::types::source::CheckedSource;
use crate::types::static_prefix::StaticPrefix;
use mmdb::{Database, Databases};
use neighbors::{NeighborMap, SharedNeighbors};
use prefixes::{StaticNetwork, StaticPrefixes};
use rib::{Attributes, Route, SourceRoutes, TableId, is_unlabelled};
use rpki::{SharedVrps, VrpTable};
use source_check::{NeighborViews, SharedSources, SourceTables};

pub use bgp_info::{BgpInfo, FlowRouting};
pub use trace::{AsnSource, Trace};
pub use vrf_rib::VrfRib;

/// A change triggers new lookups of flows at most twice a second. The generations of the sources are
/// checked continuously: a change after a quiet half second takes effect immediately, and every change
/// takes effect within this interval.
const INTERVAL_MS: u64 = 500;
/// Maximum number of communities in the value of a label; further ones are left out.
const MAX_COMMUNITIES: usize = 16;

/// Looks up routes in routing tables.
pub trait RouteLookup: Send {
    /// Returns a number that advances when a route may have changed.
    fn generation(&self) -> u32;
    /// Returns the table for the traffic of an interface, or `None` if no table covers it.
    fn table(&self, ifindex: u32) -> Option<TableId>;
    /// Returns the best route for each end of a flow.
    fn lookup(&self, ends: [IpAddr; 2], table: TableId) -> [Option<Route>; 2];
    /// Returns all attributes of the best route; takes several times as long as a lookup.
    fn attributes(&self, _address: IpAddr, _table: TableId) -> Option<Attributes> {
        None
    }
    /// Writes the AS path of the best route, and returns the length of its prefix; `None` if there is no route.
    fn path(&self, _address: IpAddr, _table: TableId, _path: &mut NetworkPath) -> Option<u8> {
        None
    }

    /// Returns the routes to a source address, for the check of a neighbor AS.
    fn source_routes(
        &self,
        _address: IpAddr,
        _table: TableId,
        _asn: u32,
        _views: &NeighborViews,
    ) -> SourceRoutes {
        SourceRoutes::NoView
    }
    /// Called after the last lookup of a batch.
    fn end_batch(&mut self) {}
}

/// Looks up endpoints in all sources. Belongs to the thread that queries it: it keeps references to the
/// databases between two refreshes, so that a database lookup takes no lock.
pub struct Enricher {
    routes: Option<Box<dyn RouteLookup>>,
    prefixes: StaticPrefixes,
    databases: Arc<Databases>,
    asn: Option<Arc<Database>>,
    city: Option<Arc<Database>>,
    neighbors: Option<Arc<SharedNeighbors>>,
    /// The neighbors at the last refresh.
    neighbor_map: Arc<NeighborMap>,
    vrps: Option<Arc<SharedVrps>>,
    /// The VRPs at the last refresh.
    vrp_table: Option<Arc<VrpTable>>,
    sources_shared: Option<Arc<SharedSources>>,
    /// The tables of the source check at the last refresh.
    source_tables: Option<Arc<SourceTables>>,
    /// Communities to look up; empty if no label uses them.
    communities: Vec<CommunityPattern>,
    errors: Arc<ErrorCounters>,
    generation: u32,
    /// The generations of the sources at the last refresh.
    sources: [u32; 5],
    advanced_ms: u64,
}

impl Enricher {
    pub fn new(
        routes: Option<Box<dyn RouteLookup>>,
        prefixes: &[StaticPrefix],
        databases: Arc<Databases>,
        errors: Arc<ErrorCounters>,
    ) -> Self {
        let mut enricher = Self {
            routes,
            prefixes: StaticPrefixes::new(prefixes),
            databases,
            asn: None,
            city: None,
            neighbors: None,
            neighbor_map: Arc::default(),
            vrps: None,
            vrp_table: None,
            sources_shared: None,
            source_tables: None,
            communities: Vec::new(),
            errors,
            generation: 0,
            sources: [0; 5],
            advanced_ms: 0,
        };
        enricher.load_sources();
        enricher
    }

    /// Adds the neighbors, for the label of the peer.
    pub fn with_neighbors(mut self, neighbors: Arc<SharedNeighbors>) -> Self {
        self.neighbors = Some(neighbors);
        self.load_sources();
        self
    }

    /// Adds the VRPs, for the labels of the validation state.
    pub fn with_vrps(mut self, vrps: Arc<SharedVrps>) -> Self {
        self.vrps = Some(vrps);
        self.load_sources();
        self
    }

    /// Adds the tables of the source check.
    pub fn with_sources(mut self, sources: Arc<SharedSources>) -> Self {
        self.sources_shared = Some(sources);
        self.load_sources();
        self
    }

    /// Adds the communities of routes that match a pattern.
    pub fn with_communities(mut self, communities: &[CommunityPattern]) -> Self {
        self.communities = communities.to_vec();
        self
    }

    fn load_sources(&mut self) {
        // Read before the sources: a change in between is detected next time.
        self.sources = self.sources_now();
        self.asn = self.databases.get(DatabaseKind::Asn);
        self.city = self.databases.get(DatabaseKind::City);
        if let Some(neighbors) = &self.neighbors {
            self.neighbor_map = neighbors.get();
        }
        let used = self.vrps.as_ref().and_then(|vrps| vrps.get());
        self.vrp_table = used.map(|used| used.table);
        let shared = self.sources_shared.as_ref();
        self.source_tables = shared.and_then(|shared| shared.get());
    }

    fn sources_now(&self) -> [u32; 5] {
        let routes = self.routes.as_ref().map_or(0, |routes| routes.generation());
        let neighbors = self.neighbors.as_ref().map_or(0, |n| n.generation());
        let vrps = self.vrps.as_ref().map_or(0, |vrps| vrps.generation());
        let sources = self.sources_shared.as_ref();
        let sources = sources.map_or(0, |shared| shared.generation());
        [
            routes,
            self.databases.generation(),
            neighbors,
            vrps,
            sources,
        ]
    }

    /// Returns the AS of the neighbor that handed over the packets of a flow, or to which they were handed. `routes`
    /// is called if the neighbor has several.
    fn peer_asn_of(
        &self,
        key: &FlowKey,
        mac: MacAddress,
        routes: impl FnOnce() -> [Option<Route>; 2],
    ) -> u32 {
        let Some(neighbor) = self.neighbor_map.get(key.ifindex, mac) else {
            return 0;
        };
        neighbor.asn_for(|| {
            let [src, dst] = routes();
            let route = match key.direction {
                Direction::Ingress => src?,
                Direction::Egress => dst?,
            };
            Some((route.next_hop?, route.peer_asn))
        })
    }

    /// Returns the BGP information of both ends of a flow.
    pub fn routing(&self, key: &FlowKey) -> FlowRouting {
        let table = self.table(key.ifindex);
        let ends = [key.source(), key.destination()].map(|address| address.to_canonical());
        let routes = self.routes_to(ends, table);
        let [src, dst] = [0, 1].map(|end| self.resolve_bgp_info(ends[end], routes[end], table));
        FlowRouting {
            src,
            dst,
            ip_next_hop: None,
            source: None,
        }
    }

    fn resolve_bgp_info(
        &self,
        address: IpAddr,
        route: Option<Route>,
        table: Option<TableId>,
    ) -> BgpInfo {
        if is_unlabelled(address) {
            return BgpInfo::default();
        }
        let (mut info, _) = self.bgp_info(address, route, table);
        if info.asn == 0 {
            let found = self.asn.as_ref().map(|database| database.asn(address));
            let found = found.and_then(|found| self.counted(found));
            info.asn = found.map_or(0, |found| found.number);
        }
        info
    }

    fn table(&self, ifindex: u32) -> Option<TableId> {
        match &self.routes {
            Some(routes) => routes.table(ifindex),
            None => Some(TableId::GLOBAL),
        }
    }

    fn routes_to(&self, ends: [IpAddr; 2], table: Option<TableId>) -> [Option<Route>; 2] {
        match self.routes.as_ref().zip(table) {
            Some((routes, table)) => routes.lookup(ends, table),
            None => [None; 2],
        }
    }

    /// Returns the BGP information of an address according to its route and the configuration, and the
    /// configured network.
    fn bgp_info(
        &self,
        address: IpAddr,
        mut route: Option<Route>,
        table: Option<TableId>,
    ) -> (BgpInfo, Option<&StaticNetwork>) {
        let shortest = route.map_or(0, |route| route.prefix_len);
        let network = table.and_then(|table| self.network(address, table, shortest));
        let mut info = BgpInfo {
            prefix_len: network.map_or(shortest, |network| network.length),
            ..BgpInfo::default()
        };
        if let Some(network) = network.filter(|network| network.asn > 0) {
            info.asn = network.asn;
            // The path to a network that BGP does not announce is not the path that BGP announces.
            route = None;
        }
        if let Some(route) = route {
            info.asn = route.origin_asn;
            info.peer_asn = route.peer_asn;
            info.next_hop = route.next_hop;
        }
        (info, network)
    }

    /// Returns the configured network of an address, unless a route has a longer prefix.
    fn network(&self, address: IpAddr, table: TableId, shortest: u8) -> Option<&StaticNetwork> {
        // the configuration describes the global table: in a VRF, the same addresses may belong to another
        // network
        let network = (table == TableId::GLOBAL).then(|| self.prefixes.lookup(address));
        let network = network.flatten();
        network.filter(|network| network.length >= shortest)
    }

    fn endpoint(&self, address: IpAddr, route: Option<Route>, table: Option<TableId>) -> Endpoint {
        let mut known = Endpoint::default();
        if is_unlabelled(address) {
            return known;
        }
        let (info, network) = self.bgp_info(address, route, table);
        known.asn = info.asn;
        known.peer_asn = info.peer_asn;
        known.net = network.and_then(|network| network.name.clone());
        // the AS of a static prefix replaces the route
        let route = route.filter(|_| network.is_none_or(|network| network.asn == 0));
        if let Some(route) = route {
            let table = table.filter(|_| !self.communities.is_empty());
            known.communities = table.and_then(|table| self.communities_of(address, table));
            let vrps = self.vrp_table.as_ref();
            known.rpki = vrps.map(|vrps| vrps.validate_route(address, route));
        }
        self.add_asn(address, &mut known);
        self.add_location(address, &mut known);
        known
    }

    /// Returns the communities of the best route that match a pattern, with commas between them, in ascending order:
    /// the order in which they are received has no meaning.
    fn communities_of(&self, address: IpAddr, table: TableId) -> Option<Arc<str>> {
        let attributes = self.routes.as_ref()?.attributes(address, table)?;
        let (mut plain, mut large) = (attributes.communities, attributes.large_communities);
        plain.retain(|c| self.communities.iter().any(|p| p.matches(*c)));
        large.retain(|c| self.communities.iter().any(|p| p.matches_large(*c)));
        plain.sort_unstable();
        plain.dedup();
        large.sort_unstable();
        large.dedup();
        let plain = plain.iter().map(|c| format!("{}:{}", c >> 16, c & 0xffff));
        let large = large.iter().map(|[a, b, c]| format!("{a}:{b}:{c}"));
        let texts: Vec<_> = plain.chain(large).take(MAX_COMMUNITIES).collect();
        (!texts.is_empty()).then(|| texts.join(",").into())
    }

    /// Adds the AS number if it is unknown, and the AS name: the database may find another AS for the address.
    fn add_asn(&self, address: IpAddr, known: &mut Endpoint) {
        let Some(database) = &self.asn else {
            return;
        };
        let found = self.counted(database.asn(address));
        if known.asn == 0 {
            known.asn = found.map_or(0, |found| found.number);
        }
        known.asn_name = match found {
            Some(found) if found.number == known.asn => found.name.map(Into::into),
            _ => self.name_of(known.asn),
        };
    }

    /// Returns the name of an AS according to the database.
    fn name_of(&self, asn: u32) -> Option<Arc<str>> {
        let database = self.asn.as_ref().filter(|_| asn > 0)?;
        database.asn_name(asn).map(Into::into)
    }

    fn add_location(&self, address: IpAddr, known: &mut Endpoint) {
        let Some(database) = &self.city else {
            return;
        };
        if let Some(found) = self.counted(database.location(address)) {
            known.city = found.city.map(Into::into);
            known.country = found.country.map(Into::into);
        }
    }

    /// Counts and logs a record that cannot be read, and treats it as absent.
    fn counted<T>(&self, found: Result<Option<T>, MaxMindDbError>) -> Option<T> {
        found.unwrap_or_else(|error| {
            self.errors
                .count_and_log(Subsystem::Mmdb, "lookup", || error.to_string());
            None
        })
    }
}

impl Enrich for Enricher {
    fn generation(&mut self, now_ms: u64) -> u32 {
        let due = now_ms.saturating_sub(self.advanced_ms) >= INTERVAL_MS;
        if due && self.sources_now() != self.sources {
            self.advanced_ms = now_ms;
            self.load_sources();
            self.generation = self.generation.wrapping_add(1);
        }
        self.generation
    }

    fn set_prefixes(&mut self, prefixes: &[StaticPrefix]) {
        self.prefixes = StaticPrefixes::new(prefixes);
        self.generation = self.generation.wrapping_add(1);
    }

    fn peer_asn(&self, key: &FlowKey, neighbor: MacAddress) -> u32 {
        self.peer_asn_of(key, neighbor, || {
            let ends = [key.source(), key.destination()].map(|address| address.to_canonical());
            self.routes_to(ends, self.table(key.ifindex))
        })
    }

    fn peer(&self, ifindex: u32, mac: MacAddress) -> Peer {
        match self.neighbor_map.get(ifindex, mac) {
            Some(neighbor) => {
                let asn = neighbor.asn_for(|| None);
                let name = Some(&neighbor.name).filter(|name| !name.is_empty());
                let name = name.cloned().or_else(|| self.name_of(asn));
                Peer {
                    asn,
                    name: name.unwrap_or_default(),
                    known: true,
                }
            }
            None => Peer::default(),
        }
    }

    fn path(&self, key: &FlowKey, path: &mut NetworkPath) {
        path.clear();
        let address = match key.direction {
            Direction::Ingress => key.source(),
            Direction::Egress => key.destination(),
        };
        let address = address.to_canonical();
        let (Some(routes), Some(table)) = (&self.routes, self.table(key.ifindex)) else {
            return;
        };
        if is_unlabelled(address) {
            return;
        }
        let length = routes.path(address, table, path).unwrap_or(0);
        // the path to a network that BGP does not announce is not the path that BGP announces
        if let Some(network) = self.network(address, table, length)
            && network.asn > 0
        {
            path.clear();
            path.set_origin(network.asn);
        }
    }

    fn check_source(&self, record: &FlowRecord) -> Option<CheckedSource> {
        let tables = self.source_tables.as_ref()?;
        let ifindex = record.key.ifindex;
        let address = record.key.source().to_canonical();
        let table = self.table(ifindex);
        let neighbor = self.neighbor_map.of_record(record);
        let peer_asn = neighbor.map_or(0, |neighbor| {
            neighbor.asn_for(|| {
                let [route, _] = self.routes_to([address; 2], table);
                let route = route?;
                Some((route.next_hop?, route.peer_asn))
            })
        });
        let routes = |table| match &self.routes {
            Some(routes) => routes.source_routes(address, table, peer_asn, &tables.views),
            None => SourceRoutes::NoView,
        };
        let state = source_check::check(tables, (ifindex, peer_asn), address, table, routes)?;
        Some(CheckedSource { state, peer_asn })
    }

    fn prefix_name(&self, key: &FlowKey) -> Option<&Arc<str>> {
        if self.prefixes.is_empty() {
            return None;
        }
        let address = match key.direction {
            Direction::Ingress => key.source(),
            Direction::Egress => key.destination(),
        };
        let table = self.table(key.ifindex)?;
        // whether or not a route is more specific
        let network = self.network(address.to_canonical(), table, 0)?;
        network.name.as_ref()
    }

    fn asn_name(&self, asn: u32) -> Option<Arc<str>> {
        self.name_of(asn)
    }

    fn end_batch(&mut self) {
        if let Some(routes) = &mut self.routes {
            routes.end_batch();
        }
    }

    fn enrichment(&self, key: &FlowKey, neighbor: MacAddress) -> Enrichment {
        let table = self.table(key.ifindex);
        let ends = [key.source(), key.destination()].map(|address| address.to_canonical());
        let routes = self.routes_to(ends, table);
        let [src, dst] = [0, 1].map(|end| self.endpoint(ends[end], routes[end], table));
        Enrichment {
            src,
            dst,
            peer_asn: self.peer_asn_of(key, neighbor, || routes),
        }
    }
}
