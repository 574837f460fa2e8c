// SPDX-License-Identifier: AGPL-3.0-only
//! FRR: bgpd with its module bmp.

use std::time::Duration;

use crate::common::lab::{Lab, can_run};
use crate::daemon::{Daemon, HOME, Rejoins};
use crate::readme::stanza;
use crate::site::{EAST, HERE, WEST};
use crate::{blackhole, origins, steps};

const BGPD: &str = "/usr/lib/frr/bgpd";

struct Frr {
    /// In the place of `post-policy` in the README.
    view: &'static str,
}

const AS_DOCUMENTED: Frr = Frr {
    view: "post-policy",
};

impl Daemon for Frr {
    fn configure(&self, lab: &Lab) {
        let mut text = format!(
            "router bgp {HOME}\n bgp router-id {HERE}\n no bgp ebgp-requires-policy\n \
             no bgp default ipv4-unicast\n"
        );
        for neighbour in [WEST, EAST] {
            let (address, asn) = (neighbour.local, neighbour.asn);
            text += &format!(
                " neighbor {address} remote-as {asn}\n neighbor {address} passive\n \
                 neighbor {address} timers connect 1\n"
            );
            for family in ["ipv4", "ipv6"] {
                text += &format!(
                    " address-family {family} unicast\n  neighbor {address} activate\n  \
                     neighbor {address} soft-reconfiguration inbound\n exit-address-family\n"
                );
            }
        }
        text += "exit\n";
        let stanza = stanza("`/etc/frr/frr.conf`").replace("post-policy", self.view);
        lab.file("frr.conf", &(text + &stanza));
    }

    fn command(&self, lab: &Lab) -> (String, Vec<String>) {
        // without zebra, and with nothing outside of the lab's folder
        let path = |name| lab.path(name).display().to_string();
        let (config, pid, folder) = (path("frr.conf"), path("bgpd.pid"), path(""));
        let mut arguments: Vec<String> = [
            "-f",
            &config,
            "-i",
            &pid,
            "--vty_socket",
            &folder,
            "-Z",
            "-S",
            "-P",
            "0",
            "--log",
            "stdout",
        ]
        .map(str::to_owned)
        .into();
        arguments.extend(options());
        (BGPD.to_owned(), arguments)
    }

    fn rejoins(&self) -> Rejoins {
        Rejoins::ByItself(Duration::from_secs(10))
    }
}

/// Those that the README adds in /etc/frr/daemons.
fn options() -> Vec<String> {
    let line = stanza("`/etc/frr/daemons`");
    let options = line.trim().strip_prefix("bgpd_options=\"");
    let options = options.and_then(|rest| rest.strip_suffix('"'));
    let words = options.expect("bgpd_options=\"...\"").split_whitespace();
    words.map(str::to_owned).collect()
}

fn there() -> bool {
    can_run(&["ip", "sysctl", "ss", BGPD])
}

#[test]
fn frr_labels_follow_its_routes() {
    if there() {
        steps::run(&AS_DOCUMENTED);
    }
}

#[test]
fn frr_labels_are_exact() {
    if there() {
        origins::run(&AS_DOCUMENTED);
    }
}

/// Other guides say so.
#[test]
fn frr_labels_are_exact_before_policy() {
    if there() {
        origins::run(&Frr { view: "pre-policy" });
    }
}

#[test]
fn frr_blackholes_follow_its_routes() {
    if there() {
        blackhole::run(&AS_DOCUMENTED, "10.98.0.2");
    }
}

#[test]
fn frr_asks_in_vain_before_policy() {
    if there() {
        blackhole::before_policy(&Frr { view: "pre-policy" });
    }
}
