// SPDX-License-Identifier: AGPL-3.0-only
//! Names of IP protocols, in all commands and in the configuration.

use std::fmt;
use std::str::FromStr;

/// A protocol number of IP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Protocol(pub u8);

impl Protocol {
    /// The protocols that have a name; any other is written as its number.
    pub const NAMES: &'static [(&'static str, u8)] = &[
        ("icmp", 1),
        ("igmp", 2),
        ("tcp", 6),
        ("udp", 17),
        ("dccp", 33),
        ("gre", 47),
        ("esp", 50),
        ("ah", 51),
        ("icmpv6", 58),
        ("ospf", 89),
        ("sctp", 132),
        ("udplite", 136),
    ];
    /// Other spellings that are accepted.
    const ALIASES: &'static [(&'static str, u8)] = &[("icmp6", 58), ("ipv6-icmp", 58)];

    pub fn is_tcp(self) -> bool {
        self.0 == 6
    }

    /// Returns whether this is ICMP or ICMPv6.
    pub fn is_icmp(self) -> bool {
        matches!(self.0, 1 | 58)
    }

    /// Returns whether its packets have ports.
    pub fn has_ports(self) -> bool {
        matches!(self.0, 6 | 17 | 33 | 132 | 136)
    }
}

impl FromStr for Protocol {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut names = Self::NAMES.iter().chain(Self::ALIASES);
        let named = names.find(|(name, _)| name.eq_ignore_ascii_case(text));
        named
            .map(|(_, number)| *number)
            .or_else(|| text.parse().ok())
            .map(Self)
            .ok_or("neither a known name nor a number from 0 to 255")
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match Self::NAMES.iter().find(|(_, number)| *number == self.0) {
            Some((name, _)) => f.write_str(name),
            None => write!(f, "{}", self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_aliases_and_numbers_are_read() {
        for (text, number, shown) in [
            ("tcp", 6, "tcp"),
            ("UDP", 17, "udp"),
            ("icmpv6", 58, "icmpv6"),
            ("icmp6", 58, "icmpv6"),
            ("58", 58, "icmpv6"),
            ("89", 89, "ospf"),
            ("253", 253, "253"),
        ] {
            let read: Protocol = text.parse().unwrap();
            assert_eq!((read.0, &*read.to_string()), (number, shown), "{text}");
        }
        for text in ["", "x", "256", "-1"] {
            assert!(text.parse::<Protocol>().is_err(), "{text}");
        }
    }
}
