// SPDX-License-Identifier: AGPL-3.0-only
//! When to warn of a collector that cannot be reached (pure). An outage can last for days, and the metrics count
//! its errors: warnings become rarer.

use std::time::{Duration, Instant};

/// The time between the first two warnings. It doubles with each warning.
const FIRST_INTERVAL: Duration = Duration::from_secs(10);
const LONGEST_INTERVAL: Duration = Duration::from_secs(600);
/// A collector that was reachable for this time has recovered: the next failure is a new outage.
const RECOVERED_AFTER: Duration = FIRST_INTERVAL;

#[derive(Debug)]
pub struct Outages {
    interval: Duration,
    /// The time of the next warning; `None`: the next failure is the first.
    next: Option<Instant>,
    /// Failures since the last warning.
    left_out: u64,
    /// The time since which the collector has been reachable.
    reachable_since: Option<Instant>,
}

impl Outages {
    pub fn new() -> Self {
        Self {
            interval: FIRST_INTERVAL,
            next: None,
            left_out: 0,
            reachable_since: None,
        }
    }

    /// Notes that the collector is reachable.
    pub fn reached(&mut self, now: Instant) {
        self.reachable_since = Some(now);
    }

    /// Notes a failure. Returns `Some(n)` if it is time for a warning; n failures since the previous one had none.
    pub fn failed(&mut self, now: Instant) -> Option<u64> {
        let reachable_since = self.reachable_since.take();
        if reachable_since.is_some_and(|since| now - since >= RECOVERED_AFTER) {
            *self = Self::new();
        }
        if self.next.is_some_and(|next| now < next) {
            self.left_out += 1;
            return None;
        }
        self.next = Some(now + self.interval);
        self.interval = (2 * self.interval).min(LONGEST_INTERVAL);
        Some(std::mem::take(&mut self.left_out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the times of the warnings in `seconds`, with a failure in each.
    fn warnings(outages: &mut Outages, start: Instant, seconds: std::ops::Range<u64>) -> Vec<u64> {
        let warns = |&second: &u64| {
            let now = start + Duration::from_secs(second);
            outages.failed(now).is_some()
        };
        seconds.filter(warns).collect()
    }

    #[test]
    fn the_interval_doubles_up_to_ten_minutes() {
        let (mut outages, start) = (Outages::new(), Instant::now());
        let expected = [0, 10, 30, 70, 150, 310, 630, 1_230, 1_830, 2_430];
        assert_eq!(warnings(&mut outages, start, 0..3_000), expected);
        let failed = outages.failed(start + Duration::from_secs(3_030));
        assert_eq!(failed, Some(569), "failures without a warning");
    }

    #[test]
    fn a_recovered_collector_starts_again() {
        let (mut outages, start) = (Outages::new(), Instant::now());
        assert_eq!(warnings(&mut outages, start, 0..100), [0, 10, 30, 70]);
        // too short: it accepts connections and closes them
        outages.reached(start + Duration::from_secs(100));
        assert_eq!(warnings(&mut outages, start, 101..140), [0; 0]);
        outages.reached(start + Duration::from_secs(140));
        assert_eq!(warnings(&mut outages, start, 200..240), [200, 210, 230]);
    }
}
