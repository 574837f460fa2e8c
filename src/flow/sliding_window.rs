// SPDX-License-Identifier: AGPL-3.0-only
//! The traffic of the last five minutes.

/// The current minute and the five previous ones.
const MINUTES: u32 = 6;
const MINUTE_MS: u64 = 60_000;

/// Returns the number of the minute that contains a monotonic time.
pub fn minute(now_ms: u64) -> u32 {
    (now_ms / MINUTE_MS) as u32
}

/// Bytes by minute. Old minutes are cleared on the next use, so that idle windows cost nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SlidingWindow {
    /// The minute of the last addition.
    minute: u32,
    bytes: [u64; MINUTES as usize],
}

impl SlidingWindow {
    pub fn add(&mut self, minute: u32, bytes: u64) {
        self.advance(minute);
        let slot = &mut self.bytes[(minute % MINUTES) as usize];
        *slot = slot.saturating_add(bytes);
    }

    /// Adds the bytes of another window, minute by minute.
    pub fn merge(&mut self, minute: u32, mut other: Self) {
        self.advance(minute);
        other.advance(minute);
        for (mine, theirs) in self.bytes.iter_mut().zip(other.bytes) {
            *mine = mine.saturating_add(theirs);
        }
    }

    pub fn sum(mut self, minute: u32) -> u64 {
        self.advance(minute);
        self.bytes.iter().fold(0, |sum, &b| sum.saturating_add(b))
    }

    fn advance(&mut self, minute: u32) {
        let passed = minute.saturating_sub(self.minute);
        for back in 0..passed.min(MINUTES) {
            self.bytes[((minute - back) % MINUTES) as usize] = 0;
        }
        self.minute += passed;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_the_running_minute_and_five_before() {
        let mut recent = SlidingWindow::default();
        for minute in 100..120 {
            recent.add(minute, 1);
            recent.add(minute, 10);
        }
        assert_eq!(recent.sum(119), 6 * 11);
        assert_eq!(recent.sum(121), 4 * 11);
        assert_eq!(recent.sum(124), 11);
        assert_eq!(recent.sum(125), 0);
        assert_eq!(recent.sum(10_000), 0);
    }

    #[test]
    fn merging_keeps_the_minutes_apart() {
        let (mut a, mut b) = (SlidingWindow::default(), SlidingWindow::default());
        a.add(10, 1);
        b.add(12, 100);
        a.merge(13, b);
        assert_eq!(a.sum(15), 101);
        assert_eq!(a.sum(16), 100);
        assert_eq!(a.sum(18), 0);
    }
}
