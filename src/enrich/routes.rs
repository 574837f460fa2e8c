// SPDX-License-Identifier: AGPL-3.0-only
//! The RIB as thread flow asks it: which table speaks for which interface.

use std::cell::RefCell;
use std::net::IpAddr;
use std::sync::Arc;

use super::Routes;
use super::recent::Recent;
use super::rib::{Claim, RibHandle, Route, TableId};
use crate::config::Distinguisher;
use crate::interfaces::Interfaces;

pub struct BgpRoutes {
    rib: RibHandle,
    interfaces: Arc<Interfaces>,
    /// By VRF device: of those that the configuration names.
    tables: Vec<(String, TableId)>,
    state: RefCell<State>,
}

#[derive(Default)]
struct State {
    recent: Recent,
    /// Held from the first lookup of a batch to its end.
    claim: Option<Claim>,
}

impl BgpRoutes {
    pub fn new<'a>(
        rib: RibHandle,
        interfaces: Arc<Interfaces>,
        vrf: impl IntoIterator<Item = (&'a String, &'a Distinguisher)>,
    ) -> Self {
        let table = |(device, _): (&String, _)| Some((device.clone(), rib.table(Some(device))?));
        Self {
            tables: vrf.into_iter().filter_map(table).collect(),
            rib,
            interfaces,
            state: RefCell::default(),
        }
    }
}

impl Routes for BgpRoutes {
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
        let State { recent, claim } = &mut *self.state.borrow_mut();
        // asked before: a change in between is seen with the next generation
        let generation = self.rib.generation();
        if generation == 0 {
            // there never was a route
            return [None; 2];
        }
        let known = ends.map(|address| recent.get(address, table, generation));
        if let [Some(source), Some(destination)] = known {
            return [source, destination];
        }
        claim.get_or_insert_with(|| self.rib.claim());
        let routes = self.rib.lookup_all(ends, table);
        for (address, route) in ends.into_iter().zip(routes) {
            recent.put(address, table, generation, route);
        }
        routes
    }

    fn rest(&mut self) {
        self.state.get_mut().claim.take();
    }
}
