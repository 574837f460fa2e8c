// SPDX-License-Identifier: AGPL-3.0-only
//! Messages as routers really send them: bytes after an UPDATE, OPENs that cannot be read, paths of
//! speakers with ASNs of 2 bytes, families beside unicast.

use rfm::enrich::bmp::{IgnoredFamily, SessionStats};

use crate::builders::*;

const PREFIX: &str = "198.51.100.0/24";
const ADDRESS: &str = "198.51.100.1";

/// A lab with a session and peer 1, an external one.
fn lab() -> Lab {
    let mut lab = Lab::new();
    let session = lab.connect("r1");
    lab.send(session, &peer(1).up());
    lab
}

/// A message with bytes after what it has.
fn with_tail(mut message: Vec<u8>, tail: &[u8]) -> Vec<u8> {
    message.extend(tail);
    let length = message.len() as u32;
    message[1..5].copy_from_slice(&length.to_be_bytes());
    message
}

#[test]
fn bytes_after_an_update_are_ignored_and_counted_once() {
    let mut lab = lab();
    let path_marking = [0xea, 0x62, 0, 4, 0, 0, 0, 10];
    for n in 0..3 {
        let prefix = format!("10.{n}.0.0/16");
        let update = peer(1).announce(&prefix, &[65001, 7]);
        lab.stats = SessionStats::default();
        lab.send(0, &with_tail(update, &path_marking));
        assert_eq!(lab.stats.trailing, n == 0);
        assert_eq!(lab.origin(&format!("10.{n}.0.1")), 7);
    }
    lab.send(
        0,
        &with_tail(peer(1).withdraw("10.1.0.0/16"), &path_marking),
    );
    assert_eq!(lab.origin("10.1.0.1"), 0);
    // it is still an End-of-RIB
    lab.disconnect(0);
    let again = lab.connect("r1");
    lab.send(again, &peer(1).up());
    lab.send(again, &with_tail(peer(1).end_of_rib(), &path_marking));
    assert_eq!(lab.origin("10.0.0.1"), 0);
    assert_eq!(lab.errors(), []);
}

#[test]
fn an_update_longer_than_its_message_is_a_fault() {
    let mut lab = lab();
    let mut update = peer(1).announce(PREFIX, &[65001, 7]);
    // the length in the BGP header, behind those of BMP and of the peer
    update[6 + 42 + 17] += 1;
    lab.send(0, &update);
    assert_eq!(lab.errors(), [("update", 1)]);
    assert_eq!(lab.origin(ADDRESS), 0);
}

/// A BGP header and no more, as FRR has sent it in the place of an OPEN.
fn only_a_header() -> Vec<u8> {
    let mut bytes = vec![0xff; 16];
    bytes.extend([0, 19, 1]);
    bytes
}

/// IPv4 unicast with Add-Path, both ways.
const ADD_PATH: [u8; 6] = [69, 4, 0, 1, 1, 3];

#[test]
fn of_two_opens_the_readable_one_counts() {
    let internal = Peer {
        asn: HOME,
        ..peer(1)
    };
    let mut garbled = only_a_header();
    garbled[17] = 0;
    for broken in [only_a_header(), garbled, open(HOME, &[])[..35].to_vec()] {
        // the received one is missing: the own AS is known, and that the peer is internal
        let mut lab = Lab::new();
        let session = lab.connect("r1");
        lab.send(session, &internal.up_with_opens(&open(HOME, &[]), &broken));
        lab.send(session, &peer(2).up_with_opens(&open(HOME, &[]), &broken));
        lab.send(session, &internal.announce(PREFIX, &[]));
        assert_eq!(lab.origin(ADDRESS), HOME);
        lab.send(session, &internal.announce(PREFIX, &[65009, 3]));
        lab.send(session, &peer(2).announce(PREFIX, &[65002, 4]));
        assert_eq!(lab.origin(ADDRESS), 4, "external before internal");
        assert_eq!(lab.errors(), [("peer", 2)]);
        // the sent one is missing: other peers show the own AS
        let mut lab = self::lab();
        let peer = Peer {
            asn: HOME,
            ..peer(3)
        };
        lab.send(0, &peer.up_with_opens(&broken, &open(HOME, &[])));
        lab.send(0, &peer.announce(PREFIX, &[]));
        assert_eq!(lab.origin(ADDRESS), HOME);
        // no Add-Path: this is not one default route with an identifier
        let halves = [1, 0, 1, 0x80, 0];
        let attributes = Said::new(&[3]).attributes();
        lab.send(0, &peer.update(&[], &attributes, &halves));
        assert_eq!(lab.rib.counts().routes[0], 4);
    }
}

#[test]
fn both_opens_decide_on_path_identifiers() {
    // as plain prefixes two halves and a default route, else one of that with an identifier
    let halves = [1, 0, 1, 0x80, 0];
    let receives = [69, 4, 0, 1, 1, 1];
    let sends = [69, 4, 0, 1, 1, 2];
    let empty: &[u8] = &[];
    for (sent, received, routes) in [
        (empty, empty, 3),
        (&ADD_PATH, &ADD_PATH, 1),
        (&receives, &sends, 1),
        (&sends, &receives, 3),
        (&ADD_PATH, empty, 3),
        (empty, &ADD_PATH, 3),
    ] {
        let mut lab = Lab::new();
        let session = lab.connect("r1");
        let up = peer(1).up_with_opens(&open(HOME, sent), &open(65001, received));
        lab.send(session, &up);
        let attributes = Said::new(&[65001]).attributes();
        lab.send(session, &peer(1).update(&[], &attributes, &halves));
        let held = lab.rib.counts().routes[0];
        assert_eq!(held, routes, "{sent:?} {received:?}");
    }
}

#[test]
fn as4_path_counts_unless_an_old_speaker_aggregated() {
    let two = |asns: &[u16]| {
        let mut path = vec![2, asns.len() as u8];
        asns.iter().for_each(|asn| path.extend(asn.to_be_bytes()));
        attribute(2, &path)
    };
    let four = |asns: &[u32]| {
        let mut path = vec![2, asns.len() as u8];
        asns.iter().for_each(|asn| path.extend(asn.to_be_bytes()));
        attribute(17, &path)
    };
    let aggregator = |asn: u16| attribute(7, &[&asn.to_be_bytes()[..], &[10, 0, 0, 1]].concat());
    let aggregator4 = || attribute(18, &[0, 3, 13, 0x41, 10, 0, 0, 1]);
    for (more, path) in [
        (vec![], "65001 64502 200001"),
        (aggregator(64502), "65001 64502 200001"),
        (aggregator(23456), "65001 64502 200001"),
        (
            [aggregator(23456), aggregator4()].concat(),
            "65001 64502 200001",
        ),
        (aggregator4(), "65001 64502 200001"),
        (
            [aggregator(64777), aggregator4()].concat(),
            "65001 64502 23456",
        ),
    ] {
        let mut lab = lab();
        let old = peer(1).flags(0x20);
        let mut attributes = attribute(1, &[0]);
        attributes.extend(two(&[65001, 64502, 23456]));
        attributes.extend(more);
        attributes.extend(four(&[64502, 200_001]));
        lab.send(0, &old.update(&[], &attributes, &nlri(None, PREFIX)));
        let route = lab.rib.routes().remove(0);
        assert_eq!(route.attributes.path.to_string(), path);
        assert_eq!(route.attributes.path_length, 3);
    }
}

/// The own routes of a router come before its first peer is up, and their header has no AS.
#[test]
fn routes_of_the_router_itself_have_its_as_once_that_is_known() {
    let own = Peer {
        address: std::net::Ipv4Addr::UNSPECIFIED.into(),
        asn: 0,
        id: 0,
        flags: POST,
        ..peer(0)
    };
    let mut lab = Lab::new();
    let session = lab.connect("r1");
    lab.send(session, &own.announce(PREFIX, &[]));
    lab.send(session, &own.announce("2001:db8::/32", &[]));
    lab.send(session, &own.announce("10.0.0.0/8", &[64999, 3]));
    assert_eq!(lab.origin(ADDRESS), 0);
    lab.send(session, &peer(1).up());
    assert_eq!(lab.origin(ADDRESS), HOME);
    assert_eq!(lab.origin("2001:db8::1"), HOME);
    assert_eq!(lab.route("2001:db8::1").unwrap().peer_asn, HOME);
    assert_eq!(lab.origin("10.0.0.1"), 3);
    lab.send(session, &own.announce("192.0.2.0/24", &[]));
    assert_eq!(lab.origin("192.0.2.1"), HOME);
    // GoBGP writes no AS_PATH at all
    let no_path = attribute(1, &[0]);
    let prefix = nlri(None, "203.0.113.0/24");
    lab.send(session, &loc_rib().up());
    lab.send(session, &loc_rib().update(&[], &no_path, &prefix));
    assert_eq!(lab.origin("203.0.113.1"), HOME);
    assert_eq!(lab.errors(), []);
    // a neighbor's route needs one
    lab.send(session, &peer(1).update(&[], &no_path, &prefix));
    assert_eq!(lab.errors(), [("attributes", 1)]);
    assert_eq!(lab.rib.counts().routes[0], 4);
}

#[test]
fn local_asn_is_the_as_of_such_routes_from_the_start() {
    let mut lab = Lab::new().local_asn(65099);
    let session = lab.connect("r1");
    let own = Peer {
        address: std::net::Ipv4Addr::UNSPECIFIED.into(),
        asn: 0,
        ..peer(0)
    };
    lab.send(session, &own.announce(PREFIX, &[]));
    assert_eq!(lab.origin(ADDRESS), 65099);
}

/// MP_REACH_NLRI with this family, next hop and prefixes.
fn reach(family: [u8; 3], next_hop: &[u8], prefixes: &[u8]) -> Vec<u8> {
    let mut value = family.to_vec();
    value.push(next_hop.len() as u8);
    value.extend(next_hop);
    value.push(0);
    value.extend(prefixes);
    attribute(14, &value)
}

#[test]
fn an_unspecified_next_hop_stands_for_the_link_local_one() {
    let global = std::net::Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1).octets();
    let link_local = std::net::Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1).octets();
    for (hops, expected) in [
        ([[0; 16], link_local].concat(), "fe80::1"),
        ([global, link_local].concat(), "2001:db8::1"),
        (link_local.to_vec(), "fe80::1"),
    ] {
        let mut lab = lab();
        let mut attributes = Said::new(&[65001]).attributes();
        attributes.extend(reach([0, 2, 1], &hops, &nlri(None, "2001:db8::/32")));
        lab.send(0, &peer(1).update(&[], &attributes, &[]));
        let next_hop = lab.route("2001:db8::1").unwrap().next_hop.unwrap();
        assert_eq!(next_hop.to_string(), expected);
    }
}

/// A prefix behind one label, and with two.
fn labelled(prefix: &str, labels: &[u8]) -> Vec<u8> {
    let mut bytes = nlri(None, prefix);
    bytes[0] += 8 * labels.len() as u8;
    bytes.splice(1..1, labels.iter().copied());
    bytes
}

const ONE: [u8; 3] = [0, 6, 0x41];
const TWO: [u8; 6] = [0, 6, 0x40, 0, 7, 1];
const WITHDRAWN: [u8; 3] = [0x80, 0, 0];

#[test]
fn labelled_unicast_is_in_the_global_table() {
    for (family, prefix, address, next_hop) in [
        ([0, 1, 4], PREFIX, ADDRESS, vec![192, 0, 2, 1]),
        // 6PE: RFC 4798
        (
            [0, 2, 4],
            "2001:db8::/32",
            "2001:db8::1",
            std::net::Ipv4Addr::new(192, 0, 2, 1)
                .to_ipv6_mapped()
                .octets()
                .to_vec(),
        ),
    ] {
        for labels in [&ONE[..], &TWO] {
            let mut lab = lab();
            let mut attributes = Said::new(&[65001, 7]).attributes();
            attributes.extend(reach(family, &next_hop, &labelled(prefix, labels)));
            lab.send(0, &peer(1).update(&[], &attributes, &[]));
            assert_eq!(lab.origin(address), 7);
            let mut unreach = family.to_vec();
            unreach.extend(labelled(prefix, &WITHDRAWN));
            lab.send(0, &peer(1).update(&[], &attribute(15, &unreach), &[]));
            assert_eq!(lab.route(address), None);
            assert_eq!(lab.errors(), []);
        }
    }
}

/// The two families of one peer are two sets of routes: each has its own withdraw and End-of-RIB.
#[test]
fn labelled_and_unlabelled_routes_of_a_prefix_are_two() {
    let family = [0, 1, 4];
    let announce = |path: &[u32]| {
        let mut attributes = Said::new(path).attributes();
        attributes.extend(reach(family, &[192, 0, 2, 1], &labelled(PREFIX, &ONE)));
        peer(1).update(&[], &attributes, &[])
    };
    let unreach = |prefixes: &[u8]| attribute(15, &[&family[..], prefixes].concat());
    let mut lab = lab();
    lab.send(0, &announce(&[65001, 7]));
    lab.send(0, &peer(1).announce(PREFIX, &[65001, 5, 8]));
    assert_eq!(lab.rib.counts().routes[0], 2);
    assert_eq!(lab.origin(ADDRESS), 7, "the shorter path");
    let withdraw = unreach(&labelled(PREFIX, &WITHDRAWN));
    lab.send(0, &peer(1).update(&[], &withdraw, &[]));
    assert_eq!(lab.origin(ADDRESS), 8);
    lab.send(0, &announce(&[65001, 7]));
    lab.send(0, &peer(1).withdraw(PREFIX));
    assert_eq!(lab.origin(ADDRESS), 7);
    // stale routes stay until both families have ended
    lab.send(0, &peer(1).announce("10.0.0.0/8", &[65001, 9]));
    lab.disconnect(0);
    let again = lab.connect("r1");
    lab.send(again, &peer(1).up());
    lab.send(again, &peer(1).end_of_rib());
    assert_eq!(lab.origin(ADDRESS), 7, "the other family has not ended");
    lab.send(again, &peer(1).update(&[], &unreach(&[]), &[]));
    assert_eq!((lab.origin(ADDRESS), lab.origin("10.0.0.1")), (0, 0));
    assert_eq!(lab.rib.routes(), []);
}

#[test]
fn routes_of_other_families_are_counted() {
    let vpn = [&[112][..], &[0; 14], &[112], &[0; 14]].concat();
    let evpn = [
        &[2, 33][..],
        &[0; 33],
        &[3, 17],
        &[0; 17],
        &[3, 17],
        &[0; 17],
    ]
    .concat();
    let mut lab = lab();
    for (family, prefixes) in [
        ([0, 1, 128], &vpn[..]),
        ([0, 25, 70], &evpn),
        ([0, 1, 2], &nlri(None, PREFIX)),
        ([0, 9, 9], &[1, 2, 3]),
    ] {
        // VPN routes need no NEXT_HOP that is read, nor a path that is whole
        let mut attributes = Said::new(&[65001]).attributes();
        attributes.extend(reach(family, &[0; 12], prefixes));
        lab.send(0, &peer(1).update(&[], &attributes, &[]));
    }
    let counts = IgnoredFamily::ALL.into_iter().zip(lab.stats.ignored);
    let counts = counts.filter(|(_, routes)| *routes > 0);
    let counts: Vec<_> = counts.map(|(family, n)| (family.name(), n)).collect();
    let expected = [
        ("ipv4_multicast", 1),
        ("ipv4_vpn", 2),
        ("evpn", 3),
        ("other", 1),
    ];
    assert_eq!(counts, expected);
    assert_eq!((lab.errors(), lab.rib.held()), (vec![], 0));
}
