// SPDX-License-Identifier: AGPL-3.0-only
//! Ways of their own that senders have.

use rfm::enrich::bmp::Session;

use crate::craft::*;

/// The lab with a session from a router that calls and describes itself so, and peer 1 and an internal
/// one up.
fn lab(name: &str, descr: &str) -> Lab {
    let mut lab = Lab::new();
    let address = "192.0.2.9".parse().unwrap();
    lab.sessions.push(Session::new(address, false, 0));
    let mut body = Vec::new();
    for (kind, text) in [(1, descr), (2, name)] {
        body.extend([0, kind, 0, text.len() as u8]);
        body.extend(text.as_bytes());
    }
    lab.send(0, &message(4, &body));
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
    (route.neighbour_asn, route.origin_asn)
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
        // what an internal peer sends is as it was received
        lab.send(0, &internal.announce(prefix, &[HOME, 2]));
        assert_eq!(ends(&lab, "198.51.100.1"), (HOME, 2));
    }
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
fn frr_marks_the_end_of_a_view_that_it_does_not_send() {
    let prefix = "198.51.100.0/24";
    for (descr, origin) in [("FRRouting 8.4.4", 1), ("BIRD 3", 0)] {
        let mut lab = lab("r1", descr);
        lab.send(0, &peer(1).flags(POST).end_of_rib());
        lab.send(0, &peer(1).end_of_rib());
        lab.send(0, &peer(1).announce(prefix, &[65001, 1]));
        assert_eq!(lab.origin("198.51.100.1"), origin, "{descr}");
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
    lab.send(0, &peer(1).announce("198.51.100.0/24", &[HOME, 65001, 1]));
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
