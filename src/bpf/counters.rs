// SPDX-License-Identifier: AGPL-3.0-only
//! The kernel's per-CPU interface counters, summed.

use std::ops::{Add, Sub};

use crate::flow::key::Family;

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

impl Sub for Count {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        Self {
            packets: self.packets.wrapping_sub(other.packets),
            bytes: self.bytes.wrapping_sub(other.bytes),
        }
    }
}

/// What one hook of one interface counted in one family.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FamilyCounters {
    pub crossed: Count,
    /// Taken by the sampler.
    pub taken: Count,
    /// Taken, and lost on the way to userspace.
    pub lost: Count,
}

/// What one hook of one interface counted; indexed by [`Family`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HookCounters {
    pub families: [FamilyCounters; Family::ALL.len()],
    /// Records that found the ring full.
    pub lost_records: u64,
}
