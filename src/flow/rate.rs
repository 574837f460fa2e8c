// SPDX-License-Identifier: AGPL-3.0-only
//! The sample rate of the records, and its changes. Pure.

/// The time in which records with the previous rate still arrive: the kernel caches are swept once
/// a second.
const LATE_WINDOW_MS: u64 = 2_000;

/// The current sample rate, and the previous one, which some late records still have.
#[derive(Debug, Default)]
pub struct Rate {
    /// 0: no record yet.
    pub now: u32,
    previous_rate: u32,
    previous_until_ms: u64,
    /// The number of changes.
    pub changes: u32,
}

impl Rate {
    /// Returns whether a record with this rate was sampled before the last change.
    pub fn is_late(&mut self, rate: u32, now_ms: u64) -> bool {
        if rate == self.now {
            return false;
        }
        if rate == self.previous_rate && now_ms < self.previous_until_ms {
            return true;
        }
        (self.previous_rate, self.now) = (self.now, rate);
        self.previous_until_ms = now_ms + LATE_WINDOW_MS;
        self.changes = self.changes.wrapping_add(1);
        false
    }
}
