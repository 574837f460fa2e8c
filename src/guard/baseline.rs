// SPDX-License-Identifier: AGPL-3.0-only
//! Learned thresholds of the protected prefixes: the usual traffic of each hour of the week (pure).
//!
//! The value of an hour is the highest mean of a minute. A week later, a quarter of the difference is learned, and at
//! most twice the known value counts. Minutes with an attack are left out.

use std::collections::BTreeMap;

use super::Thresholds;
use super::traffic::Values;
use crate::types::guard::{BaselineMode, Heading};
use crate::types::named::Named;
use crate::types::prefix::Prefix;

pub const HOURS: usize = 168;
/// Prefixes with a baseline; the others keep the thresholds of the configuration.
pub const MAX_LEARNED: usize = 256;
const MINUTE_S: u64 = 60;
const HOUR_S: u64 = 3_600;
/// Seconds of a minute, and minutes of an hour, without which nothing is learned.
const LEAST_SECONDS: u32 = 30;
const LEAST_MINUTES: u32 = 30;
/// Of the difference, so much is learned each week.
const LEARNED_PART: f32 = 0.25;
/// A value counts at most this many times the known one.
const MOST_GROWTH: f32 = 2.0;
/// The next hour counts so long before it begins, and the previous one after it has ended.
const OVERLAP_S: u64 = 600;
/// 1970-01-01 was a Thursday: the week begins on Monday.
const EPOCH_HOUR: u64 = 72;

pub type HourValues = [Values; Heading::ALL.len()];

/// The hours of one prefix, from Monday 0:00 UTC on; 0 = not learned.
pub type LearnedHours = Box<[HourValues; HOURS]>;

/// The learned hours of all prefixes.
pub type LearnedTraffic = BTreeMap<Prefix, LearnedHours>;

/// How thresholds follow the learned traffic.
#[derive(Clone, Debug, Default)]
pub struct BaselineSettings {
    pub mode: BaselineMode,
    pub factor: f32,
    /// The baseline at the start.
    pub learned: LearnedTraffic,
}

#[derive(Default)]
struct HourSum {
    minute: u64,
    seconds: u32,
    sum: HourValues,
    minutes: u32,
    highest: HourValues,
}

struct LearningPrefix {
    prefix: Prefix,
    hours: LearnedHours,
    current: HourSum,
}

/// The baselines, in the order of the protected prefixes.
pub struct Baselines {
    is_learning: bool,
    factor: f32,
    prefixes: Vec<LearningPrefix>,
    /// Whether an hour was learned since the last copy.
    is_changed: bool,
}

pub fn hour_of_week(unix_s: u64) -> usize {
    ((unix_s / HOUR_S + EPOCH_HOUR) % HOURS as u64) as usize
}

impl Baselines {
    pub fn new(protect: &[Prefix], mut settings: BaselineSettings) -> Self {
        let most = match settings.mode {
            BaselineMode::Off => 0,
            BaselineMode::Learn | BaselineMode::Frozen => MAX_LEARNED,
        };
        let prefixes = protect.iter().take(most);
        let prefixes = prefixes.map(|prefix| LearningPrefix {
            prefix: *prefix,
            hours: settings
                .learned
                .remove(prefix)
                .unwrap_or_else(|| Box::new([HourValues::default(); HOURS])),
            current: HourSum::default(),
        });
        Self {
            prefixes: prefixes.collect(),
            is_learning: settings.mode == BaselineMode::Learn,
            factor: settings.factor,
            is_changed: true,
        }
    }

    /// Returns the thresholds of a prefix in one direction; `floor` are those of the configuration.
    pub fn thresholds(
        &self,
        at: usize,
        heading: Heading,
        floor: &Thresholds,
        unix_s: u64,
    ) -> Thresholds {
        let mut thresholds = *floor;
        let Some(prefix) = self.prefixes.get(at) else {
            return thresholds;
        };
        for time in [unix_s.saturating_sub(OVERLAP_S), unix_s + OVERLAP_S] {
            let usual = &prefix.hours[hour_of_week(time)][heading as usize];
            for (threshold, usual) in thresholds.0.iter_mut().zip(usual) {
                *threshold = threshold.max(usual * self.factor);
            }
        }
        thresholds
    }

    /// Adds the traffic of one second, in each direction.
    pub fn observe(&mut self, at: usize, traffic: &HourValues, is_attacked: bool, unix_s: u64) {
        if !self.is_learning {
            return;
        }
        let Some(prefix) = self.prefixes.get_mut(at) else {
            return;
        };
        let minute = unix_s / MINUTE_S;
        if minute != prefix.current.minute {
            self.is_changed |= prefix.end_minute(minute);
        }
        if is_attacked {
            // the other seconds of this minute are no sample of usual traffic either
            prefix.current.seconds = 0;
            prefix.current.sum = HourValues::default();
            return;
        }
        let current = &mut prefix.current;
        current.seconds += 1;
        add(&mut current.sum, traffic, |sum, value| sum + value.max(0.0));
    }

    /// Returns a copy if an hour was learned since the last one.
    pub fn take_changed(&mut self) -> Option<LearnedTraffic> {
        if self.prefixes.is_empty() || !std::mem::take(&mut self.is_changed) {
            return None;
        }
        let all = self.prefixes.iter();
        Some(all.map(|one| (one.prefix, one.hours.clone())).collect())
    }
}

impl LearningPrefix {
    /// Ends the current minute, and its hour if the new minute is in another. Returns whether an hour was learned.
    fn end_minute(&mut self, minute: u64) -> bool {
        let current = &mut self.current;
        if current.seconds >= LEAST_SECONDS {
            let seconds = current.seconds as f32;
            add(&mut current.highest, &current.sum, |most, sum| {
                most.max(sum / seconds)
            });
            current.minutes += 1;
        }
        let hour = current.minute * MINUTE_S / HOUR_S;
        let is_over = hour != minute * MINUTE_S / HOUR_S;
        let is_learned = is_over && current.minutes >= LEAST_MINUTES;
        if is_learned {
            let known = &mut self.hours[hour_of_week(hour * HOUR_S)];
            add(known, &current.highest, |known, new| match known > 0.0 {
                true => known + (new.min(known * MOST_GROWTH) - known) * LEARNED_PART,
                false => new,
            });
        }
        if is_over {
            *current = HourSum::default();
        }
        (current.minute, current.seconds, current.sum) = (minute, 0, HourValues::default());
        is_learned
    }
}

/// Combines all values of two sets.
fn add(to: &mut HourValues, from: &HourValues, with: impl Fn(f32, f32) -> f32) {
    for (to, from) in to.iter_mut().flatten().zip(from.iter().flatten()) {
        *to = with(*to, *from);
    }
}
