// SPDX-License-Identifier: AGPL-3.0-only
//! Networks from the configuration, found by longest match. Pure.

use std::cmp::Reverse;
use std::net::IpAddr;
use std::sync::Arc;

use foldhash::fast::RandomState;
use hashbrown::HashMap;

use crate::types::prefix::Prefix;
use crate::types::static_prefix::StaticPrefix;

/// The length, AS and name of a configured network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StaticNetwork {
    pub length: u8,
    /// 0 = the configuration only names it.
    pub asn: u32,
    pub name: Option<Arc<str>>,
}

/// The configured networks. A lookup probes each length that occurs: configurations have few.
#[derive(Debug, Default)]
pub struct StaticPrefixes {
    networks: HashMap<Prefix, StaticNetwork, RandomState>,
    /// Family (true: IPv4) and length, the longest first.
    lengths: Vec<(bool, u8)>,
}

impl StaticPrefixes {
    pub fn new(prefixes: &[StaticPrefix]) -> Self {
        let network = |entry: &StaticPrefix| StaticNetwork {
            length: entry.prefix.length(),
            asn: entry.asn,
            name: (!entry.name.is_empty()).then(|| entry.name.as_str().into()),
        };
        let networks: HashMap<_, _, _> = prefixes
            .iter()
            .map(|entry| (entry.prefix, network(entry)))
            .collect();
        let mut lengths: Vec<_> = networks.keys().map(|p| (p.is_ipv4(), p.length())).collect();
        lengths.sort_unstable_by_key(|&(ipv4, length)| (Reverse(length), ipv4));
        lengths.dedup();
        Self { networks, lengths }
    }

    pub fn is_empty(&self) -> bool {
        self.networks.is_empty()
    }

    /// Returns the most specific network that contains `address`, which must not be an IPv4-mapped address.
    pub fn lookup(&self, address: IpAddr) -> Option<&StaticNetwork> {
        self.lengths
            .iter()
            .filter(|(ipv4, _)| *ipv4 == address.is_ipv4())
            .find_map(|&(_, length)| self.networks.get(&Prefix::new(address, length)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn entry(prefix: &str, asn: u32, name: &str) -> StaticPrefix {
        StaticPrefix {
            prefix: prefix.parse().unwrap(),
            asn,
            name: name.into(),
            bill: false,
        }
    }

    #[test]
    fn the_most_specific_network_of_the_family_answers() {
        let prefixes = StaticPrefixes::new(&[
            entry("10.0.0.0/8", 1, "ten"),
            entry("10.1.0.0/16", 2, ""),
            entry("0.0.0.0/0", 3, "all"),
            entry("10.1.2.3", 4, "host"),
            entry("2001:db8::/32", 5, "doc"),
        ]);
        for (address, expected) in [
            ("10.9.9.9", Some((8, 1, Some("ten")))),
            ("10.1.9.9", Some((16, 2, None))),
            ("10.1.2.3", Some((32, 4, Some("host")))),
            ("192.0.2.1", Some((0, 3, Some("all")))),
            ("2001:db8:ffff::1", Some((32, 5, Some("doc")))),
            ("2001:db9::1", None),
        ] {
            let found = prefixes.lookup(address.parse().unwrap());
            let found = found.map(|n| (n.length, n.asn, n.name.as_deref()));
            assert_eq!(found, expected, "{address}");
        }
    }

    proptest! {
        #[test]
        fn agrees_with_looking_at_all_of_them(
            prefixes in prop::collection::btree_map((any::<u8>(), 0u8..=32), any::<u32>(), 0..50),
            address in any::<[u8; 2]>(),
        ) {
            // few distinct bits, so that many prefixes hold the address
            let spread = |byte: u8| u32::from(byte) * 0x0101_0101;
            let entries: Vec<_> = prefixes.iter().map(|(&(byte, length), &asn)| StaticPrefix {
                prefix: Prefix::new(std::net::Ipv4Addr::from_bits(spread(byte)).into(), length),
                asn,
                name: String::new(),
                bill: false,
            }).collect();
            let bits = spread(address[0]) ^ u32::from(address[1]);
            let address = IpAddr::from(std::net::Ipv4Addr::from_bits(bits));
            let naive = entries.iter()
                .filter(|entry| entry.prefix.contains(address))
                .map(|entry| entry.prefix.length())
                .max();
            let found = StaticPrefixes::new(&entries).lookup(address).map(|n| n.length);
            prop_assert_eq!(found, naive);
        }
    }
}
