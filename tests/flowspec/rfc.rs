// SPDX-License-Identifier: AGPL-3.0-only
//! Rules by the text of RFC 8955 sections 4.2 and 5.1 and of RFC 8956 sections 3 and 4, read from the bytes of the
//! NLRI for each packet.

use std::cmp::Ordering;
use std::net::IpAddr;

use rfm::flowspec::FlowFamily;

use crate::packet::{Packet, Transport};

/// A component: its type, and its bytes after the type.
pub type Part<'a> = (u8, &'a [u8]);

/// Returns the components, or `None` if the NLRI is malformed.
pub fn parts(family: FlowFamily, nlri: &[u8]) -> Option<Vec<Part<'_>>> {
    let mut parts: Vec<Part> = Vec::new();
    let mut at = 0;
    while at < nlri.len() {
        let kind = nlri[at];
        let most = if family == FlowFamily::Ipv4 { 12 } else { 13 };
        if kind == 0 || kind > most || parts.last().is_some_and(|last| last.0 >= kind) {
            return None;
        }
        let start = at + 1;
        at = match kind {
            1 | 2 => end_of_prefix(family, nlri, start)?,
            _ => end_of_list(kind, nlri, start)?,
        };
        parts.push((kind, nlri.get(start..at)?));
    }
    (!parts.is_empty()).then_some(parts)
}

fn end_of_prefix(family: FlowFamily, nlri: &[u8], at: usize) -> Option<usize> {
    let length = usize::from(*nlri.get(at)?);
    if family == FlowFamily::Ipv4 {
        return (length <= 32).then_some(at + 1 + length.div_ceil(8));
    }
    let offset = usize::from(*nlri.get(at + 1)?);
    let fits = offset < length && length < 129 || length == 0 && offset == 0;
    fits.then(|| at + 2 + (length - offset).div_ceil(8))
}

fn end_of_list(kind: u8, nlri: &[u8], mut at: usize) -> Option<usize> {
    loop {
        let operator = *nlri.get(at)?;
        let size = 1 << ((operator & 0x30) >> 4);
        if kind == 9 && size > 2 || kind == 12 && size > 1 {
            return None;
        }
        at += 1 + size;
        if at > nlri.len() {
            return None;
        }
        if operator & 0x80 != 0 {
            return Some(at);
        }
    }
}

/// "A packet matches the rule if it matches the intersection (AND) of all components."
pub fn matches(family: FlowFamily, nlri: &[u8], packet: &Packet) -> bool {
    if packet.source.is_ipv4() != (family == FlowFamily::Ipv4) {
        return false;
    }
    let parts = parts(family, nlri).expect("a valid rule");
    parts.iter().all(|part| has(family, *part, packet))
}

fn has(family: FlowFamily, (kind, bytes): Part, packet: &Packet) -> bool {
    let header = |protocols: &[u8], at: usize, size: usize| match &packet.transport {
        Transport::Header(header) if protocols.contains(&packet.protocol) => {
            let bytes = header[at..at + size].iter();
            Some(bytes.fold(0, |number, byte| number << 8 | u64::from(*byte)))
        }
        _ => None,
    };
    let icmp: &[u8] = if packet.is_icmp() { &[1, 58] } else { &[] };
    let number = |value: Option<u64>| value.is_some_and(|value| in_list(bytes, value, u64::MAX));
    let [source_port, destination_port] = [0, 2].map(|at| header(&[6, 17], at, 2));
    match kind {
        1 => in_prefix(family, bytes, packet.destination),
        2 => in_prefix(family, bytes, packet.source),
        3 => number(Some(packet.protocol.into())),
        4 => number(source_port) || number(destination_port),
        5 => number(destination_port),
        6 => number(source_port),
        7 => number(header(icmp, 0, 1)),
        8 => number(header(icmp, 1, 1)),
        9 => header(&[6], 12, 2).is_some_and(|flags| in_bits(bytes, flags & 0x0fff, 0xffff)),
        10 => number(Some(packet.length.into())),
        11 => in_list(bytes, packet.dscp.into(), 0x3f),
        12 => in_bits(
            bytes,
            fragment(packet),
            if family == FlowFamily::Ipv4 { 15 } else { 14 },
        ),
        _ => packet
            .flow_label
            .is_some_and(|label| in_list(bytes, label.into(), 0xf_ffff)),
    }
}

/// LF, FF, IsF and DF, from bit 4 to bit 7 of the byte.
fn fragment(packet: &Packet) -> u64 {
    let is_later = packet.offset != 0;
    let bits = [
        packet.dont_fragment,
        is_later,
        !is_later && packet.more_fragments,
        is_later && !packet.more_fragments,
    ];
    (0..).zip(bits).map(|(n, bit)| u64::from(bit) << n).sum()
}

fn in_prefix(family: FlowFamily, bytes: &[u8], address: IpAddr) -> bool {
    let (length, offset, pattern) = match family {
        FlowFamily::Ipv4 => (bytes[0], 0, &bytes[1..]),
        FlowFamily::Ipv6 => (bytes[0], bytes[1], &bytes[2..]),
    };
    let octets = match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    };
    let bit = |bytes: &[u8], n: u8| bytes[usize::from(n / 8)] >> (7 - n % 8) & 1;
    (offset..length).all(|n| bit(&octets, n) == bit(pattern, n - offset))
}

/// Calls `test` with each operator, the value and its size. "AND has higher priority than OR."
fn list(bytes: &[u8], test: impl Fn(u8, u64, usize) -> bool) -> bool {
    let (mut any, mut all, mut at) = (false, true, 0);
    while at < bytes.len() {
        let operator = bytes[at];
        let size = 1 << ((operator & 0x30) >> 4);
        let value = bytes[at + 1..at + 1 + size].iter();
        let value = value.fold(0, |value, byte| value << 8 | u64::from(*byte));
        if at > 0 && operator & 0x40 == 0 {
            any |= all;
            all = true;
        }
        all &= test(operator, value, size);
        at += 1 + size;
    }
    any | all
}

fn in_list(bytes: &[u8], data: u64, mask: u64) -> bool {
    list(bytes, |operator, value, _| {
        let value = value & mask;
        match operator & 7 {
            0 => false,
            1 => data == value,
            2 => data > value,
            3 => data >= value,
            4 => data < value,
            5 => data <= value,
            6 => data != value,
            _ => true,
        }
    })
}

/// A value of one byte tests the lowest eight bits.
fn in_bits(bytes: &[u8], data: u64, mask: u64) -> bool {
    list(bytes, |operator, value, size| {
        let data = if size == 1 { data & 0xff } else { data };
        let value = value & mask;
        let result = match operator & 1 {
            1 => data & value == value,
            _ => data & value != 0,
        };
        result != (operator & 2 != 0)
    })
}

/// The comparison of RFC 8955 section 5.1: `Less` has the higher precedence.
pub fn compare(family: FlowFamily, a: &[u8], b: &[u8]) -> Ordering {
    let [a, b] = [a, b].map(|nlri| parts(family, nlri).expect("a valid rule"));
    for n in 0..a.len().max(b.len()) {
        let (Some(a), Some(b)) = (a.get(n), b.get(n)) else {
            return if n >= b.len() {
                Ordering::Less
            } else {
                Ordering::Greater
            };
        };
        let order = match a.0.cmp(&b.0) {
            Ordering::Equal if a.0 < 3 => compare_prefixes(family, a.1, b.1),
            Ordering::Equal => compare_strings(a.1, b.1),
            order => order,
        };
        if order != Ordering::Equal {
            return order;
        }
    }
    Ordering::Equal
}

fn compare_prefixes(family: FlowFamily, a: &[u8], b: &[u8]) -> Ordering {
    let read = |bytes: &[u8]| {
        let at = if family == FlowFamily::Ipv4 { 1 } else { 2 };
        let offset = if family == FlowFamily::Ipv4 {
            0
        } else {
            bytes[1]
        };
        let bits = bytes[at..]
            .iter()
            .flat_map(|byte| (0..8).map(move |n| byte >> (7 - n) & 1));
        let count = usize::from(bytes[0] - offset);
        (offset, bits.take(count).collect::<Vec<u8>>())
    };
    let ((offset_a, bits_a), (offset_b, bits_b)) = (read(a), read(b));
    if offset_a != offset_b {
        return offset_a.cmp(&offset_b);
    }
    let common = bits_a.len().min(bits_b.len());
    match bits_a[..common].cmp(&bits_b[..common]) {
        Ordering::Equal => bits_b.len().cmp(&bits_a.len()),
        order => order,
    }
}

fn compare_strings(a: &[u8], b: &[u8]) -> Ordering {
    for (a, b) in a.iter().zip(b) {
        if a != b {
            return a.cmp(b);
        }
    }
    b.len().cmp(&a.len())
}
