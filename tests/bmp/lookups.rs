// SPDX-License-Identifier: AGPL-3.0-only
//! What an address is said to be, sentence by sentence.

use rfm::enrich::rib::{RibConfig, TableId};

use crate::builders::*;

/// A router with these peers up.
fn lab(peers: &[Peer]) -> (Lab, usize) {
    let mut lab = Lab::new();
    let session = lab.connect("r1");
    for peer in peers {
        lab.send(session, &peer.up());
    }
    (lab, session)
}

#[test]
fn the_longest_prefix_answers() {
    let (mut lab, s) = lab(&[peer(1)]);
    lab.send(s, &peer(1).announce("198.51.0.0/16", &[65001, 1]));
    lab.send(s, &peer(1).announce("198.51.100.0/24", &[65001, 2]));
    lab.send(s, &peer(1).announce("2001:db8::/32", &[65001, 3]));
    lab.send(s, &peer(1).announce("2001:db8::1/128", &[65001, 4]));
    for (address, origin) in [
        ("198.51.100.7", 2),
        ("::ffff:198.51.100.7", 2),
        ("198.51.101.7", 1),
        ("198.52.0.1", 0),
        ("2001:db8::1", 4),
        ("2001:db8::2", 3),
    ] {
        assert_eq!(lab.origin(address), origin, "{address}");
    }
    let route = lab.route("198.51.100.7").unwrap();
    assert_eq!((route.prefix_len, route.peer_asn), (24, 65001));
    assert_eq!(route.next_hop, Some([192, 0, 2, 1].into()));
    let next_hop = lab.route("2001:db8::2").unwrap().next_hop;
    assert_eq!(next_hop, Some("2001:db8::1".parse().unwrap()));
}

#[test]
fn a_withdraw_and_a_peer_down_remove_only_that_peers_routes() {
    let (mut lab, s) = lab(&[peer(1), peer(2)]);
    lab.send(s, &peer(1).announce("198.51.100.0/24", &[65001, 1]));
    lab.send(s, &peer(2).announce("198.51.100.0/24", &[65002, 9, 2]));
    assert_eq!(lab.origin("198.51.100.1"), 1);
    lab.send(s, &peer(1).withdraw("198.51.100.0/24"));
    assert_eq!(lab.origin("198.51.100.1"), 2);
    lab.send(s, &peer(1).announce("198.51.100.0/24", &[65001, 1]));
    lab.send(s, &peer(1).down());
    assert_eq!(lab.origin("198.51.100.1"), 2);
    lab.send(s, &peer(2).down());
    assert_eq!(lab.route("198.51.100.1"), None);
}

#[test]
fn a_withdraw_without_identifier_removes_all_paths() {
    let (mut lab, s) = lab(&[peer(1)]);
    let add_path = [69, 4, 0, 1, 1, 3];
    lab.send(s, &peer(1).up_with(&add_path));
    let prefix = "198.51.100.0/24";
    for (id, origin) in [(1, 11), (2, 12), (3, 13)] {
        let said = Said::new(&[65001, origin]);
        lab.send(s, &peer(1).announce_with(&[(Some(id), prefix)], &said));
    }
    assert_eq!(lab.rib.counts().routes, [3, 0]);
    assert_eq!(lab.origin("198.51.100.1"), 11);
    lab.send(s, &peer(1).withdraw_with(Some(1), prefix));
    assert_eq!(lab.origin("198.51.100.1"), 12);
    lab.send(s, &peer(1).withdraw(prefix));
    assert_eq!(lab.rib.counts().routes, [0, 0]);
    assert_eq!(lab.rib.counts().prefixes, [0, 0]);
}

#[test]
fn a_peer_that_mixes_the_forms_leaves_no_route_behind() {
    let (mut lab, s) = lab(&[peer(1)]);
    let prefix = "198.51.100.0/24";
    let path_1 = [(Some(1), prefix)];
    lab.send(s, &peer(1).announce(prefix, &[65001, 1]));
    lab.send(s, &peer(1).announce_with(&path_1, &Said::new(&[65001, 2])));
    assert_eq!(lab.rib.counts().routes, [1, 0]);
    lab.send(s, &peer(1).announce(prefix, &[65001, 3]));
    assert_eq!(lab.rib.counts().routes, [1, 0]);
    assert_eq!(lab.origin("198.51.100.1"), 3);
    lab.send(s, &peer(1).withdraw_with(Some(1), prefix));
    assert_eq!(lab.rib.counts().routes, [0, 0]);
}

#[test]
fn only_the_loc_rib_of_a_router_answers_where_it_has_one() {
    let (mut lab, s) = lab(&[peer(1), loc_rib()]);
    lab.send(s, &peer(1).announce("198.51.100.0/24", &[65001, 1]));
    lab.send(s, &peer(1).announce("2001:db8::/32", &[65001, 1]));
    assert_eq!(lab.origin("198.51.100.1"), 1, "no route in Loc-RIB yet");
    // another router has no say in it
    let other = lab.connect("r2");
    lab.send(other, &peer(3).up());
    lab.send(other, &peer(3).announce("203.0.113.0/24", &[65003, 3]));
    lab.send(s, &loc_rib().announce("192.0.2.0/24", &[65001, 2]));
    assert_eq!(lab.route("198.51.100.1"), None);
    assert_eq!(lab.origin("192.0.2.1"), 2);
    assert_eq!(lab.origin("203.0.113.1"), 3);
    assert_eq!(lab.origin("2001:db8::1"), 1, "another family");
    lab.send(s, &loc_rib().end_of_rib_v6());
    assert_eq!(lab.origin("2001:db8::1"), 1, "it carries no route of it");
    lab.send(s, &loc_rib().withdraw("192.0.2.0/24"));
    assert_eq!(lab.origin("198.51.100.1"), 1, "it no longer carries one");
    lab.send(s, &loc_rib().announce("192.0.2.0/24", &[65001, 2]));
    assert_eq!(lab.route("198.51.100.1"), None);
    // it is forgotten with the peer
    lab.send(s, &loc_rib().down());
    assert_eq!(lab.origin("198.51.100.1"), 1);
}

#[test]
fn a_filtered_loc_rib_does_not_silence_the_other_views() {
    let (mut lab, s) = lab(&[peer(1)]);
    let filtered = loc_rib().flags(FILTERED);
    lab.send(s, &peer(1).announce("198.51.100.0/24", &[65001, 1]));
    lab.send(s, &peer(1).announce("192.0.2.0/24", &[65001, 1]));
    lab.send(s, &filtered.announce("192.0.2.0/24", &[65001, 9, 9, 2]));
    assert_eq!(lab.origin("198.51.100.1"), 1);
    assert_eq!(lab.origin("192.0.2.1"), 2, "Loc-RIB comes first");
}

#[test]
fn what_import_policy_refused_never_labels() {
    let (mut lab, s) = lab(&[peer(1), peer(2)]);
    lab.send(s, &peer(1).announce("198.51.100.0/24", &[65001, 1]));
    lab.send(s, &peer(2).announce("203.0.113.0/24", &[65002, 2]));
    assert_eq!(lab.origin("198.51.100.1"), 1, "pre-policy only");
    lab.send(
        s,
        &peer(1).flags(POST).announce("192.0.2.0/24", &[65001, 3]),
    );
    assert_eq!(lab.route("198.51.100.1"), None);
    assert_eq!(lab.origin("192.0.2.1"), 3);
    assert_eq!(lab.origin("203.0.113.1"), 2, "another peer's view");
    lab.send(s, &peer(2).flags(POST).end_of_rib());
    assert_eq!(lab.route("203.0.113.1"), None, "the router sends the view");
    lab.send(s, &peer(1).flags(POST).withdraw("192.0.2.0/24"));
    // no view after import policy carries a route: it may be one that the router does not send
    assert_eq!(lab.origin("198.51.100.1"), 1);
    assert_eq!(lab.origin("203.0.113.1"), 2);
}

#[test]
fn adj_rib_out_and_other_distinguishers_stay_out() {
    let vrf = Peer {
        kind: 1,
        distinguisher: [0, 0, 0xfd, 0xe8, 0, 0, 0, 1],
        ..peer(2)
    };
    let (mut lab, s) = lab(&[peer(1), vrf]);
    lab.send(
        s,
        &peer(1).flags(OUT).announce("198.51.100.0/24", &[65001, 1]),
    );
    lab.send(
        s,
        &peer(1)
            .flags(OUT | POST)
            .announce("198.51.100.0/24", &[65001, 1]),
    );
    lab.send(s, &vrf.announce("198.51.100.0/24", &[65002, 2]));
    // VPN-IPv4 unicast (RFC 4364): a label and a distinguisher before the prefix
    let mut reach = vec![0, 1, 128, 12];
    reach.extend([0; 8]);
    reach.extend([192, 0, 2, 1, 0, 112, 0, 0, 0x11]);
    reach.extend([0, 0, 0xfd, 0xe8, 0, 0, 0, 1, 198, 51, 100]);
    let mut attributes = Said::new(&[65001, 3]).attributes();
    attributes.extend(attribute(14, &reach));
    lab.send(s, &peer(1).update(&[], &attributes, &[]));
    assert_eq!(lab.route("198.51.100.1"), None);
    assert_eq!(lab.rib.counts().routes, [0, 0]);
    assert_eq!(lab.errors(), []);
}

#[test]
fn a_vrf_device_asks_the_table_of_its_distinguisher() {
    let mut lab = Lab::with(RibConfig {
        vrf: vec![
            ("red".into(), "65000:1".parse().unwrap()),
            ("main".into(), "0:0".parse().unwrap()),
        ],
        ..RibConfig::default()
    });
    let s = lab.connect("r1");
    let vrf = Peer {
        kind: 1,
        distinguisher: [0, 0, 0xfd, 0xe8, 0, 0, 0, 1],
        ..peer(2)
    };
    lab.send(s, &peer(1).up());
    lab.send(s, &vrf.up());
    lab.send(s, &peer(1).announce("198.51.100.0/24", &[65001, 1]));
    lab.send(s, &vrf.announce("198.51.100.0/24", &[65002, 2]));
    let origin = |device| {
        let table = lab.rib.table(device)?;
        let route = lab.rib.lookup([198, 51, 100, 1].into(), table)?;
        Some(route.origin_asn)
    };
    assert_eq!(origin(None), Some(1));
    assert_eq!(origin(Some("red")), Some(2));
    assert_eq!(origin(Some("main")), Some(1));
    assert_eq!(origin(Some("blue")), None);
    assert_eq!(lab.rib.table(Some("main")), Some(TableId::GLOBAL));
}

#[test]
fn sessions_of_the_machine_itself_answer_first() {
    let mut lab = Lab::new();
    let remote = lab.connect("far");
    let local = lab.connect_from("127.0.0.1", true, "near");
    for s in [remote, local] {
        lab.send(s, &peer(1).up());
    }
    lab.send(remote, &peer(1).announce("198.51.100.0/24", &[1]));
    lab.send(remote, &peer(1).announce("203.0.113.0/24", &[1]));
    lab.send(local, &peer(1).announce("198.51.0.0/16", &[9, 9, 9, 2]));
    assert_eq!(
        lab.origin("198.51.100.1"),
        2,
        "although less specific and longer"
    );
    assert_eq!(
        lab.origin("203.0.113.1"),
        1,
        "the local router has no route"
    );
    lab.send(local, &peer(1).announce("0.0.0.0/0", &[7]));
    assert_eq!(
        lab.origin("203.0.113.1"),
        1,
        "a default is no better than none"
    );
    lab.send(remote, &peer(1).announce("0.0.0.0/0", &[8]));
    assert_eq!(lab.route("192.0.2.1").unwrap().peer_asn, 7);
}

/// Which of two routes of the same prefix answers. Peer 1 says `a`, peer 2 `b`.
#[track_caller]
fn prefers(a: &Said, b: &Said, what: &str) {
    for swapped in [false, true] {
        let (mut lab, s) = lab(&[peer(1), peer(2)]);
        let (first, second) = if swapped { (2, 1) } else { (1, 2) };
        let prefix = [(None, "198.51.100.0/24")];
        let from = |n| peer(n).flags(POST);
        lab.send(s, &from(first).announce_with(&prefix, a));
        lab.send(s, &from(second).announce_with(&prefix, b));
        let expected = a.segments.last().unwrap().1.last().copied();
        assert_eq!(Some(lab.origin("198.51.100.1")), expected, "{what}");
    }
}

#[test]
fn the_best_path_is_chosen_step_by_step() {
    let base = Said::new(&[65001, 1]);
    let preferred = Said {
        local_pref: Some(101),
        ..Said::new(&[65001, 9, 9, 9, 2])
    };
    prefers(&preferred, &base, "local preference, 100 when absent");
    let least = Said {
        local_pref: Some(99),
        ..Said::new(&[65001, 2])
    };
    prefers(&base, &least, "local preference below 100");
    let prepended = Said {
        origin: 0,
        ..Said::new(&[65002, 65002, 2])
    };
    let incomplete = Said {
        origin: 2,
        ..base.clone()
    };
    prefers(&incomplete, &prepended, "shorter path before origin");
    let igp = Said::new(&[65002, 2]);
    prefers(&igp, &incomplete, "origin");
    // a set counts one, confederation segments none
    let set = Said {
        segments: vec![
            (3, vec![64512, 64513]),
            (2, vec![65001]),
            (1, vec![7, 8, 9]),
            (2, vec![1]),
        ],
        ..Said::default()
    };
    prefers(
        &set,
        &Said::new(&[65002, 9, 9, 2]),
        "counting of sets and confederations",
    );
    let low = Said {
        med: Some(5),
        ..Said::new(&[65001, 1])
    };
    let high = Said {
        med: Some(6),
        ..Said::new(&[65001, 2])
    };
    prefers(&low, &high, "MED of one neighbour");
    prefers(
        &Said::new(&[65001, 1]),
        &low_of(2),
        "an absent MED is the least",
    );
}

fn low_of(origin: u32) -> Said {
    Said {
        med: Some(1),
        ..Said::new(&[65001, origin])
    }
}

#[test]
fn med_of_different_neighbours_is_not_compared() {
    let (mut lab, s) = lab(&[peer(1), peer(2), peer(3)]);
    let prefix = [(None, "198.51.100.0/24")];
    let said = |neighbour, origin, med| Said {
        med: Some(med),
        ..Said::new(&[neighbour, origin])
    };
    // by identifier peer 1 would win, but peer 3 beats it by MED, and peer 2 has a lower identifier
    lab.send(s, &peer(1).announce_with(&prefix, &said(7, 1, 20)));
    lab.send(s, &peer(2).announce_with(&prefix, &said(8, 2, 90)));
    lab.send(s, &peer(3).announce_with(&prefix, &said(7, 3, 10)));
    assert_eq!(lab.origin("198.51.100.1"), 2);
}

#[test]
fn then_external_before_internal_then_identifier_then_address() {
    let internal = Peer {
        asn: HOME,
        ..peer(1)
    };
    let (mut lab, s) = lab(&[internal, peer(2), peer(3)]);
    lab.send(s, &internal.announce("198.51.100.0/24", &[7, 1]));
    lab.send(s, &peer(3).announce("198.51.100.0/24", &[8, 3]));
    assert_eq!(lab.origin("198.51.100.1"), 3, "eBGP");
    lab.send(s, &peer(2).announce("198.51.100.0/24", &[9, 2]));
    assert_eq!(lab.origin("198.51.100.1"), 2, "lower identifier");
    let twin = Peer {
        id: 2,
        address: [10, 0, 0, 1].into(),
        ..peer(2)
    };
    lab.send(s, &twin.up());
    lab.send(s, &twin.announce("198.51.100.0/24", &[9, 4]));
    assert_eq!(lab.origin("198.51.100.1"), 4, "lower address");
}

#[test]
fn the_origin_is_the_last_as_of_the_path() {
    let (mut lab, s) = lab(&[peer(1)]);
    let set = Said {
        segments: vec![(2, vec![65001, 5]), (1, vec![6, 7])],
        ..Said::default()
    };
    lab.send(
        s,
        &peer(1).announce_with(&[(None, "198.51.100.0/24")], &set),
    );
    let route = lab.route("198.51.100.1").unwrap();
    assert_eq!((route.origin_asn, route.peer_asn), (0, 65001));
    let confederation = Said {
        segments: vec![(3, vec![64512, 64513]), (2, vec![5, 6])],
        ..Said::default()
    };
    lab.send(
        s,
        &peer(1).announce_with(&[(None, "198.51.100.0/24")], &confederation),
    );
    let route = lab.route("198.51.100.1").unwrap();
    assert_eq!((route.origin_asn, route.peer_asn), (6, 5));
}

#[test]
fn an_empty_path_means_the_own_as() {
    let internal = Peer {
        asn: HOME,
        ..peer(1)
    };
    let nameless = Peer {
        asn: 0,
        ..loc_rib()
    };
    let elsewhere = Peer {
        asn: 64999,
        ..loc_rib()
    };
    let confederation = Said {
        segments: vec![(3, vec![64512])],
        ..Said::default()
    };
    for (peer, said, local_asn, own) in [
        (internal, Said::default(), 0, HOME),
        (elsewhere, Said::default(), 0, 64999),
        (nameless, Said::default(), 0, HOME),
        (internal, confederation, 0, HOME),
        (internal, Said::default(), 64000, 64000),
        (elsewhere, Said::default(), 64000, 64000),
    ] {
        let mut lab = Lab::new().local_asn(local_asn);
        let s = lab.connect("r1");
        lab.send(s, &peer.up());
        lab.send(s, &peer.announce_with(&[(None, "198.51.100.0/24")], &said));
        let route = lab.route("198.51.100.1").unwrap();
        assert_eq!((route.origin_asn, route.peer_asn), (own, own));
    }
}

#[test]
fn a_default_route_labels_no_origin() {
    let (mut lab, s) = lab(&[peer(1)]);
    for prefix in ["0.0.0.0/0", "128.0.0.0/1", "64.0.0.0/7", "10.0.0.0/8"] {
        lab.send(s, &peer(1).announce(prefix, &[65001, 5]));
    }
    for (address, origin, length) in [
        ("1.1.1.1", 0, 0),
        ("129.0.0.1", 0, 1),
        ("65.0.0.1", 0, 7),
        ("10.0.0.1", 5, 8),
    ] {
        let route = lab.route(address).unwrap();
        assert_eq!((route.origin_asn, route.prefix_len), (origin, length));
        assert_eq!(route.peer_asn, 65001);
        assert!(route.next_hop.is_some());
    }
}

#[test]
fn private_addresses_have_labels_and_special_ones_have_none() {
    let (mut lab, s) = lab(&[peer(1)]);
    for prefix in [
        "0.0.0.0/0",
        "10.0.0.0/8",
        "127.0.0.0/8",
        "169.254.0.0/16",
        "224.0.0.0/8",
    ] {
        lab.send(s, &peer(1).announce(prefix, &[65001, 5]));
    }
    for prefix in ["::/0", "fd00::/8", "fe80::/10", "ff00::/8", "::1/128"] {
        lab.send(s, &peer(1).announce(prefix, &[65001, 5]));
    }
    for address in ["10.1.2.3", "fd00::1"] {
        assert_eq!(lab.origin(address), 5, "{address}");
    }
    for address in [
        "127.0.0.1",
        "::ffff:127.0.0.1",
        "169.254.1.1",
        "224.0.0.5",
        "::1",
        "fe80::1",
        "ff02::1",
    ] {
        assert_eq!(lab.route(address), None, "{address}");
    }
}

#[test]
fn a_blackhole_is_marked() {
    let (mut lab, s) = lab(&[peer(1)]);
    let said = Said {
        communities: vec![0x0001_0002, 0xffff_029a],
        ..Said::new(&[65001])
    };
    lab.send(
        s,
        &peer(1).announce_with(&[(None, "198.51.100.1/32")], &said),
    );
    lab.send(s, &peer(1).announce("198.51.100.0/24", &[65001]));
    let route = lab.route("198.51.100.1").unwrap();
    assert!(route.blackhole);
    assert!(!lab.route("198.51.100.2").unwrap().blackhole);
}

#[test]
fn routes_of_a_peer_that_is_not_up_are_refused() {
    let (mut lab, s) = lab(&[]);
    lab.send(s, &peer(1).announce("198.51.100.0/24", &[65001]));
    lab.send(s, &peer(1).down());
    assert_eq!(lab.errors(), [("unknown_peer", 1)]);
    assert_eq!(lab.route("198.51.100.1"), None);
    // GoBGP before 4.8 has no peer-up for the Loc-RIB
    lab.send(s, &loc_rib().announce("198.51.100.0/24", &[65001]));
    assert_eq!(lab.origin("198.51.100.1"), 65001);
}

#[test]
fn a_second_peer_up_is_a_reset() {
    let (mut lab, s) = lab(&[peer(1)]);
    lab.send(s, &peer(1).announce("198.51.100.0/24", &[65001]));
    lab.send(s, &peer(1).up());
    assert_eq!(lab.route("198.51.100.1"), None);
    assert_eq!(lab.rib.counts().routes, [0, 0]);
}

#[test]
fn malformed_attributes_withdraw() {
    let (mut lab, s) = lab(&[peer(1)]);
    lab.send(s, &peer(1).announce("198.51.100.0/24", &[65001]));
    let mut attributes = attribute(1, &[0]);
    attributes.extend(attribute(2, &[2, 9, 0]));
    let bytes = peer(1).update(&[], &attributes, &nlri(None, "198.51.100.0/24"));
    lab.send(s, &bytes);
    assert_eq!(lab.route("198.51.100.1"), None);
    assert_eq!(lab.errors(), [("attributes", 1)]);
}

#[test]
fn as_paths_of_two_bytes_are_told_by_the_flag() {
    let old = peer(1).flags(0x20);
    let (mut lab, s) = lab(&[old]);
    let mut attributes = attribute(1, &[0]);
    // AS_TRANS stands for what AS4_PATH tells
    attributes.extend(attribute(2, &[2, 2, 0xfd, 0xe9, 0x5b, 0xa0]));
    attributes.extend(attribute(17, &[2, 1, 0, 3, 0x0d, 0x40]));
    let bytes = old.update(&[], &attributes, &nlri(None, "198.51.100.0/24"));
    lab.send(s, &bytes);
    let route = lab.route("198.51.100.1").unwrap();
    assert_eq!((route.origin_asn, route.peer_asn), (200_000, 65001));
}

#[test]
fn no_more_than_max_routes_are_held() {
    let mut lab = Lab::with(RibConfig {
        max_routes: 2,
        ..RibConfig::default()
    });
    let s = lab.connect("r1");
    lab.send(s, &peer(1).up());
    for prefix in ["198.51.100.0/24", "192.0.2.0/24", "203.0.113.0/24"] {
        lab.send(s, &peer(1).announce(prefix, &[65001]));
    }
    assert_eq!(lab.rib.counts().routes, [2, 0]);
    assert_eq!(lab.rib.counts().prefixes, [2, 0]);
    assert_eq!(lab.errors(), [("route_limit", 1)]);
    lab.send(s, &peer(1).announce("192.0.2.0/24", &[65001, 7]));
    assert_eq!(
        lab.origin("192.0.2.1"),
        7,
        "one may still take another's place"
    );
    lab.send(s, &peer(1).withdraw("192.0.2.0/24"));
    lab.send(s, &peer(1).announce("203.0.113.0/24", &[65001]));
    assert_eq!(lab.origin("203.0.113.1"), 65001);
}
