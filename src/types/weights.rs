// SPDX-License-Identifier: AGPL-3.0-only
//! The weights that adaptive sampling gave the first packets of records.

/// The weights k of one or more records, as Σ k (k - 1): the variance of the sum of their packets, before it is scaled by
/// the sample rate. A float of 16 bits, because a flow has no more to spare: 5 of the exponent and 11 of the mantissa. One
/// record is exact, the sum of a thousand is off by at most 2 %.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Weights(u16);

const MANTISSA: u32 = 11;

impl Weights {
    /// Every packet was counted once.
    pub const ONE: Self = Self(0);

    /// Returns the weight of one record: a power of two, at least 1.
    pub fn of(weight: u16) -> Self {
        let weight = u64::from(weight);
        Self::encode(weight * weight.saturating_sub(1))
    }

    /// Returns whether every packet was counted once.
    pub fn is_one(self) -> bool {
        self.0 == 0
    }

    /// Returns Σ k (k - 1).
    pub fn variance(self) -> u64 {
        let (exponent, mantissa) = (
            self.0 >> MANTISSA,
            u64::from(self.0) & ((1 << MANTISSA) - 1),
        );
        match exponent {
            0 => mantissa,
            exponent => (mantissa | 1 << MANTISSA) << (exponent - 1),
        }
    }

    /// Returns k of one record; of several, the weight of one record with the same variance.
    pub fn weight(self) -> u16 {
        match self.0 {
            0 => 1,
            _ => {
                let root = (1 + 4 * self.variance()).isqrt();
                root.div_ceil(2).try_into().unwrap_or(u16::MAX)
            }
        }
    }

    pub fn add(&mut self, other: Self) {
        if !other.is_one() {
            *self = Self::encode(self.variance() + other.variance());
        }
    }

    fn encode(variance: u64) -> Self {
        let bits = u64::BITS - variance.leading_zeros();
        let shift = bits.saturating_sub(MANTISSA + 1);
        if bits <= MANTISSA {
            return Self(variance as u16);
        }
        // a mantissa that is rounded up to the next power of two increases the exponent
        let rounded = (variance + (1 << shift >> 1)) >> shift;
        let code = (u64::from(shift) << MANTISSA) + rounded;
        Self(code.try_into().unwrap_or(u16::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_weight_of_one_record_is_exact() {
        for shift in 0..=12 {
            let weight = 1 << shift;
            let weights = Weights::of(weight);
            let k = u64::from(weight);
            assert_eq!(weights.variance(), k * (k - 1));
            assert_eq!(weights.weight(), weight);
            assert_eq!(weights.is_one(), weight == 1);
        }
    }

    #[test]
    fn sums_are_off_by_little() {
        let (mut sum, mut exact) = (Weights::ONE, 0);
        for round in 0..1_000_u64 {
            let weight = 1 << (round % 13);
            sum.add(Weights::of(weight));
            exact += u64::from(weight) * (u64::from(weight) - 1);
            let error = sum.variance().abs_diff(exact) as f64 / exact.max(1) as f64;
            assert!(error < 0.02, "{} of {exact} at {round}", sum.variance());
        }
        for variance in [0, 1, 2047, 2048, 4095, 4096, 8191, 8192] {
            let error = Weights::encode(variance).variance().abs_diff(variance);
            assert!(error <= variance >> 12, "{variance}");
        }
        assert_eq!(Weights::encode(u64::MAX >> 1), Weights(u16::MAX));
    }
}
