// SPDX-License-Identifier: AGPL-3.0-only
//! The 95th percentile of each interface in the current month, for /metrics.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::{INTERVAL, Method, bill};
use crate::store::files::calendar::month_start;
use crate::store::reader::HistoryReader;
use crate::store::types::{SampleSource, TimeSpan};
use crate::types::flow::Direction;

/// Seconds after the end of an interval until its samples are stored.
const GRACE: u64 = 30;
/// The pause after a calculation, as a multiple of its time: it takes at most 0.1 % of a CPU.
const PAUSE: u32 = 1000;

/// The percentiles of an interface by [`Direction`], in bytes per second; `None` without a sample.
#[derive(Clone, Debug, PartialEq)]
pub struct MonthPercentile {
    pub interface: Arc<str>,
    pub bytes_per_second: [Option<f64>; Direction::ALL.len()],
}

/// The percentiles that one thread calculates and others read.
#[derive(Debug, Default)]
pub struct MonthPercentiles(Mutex<Arc<[MonthPercentile]>>);

impl MonthPercentiles {
    pub fn get(&self) -> Arc<[MonthPercentile]> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn set(&self, percentiles: Arc<[MonthPercentile]>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = percentiles;
    }
}

/// Returns the percentiles of the month (UTC) that contains `now`, in Unix seconds, up to the last complete
/// sample.
pub fn percentiles(reader: &HistoryReader, now: u64) -> Arc<[MonthPercentile]> {
    let span = TimeSpan::new(month_start(now), now - now % INTERVAL);
    let sources = reader.sources(span).into_iter();
    let of_interface = sources.filter_map(|source| {
        let samples = reader.samples(span, &source).samples;
        let SampleSource::Interface(interface) = source else {
            return None;
        };
        let bill = bill(&[(interface.to_string(), samples)], span, 0);
        let rate = |method: Method| {
            let rate = bill.rates.iter().find(|rate| rate.method == method)?;
            rate.p95.map(|bits| bits / 8.0)
        };
        Some(MonthPercentile {
            interface,
            bytes_per_second: Direction::ALL.map(|direction| match direction {
                Direction::Ingress => rate(Method::In),
                Direction::Egress => rate(Method::Out),
            }),
        })
    });
    of_interface.collect()
}

/// Calculates percentiles again after each sample.
#[derive(Debug)]
pub struct MonthWatch {
    reader: HistoryReader,
    shared: Arc<MonthPercentiles>,
    /// The number of the interval whose samples are included.
    interval: Option<u64>,
    due: Instant,
}

impl MonthWatch {
    pub fn new(reader: HistoryReader, shared: Arc<MonthPercentiles>) -> Self {
        Self {
            reader,
            shared,
            interval: None,
            due: Instant::now(),
        }
    }

    /// Calculates the percentiles if a new sample is complete. `now` is in Unix seconds.
    pub fn update(&mut self, now: u64) {
        let interval = now.saturating_sub(GRACE) / INTERVAL;
        let begun = Instant::now();
        if self.interval == Some(interval) || begun < self.due {
            return;
        }
        self.interval = Some(interval);
        self.shared.set(percentiles(&self.reader, now));
        self.due = Instant::now() + begun.elapsed().min(Duration::from_secs(60)) * PAUSE;
    }
}
