// SPDX-License-Identifier: AGPL-3.0-only
//! How thread ring waits for the next records (pure).
//!
//! Woken for every batch, it would spend more on being woken than on reading once records come by the
//! hundred thousand a second: an interrupt to the own CPU and a context switch for each batch, some 5 µs
//! on either side. From a certain rate on it comes back by itself after a short pause, and tells the
//! programs so. When nothing comes, it looks less often: a look costs 50 µs of an idle CPU.
//!
//! What counts is records in a time, not in a round: in a flood poll(2) returns at once, as long as
//! there is anything to read, and a round then has a handful.

use std::time::{Duration, Instant};

/// Bounds the delay of a record that did not fill a wakeup batch.
const POLL_TIMEOUT: Duration = Duration::from_millis(100);

/// With a flow cache every sweep that sent something wakes the reader, so that after this many rounds
/// without a record, more than a sweep takes, the timeout is only for the heartbeat.
const SILENT_ROUNDS: u32 = 20;
const SILENT_TIMEOUT: Duration = Duration::from_millis(500);

/// The ring of 2,184 records, as it is by default, then lasts to 8 million records a second.
const PAUSE: Duration = Duration::from_micros(250);

/// The rate is judged over at least this time.
const WINDOW: Duration = Duration::from_millis(1);

/// Records in a window from which on it comes back by itself, and below which it is woken again: 4,000
/// rounds a second cost as much as the wakeups for some 128,000 records.
const BUSY: u64 = 256;
const CALM: u64 = 128;

/// How to wait for the next round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// Until woken, or for so long.
    Poll(Duration),
    /// For so long, and the programs need not wake anybody.
    Pause(Duration),
}

/// What the last rounds were like.
pub struct Pace {
    sweeps_wake: bool,
    silent: u32,
    pausing: bool,
    /// The begin of the window, and the records in it.
    since: Instant,
    records: u64,
}

impl Pace {
    /// `sweeps_wake`: there is a flow cache, whose sweeps wake the reader.
    pub fn new(sweeps_wake: bool, now: Instant) -> Self {
        Self {
            sweeps_wake,
            silent: 0,
            pausing: false,
            since: now,
            records: 0,
        }
    }

    /// After a round that read so many records.
    pub fn next(&mut self, records: usize, now: Instant) -> Wait {
        self.silent = if records == 0 {
            self.silent.saturating_add(1)
        } else {
            0
        };
        self.records += records as u64;
        let elapsed = now.saturating_duration_since(self.since);
        if elapsed >= WINDOW {
            let limit = if self.pausing { CALM } else { BUSY };
            let windows = elapsed.as_secs_f64() / WINDOW.as_secs_f64();
            self.pausing = self.records as f64 >= limit as f64 * windows;
            (self.since, self.records) = (now, 0);
        }
        if self.pausing {
            Wait::Pause(PAUSE)
        } else if self.sweeps_wake && self.silent >= SILENT_ROUNDS {
            Wait::Poll(SILENT_TIMEOUT)
        } else {
            Wait::Poll(POLL_TIMEOUT)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STEP: Duration = Duration::from_micros(10);

    /// Rounds of so many records each, `STEP` apart: how it waits after the last.
    fn rounds(pace: &mut Pace, now: &mut Instant, count: u32, records: usize) -> Wait {
        let mut wait = None;
        for _ in 0..count {
            *now += STEP;
            wait = Some(pace.next(records, *now));
        }
        wait.unwrap()
    }

    #[test]
    fn a_flood_is_read_without_wakeups_until_it_ebbs() {
        let mut now = Instant::now();
        let mut pace = Pace::new(true, now);
        // 250,000 a second, then 300,000, in rounds of two and three: poll(2) has no time to sleep
        let polls = Wait::Poll(POLL_TIMEOUT);
        assert_eq!(rounds(&mut pace, &mut now, 500, 2), polls);
        assert_eq!(rounds(&mut pace, &mut now, 100, 3), Wait::Pause(PAUSE));
        // it goes on at less, and ends at much less
        assert_eq!(rounds(&mut pace, &mut now, 100, 2), Wait::Pause(PAUSE));
        assert_eq!(rounds(&mut pace, &mut now, 100, 1), polls);
    }

    #[test]
    fn a_burst_after_silence_is_no_flood() {
        let mut now = Instant::now();
        let mut pace = Pace::new(true, now);
        now += POLL_TIMEOUT;
        assert_eq!(pace.next(512, now), Wait::Poll(POLL_TIMEOUT));
    }

    #[test]
    fn silence_is_looked_at_less_often_where_sweeps_wake() {
        for (sweeps_wake, timeout) in [(true, SILENT_TIMEOUT), (false, POLL_TIMEOUT)] {
            let mut now = Instant::now();
            let mut pace = Pace::new(sweeps_wake, now);
            let polls = Wait::Poll(POLL_TIMEOUT);
            assert_eq!(rounds(&mut pace, &mut now, SILENT_ROUNDS - 1, 0), polls);
            assert_eq!(pace.next(0, now), Wait::Poll(timeout));
            assert_eq!(pace.next(1, now), polls);
        }
    }
}
