// SPDX-License-Identifier: AGPL-3.0-only
//! How thread ring waits for the next records (pure).
//!
//! Woken for every batch, it would spend more on being woken than on reading once records come by the
//! hundred thousand a second: an interrupt to the own CPU and a context switch for each batch, some 3 µs.
//! From a certain rate on it comes back by itself after a short pause, and tells the programs so. When
//! nothing comes, it looks less often: a look costs 50 µs of an idle CPU.

use std::time::Duration;

/// Bounds the delay of a record that did not fill a wakeup batch.
const POLL_TIMEOUT: Duration = Duration::from_millis(100);

/// With a flow cache every sweep that sent something wakes the reader, so that after this many rounds
/// without a record, more than a sweep takes, the timeout is only for the heartbeat.
const SILENT_ROUNDS: u32 = 20;
const SILENT_TIMEOUT: Duration = Duration::from_millis(500);

/// The ring of 2,184 records, as it is by default, then lasts to 8 million records a second.
const PAUSE: Duration = Duration::from_micros(250);

/// Fewer records than this in a round: it pays again to be woken.
const BUSY: usize = 64;

/// Rounds in succession with so many records before it starts to come back by itself.
const BUSY_ROUNDS: u32 = 4;

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
    busy: u32,
}

impl Pace {
    /// `sweeps_wake`: there is a flow cache, whose sweeps wake the reader.
    pub fn new(sweeps_wake: bool) -> Self {
        Self {
            sweeps_wake,
            silent: 0,
            busy: 0,
        }
    }

    /// After a round that read so many records.
    pub fn next(&mut self, records: usize) -> Wait {
        self.silent = if records == 0 {
            self.silent.saturating_add(1)
        } else {
            0
        };
        self.busy = if records >= BUSY {
            self.busy.saturating_add(1)
        } else {
            0
        };
        if self.busy >= BUSY_ROUNDS {
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

    #[test]
    fn a_flood_is_read_without_wakeups_until_it_ebbs() {
        let mut pace = Pace::new(true);
        for _ in 1..BUSY_ROUNDS {
            assert_eq!(pace.next(BUSY), Wait::Poll(POLL_TIMEOUT));
        }
        assert_eq!(pace.next(BUSY), Wait::Pause(PAUSE));
        assert_eq!(pace.next(BUSY), Wait::Pause(PAUSE));
        assert_eq!(pace.next(BUSY - 1), Wait::Poll(POLL_TIMEOUT));
        assert_eq!(pace.next(BUSY), Wait::Poll(POLL_TIMEOUT));
    }

    #[test]
    fn silence_is_looked_at_less_often_where_sweeps_wake() {
        for (sweeps_wake, timeout) in [(true, SILENT_TIMEOUT), (false, POLL_TIMEOUT)] {
            let mut pace = Pace::new(sweeps_wake);
            for _ in 1..SILENT_ROUNDS {
                assert_eq!(pace.next(0), Wait::Poll(POLL_TIMEOUT));
            }
            assert_eq!(pace.next(0), Wait::Poll(timeout));
            assert_eq!(pace.next(1), Wait::Poll(POLL_TIMEOUT));
        }
    }
}
