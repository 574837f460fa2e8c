// SPDX-License-Identifier: AGPL-3.0-only
//! The counters of one hook of one interface, and their arithmetic.

use std::ops::{Add, AddAssign, Sub};

use super::flow::Family;

/// Packets (segments) and bytes (L2 frames without FCS).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    pub packets: u64,
    pub bytes: u64,
}

impl Add for Count {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            packets: self.packets.wrapping_add(other.packets),
            bytes: self.bytes.wrapping_add(other.bytes),
        }
    }
}

impl AddAssign for Count {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl Sub for Count {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        Self {
            packets: self.packets.wrapping_sub(other.packets),
            bytes: self.bytes.wrapping_sub(other.bytes),
        }
    }
}

/// The counters of one hook of one interface in one family.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FamilyCounters {
    pub observed: Count,
    /// Sampled packets.
    pub sampled: Count,
    /// Sampled packets that were dropped on the way to userspace, with their weights.
    pub dropped: Count,
    /// Sampled packets that adaptive sampling left out while the ring was more than half full.
    pub thinned: Count,
    /// The sum that weights above 1 added for them. Accounted + dropped + thinned - added = sampled.
    pub added: Count,
}

/// The counters of one hook of one interface; index: [`Family`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HookCounters {
    pub families: [FamilyCounters; Family::ALL.len()],
    /// Records that were dropped because the ring was full.
    pub dropped_records: u64,
}

impl AddAssign for HookCounters {
    fn add_assign(&mut self, other: Self) {
        self.dropped_records = self.dropped_records.wrapping_add(other.dropped_records);
        for (sum, more) in self.families.iter_mut().zip(other.families) {
            sum.observed += more.observed;
            sum.sampled += more.sampled;
            sum.dropped += more.dropped;
            sum.thinned += more.thinned;
            sum.added += more.added;
        }
    }
}

impl Sub for HookCounters {
    type Output = Self;

    fn sub(mut self, other: Self) -> Self {
        self.dropped_records = self.dropped_records.wrapping_sub(other.dropped_records);
        for (left, less) in self.families.iter_mut().zip(other.families) {
            left.observed = left.observed - less.observed;
            left.sampled = left.sampled - less.sampled;
            left.dropped = left.dropped - less.dropped;
            left.thinned = left.thinned - less.thinned;
            left.added = left.added - less.added;
        }
        self
    }
}
