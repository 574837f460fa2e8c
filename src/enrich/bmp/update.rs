// SPDX-License-Identifier: AGPL-3.0-only
//! BGP UPDATE (RFC 4271 section 4.3): where the prefixes stand, and the attributes that count.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::enrich::rib::{Attributes, Family};

use super::open::family;
use super::path::{AsPath, Width};
use super::reader::{Reader, Short};

const UPDATE: u8 = 2;
const EXTENDED_LENGTH: u8 = 0x10;
/// RFC 4271 section 5.1.5: what a route without LOCAL_PREF counts as.
const DEFAULT_LOCAL_PREF: u32 = 100;
/// RFC 7999
const BLACKHOLE: u32 = 0xffff_029a;
const AS_TRANS: u32 = 23456;

mod code {
    pub const ORIGIN: u8 = 1;
    pub const AS_PATH: u8 = 2;
    pub const NEXT_HOP: u8 = 3;
    pub const MULTI_EXIT_DISC: u8 = 4;
    pub const LOCAL_PREF: u8 = 5;
    pub const AGGREGATOR: u8 = 7;
    pub const COMMUNITIES: u8 = 8;
    pub const MP_REACH: u8 = 14;
    pub const MP_UNREACH: u8 = 15;
    pub const AS4_PATH: u8 = 17;
}

/// Why an UPDATE is not applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpdateError {
    Short(Short),
    /// Another BGP message.
    Kind(u8),
    /// The length in the BGP header is not that of what came.
    Length {
        header: u16,
        came: usize,
    },
}

/// An UPDATE taken apart.
#[derive(Debug)]
pub struct Update<'a> {
    /// IPv4 prefixes in the places of RFC 4271.
    pub withdrawn: &'a [u8],
    pub announced: &'a [u8],
    /// Families in MP_REACH_NLRI and MP_UNREACH_NLRI (RFC 4760).
    pub reach: Option<Reach<'a>>,
    pub unreach: Option<(Option<Family>, &'a [u8])>,
    raw: Raw<'a>,
    /// An attribute is malformed: announced routes count as withdrawn (RFC 7606 section 2).
    pub malformed: bool,
}

#[derive(Clone, Copy, Debug)]
pub struct Reach<'a> {
    /// `None`: neither IPv4 nor IPv6 unicast.
    pub family: Option<Family>,
    pub next_hop: Option<IpAddr>,
    pub prefixes: &'a [u8],
}

#[derive(Debug, Default)]
struct Raw<'a> {
    path: Option<&'a [u8]>,
    path4: Option<&'a [u8]>,
    /// The aggregator is an AS of 2 bytes: a speaker that knew no others aggregated on the way.
    short_aggregator: bool,
    next_hop: Option<IpAddr>,
    med: u32,
    local_pref: Option<u32>,
    origin: u8,
    blackhole: bool,
    communities: &'a [u8],
}

impl<'a> Update<'a> {
    /// Takes a whole BGP message apart.
    pub fn read(bytes: &'a [u8]) -> Result<Self, UpdateError> {
        let mut reader = Reader::new(bytes);
        // the marker: senders of BMP fill it as they like
        reader.take(16)?;
        let length = reader.u16()?;
        if usize::from(length) != bytes.len() {
            return Err(UpdateError::Length {
                header: length,
                came: bytes.len(),
            });
        }
        let kind = reader.u8()?;
        if kind != UPDATE {
            return Err(UpdateError::Kind(kind));
        }
        let length = reader.u16()?;
        let withdrawn = reader.take(length.into())?;
        let length = reader.u16()?;
        let attributes = reader.take(length.into())?;
        let mut update = Self {
            withdrawn,
            announced: reader.rest(),
            reach: None,
            unreach: None,
            raw: Raw::default(),
            malformed: false,
        };
        // where one ends too early, those behind it are lost, but not those before
        update.malformed |= update.attributes(attributes).is_err();
        Ok(update)
    }

    /// Nothing in it: the peer's End-of-RIB for IPv4 (RFC 4724 section 2).
    pub fn is_end_of_rib(&self) -> Option<Family> {
        let plain = self.withdrawn.is_empty() && self.announced.is_empty();
        match (plain, self.reach, self.unreach) {
            (true, None, None) if self.raw.path.is_none() && !self.malformed => Some(Family::Ipv4),
            (true, None, Some((family, []))) => family,
            _ => None,
        }
    }

    /// What the announced routes have in common; the next hop is that of the family. `None`: no
    /// usable path. `prepended` is what the sender writes before the paths it has received, `discard` the
    /// communities that ask for a blackhole.
    pub fn attributes_of(
        &self,
        width: Width,
        own_asn: u32,
        prepended: Option<u32>,
        discard: &[u32],
    ) -> Option<Attributes> {
        if self.malformed {
            return None;
        }
        let raw = &self.raw;
        let (mut path, width) = AsPath::read_after(prepended, raw.path?, width)?;
        if width == Width::Two
            && !raw.short_aggregator
            && let Some((four, Width::Four)) = raw.path4.and_then(|p| AsPath::read(p, Width::Four))
        {
            path = path.merge(four);
        }
        Some(Attributes {
            origin_asn: path.origin(own_asn),
            neighbour_asn: path.neighbour(own_asn),
            local_pref: raw.local_pref.unwrap_or(DEFAULT_LOCAL_PREF),
            med: raw.med,
            next_hop: raw.next_hop,
            path_length: path.length,
            origin: raw.origin,
            blackhole: raw.blackhole,
            discard: !discard.is_empty() && raw.carries_any(discard),
        })
    }

    fn attributes(&mut self, bytes: &'a [u8]) -> Result<(), Short> {
        let mut reader = Reader::new(bytes);
        // RFC 7606 section 3 g): of one that comes twice the first counts
        let mut seen = [0_u64; 4];
        while !reader.is_empty() {
            let flags = reader.u8()?;
            let code = reader.u8()?;
            let length = if flags & EXTENDED_LENGTH != 0 {
                reader.u16()?.into()
            } else {
                reader.u8()?.into()
            };
            let value = reader.take(length)?;
            let (word, bit) = (usize::from(code / 64), 1 << (code % 64));
            if seen[word] & bit == 0 {
                seen[word] |= bit;
                self.malformed |= self.attribute(code, value).is_err();
            }
        }
        Ok(())
    }

    fn attribute(&mut self, code: u8, value: &'a [u8]) -> Result<(), Short> {
        let mut reader = Reader::new(value);
        let raw = &mut self.raw;
        match code {
            code::ORIGIN => raw.origin = reader.u8()?,
            code::AS_PATH => raw.path = Some(value),
            code::AS4_PATH => raw.path4 = Some(value),
            code::NEXT_HOP => raw.next_hop = Some(Ipv4Addr::from(reader.array::<4>()?).into()),
            code::MULTI_EXIT_DISC => raw.med = reader.u32()?,
            code::LOCAL_PREF => raw.local_pref = Some(reader.u32()?),
            code::AGGREGATOR if value.len() == 6 => {
                raw.short_aggregator = u32::from(reader.u16()?) != AS_TRANS;
            }
            code::COMMUNITIES => {
                while !reader.is_empty() {
                    raw.blackhole |= reader.u32()? == BLACKHOLE;
                }
                raw.communities = value;
            }
            code::MP_REACH => self.reach = Some(Reach::read(reader)?),
            code::MP_UNREACH => {
                let family = family(reader.u16()?, reader.u8()?);
                self.unreach = Some((family, reader.rest()));
            }
            _ => {}
        }
        Ok(())
    }
}

impl Raw<'_> {
    fn carries_any(&self, communities: &[u32]) -> bool {
        let (carried, _) = self.communities.as_chunks::<4>();
        let mut carried = carried.iter().map(|bytes| u32::from_be_bytes(*bytes));
        carried.any(|community| communities.contains(&community))
    }
}

impl<'a> Reach<'a> {
    fn read(mut reader: Reader<'a>) -> Result<Self, Short> {
        let family = family(reader.u16()?, reader.u8()?);
        let length = reader.u8()?;
        let next_hop = reader.take(length.into())?;
        // once a number of SNPAs, now reserved
        reader.u8()?;
        Ok(Self {
            family,
            next_hop: address(next_hop),
            prefixes: reader.rest(),
        })
    }
}

/// A next hop; after a global IPv6 address a link-local one may follow (RFC 2545 section 3), also for
/// IPv4 routes (RFC 8950).
fn address(bytes: &[u8]) -> Option<IpAddr> {
    let mut reader = Reader::new(bytes);
    match bytes.len() {
        4 => reader.array::<4>().ok().map(|a| Ipv4Addr::from(a).into()),
        16 | 32 => reader.array::<16>().ok().map(|a| Ipv6Addr::from(a).into()),
        _ => None,
    }
}

impl From<Short> for UpdateError {
    fn from(short: Short) -> Self {
        Self::Short(short)
    }
}

impl std::fmt::Display for UpdateError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Short(short) => short.fmt(f),
            Self::Kind(kind) => write!(f, "BGP message type {kind} instead of an UPDATE"),
            Self::Length { header, came } => {
                write!(f, "an UPDATE of {came} bytes says {header}")
            }
        }
    }
}
