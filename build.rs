// SPDX-License-Identifier: AGPL-3.0-only
//! Compiles the BPF programs and writes their Rust skeletons; finds the revision that is being built.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use libbpf_cargo::SkeletonBuilder;

fn main() {
    build_bpf("rfm");
    println!("cargo:rerun-if-changed=src/bpf");
    println!("cargo:rustc-env=RFM_REVISION={}", revision());
}

/// src/bpf/NAME.bpf.c → OUT_DIR/NAME.skel.rs
fn build_bpf(name: &str) {
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR for build scripts"));
    let source = format!("src/bpf/{name}.bpf.c");
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
        ])
        .reference_obj(true)
        .build_and_generate(out.join(format!("{name}.skel.rs")));
    if let Err(error) = result {
        panic!("{source}: {error:?}");
    }
}

/// RFM_REVISION if the packager set it, else the commit; empty outside a git checkout.
fn revision() -> String {
    println!("cargo:rerun-if-env-changed=RFM_REVISION");
    if let Ok(revision) = env::var("RFM_REVISION") {
        return revision;
    }
    // .git/logs/HEAD changes with every commit; a path that is missing would rebuild each time
    if Path::new(".git/logs/HEAD").exists() {
        println!("cargo:rerun-if-changed=.git/logs/HEAD");
    }
    Command::new("git")
        .args(["rev-parse", "--short=12", "HEAD"])
        .output()
        .ok()
        .filter(|out| out.status.success())
        .map(|out| String::from_utf8_lossy(&out.stdout).trim().to_owned())
        .unwrap_or_default()
}
