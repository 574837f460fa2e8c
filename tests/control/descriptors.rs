// SPDX-License-Identifier: AGPL-3.0-only
//! More interfaces than the limit of file descriptors is for.

use std::os::unix::net::UnixStream;
use std::time::Duration;

use serde_json::Value;

use crate::common::agent::Agent;
use crate::common::lab::{Lab, Namespace, can_run, wait_for};
use crate::harness::{Folder, config, parts, rfm};

const TOOLS: [&str; 4] = ["ip", "sysctl", "prlimit", "setpriv"];
const SOON: Duration = Duration::from_secs(10);

/// A namespace with so many veth pairs, `aN` and `bN`.
fn pairs(lab: &Lab, count: usize) -> Namespace {
    let namespace = lab.namespace("d");
    let links = (0..count).map(|n| format!("link add a{n} type veth peer name b{n}\n"));
    let batch = lab.file("links", &links.collect::<String>());
    namespace.ip(&format!("-batch {}", batch.display()));
    namespace
}

/// Without the right to raise the hard limit, which is `limit` with the soft one below it.
fn limited(limit: &str) -> [String; 4] {
    [
        "prlimit".into(),
        format!("--nofile={limit}"),
        "setpriv".into(),
        "--bounding-set=-sys_resource".into(),
    ]
}

fn start(
    lab: &Lab,
    namespace: &Namespace,
    folder: &Folder,
    limit: &str,
    interfaces: &str,
) -> Agent {
    let toml = config(folder, interfaces, 1, "");
    let words = limited(limit);
    let words = words.each_ref().map(String::as_str);
    Agent::start_under(lab, namespace, &toml, &words)
}

fn status(folder: &Folder) -> Value {
    let (code, out, err) = parts(rfm(&folder.socket(), "status --json"));
    assert_eq!((code, err.as_str()), (0, ""));
    serde_json::from_str(&out).expect("JSON")
}

#[test]
fn a_low_soft_limit_is_raised() {
    if !can_run(&TOOLS) {
        return;
    }
    let (lab, folder) = (Lab::new(), Folder::new());
    let namespace = pairs(&lab, 20);
    let agent = start(&lab, &namespace, &folder, "64:4096", r#"["[ab].*"]"#);
    assert!(agent.open_files() > 64, "{}", agent.open_files());
    assert_eq!(status(&folder)["healthy"], true);
    agent.stop();
}

#[test]
fn without_descriptors_the_control_socket_answers_and_names_the_cause() {
    const LIMIT: usize = 100;
    if !can_run(&TOOLS) {
        return;
    }
    let (lab, folder) = (Lab::new(), Folder::new());
    let namespace = pairs(&lab, 1);
    let limit = format!("{LIMIT}:{LIMIT}");
    let agent = start(&lab, &namespace, &folder, &limit, r#"["[abc].*"]"#);
    let log = agent.log();
    assert!(log.contains("raise LimitNOFILE"), "{log}");
    for n in 0..30 {
        namespace.ip(&format!("link add c{n} type veth peer name x{n}"));
    }
    let full = || agent.log().contains("too many open files");
    assert!(wait_for(SOON, full), "{}", agent.log());
    // clients that have not asked anything yet
    let connect = |_| UnixStream::connect(folder.socket()).expect("it listens");
    let silent: Vec<_> = (0..8).map(connect).collect();
    for _ in 0..5 {
        let status = status(&folder);
        let problem = status["problems"][0]["text"].as_str().unwrap_or_default();
        assert!(problem.contains("too many open files"), "{status}");
    }
    drop(silent);
    agent.stop();
}
