// SPDX-License-Identifier: AGPL-3.0-only
//! FRR writes its own AS before the paths of external peers: it can have several.

use std::time::Duration;

use crate::common::agent::EXACT;
use crate::daemon::HOME;
use crate::frr::{Frr, there};
use crate::speaker::Path;
use crate::topology::{EAST, Topology, WEST};

/// One way in which FRR has another AS for a neighbor.
struct Case {
    /// Lines of `router bgp`.
    more: &'static str,
    /// FRR puts the AS before the paths that it receives: it counts, as `show bgp` shows.
    lengthened: bool,
    /// WEST is a member of the confederation.
    member: bool,
}

const LOCAL_AS: [Case; 3] = [
    Case {
        more: " neighbor 10.98.0.2 local-as 64999\n",
        lengthened: true,
        member: false,
    },
    Case {
        more: " neighbor 10.98.0.2 local-as 64999 no-prepend\n",
        lengthened: false,
        member: false,
    },
    Case {
        more: " neighbor 10.98.0.2 local-as 64999 no-prepend replace-as\n",
        lengthened: false,
        member: false,
    },
];

const CONFEDERATION: Case = Case {
    more: " bgp confederation identifier 64600\n bgp confederation peers 64502\n",
    lengthened: false,
    member: true,
};

fn run(frr: &Frr, case: &Case) {
    let topology = Topology::new(&Frr {
        more: case.more,
        ..*frr
    });
    let agent = topology.agent(EXACT, Duration::from_secs(60));
    let _router = topology.start(&Frr {
        more: case.more,
        ..*frr
    });
    topology.wait_for_session(&agent, Duration::from_secs(15));
    let (mut west, mut east) = (topology.speaker(WEST), topology.speaker(EAST));
    // of a member, without its own AS
    let (first, second) = match case.member {
        true => (&[64508, 64510][..], &[64508, 64509, 64510][..]),
        false => (&[64502, 64510][..], &[64502, 64509, 64510][..]),
    };
    let west_path = |asns| match case.member {
        true => Path::through(&[64502], asns),
        false => Path::new(asns, &[]),
    };
    topology.change(|| {
        west.announce("198.51.100.0/24", west_path(first));
        east.announce(
            "198.51.100.0/24",
            Path::new(&[64503, 64518, 64519, 64520], &[]),
        );
        west.announce("203.0.113.0/24", west_path(second));
        east.announce("203.0.113.0/24", Path::new(&[64503, 64519, 64520], &[]));
        west.announce("2001:db8:1::/48", west_path(first));
        west.announce("192.0.2.0/24", west_path(&[]));
        east.announce("2001:db8:2::/48", Path::new(&[64503, 64520], &[]));
        west.end_of_rib();
        east.end_of_rib();
    });
    let neighbour = &first[0].to_string();
    let home = HOME.to_string();
    topology.expect(&agent, "198.51.100.1", ["64510", neighbour], case.more);
    topology.expect(&agent, "2001:db8:1::1", ["64510", neighbour], case.more);
    topology.expect(&agent, "2001:db8:2::1", ["64520", "64503"], case.more);
    if case.lengthened {
        topology.expect(&agent, "203.0.113.1", ["64520", "64503"], case.more);
    }
    if case.member {
        topology.expect(&agent, "192.0.2.1", [&home, &home], case.more);
    }
    topology.expect_no_errors(&agent);
    agent.stop();
}

#[test]
fn frr_local_as_is_not_the_neighbour() {
    if there() {
        for frr in Frr::versions() {
            LOCAL_AS.iter().for_each(|case| run(&frr, case));
        }
    }
}

#[test]
fn frr_confederations_are_one_as() {
    if there() {
        for frr in Frr::versions() {
            run(&frr, &CONFEDERATION);
        }
    }
}
