// SPDX-License-Identifier: AGPL-3.0-only
//! Decides how thread ring waits for the next records: for a wakeup, or by polling. Pure.
//!
//! A wakeup costs about 5 µs on either side: an interrupt to the own CPU and a context switch. At about 100,000
//! records a second, one wakeup for each batch would cost more than reading. Therefore the thread polls above a
//! certain rate: it sleeps for a short interval, and the programs send no wakeups. While there are no records,
//! it waits longer: a read costs 50 µs of an idle CPU.
//!
//! The rate is records per time, not per round: in a flood poll(2) returns at once while the ring has any
//! record, and a round then reads only a few.

use std::time::{Duration, Instant};

/// Bounds the delay of a record that did not fill a wakeup batch.
const WAKEUP_TIMEOUT: Duration = Duration::from_millis(100);

/// With a flow cache every sweep that sent a record wakes the reader. After this number of rounds without a
/// record, which take longer than a sweep, the timeout is only for the heartbeat.
const IDLE_ROUNDS: u32 = 20;
const IDLE_TIMEOUT: Duration = Duration::from_millis(500);

/// With this interval the default ring of 2,184 records is large enough for 8 million records a second.
const POLL_INTERVAL: Duration = Duration::from_micros(250);

/// The rate that starts polling, in records per millisecond, and the minimum time to measure it.
const START_RATE: u64 = 256;
const START_AFTER: Duration = Duration::from_millis(1);

/// The rate below which polling stops: 4,000 rounds a second cost as much as the wakeups for about
/// 128,000 records. The gaps of a bursty flood are shorter than the time of the measurement.
const STOP_RATE: u64 = 128;
const STOP_AFTER: Duration = Duration::from_millis(50);

/// How to wait for the next round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// Until the programs wake the thread, at most for this time.
    ForWakeup(Duration),
    /// For this time; the programs send no wakeups.
    Sleep(Duration),
}

/// The rate of the last rounds, and the mode.
pub struct AdaptivePolling {
    sweeps_wake: bool,
    idle_rounds: u32,
    polling: bool,
    /// The start of the measurement, and the records since then.
    since: Instant,
    records: u64,
}

impl AdaptivePolling {
    /// Returns the initial state. `sweeps_wake`: there is a flow cache, whose sweeps wake the reader.
    pub fn new(sweeps_wake: bool, now: Instant) -> Self {
        Self {
            sweeps_wake,
            idle_rounds: 0,
            polling: false,
            since: now,
            records: 0,
        }
    }

    /// Returns how to wait after a round that read this number of records.
    pub fn next(&mut self, records: usize, now: Instant) -> Wait {
        self.idle_rounds = if records == 0 {
            self.idle_rounds.saturating_add(1)
        } else {
            0
        };
        self.records += records as u64;
        let elapsed = now.saturating_duration_since(self.since);
        let (limit, time) = if self.polling {
            (STOP_RATE, STOP_AFTER)
        } else {
            (START_RATE, START_AFTER)
        };
        if elapsed >= time {
            self.polling = self.records as f64 >= limit as f64 * elapsed.as_secs_f64() * 1e3;
            (self.since, self.records) = (now, 0);
        }
        if self.polling {
            Wait::Sleep(POLL_INTERVAL)
        } else if self.sweeps_wake && self.idle_rounds >= IDLE_ROUNDS {
            Wait::ForWakeup(IDLE_TIMEOUT)
        } else {
            Wait::ForWakeup(WAKEUP_TIMEOUT)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: Duration = Duration::from_micros(10);

    /// Runs rounds of `records` each, `INTERVAL` apart; returns how it waits after the last.
    fn rounds(
        polling: &mut AdaptivePolling,
        now: &mut Instant,
        count: u32,
        records: usize,
    ) -> Wait {
        let mut wait = None;
        for _ in 0..count {
            *now += INTERVAL;
            wait = Some(polling.next(records, *now));
        }
        wait.unwrap()
    }

    #[test]
    fn a_flood_is_read_without_wakeups_until_it_ends() {
        let mut now = Instant::now();
        let mut polling = AdaptivePolling::new(true, now);
        // 250,000 a second, then 300,000, in rounds of two and three: poll(2) has no time to sleep
        let wakeup = Wait::ForWakeup(WAKEUP_TIMEOUT);
        assert_eq!(rounds(&mut polling, &mut now, 500, 2), wakeup);
        assert_eq!(
            rounds(&mut polling, &mut now, 100, 3),
            Wait::Sleep(POLL_INTERVAL)
        );
        // no records for a short time, or half the rate, do not stop it; a much lower rate does
        assert_eq!(
            rounds(&mut polling, &mut now, 1_000, 0),
            Wait::Sleep(POLL_INTERVAL)
        );
        assert_eq!(
            rounds(&mut polling, &mut now, 9_000, 2),
            Wait::Sleep(POLL_INTERVAL)
        );
        assert_eq!(rounds(&mut polling, &mut now, 9_000, 1), wakeup);
    }

    #[test]
    fn a_burst_after_idle_time_is_no_flood() {
        let mut now = Instant::now();
        let mut polling = AdaptivePolling::new(true, now);
        now += WAKEUP_TIMEOUT;
        assert_eq!(polling.next(512, now), Wait::ForWakeup(WAKEUP_TIMEOUT));
    }

    #[test]
    fn idle_rounds_are_longer_if_sweeps_wake_the_reader() {
        for (sweeps_wake, timeout) in [(true, IDLE_TIMEOUT), (false, WAKEUP_TIMEOUT)] {
            let mut now = Instant::now();
            let mut polling = AdaptivePolling::new(sweeps_wake, now);
            let wakeup = Wait::ForWakeup(WAKEUP_TIMEOUT);
            assert_eq!(rounds(&mut polling, &mut now, IDLE_ROUNDS - 1, 0), wakeup);
            assert_eq!(polling.next(0, now), Wait::ForWakeup(timeout));
            assert_eq!(polling.next(1, now), wakeup);
        }
    }
}
