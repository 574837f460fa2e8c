// SPDX-License-Identifier: AGPL-3.0-only
//! The bits that say whether any prefix may hold an address (pure): of an IPv4 address its /24 is hashed, of
//! IPv6 its /48, and its /32 where there are shorter prefixes.

/// RFM_FW_HASH and RFM_FW_COARSE_KEY of fw_lookup.bpf.h.
const HASH: u64 = 0x9e37_79b9_7f4a_7c15;
const COARSE_KEY: u64 = 1 << 48;

/// At least so many bits for each one that is set: then few others are taken for it.
const SPARSENESS: u64 = 32;
/// 512 bits are a block; 16 million have room for every IPv4 /24.
const MIN_BITS: u32 = 9;
const MAX_BITS: u32 = 24;
/// A prefix so short that it stands for more bits lets everything through to the search.
const MAX_KEYS: u64 = 1 << 20;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filter {
    /// A whole number of blocks.
    pub words: Vec<u64>,
    /// Of a hash, to number a bit.
    pub shift: u8,
    /// IPv6: whether the /32 is to be looked at as well.
    pub coarse: bool,
}

/// Prefixes as (address, length).
pub fn build(prefixes: impl Iterator<Item = (u128, u8)> + Clone, ipv6: bool) -> Filter {
    let spans = prefixes.map(|(start, length)| span(start, length, ipv6));
    let coarse = spans.clone().any(|(key, _)| key & COARSE_KEY != 0);
    let keys = spans
        .clone()
        .fold(0_u64, |sum, (_, count)| sum.saturating_add(count));
    if keys > MAX_KEYS {
        return Filter {
            words: vec![u64::MAX; 1 << (MIN_BITS - 6)],
            shift: (u64::BITS - MIN_BITS) as u8,
            coarse: false,
        };
    }
    let bits = (keys * SPARSENESS).next_power_of_two().ilog2();
    let bits = bits.clamp(MIN_BITS, MAX_BITS);
    let mut words = vec![0_u64; 1 << (bits - 6)];
    for (first, count) in spans {
        for key in first..first + count {
            let bit = key.wrapping_mul(HASH) >> (u64::BITS - bits);
            words[(bit >> 6) as usize] |= 1 << (bit & 63);
        }
    }
    Filter {
        words,
        shift: (u64::BITS - bits) as u8,
        coarse,
    }
}

/// The first key of a prefix, and how many.
fn span(start: u128, length: u8, ipv6: bool) -> (u64, u64) {
    let (key, exact) = match (ipv6, length) {
        (false, _) => ((start >> 8) as u64, 24),
        (true, 48..) => ((start >> 80) as u64, 48),
        (true, _) => ((start >> 96) as u64 | COARSE_KEY, 32),
    };
    (key, 1 << exact.max(length).abs_diff(length))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As the program asks.
    fn holds(filter: &Filter, key: u64) -> bool {
        let bit = key.wrapping_mul(HASH) >> filter.shift;
        filter.words[(bit >> 6) as usize] >> (bit & 63) & 1 == 1
    }

    #[test]
    fn a_prefix_sets_the_bits_of_all_that_it_holds_and_few_others() {
        let filter = build([(0x0a00_0000, 16), (0xc000_0201, 32)].into_iter(), false);
        assert!((0..256).all(|i| holds(&filter, 0x0a_0000 + i)));
        assert!(holds(&filter, 0xc0_0002));
        let others = (0..100_000)
            .filter(|i| holds(&filter, 0x40_0000 + i))
            .count();
        assert!(others < 5000, "{others} of 100,000");
    }

    #[test]
    fn short_prefixes_of_ipv6_are_coarse() {
        let address = 0x2001_0db8_0001_u128 << 80;
        assert!(!build([(address, 48)].into_iter(), true).coarse);
        let filter = build([(address, 48), (0x2a00 << 112, 24)].into_iter(), true);
        assert!(filter.coarse);
        assert!(holds(&filter, 0x2001_0db8_0001));
        assert!((0..256).all(|i| holds(&filter, (0x2a00_0000 + i) | COARSE_KEY)));
    }

    #[test]
    fn a_prefix_of_nearly_everything_lets_all_through() {
        for (prefix, ipv6) in [
            ((0, 0), false),
            ((0, 3), false),
            ((0, 0), true),
            ((0, 11), true),
        ] {
            let filter = build([prefix].into_iter(), ipv6);
            assert!(filter.words.iter().all(|w| *w == u64::MAX));
            assert_eq!(filter.words.len(), 8);
        }
    }
}
