// SPDX-License-Identifier: AGPL-3.0-only
//! Kernel stamps → wall clock.
//!
//! The kernel stamps records with CLOCK_BOOTTIME, which never steps. The offset to the wall clock is
//! measured each second and applied when a record arrives, so that a stepped clock or a suspend moves
//! later flows only.

use std::time::{Duration, Instant};

use rustix::time::{ClockId, Timespec, clock_gettime};

/// The offset is measured again after this time.
const REFRESH_AFTER: Duration = Duration::from_secs(1);

/// CLOCK_REALTIME minus CLOCK_BOOTTIME, in nanoseconds.
#[derive(Clone, Debug)]
pub struct Clock {
    offset: i64,
    measured: Instant,
}

impl Clock {
    /// Measures the offset now.
    pub fn new() -> Self {
        Self {
            offset: measure(),
            measured: Instant::now(),
        }
    }

    /// A clock with a known offset.
    pub fn with_offset(offset: i64) -> Self {
        Self {
            offset,
            measured: Instant::now(),
        }
    }

    /// Measures again if the last time is a second ago.
    pub fn refresh(&mut self, now: Instant) {
        if now.saturating_duration_since(self.measured) >= REFRESH_AFTER {
            self.offset = measure();
            self.measured = now;
        }
    }

    /// Nanoseconds since the Unix epoch for a CLOCK_BOOTTIME stamp.
    pub fn wall(&self, boot: u64) -> u64 {
        boot.saturating_add_signed(self.offset)
    }
}

impl Default for Clock {
    fn default() -> Self {
        Self::new()
    }
}

fn nanoseconds(t: Timespec) -> i64 {
    t.tv_sec
        .saturating_mul(1_000_000_000)
        .saturating_add(t.tv_nsec)
}

/// Reads the wall clock between two readings of the boot clock; of three tries the tightest counts,
/// since a reading that was interrupted is off by as long as the interruption took.
fn measure() -> i64 {
    (0..3)
        .map(|_| {
            let before = nanoseconds(clock_gettime(ClockId::Boottime));
            let wall = nanoseconds(clock_gettime(ClockId::Realtime));
            let after = nanoseconds(clock_gettime(ClockId::Boottime));
            (after - before, wall - (before + (after - before) / 2))
        })
        .min()
        .map_or(0, |(_, offset)| offset)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{SystemTime, UNIX_EPOCH};

    #[test]
    fn a_stamp_taken_now_is_the_wall_clock_now() {
        let clock = Clock::new();
        let boot = nanoseconds(clock_gettime(ClockId::Boottime)) as u64;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let wall = clock.wall(boot);
        let difference = (now.as_nanos() as u64).abs_diff(wall);
        assert!(difference < 50_000_000, "{difference} ns apart");
    }

    #[test]
    fn a_step_moves_later_stamps_only() {
        let mut clock = Clock::with_offset(500);
        let earlier = clock.wall(1_000);
        clock.refresh(Instant::now());
        assert_eq!(clock.wall(1_000), earlier, "within a second nothing moves");
        clock.refresh(Instant::now() + REFRESH_AFTER);
        assert_ne!(clock.wall(1_000), earlier);
    }

    #[test]
    fn offsets_never_wrap() {
        assert_eq!(Clock::with_offset(-5).wall(3), 0);
        assert_eq!(Clock::with_offset(5).wall(u64::MAX), u64::MAX);
    }
}
