// SPDX-License-Identifier: AGPL-3.0-only
//! Sessions that end, and routers that come back.

use crate::builders::*;

const PREFIX: &str = "198.51.100.0/24";
const OTHER: &str = "203.0.113.0/24";

/// A router with one peer and two routes of origin 1.
fn lab() -> (Lab, usize) {
    let mut lab = Lab::new();
    let s = start(&mut lab);
    lab.send(s, &peer(1).announce(PREFIX, &[65001, 1]));
    lab.send(s, &peer(1).announce(OTHER, &[65001, 1]));
    (lab, s)
}

fn start(lab: &mut Lab) -> usize {
    let s = lab.connect("r1");
    lab.send(s, &peer(1).up());
    s
}

fn origins(lab: &Lab) -> (u32, u32) {
    (lab.origin("198.51.100.1"), lab.origin("203.0.113.1"))
}

#[test]
fn the_routes_of_a_closed_session_answer_until_their_time_is_up() {
    let (mut lab, s) = lab();
    lab.disconnect(s);
    assert_eq!(lab.rib.counts().stale_routes, [2, 0]);
    assert_eq!(lab.rib.counts().peers, 0);
    lab.pass(STALE - 1);
    assert_eq!(origins(&lab), (1, 1));
    lab.pass(1);
    assert_eq!(origins(&lab), (0, 0));
    assert_eq!(lab.rib.counts(), Default::default());
    assert_eq!((lab.rib.held(), lab.rib.attribute_sets()), (0, 0));
}

#[test]
fn after_a_reconnect_they_wait_for_the_end_of_rib() {
    let (mut lab, s) = lab();
    lab.disconnect(s);
    lab.pass(1000);
    let s = start(&mut lab);
    assert_eq!(origins(&lab), (1, 1));
    lab.send(s, &peer(1).announce(PREFIX, &[65001, 2]));
    assert_eq!(
        origins(&lab),
        (2, 1),
        "the new one takes the old one's place"
    );
    assert_eq!(lab.rib.counts().routes, [2, 0]);
    lab.send(s, &peer(1).end_of_rib());
    assert_eq!(origins(&lab), (2, 0));
    assert_eq!(lab.rib.counts().stale_routes, [0, 0]);
}

#[test]
fn without_an_end_of_rib_they_have_their_time_once_more() {
    let (mut lab, s) = lab();
    lab.disconnect(s);
    lab.pass(STALE - 1);
    start(&mut lab);
    lab.pass(STALE - 1);
    assert_eq!(origins(&lab), (1, 1));
    lab.pass(1);
    assert_eq!(origins(&lab), (0, 0));
}

#[test]
fn a_withdraw_and_a_peer_down_of_the_new_session_reach_the_old_routes() {
    let (mut lab, s) = lab();
    lab.disconnect(s);
    let s = start(&mut lab);
    lab.send(s, &peer(1).withdraw(PREFIX));
    assert_eq!(origins(&lab), (0, 1));
    lab.send(s, &peer(1).down());
    assert_eq!(origins(&lab), (0, 0));
}

#[test]
fn a_peer_that_is_down_when_the_router_comes_back_is_forgotten() {
    let (mut lab, s) = lab();
    lab.disconnect(s);
    let s = lab.connect("r1");
    assert_eq!(origins(&lab), (1, 1));
    lab.send(s, &peer(1).down());
    assert_eq!(origins(&lab), (0, 0));
}

#[test]
fn another_name_is_another_router() {
    let (mut lab, s) = lab();
    lab.disconnect(s);
    let other = lab.connect("r2");
    lab.send(other, &peer(1).up());
    lab.send(other, &peer(1).end_of_rib());
    lab.send(other, &peer(1).withdraw(PREFIX));
    assert_eq!(origins(&lab), (1, 1));
}

#[test]
fn of_two_live_sessions_of_one_router_the_newer_answers_first() {
    let (mut lab, old) = lab();
    let new = start(&mut lab);
    assert_eq!(lab.rib.counts().peers, 2);
    assert_eq!(origins(&lab), (1, 1), "it took nothing over");
    lab.send(new, &peer(1).announce("198.51.0.0/16", &[65001, 9, 9, 2]));
    assert_eq!(origins(&lab), (2, 1));
    lab.send(old, &peer(1).withdraw(OTHER));
    assert_eq!(origins(&lab), (2, 0), "the old one still counts");
    // a third takes over only from the one that ended
    lab.disconnect(old);
    let third = start(&mut lab);
    lab.send(third, &peer(1).announce(PREFIX, &[65001, 3]));
    assert_eq!(origins(&lab).0, 3);
    lab.disconnect(third);
    lab.pass(STALE);
    assert_eq!(origins(&lab).0, 2);
    assert_eq!(lab.rib.counts().routes, [1, 0]);
}

#[test]
fn what_a_router_sends_is_known_anew_after_it_came_back() {
    let mut lab = Lab::new();
    let s = lab.connect("r1");
    lab.send(s, &peer(1).up());
    lab.send(s, &peer(1).announce(PREFIX, &[65001, 1]));
    lab.send(s, &loc_rib().announce(OTHER, &[65001, 2]));
    assert_eq!(origins(&lab), (0, 2));
    lab.disconnect(s);
    assert_eq!(origins(&lab), (0, 2), "the stale Loc-RIB still silences");
    let s = start(&mut lab);
    lab.send(s, &peer(1).announce(PREFIX, &[65001, 1]));
    assert_eq!(origins(&lab), (0, 2));
    lab.pass(STALE);
    assert_eq!(origins(&lab), (1, 0), "it no longer sends a Loc-RIB");
}

#[test]
fn a_session_that_flaps_keeps_no_route_for_ever() {
    let (mut lab, mut s) = lab();
    for _ in 0..10 {
        lab.disconnect(s);
        lab.pass(STALE / 2);
        s = start(&mut lab);
        // only one of the two comes again, and never an End-of-RIB
        lab.send(s, &peer(1).announce(PREFIX, &[65001, 2]));
    }
    assert_eq!(origins(&lab), (2, 0));
    assert_eq!(lab.rib.counts().routes, [1, 0]);
}

#[test]
fn routers_under_ever_new_names_are_bounded() {
    let mut lab = Lab::new();
    for n in 0..1000 {
        let s = lab.connect(&format!("r{n}"));
        lab.send(s, &peer(1).up());
        lab.send(s, &peer(1).announce(PREFIX, &[65001, n]));
        lab.disconnect(s);
    }
    assert!(lab.rib.counts().routes[0] <= 256);
    assert_eq!(lab.origin("198.51.100.1"), 999, "the newest of equals");
    lab.pass(STALE);
    assert_eq!(lab.rib.held(), 0);
}

#[test]
fn a_router_that_comes_back_again_and_again_with_nothing_keeps_nothing() {
    let (mut lab, mut s) = lab();
    for _ in 0..10 {
        lab.disconnect(s);
        lab.pass(STALE / 2);
        s = start(&mut lab);
        lab.pass(1000);
    }
    assert_eq!(origins(&lab), (0, 0));
}
