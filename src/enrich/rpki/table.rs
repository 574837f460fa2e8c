// SPDX-License-Identifier: AGPL-3.0-only
//! The set of Validated ROA Payloads (VRPs) in memory, and route origin validation by RFC 6811 (pure).
//!
//! The VRPs of a family are sorted by address and length. Prefixes contain each other or are disjoint, so that the
//! VRPs that cover a prefix are a chain: each entry has the index of the next shorter one (its parent). A lookup is a
//! binary search within a part of the address space, and a walk along the chain.

use std::collections::HashMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::types::validity::RouteValidity;

/// Maximum number of VRPs; in 2026 all trust anchors together have about 800,000.
pub const MAX_VRPS: usize = 4_000_000;
/// Maximum number of VRPs that cover one prefix: each lookup reads all of them.
pub const MAX_COVERING: u16 = 1024;

const NO_PARENT: u32 = u32::MAX;
/// Parts of the address space of a family, in which a binary search begins.
const BUCKETS: usize = 1 << 16;

/// An address of one family as a number.
pub trait AddressBits: Copy + Ord + fmt::Debug {
    const LENGTH: u8;

    fn masked(self, length: u8) -> Self;
    /// Returns the part of the address space, below [`BUCKETS`]; it never decreases with the address.
    fn bucket(self) -> usize;
    fn address(self) -> IpAddr;
}

impl AddressBits for u32 {
    const LENGTH: u8 = 32;

    fn masked(self, length: u8) -> Self {
        self & Self::MAX.checked_shl(u32::from(32 - length)).unwrap_or(0)
    }

    fn bucket(self) -> usize {
        (self >> 16) as usize
    }

    fn address(self) -> IpAddr {
        Ipv4Addr::from(self).into()
    }
}

impl AddressBits for u128 {
    const LENGTH: u8 = 128;

    fn masked(self, length: u8) -> Self {
        self & Self::MAX.checked_shl(u32::from(128 - length)).unwrap_or(0)
    }

    /// Of 2000::/3, which has nearly all prefixes, the 16 bits that follow.
    fn bucket(self) -> usize {
        match self >> 125 {
            0 => 0,
            1 => (self >> 109) as usize & (BUCKETS - 1),
            _ => BUCKETS - 1,
        }
    }

    fn address(self) -> IpAddr {
        Ipv6Addr::from(self).into()
    }
}

/// A VRP: the AS may originate the prefix, and longer ones up to the maximum length.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Vrp<A> {
    pub address: A,
    pub length: u8,
    pub max_length: u8,
    pub asn: u32,
}

/// Why a VRP or a set of VRPs is not used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VrpError {
    MaxLength { prefix: String, max_length: u64 },
    HostBits(String),
    TooMany,
    TooDeep(String),
}

impl fmt::Display for VrpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MaxLength { prefix, max_length } => {
                write!(f, "the maximum length {max_length} does not fit {prefix}")
            }
            Self::HostBits(prefix) => write!(f, "{prefix} has bits beyond its length"),
            Self::TooMany => write!(f, "more than {MAX_VRPS} VRPs"),
            Self::TooDeep(prefix) => write!(f, "more than {MAX_COVERING} VRPs cover {prefix}"),
        }
    }
}

/// VRPs in any order, as they are received.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VrpList {
    pub ipv4: Vec<Vrp<u32>>,
    pub ipv6: Vec<Vrp<u128>>,
}

impl VrpList {
    /// Adds a VRP if it is consistent and if there is room for it.
    pub fn push(
        &mut self,
        address: IpAddr,
        length: u8,
        max_length: u64,
        asn: u32,
    ) -> Result<(), VrpError> {
        if self.ipv4.len() + self.ipv6.len() >= MAX_VRPS {
            return Err(VrpError::TooMany);
        }
        match address {
            IpAddr::V4(address) => {
                self.ipv4
                    .push(checked(u32::from(address), length, max_length, asn)?)
            }
            IpAddr::V6(address) => {
                self.ipv6
                    .push(checked(u128::from(address), length, max_length, asn)?)
            }
        }
        Ok(())
    }
}

fn checked<A: AddressBits>(
    address: A,
    length: u8,
    max_length: u64,
    asn: u32,
) -> Result<Vrp<A>, VrpError> {
    let prefix = || format!("{}/{length}", address.address());
    let fits = u64::from(length) <= max_length && max_length <= u64::from(A::LENGTH);
    if length > A::LENGTH || !fits {
        return Err(VrpError::MaxLength {
            prefix: prefix(),
            max_length,
        });
    }
    if address.masked(length) != address {
        return Err(VrpError::HostBits(prefix()));
    }
    Ok(Vrp {
        address,
        length,
        max_length: max_length as u8,
        asn,
    })
}

/// The VRPs of both families.
#[derive(Debug, Default)]
pub struct VrpTable {
    ipv4: FamilyTable<u32>,
    ipv6: FamilyTable<u128>,
}

/// The VRPs of a family: the addresses are apart, since the binary search reads only them.
#[derive(Debug, Default)]
struct FamilyTable<A> {
    /// The index of the first VRP of each bucket, and the end; empty without VRPs.
    buckets: Box<[u32]>,
    addresses: Box<[A]>,
    entries: Box<[Entry]>,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    asn: u32,
    /// The VRP of the same prefix before this one, otherwise the last one of the next shorter prefix.
    parent: u32,
    length: u8,
    max_length: u8,
}

impl VrpTable {
    pub fn build(list: VrpList) -> Result<Self, VrpError> {
        Ok(Self {
            ipv4: FamilyTable::build(list.ipv4)?,
            ipv6: FamilyTable::build(list.ipv6)?,
        })
    }

    /// Returns the number of VRPs for IPv4 and IPv6.
    pub fn counts(&self) -> [usize; 2] {
        [self.ipv4.entries.len(), self.ipv6.entries.len()]
    }

    /// Returns whether the set has this VRP.
    pub fn contains(&self, address: IpAddr, length: u8, max_length: u8, asn: u32) -> bool {
        match address {
            IpAddr::V4(address) => self.ipv4.contains(&Vrp {
                address: u32::from(address),
                length,
                max_length,
                asn,
            }),
            IpAddr::V6(address) => self.ipv6.contains(&Vrp {
                address: u128::from(address),
                length,
                max_length,
                asn,
            }),
        }
    }

    /// Returns the VRPs after changes: true adds a VRP, false removes it.
    pub fn changed(
        &self,
        changes: &HashMap<(IpAddr, u8, u8, u32), bool>,
    ) -> Result<VrpList, VrpError> {
        let is_removed = |address: IpAddr, length, max_length, asn| {
            changes.get(&(address, length, max_length, asn)) == Some(&false)
        };
        let mut list = VrpList::default();
        let ipv4 = self.ipv4.iter();
        let ipv6 = self.ipv6.iter();
        list.ipv4.extend(
            ipv4.filter(|vrp| {
                !is_removed(vrp.address.address(), vrp.length, vrp.max_length, vrp.asn)
            }),
        );
        list.ipv6.extend(
            ipv6.filter(|vrp| {
                !is_removed(vrp.address.address(), vrp.length, vrp.max_length, vrp.asn)
            }),
        );
        for (&(address, length, max_length, asn), added) in changes {
            if *added {
                list.push(address, length, max_length.into(), asn)?;
            }
        }
        Ok(list)
    }

    /// Returns the validation state of the route of `length` to an address. Origin 0 stands for a path that ends in an
    /// AS_SET: no VRP matches it (RFC 6811 section 2).
    pub fn validate(&self, address: IpAddr, length: u8, origin: u32) -> RouteValidity {
        match address {
            IpAddr::V4(address) => self.ipv4.validate(u32::from(address), length, origin),
            IpAddr::V6(address) => self.ipv6.validate(u128::from(address), length, origin),
        }
    }
}

/// Returns the index of the first VRP of each bucket, and the end.
fn buckets<A: AddressBits>(vrps: &[Vrp<A>]) -> Box<[u32]> {
    if vrps.is_empty() {
        return Box::default();
    }
    let mut starts = Vec::with_capacity(BUCKETS + 1);
    for (index, vrp) in vrps.iter().enumerate() {
        let bucket = vrp.address.bucket();
        // the buckets since the previous VRP begin here
        starts.resize(starts.len().max(bucket + 1), index as u32);
    }
    starts.resize(BUCKETS + 1, vrps.len() as u32);
    starts.into()
}

impl<A: AddressBits> FamilyTable<A> {
    fn iter(&self) -> impl Iterator<Item = Vrp<A>> {
        let entries = self.addresses.iter().zip(&self.entries);
        entries.map(|(&address, entry)| Vrp {
            address,
            length: entry.length,
            max_length: entry.max_length,
            asn: entry.asn,
        })
    }

    fn contains(&self, vrp: &Vrp<A>) -> bool {
        let first = self.addresses.partition_point(|held| *held < vrp.address);
        let same = self.addresses[first..].iter().zip(&self.entries[first..]);
        let mut same = same.take_while(|(address, _)| **address == vrp.address);
        same.any(|(_, entry)| {
            (entry.length, entry.max_length, entry.asn) == (vrp.length, vrp.max_length, vrp.asn)
        })
    }

    fn build(mut vrps: Vec<Vrp<A>>) -> Result<Self, VrpError> {
        vrps.sort_unstable();
        vrps.dedup();
        let mut entries: Vec<Entry> = Vec::with_capacity(vrps.len());
        // the entries that cover the current one, the shortest first
        let mut covering: Vec<u32> = Vec::new();
        for (index, vrp) in vrps.iter().enumerate() {
            while let Some(&last) = covering.last() {
                let held = &vrps[last as usize];
                if held.length <= vrp.length && vrp.address.masked(held.length) == held.address {
                    break;
                }
                covering.pop();
            }
            if covering.len() >= usize::from(MAX_COVERING) {
                let prefix = format!("{}/{}", vrp.address.address(), vrp.length);
                return Err(VrpError::TooDeep(prefix));
            }
            entries.push(Entry {
                asn: vrp.asn,
                parent: covering.last().copied().unwrap_or(NO_PARENT),
                length: vrp.length,
                max_length: vrp.max_length,
            });
            covering.push(index as u32);
        }
        Ok(Self {
            buckets: buckets(&vrps),
            addresses: vrps.iter().map(|vrp| vrp.address).collect(),
            entries: entries.into(),
        })
    }

    fn validate(&self, address: A, length: u8, origin: u32) -> RouteValidity {
        let length = length.min(A::LENGTH);
        let bits = address.masked(length);
        // all that cover the prefix are this entry or its ancestors: those after it begin at a higher address
        let bucket = bits.bucket();
        let (first, end) = match self.buckets.get(bucket..bucket + 2) {
            Some(ends) => (ends[0] as usize, ends[1] as usize),
            None => (0, 0),
        };
        let in_bucket = self.addresses[first..end].partition_point(|held| *held <= bits);
        let after = first + in_bucket;
        let mut next = after.checked_sub(1).map_or(NO_PARENT, |last| last as u32);
        let mut state = RouteValidity::NotFound;
        while next != NO_PARENT {
            let entry = &self.entries[next as usize];
            // the ancestors of a VRP that covers the prefix cover it too
            let covers = state == RouteValidity::Invalid
                || entry.length <= length
                    && bits.masked(entry.length) == self.addresses[next as usize];
            if covers {
                // AS 0 in a VRP matches no route (RFC 6483 section 4)
                if entry.asn == origin && origin != 0 && length <= entry.max_length {
                    return RouteValidity::Valid;
                }
                state = RouteValidity::Invalid;
            }
            next = entry.parent;
        }
        state
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use RouteValidity::{Invalid, NotFound, Valid};

    fn list(vrps: &[(&str, u64, u32)]) -> VrpList {
        let mut list = VrpList::default();
        for (prefix, max_length, asn) in vrps {
            let (address, length) = split(prefix);
            list.push(address, length, *max_length, *asn).unwrap();
        }
        list
    }

    fn split(prefix: &str) -> (IpAddr, u8) {
        let (address, length) = prefix.split_once('/').unwrap();
        (address.parse().unwrap(), length.parse().unwrap())
    }

    #[test]
    fn routes_are_validated_by_rfc_6811() {
        let table = VrpTable::build(list(&[
            ("10.0.0.0/8", 16, 64500),
            ("10.0.0.0/8", 8, 64501),
            ("10.1.0.0/16", 24, 64502),
            ("10.9.0.0/16", 16, 0),
            ("0.0.0.0/0", 0, 64509),
            ("2001:db8::/32", 48, 64500),
            ("2001:db8::/32", 32, 64500),
            ("2001:db8:1::/48", 128, 64503),
        ]))
        .unwrap();
        assert_eq!(table.counts(), [5, 3]);
        for (route, origin, expected) in [
            ("10.0.0.0/8", 64500, Valid),
            ("10.0.0.0/8", 64501, Valid),
            ("10.0.0.0/9", 64501, Invalid),
            ("10.2.0.0/16", 64500, Valid),
            ("10.2.0.0/17", 64500, Invalid),
            ("10.1.0.0/16", 64500, Valid),
            ("10.1.2.0/24", 64502, Valid),
            ("10.1.2.0/25", 64502, Invalid),
            ("10.1.2.0/24", 64500, Invalid),
            // the end of the path is an AS_SET
            ("10.1.2.0/24", 0, Invalid),
            ("10.9.0.0/16", 0, Invalid),
            ("10.9.0.0/16", 64500, Valid),
            ("0.0.0.0/0", 64509, Valid),
            // covered by 0.0.0.0/0
            ("11.0.0.0/8", 64500, Invalid),
            ("2001:db8::/32", 64500, Valid),
            ("2001:db8:2::/48", 64500, Valid),
            ("2001:db8:2::/49", 64500, Invalid),
            ("2001:db8:1::1/128", 64503, Valid),
            ("2001:db8:1::1/128", 64500, Invalid),
            // a VRP longer than the route does not cover it
            ("2001:d00::/24", 64500, NotFound),
            ("2001:db9::/32", 64500, NotFound),
            ("::/0", 64500, NotFound),
        ] {
            let (address, length) = split(route);
            let found = table.validate(address, length, origin);
            assert_eq!(found, expected, "{route} of AS{origin}");
        }
        let empty = VrpTable::default();
        assert_eq!(empty.validate([10, 0, 0, 1].into(), 24, 1), NotFound);
    }

    #[test]
    fn inconsistent_vrps_are_refused() {
        let mut list = VrpList::default();
        let mut push = |prefix: &str, max_length| {
            let (address, length) = split(prefix);
            let result = list.push(address, length, max_length, 1);
            result.map_err(|error| error.to_string())
        };
        assert_eq!(push("10.0.0.0/24", 32), Ok(()));
        for (prefix, max_length, text) in [
            (
                "10.0.0.0/24",
                23,
                "the maximum length 23 does not fit 10.0.0.0/24",
            ),
            (
                "10.0.0.0/24",
                33,
                "the maximum length 33 does not fit 10.0.0.0/24",
            ),
            (
                "10.0.0.0/33",
                33,
                "the maximum length 33 does not fit 10.0.0.0/33",
            ),
            ("10.0.0.1/24", 24, "10.0.0.1/24 has bits beyond its length"),
            (
                "2001:db8::1/64",
                64,
                "2001:db8::1/64 has bits beyond its length",
            ),
            ("::/129", 129, "the maximum length 129 does not fit ::/129"),
        ] {
            assert_eq!(push(prefix, max_length), Err(text.to_owned()));
        }
    }

    #[test]
    fn the_number_of_covering_vrps_is_limited() {
        let with = |count: u32| {
            let vrps = (1..=count).map(|asn| Vrp {
                address: 10 << 24,
                length: 8,
                max_length: 8,
                asn,
            });
            VrpTable::build(VrpList {
                ipv4: vrps.collect(),
                ipv6: Vec::new(),
            })
        };
        assert!(with(u32::from(MAX_COVERING)).is_ok());
        assert_eq!(
            with(u32::from(MAX_COVERING) + 1).unwrap_err().to_string(),
            "more than 1024 VRPs cover 10.0.0.0/8"
        );
    }

    /// Compares the table with a search through all VRPs.
    #[test]
    fn random_tables_agree_with_a_linear_search() {
        let mut state = 7_u64;
        let mut random = move |below: u64| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state % below
        };
        let mut results = [0; 4];
        for _ in 0..200 {
            let mut list = VrpList::default();
            for _ in 0..random(60) {
                let length = random(13) as u8;
                let address = ((random(1 << 12) as u32) << 20).masked(length);
                let max_length = u64::from(length) + random(5);
                let asn = random(4) as u32;
                list.push(address.address(), length, max_length, asn)
                    .unwrap();
            }
            let table = VrpTable::build(list.clone()).unwrap();
            for _ in 0..200 {
                let length = random(17) as u8;
                let bits = ((random(1 << 16) as u32) << 16).masked(length);
                let origin = random(4) as u32;
                let covering = list
                    .ipv4
                    .iter()
                    .filter(|vrp| vrp.length <= length && bits.masked(vrp.length) == vrp.address);
                let covering: Vec<_> = covering.collect();
                let matches =
                    |vrp: &&Vrp<u32>| vrp.asn == origin && origin > 0 && length <= vrp.max_length;
                let expected = match covering.iter().any(matches) {
                    true => Valid,
                    false if covering.is_empty() => NotFound,
                    false => Invalid,
                };
                assert_eq!(table.validate(bits.address(), length, origin), expected);
                results[expected as usize] += 1;
            }
        }
        assert!(results[1..].iter().all(|n| *n > 1000), "{results:?}");
    }
}
