// SPDX-License-Identifier: AGPL-3.0-only
//! BGP UPDATE (RFC 4271 section 4.3): the positions of the prefixes, and the relevant attributes.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::enrich::rib::{AsPath, Attributes};

use super::cursor::{Cursor, TruncatedError};
use super::families::{AfiSafi, UnicastFamily};
use super::local_ases::LocalAses;
use super::path::{self, AsnWidth};

const UPDATE: u8 = 2;
const EXTENDED_LENGTH: u8 = 0x10;
/// The BLACKHOLE community (RFC 7999).
const BLACKHOLE: u32 = 0xffff_029a;
/// The LLGR_STALE community (RFC 9494).
const LLGR_STALE: u32 = 0xffff_0006;
const AS_TRANS: u32 = 23456;

mod code {
    pub const ORIGIN: u8 = 1;
    pub const AS_PATH: u8 = 2;
    pub const NEXT_HOP: u8 = 3;
    pub const MULTI_EXIT_DISC: u8 = 4;
    pub const LOCAL_PREF: u8 = 5;
    pub const AGGREGATOR: u8 = 7;
    pub const COMMUNITIES: u8 = 8;
    pub const ORIGINATOR_ID: u8 = 9;
    pub const CLUSTER_LIST: u8 = 10;
    pub const MP_REACH: u8 = 14;
    pub const MP_UNREACH: u8 = 15;
    pub const AS4_PATH: u8 = 17;
    pub const AS4_AGGREGATOR: u8 = 18;
    pub const LARGE_COMMUNITIES: u8 = 32;
}

/// Why an UPDATE is not applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpdateError {
    Truncated(TruncatedError),
    /// The message is another BGP message.
    Kind(u8),
    /// The length in the BGP header exceeds that of the message.
    Length {
        header: u16,
        arrived: usize,
    },
}

/// An UPDATE, split into its parts.
#[derive(Debug)]
pub struct Update<'a> {
    /// IPv4 prefixes in the fields of RFC 4271.
    pub withdrawn: &'a [u8],
    pub announced: &'a [u8],
    /// Families in MP_REACH_NLRI and MP_UNREACH_NLRI (RFC 4760).
    pub reach: Option<Reach<'a>>,
    pub unreach: Option<(AfiSafi, &'a [u8])>,
    raw: RawAttributes<'a>,
    /// An attribute is malformed: announced routes count as withdrawn (RFC 7606 section 2).
    pub malformed: bool,
    /// Bytes follow the UPDATE in the BMP message (Huawei VRP 8.230 appends a TLV).
    pub trailing: bool,
}

#[derive(Clone, Copy, Debug)]
pub struct Reach<'a> {
    pub family: AfiSafi,
    pub next_hop: Option<IpAddr>,
    pub prefixes: &'a [u8],
}

#[derive(Debug, Default)]
struct RawAttributes<'a> {
    path: Option<&'a [u8]>,
    path4: Option<&'a [u8]>,
    /// The aggregator is not AS_TRANS.
    short_aggregator: bool,
    aggregator4: bool,
    next_hop: Option<IpAddr>,
    med: Option<u32>,
    local_pref: Option<u32>,
    origin: u8,
    originator_id: Option<u32>,
    cluster_list: &'a [u8],
    communities: &'a [u8],
    large_communities: &'a [u8],
    /// ORIGINATOR_ID or CLUSTER_LIST is malformed.
    bad_reflection: bool,
}

/// The properties of the router and the peer that are needed to decode an UPDATE.
#[derive(Clone, Copy, Debug)]
pub struct UpdateContext<'a> {
    pub width: AsnWidth,
    /// The AS of a route with an empty path; 0 if unknown.
    pub local_asn: u32,
    /// The router's own BGP identifier.
    pub bgp_id: u32,
    pub internal: bool,
    /// The routes are of the router itself: they need no AS_PATH (RFC 9069 section 5.1; GoBGP writes none).
    pub of_router: bool,
    /// The router prepends its own ASes to the paths that it has received; the value is the peer's AS, 0 in
    /// a Loc-RIB.
    pub prepends: Option<u32>,
    /// The communities that request a blackhole.
    pub blackhole_communities: &'a [u32],
}

impl<'a> Update<'a> {
    /// Splits a complete BGP message into its parts.
    pub fn read(bytes: &'a [u8]) -> Result<Self, UpdateError> {
        let mut cursor = Cursor::new(bytes);
        // the marker: BMP senders fill it with arbitrary values
        cursor.take(16)?;
        let length = cursor.u16()?;
        let Some(update) = bytes.get(..length.into()) else {
            return Err(UpdateError::Length {
                header: length,
                arrived: bytes.len(),
            });
        };
        let mut cursor = Cursor::new(update.get(18..).unwrap_or_default());
        let kind = cursor.u8()?;
        if kind != UPDATE {
            return Err(UpdateError::Kind(kind));
        }
        let length = cursor.u16()?;
        let withdrawn = cursor.take(length.into())?;
        let length = cursor.u16()?;
        let attributes = cursor.take(length.into())?;
        let mut update = Self {
            withdrawn,
            announced: cursor.rest(),
            reach: None,
            unreach: None,
            raw: RawAttributes::default(),
            malformed: false,
            trailing: update.len() < bytes.len(),
        };
        // if an attribute is truncated, the attributes after it are lost, but not those before it
        update.malformed |= update.attributes(attributes).is_err();
        Ok(update)
    }

    /// Returns the family of an End-of-RIB. An empty UPDATE is the peer's End-of-RIB for IPv4 (RFC 4724
    /// section 2).
    pub fn is_end_of_rib(&self) -> Option<UnicastFamily> {
        let plain = self.withdrawn.is_empty() && self.announced.is_empty();
        match (plain, self.reach, self.unreach) {
            (true, None, None) if self.raw.path.is_none() && !self.malformed => {
                AfiSafi::IPV4_UNICAST.unicast()
            }
            (true, None, Some((family, []))) => family.unicast(),
            _ => None,
        }
    }

    /// Returns the attributes that the announced routes share, or `None` without a usable path. `next_hop`
    /// is NEXT_HOP; the caller replaces it for a family in MP_REACH_NLRI.
    pub fn attributes_of(
        &self,
        context: &UpdateContext<'_>,
        local_ases: &mut LocalAses,
    ) -> Option<Attributes> {
        let raw = &self.raw;
        // RFC 7606 sections 7.9 and 7.10: those of an external peer are ignored
        if self.malformed || (raw.bad_reflection && context.internal) {
            return None;
        }
        let mut path = match raw.path {
            Some(_) => raw.path(context.width)?,
            None if context.of_router => AsPath::default(),
            None => return None,
        };
        let local_asn = context.local_asn;
        let mut peer_asn = path.peer_asn(local_asn);
        if let Some(peer) = context.prepends {
            local_ases.remove_prepended(&mut path, peer);
            peer_asn = local_ases.peer_asn(&path, local_asn);
        }
        let own = [local_asn, local_ases.asn()];
        let communities: Vec<_> = words(raw.communities)
            .map(|[community]| community)
            .collect();
        let cluster_list: Vec<_> = words(raw.cluster_list).map(|[cluster]| cluster).collect();
        let carries = |community| communities.contains(&community);
        let bgp_id = Some(context.bgp_id).filter(|id| *id != 0);
        let mut attributes = Attributes {
            origin_asn: path.origin(local_asn),
            peer_asn,
            path_length: path.length(),
            local_pref: raw.local_pref,
            med: raw.med,
            next_hop: raw.next_hop,
            origin: raw.origin,
            originator_id: raw.originator_id,
            llgr_stale: carries(LLGR_STALE),
            looped: received(&path, context, peer_asn).any(|asn| own.contains(asn))
                || bgp_id
                    .is_some_and(|id| raw.originator_id == Some(id) || cluster_list.contains(&id)),
            of_member: path.begins_in_confederation(),
            blackhole: carries(BLACKHOLE),
            requests_blackhole: context.blackhole_communities.iter().copied().any(carries),
            path,
            cluster_list,
            large_communities: words(raw.large_communities).collect(),
            communities,
            cut: false,
        };
        attributes.cut();
        Some(attributes)
    }

    fn attributes(&mut self, bytes: &'a [u8]) -> Result<(), TruncatedError> {
        let mut cursor = Cursor::new(bytes);
        // RFC 7606 section 3 g): if an attribute is repeated, the first one counts
        let mut seen = [0_u64; 4];
        while !cursor.is_empty() {
            let flags = cursor.u8()?;
            let code = cursor.u8()?;
            let length = if flags & EXTENDED_LENGTH != 0 {
                cursor.u16()?.into()
            } else {
                cursor.u8()?.into()
            };
            let value = cursor.take(length)?;
            let (word, bit) = (usize::from(code / 64), 1 << (code % 64));
            if seen[word] & bit == 0 {
                seen[word] |= bit;
                self.malformed |= self.attribute(code, value).is_err();
            }
        }
        Ok(())
    }

    fn attribute(&mut self, code: u8, value: &'a [u8]) -> Result<(), TruncatedError> {
        let mut cursor = Cursor::new(value);
        let raw = &mut self.raw;
        match code {
            code::ORIGIN => raw.origin = cursor.u8()?,
            code::AS_PATH => raw.path = Some(value),
            code::AS4_PATH => raw.path4 = Some(value),
            code::NEXT_HOP => raw.next_hop = Some(Ipv4Addr::from(cursor.array::<4>()?).into()),
            code::MULTI_EXIT_DISC => raw.med = Some(cursor.u32()?),
            code::LOCAL_PREF => raw.local_pref = Some(cursor.u32()?),
            code::AGGREGATOR if value.len() == 6 => {
                raw.short_aggregator = u32::from(cursor.u16()?) != AS_TRANS;
            }
            code::AS4_AGGREGATOR => raw.aggregator4 = true,
            code::COMMUNITIES => raw.communities = whole::<4>(value)?,
            code::LARGE_COMMUNITIES => raw.large_communities = whole::<12>(value)?,
            code::ORIGINATOR_ID => {
                raw.originator_id = cursor.u32().ok();
                raw.bad_reflection |= value.len() != 4;
            }
            code::CLUSTER_LIST => {
                raw.cluster_list = whole::<4>(value).unwrap_or_default();
                raw.bad_reflection |= !value.len().is_multiple_of(4);
            }
            code::MP_REACH => self.reach = Some(Reach::read(cursor)?),
            code::MP_UNREACH => {
                let (afi, safi) = (cursor.u16()?, cursor.u8()?);
                self.unreach = Some((AfiSafi { afi, safi }, cursor.rest()));
            }
            _ => {}
        }
        Ok(())
    }
}

impl RawAttributes<'_> {
    /// Returns AS_PATH, merged with AS4_PATH if the speaker's ASNs have 2 bytes. AS4_PATH is ignored if a
    /// speaker on the path that does not support it has aggregated routes (RFC 6793 section 4.2.3).
    fn path(&self, width: AsnWidth) -> Option<AsPath> {
        let (path, width) = path::read(self.path?, width)?;
        let is_stale = self.short_aggregator && self.aggregator4;
        if width == AsnWidth::Two
            && !is_stale
            && let Some((four, AsnWidth::Four)) =
                self.path4.and_then(|p| path::read(p, AsnWidth::Four))
        {
            return Some(path::merge(path, &four));
        }
        Some(path)
    }
}

/// Returns the ASNs of a path that the router has received. FRR writes its own ASNs before the neighbor.
fn received<'a>(
    path: &'a AsPath,
    context: &UpdateContext<'_>,
    peer_asn: u32,
) -> impl Iterator<Item = &'a u32> {
    let prepends = context.prepends.is_some();
    let asns = path.asns().iter();
    asns.skip_while(move |asn| prepends && **asn != peer_asn)
}

/// Returns a list of entries of `N` bytes, if it ends with a complete entry.
fn whole<const N: usize>(list: &[u8]) -> Result<&[u8], TruncatedError> {
    let left = list.len() % N;
    match left {
        0 => Ok(list),
        _ => Err(TruncatedError { wanted: N, left }),
    }
}

/// Returns the entries of a list.
fn words<const N: usize>(list: &[u8]) -> impl Iterator<Item = [u32; N]> {
    let words = list.as_chunks::<4>().0.as_chunks::<N>().0;
    words.iter().map(|entry| entry.map(u32::from_be_bytes))
}

impl<'a> Reach<'a> {
    fn read(mut cursor: Cursor<'a>) -> Result<Self, TruncatedError> {
        let (afi, safi) = (cursor.u16()?, cursor.u8()?);
        let length = cursor.u8()?;
        let next_hop = cursor.take(length.into())?;
        // formerly a number of SNPAs, now reserved
        cursor.u8()?;
        Ok(Self {
            family: AfiSafi { afi, safi },
            next_hop: address(next_hop),
            prefixes: cursor.rest(),
        })
    }
}

/// Returns the next hop. A link-local address may follow a global IPv6 address (RFC 2545 section 3), also
/// for IPv4 routes (RFC 8950). On a link without global addresses, the first address is unspecified.
fn address(bytes: &[u8]) -> Option<IpAddr> {
    let mut cursor = Cursor::new(bytes);
    match bytes.len() {
        4 => cursor.array::<4>().ok().map(|a| Ipv4Addr::from(a).into()),
        16 => cursor.array::<16>().ok().map(|a| Ipv6Addr::from(a).into()),
        32 => {
            let [global, link_local] = [cursor.array::<16>(), cursor.array::<16>()];
            let global = global
                .ok()
                .map(Ipv6Addr::from)
                .filter(|a| !a.is_unspecified());
            let link_local = link_local.ok().map(Ipv6Addr::from);
            global.or(link_local).map(IpAddr::from)
        }
        _ => None,
    }
}

impl From<TruncatedError> for UpdateError {
    fn from(short: TruncatedError) -> Self {
        Self::Truncated(short)
    }
}

impl std::fmt::Display for UpdateError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Truncated(short) => short.fmt(f),
            Self::Kind(kind) => write!(f, "BGP message type {kind} instead of an UPDATE"),
            Self::Length { header, arrived } => {
                write!(f, "an UPDATE of {header} bytes in a message with {arrived}")
            }
        }
    }
}
