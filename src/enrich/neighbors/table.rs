// SPDX-License-Identifier: AGPL-3.0-only
//! The entries of the kernel's neighbor tables, and those that expired within the last day (pure).

use std::collections::BTreeSet;
use std::net::IpAddr;

use crate::types::mac::MacAddress;

/// The time for which an entry is kept after the kernel has removed it: the kernel forgets a peer that only sends
/// to this machine.
pub const KEPT_MS: u64 = 24 * 3600 * 1000;

/// A router has an IPv4, an IPv6 and a link-local address.
const MAX_ENTRIES: usize = 3 * super::MAX_MACS;

type Key = (u32, IpAddr, MacAddress);

/// Stands for no time: the kernel has the entry.
const VALID: u32 = u32::MAX;

/// An entry in 32 bytes.
#[derive(Clone, Copy, Debug)]
struct Entry {
    ifindex: u32,
    address: IpAddr,
    mac: MacAddress,
    /// The second in which the entry expired, or [`VALID`].
    expired: u32,
}

impl Entry {
    fn key(&self) -> Key {
        (self.ifindex, self.address, self.mac)
    }
}

#[derive(Debug, Default)]
pub struct NeighborTable {
    /// In the order of [`Entry::key`].
    entries: Vec<Entry>,
    /// Entries that found no room.
    refused: u64,
}

impl NeighborTable {
    /// Applies the state of an entry of the kernel. Returns whether that is a change.
    pub fn update(
        &mut self,
        ifindex: u32,
        address: IpAddr,
        mac: Option<MacAddress>,
        now_ms: u64,
    ) -> bool {
        let mut changed = false;
        let first = self.find((ifindex, address, MacAddress::ZERO));
        let first = first.unwrap_or_else(|at| at);
        for entry in &mut self.entries[first..] {
            if (entry.ifindex, entry.address) != (ifindex, address) {
                break;
            }
            if Some(entry.mac) != mac && entry.expired == VALID {
                entry.expired = second(now_ms);
                changed = true;
            }
        }
        let Some(mac) = mac else {
            return changed;
        };
        let key = (ifindex, address, mac);
        if let Ok(at) = self.find(key) {
            let expired = std::mem::replace(&mut self.entries[at].expired, VALID);
            return changed | (expired != VALID);
        }
        if self.entries.len() >= MAX_ENTRIES && !self.evict() {
            self.refused += 1;
            return changed;
        }
        let at = self.find(key).unwrap_or_else(|at| at);
        self.entries.insert(
            at,
            Entry {
                ifindex,
                address,
                mac,
                expired: VALID,
            },
        );
        true
    }

    #[cfg(test)]
    pub fn bytes(&self) -> usize {
        self.entries.capacity() * size_of::<Entry>()
    }

    fn find(&self, key: Key) -> Result<usize, usize> {
        self.entries.binary_search_by(|entry| entry.key().cmp(&key))
    }

    /// Applies a whole dump: entries that are not in it have expired. Returns whether that is a change.
    pub fn replace(
        &mut self,
        entries: impl Iterator<Item = (u32, IpAddr, Option<MacAddress>)> + Clone,
        now_ms: u64,
    ) -> bool {
        let valid: BTreeSet<Key> = entries
            .clone()
            .filter_map(|(ifindex, address, mac)| Some((ifindex, address, mac?)))
            .collect();
        let mut changed = false;
        for entry in &mut self.entries {
            if entry.expired == VALID && !valid.contains(&entry.key()) {
                entry.expired = second(now_ms);
                changed = true;
            }
        }
        for (ifindex, address, mac) in entries {
            changed |= self.update(ifindex, address, mac, now_ms);
        }
        changed
    }

    /// Removes the entries whose day is over. Returns whether there were any.
    pub fn expire(&mut self, now_ms: u64) -> bool {
        let before = self.entries.len();
        self.entries.retain(|entry| {
            entry.expired == VALID
                || now_ms.saturating_sub(u64::from(entry.expired) * 1000) < KEPT_MS
        });
        self.entries.len() < before
    }

    /// Removes the entry that expired first; false if all are valid.
    fn evict(&mut self) -> bool {
        let entries = self.entries.iter().enumerate();
        let oldest = entries.min_by_key(|(_, entry)| entry.expired);
        match oldest {
            Some((at, entry)) if entry.expired != VALID => {
                self.entries.remove(at);
                true
            }
            _ => false,
        }
    }

    /// Returns each entry, and whether the kernel still has it.
    pub fn entries(&self) -> impl Iterator<Item = (u32, IpAddr, MacAddress, bool)> {
        let valid = |entry: &Entry| entry.expired == VALID;
        let entries = self.entries.iter();
        entries.map(move |entry| (entry.ifindex, entry.address, entry.mac, valid(entry)))
    }

    pub fn refused(&self) -> u64 {
        self.refused
    }
}

/// Rounds up, so that no entry expires before its day is over.
fn second(ms: u64) -> u32 {
    u32::try_from(ms.div_ceil(1000)).unwrap_or(VALID - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mac(last: u8) -> MacAddress {
        MacAddress([2, 0, 0, 0, 0, last])
    }

    fn address(n: u16) -> IpAddr {
        let [high, low] = n.to_be_bytes();
        [10, 0, high, low].into()
    }

    fn state(table: &NeighborTable) -> Vec<(MacAddress, bool)> {
        let entries = table.entries();
        entries.map(|(.., mac, valid)| (mac, valid)).collect()
    }

    #[test]
    fn an_entry_is_kept_for_a_day_after_it_expired() {
        let mut table = NeighborTable::default();
        assert!(table.update(1, address(1), Some(mac(1)), 0));
        assert!(!table.update(1, address(1), Some(mac(1)), 10));
        assert!(table.update(1, address(1), None, 1000));
        assert_eq!(state(&table), [(mac(1), false)]);
        assert!(!table.expire(1000 + KEPT_MS - 1));
        assert!(
            table.update(1, address(1), Some(mac(1)), KEPT_MS),
            "valid again"
        );
        assert!(table.update(1, address(1), None, 2 * KEPT_MS));
        assert!(table.expire(3 * KEPT_MS));
        assert_eq!(state(&table), []);
    }

    #[test]
    fn another_mac_replaces_the_first() {
        let mut table = NeighborTable::default();
        table.update(1, address(1), Some(mac(1)), 0);
        table.update(2, address(1), Some(mac(1)), 0);
        assert!(table.update(1, address(1), Some(mac(2)), 5));
        assert_eq!(
            state(&table),
            [(mac(1), false), (mac(2), true), (mac(1), true)]
        );
        assert!(table.replace([(1, address(1), Some(mac(1)))].into_iter(), 6));
        assert_eq!(
            state(&table),
            [(mac(1), true), (mac(2), false), (mac(1), false)]
        );
    }

    #[test]
    fn a_full_table_evicts_expired_entries_only() {
        let mut table = NeighborTable::default();
        for n in 0..MAX_ENTRIES as u16 {
            assert!(table.update(1, address(n), Some(mac(1)), 0));
        }
        assert!(!table.update(1, [192, 0, 2, 1].into(), Some(mac(2)), 0));
        assert_eq!(table.refused(), 1);
        table.update(1, address(7), None, 1000);
        table.update(1, address(8), None, 2000);
        assert!(table.update(1, [192, 0, 2, 1].into(), Some(mac(2)), 3000));
        assert_eq!(table.entries().count(), MAX_ENTRIES);
        assert!(table.entries().all(|(_, held, ..)| held != address(7)));
    }
}
