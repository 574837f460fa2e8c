// SPDX-License-Identifier: AGPL-3.0-only
//! Draws frames: both families, all transports, fragments, options, tags, marks and truncated headers.

use std::net::IpAddr;

use super::{NETWORKS, Random};
use crate::common::frames::Frame;
use crate::fixture::{ether, ip};

/// Ports of frames and rules.
pub const PORTS: [u32; 12] = [0, 1, 53, 63, 64, 80, 127, 128, 255, 256, 443, 65_535];

fn address(random: &mut Random, network: &str, is_v4: bool) -> IpAddr {
    let host = random.below(3);
    let text = if is_v4 {
        format!("{network}.0.{host}")
    } else {
        format!("{network}:{host}")
    };
    text.parse().expect("an address")
}

pub fn draw(random: &mut Random) -> Vec<u8> {
    let is_v4 = random.chance(50);
    let mut network = || NETWORKS[random.below(2) + if is_v4 { 0 } else { 2 }];
    let networks = [network(), network()];
    let [src, dst] = networks.map(|network| address(random, network, is_v4));
    let frame = if random.chance(20) {
        ether().vlan(0x8100, 7)
    } else {
        ether()
    };
    let marked = random.chance(40);
    let mut frame = ip(frame, src, dst);
    if marked {
        let tos = random.of(&[46 << 2, 1 << 2 | 1, 63 << 2, 3]);
        frame = frame.tos(tos);
    }
    let (frame, is_later, protocol) = fragment(random, frame, is_v4);
    let frame = match is_later {
        true => frame.says(protocol.into()).payload(random.of(&[8, 20, 64])),
        false => transport(random, frame, protocol),
    };
    let frame = if random.chance(20) {
        frame.pad_to(60 + random.below(100))
    } else {
        frame
    };
    let mut bytes = frame.build();
    let at = if u16::from_be_bytes([bytes[12], bytes[13]]) == 0x8100 {
        18
    } else {
        14
    };
    if is_v4 && random.chance(30) {
        bytes[at + 6] |= 0x40; // don't fragment
    }
    if !is_v4 && random.chance(50) {
        let label = random.of(&[7, 65_535, 65_536, 0xf_ffff_u32]).to_be_bytes();
        bytes[at + 1] = bytes[at + 1] & 0xf0 | label[1];
        bytes[at + 2..at + 4].copy_from_slice(&label[2..]);
    }
    bytes
}

/// Adds options, extension headers and the state of a fragment. Returns whether the transport header is elsewhere,
/// and the protocol.
fn fragment(random: &mut Random, frame: Frame, is_v4: bool) -> (Frame, bool, u8) {
    let icmp = if is_v4 { 1 } else { 58 };
    let protocol = random.of(&[6, 6, 6, 17, 17, 17, icmp, icmp, 132, 33, 136, 47]);
    let state = random.of(&[
        None,
        None,
        None,
        Some((0, true)),
        Some((64, true)),
        Some((64, false)),
    ]);
    let is_later = state.is_some_and(|(offset, _)| offset > 0);
    let frame = match (is_v4, state) {
        (true, Some((offset, more))) => frame.fragment(offset, more),
        (true, None) if random.chance(20) => frame.options(8),
        (true, None) => frame,
        (false, state) => {
            let mut frame = frame;
            if random.chance(20) {
                frame = frame.hop_by_hop();
            }
            if random.chance(20) {
                frame = frame.routing();
            }
            if let Some((offset, more)) = state {
                frame = frame.fragment6(offset, more);
            } else if random.chance(10) {
                // an atomic fragment
                frame = frame.fragment6(0, false);
            }
            if !is_later && random.chance(20) {
                frame = frame.destopt();
            }
            frame
        }
    };
    (frame, is_later, protocol)
}

fn transport(random: &mut Random, frame: Frame, protocol: u8) -> Frame {
    if random.chance(8) {
        // ends within the header
        return frame.says(protocol.into()).payload(random.below(4));
    }
    let frame = match protocol {
        6 => frame.tcp(random.of(&[0x02, 0x12, 0x10, 0x18, 0x04, 0x11, 0, 0xff, 0xc2])),
        17 => frame.udp(),
        132 => frame.sctp(),
        33 => frame.dccp(),
        136 => frame.udplite(),
        1 => frame.icmp(random.of(&[0, 3, 8]), random.of(&[0, 1, 4])),
        58 => frame.icmpv6(random.of(&[3, 128, 129]), random.of(&[0, 1, 4])),
        _ => return frame.says(protocol.into()).payload(30),
    };
    let frame = match protocol {
        1 | 58 => frame,
        _ => frame.ports(random.of(&PORTS) as u16, random.of(&PORTS) as u16),
    };
    frame.payload(random.of(&[0, 1, 8, 20, 36, 60, 960]))
}
