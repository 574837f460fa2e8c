// SPDX-License-Identifier: AGPL-3.0-only
//! Routes that the router itself originates belong to its own AS, and are no error.

use std::time::Duration;

use crate::common::agent::EXACT;
use crate::daemon::{Daemon, HOME};
use crate::frr::{self, Frr};
use crate::gobgp::{self, Gobgp};
use crate::speaker::Path;
use crate::topology::{EAST, Topology, WEST};

const OWN: [&str; 2] = ["198.18.7.0/24", "2001:db8:7::/48"];

/// `originate` has the daemon announce them, if its configuration does not.
fn run(daemon: &dyn Daemon, originate: impl FnOnce(&Topology)) {
    let topology = Topology::new(daemon);
    let agent = topology.agent(EXACT, Duration::from_secs(60));
    let _router = topology.start(daemon);
    topology.wait_for_session(&agent, Duration::from_secs(15));
    let (mut west, mut east) = (topology.speaker(WEST), topology.speaker(EAST));
    topology.change(|| {
        originate(&topology);
        west.announce("198.51.100.0/24", Path::new(&[64502, 64510], &[]));
        west.end_of_rib();
        east.end_of_rib();
    });
    let home = HOME.to_string();
    topology.expect(&agent, "198.18.7.9", [&home, &home], "an own network");
    topology.expect(&agent, "2001:db8:7::9", [&home, &home], "of IPv6");
    topology.expect(&agent, "198.51.100.9", ["64510", "64502"], "a neighbor's");
    topology.expect_no_errors(&agent);
    agent.stop();
}

#[test]
fn frr_networks_are_the_own_as() {
    if frr::there() {
        for frr in Frr::versions() {
            let more = " address-family ipv4 unicast\n  network 198.18.7.0/24\n exit-address-family\n \
                        address-family ipv6 unicast\n  network 2001:db8:7::/48\n exit-address-family\n";
            run(&Frr { more, ..frr }, |_| {});
        }
    }
}

#[test]
fn gobgp_own_routes_are_the_own_as() {
    if gobgp::there() {
        run(&Gobgp, |topology| {
            for prefix in OWN {
                let family = if prefix.contains(':') { "ipv6" } else { "ipv4" };
                let command = format!("-p 50051 global rib add {prefix} -a {family}");
                topology.router.run("gobgp", &command);
            }
        });
    }
}
