// SPDX-License-Identifier: AGPL-3.0-only
//! Who may read and who may change, as other users.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use crate::common::lab::{can_run, try_run};
use crate::harness::{Fixture, parts};

const TOOLS: [&str; 3] = ["ip", "sysctl", "setpriv"];
const READERS: &str = "4242";
const WRITERS: &str = "4243";

/// The program where everybody may run it: the folder it was built in may be for its owner alone.
fn program(fixture: &Fixture) -> String {
    let path = fixture.folder.0.join("rfm");
    if !path.exists() {
        fs::copy(env!("CARGO_BIN_EXE_rfm"), &path).expect("copied");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("ours");
    }
    path.into_os_string().into_string().expect("UTF-8")
}

/// As user `uid`, group 65534, and these groups beside.
fn run_as(fixture: &Fixture, uid: &str, groups: &str, words: &str) -> (i32, String) {
    let groups = match groups {
        "" => "--clear-groups".to_owned(),
        groups => format!("--groups={groups}"),
    };
    let socket = fixture.socket();
    let mut command = Command::new("setpriv");
    command
        .args([&format!("--reuid={uid}"), "--regid=65534", &groups])
        .arg(program(fixture))
        .args(words.split_whitespace())
        .arg("--socket")
        .arg(socket)
        .current_dir("/");
    let (code, out, error) = parts(try_run(&mut command));
    (code, out + &error)
}

#[test]
fn reading_is_for_the_group_and_changing_for_the_write_group() {
    if !can_run(&TOOLS) {
        return;
    }
    let fixture = Fixture::new(&format!(
        "mode = \"0660\"\ngroup = \"{READERS}\"\nwrite_group = \"{WRITERS}\""
    ));
    let both = format!("{READERS},{WRITERS}");
    let many: Vec<String> = (5000..5100).map(|g| g.to_string()).collect();
    let many = format!("{},{both}", many.join(","));
    let nobody = "65534";

    let (code, said) = run_as(&fixture, nobody, "", "status");
    assert_eq!(code, 1);
    let denied = ": permission denied (user 0, group 4242, mode 0660); join that group";
    assert!(said.contains(denied), "{said}");

    for words in ["status", "flows", "top --once"] {
        let (code, said) = run_as(&fixture, nobody, READERS, words);
        assert_eq!(code, 0, "{words}: {said}");
    }
    for words in ["set bpf.sample_rate 9", "set log_level debug", "reload"] {
        let (code, said) = run_as(&fixture, nobody, READERS, words);
        assert_eq!(code, 1, "{words}");
        assert!(said.contains("user 65534 may only read"), "{words}: {said}");
        assert!(
            said.contains("agent.control.write_group"),
            "{words}: {said}"
        );
    }
    assert_eq!(fixture.json("status")["sample_rate"], 1);
    assert_eq!(fixture.json("status")["log_level"], "info");

    for (n, groups) in [both, many].iter().enumerate() {
        let rate = 10 + n;
        let words = format!("set bpf.sample_rate {rate}");
        let (code, said) = run_as(&fixture, nobody, groups, &words);
        assert_eq!(code, 0, "{said}");
        assert_eq!(fixture.json("status")["sample_rate"], rate);
    }
    // root needs no group
    let (code, said) = run_as(&fixture, "0", "", "set bpf.sample_rate 3");
    assert_eq!(code, 0, "{said}");
}

#[test]
fn without_a_write_group_nobody_else_changes_anything() {
    if !can_run(&TOOLS) {
        return;
    }
    let fixture = Fixture::new("mode = \"0666\"");
    let (code, said) = run_as(&fixture, "65534", "0", "status");
    assert_eq!(code, 0, "{said}");
    // not even with root's group
    let (code, said) = run_as(&fixture, "65534", "0", "set bpf.sample_rate 9");
    assert_eq!(code, 1);
    assert!(said.contains("may only read"), "{said}");
    assert_eq!(fixture.json("status")["sample_rate"], 1);
}
