// SPDX-License-Identifier: AGPL-3.0-only
//! The socket as a file: who is there already, and what is left behind.

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::process::Command;
use std::time::Duration;

use rustix::fs::FlockOperation;

use crate::common::agent::{Agent, refused};
use crate::common::lab::{Lab, can_run, end, try_run, wait_for};
use crate::harness::{Fixture, Folder, config, parts, rfm};

#[test]
fn the_file_has_its_permissions_and_goes_with_the_agent() {
    if !can_run(&["ip", "sysctl"]) {
        return;
    }
    let fixture = Fixture::new("mode = \"0640\"\ngroup = \"4242\"");
    let socket = fixture.socket();
    let metadata = fs::symlink_metadata(&socket).expect("the socket");
    assert!(metadata.file_type().is_socket());
    assert_eq!(metadata.permissions().mode() & 0o777, 0o640);
    assert_eq!(metadata.gid(), 4242);
    let Fixture { agent, .. } = fixture;
    agent.stop();
    assert!(!socket.exists());
}

#[test]
fn a_stale_socket_is_replaced() {
    if !can_run(&["ip", "sysctl"]) {
        return;
    }
    let lab = Lab::new();
    let namespace = lab.wire();
    let folder = Folder::new();
    let config = config(&folder, "[\"v1\"]", 1, "");
    Agent::start(&lab, &namespace, &config).kill();
    assert!(folder.socket().exists(), "killed: no time for any farewell");
    let (code, _, error) = parts(rfm(&folder.socket(), "status"));
    assert_eq!(code, 1);
    assert!(error.contains("no agent answers on"), "{error}");
    let agent = Agent::start(&lab, &namespace, &config);
    let (code, ..) = parts(rfm(&folder.socket(), "status"));
    assert_eq!(code, 0);
    agent.stop();
}

#[test]
fn a_second_agent_is_refused_and_the_first_goes_on() {
    if !can_run(&["ip", "sysctl"]) {
        return;
    }
    let fixture = Fixture::new("");
    // another port: only the socket is in the way
    let other = config(&fixture.folder, "[\"v0\"]", 1, "").replace("port = 9669", "port = 9670");
    let (code, said) = refused(&fixture.lab, &fixture.namespace, &other, &[]);
    assert_eq!(code, Some(1), "{said}");
    let expected = format!("another agent answers on {}", fixture.socket().display());
    assert!(said.contains(&expected), "{said}");
    assert_eq!(fixture.json("status")["healthy"], true);
    assert!(fixture.socket().exists());
}

/// Each user who may read the folder can hold a lock on it. The agent starts all the same.
#[test]
fn a_lock_on_the_folder_does_not_keep_the_agent_from_starting() {
    if !can_run(&["ip", "sysctl", "flock", "setpriv"]) {
        return;
    }
    let lab = Lab::new();
    let namespace = lab.wire();
    let folder = Folder::new();
    let path = folder.0.to_str().expect("a path in UTF-8");
    let mut locked = Command::new("setpriv");
    let user = ["--reuid", "65534", "--regid", "65534", "--clear-groups"];
    locked.args(user).args(["flock", path, "sleep", "60"]);
    let mut reader = locked.spawn().expect("setpriv");
    let folder_is_locked = || {
        let open = fs::File::open(&folder.0).expect("our own folder");
        rustix::fs::flock(&open, FlockOperation::NonBlockingLockShared).is_err()
    };
    let locked = wait_for(Duration::from_secs(5), folder_is_locked);
    // panics, with the log, unless it serves within 10 s
    let agent = Agent::start(&lab, &namespace, &config(&folder, "[\"v1\"]", 1, ""));
    let (code, ..) = parts(rfm(&folder.socket(), "status"));
    let still_locked = folder_is_locked();
    end(&mut reader);
    assert!(locked && still_locked);
    assert_eq!(code, 0);
    // nor can that user open what is locked instead
    let lock = folder.0.join("rfm.sock.lock");
    let metadata = fs::symlink_metadata(lock).expect("the file of the lock");
    assert_eq!(metadata.permissions().mode() & 0o777, 0o600);
    agent.stop();
}

#[test]
fn what_is_no_socket_is_left_alone() {
    if !can_run(&["ip", "sysctl"]) {
        return;
    }
    let lab = Lab::new();
    let namespace = lab.wire();
    let folder = Folder::new();
    fs::write(folder.socket(), "precious").expect("written");
    let config = config(&folder, "[\"v1\"]", 1, "");
    let (code, said) = refused(&lab, &namespace, &config, &[]);
    assert_eq!(code, Some(1), "{said}");
    assert!(
        said.contains("exists and is not a socket: remove it"),
        "{said}"
    );
    assert_eq!(fs::read_to_string(folder.socket()).unwrap(), "precious");
}

#[test]
fn a_group_that_is_not_there_is_named() {
    if !can_run(&["ip", "sysctl"]) {
        return;
    }
    let lab = Lab::new();
    let namespace = lab.wire();
    for key in ["group", "write_group"] {
        let folder = Folder::new();
        let more = format!("{key} = \"no-such\"");
        let config = config(&folder, "[\"v1\"]", 1, &more);
        let (code, said) = refused(&lab, &namespace, &config, &[]);
        assert_eq!(code, Some(1), "{said}");
        assert!(
            said.contains("/etc/group has no group \"no-such\": add it"),
            "{said}"
        );
        assert!(!folder.socket().exists());
    }
}

/// `--config` names the socket; where it cannot be read it is the usual one, and that is said.
#[test]
fn the_configuration_names_the_socket() {
    if !can_run(&["ip", "sysctl"]) {
        return;
    }
    let fixture = Fixture::new("");
    let file = fixture.lab.path("rfm.toml");
    let file = file.to_str().unwrap();
    let run = |words: &[&str]| parts(try_run(Command::new(env!("CARGO_BIN_EXE_rfm")).args(words)));
    for words in [["--config", file, "status"], ["status", "--config", file]] {
        let (code, out, _) = run(&words);
        assert_eq!(code, 0);
        assert!(out.contains("healthy"), "{out}");
    }
    let (code, _, error) = run(&["--config", "/nonexistent/rfm.toml", "status"]);
    // another agent may be running on this machine
    assert!(
        code == 0 || error.contains("/nonexistent/rfm.toml cannot be read"),
        "{error}"
    );
}
