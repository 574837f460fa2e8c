// SPDX-License-Identifier: AGPL-3.0-only
//! Calculates the 95th percentile, sum and peak from samples of five minutes. Pure: the agent and `rfm bill --samples`
//! use the same code.
//!
//! - [`percentile`]: nearest rank, and interpolated,
//! - [`file`]: samples as CSV,
//! - [`current_month`]: the 95th percentile of each interface in the current month.
//!
//! A sample has the bytes and packets of five minutes and the time in them that was observed. Its rate is that of the
//! observed time. A sample of which less than half was observed has no rate: its bytes count in the sum, and the
//! interval counts as missing. Samples of several sources are added, interval by interval, before any percentile.

pub mod current_month;
pub mod file;
pub mod percentile;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::store::types::{Sample, TimeSpan};
use crate::types::flow::Direction;

/// The length of a sample in seconds.
pub const INTERVAL: u64 = 300;
/// A sample has a rate if at least this part of it was observed.
const MIN_COVERED_MS: u32 = (INTERVAL * 1000 / 2) as u32;

const IN: usize = Direction::Ingress as usize;
const OUT: usize = Direction::Egress as usize;

/// A rate in bits per second that a contract may be based on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// The percentile of the received traffic.
    In,
    /// The percentile of the sent traffic.
    Out,
    /// The larger one of `in` and `out`.
    Max,
    /// The percentile of the larger direction of each sample.
    MaxBySample,
    /// The percentile of the sum of both directions of each sample.
    SumBySample,
}

impl Method {
    pub const ALL: [Self; 5] = [
        Self::In,
        Self::Out,
        Self::Max,
        Self::MaxBySample,
        Self::SumBySample,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::In => "in",
            Self::Out => "out",
            Self::Max => "max",
            Self::MaxBySample => "max_by_sample",
            Self::SumBySample => "sum_by_sample",
        }
    }
}

/// The values of one method, in bits per second; `None` without a sample.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MethodRate {
    pub method: Method,
    /// The 95th percentile by nearest rank: the rate of a sample, after the highest 5 % were removed.
    pub p95: Option<f64>,
    /// The 95th percentile by linear interpolation between two samples, as PERCENTILE.INC of spreadsheets.
    pub p95_interpolated: Option<f64>,
    pub peak: Option<f64>,
    /// The start of the sample with the peak, in Unix seconds.
    pub peak_time: Option<u64>,
}

/// The bill of one or several sources for a period.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Bill {
    /// What was added up.
    pub sources: Vec<String>,
    /// The number of intervals in the period.
    pub intervals: u64,
    /// The intervals with a rate.
    pub samples: u64,
    /// The intervals without a rate of any source.
    pub missing: u64,
    /// The intervals with a rate of only some of the sources.
    pub partial: u64,
    /// By direction: in, out. With the overhead.
    pub bytes: [u64; 2],
    pub packets: [u64; 2],
    pub rates: Vec<MethodRate>,
}

/// The sums and rates of one interval.
#[derive(Clone, Copy, Debug, Default)]
struct IntervalRates {
    rates: [f64; 2],
    sources: usize,
}

/// Calculates the bill of a period. `overhead` is the number of bytes that are added to each packet.
pub fn bill(sources: &[(String, Vec<Sample>)], span: TimeSpan, overhead: u32) -> Bill {
    let mut sum = BillSum::new(span, overhead);
    for (name, samples) in sources {
        sum.add(name, samples);
    }
    sum.finish()
}

/// A bill while sources are added one by one: only the samples of one need to be in memory.
#[derive(Debug)]
pub struct BillSum {
    span: TimeSpan,
    overhead: u32,
    sources: Vec<String>,
    /// By the number of the interval.
    intervals: BTreeMap<u64, IntervalRates>,
    bytes: [u64; 2],
    packets: [u64; 2],
}

impl BillSum {
    pub fn new(span: TimeSpan, overhead: u32) -> Self {
        Self {
            span,
            overhead,
            sources: Vec::new(),
            intervals: BTreeMap::new(),
            bytes: [0; 2],
            packets: [0; 2],
        }
    }

    pub fn add(&mut self, source: &str, samples: &[Sample]) {
        self.sources.push(source.to_owned());
        for (time, sample) in by_interval(samples, self.span) {
            let counted = with_overhead(&sample, self.overhead);
            for direction in [IN, OUT] {
                let (bytes, packets) = (&mut self.bytes[direction], &mut self.packets[direction]);
                *bytes = bytes.saturating_add(counted[direction]);
                *packets = packets.saturating_add(sample.packets[direction]);
            }
            if sample.covered_ms >= MIN_COVERED_MS {
                let interval = self.intervals.entry(time).or_default();
                interval.sources += 1;
                for direction in [IN, OUT] {
                    let bits = counted[direction] as f64 * 8000.0;
                    interval.rates[direction] += bits / f64::from(sample.covered_ms);
                }
            }
        }
    }

    pub fn finish(self) -> Bill {
        let first = self.span.from.div_ceil(INTERVAL);
        let expected = self.span.to.div_ceil(INTERVAL).saturating_sub(first);
        let samples = self.intervals.len() as u64;
        let is_partial = |interval: &&IntervalRates| interval.sources < self.sources.len();
        Bill {
            intervals: expected,
            samples,
            missing: expected.saturating_sub(samples),
            partial: self.intervals.values().filter(is_partial).count() as u64,
            bytes: self.bytes,
            packets: self.packets,
            rates: Method::ALL
                .map(|method| method_rate(method, &self.intervals))
                .into(),
            sources: self.sources,
        }
    }
}

/// Adds the samples that begin in the same interval: after the clock was set back, there are several.
fn by_interval(samples: &[Sample], span: TimeSpan) -> BTreeMap<u64, Sample> {
    let mut intervals: BTreeMap<u64, Sample> = BTreeMap::new();
    for sample in samples.iter().filter(|sample| span.contains(sample.time)) {
        let sum = intervals.entry(sample.time / INTERVAL).or_default();
        sum.covered_ms = sum.covered_ms.saturating_add(sample.covered_ms);
        for direction in [IN, OUT] {
            sum.bytes[direction] = sum.bytes[direction].saturating_add(sample.bytes[direction]);
            sum.packets[direction] =
                sum.packets[direction].saturating_add(sample.packets[direction]);
        }
    }
    intervals
}

fn with_overhead(sample: &Sample, overhead: u32) -> [u64; 2] {
    [IN, OUT].map(|direction| {
        let added = sample.packets[direction].saturating_mul(overhead.into());
        sample.bytes[direction].saturating_add(added)
    })
}

fn method_rate(method: Method, intervals: &BTreeMap<u64, IntervalRates>) -> MethodRate {
    let rate = |of: fn([f64; 2]) -> f64| {
        let mut rates: Vec<f64> = intervals.values().map(|i| of(i.rates)).collect();
        let peak = intervals
            .iter()
            .map(|(at, interval)| (of(interval.rates), at * INTERVAL))
            // the first of equal ones
            .reduce(|peak, next| if next.0 > peak.0 { next } else { peak });
        rates.sort_unstable_by(f64::total_cmp);
        MethodRate {
            method,
            p95: percentile::nearest_rank(&rates),
            p95_interpolated: percentile::interpolated(&rates),
            peak: peak.map(|(rate, _)| rate),
            peak_time: peak.map(|(_, time)| time),
        }
    };
    match method {
        Method::In => rate(|rates| rates[IN]),
        Method::Out => rate(|rates| rates[OUT]),
        Method::MaxBySample => rate(|rates| rates[IN].max(rates[OUT])),
        Method::SumBySample => rate(|rates| rates[IN] + rates[OUT]),
        Method::Max => {
            let (received, sent) = (rate(|rates| rates[IN]), rate(|rates| rates[OUT]));
            let larger = |a: Option<f64>, b: Option<f64>| a.zip(b).map(|(a, b)| a.max(b));
            let peak = match sent.peak > received.peak {
                true => &sent,
                false => &received,
            };
            MethodRate {
                method,
                p95: larger(received.p95, sent.p95),
                p95_interpolated: larger(received.p95_interpolated, sent.p95_interpolated),
                peak: peak.peak,
                peak_time: peak.peak_time,
            }
        }
    }
}
