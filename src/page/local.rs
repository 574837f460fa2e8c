// SPDX-License-Identifier: AGPL-3.0-only
//! Names the networks to which the interfaces are connected, so that local hosts are recognised without configuration.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use crate::metrics::Interface;
use crate::netlink;
use crate::types::prefix::Prefix;

/// The time after which the addresses of the interfaces are read again.
const INTERVAL: Duration = Duration::from_secs(30);
/// Maximum number of networks; further ones have no name.
const MAX_NETWORKS: usize = 1024;

/// A connected network and the name of its interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalNetwork {
    pub prefix: Prefix,
    pub interface: String,
}

#[derive(Debug, Default)]
pub struct LocalReader {
    networks: Vec<LocalNetwork>,
    read: Option<Instant>,
    /// The number of interfaces at that time.
    interfaces: usize,
}

impl LocalReader {
    /// Returns the connected networks, the most specific first; at most half a minute old.
    pub fn read(&mut self, interfaces: &[Interface], now: Instant) -> Vec<LocalNetwork> {
        let is_recent = self.read.is_some_and(|read| now - read < INTERVAL);
        if is_recent && self.interfaces == interfaces.len() {
            return self.networks.clone();
        }
        (self.read, self.interfaces) = (Some(now), interfaces.len());
        // if the kernel does not answer, the previous networks are the best that is known
        if let Ok(found) = netlink::connected_networks() {
            let named = found.into_iter().filter_map(|network| {
                let interface = interfaces
                    .iter()
                    .find(|interface| interface.link.ifindex == network.ifindex)?;
                Some(LocalNetwork {
                    prefix: network.prefix,
                    interface: interface.link.name.clone(),
                })
            });
            self.networks = sorted(named.filter(|network| network.prefix.length() > 0));
        }
        self.networks.clone()
    }
}

fn sorted(networks: impl Iterator<Item = LocalNetwork>) -> Vec<LocalNetwork> {
    let mut networks: Vec<_> = networks.collect();
    networks.sort_by_key(|network| std::cmp::Reverse(network.prefix.length()));
    networks.truncate(MAX_NETWORKS);
    networks
}

/// Returns the interface to which an address is connected; of a prefix, pass its first address.
pub fn interface_of(networks: &[LocalNetwork], address: IpAddr) -> Option<&str> {
    let found = networks
        .iter()
        .find(|network| network.prefix.contains(address));
    found.map(|network| &*network.interface)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_specific_network_names_an_address() {
        let network = |prefix: &str, interface: &str| LocalNetwork {
            prefix: prefix.parse().unwrap(),
            interface: interface.into(),
        };
        let networks = sorted(
            [
                network("10.0.0.0/8", "lan"),
                network("10.1.2.0/24", "dmz"),
                network("2001:db8::/64", "lan"),
            ]
            .into_iter(),
        );
        for (address, expected) in [
            ("10.1.2.3", Some("dmz")),
            ("10.1.3.3", Some("lan")),
            ("2001:db8::9", Some("lan")),
            ("192.0.2.1", None),
        ] {
            let found = interface_of(&networks, address.parse().unwrap());
            assert_eq!(found, expected, "{address}");
        }
    }
}
