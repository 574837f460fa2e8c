// SPDX-License-Identifier: AGPL-3.0-only
//! VRPs from stayrtr, an RPKI cache that reads JSON, by RTR.

use std::fs;
use std::process::Child;
use std::time::Duration;

use crate::builders::{initiation, peer};
use crate::common::lab::{can_run, end, wait_for};
use crate::harness::Folder;
use crate::{Rpki, SETTLED, packets};

/// The cache reads its file every second.
fn cache(rpki: &Rpki, log: &str, json: &str, protocol: &str) -> Child {
    let mut command = rpki.fixture.namespace.command(
        "stayrtr",
        &[
            "-bind",
            "127.0.0.1:3323",
            "-metrics.addr",
            "127.0.0.1:9847",
            "-cache",
            json,
            "-checktime=false",
            "-refresh",
            "1",
            "-rtr.refresh",
            "1",
            "-protocol",
            protocol,
        ],
    );
    let output = fs::File::create(rpki.fixture.lab.path(log)).expect("a log file");
    command
        .stdout(output.try_clone().expect("a second handle"))
        .stderr(output)
        .spawn()
        .expect("stayrtr starts")
}

fn json(vrps: &[(&str, u32)]) -> String {
    let vrp = |(prefix, asn): &(&str, u32)| {
        let length = prefix.split_once('/').expect("a length").1;
        format!(
            "{{\"prefix\":\"{prefix}\",\"maxLength\":{length},\"asn\":\"AS{asn}\",\"ta\":\"x\"}}"
        )
    };
    let vrps: Vec<_> = vrps.iter().map(vrp).collect();
    format!(
        "{{\"metadata\":{{\"counts\":1}},\"roas\":[{}]}}",
        vrps.join(",")
    )
}

fn follow(protocol: &str) {
    let data = Folder::new();
    let file = data.0.join("vrps.json");
    let path = file.to_str().expect("UTF-8").to_owned();
    fs::write(&file, json(&[("203.0.113.0/24", 1), ("2001:db8::/32", 2)])).expect("a file");
    let mut rpki = Rpki::start("rtr = \"127.0.0.1:3323\"");
    rpki.announce(&[
        initiation("near"),
        peer(1).up(),
        peer(1).announce("203.0.113.0/24", &[65001, 1]),
        peer(1).announce("192.0.2.0/24", &[65001, 3]),
        peer(1).announce("2001:db8::/32", &[65001, 2]),
    ]);
    let refused = || {
        let problems = rpki.problems();
        problems.iter().any(|text| {
            text.starts_with("rpki_failing: cannot use VRPs: 127.0.0.1:3323: connection refused")
        })
    };
    assert!(wait_for(SETTLED, refused), "{:?}", rpki.problems());
    let mut server = cache(&rpki, "stayrtr-1.log", &path, protocol);
    rpki.wait_for_state("203.0.113.1", "valid");
    rpki.wait_for_state("2001:db8::1", "valid");
    assert_eq!(rpki.problems(), [""; 0]);
    let metrics = rpki.send("203.0.113.1", "192.0.2.1", 3);
    assert_eq!(packets(&metrics, "valid", "not-found"), 3);
    assert_eq!(
        metrics.get("rfm_rpki_vrps", &[("family", "ipv6")]),
        Some(1.0)
    );
    // the cache reads another file: one VRP is withdrawn, one is announced
    fs::write(&file, json(&[("203.0.113.0/24", 7), ("2001:db8::/32", 2)])).expect("a file");
    rpki.wait_for_state("203.0.113.1", "invalid");
    rpki.wait_for_state("2001:db8::1", "valid");
    let metrics = rpki.send("203.0.113.1", "192.0.2.1", 5);
    assert_eq!(packets(&metrics, "invalid", "not-found"), 5);
    // the cache ends: a problem, and the VRPs stay; another one has another session
    end(&mut server);
    assert!(wait_for(SETTLED, || !rpki.problems().is_empty()));
    rpki.wait_for_state("203.0.113.1", "invalid");
    fs::write(&file, json(&[("203.0.113.0/24", 1)])).expect("a file");
    let mut server = cache(&rpki, "stayrtr-2.log", &path, protocol);
    let back = Duration::from_secs(90);
    let shown = || rpki.fixture.json("rib 203.0.113.1")["routes"][0]["rpki"] == "valid";
    assert!(wait_for(back, shown), "{}", rpki.fixture.agent.log());
    rpki.wait_for_state("2001:db8::1", "not-found");
    assert_eq!(rpki.problems(), [""; 0]);
    end(&mut server);
    rpki.fixture.agent.stop();
}

#[test]
fn vrps_follow_the_cache_in_version_1() {
    if can_run(&["ip", "sysctl", "stayrtr"]) {
        follow("1");
    }
}

#[test]
fn vrps_follow_a_cache_with_version_0_only() {
    if can_run(&["ip", "sysctl", "stayrtr"]) {
        follow("0");
    }
}
