// SPDX-License-Identifier: AGPL-3.0-only
//! The links that the service manager keeps while the service restarts: the program stays attached, so that it drops without
//! a gap, and no driver resets its interface. Each agent takes over the links of the previous one, with its own program.

use std::collections::HashMap;
use std::os::fd::{BorrowedFd, OwnedFd};

use crate::bpf::xdp::hook;
use crate::sys::fd_store::{self, FdStore};

/// Begins the name of a link in the store; the ifindex follows.
const PREFIX: &str = "xdp-";

#[derive(Debug, Default)]
pub struct KeptLinks {
    store: FdStore,
    /// The links of the previous agent that are not yet taken over.
    left: HashMap<u32, OwnedFd>,
}

impl KeptLinks {
    /// Receives the links of the previous agent. Dropping this value detaches those that were not taken over.
    pub fn receive() -> Self {
        let mut links = Self {
            store: FdStore::from_environment(),
            left: HashMap::new(),
        };
        for (name, link) in fd_store::received() {
            match ifindex_in(&name).filter(|ifindex| hook::ifindex_of(&link) == Some(*ifindex)) {
                Some(ifindex) => drop(links.left.insert(ifindex, link)),
                // of a device that was removed
                None => links.store.remove(&name),
            }
        }
        links
    }

    /// Detaches the links of interfaces that are not `wanted`. Returns the number of the others.
    pub fn retain(&mut self, wanted: impl Fn(u32) -> bool) -> usize {
        for (ifindex, _) in self.left.extract_if(|ifindex, _| !wanted(*ifindex)) {
            self.store.remove(&name(ifindex));
        }
        self.left.len()
    }

    /// Returns the link of the previous agent on an interface.
    pub fn take(&mut self, ifindex: u32) -> Option<OwnedFd> {
        self.left.remove(&ifindex)
    }

    /// Hands a link over to the service manager.
    pub fn keep(&self, ifindex: u32, link: BorrowedFd<'_>) {
        self.store.keep(&name(ifindex), link);
    }

    /// Makes the service manager close a link.
    pub fn remove(&self, ifindex: u32) {
        self.store.remove(&name(ifindex));
    }
}

impl Drop for KeptLinks {
    fn drop(&mut self) {
        self.retain(|_| false);
    }
}

fn name(ifindex: u32) -> String {
    format!("{PREFIX}{ifindex}")
}

fn ifindex_in(name: &str) -> Option<u32> {
    name.strip_prefix(PREFIX)?.parse().ok()
}
