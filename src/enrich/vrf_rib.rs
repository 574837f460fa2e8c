// SPDX-License-Identifier: AGPL-3.0-only
//! The RIB as thread flow queries it: finds the table of each interface.

use std::cell::OnceCell;
use std::net::IpAddr;
use std::sync::Arc;

use super::RouteLookup;
use super::rib::{Attributes, LookupGuard, Route, SharedRib, SourceRoutes, TableId};
use super::source_check::NeighborViews;
use crate::interfaces::InterfaceRegistry;
use crate::types::distinguisher::Distinguisher;
use crate::types::network_path::NetworkPath;

pub struct VrfRib {
    rib: SharedRib,
    interfaces: Arc<InterfaceRegistry>,
    /// The table of each VRF device that the configuration names.
    tables: Vec<(String, TableId)>,
    /// Held from the first lookup of a batch to its end.
    guard: OnceCell<LookupGuard>,
}

impl VrfRib {
    pub fn new<'a>(
        rib: SharedRib,
        interfaces: Arc<InterfaceRegistry>,
        vrf: impl IntoIterator<Item = (&'a String, &'a Distinguisher)>,
    ) -> Self {
        let table = |(device, _): (&String, _)| Some((device.clone(), rib.table(Some(device))?));
        Self {
            tables: vrf.into_iter().filter_map(table).collect(),
            rib,
            interfaces,
            guard: OnceCell::new(),
        }
    }
}

impl RouteLookup for VrfRib {
    fn generation(&self) -> u32 {
        self.rib.generation()
    }

    fn table(&self, ifindex: u32) -> Option<TableId> {
        let Some(device) = self.interfaces.vrf_of(ifindex) else {
            return Some(TableId::GLOBAL);
        };
        let mut tables = self.tables.iter();
        tables.find(|(name, _)| **name == *device).map(|t| t.1)
    }

    fn lookup(&self, ends: [IpAddr; 2], table: TableId) -> [Option<Route>; 2] {
        if self.rib.generation() == 0 {
            // there never was a route
            return [None; 2];
        }
        self.guard.get_or_init(|| self.rib.lookup_guard());
        self.rib.lookup_all(ends, table)
    }

    fn attributes(&self, address: IpAddr, table: TableId) -> Option<Attributes> {
        self.rib.read(|rib| rib.best_attributes(address, table))
    }

    fn path(&self, address: IpAddr, table: TableId, path: &mut NetworkPath) -> Option<u8> {
        if self.rib.generation() == 0 {
            return None;
        }
        self.guard.get_or_init(|| self.rib.lookup_guard());
        self.rib
            .read(|rib| rib.best_network_path(address, table, path))
    }

    fn source_routes(
        &self,
        address: IpAddr,
        table: TableId,
        asn: u32,
        views: &NeighborViews,
    ) -> SourceRoutes {
        if self.rib.generation() == 0 {
            return SourceRoutes::NoView;
        }
        self.guard.get_or_init(|| self.rib.lookup_guard());
        let sessions = |family| views.sessions(asn, family);
        self.rib
            .read(|rib| rib.source_routes(address, table, asn, sessions))
    }

    fn end_batch(&mut self) {
        self.guard.take();
    }
}
