// SPDX-License-Identifier: AGPL-3.0-only
//! Every route for an address, and why one wins: the same one that a lookup finds.

use std::net::IpAddr;

use rfm::enrich::rib::{Explained, TableId};

use crate::craft::*;

const ADDRESS: &str = "198.51.100.7";

fn explain(lab: &Lab, address: &str) -> Vec<Explained> {
    let address: IpAddr = address.parse().unwrap();
    let all = lab.rib.explain(address, TableId::GLOBAL, 100);
    let best: Vec<_> = all.iter().filter(|e| e.best).collect();
    match lab.route(&address.to_string()) {
        None => assert!(best.is_empty()),
        Some(route) => {
            assert_eq!(best.len(), 1, "{all:?}");
            assert_eq!(best[0].route.prefix.length(), route.prefix_len);
            let attributes = &best[0].route.attributes;
            assert_eq!(attributes.neighbour_asn, route.neighbour_asn);
            assert_eq!(attributes.next_hop, route.next_hop);
            assert!(all[0].best, "it comes first");
        }
    }
    all
}

/// Peer and reason of each.
fn reasons(all: &[Explained]) -> Vec<(String, String)> {
    let told = |e: &Explained| (e.route.peer.address.to_string(), e.reason.clone());
    all.iter().map(told).collect()
}

fn said(path: &[u32], change: impl FnOnce(&mut Said)) -> Said {
    let mut said = Said::new(path);
    change(&mut said);
    said
}

fn two(first: &Said, second: &Said) -> Vec<(String, String)> {
    let mut lab = Lab::new();
    let session = lab.connect("edge");
    for (n, said) in [(1, first), (2, second)] {
        lab.send(session, &peer(n).up());
        let route = peer(n).announce_with(&[(None, "198.51.100.0/24")], said);
        lab.send(session, &route);
    }
    reasons(&explain(&lab, ADDRESS))
}

#[test]
fn each_step_of_the_decision_is_named() {
    let path = &[65001, 64999];
    let plain = || Said::new(path);
    let cases = [
        (
            said(path, |s| s.local_pref = Some(200)),
            plain(),
            "local preference",
            "local preference 100 < 200",
        ),
        (
            plain(),
            Said::new(&[65001, 65001, 64999]),
            "AS path length",
            "AS path length 3 > 2",
        ),
        (
            plain(),
            said(path, |s| s.origin = 2),
            "origin",
            "origin 2 > 0",
        ),
        (
            said(path, |s| s.med = Some(5)),
            said(path, |s| s.med = Some(9)),
            "MED",
            "MED 9 > 5 of the same neighbour",
        ),
        (
            plain(),
            plain(),
            "lowest BGP identifier",
            "BGP identifier 0.0.0.2 > 0.0.0.1",
        ),
    ];
    for (first, second, won, lost) in cases {
        let told = two(&first, &second);
        let expected = [("10.0.0.1", won), ("10.0.0.2", lost)];
        let expected = expected.map(|(peer, why)| (peer.to_owned(), why.to_owned()));
        assert_eq!(told, expected);
        // whichever comes first
        if lost.starts_with("BGP") {
            continue;
        }
        let told = two(&second, &first);
        assert_eq!(told[0].0, "10.0.0.2");
    }
}

#[test]
fn a_longer_prefix_wins_and_a_default_loses() {
    let mut lab = Lab::new();
    let session = lab.connect("edge");
    lab.send(session, &peer(1).up());
    for prefix in ["0.0.0.0/0", "198.51.0.0/16", "198.51.100.0/24"] {
        lab.send(session, &peer(1).announce(prefix, &[65001]));
    }
    let all = explain(&lab, ADDRESS);
    let lengths: Vec<_> = all.iter().map(|e| e.route.prefix.length()).collect();
    assert_eq!(lengths, [24, 16, 0]);
    let reasons: Vec<_> = all.iter().map(|e| e.reason.as_str()).collect();
    let longer = "a longer prefix matches";
    assert_eq!(reasons, ["longest prefix", longer, longer]);
    assert_eq!(
        explain(&lab, "203.0.113.1")[0].reason,
        "only a default route"
    );
    assert!(explain(&lab, "2001:db8::1").is_empty());
    // nobody's: routes are shown, none wins
    assert!(explain(&lab, "127.0.0.1").iter().all(|e| !e.best));
}

#[test]
fn the_own_machine_goes_before_others_and_a_view_before_another() {
    let mut lab = Lab::new();
    let far = lab.connect("far");
    let own = lab.connect_from("127.0.0.1", true, "own");
    for session in [far, own] {
        lab.send(session, &peer(1).up());
        lab.send(session, &peer(1).announce("198.51.100.0/24", &[65001]));
    }
    let all = explain(&lab, ADDRESS);
    assert_eq!((all[0].sys_name.as_str(), all[0].best), ("own", true));
    assert_eq!(all[1].reason, "a session on this machine answers first");

    let mut lab = Lab::new();
    let session = lab.connect("edge");
    lab.send(session, &peer(1).up());
    for sender in [peer(1), peer(1).flags(POST)] {
        lab.send(session, &sender.announce("198.51.100.0/24", &[65001]));
    }
    let all = explain(&lab, ADDRESS);
    assert_eq!(
        all[1].reason,
        "the router's post-policy view answers in its place"
    );
    lab.send(session, &loc_rib().up());
    lab.send(session, &loc_rib().announce("198.51.100.0/24", &[65001]));
    let all = explain(&lab, ADDRESS);
    assert!(all[0].route.peer.is_loc_rib() && all[0].best);
    let reason = "the router's Loc-RIB answers in its place";
    assert!(all[1..].iter().all(|e| e.reason == reason), "{all:?}");
}

#[test]
fn stale_routes_say_so_and_no_more_than_asked_for_come() {
    let mut lab = Lab::new();
    let session = lab.connect("edge");
    for n in 1..=50 {
        lab.send(session, &peer(n).up());
        lab.send(session, &peer(n).announce("198.51.100.0/24", &[65001]));
    }
    lab.disconnect(session);
    let address = ADDRESS.parse().unwrap();
    let all = lab.rib.explain(address, TableId::GLOBAL, 7);
    assert_eq!(all.len(), 7);
    assert!(all[0].best && all.iter().all(|e| e.route.stale));
}

#[test]
fn peers_are_listed_with_what_they_hold() {
    let mut lab = Lab::new();
    let session = lab.connect("edge");
    for n in [2, 1] {
        lab.send(session, &peer(n).up());
        lab.send(session, &peer(n).announce("198.51.100.0/24", &[65001]));
    }
    lab.send(session, &peer(2).announce("198.51.0.0/16", &[65001]));
    let (peers, count) = lab.rib.peers(10);
    let told: Vec<_> = peers
        .iter()
        .map(|p| (p.key.address.to_string(), p.up, p.routes))
        .collect();
    let expected = [
        ("10.0.0.1".to_owned(), true, [1, 0]),
        ("10.0.0.2".to_owned(), true, [2, 0]),
    ];
    assert_eq!((told.as_slice(), count), (&expected[..], 2));
    assert_eq!(lab.rib.peers(1).0.len(), 1);
}
