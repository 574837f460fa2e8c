// SPDX-License-Identifier: AGPL-3.0-only
//! The kernel's per-CPU interface counters, summed.

use std::io;
use std::ops::{Add, AddAssign, Sub};

use libbpf_rs::{MapCore, MapFlags, MapHandle};

use super::types;
use crate::flow::key::{Direction, Family};

/// `rfm_parse_errors_total{reason}`, in the order of enum rfm_parse_error.
pub const PARSE_ERRORS: [&str; 4] = ["link", "ip_version", "ip_header_length", "ip_truncated"];

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

/// Reads the counter maps.
pub struct Counters {
    interfaces: MapHandle,
    parse_errors: MapHandle,
}

impl Counters {
    pub(super) fn new(interfaces: MapHandle, parse_errors: MapHandle) -> Self {
        Self {
            interfaces,
            parse_errors,
        }
    }

    /// The sums over all CPUs of one slot and direction.
    pub fn hook(&self, slot: u32, direction: Direction) -> io::Result<HookCounters> {
        let index = slot * Direction::ALL.len() as u32 + direction as u32;
        let mut sum = HookCounters::default();
        for value in per_cpu(&self.interfaces, index)? {
            let mut raw = types::rfm_counters::default();
            plain::copy_from_bytes(&mut raw, &value)
                .map_err(|_| short_value(&self.interfaces, value.len()))?;
            sum.add(&raw);
        }
        Ok(sum)
    }

    /// Frames that should have held an IP header and did not, by reason.
    pub fn parse_errors(&self) -> io::Result<[(&'static str, u64); PARSE_ERRORS.len()]> {
        let mut counts = PARSE_ERRORS.map(|name| (name, 0));
        for (index, (_, count)) in counts.iter_mut().enumerate() {
            for value in per_cpu(&self.parse_errors, index as u32)? {
                let bytes = value
                    .first_chunk()
                    .ok_or_else(|| short_value(&self.parse_errors, value.len()))?;
                *count += u64::from_ne_bytes(*bytes);
            }
        }
        Ok(counts)
    }
}

impl HookCounters {
    fn add(&mut self, raw: &types::rfm_counters) {
        self.lost_records += raw.lost_records;
        for (i, family) in self.families.iter_mut().enumerate() {
            family.crossed += raw.crossed[i].into();
            if let (Some(&taken), Some(&lost)) = (raw.taken.get(i), raw.lost.get(i)) {
                family.taken += taken.into();
                family.lost += lost.into();
            }
        }
    }
}

impl AddAssign for HookCounters {
    fn add_assign(&mut self, other: Self) {
        self.lost_records += other.lost_records;
        for (sum, more) in self.families.iter_mut().zip(other.families) {
            sum.crossed += more.crossed;
            sum.taken += more.taken;
            sum.lost += more.lost;
        }
    }
}

impl From<types::rfm_count> for Count {
    fn from(raw: types::rfm_count) -> Self {
        Self {
            packets: raw.packets,
            bytes: raw.bytes,
        }
    }
}

fn per_cpu(map: &MapHandle, index: u32) -> io::Result<Vec<Vec<u8>>> {
    map.lookup_percpu(&index.to_ne_bytes(), MapFlags::ANY)
        .map_err(io::Error::other)?
        .ok_or_else(|| io::Error::other(format!("{:?} has no entry {index}", map.name())))
}

fn short_value(map: &MapHandle, length: usize) -> io::Error {
    io::Error::other(format!("{:?}: value of {length} bytes", map.name()))
}
