// SPDX-License-Identifier: AGPL-3.0-only
//! Recorded sessions.

use std::io::BufReader;
use std::path::PathBuf;

pub const CAPTURES: [&str; 4] = ["bird3-trixie", "bird3-trixie-ap", "frr84", "gobgp310-late"];

/// The bytes of a recorded session.
pub fn capture(name: &str) -> Vec<u8> {
    unpacked(&format!("bmp/{name}.bmp.xz"))
}

/// The content of an xz file in `tests/data`.
pub fn unpacked(name: &str) -> Vec<u8> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data");
    let path = path.join(name);
    let file = std::fs::File::open(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let mut bytes = Vec::new();
    lzma_rs::xz_decompress(&mut BufReader::new(file), &mut bytes).expect("a whole xz file");
    bytes
}

/// The messages of a session, one slice each.
pub fn messages(mut bytes: &[u8]) -> Vec<&[u8]> {
    let mut messages = Vec::new();
    while !bytes.is_empty() {
        let length = u32::from_be_bytes(bytes[1..5].try_into().unwrap()) as usize;
        messages.push(&bytes[..length]);
        bytes = &bytes[length..];
    }
    messages
}
