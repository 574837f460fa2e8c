// SPDX-License-Identifier: AGPL-3.0-only
//! Which peer a message is about.

use crate::builders::*;

const PREFIX: &str = "198.51.100.0/24";
const OTHER: &str = "203.0.113.0/24";

/// Two neighbors on different interfaces, with one link-local address.
fn neighbors() -> [Peer; 2] {
    let address = "fe80::1".parse().unwrap();
    [1, 2].map(|n| Peer { address, ..peer(n) })
}

fn lab(up: &[Peer]) -> Lab {
    let mut lab = Lab::new();
    lab.connect("r1");
    up.iter().for_each(|peer| lab.send(0, &peer.up()));
    lab
}

fn origins(lab: &Lab) -> (u32, u32) {
    (lab.origin("198.51.100.1"), lab.origin("203.0.113.1"))
}

#[test]
fn two_neighbors_with_one_address_are_two_peers() {
    let same_as = Peer {
        asn: 65001,
        ..neighbors()[1]
    };
    for [a, b] in [neighbors(), [neighbors()[0], same_as]] {
        let mut lab = lab(&[a, b]);
        lab.send(0, &a.announce(PREFIX, &[65001, 1]));
        lab.send(0, &b.announce(PREFIX, &[65002, 9, 2]));
        lab.send(0, &b.announce(OTHER, &[65002, 2]));
        assert_eq!(lab.rib.counts().routes, [3, 0]);
        assert_eq!(lab.rib.counts().peers, 2);
        assert_eq!(origins(&lab), (1, 2));
        lab.send(0, &a.withdraw(PREFIX));
        assert_eq!(origins(&lab), (2, 2));
        // one goes down and up again: the other keeps its routes
        lab.send(0, &a.down());
        lab.send(0, &a.up());
        assert_eq!(origins(&lab), (2, 2));
        lab.send(0, &b.down());
        assert_eq!(origins(&lab), (0, 0));
        assert_eq!(lab.errors(), []);
    }
}

#[test]
fn the_routes_of_two_neighbors_with_one_address_outlive_a_reconnect() {
    let [a, b] = neighbors();
    let mut lab = lab(&[a, b]);
    lab.send(0, &a.announce(PREFIX, &[65001, 1]));
    lab.send(0, &b.announce(OTHER, &[65002, 2]));
    lab.disconnect(0);
    let s = lab.connect("r1");
    for neighbor in [b, a] {
        lab.send(s, &neighbor.up());
    }
    lab.send(s, &a.end_of_rib());
    assert_eq!(origins(&lab), (0, 2));
    lab.send(s, &b.end_of_rib());
    assert_eq!(origins(&lab), (0, 0));
}

/// FRR reports neighbors that are configured and not up, at the start of a session and later.
#[test]
fn a_peer_down_of_a_neighbor_that_is_not_up_removes_no_other() {
    let [up, configured] = neighbors();
    for (asn, id) in [(0, 0), (65001, 0), (65002, 0), (65002, 2), (65001, 9)] {
        let not_up = Peer {
            asn,
            id,
            ..configured
        };
        let mut lab = lab(&[up]);
        lab.send(0, &up.announce(PREFIX, &[65001, 1]));
        lab.send(0, &not_up.down());
        assert_eq!(lab.origin("198.51.100.1"), 1, "AS {asn}, identifier {id}");
        assert_eq!(lab.rib.counts().peers, 1);
        lab.send(0, &up.withdraw(PREFIX));
        assert_eq!(lab.errors(), []);
    }
}

/// Some senders leave the BGP identifier out of one message.
#[test]
fn a_header_without_as_or_identifier_is_about_the_only_peer_that_fits() {
    let anonymous = |peer: Peer| Peer { id: 0, ..peer };
    // in route monitoring
    let mut lab1 = lab(&[peer(1), peer(2)]);
    lab1.send(0, &anonymous(peer(1)).announce(PREFIX, &[65001, 1]));
    let nameless = Peer {
        asn: 0,
        ..anonymous(peer(2))
    };
    lab1.send(0, &nameless.announce(OTHER, &[65002, 2]));
    assert_eq!(origins(&lab1), (1, 2));
    assert_eq!(lab1.errors(), []);
    // in the peer-up: the others are about it, too
    let mut lab2 = lab(&[anonymous(peer(1))]);
    lab2.send(0, &peer(1).announce(PREFIX, &[65001, 1]));
    assert_eq!(lab2.origin("198.51.100.1"), 1);
    lab2.send(0, &peer(1).down());
    assert_eq!(lab2.origin("198.51.100.1"), 0);
    // with two that fit, it is not known which one sent it
    let [a, b] = neighbors();
    let mut lab3 = lab(&[a, b]);
    let unclear = Peer { asn: 0, id: 0, ..a };
    lab3.send(0, &unclear.announce(PREFIX, &[65001, 1]));
    assert_eq!(lab3.origin("198.51.100.1"), 0);
    assert_eq!(lab3.errors(), [("unknown_peer", 1)]);
    // another AS or identifier is another peer
    let mut lab4 = lab(&[a]);
    lab4.send(0, &b.announce(PREFIX, &[65001, 1]));
    assert_eq!(lab4.errors(), [("unknown_peer", 1)]);
}

#[test]
fn a_peer_with_a_new_identifier_takes_over_from_the_one_before_the_reconnect() {
    let mut lab = lab(&[peer(1)]);
    lab.send(0, &peer(1).announce(PREFIX, &[65001, 1]));
    lab.send(0, &peer(1).announce(OTHER, &[65001, 1]));
    lab.disconnect(0);
    let s = lab.connect("r1");
    let renumbered = Peer { id: 77, ..peer(1) };
    lab.send(s, &renumbered.up());
    assert_eq!(origins(&lab), (1, 1));
    lab.send(s, &renumbered.announce(PREFIX, &[65001, 2]));
    lab.send(s, &renumbered.end_of_rib());
    assert_eq!(origins(&lab), (2, 0));
    assert_eq!(lab.rib.counts().routes, [1, 0]);
}

/// To find a peer by its address alone takes no longer with thousands of them there.
#[test]
fn with_very_many_peers_at_one_address_only_whole_keys_count() {
    let at = |n: u32| Peer {
        address: "fe80::1".parse().unwrap(),
        id: n,
        ..peer(1)
    };
    let peers: Vec<_> = (1..=200).map(at).collect();
    let mut lab = lab(&peers);
    lab.send(0, &at(150).announce(PREFIX, &[65001, 1]));
    assert_eq!(lab.origin("198.51.100.1"), 1);
    lab.send(0, &at(0).down());
    lab.send(0, &at(0).announce(OTHER, &[65001, 1]));
    assert_eq!(origins(&lab), (1, 0));
    assert_eq!(lab.errors(), [("unknown_peer", 1)]);
}

/// A Peer Up of another peer at an address is not a second one of the first.
#[test]
fn the_limit_on_peers_counts_those_with_one_address() {
    let mut lab = lab(&[]);
    for n in 0..2100_u16 {
        let [high, low] = n.to_be_bytes();
        for id in 0..3 {
            let address = [10, 1, high, low].into();
            lab.send(
                0,
                &Peer {
                    address,
                    id,
                    ..peer(1)
                }
                .up(),
            );
        }
    }
    assert_eq!(lab.rib.counts().peers, 4096);
    assert_eq!(lab.errors(), [("peer_limit", 3 * 2100 - 4096)]);
}
