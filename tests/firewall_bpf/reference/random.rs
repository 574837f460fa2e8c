// SPDX-License-Identifier: AGPL-3.0-only
//! Random numbers with a seed, and the networks of rules and frames.

/// Xorshift (Marsaglia, 2003).
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    pub fn below(&mut self, end: usize) -> usize {
        (self.next() >> 32) as usize % end
    }

    /// True in `percent` of the cases.
    pub fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    pub fn of<T: Copy>(&mut self, values: &[T]) -> T {
        values[self.below(values.len())]
    }
}

/// Few addresses, so that prefixes nest and packets meet them.
pub const NETWORKS: [&str; 4] = ["10.1", "10.2", "2001:db8:1:", "2001:db8:2:"];
