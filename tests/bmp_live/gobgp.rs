// SPDX-License-Identifier: AGPL-3.0-only
//! GoBGP.

use crate::common::lab::{Lab, can_run};
use crate::daemon::{Daemon, HOME, Rejoins};
use crate::readme::stanza;
use crate::topology::{EAST, HERE, WEST};
use crate::{blackhole, failover, origins, paths};

pub struct Gobgp;

impl Daemon for Gobgp {
    fn configure(&self, lab: &Lab) {
        let mut text = format!("[global.config]\nas = {HOME}\nrouter-id = \"{HERE}\"\n");
        for neighbour in [WEST, EAST] {
            let (address, asn) = (neighbour.local, neighbour.asn);
            text += &format!(
                "[[neighbors]]\n[neighbors.config]\nneighbor-address = \"{address}\"\n\
                 peer-as = {asn}\n[neighbors.transport.config]\npassive-mode = true\n\
                 [neighbors.timers.config]\nidle-hold-time-after-reset = 1\n"
            );
            for family in ["ipv4", "ipv6"] {
                text += &format!(
                    "[[neighbors.afi-safis]]\n[neighbors.afi-safis.config]\n\
                     afi-safi-name = \"{family}-unicast\"\n"
                );
            }
        }
        lab.file("gobgpd.toml", &(text + &stanza("`gobgpd.toml`")));
    }

    fn command(&self, lab: &Lab) -> (String, Vec<String>) {
        let config = lab.path("gobgpd.toml").display().to_string();
        let arguments = ["-f", &config, "--api-hosts", "127.0.0.1:50051"];
        ("gobgpd".to_owned(), arguments.map(str::to_owned).into())
    }

    fn rejoins(&self) -> Rejoins {
        Rejoins::OnUpdates
    }
}

pub fn there() -> bool {
    can_run(&["ip", "sysctl", "ss", "gobgp", "gobgpd"])
}

#[test]
fn gobgp_labels_follow_its_routes() {
    if there() {
        failover::run(&Gobgp);
    }
}

#[test]
fn gobgp_labels_are_exact() {
    if there() {
        origins::run(&Gobgp);
    }
}

#[test]
fn gobgp_bytes_by_as_path_are_exact() {
    if there() {
        paths::run(&Gobgp);
    }
}

#[test]
fn gobgp_blackholes_follow_its_routes() {
    if there() {
        // a Loc-RIB names no peer
        blackhole::run(&Gobgp, "AS64502");
    }
}
