// SPDX-License-Identifier: AGPL-3.0-only
//! FlowRouting of their own that senders have.

use crate::builders::*;

/// The lab with a session from a router that calls and describes itself so, and peer 1 and an internal
/// one up.
fn lab(name: &str, descr: &str) -> Lab {
    let mut lab = Lab::new();
    lab.begin("192.0.2.9", false, &initiation_of(name, descr));
    lab.send(0, &peer(1).up());
    lab.send(0, &internal().up());
    lab
}

fn internal() -> Peer {
    Peer {
        asn: HOME,
        ..peer(2)
    }
}

/// Neighbour, origin.
fn ends(lab: &Lab, address: &str) -> (u32, u32) {
    let route = lab.route(address).unwrap();
    (route.peer_asn, route.origin_asn)
}

#[test]
fn frr_writes_its_own_as_before_the_paths_of_external_peers() {
    let prefix = "198.51.100.0/24";
    for flags in [PRE, POST] {
        let (external, internal) = (peer(1).flags(flags), internal().flags(flags));
        let mut lab = lab("r1", "FRRouting 8.4.4");
        lab.send(0, &external.announce(prefix, &[HOME, 65001, 7, 1]));
        assert_eq!(ends(&lab, "198.51.100.1"), (65001, 1));
        // as long as the other in truth, and external goes before internal
        lab.send(0, &internal.announce(prefix, &[65002, 7, 2]));
        assert_eq!(ends(&lab, "198.51.100.1"), (65001, 1));
        lab.send(0, &internal.announce(prefix, &[65002, 2]));
        assert_eq!(ends(&lab, "198.51.100.1"), (65002, 2));
        // what an internal peer sends is as it was received: before import policy a loop
        lab.send(0, &internal.announce(prefix, &[HOME, 2]));
        let expected = if flags == PRE { (65001, 1) } else { (HOME, 2) };
        assert_eq!(ends(&lab, "198.51.100.1"), expected);
    }
}

/// `neighbor ... local-as`, with `no-prepend`, and with `replace-as`. Other peers show the router's own AS, or
/// no other peer is up.
#[test]
fn frr_also_prepends_the_as_that_a_neighbor_knows_it_by() {
    const LOCAL: u32 = 64999;
    let known = Peer {
        asn: 64700,
        ..peer(9)
    };
    for others in [true, false] {
        for (path, shown, neighbour) in [
            (&[LOCAL, HOME, LOCAL, 64700, 3][..], "64999 64700 3", 64700),
            (&[LOCAL, HOME, 64700, 3], "64700 3", 64700),
            (&[LOCAL, 64700, 3], "64700 3", 64700),
        ] {
            let mut lab = Lab::new();
            lab.begin("192.0.2.9", false, &initiation_of("r1", "FRRouting 10.3"));
            if others {
                lab.send(0, &peer(1).up());
                lab.send(0, &peer(2).up());
            }
            let opens = (open(LOCAL, &[]), open(64700, &[]));
            lab.send(0, &known.up_with_opens(&opens.0, &opens.1));
            lab.send(0, &known.flags(POST).announce("198.51.100.0/24", path));
            assert_eq!(ends(&lab, "198.51.100.1"), (neighbour, 3), "{path:?}");
            let route = lab.rib.routes().remove(0);
            assert_eq!(route.attributes.path.to_string(), shown);
            assert!(!route.attributes.looped);
        }
    }
}

/// External peers know a confederation by its identifier; members know the member AS.
#[test]
fn frr_prepends_the_identifier_of_its_confederation() {
    const MEMBER: u32 = 65100;
    let external = Peer {
        asn: 64700,
        ..peer(1)
    };
    let member = Peer {
        asn: 65101,
        ..peer(2)
    };
    let mut lab = Lab::new();
    lab.begin("192.0.2.9", false, &initiation_of("r1", "FRRouting 8.4.4"));
    let up = |peer: &Peer, own| peer.up_with_opens(&open(own, &[]), &open(peer.asn, &[]));
    lab.send(0, &up(&external, HOME));
    lab.send(0, &up(&member, MEMBER));
    lab.send(0, &external.announce("10.1.0.0/16", &[HOME, 64700, 3]));
    let said = Said {
        segments: vec![(3, vec![MEMBER, 65101]), (2, vec![64701, 4])],
        ..Said::default()
    };
    lab.send(0, &member.announce_with(&[(None, "10.2.0.0/16")], &said));
    assert_eq!(ends(&lab, "10.1.0.1"), (64700, 3));
    assert_eq!(ends(&lab, "10.2.0.1"), (64701, 4));
    let mut routes = lab.rib.routes();
    routes.sort_unstable_by_key(|route| route.prefix.bits());
    let held = routes.iter().map(|r| &r.attributes);
    let paths = held.map(|a| (a.path.to_string(), a.path_length, a.looped));
    let expected = [("64700 3", 2, false), ("(65101) 64701 4", 2, false)];
    let expected = expected.map(|(path, length, looped)| (path.to_owned(), length, looped));
    assert_eq!(paths.collect::<Vec<_>>(), expected);
}

#[test]
fn frr_does_so_in_its_loc_rib_too() {
    let mut lab = lab("r1", "FRRouting 10.3");
    lab.send(0, &loc_rib().up());
    for (path, ends_there) in [
        (&[HOME, 65001, 1][..], (65001, 1)),
        // of an internal peer, and of its own
        (&[65002, 2], (65002, 2)),
        (&[], (HOME, HOME)),
    ] {
        lab.send(0, &loc_rib().announce("198.51.100.0/24", path));
        assert_eq!(ends(&lab, "198.51.100.1"), ends_there);
    }
}

#[test]
fn an_end_of_rib_of_a_view_that_is_not_sent_silences_no_other() {
    let prefix = "198.51.100.0/24";
    for descr in ["FRRouting 8.4.4", "FRRouting 10.3", "BIRD 3"] {
        let views = [peer(1), peer(1).flags(POST), loc_rib()];
        for sent in views {
            let mut lab = lab("r1", descr);
            lab.send(0, &loc_rib().up());
            let marks = || views.map(|view| view.end_of_rib()).concat();
            lab.send(0, &marks());
            lab.send(0, &sent.announce(prefix, &[65001, 1]));
            lab.send(0, &marks());
            assert_eq!(lab.origin("198.51.100.1"), 1, "{descr} {:#x}", sent.flags);
            assert_eq!(lab.errors(), []);
        }
    }
    // one of another peer tells that the view is sent: then none of this one's was let in
    let mut lab = lab("r1", "FRRouting 8.4.4");
    lab.send(0, &internal().flags(POST).announce("192.0.2.0/24", &[7]));
    lab.send(0, &peer(1).announce(prefix, &[65001, 1]));
    lab.send(0, &peer(1).flags(POST).end_of_rib());
    assert_eq!(lab.origin("198.51.100.1"), 0);
}

#[test]
fn of_another_sender_the_own_as_is_part_of_the_path() {
    let mut lab = lab("FRRouting ", "BIRD 3");
    let path = [HOME, 65001, 1];
    lab.send(0, &peer(1).flags(POST).announce("198.51.100.0/24", &path));
    assert_eq!(ends(&lab, "198.51.100.1"), (HOME, 1));
}

/// What GoBGP 4.8 sends where the best path of a prefix changes to and fro.
#[test]
fn gobgp_replaces_its_best_path_by_one_of_another_identifier() {
    for prefix in ["198.51.100.0/24", "2001:db8::/32"] {
        let address = prefix.split_once('/').unwrap().0;
        for (name, afterwards) in [("GoBGP", [2, 1]), ("other", [2, 2])] {
            let mut lab = lab(name, "4.8.0");
            let best = |id, path| loc_rib().announce_with(&[(Some(id), prefix)], &Said::new(path));
            lab.send(0, &loc_rib().up());
            lab.send(0, &best(1, &[65001, 7, 1]));
            assert_eq!(lab.origin(address), 1);
            lab.send(0, &best(2, &[65002, 2]));
            assert_eq!(lab.origin(address), afterwards[0]);
            lab.send(0, &best(1, &[65001, 7, 1]));
            assert_eq!(lab.origin(address), afterwards[1], "{name}");
            lab.send(0, &loc_rib().withdraw_with(Some(1), prefix));
            let left = if name == "GoBGP" { 0 } else { 2 };
            assert_eq!(lab.origin(address), left, "{name}");
        }
    }
}

/// Where FRR fills in the neighbor that a route of its Loc-RIB is from (up to 10.0), the best path moves
/// from one neighbor to another without a withdraw.
#[test]
fn a_router_has_one_loc_rib_whatever_its_header_names() {
    let prefix = "198.51.100.0/24";
    let mut lab = lab("r1", "FRRouting 9.1");
    let from = |address: &str, asn, id| Peer {
        address: address.parse().unwrap(),
        asn,
        id,
        ..loc_rib()
    };
    let first = from("10.0.0.1", 65001, 1);
    // the flag of an IPv6 address is that of a filtered Loc-RIB
    let second = from("fe80::2", 65002, 2).flags(FILTERED);
    lab.send(0, &peer(1).announce("203.0.113.0/24", &[HOME, 65001, 9]));
    lab.send(0, &first.announce(prefix, &[HOME, 65001, 1]));
    assert_eq!(lab.origin("198.51.100.1"), 1);
    lab.send(0, &second.announce(prefix, &[HOME, 65002, 7, 7, 2]));
    assert_eq!(lab.origin("198.51.100.1"), 2);
    assert_eq!(lab.route("203.0.113.1"), None, "it is not filtered");
    assert_eq!(lab.rib.counts().routes, [2, 0]);
    lab.send(0, &from("10.0.0.3", 65003, 3).withdraw(prefix));
    assert_eq!(lab.rib.counts().routes, [1, 0]);
    assert_eq!(lab.errors(), []);
}

/// FRR 10.3 sends its `network` routes as peer type 3 with the flag of post-policy, 8.4 as a peer without
/// an address, neither with a peer-up.
#[test]
fn routes_of_the_router_itself_are_no_loc_rib() {
    let typed = loc_rib().flags(POST);
    let nameless = Peer {
        address: [0, 0, 0, 0].into(),
        asn: 0,
        id: 0,
        ..peer(0).flags(POST)
    };
    for (own, flags) in [
        (typed, PRE),
        (typed, POST),
        (nameless, PRE),
        (nameless, POST),
    ] {
        let mut lab = lab("r1", "FRRouting 10.3");
        let neighbor = peer(1).flags(flags);
        lab.send(0, &neighbor.announce("198.51.100.0/24", &[HOME, 65001, 1]));
        lab.send(0, &own.announce("203.0.113.0/24", &[]));
        lab.send(0, &peer(1).flags(POST).end_of_rib());
        assert_eq!(lab.origin("198.51.100.1"), 1, "{flags:#x}");
        assert!(lab.route("203.0.113.1").is_some());
        // a neighbor on an interface whose address is not known yet
        lab.send(0, &nameless.flags(PRE).down());
        assert!(lab.route("203.0.113.1").is_some());
        lab.send(0, &own.withdraw("203.0.113.0/24"));
        assert_eq!(lab.route("203.0.113.1"), None);
        assert_eq!(lab.errors(), []);
    }
}

#[test]
fn a_loc_rib_replaces_the_routes_of_the_router_itself() {
    let mut lab = lab("r1", "FRRouting 10.3");
    lab.send(0, &loc_rib().flags(POST).announce("203.0.113.0/24", &[]));
    lab.send(0, &loc_rib().announce("198.51.100.0/24", &[HOME, 65001, 1]));
    assert_eq!(lab.route("203.0.113.1"), None);
    assert_eq!(lab.origin("198.51.100.1"), 1);
}
