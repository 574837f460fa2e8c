// SPDX-License-Identifier: AGPL-3.0-only
//! Which router a session is from.

use crate::builders::*;

const PREFIX: &str = "198.51.100.0/24";
const OTHER: &str = "203.0.113.0/24";
const ADDRESS: &str = "192.0.2.9";

fn origins(lab: &Lab) -> (u32, u32) {
    (lab.origin("198.51.100.1"), lab.origin("203.0.113.1"))
}

/// A session of a router with this BGP identifier, with peer 1 up.
fn start(lab: &mut Lab, address: &str, initiation: &[u8], router: u32) -> usize {
    let s = lab.begin(address, false, initiation);
    lab.send(s, &peer(1).up_of(router));
    s
}

fn announce(lab: &mut Lab, s: usize, prefix: &str, origin: u32) {
    lab.send(s, &peer(1).announce(prefix, &[65001, origin]));
}

#[test]
fn after_an_upgrade_the_end_of_rib_removes_what_is_no_longer_there() {
    let versions = ["FRRouting 8.4.4", "FRRouting 10.3", ""];
    for (before, after) in [(0, 1), (0, 2), (2, 1), (1, 1)] {
        let mut lab = Lab::new();
        let [before, after] = [before, after].map(|n| initiation_of("edge", versions[n]));
        let s = start(&mut lab, ADDRESS, &before, 1);
        announce(&mut lab, s, PREFIX, 1);
        announce(&mut lab, s, OTHER, 1);
        lab.disconnect(s);
        lab.pass(1000);
        assert_eq!(origins(&lab), (1, 1));
        let s = start(&mut lab, ADDRESS, &after, 1);
        assert_eq!(origins(&lab), (1, 1));
        announce(&mut lab, s, OTHER, 2);
        assert_eq!(origins(&lab), (1, 2));
        lab.send(s, &peer(1).end_of_rib());
        assert_eq!(origins(&lab), (0, 2));
        assert_eq!(lab.rib.counts().routes, [1, 0]);
    }
}

/// The connection was lost without a word, and the router is back before that is noticed.
#[test]
fn the_end_of_rib_also_removes_what_a_half_open_session_has() {
    for descr in ["FRRouting 8.4.4", "FRRouting 10.3"] {
        let mut lab = Lab::new();
        let before = initiation_of("edge", "FRRouting 8.4.4");
        let old = start(&mut lab, ADDRESS, &before, 1);
        announce(&mut lab, old, PREFIX, 1);
        announce(&mut lab, old, OTHER, 1);
        let new = start(&mut lab, ADDRESS, &initiation_of("edge", descr), 1);
        assert_eq!(origins(&lab), (1, 1));
        announce(&mut lab, new, OTHER, 2);
        assert_eq!(origins(&lab), (1, 2));
        lab.send(new, &peer(1).end_of_rib());
        assert_eq!(origins(&lab), (0, 2));
        // then it is noticed
        lab.disconnect(old);
        assert_eq!(origins(&lab), (0, 2));
        lab.send(new, &peer(1).withdraw(OTHER));
        assert_eq!(origins(&lab), (0, 0));
        lab.pass(STALE);
        assert_eq!(lab.rib.held(), 0);
    }
}

/// Of the views of a half-open session only that goes which the new one has sent in full.
#[test]
fn an_end_of_rib_of_a_view_that_is_not_sent_leaves_that_of_another_session() {
    let mut lab = Lab::new();
    let hello = initiation_of("edge", "FRRouting 10.3");
    let post = start(&mut lab, ADDRESS, &hello, 1);
    lab.send(
        post,
        &peer(1).flags(POST).announce(PREFIX, &[HOME, 65001, 1]),
    );
    // a second target of the same router
    let pre = start(&mut lab, ADDRESS, &hello, 1);
    announce(&mut lab, pre, OTHER, 2);
    for view in [peer(1), peer(1).flags(POST), loc_rib()] {
        lab.send(pre, &view.end_of_rib());
    }
    assert_eq!(origins(&lab), (1, 2));
}

/// They have the names of their program: "GoBGP", "Not defined".
#[test]
fn two_daemons_of_one_name_and_machine_do_not_hide_each_other() {
    // other identifiers, or one for all daemons of the machine and another AS
    for (name, other) in [("GoBGP", (2, HOME)), ("Not defined", (1, 64499))] {
        let mut lab = Lab::new();
        let hello = initiation_of(name, name);
        let start_other = |lab: &mut Lab| {
            let s = lab.begin("127.0.0.1", false, &hello);
            lab.send(s, &peer(1).up_of_speaker(other.0, other.1));
            s
        };
        let first = start(&mut lab, "127.0.0.1", &hello, 1);
        announce(&mut lab, first, PREFIX, 1);
        let second = start_other(&mut lab);
        lab.send(second, &peer(1).announce(PREFIX, &[65001, 9, 2]));
        lab.send(second, &peer(1).announce(OTHER, &[65001, 2]));
        lab.send(second, &peer(1).end_of_rib());
        assert_eq!(
            origins(&lab),
            (1, 2),
            "the shorter path, not the newer session"
        );
        // one restarts, and neither has the routes of the other
        lab.disconnect(first);
        assert_eq!(origins(&lab), (1, 2));
        lab.disconnect(second);
        let first = start(&mut lab, "127.0.0.1", &hello, 1);
        lab.send(first, &peer(1).end_of_rib());
        assert_eq!(origins(&lab), (2, 2));
        let second = start_other(&mut lab);
        lab.send(second, &peer(1).end_of_rib());
        assert_eq!(origins(&lab), (0, 0));
    }
}

#[test]
fn a_router_is_recognized_under_another_address() {
    for (name, router, taken_over) in [("edge", 1, true), ("edge", 2, false), ("core", 1, false)] {
        let mut lab = Lab::new();
        let s = start(&mut lab, ADDRESS, &initiation("edge"), 1);
        announce(&mut lab, s, PREFIX, 1);
        lab.disconnect(s);
        let s = start(&mut lab, "2001:db8::9", &initiation(name), router);
        lab.send(s, &peer(1).end_of_rib());
        let left = if taken_over { 0 } else { 1 };
        assert_eq!(origins(&lab), (left, 0), "{name} {router}");
    }
}

/// The identifier is not known before the first OPEN; without one, address and name must do.
#[test]
fn without_an_open_a_router_is_recognized_by_address_and_name() {
    let mut lab = Lab::new();
    let s = start(&mut lab, ADDRESS, &initiation("edge"), 1);
    announce(&mut lab, s, PREFIX, 1);
    lab.disconnect(s);
    let s = lab.connect("edge");
    // a bare header in the place of each OPEN, as FRR sends where it has none
    let mut bare = peer(1).up();
    bare.truncate(6 + 42 + 20);
    let header = [&[0xff; 16][..], &[0, 19, 1]].concat();
    bare.extend([&header[..], &header].concat());
    let length = bare.len() as u32;
    bare[1..5].copy_from_slice(&length.to_be_bytes());
    lab.send(s, &bare);
    lab.send(s, &peer(1).end_of_rib());
    assert_eq!(origins(&lab), (0, 0));
    assert_eq!(lab.rib.counts().peers, 1);
}

#[test]
fn an_early_peer_down_is_of_no_router_if_two_may_be_meant() {
    let mut lab = Lab::new();
    let hello = initiation("GoBGP");
    let sessions = [1, 2].map(|router| start(&mut lab, ADDRESS, &hello, router));
    announce(&mut lab, sessions[0], PREFIX, 1);
    announce(&mut lab, sessions[1], OTHER, 2);
    for s in sessions {
        lab.disconnect(s);
    }
    let s = lab.begin(ADDRESS, false, &hello);
    lab.send(s, &peer(1).down());
    assert_eq!(origins(&lab), (1, 2));
    lab.send(s, &peer(1).up_of(1));
    lab.send(s, &peer(1).end_of_rib());
    assert_eq!(origins(&lab), (0, 2));
}
