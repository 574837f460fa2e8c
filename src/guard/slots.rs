// SPDX-License-Identifier: AGPL-3.0-only
//! The traffic of one host or prefix in slots of 67 ms, by the times in the records (pure).
//!
//! A record waits up to a second in the kernel and has the packets of this second: it is spread over the slots from
//! its first to its last packet. A slot is complete a second after its end, and is evaluated as soon as what is known of it exceeds
//! the threshold.

use super::traffic::Values;
use crate::types::guard::{Heading, Quantity};
use crate::types::named::Named;

/// A slot is 2²⁶ ns.
pub const SLOT_SHIFT: u32 = 26;
pub const SLOT_SECONDS: f32 = (1u64 << SLOT_SHIFT) as f32 / 1e9;
/// Two seconds: the wait of a record, and the longest time to an alarm.
pub const SLOTS: usize = 32;
/// Of [`WINDOW`] consecutive slots, so many must exceed the threshold: a burst of 300 ms touches at most six.
const NEEDED: usize = 7;
const WINDOW: usize = 9;
/// TrafficSlots of the second window: those that are complete.
const COMPLETE: std::ops::Range<u64> = 16..31;

#[derive(Clone)]
pub struct TrafficSlots {
    /// The number of the newest slot since boot.
    head: u64,
    values: [[Values; SLOTS]; Heading::ALL.len()],
}

impl TrafficSlots {
    pub fn new(now_ns: u64) -> Self {
        Self {
            head: now_ns >> SLOT_SHIFT,
            values: Default::default(),
        }
    }

    /// Moves the newest slot to `now_ns`.
    pub fn advance(&mut self, now_ns: u64) {
        let now = now_ns >> SLOT_SHIFT;
        while self.head < now {
            // after a pause all slots are cleared once
            self.head = (self.head + 1).max(now.saturating_sub(SLOTS as u64 - 1));
            let at = self.head as usize % SLOTS;
            for values in &mut self.values {
                values[at] = Values::default();
            }
        }
    }

    /// Adds `factor` times the values of a record whose packets passed from `first` to `last`.
    pub fn add(
        &mut self,
        heading: Heading,
        (first, last): (u64, u64),
        values: &Values,
        factor: f32,
    ) {
        let oldest = self.head.saturating_sub(SLOTS as u64 - 1);
        let end = (last >> SLOT_SHIFT).min(self.head);
        let start = (first >> SLOT_SHIFT).min(end);
        let span = last.saturating_sub(first).max(1) as f32;
        for slot in start.max(oldest)..=end {
            let from = (slot << SLOT_SHIFT).max(first);
            let to = ((slot + 1) << SLOT_SHIFT).min(last);
            let share = match start == end {
                true => 1.0,
                false => to.saturating_sub(from) as f32 / span,
            };
            let sums = &mut self.values[heading as usize][slot as usize % SLOTS];
            for (sum, value) in sums.iter_mut().zip(values) {
                *sum += value * share * factor;
            }
        }
    }

    /// Subtracts the traffic of a part, whose newest slot is the same.
    pub fn subtract(&mut self, part: &Self) {
        let all = self.values.iter_mut().flatten().flatten();
        let parts = part.values.iter().flatten().flatten();
        all.zip(parts).for_each(|(value, part)| *value -= part);
    }

    fn value(&self, heading: Heading, quantity: Quantity, age: u64) -> f32 {
        let slot = self.head.wrapping_sub(age) as usize % SLOTS;
        self.values[heading as usize][slot][quantity as usize]
    }

    /// Returns the first slot of the newest window in which enough slots exceed the threshold, and the mean per second
    /// of those that do.
    pub fn exceeding(
        &self,
        heading: Heading,
        quantity: Quantity,
        per_second: f32,
    ) -> Option<Exceeding> {
        let threshold = per_second * SLOT_SECONDS;
        let is_over = |age: usize| self.value(heading, quantity, age as u64) > threshold;
        let mut over = (0..WINDOW).filter(|&age| is_over(age)).count();
        for newest in 0..=SLOTS - WINDOW {
            if newest > 0 {
                over -= usize::from(is_over(newest - 1));
                over += usize::from(is_over(newest + WINDOW - 1));
            }
            if over >= NEEDED {
                let mut oldest = newest + WINDOW - 1;
                while oldest + 1 < SLOTS && is_over(oldest + 1) {
                    oldest += 1;
                }
                let ages = (newest..=oldest).filter(|&age| is_over(age));
                let values = ages.map(|age| self.value(heading, quantity, age as u64));
                let (sum, count) = values.fold((0.0, 0), |(sum, n), value| (sum + value, n + 1));
                let first = (newest..=oldest).rev().find(|&age| is_over(age));
                let slot = self.head - first.unwrap_or(newest) as u64;
                return Some(Exceeding {
                    since_ns: slot << SLOT_SHIFT,
                    per_second: sum / (count.max(1) as f32 * SLOT_SECONDS),
                });
            }
        }
        None
    }

    /// Returns whether one of the newest slots exceeds the threshold.
    pub fn is_near(&self, heading: Heading, quantity: Quantity, per_second: f32) -> bool {
        let threshold = per_second * SLOT_SECONDS;
        (0..WINDOW as u64).any(|age| self.value(heading, quantity, age) > threshold)
    }

    /// Returns the mean per second of the slots that are complete.
    pub fn complete(&self, heading: Heading, quantity: Quantity) -> f32 {
        let sum: f32 = COMPLETE.map(|age| self.value(heading, quantity, age)).sum();
        sum / ((COMPLETE.end - COMPLETE.start) as f32 * SLOT_SECONDS)
    }

    /// Returns the largest mean per second of any half second.
    pub fn peak(&self, heading: Heading, quantity: Quantity) -> f32 {
        let mean = |newest: usize| {
            let ages = newest as u64..(newest + WINDOW) as u64;
            let sum: f32 = ages.map(|age| self.value(heading, quantity, age)).sum();
            sum / (WINDOW as f32 * SLOT_SECONDS)
        };
        (0..=SLOTS - WINDOW).map(mean).fold(0.0, f32::max)
    }
}

/// A threshold that was exceeded for long enough.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Exceeding {
    pub since_ns: u64,
    pub per_second: f32,
}
