// SPDX-License-Identifier: AGPL-3.0-only
//! `scripts/setup.sh` on systems that are not here: it recognizes them by their os-release, and names the packages and the
//! command that installs them. Nothing is installed.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/setup.sh");

fn folder(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("setup-{name}"));
    let _ = fs::remove_dir_all(&path);
    fs::create_dir_all(&path).expect("a folder");
    path
}

fn run(command: &mut Command) -> (Option<i32>, String, String) {
    let Output {
        status,
        stdout,
        stderr,
    } = command.output().expect("bash");
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    (status.code(), text(stdout), text(stderr))
}

fn show(words: &[&str], os_release: &Path) -> (Option<i32>, String, String) {
    run(Command::new(SCRIPT)
        .arg("--show")
        .args(words)
        .env("SETUP_OS_RELEASE", os_release))
}

#[test]
fn each_system_has_its_names_and_its_way_to_rust() {
    let none = Path::new("/dev/null");
    for (system, expected) in [
        (
            "debian",
            "apt-get update\n\
             apt-get install -y --no-install-recommends ca-certificates cargo-web clang clang-format gcc libelf-dev \
             make pkg-config python3-minimal rust-web-clippy rustc-web rustfmt-web shellcheck zlib1g-dev\n",
        ),
        (
            "ubuntu",
            "apt-get update\n\
             apt-get install -y --no-install-recommends ca-certificates clang clang-format gcc libelf-dev make \
             pkg-config python3-minimal rustup shellcheck zlib1g-dev\n\
             rustup toolchain install stable --profile minimal --component rustfmt,clippy\n",
        ),
        (
            "fedora",
            "dnf install -y ShellCheck ca-certificates cargo clang clang-tools-extra clippy elfutils-libelf-devel gcc \
             make pkgconf-pkg-config python3 rust rustfmt zlib-devel\n",
        ),
        (
            "arch",
            "pacman -S --needed --noconfirm ca-certificates clang gcc libelf make pkgconf python rust shellcheck zlib\n",
        ),
    ] {
        let shown = show(&[system, "build", "lint"], none);
        assert_eq!(
            shown,
            (Some(0), expected.to_owned(), String::new()),
            "{system}"
        );
    }
    let (code, _, errors) = show(&["fedora", "test"], none);
    assert_eq!(code, Some(1));
    assert!(
        errors.contains("'test' needs Debian's packages"),
        "{errors}"
    );
}

#[test]
fn derivatives_are_recognized_by_their_os_release() {
    let folder = folder("systems");
    for (name, text, expected) in [
        ("debian", "ID=debian\nVERSION_ID=\"13\"\n", "cargo-web"),
        (
            "ubuntu",
            "NAME=\"Ubuntu\"\nID=ubuntu\nID_LIKE=debian\n",
            "rustup",
        ),
        (
            "mint",
            "ID=linuxmint\nID_LIKE=\"ubuntu debian\"\n",
            "rustup",
        ),
        (
            "rocky",
            "ID=\"rocky\"\nID_LIKE=\"rhel centos fedora\"\n",
            "dnf install",
        ),
        ("manjaro", "ID=manjaro\nID_LIKE=arch\n", "pacman -S"),
        (
            "gentoo",
            "ID=gentoo\n",
            "name a system: debian, ubuntu, fedora or arch",
        ),
    ] {
        let file = folder.join(name);
        fs::write(&file, text).expect("written");
        let (_, shown, errors) = show(&["build"], &file);
        assert!(
            (shown.clone() + &errors).contains(expected),
            "{name}: {shown}{errors}"
        );
    }
}

/// A PATH without any tool that the build needs, and without apt-get.
#[test]
fn what_is_missing_is_named_with_its_command() {
    let folder = folder("bare");
    let tools = [
        "bash", "env", "sed", "tr", "sort", "head", "cut", "paste", "dirname", "id", "grep", "cat",
    ];
    for tool in tools {
        let path = ["/usr/bin", "/bin"].map(|folder| Path::new(folder).join(tool));
        let path = path.iter().find(|path| path.exists()).expect(tool);
        symlink(path, folder.join(tool)).expect("a link");
    }
    let release = folder.join("os-release");
    for (id, expected) in [
        (
            "fedora",
            "as root: dnf install -y cargo clang elfutils-libelf-devel gcc make pkgconf-pkg-config rust zlib-devel",
        ),
        (
            "arch",
            "as root: pacman -S --needed --noconfirm clang gcc libelf make pkgconf rust zlib",
        ),
        (
            "gentoo",
            "these are missing (by their Debian names): gcc make clang pkg-config libelf-dev zlib1g-dev rust",
        ),
    ] {
        fs::write(&release, format!("ID={id}\n")).expect("written");
        let (code, _, errors) = run(Command::new("/bin/bash")
            .args([SCRIPT, "build"])
            .env("PATH", &folder)
            .env("SETUP_OS_RELEASE", &release));
        assert_eq!(code, Some(1), "{errors}");
        assert!(errors.contains(expected), "{id}: {errors}");
    }
}
