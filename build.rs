// SPDX-License-Identifier: AGPL-3.0-only
//! Compiles the BPF programs and writes their Rust skeletons and constants; builds the document of the page; finds
//! the version of the build.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

#[path = "build/constants.rs"]
mod constants;
#[path = "build/objects.rs"]
mod objects;
#[path = "build/page.rs"]
mod page;

fn main() {
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR for build scripts"));
    objects::build("src/bpf", "rfm", &out);
    objects::build("src/bpf/xdp", "firewall", &out);
    objects::build("src/bpf/capture", "capture", &out);
    write_constants();
    println!("cargo:rerun-if-changed=src/bpf");
    page::build(&out);
    println!("cargo:rerun-if-changed=src/page");
    let (version, revision) = version();
    println!("cargo:rustc-env=RFM_VERSION={version}");
    println!("cargo:rustc-env=RFM_REVISION={revision}");
}

/// Translates the headers that C and Rust share into OUT_DIR/constants.rs.
fn write_constants() {
    let read = |path| fs::read_to_string(path).unwrap_or_else(|error| panic!("{path}: {error}"));
    let headers = [
        "src/bpf/rfm.h",
        "src/bpf/xdp/firewall.h",
        "src/bpf/capture/capture.h",
    ]
    .map(read);
    let code: String = headers
        .iter()
        .map(|text| constants::translate(text))
        .collect();
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR for build scripts"));
    fs::write(out.join("constants.rs"), code).expect("OUT_DIR can be written");
}

/// Returns the version and the commit that scripts/version.sh prints; if it fails, Cargo's version and no
/// commit.
fn version() -> (String, String) {
    println!("cargo:rerun-if-env-changed=RFM_VERSION");
    println!("cargo:rerun-if-env-changed=RFM_REVISION");
    println!("cargo:rerun-if-changed=scripts/version.sh");
    // logs/HEAD changes with every commit; a missing path would cause a rebuild each time
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

/// Returns the output of a command; empty if it fails.
fn output_of(command: &str, args: &[&str]) -> String {
    Command::new(command)
        .args(args)
        .output()
        .ok()
        .filter(|out| out.status.success())
        .map(|out| String::from_utf8_lossy(&out.stdout).into_owned())
        .unwrap_or_default()
}
