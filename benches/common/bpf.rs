// SPDX-License-Identifier: AGPL-3.0-only
//! Compiles the benches' own BPF programs when a bench starts, so that no other build contains them.

use std::error::Error;
use std::fs;
use std::path::Path;
use std::process::Command;

use libbpf_rs::{MapCore, MapMut, Object, ObjectBuilder, OpenObject, ProgramMut};

/// Opens benches/bpf/NAME.bpf.c, but does not load it.
pub fn open(name: &str) -> Result<OpenObject, Box<dyn Error>> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("benches/bpf/{name}.bpf.c"));
    // other test programs may do the same at the same time
    let object = format!("{name}-{}.bpf.o", std::process::id());
    let object = Path::new(env!("CARGO_TARGET_TMPDIR")).join(object);
    let status = Command::new("clang")
        .args([
            "-target", "bpf", "-mcpu=v3", "-O2", "-g", "-Wall", "-Werror",
        ])
        .arg("-c")
        .arg(source)
        .arg("-o")
        .arg(&object)
        .status()?;
    if !status.success() {
        return Err(format!("clang: {status}").into());
    }
    let open = ObjectBuilder::default().open_file(&object)?;
    fs::remove_file(object)?;
    Ok(open)
}

pub fn program<'a>(object: &'a Object, name: &str) -> Result<ProgramMut<'a>, Box<dyn Error>> {
    let found = object.progs_mut().find(|p| p.name() == name);
    found.ok_or_else(|| format!("no program {name}").into())
}

pub fn map<'a>(object: &'a mut Object, name: &str) -> Result<MapMut<'a>, Box<dyn Error>> {
    let found = object.maps_mut().find(|m| m.name() == name);
    found.ok_or_else(|| format!("no map {name}").into())
}
