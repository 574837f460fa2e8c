// SPDX-License-Identifier: AGPL-3.0-only
//! Removes the hooks of a killed agent: clsact filters and a pinned firewall outlive their process. The hooks
//! of an agent that runs are not touched.

use rustix::thread::CapabilitySet;

use super::{Error, privilege};
use crate::bpf::clsact::{self, StaleFilters};
use crate::netlink::{Link, LinkSocket};
use crate::types::flow::Direction;

/// The kernel requires these capabilities to open a program by its id, and so to read its name.
const NEEDED: CapabilitySet = CapabilitySet::NET_ADMIN.union(CapabilitySet::SYS_ADMIN);

/// Removes stale hooks from all interfaces of this machine.
pub fn detach() -> Result<(), Error> {
    privilege::check_detach()?;
    // libbpf prints a line for each hook that has no filter
    libbpf_rs::set_print(None);
    drop(super::firewall::remove_pins(|_| false));
    let links = LinkSocket::new(std::sync::Arc::default()).dump();
    remove(&links.map_err(Error::Links)?);
    Ok(())
}

/// Removes stale filters before a start, if the capabilities permit it: otherwise they continue to count
/// into maps that nobody reads, until [`detach`].
pub(super) fn replace(links: &[Link]) {
    if privilege::have(NEEDED).unwrap_or(false) {
        remove(links);
    }
}

fn remove(links: &[Link]) {
    for link in links {
        for direction in Direction::ALL {
            let StaleFilters { removed, in_use } = clsact::detach_stale(link.ifindex, direction);
            let (name, direction) = (&link.name, direction.name());
            if removed > 0 {
                log::info!("{name}: removed {removed} filter at {direction}");
            }
            if in_use > 0 {
                log::info!("{name}: left {in_use} filter at {direction}: its agent runs");
            }
        }
    }
}
