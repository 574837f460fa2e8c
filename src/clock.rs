// SPDX-License-Identifier: AGPL-3.0-only
//! Kernel stamps → wall clock.
//!
//! The kernel stamps records with CLOCK_BOOTTIME, which never steps, and flows keep these times. Both
//! times of a flow are converted together when the flow leaves rfm, with the offset of that moment: a step
//! of the wall clock moves start and end alike and never changes a duration.

use std::time::{Duration, Instant};

use rustix::time::{ClockId, Timespec, clock_gettime};

/// The offset is measured again after this time.
const REFRESH_AFTER: Duration = Duration::from_secs(1);

/// CLOCK_REALTIME minus CLOCK_BOOTTIME, in nanoseconds.
#[derive(Clone, Debug)]
pub struct Clock {
    offset: i64,
    /// `None`: the offset is fixed.
    measured: Option<Instant>,
}

impl Clock {
    /// Measures the offset now.
    pub fn new() -> Self {
        Self {
            offset: measure(),
            measured: Some(Instant::now()),
        }
    }

    /// A clock with a known offset, which stays.
    pub fn with_offset(offset: i64) -> Self {
        Self {
            offset,
            measured: None,
        }
    }

    /// Measures again if the last time is a second ago.
    pub fn refresh(&mut self, now: Instant) {
        if let Some(measured) = &mut self.measured
            && now.saturating_duration_since(*measured) >= REFRESH_AFTER
        {
            self.offset = measure();
            *measured = now;
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

/// CLOCK_BOOTTIME now, in nanoseconds, as in the times of records.
pub fn boot_ns() -> u64 {
    nanoseconds(clock_gettime(ClockId::Boottime)).unsigned_abs()
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
        let boot = boot_ns();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let wall = clock.wall(boot);
        let difference = (now.as_nanos() as u64).abs_diff(wall);
        assert!(difference < 50_000_000, "{difference} ns apart");
    }

    #[test]
    fn the_offset_is_measured_again_after_a_second() {
        let mut clock = Clock::new();
        clock.offset = 500;
        clock.refresh(Instant::now());
        assert_eq!(clock.offset, 500);
        clock.refresh(Instant::now() + REFRESH_AFTER);
        assert_ne!(clock.offset, 500);
        let mut fixed = Clock::with_offset(500);
        fixed.refresh(Instant::now() + REFRESH_AFTER);
        assert_eq!(fixed.offset, 500);
    }

    #[test]
    fn a_step_of_the_wall_clock_moves_start_and_end_alike() {
        const DAY: i64 = 86_400_000_000_000;
        let (first, last) = (5_000_000_000, 65_000_000_000);
        for step in [-1_095 * DAY, -30 * DAY, 0, 30 * DAY, 1_095 * DAY] {
            let clock = Clock::with_offset(20_000 * DAY + step);
            assert_eq!(clock.wall(last) - clock.wall(first), last - first);
        }
    }

    #[test]
    fn offsets_never_wrap() {
        assert_eq!(Clock::with_offset(-5).wall(3), 0);
        assert_eq!(Clock::with_offset(5).wall(u64::MAX), u64::MAX);
    }
}
