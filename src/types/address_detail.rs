// SPDX-License-Identifier: AGPL-3.0-only
//! Defines how much of the addresses of hosts an operator may show.

use std::net::IpAddr;

use super::named::{Named, serialize_by_name};
use super::prefix::Prefix;

/// The detail of the addresses that the page and the commands show.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AddressDetail {
    #[default]
    Full,
    /// A /24 or a /48.
    Prefix,
    Absent,
}

impl AddressDetail {
    /// Returns what may be shown of an address; a single address is a prefix of its full length.
    pub fn of(self, address: IpAddr) -> Option<Prefix> {
        let length = match (self, address) {
            (Self::Full, IpAddr::V4(_)) => 32,
            (Self::Full, IpAddr::V6(_)) => 128,
            (Self::Prefix, address) => short_length(address),
            (Self::Absent, _) => return None,
        };
        Some(Prefix::new(address, length))
    }

    /// Returns what may be shown of an address, as text; empty if nothing.
    pub fn text(self, address: IpAddr) -> String {
        match (self, self.of(address)) {
            (Self::Full, _) => address.to_string(),
            (_, prefix) => prefix.map(|prefix| prefix.to_string()).unwrap_or_default(),
        }
    }

    /// Returns the part of a prefix that may be shown.
    pub fn limit(self, prefix: Prefix) -> Option<Prefix> {
        let limit = self.of(prefix.address())?;
        Some(match limit.length() < prefix.length() {
            true => limit,
            false => prefix,
        })
    }
}

/// Returns the length of the prefixes that stand for hosts: that of the smallest networks in the global routing table.
pub fn short_length(address: IpAddr) -> u8 {
    if address.is_ipv4() { 24 } else { 48 }
}

impl Named for AddressDetail {
    const ALL: &'static [Self] = &[Self::Full, Self::Prefix, Self::Absent];

    fn name(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Prefix => "prefix",
            Self::Absent => "none",
        }
    }
}

serialize_by_name!(AddressDetail);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_complete_a_prefix_or_absent() {
        let v4: IpAddr = "192.0.2.77".parse().unwrap();
        let v6: IpAddr = "2001:db8:1:2::77".parse().unwrap();
        for (detail, texts) in [
            (AddressDetail::Full, ["192.0.2.77", "2001:db8:1:2::77"]),
            (AddressDetail::Prefix, ["192.0.2.0/24", "2001:db8:1::/48"]),
            (AddressDetail::Absent, ["", ""]),
        ] {
            assert_eq!([v4, v6].map(|address| detail.text(address)), texts);
        }
        let limit = |detail: AddressDetail, text: &str| {
            let limit = detail.limit(text.parse().unwrap());
            limit.map(|prefix| prefix.to_string())
        };
        let host = "192.0.2.77/32";
        assert_eq!(limit(AddressDetail::Full, host).as_deref(), Some(host));
        let short = Some("192.0.2.0/24");
        assert_eq!(limit(AddressDetail::Prefix, host).as_deref(), short);
        let large = "192.0.0.0/16";
        assert_eq!(limit(AddressDetail::Prefix, large).as_deref(), Some(large));
        assert_eq!(limit(AddressDetail::Absent, large), None);
    }
}
