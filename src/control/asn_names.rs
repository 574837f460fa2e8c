// SPDX-License-Identifier: AGPL-3.0-only
//! Names of the ASNs in a reply about routes.

use std::collections::BTreeMap;

use super::api::RibReply;

/// Adds the names of the ASNs of all routes: paths, origins and peers.
pub fn add(reply: &mut RibReply, name: impl Fn(u32) -> Option<String>) {
    let of_path = reply
        .routes
        .iter()
        .flat_map(|route| in_path(&route.as_path));
    let others = reply
        .routes
        .iter()
        .flat_map(|route| [route.origin_asn, route.peer_asn]);
    let asns: Vec<u32> = of_path.chain(others.flatten()).collect();
    let named = asns.into_iter().filter_map(|asn| Some((asn, name(asn)?)));
    let names: BTreeMap<_, _> = named.collect();
    reply.asn_names = names;
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
