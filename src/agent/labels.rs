// SPDX-License-Identifier: AGPL-3.0-only
//! The labels of an address outside of flows: for `rfm lookup`, and for the conversations of the history.

use std::net::IpAddr;
use std::sync::Arc;

use super::Running;
use crate::config::current::CurrentConfig;
use crate::control::{Lookup, api, lookup};
use crate::enrich::mmdb::Databases;
use crate::enrich::rib::{SharedRib, TableId};
use crate::enrich::rpki::SharedVrps;
use crate::enrich::{Enricher, VrfRib};
use crate::interfaces::InterfaceRegistry;
use crate::page::stored::{AddressLookup, StoredNames};
use crate::sys::error_counters::ErrorCounters;
use crate::types::address_detail::AddressDetail;
use crate::types::conversation_detail::ConversationDetail;
use crate::types::database::DatabaseKind;

/// All sources of the labels of an address.
pub(super) struct Labels {
    rib: SharedRib,
    interfaces: Arc<InterfaceRegistry>,
    databases: Arc<Databases>,
    vrps: Arc<SharedVrps>,
    live: Arc<CurrentConfig>,
    errors: Arc<ErrorCounters>,
}

impl Labels {
    pub fn new(running: &Running, rib: SharedRib) -> Self {
        Self {
            rib,
            interfaces: running.interfaces.clone(),
            databases: running.databases.clone(),
            vrps: running.vrps.clone(),
            live: running.live.clone(),
            errors: running.errors.clone(),
        }
    }

    /// Returns an enricher with the sources of this moment.
    fn enricher(&self) -> Enricher {
        let config = self.live.config();
        let enrich = &config.agent.enrich;
        let (rib, interfaces) = (self.rib.clone(), self.interfaces.clone());
        let routes = VrfRib::new(rib, interfaces, &enrich.rib.vrf);
        let (databases, errors) = (self.databases.clone(), self.errors.clone());
        Enricher::new(Some(Box::new(routes)), &enrich.prefix, databases, errors)
            .with_vrps(self.vrps.clone())
    }

    /// Returns the names for the history on disk. Its conversations have no VRF: they are looked up in the global table.
    pub fn for_history(self, stored: ConversationDetail) -> StoredNames {
        let databases = self.databases.clone();
        StoredNames {
            lookup: Box::new(move || -> AddressLookup {
                let enricher = self.enricher();
                Box::new(move |address| enricher.trace(address, TableId::GLOBAL).known)
            }),
            asn_name: Box::new(move |asn| {
                let database = databases.get(DatabaseKind::Asn)?;
                database.asn_name(asn).map(str::to_owned)
            }),
            addresses: match stored {
                ConversationDetail::Hosts => AddressDetail::Full,
                ConversationDetail::Prefixes => AddressDetail::Prefix,
                ConversationDetail::Off => AddressDetail::Absent,
            },
        }
    }
}

impl Lookup for Labels {
    fn lookup(&self, address: IpAddr, vrf: Option<&str>) -> Option<api::LookupReply> {
        let table = self.rib.table(vrf)?;
        let enricher = self.enricher();
        let table = (table, vrf.unwrap_or("global"));
        Some(lookup::lookup(
            &enricher,
            &self.rib,
            (&self.databases, &self.vrps),
            address,
            table,
        ))
    }
}
