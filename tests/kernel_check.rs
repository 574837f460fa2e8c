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

#[test]
fn without_types_of_the_kernel_one_line_names_the_cause() {
    if !can_run(&["ip", "sysctl", "unshare", "mount"]) {
        return;
    }
    let lab = Lab::new();
    let namespace = lab.wire();
    let script = format!(
        "mount -t tmpfs none /sys/kernel/btf && exec {RFM} --config {} --check-kernel",
        config(&lab)
    );
    let output = try_run(&mut namespace.command("unshare", &["--mount", "sh", "-c", &script]));
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(text(&output.stdout), "");
    let errors = text(&output.stderr);
    let expected = "this kernel has no /sys/kernel/btf/vmlinux: it needs CONFIG_DEBUG_INFO_BTF=y";
    assert!(errors.trim_end().ends_with(expected), "{errors}");
    assert_eq!(errors.lines().count(), 1, "{errors}");
}
