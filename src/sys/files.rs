// SPDX-License-Identifier: AGPL-3.0-only
//! Small files of state, read and replaced as a whole.

use std::fs::{self, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;

use super::os_error;

/// Replaces a file in one step: at any moment either the old or the new file exists.
pub fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let beside = beside(path, ".new");
    let written = write(&beside, bytes).and_then(|()| fs::rename(&beside, path));
    if written.is_err() {
        // an incomplete file on a full disk uses space that the next attempt needs
        let _ = fs::remove_file(&beside);
    }
    written
}

/// Creates a new file: it never writes to an existing file, or to a link that another user placed there.
fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut out = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    out.write_all(bytes)?;
    out.sync_data()
}

/// Returns the path with a suffix.
pub fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// Reads a regular file of at most `limit` bytes.
pub fn read_bytes(path: &Path, limit: u64) -> Result<Vec<u8>, String> {
    let cannot = |error: io::Error| format!("cannot read: {}", os_error::of_file(&error));
    // NONBLOCK: opening a FIFO otherwise waits for a writer
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(OFlags::NONBLOCK.bits() as i32)
        .open(path)
        .map_err(cannot)?;
    if !file.metadata().map_err(cannot)?.is_file() {
        return Err("expected a regular file".into());
    }
    read_limited(file, limit)
}

/// Reads at most `limit` bytes.
pub fn read_limited(source: impl Read, limit: u64) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let length = source.take(limit + 1).read_to_end(&mut bytes);
    let length = length.map_err(|error| format!("cannot read: {}", os_error::of_file(&error)))?;
    if length as u64 > limit {
        return Err(format!("expected at most {limit} bytes, got more"));
    }
    Ok(bytes)
}
