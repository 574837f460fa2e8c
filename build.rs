// SPDX-License-Identifier: AGPL-3.0-only
//! Compiles the BPF programs and writes their Rust skeletons; finds the version that is being built.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use libbpf_cargo::SkeletonBuilder;

fn main() {
    build_bpf("rfm");
    println!("cargo:rerun-if-changed=src/bpf");
    let (version, revision) = version();
    println!("cargo:rustc-env=RFM_VERSION={version}");
    println!("cargo:rustc-env=RFM_REVISION={revision}");
}

/// src/bpf/NAME.bpf.c → OUT_DIR/NAME.skel.rs
fn build_bpf(name: &str) {
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR for build scripts"));
    let source = format!("src/bpf/{name}.bpf.c");
    // the line numbers in BTF name files: without the folder, which differs from machine to machine
    let folder = env::current_dir().expect("cargo runs build scripts in the package's folder");
    let prefix_map = format!("-ffile-prefix-map={}=.", folder.display());
    let result = SkeletonBuilder::new()
        .source(&source)
        // v3 has the 32-bit jumps and arithmetic that keep the program small; kernel 5.1 knows it
        .clang_args([
            "-O2",
            "-mcpu=v3",
            "-fno-strict-aliasing",
            "-Wall",
            "-Wextra",
            "-Werror",
            &prefix_map,
        ])
        .reference_obj(true)
        .build_and_generate(out.join(format!("{name}.skel.rs")));
    if let Err(error) = result {
        panic!("{source}: {error:?}");
    }
}

/// The version and the commit, as scripts/version.sh tells them; Cargo's version and no commit where it cannot.
fn version() -> (String, String) {
    println!("cargo:rerun-if-env-changed=RFM_VERSION");
    println!("cargo:rerun-if-env-changed=RFM_REVISION");
    println!("cargo:rerun-if-changed=scripts/version.sh");
    // logs/HEAD changes with every commit; a path that is missing would rebuild each time
    for name in ["logs/HEAD", "refs/tags", "packed-refs"] {
        let file = output_of("git", &["rev-parse", "--git-path", name]);
        let file = file.trim_end();
        if !file.is_empty() && Path::new(file).exists() {
            println!("cargo:rerun-if-changed={file}");
        }
    }
    let told = output_of("scripts/version.sh", &[]);
    let mut words = told.split_whitespace().map(str::to_owned);
    let version = words.next();
    (
        version.unwrap_or_else(|| env!("CARGO_PKG_VERSION").to_owned()),
        words.next().unwrap_or_default(),
    )
}

/// What a command prints; nothing where it fails.
fn output_of(command: &str, args: &[&str]) -> String {
    Command::new(command)
        .args(args)
        .output()
        .ok()
        .filter(|out| out.status.success())
        .map(|out| String::from_utf8_lossy(&out.stdout).into_owned())
        .unwrap_or_default()
}
