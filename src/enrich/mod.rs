// SPDX-License-Identifier: AGPL-3.0-only
//! Whose traffic it is: ordered sources → what is known of the two ends of a flow.
//!
//! A new source is a file here and a line in [`Enricher::endpoint`].

pub mod bmp;
pub mod mmdb;
mod prefixes;
pub mod rib;
#[cfg(test)]
mod tests;

use std::net::IpAddr;
use std::sync::Arc;

use maxminddb::MaxMindDbError;

use crate::config::StaticPrefix;
use crate::errors::{Errors, Subsystem};
use crate::flow::key::FlowKey;
use crate::flow::labels::{Endpoint, Enrichment};
use crate::flow::worker::Knowledge;
use mmdb::{Database, Databases, Kind};
use prefixes::StaticPrefixes;

/// Sources are asked no more often whether they changed: what flows are looked up anew for comes at most
/// twice a second.
const INTERVAL_MS: u64 = 500;

/// What a routing table says of an address. An unknown AS is 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Route {
    pub prefix_length: u8,
    pub origin_asn: u32,
    pub neighbour_asn: u32,
}

/// A routing table.
pub trait Routes: Send {
    /// Advances when a route may have changed.
    fn generation(&self) -> u32;
    /// The best route for an address in the traffic of the interface `ifindex`.
    fn lookup(&self, address: IpAddr, ifindex: u32) -> Option<Route>;
}

/// Answers from all sources. Owned by the thread that asks: it keeps hold of the databases between two
/// refreshes, and takes no lock to look something up.
pub struct Enricher {
    routes: Option<Box<dyn Routes>>,
    prefixes: StaticPrefixes,
    databases: Arc<Databases>,
    asn: Option<Arc<Database>>,
    city: Option<Arc<Database>>,
    errors: Arc<Errors>,
    generation: u32,
    /// Those of the sources, and when they were asked.
    sources: (u32, u32),
    asked_ms: u64,
}

impl Enricher {
    pub fn new(
        routes: Option<Box<dyn Routes>>,
        prefixes: &[StaticPrefix],
        databases: Arc<Databases>,
        errors: Arc<Errors>,
    ) -> Self {
        let mut enricher = Self {
            routes,
            prefixes: StaticPrefixes::new(prefixes),
            databases,
            asn: None,
            city: None,
            errors,
            generation: 0,
            sources: (0, 0),
            asked_ms: 0,
        };
        enricher.take_databases();
        enricher
    }

    fn take_databases(&mut self) {
        let routes = self.routes.as_ref().map_or(0, |routes| routes.generation());
        // Asked before what they speak of: a change in between is seen next time.
        self.sources = (routes, self.databases.generation());
        self.asn = self.databases.get(Kind::Asn);
        self.city = self.databases.get(Kind::City);
    }

    fn endpoint(&self, address: IpAddr, ifindex: u32) -> Endpoint {
        let address = address.to_canonical();
        let mut known = Endpoint::default();
        if !may_be_known(address) {
            return known;
        }
        let routes = self.routes.as_ref();
        let mut route = routes.and_then(|routes| routes.lookup(address, ifindex));
        let shortest = route.map_or(0, |route| route.prefix_length);
        let network = self.prefixes.lookup(address);
        if let Some(network) = network.filter(|network| network.length >= shortest) {
            known.net = network.name.clone();
            known.asn = network.asn;
            if network.asn > 0 {
                // The way to a network that BGP does not tell is not the one that BGP tells.
                route = None;
            }
        }
        if let Some(route) = route {
            known.asn = route.origin_asn;
            known.peer_asn = route.neighbour_asn;
        }
        self.add_asn(address, &mut known);
        self.add_place(address, &mut known);
        known
    }

    /// The database says who an AS is only of the AS that it finds itself.
    fn add_asn(&self, address: IpAddr, known: &mut Endpoint) {
        let Some(database) = &self.asn else {
            return;
        };
        let Some(found) = self.counted(database.asn(address)) else {
            return;
        };
        if known.asn == 0 {
            known.asn = found.number;
        }
        if known.asn == found.number {
            known.asn_name = found.name.map(Into::into);
        }
    }

    fn add_place(&self, address: IpAddr, known: &mut Endpoint) {
        let Some(database) = &self.city else {
            return;
        };
        if let Some(found) = self.counted(database.place(address)) {
            known.city = found.city.map(Into::into);
            known.country = found.country.map(Into::into);
        }
    }

    /// A record that cannot be read is as good as none.
    fn counted<T>(&self, found: Result<Option<T>, MaxMindDbError>) -> Option<T> {
        found.unwrap_or_else(|error| {
            self.errors
                .report(Subsystem::Mmdb, "lookup", || error.to_string());
            None
        })
    }
}

impl Knowledge for Enricher {
    fn generation(&mut self, now_ms: u64) -> u32 {
        if now_ms.saturating_sub(self.asked_ms) >= INTERVAL_MS {
            self.asked_ms = now_ms;
            let before = self.sources;
            self.take_databases();
            if self.sources != before {
                self.generation = self.generation.wrapping_add(1);
            }
        }
        self.generation
    }

    fn set_prefixes(&mut self, prefixes: &[StaticPrefix]) {
        self.prefixes = StaticPrefixes::new(prefixes);
        self.generation = self.generation.wrapping_add(1);
    }

    fn enrichment(&self, key: &FlowKey) -> Enrichment {
        Enrichment {
            src: self.endpoint(key.source(), key.ifindex),
            dst: self.endpoint(key.destination(), key.ifindex),
        }
    }
}

/// Some addresses belong to nobody in particular, whatever a table says.
fn may_be_known(address: IpAddr) -> bool {
    let link_local = match address {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    };
    !(link_local || address.is_loopback() || address.is_multicast())
}
