// SPDX-License-Identifier: AGPL-3.0-only
//! The properties of the machine on which some defaults and limits depend.

use std::net::{Ipv6Addr, UdpSocket};

use super::agent::MAX_MAX_FLOWS;
use super::cgroup;

/// Bytes of memory for one flow, with its share of the index.
const BYTES_PER_FLOW: u64 = 160;

/// The machine that a configuration is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Machine {
    /// Bytes; a power of two.
    pub page_size: u32,
    /// Bytes that this process may use: the memory of the machine, or the smallest limit of its control groups.
    pub memory: u64,
    /// Whether a socket can be bound to ::1.
    pub has_ipv6: bool,
}

impl Machine {
    /// Returns the machine on which this process runs.
    pub fn here() -> Self {
        let info = rustix::system::sysinfo();
        let installed = (info.totalram as u64).saturating_mul(u64::from(info.mem_unit));
        Self {
            page_size: u32::try_from(rustix::param::page_size()).unwrap_or(4096),
            memory: cgroup::memory_limit().map_or(installed, |limit| limit.min(installed)),
            has_ipv6: UdpSocket::bind((Ipv6Addr::LOCALHOST, 0)).is_ok(),
        }
    }

    /// Returns the loopback address, the default of every key that names a host.
    pub fn default_host(&self) -> &'static str {
        if self.has_ipv6 { "::1" } else { "127.0.0.1" }
    }

    /// Returns the number of flows that fit in a quarter of the memory.
    pub fn flow_limit(&self) -> u32 {
        let flows = (self.memory / 4 / BYTES_PER_FLOW).clamp(1, u64::from(MAX_MAX_FLOWS));
        u32::try_from(flows).unwrap_or(MAX_MAX_FLOWS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quarter_of_the_memory_holds_the_flows() {
        let with = |memory| Machine {
            page_size: 4096,
            memory,
            has_ipv6: true,
        };
        assert_eq!(with(1 << 30).flow_limit(), 1_677_721);
        assert_eq!(with(0).flow_limit(), 1);
        assert_eq!(with(u64::MAX).flow_limit(), MAX_MAX_FLOWS);
    }

    #[test]
    fn this_machine_is_plausible() {
        let here = Machine::here();
        assert!(here.page_size.is_power_of_two() && here.page_size >= 4096);
        assert!(here.memory > 16 << 20, "{} bytes", here.memory);
    }
}
