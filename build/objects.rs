// SPDX-License-Identifier: AGPL-3.0-only
//! Each BPF source becomes two objects: one for kernels that describe their types (BTF), and one for the others,
//! with RFM_UNTYPED (src/bpf/common.bpf.h). They have the same maps and programs, and so one skeleton.

use std::path::Path;
use std::{env, fs};

use libbpf_cargo::SkeletonBuilder;

/// Compiles FOLDER/NAME.bpf.c twice, and writes OUT/NAME.skel.rs: the builder of the skeleton has a field
/// `is_untyped`, which selects the object.
pub fn build(folder: &str, name: &str, out: &Path) {
    let source = format!("{folder}/{name}.bpf.c");
    let [typed, untyped] = ["typed", "untyped"].map(|kind| {
        let folder = out.join(kind);
        fs::create_dir_all(&folder).expect("OUT_DIR can be written");
        // libbpf names maps after the object
        let object = folder.join(format!("{name}.o"));
        let skeleton = folder.join(format!("{name}.skel.rs"));
        let mut builder = SkeletonBuilder::new();
        builder
            .source(&source)
            .obj(&object)
            .clang_args(clang_args(kind == "untyped"))
            .reference_obj(true);
        if let Err(error) = builder.build_and_generate(&skeleton) {
            panic!("{source}: {error:?}");
        }
        let code = fs::read_to_string(&skeleton).expect("libbpf-cargo wrote it");
        (object, code)
    });
    assert!(
        has_same_layout(&typed.1, &untyped.1),
        "{source}: the objects differ in maps, programs or types; compare the skeletons in {}",
        out.display()
    );
    let code = with_both_objects(&typed.1, &untyped.0);
    fs::write(out.join(format!("{name}.skel.rs")), code).expect("OUT_DIR can be written");
}

/// Returns whether the skeletons agree, apart from types that only one has: those of the kernel.
fn has_same_layout(typed: &str, untyped: &str) -> bool {
    let parts = |code| {
        let (interface, types) = str::split_once(code, "pub mod types")?;
        // the definitions of maps are in the order of their first use
        let structs = types.split("pub struct ").skip(1);
        let structs =
            structs.filter(|text| !text.starts_with("__anon") && !text.starts_with("maps "));
        let fields = structs.filter_map(|text| Some(text.split_once('}')?.0.to_owned()));
        // libbpf finds maps by name
        let mut lines: Vec<_> = interface.lines().map(str::to_owned).collect();
        lines.sort_unstable();
        Some((lines, fields.collect::<Vec<_>>()))
    };
    let (Some(typed), Some(untyped)) = (parts(typed), parts(untyped)) else {
        return false;
    };
    typed.0 == untyped.0 && untyped.1.iter().all(|fields| typed.1.contains(fields))
}

fn clang_args(is_untyped: bool) -> Vec<String> {
    // the line numbers in BTF contain file names: without the folder, which differs between machines
    let root = env::current_dir().expect("cargo runs build scripts in the package's folder");
    let prefix_map = format!("-ffile-prefix-map={}=.", root.display());
    // clang's own choice is the byte order of the machine that builds
    let endian = env::var("CARGO_CFG_TARGET_ENDIAN").expect("cargo sets it for build scripts");
    let byte_order = format!("-m{endian}-endian");
    let mut args = vec![
        "-O2",
        // v3 has the 32-bit jumps and arithmetic that keep the program small; supported since kernel 5.1
        "-mcpu=v3",
        "-fno-strict-aliasing",
        "-Wall",
        "-Wextra",
        "-Werror",
        &prefix_map,
        &byte_order,
    ];
    if is_untyped {
        args.push("-DRFM_UNTYPED");
    }
    args.into_iter().map(str::to_owned).collect()
}

/// The section in which libbpf-cargo places the object of a skeleton, after everything else.
const DATA: &str = "#[unsafe(link_section";

/// Adds the second object to the skeleton of the first.
fn with_both_objects(skeleton: &str, untyped: &Path) -> String {
    let data = format!(
        "static UNTYPED: &[u8] = include_bytes!({:?});\n    {DATA}",
        untyped.display().to_string()
    );
    let edits = [
        (
            "fn build_skel_config(",
            "fn build_skel_config(is_untyped: bool",
        ),
        (
            "build_skel_config()?",
            "build_skel_config(self.is_untyped)?",
        ),
        (
            "ObjectSkeletonConfigBuilder::new(&DATA)",
            "ObjectSkeletonConfigBuilder::new(if is_untyped { UNTYPED } else { &DATA })",
        ),
        (
            "pub obj_builder: libbpf_rs::ObjectBuilder,",
            "pub obj_builder: libbpf_rs::ObjectBuilder,\n        pub is_untyped: bool,",
        ),
        (DATA, &data),
    ];
    edits.iter().fold(skeleton.to_owned(), |code, (from, to)| {
        assert!(
            code.matches(from).count() == 1,
            "libbpf-cargo writes another form of skeleton: expected \"{from}\" once"
        );
        code.replace(from, to)
    })
}
