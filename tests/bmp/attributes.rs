// SPDX-License-Identifier: AGPL-3.0-only
//! A route keeps all attributes that an operator asks for.

use rfm::enrich::rib::{Attributes, RibConfig};

use crate::builders::*;

const PREFIX: &str = "198.51.100.0/24";
const ID: [u8; 4] = [10, 0, 0, 9];

/// What is held of a route with these attributes beside ORIGIN, AS_PATH and NEXT_HOP.
fn held(path: &[u32], more: &[u8]) -> Attributes {
    let mut lab = Lab::new();
    let session = lab.connect("r1");
    lab.send(session, &peer(1).up());
    let mut attributes = Said::new(path).attributes();
    attributes.extend(attribute(3, &[192, 0, 2, 1]));
    attributes.extend(more);
    let update = peer(1).update(&[], &attributes, &nlri(None, PREFIX));
    lab.send(session, &update);
    assert_eq!(lab.errors(), []);
    lab.rib.routes().remove(0).attributes
}

fn words(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_be_bytes()).collect()
}

#[test]
fn path_communities_and_reflection_are_held() {
    let more = [
        attribute(4, &words(&[30])),
        attribute(5, &words(&[200])),
        attribute(8, &words(&[0xfde9_0001, 0xffff_0006])),
        attribute(9, &[10, 0, 0, 7]),
        attribute(10, &words(&[5, 6])),
        attribute(32, &words(&[64501, 1, 2, 4_200_000_000, 3, 4])),
    ];
    let route = held(&[65001, 4_200_000_000, 3], &more.concat());
    assert_eq!(route.path.to_string(), "65001 4200000000 3");
    assert_eq!((route.med, route.local_pref), (Some(30), Some(200)));
    assert_eq!(route.communities, [0xfde9_0001, 0xffff_0006]);
    let large = [[64501, 1, 2], [4_200_000_000, 3, 4]];
    assert_eq!(route.large_communities, large);
    assert_eq!(route.originator_id, Some(u32::from_be_bytes([10, 0, 0, 7])));
    assert_eq!(route.cluster_list, [5, 6]);
    assert!(route.llgr_stale && !route.looped && !route.cut);
    assert_eq!(route.preference().cluster_list_length(), 2);
}

#[test]
fn attributes_that_are_absent_are_not_the_default() {
    let route = held(&[65001], &[]);
    assert_eq!((route.med, route.local_pref), (None, None));
    assert_eq!((route.originator_id, route.llgr_stale), (None, false));
    let preference = route.preference();
    assert_eq!((preference.med(), preference.local_pref()), (0, 100));
}

#[test]
fn a_route_that_has_been_at_the_router_is_marked() {
    for (path, more, looped) in [
        (&[65001, HOME, 3][..], Vec::new(), true),
        (&[65001, 3], attribute(9, &ID), true),
        (&[65001, 3], attribute(10, &[[1; 4], ID].concat()), true),
        (&[65001, 3], attribute(9, &[10, 0, 0, 8]), false),
    ] {
        assert_eq!(held(path, &more).looped, looped, "{path:?} {more:?}");
    }
}

#[test]
fn a_path_longer_than_is_kept_has_its_length_and_its_ends() {
    let path: Vec<u32> = (65001..65201).collect();
    let route = held(&path, &[]);
    assert!(route.cut);
    assert_eq!((route.peer_asn, route.origin_asn), (65001, 65200));
    assert_eq!((route.path_length, route.path.length()), (200, 128));
}

/// A list that does not end with a whole entry: RFC 7606 section 7.8, RFC 8092 section 5; section 7.9 and
/// 7.10 of the former for what reflectors write, which an external peer has no business to send.
#[test]
fn a_malformed_list_withdraws_the_route() {
    for (asn, code, kept) in [
        (65001, 8, false),
        (65001, 32, false),
        (65001, 9, true),
        (65001, 10, true),
        (HOME, 9, false),
        (HOME, 10, false),
    ] {
        let mut lab = Lab::new();
        let session = lab.connect("r1");
        let peer = Peer { asn, ..peer(1) };
        lab.send(session, &peer.up());
        let mut attributes = Said::new(&[65001]).attributes();
        attributes.extend(attribute(code, &[1, 2, 3, 4, 5]));
        lab.send(session, &peer.update(&[], &attributes, &nlri(None, PREFIX)));
        let routes = lab.rib.routes();
        assert_eq!(!routes.is_empty(), kept, "{asn} {code}");
        assert!(routes.iter().all(|r| r.attributes.cluster_list.is_empty()));
    }
}

#[test]
fn routes_are_held_without_their_paths_if_these_take_too_much() {
    let mut lab = Lab::with(RibConfig {
        max_routes: 20,
        ..RibConfig::default()
    });
    let session = lab.connect("r1");
    lab.send(session, &peer(1).up());
    for n in 0..20 {
        let said = Said {
            communities: (0..60).map(|c| c << 16 | n).collect(),
            ..Said::new(&[65001, 7, n + 1])
        };
        let prefix = format!("10.{n}.0.0/16");
        lab.send(session, &peer(1).announce_with(&[(None, &prefix)], &said));
    }
    let routes = lab.rib.routes();
    assert_eq!(routes.len(), 20);
    let is_whole = |r: &&rfm::enrich::rib::HeldRoute| !r.attributes.cut;
    let whole = routes.iter().filter(is_whole).count();
    // 64 bytes for each of 20 routes, and each takes 60 × 4 and some
    assert_eq!(whole, 5);
    for n in 0..20 {
        assert_eq!(lab.origin(&format!("10.{n}.0.1")), n + 1);
    }
    assert_eq!(lab.errors(), [("detail_limit", 15)]);
}
