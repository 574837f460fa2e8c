// SPDX-License-Identifier: AGPL-3.0-only
//! Numbers of few bits for the parts of an interface (pure, and only integers, so that every
//! machine decodes the same sums).

use std::sync::LazyLock;

/// Bits of the fraction: the relative error is below 1/4096.
const FRACTION: u32 = 12;
const HIDDEN: u64 = 1 << FRACTION;

/// Returns the code of the largest representable number that is not above `value`. Codes have 18
/// bits and the order of the numbers; numbers below 8,192 are exact.
pub fn encode(value: u64) -> u64 {
    if value < HIDDEN {
        return value;
    }
    let exponent = value.ilog2() - FRACTION;
    let fraction = (value >> exponent) - HIDDEN;
    (u64::from(exponent) + 1) * HIDDEN + fraction
}

pub fn decode(code: u64) -> u64 {
    let (exponent, fraction) = (code / HIDDEN, code % HIDDEN);
    match exponent {
        0 => fraction,
        // the highest exponent of a u64; anything above is not from a writer
        1..=52 => (HIDDEN + fraction) << (exponent - 1),
        _ => u64::MAX,
    }
}

/// Steps of the maximum for each doubling: the error is at most 3.6 %.
const STEPS: f32 = 10.0;
/// The highest code of a maximum: 6,600 times the mean.
const MAX_RATIO: f32 = 127.0;

/// Returns the code of a maximum beside its mean, in seven bits.
pub fn encode_max(max: f32, mean: f32) -> u64 {
    let doublings = (max / mean).log2();
    // NaN, of no mean, becomes 0
    (doublings * STEPS).round().clamp(0.0, MAX_RATIO) as u64
}

pub fn decode_max(code: u64, mean: f32) -> f32 {
    mean * RATIOS[code.min(MAX_RATIO as u64) as usize]
}

/// The ratio of maximum and mean by its code.
static RATIOS: LazyLock<[f32; MAX_RATIO as usize + 1]> =
    LazyLock::new(|| std::array::from_fn(|code| (code as f32 / STEPS).exp2()));

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_number_loses_less_than_a_4096th(value: u64, shift in 0..64u32) {
            let value = value >> shift;
            let read = decode(encode(value));
            prop_assert!(read <= value);
            prop_assert!((value - read) <= value / 4096);
            prop_assert_eq!(encode(read), encode(value));
            prop_assert!(encode(value) < 1 << 18);
        }

        #[test]
        fn codes_have_the_order_of_numbers(a: u64, b: u64) {
            prop_assert!(encode(a.min(b)) <= encode(a.max(b)));
        }

        #[test]
        fn a_maximum_is_near(mean in 1.0..1e9f32, times in 1.0..6000.0f32) {
            let read = decode_max(encode_max(mean * times, mean), mean);
            prop_assert!((read / (mean * times) - 1.0).abs() < 0.036);
        }
    }

    #[test]
    fn the_ends_are_there() {
        assert_eq!(decode(encode(0)), 0);
        assert_eq!(decode(encode(8191)), 8191);
        assert!(decode(encode(u64::MAX)) > u64::MAX / 4096 * 4095);
        assert_eq!(decode(u64::MAX), u64::MAX);
        assert_eq!(encode_max(0.0, 0.0), 0);
        assert_eq!(encode_max(f32::INFINITY, 1.0), 127);
    }
}
