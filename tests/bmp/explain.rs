// SPDX-License-Identifier: AGPL-3.0-only
//! Every route for an address, and why one wins: the same one that a lookup finds.

use std::net::IpAddr;

use rfm::enrich::rib::{Age, DecisionStep, ExplainedRoute, RoutePrefix, TableId};

use crate::builders::*;

const ADDRESS: &str = "198.51.100.7";

fn explain(lab: &Lab, address: &str) -> Vec<ExplainedRoute> {
    let address: IpAddr = address.parse().unwrap();
    let all = lab.rib.explain(address, TableId::GLOBAL, 100);
    let best: Vec<_> = all.iter().filter(|e| e.best).collect();
    match lab.route(&address.to_string()) {
        None => assert!(best.is_empty()),
        Some(route) => {
            assert_eq!(best.len(), 1, "{all:?}");
            assert_eq!(best[0].route.prefix.length(), route.prefix_len);
            let attributes = &best[0].route.attributes;
            assert_eq!(attributes.peer_asn, route.peer_asn);
            assert_eq!(attributes.next_hop, route.next_hop);
            assert!(all[0].best, "it comes first");
        }
    }
    all
}

/// Peer and reason of each.
fn reasons(all: &[ExplainedRoute]) -> Vec<(String, String)> {
    let told = |e: &ExplainedRoute| (e.route.peer.address.to_string(), e.reason.clone());
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
        let peer = peer(n).flags(POST);
        let route = peer.announce_with(&[(None, "198.51.100.0/24")], said);
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
            said(path, |s| s.communities = vec![0xffff_0006]),
            "LLGR_STALE",
            "LLGR_STALE: the session it is from ended",
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

/// Two routes for one prefix in one view: step and unknown steps of the one that lost.
fn unknown(view: u8, second: Said) -> (Option<DecisionStep>, Vec<&'static str>) {
    let mut lab = Lab::new();
    let session = lab.connect("edge");
    for (n, said) in [(1, Said::new(&[65001, 3])), (2, second)] {
        lab.send(session, &peer(n).up());
        let sender = peer(n).flags(view);
        lab.send(
            session,
            &sender.announce_with(&[(None, "198.51.100.0/24")], &said),
        );
    }
    let all = explain(&lab, ADDRESS);
    assert_eq!(
        all[0].step, all[1].step,
        "the winner names the step of its last rival"
    );
    assert_eq!(all[0].unknown, all[1].unknown);
    (all[1].step, all[1].unknown.clone())
}

#[test]
fn steps_without_data_are_unknown_and_not_assumed() {
    const WEIGHT: &str = "weight or preference";
    const LOCAL: &str = "local preference";
    let longer = Said::new(&[65002, 2, 3]);
    assert_eq!(
        unknown(POST, longer.clone()),
        (Some(DecisionStep::PathLength), vec![WEIGHT, LOCAL])
    );
    assert_eq!(
        unknown(0, longer),
        (
            Some(DecisionStep::PathLength),
            vec!["import policy", WEIGHT]
        )
    );
    let (step, steps) = unknown(POST, Said::new(&[65002, 3]));
    assert!(step > Some(DecisionStep::External), "{step:?}");
    let later = ["cost to the next hop", "oldest external path"];
    assert_eq!(steps, [&[WEIGHT, LOCAL][..], &later].concat());

    // a Loc-RIB is the choice of the router, and needs no step
    let mut lab = Lab::new();
    let session = lab.connect("edge");
    for sender in [peer(1), loc_rib()] {
        lab.send(session, &sender.up());
        lab.send(session, &sender.announce("198.51.100.0/24", &[65001, 3]));
    }
    let all = explain(&lab, ADDRESS);
    assert!(all[0].best && all[0].step.is_none() && all[0].unknown.is_empty());
}

#[test]
fn the_reason_is_true_if_no_route_was_chosen() {
    let mut lab = Lab::new();
    let session = lab.connect("edge");
    lab.send(session, &peer(1).up());
    lab.send(session, &peer(1).announce("198.51.100.0/24", &[65001, 3]));
    let post = peer(1).flags(POST);
    lab.send(session, &post.announce("203.0.113.0/24", &[65001, 3]));
    let all = explain(&lab, ADDRESS);
    let reason =
        "the router's post-policy view answers in its place, and has no route for this address";
    assert_eq!((all.len(), &*all[0].reason), (1, reason));
    lab.send(session, &post.announce("0.0.0.0/0", &[65001]));
    let all = explain(&lab, "127.0.0.1");
    let reason = "loopback, link-local and multicast addresses belong to no network";
    assert_eq!((all[0].best, &*all[0].reason), (false, reason));
}

#[test]
fn a_prefix_is_answered_by_itself_and_by_those_that_contain_it() {
    let mut lab = Lab::new();
    let session = lab.connect("edge");
    lab.send(session, &peer(1).up());
    for prefix in [
        "0.0.0.0/0",
        "198.51.0.0/16",
        "198.51.100.0/24",
        "198.51.100.7/32",
    ] {
        lab.send(session, &peer(1).announce(prefix, &[65001, 3]));
    }
    let lengths = |length| {
        let asked = RoutePrefix::of(ADDRESS.parse().unwrap(), length);
        let all = lab.rib.explain_prefix(asked, TableId::GLOBAL, 100);
        assert!(all[0].best);
        let lengths = all.iter().map(|e| e.route.prefix.length());
        lengths.collect::<Vec<_>>()
    };
    assert_eq!(lengths(32), [32, 24, 16, 0]);
    assert_eq!(lengths(24), [24, 16, 0]);
    assert_eq!(lengths(20), [16, 0]);
    assert_eq!(lengths(0), [0]);
}

#[test]
fn the_age_is_that_of_the_last_change() {
    let mut lab = Lab::new();
    lab.now = 5000;
    let session = lab.connect("edge");
    lab.send(session, &peer(1).up());
    let announce = |lab: &mut Lab, path: &[u32]| {
        lab.send(session, &peer(1).announce("198.51.100.0/24", path));
    };
    let age = |lab: &Lab| {
        let Age { least, most } = explain(lab, ADDRESS)[0].age;
        assert_eq!(least, most);
        least
    };
    announce(&mut lab, &[65001, 3]);
    lab.pass(60_000);
    assert_eq!(age(&lab), 60_000);
    // sent again as it was
    announce(&mut lab, &[65001, 3]);
    assert_eq!(age(&lab), 60_000);
    announce(&mut lab, &[65001, 4]);
    assert_eq!(age(&lab), 0);
    lab.pass(9000);
    assert_eq!(age(&lab), 9000);
}

#[test]
fn a_route_that_the_router_does_not_use_has_that_reason() {
    let mut lab = Lab::new();
    let session = lab.connect("edge");
    for (n, path) in [(1, &[65001, HOME, 64999][..]), (2, &[65002, 1, 2, 3])] {
        lab.send(session, &peer(n).up());
        lab.send(session, &peer(n).announce("198.51.100.0/24", path));
    }
    let told = reasons(&explain(&lab, ADDRESS));
    let expected = [
        ("10.0.0.2", "longest prefix"),
        (
            "10.0.0.1",
            "the router does not use it: it finds itself in the path",
        ),
    ];
    assert_eq!(told, expected.map(|(peer, why)| (peer.into(), why.into())));
}
