// SPDX-License-Identifier: AGPL-3.0-only
//! A synthetic table of the Internet, as a BMP session.

use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

const V4: usize = 1_000_000;
const V6: usize = 230_000;
pub const ROUTES: usize = V4 + V6;

/// The AS of the routers: no path has it.
pub const HOME: u16 = 9_000;
const ORIGINS: u32 = 75_000;
/// The average number of prefixes that are announced together.
const TOGETHER: u64 = 6;

/// Shares of the prefix lengths, in a thousand, as at route collectors.
const V4_LENGTHS: [(u8, u32); 14] = [
    (24, 600),
    (23, 100),
    (22, 110),
    (21, 50),
    (20, 45),
    (19, 27),
    (18, 15),
    (17, 9),
    (16, 14),
    (15, 8),
    (14, 8),
    (13, 6),
    (12, 5),
    (11, 3),
];
const V6_LENGTHS: [(u8, u32); 12] = [
    (48, 470),
    (32, 110),
    (44, 100),
    (40, 95),
    (36, 55),
    (29, 25),
    (47, 25),
    (46, 30),
    (45, 20),
    (42, 25),
    (38, 15),
    (34, 30),
];

struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        // splitmix64
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    fn length(&mut self, shares: &[(u8, u32)]) -> u8 {
        let mut point = self.below(1000) as u32;
        for (length, share) in shares {
            if point < *share {
                return *length;
            }
            point -= share;
        }
        shares[0].0
    }
}

/// Returns the prefixes as bits, aligned to the highest bit, and length.
pub fn prefixes(v6: bool) -> Vec<(u128, u8)> {
    let mut random = Random(if v6 { 6 } else { 4 });
    let (count, shares) = match v6 {
        true => (V6, &V6_LENGTHS[..]),
        false => (V4, &V4_LENGTHS[..]),
    };
    let mut seen = HashSet::new();
    let mut prefixes = Vec::with_capacity(count);
    while prefixes.len() < count {
        let length = random.length(shares);
        let bits = match v6 {
            false => u128::from(0x0100_0000 + random.below(0xdf00_0000)) << 96,
            // 40,000 allocations under 2000::/3; prefixes longer than /32 are inside them
            true => {
                let allocation = Random(random.below(40_000)).next() as u32;
                let allocation = (allocation & 0x1fff_ffff) | 0x2000_0000;
                u128::from(allocation) << 96 | u128::from(random.next()) << 32
            }
        };
        let bits = bits & u128::MAX << (128 - u32::from(length));
        if seen.insert((bits, length)) {
            prefixes.push((bits, length));
        }
    }
    prefixes
}

/// The distribution of the addresses in lookups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Load {
    /// All prefixes with the same probability, and a new address each time.
    Any,
    /// The n-th address has a probability of 1/n (Zipf); there are as many addresses as prefixes.
    Traffic,
}

/// Returns addresses that have a route; four of five are IPv4.
pub fn addresses(count: usize, load: Load) -> Vec<IpAddr> {
    let (v4, v6) = (prefixes(false), prefixes(true));
    let mut random = Random(1);
    let addresses = (0..count).map(|n| {
        let from = if n % 5 == 0 { &v6 } else { &v4 };
        let share = random.below(1 << 53) as f64 / (1_u64 << 53) as f64;
        let place = match load {
            Load::Traffic => (from.len() as f64).powf(share),
            Load::Any => from.len() as f64 * share,
        };
        let place = (place as usize).min(from.len() - 1);
        let (bits, length) = from[place];
        let host = match load {
            Load::Traffic => Random(place as u64).next(),
            Load::Any => random.next(),
        };
        let bits = bits | u128::from(host) << 64 >> length;
        match n % 5 {
            0 => Ipv6Addr::from_bits(bits).into(),
            _ => IpAddr::from(Ipv4Addr::from_bits((bits >> 96) as u32)),
        }
    });
    addresses.collect()
}

/// Returns all bytes that peer number `peer` sends in its own session.
pub fn session(peer: u8) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(64 << 20);
    let name = [b"router-", &[b'0' + peer][..]].concat();
    let initiation = [&[0, 2, 0, name.len() as u8][..], &name].concat();
    message(&mut bytes, 4, &[&initiation]);
    let header = header(peer);
    let opens = [open(HOME), open(3000 + u16::from(peer))];
    message(&mut bytes, 3, &[&header, &[0; 20], &opens[0], &opens[1]]);
    let mut random = Random(u64::from(peer) + 10);
    for v6 in [false, true] {
        let prefixes = prefixes(v6);
        let mut rest = &prefixes[..];
        while !rest.is_empty() {
            let count = 1 + random.below(2 * TOGETHER - 1) as usize;
            let (together, others) = rest.split_at(count.min(rest.len()));
            rest = others;
            update(&mut bytes, &header, peer, v6, together, &mut random);
        }
    }
    bytes
}

pub fn message(bytes: &mut Vec<u8>, kind: u8, parts: &[&[u8]]) {
    let length = 6 + parts.iter().map(|p| p.len()).sum::<usize>();
    bytes.push(3);
    bytes.extend((length as u32).to_be_bytes());
    bytes.push(kind);
    parts.iter().for_each(|part| bytes.extend(*part));
}

fn header(peer: u8) -> [u8; 42] {
    let mut header = [0; 42];
    header[22..26].copy_from_slice(&[10, 0, 0, 1 + peer]);
    header[26..30].copy_from_slice(&(3000 + u32::from(peer)).to_be_bytes());
    header[30..34].copy_from_slice(&[10, 0, 0, 1 + peer]);
    header
}

pub fn open(asn: u16) -> Vec<u8> {
    let [high, low] = asn.to_be_bytes();
    let mut open = vec![0xff; 16];
    open.extend([0, 37, 1, 4, high, low, 0, 90, 10, 0, 0, 9, 8]);
    open.extend([2, 6, 65, 4, 0, 0, high, low]);
    open
}

fn update(
    bytes: &mut Vec<u8>,
    header: &[u8],
    peer: u8,
    v6: bool,
    prefixes: &[(u128, u8)],
    random: &mut Random,
) {
    let mut nlri = Vec::new();
    for (bits, length) in prefixes {
        nlri.push(*length);
        let octets = bits.to_be_bytes();
        nlri.extend(&octets[..usize::from(length.div_ceil(8))]);
    }
    let mut attributes = vec![0x40, 1, 1, 0];
    let hops = 2 + random.below(5) as u8;
    attributes.extend([0x40, 2, 2 + 4 * hops, 2, hops]);
    attributes.extend((3000 + u32::from(peer)).to_be_bytes());
    for _ in 2..hops {
        attributes.extend((1000 + random.below(2000) as u32).to_be_bytes());
    }
    attributes.extend((10_000 + random.below(ORIGINS.into()) as u32).to_be_bytes());
    if v6 {
        attributes.extend([0x90, 14]);
        attributes.extend((21 + nlri.len() as u16).to_be_bytes());
        attributes.extend([0, 2, 1, 16, 0x20, 1, 0x0d, 0xb8]);
        attributes.extend([0; 11]);
        attributes.extend([peer, 0]);
        attributes.append(&mut nlri);
    } else {
        attributes.extend([0x40, 3, 4, 10, 0, 0, 1 + peer]);
    }
    let communities = random.below(8) as u8;
    attributes.extend([0xc0, 8, 4 * communities]);
    for _ in 0..communities {
        attributes.extend((random.next() as u32).to_be_bytes());
    }
    let length = 23 + attributes.len() + nlri.len();
    let mut start = vec![0xff; 16];
    start.extend((length as u16).to_be_bytes());
    start.extend([2, 0, 0]);
    start.extend((attributes.len() as u16).to_be_bytes());
    message(bytes, 0, &[header, &start, &attributes, &nlri]);
}
