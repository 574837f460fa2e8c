// SPDX-License-Identifier: AGPL-3.0-only
//! `rfm --check-kernel`: what it prints of this kernel, and that it leaves the interfaces alone.

mod common;

use std::process::Output;

use common::lab::{Lab, Namespace, can_run, try_run};

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
