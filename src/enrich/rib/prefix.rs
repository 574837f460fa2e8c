// SPDX-License-Identifier: AGPL-3.0-only
//! The prefixes of routes.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Family {
    Ipv4,
    Ipv6,
}

impl Family {
    pub const ALL: [Self; 2] = [Self::Ipv4, Self::Ipv6];

    /// Returns the length of an address in bits.
    pub fn bits(self) -> u8 {
        match self {
            Self::Ipv4 => 32,
            Self::Ipv6 => 128,
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Ipv4 => "ipv4",
            Self::Ipv6 => "ipv6",
        }
    }
}

/// A prefix of either family, without host bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RoutePrefix {
    family: Family,
    length: u8,
    /// The address from the highest bit on, also for IPv4.
    bits: u128,
}

impl RoutePrefix {
    /// Clears the bits beyond `length`, which is at most the family's.
    pub fn new(family: Family, bits: u128, length: u8) -> Self {
        debug_assert!(length <= family.bits());
        let bits = bits & mask(length);
        Self {
            family,
            length,
            bits,
        }
    }

    /// Returns the prefix of this length that contains `address`; an IPv4-mapped address counts as IPv4.
    pub fn of(address: IpAddr, length: u8) -> Self {
        let (family, bits) = split(address);
        Self::new(family, bits, length.min(family.bits()))
    }

    pub fn family(self) -> Family {
        self.family
    }

    pub fn length(self) -> u8 {
        self.length
    }

    pub fn bits(self) -> u128 {
        self.bits
    }

    pub fn address(self) -> IpAddr {
        match self.family {
            Family::Ipv4 => Ipv4Addr::from_bits((self.bits >> 96) as u32).into(),
            Family::Ipv6 => Ipv6Addr::from_bits(self.bits).into(),
        }
    }
}

/// Returns family and bits of an address; an IPv4-mapped address counts as IPv4.
pub fn split(address: IpAddr) -> (Family, u128) {
    match address.to_canonical() {
        IpAddr::V4(a) => (Family::Ipv4, u128::from(a.to_bits()) << 96),
        IpAddr::V6(a) => (Family::Ipv6, a.to_bits()),
    }
}

/// Returns a mask of the highest `length` bits.
pub fn mask(length: u8) -> u128 {
    u128::MAX
        .checked_shl(128 - u32::from(length.min(128)))
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_bits_are_cleared_in_both_families() {
        for (address, length, expected) in [
            ("10.1.2.3", 8, "10.0.0.0"),
            ("10.1.2.3", 0, "0.0.0.0"),
            ("10.1.2.3", 32, "10.1.2.3"),
            ("::ffff:10.1.2.3", 16, "10.1.0.0"),
            ("2001:db8::1", 32, "2001:db8::"),
            ("2001:db8::1", 128, "2001:db8::1"),
        ] {
            let (family, bits) = split(address.parse().unwrap());
            let prefix = RoutePrefix::new(family, bits, length);
            assert_eq!(prefix.address(), expected.parse::<IpAddr>().unwrap());
        }
    }
}
