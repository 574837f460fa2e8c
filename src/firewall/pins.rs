// SPDX-License-Identifier: AGPL-3.0-only
//! The pins of the links that outlive the agent, and the pins that a killed agent left.
//!
//! The file system may be shared by agents in several network namespaces, in which the same ifindex is another
//! interface: the name of a pin has both. An agent removes only pins of its own namespace, and none of an agent
//! that runs.

use std::collections::HashSet;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::{fs, io};

use crate::bpf::xdp::Pin;
use crate::bpf::xdp::hook::{PinState, pin_state};
use crate::sys::os_error;

/// The kernel's file system of BPF objects.
const FOLDER: &str = "/sys/fs/bpf";
const NAME: &str = "rfm-firewall-";

/// The pins of one network namespace.
#[derive(Clone, Debug)]
pub struct Pins {
    /// The inode of the namespace.
    namespace: u64,
    /// Interfaces for which a killed agent has left a pin, to be taken over.
    left: HashSet<u32>,
}

impl Pins {
    /// Returns the pins of the calling thread's namespace.
    pub fn find() -> io::Result<Self> {
        Ok(Self {
            namespace: fs::metadata("/proc/thread-self/ns/net")?.ino(),
            left: HashSet::new(),
        })
    }

    /// Removes the pins of killed agents: in this namespace for interfaces that are not `kept`, and in any
    /// namespace for interfaces that no longer exist. Their links detach. Returns the number of removed pins.
    pub fn remove(mut self, kept: impl Fn(u32) -> bool) -> (Self, usize) {
        // without the file system, or without permission to read it, it has no pins of ours
        let Ok(folder) = fs::read_dir(FOLDER) else {
            return (self, 0);
        };
        let mut removed = 0;
        for file in folder.flatten() {
            let Some(name) = file.file_name().to_str().and_then(Name::read) else {
                continue;
            };
            let is_own = name.namespace.is_none_or(|n| n == self.namespace);
            match pin_state(&file.path()) {
                Ok(PinState::DeviceRemoved) => {}
                // a pin without a namespace, from an earlier version, is not taken over
                Ok(PinState::Stale) if is_own && name.namespace.is_some() && kept(name.ifindex) => {
                    self.left.insert(name.ifindex);
                    continue;
                }
                Ok(PinState::Stale) if is_own => {}
                Ok(_) => continue,
                Err(error) => {
                    log::warn!(
                        "cannot examine {}: {}; it stays",
                        file.path().display(),
                        os_error::reason(&error)
                    );
                    continue;
                }
            }
            match fs::remove_file(file.path()) {
                Ok(()) => removed += 1,
                Err(error) => log::warn!(
                    "cannot remove {}: {}",
                    file.path().display(),
                    os_error::reason(&error)
                ),
            }
        }
        (self, removed)
    }

    /// Returns the pin of an interface. A link of a killed agent is taken over once.
    pub fn take(&mut self, ifindex: u32) -> Pin {
        Pin {
            path: path(self.namespace, ifindex),
            is_stale: self.left.remove(&ifindex),
        }
    }
}

fn path(namespace: u64, ifindex: u32) -> PathBuf {
    Path::new(FOLDER).join(format!("{NAME}{namespace}-{ifindex}"))
}

/// The parsed name of a pin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Name {
    /// None in pins of earlier versions, which named only the interface.
    namespace: Option<u64>,
    ifindex: u32,
}

impl Name {
    fn read(name: &str) -> Option<Self> {
        let rest = name.strip_prefix(NAME)?;
        let (namespace, ifindex) = match rest.split_once('-') {
            Some((namespace, ifindex)) => (Some(namespace.parse().ok()?), ifindex),
            None => (None, rest),
        };
        let ifindex = ifindex.parse().ok()?;
        Some(Self { namespace, ifindex })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_is_read_back() {
        let path = path(4026531840, 7);
        let name = path.file_name().unwrap().to_str().unwrap();
        let namespace = Some(4026531840);
        assert_eq!(
            Name::read(name),
            Some(Name {
                namespace,
                ifindex: 7
            })
        );
        let namespace = None;
        assert_eq!(
            Name::read("rfm-firewall-7"),
            Some(Name {
                namespace,
                ifindex: 7
            })
        );
        for other in [
            "rfm-firewall-x",
            "rfm-firewall-1-x",
            "rfm-firewall-x-1",
            "other",
        ] {
            assert_eq!(Name::read(other), None, "{other}");
        }
    }
}
