// SPDX-License-Identifier: AGPL-3.0-only
//! Names of the ASNs in replies.

use std::collections::BTreeMap;

use super::api::{PathsReply, RibReply, SourceCheckStatus, WhatIfReply};
use crate::enrich::mmdb::Databases;
use crate::types::database::DatabaseKind;

/// A reply that can contain names of its ASNs.
pub trait HasAsns {
    /// Returns the ASNs in the reply.
    fn asns(&self) -> Vec<u32>;
    fn set_names(&mut self, names: BTreeMap<u32, String>);
}

/// Adds the names that the ASN database has.
pub fn add(reply: &mut impl HasAsns, databases: &Databases) {
    let Some(database) = databases.get(DatabaseKind::Asn) else {
        return;
    };
    let asns = reply.asns().into_iter();
    let named = asns.filter_map(|asn| Some((asn, database.asn_name(asn)?.to_owned())));
    reply.set_names(named.collect());
}

impl HasAsns for RibReply {
    fn asns(&self) -> Vec<u32> {
        let of_path = self.routes.iter().flat_map(|route| in_path(&route.as_path));
        let others = self.routes.iter();
        let others = others.flat_map(|route| [route.origin_asn, route.peer_asn]);
        of_path.chain(others.flatten()).collect()
    }

    fn set_names(&mut self, names: BTreeMap<u32, String>) {
        self.asn_names = names;
    }
}

impl HasAsns for PathsReply {
    fn asns(&self) -> Vec<u32> {
        let of_path = self.paths.iter().flat_map(|entry| in_path(&entry.path));
        let origins = self.paths.iter().filter_map(|entry| entry.origin_asn);
        of_path.chain(origins).collect()
    }

    fn set_names(&mut self, names: BTreeMap<u32, String>) {
        self.asn_names = names;
    }
}

impl HasAsns for WhatIfReply {
    fn asns(&self) -> Vec<u32> {
        let neighbors = self.neighbors.iter().filter_map(|n| n.peer_asn);
        let cone = self.cone.iter().copied();
        neighbors.chain(cone).chain([self.asn]).collect()
    }

    fn set_names(&mut self, names: BTreeMap<u32, String>) {
        self.asn_names = names;
    }
}

impl HasAsns for SourceCheckStatus {
    fn asns(&self) -> Vec<u32> {
        self.without_view.clone()
    }

    fn set_names(&mut self, names: BTreeMap<u32, String>) {
        self.asn_names = names;
    }
}

/// Returns the ASNs of a path in the notation of routers, which puts sets and confederations in brackets.
fn in_path(path: &str) -> impl Iterator<Item = u32> {
    path.split(|c: char| !c.is_ascii_digit())
        .filter_map(|word| word.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn asns_of_sets_and_confederations_are_found() {
        let found: Vec<_> = in_path("(65001 65002) 64500 64501 {64502,64503}").collect();
        assert_eq!(found, [65001, 65002, 64500, 64501, 64502, 64503]);
        assert_eq!(in_path("").count(), 0);
    }
}
