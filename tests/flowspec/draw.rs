// SPDX-License-Identifier: AGPL-3.0-only
//! Draws rules as NLRIs, whose values are those of the frames.

use std::net::Ipv6Addr;

use rfm::flowspec::FlowFamily;

use crate::frame::PORTS;
use crate::{NETWORKS, Random};

pub fn family(random: &mut Random) -> FlowFamily {
    match random.chance(50) {
        true => FlowFamily::Ipv4,
        false => FlowFamily::Ipv6,
    }
}

fn address(random: &mut Random, family: FlowFamily, nlri: &mut Vec<u8>) {
    match family {
        FlowFamily::Ipv4 => {
            let second = NETWORKS[random.below(2)].as_bytes()[3] - b'0';
            let length = random.of(&[0, 8, 13, 15, 16, 31, 32]);
            let address = [10, second, 0, random.below(3) as u8];
            nlri.push(length);
            nlri.extend_from_slice(&address[..usize::from(length.div_ceil(8))]);
        }
        FlowFamily::Ipv6 => {
            let network = NETWORKS[2 + random.below(2)];
            let address: Ipv6Addr = format!("{network}:{}", random.below(3))
                .parse()
                .expect("an address");
            let length = random.of(&[0, 32, 46, 47, 48, 127, 128]);
            let offset = match random.chance(5) && length > 0 {
                true => random.of(&[1, 8, 16]),
                false => 0,
            };
            nlri.extend([length, offset]);
            let pattern = (address.to_bits() << offset).to_be_bytes();
            nlri.extend_from_slice(&pattern[..usize::from((length - offset).div_ceil(8))]);
        }
    }
}

fn numbers(random: &mut Random, values: &[u32], nlri: &mut Vec<u8>) {
    let count = 1 + random.below(4);
    for n in 1..=count {
        let value = random.of(values) + random.of(&[0, 0, 0, 1]);
        let end = if n == count { 0x80 } else { 0 };
        let operator = end | random.of(&[0x40, 0]) | random.of(&[1, 1, 1, 2, 3, 4, 5, 6, 7, 0]);
        push(random, operator, value, nlri);
    }
}

/// Writes the value in the fewest bytes that hold it, or in more.
fn push(random: &mut Random, operator: u8, value: u32, nlri: &mut Vec<u8>) {
    let least = match value {
        0..=0xff => 0,
        0x100..=0xffff => 1,
        _ => 2,
    };
    let size = (least + random.of(&[0, 0, 0, 1, 2])).min(3);
    nlri.push(operator | size << 4);
    let bytes = u64::from(value).to_be_bytes();
    nlri.extend_from_slice(&bytes[8 - (1 << size)..]);
}

fn bits(random: &mut Random, values: &[u8], wide: bool, nlri: &mut Vec<u8>) {
    let count = 1 + random.below(3);
    for n in 1..=count {
        let end = if n == count { 0x80 } else { 0 };
        let operator = end | random.of(&[0x40, 0]) | random.of(&[0, 1, 2, 3]);
        match wide && random.chance(30) {
            true => nlri.extend([operator | 0x10, random.of(&[0, 0, 0xf0, 1])]),
            false => nlri.push(operator),
        }
        nlri.push(random.of(values));
    }
}

/// Returns a valid rule.
pub fn rule(random: &mut Random, family: FlowFamily) -> Vec<u8> {
    let last = if family == FlowFamily::Ipv4 { 12 } else { 13 };
    loop {
        let mut nlri = Vec::new();
        for kind in 1..=last {
            let percent = if kind < 4 { 35 } else { 10 };
            if !random.chance(percent) {
                continue;
            }
            nlri.push(kind);
            match kind {
                1 | 2 => address(random, family, &mut nlri),
                3 => numbers(random, &[1, 6, 6, 17, 17, 58, 132], &mut nlri),
                4..=6 => numbers(random, &PORTS, &mut nlri),
                7 => numbers(random, &[0, 3, 8, 128], &mut nlri),
                8 => numbers(random, &[0, 1, 4], &mut nlri),
                9 => bits(random, &[0, 2, 0x10, 0x12, 4, 0xff], true, &mut nlri),
                10 => numbers(random, &[40, 48, 64, 68, 100, 1000, 65_535], &mut nlri),
                11 => numbers(random, &[0, 1, 46, 63], &mut nlri),
                12 => bits(random, &[0, 1, 2, 4, 6, 8, 0xf4], false, &mut nlri),
                _ => numbers(random, &[7, 65_535, 65_536, 0xf_ffff], &mut nlri),
            }
        }
        if !nlri.is_empty() {
            return nlri;
        }
    }
}
