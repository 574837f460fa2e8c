// SPDX-License-Identifier: AGPL-3.0-only
//! `[[agent.enrich.prefix]]`: networks that BGP does not tell.

use std::collections::HashMap;
use std::sync::Arc;

use crate::config::StaticPrefix;

use super::prefix::{Family, Prefix, split};
use super::{Prefixes, of_family};

#[derive(Debug, Default)]
pub(super) struct Statics {
    prefixes: Prefixes,
    networks: HashMap<(Family, u32), Network>,
}

/// What the operator says of a prefix.
#[derive(Clone, Debug)]
pub(super) struct Network {
    pub asn: u32,
    pub name: Arc<str>,
}

impl Statics {
    /// Where a prefix is given twice, the last counts.
    pub fn new(config: &[StaticPrefix]) -> Self {
        let mut statics = Self::default();
        for entry in config {
            let (family, bits) = split(entry.prefix.address());
            // an IPv4-mapped prefix keeps its own family: its length is one of IPv6
            let (family, bits) = match entry.prefix.address() {
                std::net::IpAddr::V6(a) => (Family::Ipv6, a.to_bits()),
                std::net::IpAddr::V4(_) => (family, bits),
            };
            let prefix = Prefix::new(family, bits, entry.prefix.length());
            let id = of_family!(
                statics.prefixes,
                family,
                enter(prefix.bits(), prefix.length())
            );
            let network = Network {
                asn: entry.asn,
                name: entry.name.as_str().into(),
            };
            statics.networks.insert((family, id), network);
        }
        statics
    }

    /// The longest prefix that holds the address.
    pub fn lookup(&self, family: Family, bits: u128) -> Option<(u8, &Network)> {
        let mut found = None;
        let visit = |id, length| {
            found = self.networks.get(&(family, id)).map(|n| (length, n));
            true
        };
        of_family!(self.prefixes, family, matches(bits, visit));
        found
    }
}
