// SPDX-License-Identifier: AGPL-3.0-only
//! The traffic of all protected hosts in the current second, in a table of constant size (pure).
//!
//! A host that nears a threshold is watched in more detail. A set of eight entries holds the hosts of one hash: a new
//! host replaces one that had no traffic in this second, or else the one with the fewest packets. A scan therefore
//! replaces only hosts with less traffic than a scanned host, and the table never grows.

use std::hash::BuildHasher;

use foldhash::fast::RandomState;

use super::traffic::Values;
use crate::types::guard::{Heading, Quantity};
use crate::types::named::Named;

pub const MAX_HOSTS: usize = 65_536;
const WAYS: usize = 8;
/// A window is 2³⁰ ns of the boot clock.
const WINDOW_SHIFT: u32 = 30;

/// An address as 16 bytes: IPv4 as an IPv4-mapped address.
pub type HostKey = [u8; 16];

#[derive(Clone, Copy, Default)]
struct Host {
    key: HostKey,
    /// The window of the values; 0 = the entry is empty.
    window: u32,
    values: [Values; Heading::ALL.len()],
}

pub struct HostTable {
    hosts: Vec<Host>,
    hasher: RandomState,
    used: usize,
    evictions: u64,
}

impl Default for HostTable {
    fn default() -> Self {
        Self {
            hosts: vec![Host::default(); MAX_HOSTS],
            // remote hosts choose the keys
            hasher: RandomState::default(),
            used: 0,
            evictions: 0,
        }
    }
}

impl HostTable {
    /// Adds to the values of a host, and returns those of its window.
    pub fn count(
        &mut self,
        key: &HostKey,
        heading: Heading,
        values: &Values,
        now_ns: u64,
    ) -> &Values {
        let window = ((now_ns >> WINDOW_SHIFT) as u32).max(1);
        let sets = MAX_HOSTS / WAYS;
        let set = self.hasher.hash_one(key) as usize % sets * WAYS;
        let entries = &mut self.hosts[set..set + WAYS];
        let found = entries
            .iter()
            .position(|host| host.window != 0 && host.key == *key);
        let at = found.unwrap_or_else(|| {
            let activity = |host: &Host| match host.window {
                0 => -1.0,
                w if w != window => 0.0,
                _ => host
                    .values
                    .iter()
                    .map(|values| values[Quantity::Packets as usize])
                    .sum(),
            };
            let least = (0..WAYS).min_by(|&a, &b| {
                let (a, b): (f32, f32) = (activity(&entries[a]), activity(&entries[b]));
                a.total_cmp(&b)
            });
            let at = least.unwrap_or(0);
            match entries[at].window {
                0 => self.used += 1,
                w if w == window => self.evictions += 1,
                _ => {}
            }
            entries[at] = Host {
                key: *key,
                ..Host::default()
            };
            at
        });
        let host = &mut entries[at];
        if host.window != window {
            host.window = window;
            host.values = Default::default();
        }
        let sums = &mut host.values[heading as usize];
        for (sum, value) in sums.iter_mut().zip(values) {
            *sum += value;
        }
        sums
    }

    /// Returns the number of entries in use.
    pub fn len(&self) -> usize {
        self.used
    }

    pub fn is_empty(&self) -> bool {
        self.used == 0
    }

    /// Returns how many hosts with traffic in the same second made room for others.
    pub fn evictions(&self) -> u64 {
        self.evictions
    }

    /// Returns the size of the table in bytes.
    pub fn memory(&self) -> usize {
        self.hosts.capacity() * size_of::<Host>()
    }
}
