// SPDX-License-Identifier: AGPL-3.0-only
//! `rfm --check-kernel`: what it prints of this kernel, and that it leaves the interfaces alone.

mod common;

use std::os::unix::process::CommandExt;
use std::process::Output;

use common::lab::{Lab, Namespace, can_run, try_run};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule,
};

const RFM: &str = env!("CARGO_BIN_EXE_rfm");

fn config(lab: &Lab) -> String {
    let file = lab.file("rfm.toml", "[agent]\ninterfaces = [\"*\"]\n");
    file.display().to_string()
}

fn check(namespace: &Namespace, config: &str, force: &str) -> Output {
    let mut command = namespace.command(RFM, &["--config", config, "--check-kernel"]);
    try_run(command.env("RFM_FORCE", force))
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn it_loads_every_program_and_attaches_none() {
    if !can_run(&["ip", "sysctl"]) {
        return;
    }
    let lab = Lab::new();
    let namespace = lab.wire();
    namespace.ip("link add b0 type bridge");
    let config = config(&lab);
    let before = namespace.ip("-details link show");
    let output = check(&namespace, &config, "");
    let (said, errors) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{errors}");
    let line = |start: &str| {
        let found = said.lines().find_map(|line| line.strip_prefix(start));
        found
            .unwrap_or_else(|| panic!("{start} in {said}"))
            .to_owned()
    };
    assert!(line("kernel: Linux ").starts_with(|c: char| c.is_ascii_digit()));
    assert_eq!(line("kernel types: "), "yes");
    assert!(["tcx", "clsact"].contains(&&*line("hook: ")));
    assert!(!line("flow cache: ").is_empty());
    assert_eq!(line("firewall: "), "supported");
    // veth has XDP in its driver since Linux 4.19, a bridge has none
    let modes = (line("interface v1: XDP "), line("interface b0: XDP "));
    let known = ("native".to_owned(), "generic".to_owned());
    let unknown = "native or generic".to_owned();
    assert!(
        modes == known || modes == (unknown.clone(), unknown),
        "{modes:?}"
    );
    assert!(!said.contains("interface lo"), "{said}");
    assert_eq!(namespace.ip("-details link show"), before);

    let forced = check(&namespace, &config, "clsact,rt");
    let said = text(&forced.stdout);
    assert!(said.contains("\nhook: clsact\n"), "{said}");
    assert!(said.contains("\nflow cache: not supported: "), "{said}");
}

/// The bar for each program, which old kernels limit to a million: the verifier's time grows with it.
const MAX_INSTRUCTIONS: u32 = 150_000;

#[test]
fn without_types_of_the_kernel_other_programs_load() {
    if !can_run(&["ip", "sysctl", "unshare", "mount"]) {
        return;
    }
    let lab = Lab::new();
    let namespace = lab.wire();
    let script = format!(
        "mount -t tmpfs none /sys/kernel/btf && exec {RFM} --config {} --check-kernel",
        config(&lab)
    );
    let mut command = namespace.command("unshare", &["--mount", "sh", "-c", &script]);
    let output = try_run(command.env("RFM_LOG", "info,libbpf=trace"));
    let (said, errors) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{errors}");
    assert!(
        said.contains("\nkernel types: no: GSO packets in tunnels "),
        "{said}"
    );
    assert!(said.contains("\nfirewall: supported\n"), "{said}");
    assert!(errors.contains("no kernel types (/sys/kernel/btf/vmlinux): "));
    let counts: Vec<u32> = errors
        .lines()
        .filter_map(|line| line.split_once(" processed ")?.1.split_once(" insns"))
        .map(|(count, _)| count.parse().expect("a number"))
        .collect();
    // two pairs of the monitor and the probe of the timer, if this kernel has timers; four of the firewall
    assert!(counts.len() >= 6, "{counts:?}");
    assert!(
        counts.iter().all(|count| *count <= MAX_INSTRUCTIONS),
        "{counts:?}"
    );
}

/// How a kernel or a container answers bpf(2), and the end of `rfm --check-kernel` then.
#[test]
fn a_refused_bpf_call_is_explained() {
    if !can_run(&["ip", "unshare"]) {
        return;
    }
    let lab = Lab::new();
    let namespace = lab.wire();
    let config = config(&lab);
    let args = ["--config", &config, "--check-kernel"];
    const FILTER: &str = "a seccomp filter refuses bpf(2)";
    const FAILURE: i32 = 1;
    const KERNEL: i32 = 3;
    let unit = include_str!("../config/rfm.service");
    assert!(unit.contains(&format!("\nRestartPreventExitStatus={KERNEL}\n")));
    for (command, errno, expected, code) in [
        // as a container runtime does
        (None, libc::EPERM, FILTER, FAILURE),
        (None, libc::ENOSYS, FILTER, FAILURE),
        // as a kernel does that does not know the programs
        (
            Some(BPF_PROG_LOAD),
            libc::EINVAL,
            "invalid argument",
            KERNEL,
        ),
        (None, libc::ENOMEM, "cannot allocate memory", FAILURE),
    ] {
        let filter = answer_bpf(command, errno);
        let mut command = namespace.command(RFM, &args);
        // SAFETY: between fork and exec only two system calls are made, without an allocation.
        unsafe {
            command.pre_exec(move || {
                seccompiler::apply_filter(&filter)
                    .map_err(|_| std::io::Error::from_raw_os_error(libc::EINVAL))
            })
        };
        let output = try_run(&mut command);
        let errors = text(&output.stderr);
        let last = errors.lines().last().unwrap_or_default().to_lowercase();
        assert!(last.contains(expected), "{errno}: {errors}");
        assert_eq!(last.contains(FILTER), expected == FILTER, "{errors}");
        assert!(!last.contains("root"), "{errors}");
        assert_eq!(output.status.code(), Some(code), "{errno}: {errors}");
    }
    let rootless = ["--user", "--map-root-user", RFM];
    let output = try_run(&mut namespace.command("unshare", &[&rootless[..], &args].concat()));
    let errors = text(&output.stderr);
    let expected = "the kernel refuses bpf(2) in a user namespace";
    assert!(errors.contains(expected), "{errors}");
    assert_eq!(output.status.code(), Some(FAILURE), "{errors}");
}

const BPF_PROG_LOAD: u64 = 5;

/// A filter that answers bpf(2), or one of its commands, with an error.
fn answer_bpf(command: Option<u64>, errno: i32) -> BpfProgram {
    let rule = |command| {
        let is_command =
            SeccompCondition::new(0, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, command);
        SeccompRule::new(vec![is_command.expect("a condition")]).expect("a rule")
    };
    let rules = [(libc::SYS_bpf, command.map(rule).into_iter().collect())];
    let architecture = std::env::consts::ARCH.try_into().expect("an architecture");
    SeccompFilter::new(
        rules.into(),
        SeccompAction::Allow,
        SeccompAction::Errno(errno as u32),
        architecture,
    )
    .and_then(TryInto::try_into)
    .expect("a filter")
}
