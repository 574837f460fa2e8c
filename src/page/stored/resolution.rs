// SPDX-License-Identifier: AGPL-3.0-only
//! The points of an answer: their length, and the stored points from which they are made (pure).

use crate::store::types::{Tier, TimeSpan};

/// The maximum number of points of a curve: about the width of a chart.
pub const MAX_SLOTS: u64 = 750;
const DAY: u64 = 86_400;
/// The lengths of points in seconds; beyond them whole days.
const STEPS: [u64; 13] = [
    60,
    120,
    300,
    600,
    900,
    1800,
    3600,
    7200,
    10_800,
    21_600,
    43_200,
    DAY,
    2 * DAY,
];
/// Points of 5 minutes are stored for 5 weeks; a margin for files that are being replaced.
const FIVE_MINUTES_REACH: u64 = 34 * DAY;

/// The slots of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slots {
    pub start: u64,
    pub step: u64,
    pub count: usize,
}

impl Slots {
    /// Returns slots of at least `least` seconds that cover a period.
    pub fn covering(span: TimeSpan, least: u64) -> Self {
        let fits = |step: u64| {
            let start = span.from - span.from % step;
            span.to.saturating_sub(start).div_ceil(step) <= MAX_SLOTS
        };
        let known = STEPS.into_iter().find(|step| *step >= least && fits(*step));
        let step = known.unwrap_or_else(|| {
            let days = span.seconds().div_ceil(MAX_SLOTS - 1).div_ceil(DAY);
            days.max(least.div_ceil(DAY)) * DAY
        });
        let start = span.from - span.from % step;
        let count = span.to.saturating_sub(start).div_ceil(step);
        Self {
            start,
            step,
            count: count as usize,
        }
    }

    pub fn span(self) -> TimeSpan {
        let end = self.start.saturating_add(self.step * self.count as u64);
        TimeSpan::new(self.start, end)
    }

    pub fn of(self, time: u64) -> Option<usize> {
        let slot = (time.checked_sub(self.start)? / self.step) as usize;
        (slot < self.count).then_some(slot)
    }

    /// Returns the stored points to read; `None` for the choice of the reader, which has hours for a week.
    pub fn tier(self, now: u64) -> Option<Tier> {
        let is_stored = self.start >= now.saturating_sub(FIVE_MINUTES_REACH);
        let is_between = (Tier::FiveMinutes.seconds()..Tier::Hour.seconds()).contains(&self.step);
        (is_between && is_stored).then_some(Tier::FiveMinutes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_period_has_points_of_a_round_length() {
        const NOW: u64 = 1_793_577_600;
        for (seconds, step, count) in [
            (3600, 60, 60),
            (6 * 3600, 60, 360),
            (DAY, 120, 720),
            (7 * DAY, 900, 672),
            (30 * DAY, 3600, 720),
            (365 * DAY, 43_200, 730),
            (10 * 365 * DAY, 5 * DAY, 730),
        ] {
            let slots = Slots::covering(TimeSpan::new(NOW - seconds, NOW), 60);
            assert_eq!(slots.step, step, "{seconds}");
            assert!(slots.count.abs_diff(count) <= 1, "{seconds}: {slots:?}");
            let span = slots.span();
            assert!(span.from <= NOW - seconds && span.to >= NOW, "{slots:?}");
            assert!(span.to - NOW < step, "{slots:?}");
            assert!(slots.count as u64 <= MAX_SLOTS, "{slots:?}");
        }
        let coarse = Slots::covering(TimeSpan::new(NOW - 3600, NOW), 600);
        assert_eq!((coarse.step, coarse.count), (600, 6));
    }

    #[test]
    fn a_week_has_points_of_five_minutes_while_they_are_stored() {
        const NOW: u64 = 1_793_577_600;
        let tier = |from: u64, to: u64| Slots::covering(TimeSpan::new(from, to), 60).tier(NOW);
        assert_eq!(tier(NOW - 7 * DAY, NOW), Some(Tier::FiveMinutes));
        assert_eq!(tier(NOW - 60 * DAY, NOW - 53 * DAY), None);
        assert_eq!(tier(NOW - DAY, NOW), None);
        assert_eq!(tier(NOW - 30 * DAY, NOW), None);
    }

    #[test]
    fn a_time_has_one_slot() {
        let slots = Slots::covering(TimeSpan::new(1000, 2000), 60);
        assert_eq!((slots.start, slots.step, slots.count), (960, 60, 18));
        let found = [959, 960, 1019, 1020, 2039, 2040].map(|time| slots.of(time));
        assert_eq!(found, [None, Some(0), Some(0), Some(1), Some(17), None]);
    }
}
