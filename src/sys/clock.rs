// SPDX-License-Identifier: AGPL-3.0-only
//! Converts kernel time stamps to the wall clock.
//!
//! The kernel stamps records with CLOCK_BOOTTIME, which never steps, and flows keep these times. Both times of a
//! flow are converted together when rfm exports the flow, with the offset of that moment: a step of the wall
//! clock moves start and end equally and never changes a duration.
//!
//! The kernel's stamps are those of the machine. In a time namespace (time_namespaces(7)) this process reads a
//! shifted clock; rfm subtracts the shift.

use std::fs;
use std::sync::OnceLock;
use std::time::{Duration, Instant, SystemTime};

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

    /// Returns a clock with a fixed offset.
    pub fn with_offset(offset: i64) -> Self {
        Self {
            offset,
            measured: None,
        }
    }

    /// Measures the offset again if the previous measurement is at least a second old.
    pub fn refresh(&mut self, now: Instant) {
        if let Some(measured) = &mut self.measured
            && now.saturating_duration_since(*measured) >= REFRESH_AFTER
        {
            self.offset = measure();
            *measured = now;
        }
    }

    /// Returns the nanoseconds since the Unix epoch for a CLOCK_BOOTTIME stamp.
    pub fn wall(&self, boot: u64) -> u64 {
        boot.saturating_add_signed(self.offset)
    }
}

impl Default for Clock {
    fn default() -> Self {
        Self::new()
    }
}

/// Converts the times of a monotonic clock to the wall clock, each always to the same time: a step of
/// the wall clock does not move times that were converted before it. Those are no longer converted.
#[derive(Debug)]
pub struct WallClock {
    epoch: Instant,
    times: WallTimes,
    measured_ms: u64,
}

/// The conversion of a [`WallClock`] at one moment. The default is that of a clock that began at the
/// Unix epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WallTimes {
    offset_ms: i64,
    /// No earlier time is converted.
    since_ms: u64,
}

/// A difference of the two clocks that is smaller is not a step: it does not change the conversion.
const STEP_MS: u64 = 250;

impl WallClock {
    /// Returns a clock for the milliseconds since `epoch`.
    pub fn new(epoch: Instant) -> Self {
        let (measured_ms, offset_ms) = offset_since(epoch);
        Self {
            epoch,
            times: WallTimes {
                offset_ms,
                since_ms: 0,
            },
            measured_ms,
        }
    }

    /// Returns the conversion of times up to now.
    pub fn times(&mut self) -> WallTimes {
        let (now_ms, offset_ms) = offset_since(self.epoch);
        self.update(now_ms, offset_ms);
        self.times
    }

    /// Returns the milliseconds of `time` on the monotonic clock.
    pub fn ms(&self, time: Instant) -> u64 {
        time.saturating_duration_since(self.epoch).as_millis() as u64
    }

    fn update(&mut self, now_ms: u64, offset_ms: i64) {
        if offset_ms.abs_diff(self.times.offset_ms) > STEP_MS {
            self.times = WallTimes {
                offset_ms,
                since_ms: self.measured_ms.saturating_add(1),
            };
        }
        self.measured_ms = now_ms;
    }
}

impl WallTimes {
    /// Returns the milliseconds since the Unix epoch; `None` for times before a step of the wall clock.
    pub fn wall_ms(self, ms: u64) -> Option<u64> {
        let wall_ms = ms.saturating_add_signed(self.offset_ms);
        (ms >= self.since_ms).then_some(wall_ms)
    }

    /// Returns whether the wall clock has not stepped since the clock was created.
    pub fn is_from_start(self) -> bool {
        self.since_ms == 0
    }
}

/// Returns the milliseconds since `epoch`, and the offset of the wall clock to them. The best of three
/// attempts counts, as in [`measure`].
fn offset_since(epoch: Instant) -> (u64, i64) {
    let attempt = |_| {
        let before = epoch.elapsed();
        let wall = nanoseconds(clock_gettime(ClockId::Realtime));
        let after = epoch.elapsed();
        let middle = before + (after - before) / 2;
        (
            after - before,
            after,
            wall / 1_000_000 - middle.as_millis() as i64,
        )
    };
    let best = (0..3).map(attempt).min();
    best.map_or((0, 0), |(_, after, offset)| {
        (after.as_millis() as u64, offset)
    })
}

/// Returns CLOCK_BOOTTIME of the machine now, in nanoseconds, as in the times of records.
pub fn boot_ns() -> u64 {
    boottime().max(0).unsigned_abs()
}

/// Returns the seconds since the Unix epoch.
pub fn unix_seconds() -> u64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    now.map_or(0, |since| since.as_secs())
}

fn boottime() -> i64 {
    nanoseconds(clock_gettime(ClockId::Boottime)).saturating_sub(shift())
}

/// Returns the shift of CLOCK_BOOTTIME in this process's time namespace, in nanoseconds. It never changes.
fn shift() -> i64 {
    static SHIFT: OnceLock<i64> = OnceLock::new();
    *SHIFT.get_or_init(|| {
        // without time namespaces (CONFIG_TIME_NS) there is no such file
        fs::read_to_string("/proc/self/timens_offsets").map_or(0, |text| shift_in(&text))
    })
}

/// Reads the shift from lines such as `boottime 86400 0`: seconds and nanoseconds.
fn shift_in(offsets: &str) -> i64 {
    let shift = |line: &str| {
        let mut words = line.split_ascii_whitespace();
        (words.next() == Some("boottime")).then_some(())?;
        let seconds: i64 = words.next()?.parse().ok()?;
        let rest: i64 = words.next()?.parse().ok()?;
        Some(seconds.saturating_mul(1_000_000_000).saturating_add(rest))
    };
    offsets.lines().find_map(shift).unwrap_or(0)
}

/// Returns the nearest time that has a text as in RFC 3339, which ends with the year 9999. Times from outside
/// may have any value.
pub fn printable(time: SystemTime) -> SystemTime {
    const LAST: Duration = Duration::new(253_402_300_799, 999_999_999);
    time.clamp(SystemTime::UNIX_EPOCH, SystemTime::UNIX_EPOCH + LAST)
}

/// Returns a printable time for a duration since the Unix epoch that was received from outside.
pub fn printable_since_epoch(since: Duration) -> SystemTime {
    let time = SystemTime::UNIX_EPOCH.checked_add(since);
    // a time that this type cannot hold is later than all that it can hold
    printable(time.unwrap_or_else(|| SystemTime::UNIX_EPOCH + Duration::from_secs(1 << 40)))
}

fn nanoseconds(t: Timespec) -> i64 {
    t.tv_sec
        .saturating_mul(1_000_000_000)
        .saturating_add(t.tv_nsec)
}

/// Reads the wall clock between two readings of the boot clock. The one of three attempts that took the least
/// time counts: an interruption makes a reading inexact by its duration.
fn measure() -> i64 {
    (0..3)
        .map(|_| {
            let before = boottime();
            let wall = nanoseconds(clock_gettime(ClockId::Realtime));
            let after = boottime();
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
    fn the_shift_of_a_time_namespace_is_read() {
        let text = "monotonic           0         7\nboottime     -86400         5\n";
        assert_eq!(shift_in(text), -86_400_000_000_000 + 5);
        for none in ["", "boottime", "boottime x 0", "monotonic 1 1"] {
            assert_eq!(shift_in(none), 0, "{none:?}");
        }
    }

    #[test]
    fn each_time_has_a_text() {
        use humantime_serde::re::humantime::format_rfc3339_nanos;
        let since = [0, 1, u64::MAX / 1000, u64::MAX].map(Duration::from_secs);
        for since in since.into_iter().chain([Duration::MAX]) {
            let text = format_rfc3339_nanos(printable_since_epoch(since)).to_string();
            assert!(text.ends_with('Z'), "{text}");
        }
        let before = UNIX_EPOCH - Duration::from_secs(1);
        assert_eq!(printable(before), UNIX_EPOCH);
    }

    #[test]
    fn a_time_that_was_converted_never_moves() {
        let mut clock = WallClock::new(Instant::now());
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let converted = clock.times().wall_ms(0).unwrap();
        assert!(converted.abs_diff(wall.as_millis() as u64) < 50);
        clock.times.offset_ms = 1_000_000;
        clock.update(10_000, 1_000_000 + 250);
        let before = clock.times;
        assert_eq!(before.wall_ms(10_000), Some(1_010_000), "not a step");
        assert!(before.is_from_start());
        // the clock steps back: of a time in the future, a database would see a counter begin again
        clock.update(20_000, 1_000);
        let after = clock.times;
        assert_eq!([0, 10_000].map(|ms| after.wall_ms(ms)), [None, None]);
        assert_eq!(after.wall_ms(10_001), Some(11_001), "not converted before");
        assert!(!after.is_from_start());
    }

    #[test]
    fn offsets_never_wrap() {
        assert_eq!(Clock::with_offset(-5).wall(3), 0);
        assert_eq!(Clock::with_offset(5).wall(u64::MAX), u64::MAX);
    }
}
