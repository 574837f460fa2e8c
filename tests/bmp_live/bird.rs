// SPDX-License-Identifier: AGPL-3.0-only
//! BIRD, of a version that has BMP: the machine's, or the one that scripts/setup.sh put aside.

use std::process::Command;
use std::time::Duration;

use crate::common::lab::{Lab, can_run, run};
use crate::daemon::{Daemon, HOME, Rejoins};
use crate::readme::stanza;
use crate::topology::{EAST, HERE, HERE6, WEST};
use crate::{blackhole, failover, origins, paths};

/// Debian 12 has no BIRD with BMP.
const ASIDE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/.cache/bird3/bird");
const OWN: [&str; 2] = ["/usr/sbin/bird", "/usr/local/sbin/bird"];

/// BIRD waits this long before it connects again, and a moment more.
const RETRY: Duration = Duration::from_secs(13);

pub struct Bird {
    program: &'static str,
    version: Version,
}

type Version = (u32, u32);

/// Since then it tells of the sessions that are up when it connects.
const MENDED: [Version; 2] = [(2, 20), (3, 4)];

impl Bird {
    pub fn find() -> Option<Self> {
        let own = OWN
            .into_iter()
            .find(|path| version(path).is_some_and(has_bmp));
        let program = own.unwrap_or(ASIDE);
        if !can_run(&["ip", "sysctl", "ss", program]) {
            return None;
        }
        let version = version(program).expect("bird --version");
        Some(Self { program, version })
    }
}

fn version(program: &str) -> Option<Version> {
    std::fs::exists(program).ok().filter(|there| *there)?;
    let output = Command::new(program).arg("--version").output().ok()?;
    // on stdout or stderr, by version
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    let mut numbers = text.rsplit(' ').next()?.trim().split('.').map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

fn has_bmp((major, minor): Version) -> bool {
    major >= 3 || (major, minor) >= MENDED[0]
}

impl Daemon for Bird {
    fn configure(&self, lab: &Lab) {
        let mut text = format!(
            "log stderr all;\nrouter id {HERE};\nprotocol device {{}}\n\
             template bgp neighbour {{\n local {HERE} as {HOME};\n passive;\n \
             allow as sets;\n error wait time 1, 1;\n ipv4 {{ import all; export none; }};\n \
             ipv6 {{ import all; export none; next hop address {HERE6}; }};\n}}\n"
        );
        for (name, neighbour) in [("west", WEST), ("east", EAST)] {
            let (address, asn) = (neighbour.local, neighbour.asn);
            text +=
                &format!("protocol bgp {name} from neighbour {{ neighbor {address} as {asn}; }}\n");
        }
        lab.file("bird.conf", &(text + &stanza("`/etc/bird/bird.conf`")));
        let check = ["-p", "-c"].map(str::to_owned);
        run(Command::new(self.program)
            .args(check)
            .arg(lab.path("bird.conf")));
    }

    fn command(&self, lab: &Lab) -> (String, Vec<String>) {
        let path = |name| lab.path(name).display().to_string();
        let (config, control) = (path("bird.conf"), path("bird.ctl"));
        let arguments = ["-f", "-c", &config, "-s", &control];
        (self.program.to_owned(), arguments.map(str::to_owned).into())
    }

    fn rejoins(&self) -> Rejoins {
        let (major, minor) = self.version;
        let mended = MENDED.iter().any(|m| m.0 == major && minor >= m.1) || major > 3;
        match mended {
            true => Rejoins::ByItself(RETRY),
            false => Rejoins::WithNewSessionsOnly(RETRY),
        }
    }
}

#[test]
fn bird_labels_follow_its_routes() {
    if let Some(bird) = Bird::find() {
        failover::run(&bird);
    }
}

#[test]
fn bird_labels_are_exact() {
    if let Some(bird) = Bird::find() {
        origins::run(&bird);
    }
}

#[test]
fn bird_bytes_by_as_path_are_exact() {
    if let Some(bird) = Bird::find()
        && can_run(&["gobgpd", "gobgp"])
    {
        paths::run(&bird);
    }
}

#[test]
fn bird_blackholes_follow_its_routes() {
    if let Some(bird) = Bird::find() {
        blackhole::run(&bird, "10.98.0.2");
    }
}
