// SPDX-License-Identifier: AGPL-3.0-only
//! The labels of one address with their sources, for an operator. The labels are those that a flow gets.

use std::net::IpAddr;

use super::Enricher;
use super::rib::{Route, TableId, is_unlabelled};
use crate::types::label::Endpoint;
use crate::types::prefix::Prefix;

/// The source of the ASN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AsnSource {
    StaticPrefix,
    Route,
    Database,
    None,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trace {
    pub known: Endpoint,
    pub asn: AsnSource,
    /// The longest static prefix that contains the address, if no route is longer.
    pub network: Option<Prefix>,
    /// The route, also if a static prefix replaces its ASNs.
    pub route: Option<Route>,
    /// Such an address belongs to no network and has no labels.
    pub unlabelled: bool,
}

impl Enricher {
    pub fn trace(&self, address: IpAddr, table: TableId) -> Trace {
        let address = address.to_canonical();
        let table = Some(table);
        let [route, _] = self.routes_to([address; 2], table);
        let (info, network) = self.bgp_info(address, route, table);
        let names_asn = network.is_some_and(|network| network.asn > 0);
        let known = self.endpoint(address, route, table);
        let unlabelled = is_unlabelled(address);
        Trace {
            asn: match (known.asn, info.asn) {
                (0, _) => AsnSource::None,
                (_, 0) => AsnSource::Database,
                _ if names_asn => AsnSource::StaticPrefix,
                _ => AsnSource::Route,
            },
            network: network.map(|network| Prefix::new(address, network.length)),
            known,
            route,
            unlabelled,
        }
    }
}
