// SPDX-License-Identifier: AGPL-3.0-only
//! An index of an ASN database by AS number: the database itself is ordered by address.

use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use foldhash::fast::RandomState;
use maxminddb::{MaxMindDbError, WithinOptions};

use super::{Database, asn};

/// Maximum number of ASNs; 120,000 are assigned.
const MAX_ASNS: usize = 1 << 18;
/// Maximum number of networks that are read: see [`super::inspect`].
const MAX_NETWORKS: u64 = 1 << 24;
/// Networks between two heartbeats.
const BEAT: u64 = 1 << 16;

/// The first network of each AS, in 12 bytes: the names stay in the database.
#[derive(Debug, Default)]
pub struct AsIndex {
    /// In ascending order.
    asns: Box<[u32]>,
    /// The first address of a network of each: the 32 bits of an IPv4 address, or the first 64 bits of an IPv6 address.
    /// The first addresses of the IPv6 space, which would be the same numbers, belong to no network.
    networks: Box<[u64]>,
}

impl AsIndex {
    /// Reads the tree; each record is decoded once.
    pub(super) fn build(database: &Database, beat: &dyn Fn()) -> Result<Self, MaxMindDbError> {
        let mut known: HashSet<usize, RandomState> = HashSet::default();
        let mut found: Vec<(u32, u64)> = Vec::new();
        let options = WithinOptions::default().include_networks_without_data();
        let networks = database.reader.networks(options)?;
        for (n, network) in (1..MAX_NETWORKS).zip(networks) {
            if n % BEAT == 0 {
                beat();
            }
            let network = network?;
            let Some(offset) = network.offset() else {
                continue;
            };
            if !known.insert(offset) {
                continue;
            }
            let Some(record) = asn(&network)? else {
                continue;
            };
            let Some(place) = place(network.network()?.ip()) else {
                // another network may have this record
                known.remove(&offset);
                continue;
            };
            if record.number > 0 && record.name.is_some() {
                found.push((record.number, place));
                if found.len() == 2 * MAX_ASNS {
                    shorten(&mut found);
                }
            }
        }
        shorten(&mut found);
        let (asns, networks): (Vec<_>, Vec<_>) = found.into_iter().unzip();
        Ok(Self {
            asns: asns.into(),
            networks: networks.into(),
        })
    }

    /// Returns an address of a network of this AS.
    pub fn address(&self, asn: u32) -> Option<IpAddr> {
        let at = self.asns.binary_search(&asn).ok()?;
        let place = self.networks[at];
        Some(match u32::try_from(place) {
            Ok(bits) => Ipv4Addr::from_bits(bits).into(),
            Err(_) => Ipv6Addr::from_bits(u128::from(place) << 64).into(),
        })
    }

    pub fn len(&self) -> usize {
        self.asns.len()
    }

    pub fn bytes(&self) -> usize {
        size_of_val(&*self.asns) + size_of_val(&*self.networks)
    }
}

/// Returns the number of a network in the index; `None` if it has none.
fn place(address: IpAddr) -> Option<u64> {
    let bits = match address {
        IpAddr::V4(address) => return Some(address.to_bits().into()),
        IpAddr::V6(address) => address.to_bits(),
    };
    match ((bits >> 64) as u64, bits as u64) {
        // IPv4 addresses lie at ::/96 (MaxMind DB file format, "IPv4 addresses in an IPv6 tree")
        (0, low) => u32::try_from(low).ok().map(u64::from),
        (high, 0) => u32::try_from(high).is_err().then_some(high),
        // within a /64: the first 64 bits do not lead to it
        _ => None,
    }
}

/// Keeps the first network of each AS, in ascending order, and at most [`MAX_ASNS`].
fn shorten(found: &mut Vec<(u32, u64)>) {
    // stable: the first network of an AS stays the first
    found.sort_by_key(|&(asn, _)| asn);
    found.dedup_by_key(|&mut (asn, _)| asn);
    found.truncate(MAX_ASNS);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_leads_back_to_its_network() {
        let index = |address: &str| {
            let network = place(address.parse().unwrap())?;
            Some(AsIndex {
                asns: [64_500].into(),
                networks: [network].into(),
            })
        };
        for (address, expected) in [
            ("192.0.2.0", Some("192.0.2.0")),
            ("::192.0.2.0", Some("192.0.2.0")),
            ("2001:db8::", Some("2001:db8::")),
            ("2001:db8:1:2::", Some("2001:db8:1:2::")),
            ("2001:db8:1:2:3::", None),
            ("0:0:1:2::", None),
            ("0:0:0:1::", None),
        ] {
            let found = index(address).and_then(|index| index.address(64_500));
            assert_eq!(found, expected.map(|a| a.parse().unwrap()), "{address}");
        }
        assert_eq!(index("192.0.2.0").unwrap().address(64_501), None);
    }

    #[test]
    fn the_first_network_of_an_as_counts() {
        let mut found = vec![(3, 30), (1, 11), (3, 31), (1, 10), (2, 20)];
        shorten(&mut found);
        assert_eq!(found, [(1, 11), (2, 20), (3, 30)]);
    }
}
