// SPDX-License-Identifier: AGPL-3.0-only
//! Where links are pinned, so that they outlive the agent, and what an agent of before left there.

use std::fs;
use std::path::{Path, PathBuf};

/// The kernel's file system of BPF objects.
const FOLDER: &str = "/sys/fs/bpf";
const NAME: &str = "rfm-firewall-";

/// For the link of one interface.
pub fn path(ifindex: u32) -> PathBuf {
    Path::new(FOLDER).join(format!("{NAME}{ifindex}"))
}

/// Removes what is pinned for interfaces that are not `kept`: their links detach. How many there were.
pub fn remove(kept: impl Fn(u32) -> bool) -> usize {
    // without the file system, or the right to look, nothing of ours is there
    let Ok(folder) = fs::read_dir(FOLDER) else {
        return 0;
    };
    let mut removed = 0;
    for file in folder.flatten() {
        let Some(ifindex) = file.file_name().to_str().and_then(ifindex_in) else {
            continue;
        };
        if kept(ifindex) {
            continue;
        }
        match fs::remove_file(file.path()) {
            Ok(()) => removed += 1,
            Err(error) => log::warn!("removing {}: {error}", file.path().display()),
        }
    }
    removed
}

fn ifindex_in(name: &str) -> Option<u32> {
    name.strip_prefix(NAME)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_is_read_back() {
        let path = path(7);
        let name = path.file_name().unwrap().to_str().unwrap();
        assert_eq!(ifindex_in(name), Some(7));
        assert_eq!(ifindex_in("rfm-firewall-x"), None);
        assert_eq!(ifindex_in("other"), None);
    }
}
