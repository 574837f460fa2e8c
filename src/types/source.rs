// SPDX-License-Identifier: AGPL-3.0-only
//! The result of the check of a source address, and the prefixes that are never valid sources.

use super::named::{Named, serialize_by_name};
use super::prefix::Prefix;

/// The plausibility of the source address of a packet that a neighbor handed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SourceState {
    /// The neighbor announces a route that covers the source, or one of the same origin AS.
    Feasible,
    /// rfm has no routes of the neighbor before import policy.
    Unknown,
    /// The source is in a prefix that no network may use in the internet.
    Bogon,
    /// The source is in a connected network of another interface.
    Local,
    /// No route covers the source.
    Unrouted,
    /// There are routes to the source, but the neighbor announces none of them.
    Infeasible,
}

impl SourceState {
    pub const ALL: [Self; 6] = [
        Self::Feasible,
        Self::Unknown,
        Self::Bogon,
        Self::Local,
        Self::Unrouted,
        Self::Infeasible,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::Feasible => "feasible",
            Self::Unknown => "unknown",
            Self::Bogon => "bogon",
            Self::Local => "local",
            Self::Unrouted => "unrouted",
            Self::Infeasible => "infeasible",
        }
    }

    /// Returns whether the source is invalid: the state is then the reason.
    pub fn is_invalid(self) -> bool {
        match self {
            Self::Feasible | Self::Unknown => false,
            Self::Bogon | Self::Local | Self::Unrouted | Self::Infeasible => true,
        }
    }
}

/// The result of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CheckedSource {
    pub state: SourceState,
    /// The AS of the neighbor; 0 if unknown.
    pub peer_asn: u32,
}

/// The use of the source check.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SourceCheckMode {
    #[default]
    Off,
    /// rfm counts the bytes of invalid sources.
    Count,
    /// The firewall also drops bogons and local prefixes.
    Enforce,
}

impl SourceCheckMode {
    pub const ALL: [Self; 3] = [Self::Off, Self::Count, Self::Enforce];

    pub fn name(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Count => "count",
            Self::Enforce => "enforce",
        }
    }
}

impl Named for SourceCheckMode {
    const ALL: &'static [Self] = &Self::ALL;

    fn name(self) -> &'static str {
        SourceCheckMode::name(self)
    }
}

serialize_by_name!(SourceCheckMode);

/// Prefixes that the IANA special-purpose registries (RFC 6890) do not permit as sources in the internet, and multicast
/// and reserved addresses. Link-local and unspecified addresses are missing: DHCP, ARP and neighbor discovery use them.
const BOGONS: [&str; 23] = [
    // "this network" (RFC 791), without 0.0.0.0
    "0.0.0.0/8",
    "10.0.0.0/8",
    "100.64.0.0/10",
    "127.0.0.0/8",
    "172.16.0.0/12",
    "192.0.0.0/24",
    "192.0.2.0/24",
    "192.168.0.0/16",
    "198.18.0.0/15",
    "198.51.100.0/24",
    "203.0.113.0/24",
    "224.0.0.0/4",
    "240.0.0.0/4",
    "::1/128",
    // translation within a network (RFC 8215)
    "64:ff9b:1::/48",
    "100::/64",
    "2001:2::/48",
    "2001:10::/28",
    "2001:db8::/32",
    // documentation (RFC 9637), segment routing (RFC 9602)
    "3fff::/20",
    "5f00::/16",
    "fc00::/7",
    "ff00::/8",
];

/// Returns the default list of bogons.
pub fn bogons() -> Vec<Prefix> {
    let parsed = BOGONS.iter().map(|text| text.parse());
    parsed.filter_map(Result::ok).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bogon_is_a_prefix() {
        let texts: Vec<_> = bogons().iter().map(Prefix::to_string).collect();
        assert_eq!(texts, BOGONS);
    }
}
