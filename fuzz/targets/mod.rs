// SPDX-License-Identifier: AGPL-3.0-only
//! Everything that reads input from outside, one target for each kind. A target panics on a fault.
//!
//! libFuzzer runs them with inputs of its own (`make fuzz`); `tests/fuzz_corpora.rs` runs them with every
//! input below `corpus/`.

mod bmp;
mod config;
mod control;
mod flow_table;
mod flowspec;
mod http;
mod mmdb;
mod page;
mod ring;
mod rtr;
mod rules;
#[cfg(feature = "tls")]
mod web;

/// Reads one input.
pub type Target = fn(&[u8]);

/// The name of each target, which is also its folder in `corpus/`.
pub const ALL: &[(&str, Target)] = &[
    ("bmp", bmp::run),
    ("config", config::run),
    ("control", control::run),
    ("flow_table", flow_table::run),
    ("flowspec", flowspec::run),
    ("http", http::run),
    ("mmdb", mmdb::run),
    ("page", page::run),
    ("ring", ring::run),
    ("rtr", rtr::run),
    ("rules", rules::run),
    #[cfg(feature = "tls")]
    ("web", web::run),
];

/// Takes numbers off the front of an input; 0 when it has ended.
struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn u8(&mut self) -> u8 {
        let Some((&first, rest)) = self.0.split_first() else {
            return 0;
        };
        self.0 = rest;
        first
    }

    fn u16(&mut self) -> u16 {
        u16::from_be_bytes([self.u8(), self.u8()])
    }

    fn take(&mut self, length: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(length.min(self.0.len()));
        self.0 = rest;
        taken
    }
}

/// A file with the input, for code that reads files; removed with the process's folder in memory.
fn file(name: &str, input: &[u8]) -> std::path::PathBuf {
    let folder = std::env::temp_dir().join(format!("rfm-fuzz-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a temporary folder");
    let path = folder.join(name);
    std::fs::write(&path, input).expect("a temporary file");
    path
}
