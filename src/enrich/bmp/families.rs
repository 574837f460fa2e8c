// SPDX-License-Identifier: AGPL-3.0-only
//! Address families (RFC 4760): the decoded ones, and the number of routes of the others.

use crate::enrich::rib::Family;

/// AFI and SAFI.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AfiSafi {
    pub afi: u16,
    pub safi: u8,
}

/// A family that is decoded: unicast, or labelled unicast (RFC 8277).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnicastFamily {
    pub family: Family,
    pub labelled: bool,
}

/// The values of the label `family` of `rfm_bmp_ignored_routes_total`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum IgnoredFamily {
    Ipv4Multicast,
    Ipv6Multicast,
    Ipv4Vpn,
    Ipv6Vpn,
    Ipv4Flowspec,
    Ipv6Flowspec,
    Evpn,
    Vpls,
    LinkState,
    RouteTarget,
    Mvpn,
    SrPolicy,
    Other,
}

/// The encoding of routes, as far as needed to find the end of each.
enum NlriEncoding {
    /// The length in bits, in one byte.
    Bits,
    /// The length in bytes, in one byte, or in two from 240 on (RFC 8955 section 4).
    Flowspec,
    /// A type and then a length in bytes; their own sizes are `kind` and `length` bytes.
    Typed { kind: usize, length: usize },
}

impl AfiSafi {
    pub const IPV4_UNICAST: Self = Self { afi: 1, safi: 1 };

    pub fn unicast(self) -> Option<UnicastFamily> {
        let family = match self.afi {
            1 => Family::Ipv4,
            2 => Family::Ipv6,
            _ => return None,
        };
        let labelled = match self.safi {
            1 => false,
            4 => true,
            _ => return None,
        };
        Some(UnicastFamily { family, labelled })
    }

    /// Returns the family of routes that are not decoded.
    pub fn ignored_family(self) -> IgnoredFamily {
        match (self.afi, self.safi) {
            (1, 2) => IgnoredFamily::Ipv4Multicast,
            (2, 2) => IgnoredFamily::Ipv6Multicast,
            (1, 128 | 129) => IgnoredFamily::Ipv4Vpn,
            (2, 128 | 129) => IgnoredFamily::Ipv6Vpn,
            (1, 133 | 134) => IgnoredFamily::Ipv4Flowspec,
            (2, 133 | 134) => IgnoredFamily::Ipv6Flowspec,
            (25, 70) => IgnoredFamily::Evpn,
            (25, 65) => IgnoredFamily::Vpls,
            (16388, _) => IgnoredFamily::LinkState,
            (1, 132) => IgnoredFamily::RouteTarget,
            (1 | 2, 5) => IgnoredFamily::Mvpn,
            (1 | 2, 73) => IgnoredFamily::SrPolicy,
            _ => IgnoredFamily::Other,
        }
    }

    /// Counts routes of a family that is not decoded; malformed bytes count as one. The result depends
    /// little on whether they have path identifiers, which the OPENs may not mention.
    pub fn count(self, bytes: &[u8], add_path: bool) -> u64 {
        let encoding = self.ignored_family().encoding();
        let counts = [add_path, !add_path].map(|ids| encoding.count(bytes, ids));
        counts.into_iter().flatten().next().unwrap_or(1)
    }
}

impl From<UnicastFamily> for AfiSafi {
    fn from(unicast: UnicastFamily) -> Self {
        Self {
            afi: match unicast.family {
                Family::Ipv4 => 1,
                Family::Ipv6 => 2,
            },
            safi: if unicast.labelled { 4 } else { 1 },
        }
    }
}

impl IgnoredFamily {
    pub const ALL: [Self; 13] = [
        Self::Ipv4Multicast,
        Self::Ipv6Multicast,
        Self::Ipv4Vpn,
        Self::Ipv6Vpn,
        Self::Ipv4Flowspec,
        Self::Ipv6Flowspec,
        Self::Evpn,
        Self::Vpls,
        Self::LinkState,
        Self::RouteTarget,
        Self::Mvpn,
        Self::SrPolicy,
        Self::Other,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::Ipv4Multicast => "ipv4_multicast",
            Self::Ipv6Multicast => "ipv6_multicast",
            Self::Ipv4Vpn => "ipv4_vpn",
            Self::Ipv6Vpn => "ipv6_vpn",
            Self::Ipv4Flowspec => "ipv4_flowspec",
            Self::Ipv6Flowspec => "ipv6_flowspec",
            Self::Evpn => "evpn",
            Self::Vpls => "vpls",
            Self::LinkState => "link_state",
            Self::RouteTarget => "route_target",
            Self::Mvpn => "mvpn",
            Self::SrPolicy => "sr_policy",
            Self::Other => "other",
        }
    }

    fn encoding(self) -> NlriEncoding {
        match self {
            Self::Ipv4Flowspec | Self::Ipv6Flowspec => NlriEncoding::Flowspec,
            Self::Evpn | Self::Mvpn => NlriEncoding::Typed { kind: 1, length: 1 },
            Self::Vpls => NlriEncoding::Typed { kind: 0, length: 2 },
            Self::LinkState => NlriEncoding::Typed { kind: 2, length: 2 },
            _ => NlriEncoding::Bits,
        }
    }
}

impl NlriEncoding {
    fn count(&self, mut bytes: &[u8], ids: bool) -> Option<u64> {
        let mut count = 0;
        while !bytes.is_empty() {
            let route = bytes.get(if ids { 4 } else { 0 }..)?;
            bytes = route.get(self.size(route)?..)?;
            count += 1;
        }
        Some(count)
    }

    /// Returns the size of the first route in bytes.
    fn size(&self, route: &[u8]) -> Option<usize> {
        match *self {
            Self::Bits => Some(1 + usize::from(*route.first()?).div_ceil(8)),
            Self::Flowspec => {
                let high = *route.first()?;
                if high < 0xf0 {
                    return Some(1 + usize::from(high));
                }
                let low = *route.get(1)?;
                Some(2 + usize::from(u16::from_be_bytes([high & 0x0f, low])))
            }
            Self::Typed { kind, length } => {
                let bytes = route.get(kind..kind + length)?;
                let value = bytes.iter().fold(0, |sum, &b| sum << 8 | usize::from(b));
                Some(kind + length + value)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn routes_of_each_encoding_are_counted() {
        for (afi, safi, bytes, count) in [
            // two VPN prefixes of 24 bits: label, distinguisher, 3 bytes
            (1, 128, [&[112][..], &[0; 14], &[112], &[0; 14]].concat(), 2),
            (2, 2, vec![32, 0x20, 1, 0xd, 0xb8, 0], 2),
            (
                25,
                70,
                [&[2, 33][..], &[0; 33], &[3, 17], &[0; 17]].concat(),
                2,
            ),
            (
                1,
                133,
                [&[3][..], &[1, 8, 10], &[0xf0, 4], &[1, 8, 10, 0]].concat(),
                2,
            ),
            (25, 65, [&[0, 17][..], &[0; 17]].concat(), 1),
            (16388, 71, [&[0, 1, 0, 9][..], &[0; 9]].concat(), 1),
            // bytes that end inside a route
            (25, 70, vec![2, 33, 0], 1),
        ] {
            assert_eq!(
                AfiSafi { afi, safi }.count(&bytes, false),
                count,
                "{afi}/{safi}"
            );
        }
    }

    #[test]
    fn path_identifiers_are_no_routes() {
        let evpn = AfiSafi { afi: 25, safi: 70 };
        let one = [&[0, 0, 0, 1, 3, 17][..], &[7; 17]].concat();
        let two = [&one[..], &one].concat();
        assert_eq!(evpn.count(&two, true), 2);
        assert_eq!(evpn.count(&two[4..23], true), 1);
    }

    #[test]
    fn labelled_and_other_unicast_is_read() {
        for (afi, safi, read) in [(1, 1, true), (2, 4, true), (1, 2, false), (3, 1, false)] {
            let family = AfiSafi { afi, safi };
            assert_eq!(family.unicast().is_some(), read);
            assert!(
                family
                    .unicast()
                    .is_none_or(|unicast| AfiSafi::from(unicast) == family)
            );
        }
    }
}
