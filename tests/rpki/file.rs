// SPDX-License-Identifier: AGPL-3.0-only
//! VRPs from a file that is replaced while the agent runs.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::builders::{Said, initiation, peer};
use crate::common::lab::{can_run, try_run, wait_for};
use crate::harness::Folder;
use crate::{Rpki, SETTLED, packets};

const ROUTINATOR: &str = r#"{"metadata":{"generated":1},"roas":[
    {"asn":"AS1","prefix":"203.0.113.0/24","maxLength":24,"ta":"ripe"},
    {"asn":"AS64999","prefix":"198.51.0.0/16","maxLength":24,"ta":"arin"}]}"#;
const RPKI_CLIENT: &str = r#"{"metadata":{"vrps":1},"roas":[
    {"asn":7,"prefix":"203.0.113.0/24","maxLength":24,"ta":"ripe","expires":4000000000},
    {"asn":2,"prefix":"198.51.0.0/16","maxLength":24,"ta":"arin","expires":4000000000},
    {"asn":1,"prefix":"203.0.113.0/24","maxLength":24,"ta":"ripe","expires":1000000000}]}"#;

/// Replaces the file as relying parties do.
fn replace(path: &Path, text: &str) {
    let new = path.with_extension("new");
    fs::write(&new, text).expect("a file");
    fs::rename(&new, path).expect("our own folder");
}

#[test]
fn labels_follow_the_file_and_a_broken_file_changes_nothing() {
    if !can_run(&["ip", "sysctl"]) {
        return;
    }
    let data = Folder::new();
    let path = data.0.join("json");
    let mut rpki = Rpki::start(&format!("vrps = \"{}\"", path.display()));
    let set = Said {
        segments: vec![(2, vec![65001]), (1, vec![2, 3])],
        ..Said::new(&[])
    };
    rpki.announce(&[
        initiation("near"),
        peer(1).up(),
        peer(1).announce("203.0.113.0/24", &[65001, 1]),
        peer(1).announce("198.51.100.0/24", &[65001, 2]),
        peer(1).announce("192.0.2.0/24", &[65001, 3]),
        peer(1).announce_with(&[(None, "198.51.7.0/24")], &set),
    ]);
    // the file is missing: no labels, and a problem
    let reached = wait_for(SETTLED, || {
        rpki.problems().iter().any(|text| {
            text.starts_with("rpki_failing: cannot use VRPs:") && text.contains("no such file")
        })
    });
    assert!(reached, "{:?}", rpki.problems());
    let metrics = rpki.send("203.0.113.1", "192.0.2.1", 2);
    assert_eq!(packets(&metrics, "", ""), 2);
    assert_eq!(
        metrics.get("rfm_rpki_vrps", &[("family", "ipv4")]),
        Some(0.0)
    );

    replace(&path, ROUTINATOR);
    rpki.wait_for_state("203.0.113.1", "valid");
    assert_eq!(rpki.problems(), [""; 0]);
    rpki.send("203.0.113.1", "192.0.2.1", 3);
    rpki.send("198.51.100.1", "203.0.113.1", 5);
    // AS_SET, and no route
    let metrics = rpki.send("198.51.7.1", "100.64.0.1", 7);
    for (source, destination, expected) in [
        ("valid", "not-found", 3),
        ("invalid", "valid", 5),
        ("invalid", "", 7),
    ] {
        assert_eq!(packets(&metrics, source, destination), expected, "{source}");
    }
    assert_eq!(
        metrics.get("rfm_rpki_vrps", &[("family", "ipv4")]),
        Some(2.0)
    );
    assert_eq!(
        metrics.get("rfm_rpki_vrps", &[("family", "ipv6")]),
        Some(0.0)
    );
    let written = fs::metadata(&path).unwrap().modified().unwrap();
    let written = written.duration_since(std::time::UNIX_EPOCH).unwrap();
    assert_eq!(
        metrics.get("rfm_rpki_update_timestamp_seconds", &[]),
        Some(written.as_secs() as f64)
    );
    let shown = rpki.fixture.rfm("rib 198.51.7.1");
    assert!(shown.contains("rpki         invalid"), "{shown}");
    let shown = rpki.fixture.rfm("lookup 203.0.113.1");
    let line = shown.lines().find(|line| line.starts_with("rpki"));
    assert!(line.is_some_and(|l| l.contains("valid")), "{shown}");
    let shown = rpki.fixture.rfm("status");
    assert!(shown.contains("2 VRPs for IPv4, 0 for IPv6"), "{shown}");

    // a broken file: a problem, and the previous VRPs stay
    replace(&path, &ROUTINATOR[..150]);
    let reached = wait_for(SETTLED, || !rpki.problems().is_empty());
    assert!(reached);
    assert!(
        rpki.problems()[0].contains("EOF while parsing"),
        "{:?}",
        rpki.problems()
    );
    rpki.wait_for_state("203.0.113.1", "valid");
    let metrics = rpki.send("203.0.113.1", "192.0.2.1", 1);
    assert_eq!(packets(&metrics, "valid", "not-found"), 4);

    // the next file: a flow that exists gets the new labels; an expired VRP does not count
    replace(&path, RPKI_CLIENT);
    rpki.wait_for_state("203.0.113.1", "invalid");
    assert_eq!(rpki.problems(), [""; 0]);
    let metrics = rpki.send("203.0.113.1", "192.0.2.1", 11);
    assert_eq!(packets(&metrics, "invalid", "not-found"), 11);
    let metrics = rpki.send("198.51.100.1", "203.0.113.1", 13);
    assert_eq!(packets(&metrics, "valid", "invalid"), 13);
    let by = rpki.fixture.json("top --by src_rpki,dst_rpki");
    assert!(by.to_string().contains("not-found"), "{by}");
    rpki.fixture.agent.stop();
}

#[test]
fn check_reads_the_file() {
    let folder = Folder::new();
    let path = folder.0.join("json");
    let config = folder.0.join("rfm.toml");
    let text = format!(
        "[agent]\ninterfaces = [\"lo\"]\n[agent.enrich.rpki]\nvrps = \"{}\"\n",
        path.display()
    );
    fs::write(&config, text).expect("a file");
    let check = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_rfm"));
        let output = try_run(command.arg("--check").arg("--config").arg(&config));
        (
            output.status.success(),
            String::from_utf8_lossy(&output.stderr).into_owned(),
        )
    };
    let named = format!("agent.enrich.rpki.vrps: cannot use {}: ", path.display());
    let (success, error) = check();
    assert!(!success && error.contains(&named), "{error}");
    replace(
        &path,
        r#"{"roas":[{"asn":1,"prefix":"10.0.0.0/8","maxLength":7}]}"#,
    );
    let (success, error) = check();
    let reason = "the maximum length 7 does not fit 10.0.0.0/8";
    assert!(
        !success && error.contains(&named) && error.contains(reason),
        "{error}"
    );
    replace(&path, ROUTINATOR);
    assert!(check().0);
}
