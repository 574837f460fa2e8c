// SPDX-License-Identifier: AGPL-3.0-only
//! Defines an address prefix, as in allow lists and rules.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// An IPv4 or IPv6 prefix without host bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Prefix {
    address: IpAddr,
    length: u8,
}

impl Prefix {
    /// Returns the prefix that contains `address`; `length` must not exceed the maximum of the family.
    pub fn new(address: IpAddr, length: u8) -> Self {
        Self {
            address: network(address, length),
            length,
        }
    }

    pub fn address(&self) -> IpAddr {
        self.address
    }

    pub fn length(&self) -> u8 {
        self.length
    }

    pub fn is_ipv4(&self) -> bool {
        self.address.is_ipv4()
    }

    /// Returns the IPv4 prefix for an IPv4-mapped prefix (RFC 4291 section 2.5.5.2), and any other prefix
    /// unchanged. For lists of clients and networks, not for rules: a packet with a mapped address is IPv6.
    pub fn to_canonical(self) -> Self {
        const MAPPED: u8 = 96;
        match self.address.to_canonical() {
            address @ IpAddr::V4(_) if !self.is_ipv4() && self.length >= MAPPED => {
                Self::new(address, self.length - MAPPED)
            }
            _ => self,
        }
    }

    /// Returns whether the prefix contains `address`. A socket that serves both families reports IPv4 clients as
    /// ::ffff:a.b.c.d (RFC 4291 section 2.5.5.2): they count as IPv4.
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.is_ipv4() == address.is_ipv4() && network(address, self.length) == self.address
    }
}

/// Returns `address` with the bits beyond `length` cleared.
fn network(address: IpAddr, length: u8) -> IpAddr {
    match address {
        IpAddr::V4(a) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(length)).unwrap_or(0);
            Ipv4Addr::from_bits(a.to_bits() & mask).into()
        }
        IpAddr::V6(a) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(length)).unwrap_or(0);
            Ipv6Addr::from_bits(a.to_bits() & mask).into()
        }
    }
}

impl FromStr for Prefix {
    type Err = String;

    /// Parses "10.0.0.0/8". An address without a length is the prefix that contains only this address.
    fn from_str(s: &str) -> Result<Self, String> {
        let (address, length) = match s.split_once('/') {
            Some((address, length)) => (address, Some(length)),
            None => (s, None),
        };
        let address: IpAddr = address.parse().map_err(|_| "not an IP address")?;
        let max = if address.is_ipv4() { 32 } else { 128 };
        let length = match length {
            None => max,
            Some(l) => l
                .parse()
                .ok()
                .filter(|n| *n <= max)
                .ok_or_else(|| format!("the length is not a number from 0 to {max}"))?,
        };
        let prefix = Self::new(address, length);
        if prefix.address == address {
            Ok(prefix)
        } else {
            Err(format!(
                "has bits beyond its length, the prefix would be {prefix}"
            ))
        }
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.length)
    }
}

super::named::serialize_as_text!(Prefix);

#[cfg(test)]
mod tests {
    use super::*;

    fn prefix(s: &str) -> Prefix {
        s.parse().unwrap()
    }

    #[test]
    fn what_is_no_prefix_is_refused_with_the_reason() {
        for (text, reason) in [
            ("", "not an IP address"),
            ("10.0.0/8", "not an IP address"),
            ("::g/8", "not an IP address"),
            ("10.0.0.0/", "the length is not a number from 0 to 32"),
            ("10.0.0.0/33", "the length is not a number from 0 to 32"),
            ("10.0.0.0/-1", "the length is not a number from 0 to 32"),
            ("::/129", "the length is not a number from 0 to 128"),
            ("::/256", "the length is not a number from 0 to 128"),
            (
                "10.1.0.0/8",
                "has bits beyond its length, the prefix would be 10.0.0.0/8",
            ),
            (
                "2001:db8::1/32",
                "has bits beyond its length, the prefix would be 2001:db8::/32",
            ),
        ] {
            assert_eq!(text.parse::<Prefix>(), Err(reason.into()), "{text}");
        }
    }

    #[test]
    fn a_prefix_holds_its_addresses_and_no_other() {
        for (text, inside, outside) in [
            ("10.0.0.0/8", "10.255.255.255", "11.0.0.0"),
            ("10.0.0.0/8", "::ffff:10.1.2.3", "::ffff:11.1.2.3"),
            ("192.0.2.1", "192.0.2.1", "192.0.2.2"),
            ("0.0.0.0/0", "203.0.113.9", "::1"),
            ("::/0", "2001:db8::1", "192.0.2.1"),
            ("2001:db8::/33", "2001:db8:7fff::1", "2001:db8:8000::1"),
            ("::1", "::1", "::2"),
        ] {
            assert!(prefix(text).contains(inside.parse().unwrap()), "{text}");
            assert!(!prefix(text).contains(outside.parse().unwrap()), "{text}");
        }
    }

    #[test]
    fn an_ipv4_mapped_prefix_stands_for_the_ipv4_prefix() {
        for (text, expected) in [
            ("::ffff:10.0.0.0/104", "10.0.0.0/8"),
            ("::ffff:192.0.2.1", "192.0.2.1/32"),
            ("::ffff:0:0/96", "0.0.0.0/0"),
            // wider than the mapped addresses
            ("::fffe:0:0/95", "::fffe:0:0/95"),
            ("::/0", "::/0"),
            ("10.0.0.0/8", "10.0.0.0/8"),
            ("2001:db8::/32", "2001:db8::/32"),
        ] {
            assert_eq!(prefix(text).to_canonical().to_string(), expected, "{text}");
        }
    }

    #[test]
    fn printed_as_read() {
        for text in ["10.0.0.0/8", "0.0.0.0/0", "::/0", "2001:db8::/32"] {
            assert_eq!(prefix(text).to_string(), text);
        }
        assert_eq!(prefix("192.0.2.1").to_string(), "192.0.2.1/32");
        assert_eq!(prefix("::1").to_string(), "::1/128");
    }
}
