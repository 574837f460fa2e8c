// SPDX-License-Identifier: AGPL-3.0-only
//! The order of the flows in a load.

/// Equal to SEQUENCE in benches/bpf/bench.h.
pub const LENGTH: usize = 262_144;

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Load {
    /// Random flows, all with the same probability.
    Uniform(u32),
    /// The nth flow has 1/n of the packets of the first.
    Zipf(u32),
    /// All flows in turn, always in the same order; a power of two up to LENGTH.
    Each(u32),
}

impl Load {
    pub fn flows(self) -> u32 {
        match self {
            Self::Uniform(flows) | Self::Zipf(flows) | Self::Each(flows) => flows,
        }
    }

    pub fn name(self) -> String {
        match self {
            Self::Uniform(1) => "1".to_owned(),
            Self::Uniform(flows) => format!("{flows}, uniform"),
            Self::Zipf(flows) => format!("{flows}, Zipf 1.0"),
            Self::Each(flows) => format!("{flows}, in turn"),
        }
    }

    /// Returns flow numbers from 0; each call returns the same.
    pub fn sequence(self, length: usize) -> Vec<u32> {
        let mut random = Random::default();
        match self {
            Self::Uniform(flows) => (0..length).map(|_| random.below(flows)).collect(),
            Self::Each(flows) => (0..flows).cycle().take(length).collect(),
            Self::Zipf(flows) => {
                let mut sum = 0.0;
                let cumulative: Vec<f64> = (1..=flows)
                    .map(|n| {
                        sum += 1.0 / f64::from(n);
                        sum
                    })
                    .collect();
                let draw = |_| {
                    let point = random.unit() * sum;
                    cumulative.partition_point(|&c| c < point) as u32
                };
                (0..length).map(draw).collect()
            }
        }
    }
}

/// xorshift64*, Marsaglia 2003 and Vigna 2016.
pub struct Random(u64);

impl Default for Random {
    fn default() -> Self {
        Self(0x9e37_79b9_7f4a_7c15)
    }
}

impl Random {
    /// Returns a generator with another sequence than the default; `seed` is not 0.
    pub fn seeded(seed: u64) -> Self {
        Self(seed)
    }

    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    pub fn below(&mut self, limit: u32) -> u32 {
        (((self.next() >> 32) * u64::from(limit)) >> 32) as u32
    }

    /// Returns a number from 0 to 1.
    pub fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }
}
