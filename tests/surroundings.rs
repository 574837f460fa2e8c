// SPDX-License-Identifier: AGPL-3.0-only
//! Machines that lack something: IPv6, memory, a file of the kernel.

mod common;

use std::path::PathBuf;
use std::process::Command;
use std::{fs, io};

use common::agent::{Agent, EXACT, config, refused};
use common::lab::{Lab, can_run, run};

#[test]
fn without_ipv6_bmp_listens_on_127_0_0_1() {
    if !can_run(&["ip", "sysctl"]) {
        return;
    }
    let lab = Lab::new();
    let namespace = lab.wire();
    namespace.run("sysctl", "-qw net.ipv6.conf.lo.disable_ipv6=1");
    let toml = config(
        r#"["v0"]"#,
        &format!("{EXACT}[agent.enrich.rib.bmp]\nport = 11019\n"),
    );
    let agent = Agent::start(&lab, &namespace, &toml);
    let log = agent.log();
    assert!(
        log.contains("listening for BMP on 127.0.0.1:11019"),
        "{log}"
    );
    agent.stop();
}

/// A control group below that of the test, with a limit; removed when dropped.
struct Limited {
    outer: PathBuf,
    inner: PathBuf,
}

impl Limited {
    /// Two nested groups of which the outer one has the limit. Fails if this machine has no such controller.
    fn new(bytes: u64) -> io::Result<Self> {
        let version1 = PathBuf::from("/sys/fs/cgroup/memory");
        let (root, file) = match version1.is_dir() {
            true => (version1, "memory.limit_in_bytes"),
            false => (PathBuf::from("/sys/fs/cgroup"), "memory.max"),
        };
        let outer = root.join(format!("rfmt-{}", std::process::id()));
        let inner = outer.join("inner");
        fs::create_dir(&outer)?;
        fs::create_dir(&inner)?;
        let limited = Self { outer, inner };
        fs::write(limited.outer.join(file), bytes.to_string())?;
        Ok(limited)
    }
}

impl Drop for Limited {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.inner);
        let _ = fs::remove_dir(&self.outer);
    }
}

#[test]
fn max_flows_0_follows_the_limit_of_a_control_group_above() {
    const LIMIT: u64 = 48 << 20;
    if !can_run(&["sh"]) {
        return;
    }
    let group = match Limited::new(LIMIT) {
        Ok(group) => group,
        Err(error) => {
            println!("skipped: no control group with a memory limit: {error}");
            return;
        }
    };
    let lab = Lab::new();
    let text = "[agent]\ninterfaces = [\"*\"]\n[agent.collector]\nmax_flows = 0\n";
    let file = lab.file("rfm.toml", text);
    let script = format!(
        "echo $$ >{}/cgroup.procs && exec {} --check --config {}",
        group.inner.display(),
        env!("CARGO_BIN_EXE_rfm"),
        file.display()
    );
    let checked = run(Command::new("sh").args(["-c", &script]));
    // a quarter of the limit, at 160 bytes a flow
    let expected = format!("max_flows = {}\n", LIMIT / 4 / 160);
    assert!(checked.contains(&expected), "{checked}");
}

#[test]
fn a_start_without_proc_or_sys_names_the_cause() {
    if !can_run(&["ip", "sysctl", "unshare", "umount"]) {
        return;
    }
    let lab = Lab::new();
    let namespace = lab.wire();
    for (folder, expected) in [
        (
            "/proc",
            "/proc/self/stat: no such file or directory; /proc is not mounted",
        ),
        ("/sys", "/sys is not mounted"),
    ] {
        let script = format!("umount -l {folder}; exec \"$@\"");
        let wrapper = ["unshare", "-m", "sh", "-c", &script, "sh"];
        let (code, said) = refused(&lab, &namespace, &config(r#"["v0"]"#, EXACT), &wrapper);
        assert_eq!(code, Some(1), "{said}");
        assert!(said.contains(expected), "{said}");
        assert!(!said.contains("CONFIG_DEBUG_INFO_BTF"), "{said}");
    }
}
