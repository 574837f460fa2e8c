// SPDX-License-Identifier: AGPL-3.0-only
//! Ways of their own that senders have.

use rfm::enrich::bmp::Session;

use crate::craft::*;

/// The lab with a session from a router that describes itself so, and peer 1 and an internal one up.
fn lab(descr: &str) -> Lab {
    let mut lab = Lab::new();
    let address = "192.0.2.9".parse().unwrap();
    lab.sessions.push(Session::new(address, false, 0));
    let mut body = vec![0, 1, 0, descr.len() as u8];
    body.extend(descr.as_bytes());
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
        let mut lab = lab("FRRouting 8.4.4");
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
fn of_another_sender_the_own_as_is_part_of_the_path() {
    let mut lab = lab("BIRD 3");
    lab.send(0, &peer(1).announce("198.51.100.0/24", &[HOME, 65001, 1]));
    assert_eq!(ends(&lab, "198.51.100.1"), (HOME, 1));
}
