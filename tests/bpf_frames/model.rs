// SPDX-License-Identifier: AGPL-3.0-only
//! A parser of frames that shares nothing with the BPF programs: slices instead of cursors, one pass, no
//! limits of a verifier.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::common::cases::Flow;

/// What a frame is.
#[derive(Debug)]
pub enum Frame {
    NotIp,
    /// The reason of a parse error.
    Garbled(&'static str),
    Ip(Packet),
}

#[derive(Debug)]
pub struct Packet {
    pub flow: Flow,
    pub has_ports: bool,
    pub hop_limit: u8,
}

/// Who reads a frame. The firewall judges what a receiver might accept, the monitor counts what is certain.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Reader {
    Monitor,
    Firewall,
}

const LINK: Frame = Frame::Garbled("link");
const TRUNCATED: Frame = Frame::Garbled("ip_truncated");

/// Beyond this many the protocol is that of the last one that was read.
const MAX_EXTENSIONS: usize = 6;

fn half(bytes: &[u8], at: usize) -> Option<usize> {
    let pair = bytes.get(at..at + 2)?;
    Some(usize::from(pair[0]) << 8 | usize::from(pair[1]))
}

pub fn is_extension(protocol: u8) -> bool {
    [0, 43, 44, 51, 60].contains(&protocol)
}

pub fn read(frame: &[u8], reader: Reader) -> Frame {
    let mut vlans = Vec::new();
    let Some(mut kind) = half(frame, 12) else {
        return LINK;
    };
    let mut rest = &frame[14..];
    let below_labels = loop {
        match kind {
            0x8100 | 0x88a8 => {
                let (Some(id), Some(next)) = (half(rest, 0), half(rest, 2)) else {
                    return LINK;
                };
                vlans.push(id as u16 & 0xfff);
                (kind, rest) = (next, &rest[4..]);
            }
            0x8864 => {
                if rest.len() < 8 {
                    return LINK;
                }
                let (protocol, length) = match rest[6] {
                    short if short % 2 == 1 => (usize::from(short), 7),
                    _ => (half(rest, 6).unwrap_or(0), 8),
                };
                rest = &rest[length..];
                kind = match protocol {
                    0x21 => 0x0800,
                    0x57 => 0x86dd,
                    0x281 | 0x283 => 0x8847,
                    _ => return Frame::NotIp,
                };
            }
            0x8847 | 0x8848 => {
                let Some(last) = rest.chunks_exact(4).position(|label| label[2] & 1 == 1) else {
                    return LINK;
                };
                rest = &rest[4 * (last + 1)..];
                break true;
            }
            _ => break false,
        }
    };
    if below_labels {
        kind = match below(frame, rest, reader) {
            Some(kind) => kind,
            None => return Frame::NotIp,
        };
    }
    vlans.resize(2.max(vlans.len()), 0);
    match kind {
        0x0800 => ipv4(frame, rest, &vlans, reader),
        0x86dd => ipv6(frame, rest, &vlans),
        _ => Frame::NotIp,
    }
}

/// What an MPLS label stack carries.
fn below(frame: &[u8], rest: &[u8], reader: Reader) -> Option<usize> {
    let first = rest.first()?;
    match first >> 4 {
        4 => {
            let length = usize::from(first & 15) * 4;
            let header = rest
                .get(..length)
                .filter(|_| length >= 20 && rest.len() >= 8)?;
            let sum: usize = (0..length)
                .step_by(2)
                .filter_map(|at| half(header, at))
                .sum();
            (sum != 0 && sum.is_multiple_of(0xffff)).then_some(0x0800)
        }
        6 => {
            let length = ipv6_length(rest).filter(|length| *length <= rest.len())?;
            let behind = rest.len() - length;
            let fits = reader == Reader::Firewall || behind <= 8 || frame.len() <= 68;
            (rest.len() >= 40 && fits).then_some(0x86dd)
        }
        _ => None,
    }
}

/// By its header; a jumbogram is as long as what is there.
fn ipv6_length(packet: &[u8]) -> Option<usize> {
    let next = *packet.get(6)?;
    match half(packet, 4)? {
        0 if next == 0 => Some(packet.len()),
        length => Some(40 + length),
    }
}

fn ipv4(frame: &[u8], packet: &[u8], vlans: &[u16], reader: Reader) -> Frame {
    let Some(first) = packet.first() else {
        return TRUNCATED;
    };
    if first >> 4 != 4 {
        return Frame::Garbled("ip_version");
    }
    let header = usize::from(first & 15) * 4;
    if header < 20 {
        return Frame::Garbled("ip_header_length");
    }
    if header > packet.len() {
        return TRUNCATED;
    }
    let total = half(packet, 2).unwrap_or(0);
    if reader == Reader::Monitor && total != 0 && total < header {
        return Frame::Garbled("ip_header_length");
    }
    let length = if total == 0 {
        packet.len()
    } else {
        total.min(packet.len())
    };
    let is_later = half(packet, 6).unwrap_or(0) & 0x1fff != 0;
    let address =
        |at: usize| Ipv4Addr::new(packet[at], packet[at + 1], packet[at + 2], packet[at + 3]);
    let mut flow = flow(frame, vlans, address(12).into(), address(16).into());
    flow.protocol = packet[9];
    flow.tos = packet[1];
    flow.ip_bytes = length as u64;
    let payload = packet[..length].get(header..).unwrap_or(&[]);
    let has_ports = !is_later && transport(payload, &mut flow);
    Frame::Ip(Packet {
        flow,
        has_ports,
        hop_limit: packet[8],
    })
}

fn ipv6(frame: &[u8], packet: &[u8], vlans: &[u16]) -> Frame {
    let Some(first) = packet.first() else {
        return TRUNCATED;
    };
    if first >> 4 != 6 {
        return Frame::Garbled("ip_version");
    }
    if packet.len() < 40 {
        return TRUNCATED;
    }
    let length = ipv6_length(packet).unwrap_or(40).min(packet.len());
    let address = |at: usize| {
        let bytes: [u8; 16] = packet[at..at + 16].try_into().expect("16 bytes");
        IpAddr::from(Ipv6Addr::from(bytes))
    };
    let mut flow = flow(frame, vlans, address(8), address(24));
    flow.tos = (half(packet, 0).unwrap_or(0) >> 4) as u8;
    flow.ip_bytes = length as u64;
    let (protocol, payload) = extensions(packet[6], &packet[40..length]);
    flow.protocol = protocol;
    let has_ports = payload.is_some_and(|payload| transport(payload, &mut flow));
    Frame::Ip(Packet {
        flow,
        has_ports,
        hop_limit: packet[7],
    })
}

/// The protocol, and its header unless that is in another fragment or behind a header cut short.
fn extensions(mut protocol: u8, mut rest: &[u8]) -> (u8, Option<&[u8]>) {
    for _ in 0..MAX_EXTENSIONS {
        if !is_extension(protocol) {
            break;
        }
        let units = rest.get(1).map_or(0, |length| usize::from(*length));
        let length = match protocol {
            44 => 8,
            51 => (units + 2) * 4,
            _ => (units + 1) * 8,
        };
        if rest.len() < length.max(4) {
            return (protocol, None);
        }
        let is_later = protocol == 44 && half(rest, 2).unwrap_or(0) >> 3 != 0;
        protocol = rest[0];
        rest = &rest[length..];
        if is_later {
            return (protocol, None);
        }
    }
    (protocol, Some(rest))
}

/// Sets ports and flags if the whole header is there.
fn transport(payload: &[u8], flow: &mut Flow) -> bool {
    let needed = match flow.protocol {
        6 => 20,
        17 | 136 => 8,
        132 | 33 => 12,
        1 | 58 => 4,
        _ => return false,
    };
    if payload.len() < needed {
        return false;
    }
    let port = |at| half(payload, at).unwrap_or(0) as u16;
    (flow.src_port, flow.dst_port) = match flow.protocol {
        1 | 58 => (0, port(0)),
        _ => (port(0), port(2)),
    };
    if flow.protocol == 6 {
        flow.tcp_flags = payload[13];
    }
    true
}

fn flow(frame: &[u8], vlans: &[u16], src: IpAddr, dst: IpAddr) -> Flow {
    let mac = |at: usize| frame[at..at + 6].try_into().expect("6 bytes");
    Flow {
        src,
        dst,
        protocol: 0,
        src_port: 0,
        dst_port: 0,
        vlan_outer: vlans[0],
        vlan_inner: vlans[1],
        ip_bytes: 0,
        tos: 0,
        tcp_flags: 0,
        src_mac: mac(6),
        dst_mac: mac(0),
    }
}
