// SPDX-License-Identifier: AGPL-3.0-only
//! FRR: bgpd with its module bmp.

use std::path::PathBuf;
use std::time::Duration;

use crate::common::lab::{Lab, can_run};
use crate::daemon::{Daemon, HOME, Rejoins};
use crate::readme::stanza;
use crate::topology::{EAST, HERE, WEST};
use crate::{blackhole, failover, origins};

/// That of the machine; in Debian 12 it is 8.4.
pub const BGPD: &str = "/usr/lib/frr/bgpd";

const ZEBRA: &str = "/usr/lib/frr/zebra";

/// FRR 10 beside an older one.
pub const ASIDE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/.cache/frr10/bgpd");

pub struct Frr {
    pub bgpd: &'static str,
    /// In the place of `post-policy` in the README.
    pub view: &'static str,
    /// More lines of `router bgp`.
    pub more: &'static str,
}

pub const AS_DOCUMENTED: Frr = Frr {
    bgpd: BGPD,
    view: "post-policy",
    more: "",
};

impl Frr {
    /// The newest there is.
    pub fn newest() -> Self {
        let bgpd = match std::fs::exists(ASIDE) {
            Ok(true) => ASIDE,
            _ => BGPD,
        };
        Self {
            bgpd,
            ..AS_DOCUMENTED
        }
    }
}

impl Frr {
    /// Each version that is here.
    pub fn versions() -> Vec<Self> {
        let newest = Self::newest();
        let mut all = vec![AS_DOCUMENTED];
        if newest.bgpd != BGPD {
            all.push(newest);
        }
        all
    }
}

impl Daemon for Frr {
    fn configure(&self, lab: &Lab) {
        let mut text = format!(
            "router bgp {HOME}\n bgp router-id {HERE}\n no bgp ebgp-requires-policy\n \
             no bgp default ipv4-unicast\n no bgp network import-check\n"
        );
        // FRR resets sessions that are configured before a confederation
        let (first, rest): (Vec<_>, Vec<_>) = self
            .more
            .split_inclusive('\n')
            .partition(|line| line.starts_with(" bgp "));
        text += &first.concat();
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
        text += &rest.concat();
        text += "exit\n";
        lab.file("frr.conf", &(text + &bmp(self.view)));
    }

    fn command(&self, lab: &Lab) -> (String, Vec<String>) {
        // without zebra, which would tell FRR 10 that the machine has IPv6
        let more: &[&str] = match self.bgpd {
            ASIDE => &["-Z", "--v6-with-v4-nexthops"],
            _ => &["-Z"],
        };
        (self.bgpd.to_owned(), arguments(lab, more))
    }

    fn rejoins(&self) -> Rejoins {
        Rejoins::ByItself(Duration::from_secs(10))
    }
}

/// The machine's zebra.
pub fn zebra(lab: &Lab) -> (String, Vec<String>, PathBuf) {
    let path = |name: &str| lab.path(name).display().to_string();
    let socket = zebra_socket(lab);
    // it would become the user frr, who may not write to the lab's folder; for root it asks that he is in a group
    let group = std::fs::read_to_string("/etc/group").unwrap_or_default();
    let with_root = |line: &str| match line.starts_with("frrvty:") {
        true => format!("{line}{}root\n", if line.ends_with(':') { "" } else { "," }),
        false => format!("{line}\n"),
    };
    let group: String = group.lines().map(with_root).collect();
    let group = lab.file("group", &group).display().to_string();
    lab.file("zebra.conf", "");
    let script = format!(
        "mount --bind {group} /etc/group && exec {ZEBRA} -f {} -i {} --vty_socket {} -z {} -P 0 \
         --log stdout -u root -g root",
        path("zebra.conf"),
        path("zebra.pid"),
        path(""),
        socket.display()
    );
    ("sh".to_owned(), vec!["-c".to_owned(), script], socket)
}

pub fn zebra_socket(lab: &Lab) -> PathBuf {
    lab.path("zserv.api")
}

/// The README's stanza with another view.
pub fn bmp(view: &str) -> String {
    stanza("`/etc/frr/frr.conf`").replace("post-policy", view)
}

/// Of bgpd, with nothing outside of the lab's folder.
pub fn arguments(lab: &Lab, more: &[&str]) -> Vec<String> {
    let path = |name| lab.path(name).display().to_string();
    let (config, pid, folder) = (path("frr.conf"), path("bgpd.pid"), path(""));
    let own = [
        ["-f", &config],
        ["-i", &pid],
        ["--vty_socket", &folder],
        ["-P", "0"],
        ["--log", "stdout"],
    ];
    let own = own.iter().flatten().copied().chain(["-S"]);
    let own = own.chain(more.iter().copied()).map(str::to_owned);
    own.chain(options()).collect()
}

/// Those that the README adds in /etc/frr/daemons.
fn options() -> Vec<String> {
    let line = stanza("`/etc/frr/daemons`");
    let options = line.trim().strip_prefix("bgpd_options=\"");
    let options = options.and_then(|rest| rest.strip_suffix('"'));
    let words = options.expect("bgpd_options=\"...\"").split_whitespace();
    words.map(str::to_owned).collect()
}

pub fn there() -> bool {
    can_run(&["ip", "sysctl", "ss", BGPD]) && can_run(&[Frr::newest().bgpd])
}

#[test]
fn frr_labels_follow_its_routes() {
    if there() {
        failover::run(&AS_DOCUMENTED);
    }
}

/// The agent is restarted while BGP is up: before 10.5, FRR marks the end of views that it does not send.
#[test]
fn frr_10_labels_follow_its_routes() {
    if there() {
        failover::run(&Frr::newest());
    }
}

/// As the README says of newer versions.
#[test]
fn frr_10_labels_follow_its_loc_rib() {
    if there() && Frr::newest().bgpd == ASIDE {
        failover::run(&Frr {
            view: "loc-rib",
            ..Frr::newest()
        });
    }
}

#[test]
fn frr_10_labels_are_exact() {
    if there() {
        origins::run(&Frr::newest());
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
        origins::run(&Frr {
            view: "pre-policy",
            ..AS_DOCUMENTED
        });
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
        blackhole::before_policy(&Frr {
            view: "pre-policy",
            ..AS_DOCUMENTED
        });
    }
}
