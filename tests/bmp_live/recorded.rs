// SPDX-License-Identifier: AGPL-3.0-only
//! The routes of a recorded BMP session (tests/data/bmp): prefixes, and their path attributes as the router sent them.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::data;
use crate::mrt::Route;

const ROUTE_MONITORING: u8 = 0;
/// The common header of BMP (RFC 7854, section 4.1) and the per-peer header (section 4.2).
const HEADERS: usize = 6 + 42;
const UPDATE: u8 = 2;
const AS_PATH: u8 = 2;
const MP_REACH_NLRI: u8 = 14;
/// ORIGIN, AS_PATH, MULTI_EXIT_DISC, COMMUNITIES, LARGE_COMMUNITIES: the attributes that an external neighbor sends on.
const KEPT: [u8; 5] = [1, 2, 4, 8, 32];
/// The extended length bit of the flags (RFC 4271, section 4.3).
const EXTENDED: u8 = 0x10;

/// Returns the last route of each prefix, without those on whose path `own_as` is: a router of that AS drops them (RFC
/// 4271, section 9.1.2). The session must not use path identifiers.
pub fn routes(capture: &str, own_as: u32) -> Vec<Route> {
    let bytes = data::capture(capture);
    let mut found = BTreeMap::new();
    for message in data::messages(&bytes) {
        if message[5] != ROUTE_MONITORING || message[HEADERS + 18] != UPDATE {
            continue;
        }
        let update = &message[HEADERS + 19..];
        let (_withdrawn, update) = counted(update);
        let (attributes, nlri) = counted(update);
        let mut kept = Vec::new();
        let mut prefixes = read_prefixes(nlri, false);
        let mut is_loop = false;
        for (code, whole, value) in read_attributes(attributes) {
            if KEPT.contains(&code) {
                kept.extend(whole);
            }
            if code == AS_PATH {
                is_loop = read_as_path(value).contains(&own_as);
            }
            if code == MP_REACH_NLRI {
                // family, length of the next hop, next hop, a reserved byte
                prefixes.extend(read_prefixes(&value[5 + usize::from(value[3])..], true));
            }
        }
        if is_loop {
            continue;
        }
        found.extend(prefixes.into_iter().map(|prefix| (prefix, kept.clone())));
    }
    let route = |((address, length), attributes)| Route {
        address,
        length,
        attributes,
    };
    found.into_iter().map(route).collect()
}

/// Splits off a part that begins with its length in two bytes.
fn counted(bytes: &[u8]) -> (&[u8], &[u8]) {
    let length = u16::from_be_bytes([bytes[0], bytes[1]]);
    bytes[2..].split_at(length.into())
}

/// Code, whole attribute, value.
fn read_attributes(mut bytes: &[u8]) -> Vec<(u8, &[u8], &[u8])> {
    let mut found = Vec::new();
    while let [flags, code, ..] = *bytes {
        let (header, length): (usize, usize) = match flags & EXTENDED {
            0 => (3, bytes[2].into()),
            _ => (4, u16::from_be_bytes([bytes[2], bytes[3]]).into()),
        };
        let (whole, rest) = bytes.split_at(header + length);
        found.push((code, whole, &whole[header..]));
        bytes = rest;
    }
    found
}

/// The ASes of all segments, each of four bytes.
fn read_as_path(mut bytes: &[u8]) -> Vec<u32> {
    let mut found = Vec::new();
    while let [_kind, count, rest @ ..] = bytes {
        let (segment, rest) = rest.split_at(4 * usize::from(*count));
        let asns = segment.chunks_exact(4);
        found.extend(asns.map(|asn| u32::from_be_bytes([asn[0], asn[1], asn[2], asn[3]])));
        bytes = rest;
    }
    found
}

fn read_prefixes(mut bytes: &[u8], is_ipv6: bool) -> Vec<(IpAddr, u8)> {
    let mut found = Vec::new();
    while let [length, rest @ ..] = bytes {
        let (address, rest) = rest.split_at(usize::from(length.div_ceil(8)));
        let mut octets = [0; 16];
        octets[..address.len()].copy_from_slice(address);
        let address = match is_ipv6 {
            true => Ipv6Addr::from(octets).into(),
            false => Ipv4Addr::new(octets[0], octets[1], octets[2], octets[3]).into(),
        };
        found.push((address, *length));
        bytes = rest;
    }
    found
}
