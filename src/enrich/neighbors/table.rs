// SPDX-License-Identifier: AGPL-3.0-only
//! The entries of the kernel's neighbor tables, and those that expired within the last day (pure).

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::types::mac::MacAddress;

/// The time for which an entry is kept after the kernel has removed it: the kernel forgets a peer that only sends
/// to this machine.
pub const KEPT_MS: u64 = 24 * 3600 * 1000;

/// A router has an IPv4, an IPv6 and a link-local address.
const MAX_ENTRIES: usize = 3 * super::MAX_MACS;

type Key = (u32, IpAddr, MacAddress);

#[derive(Debug, Default)]
pub struct NeighborTable {
    /// The time at which the entry expired; `None` while the kernel has it.
    entries: BTreeMap<Key, Option<u64>>,
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
        let range = (ifindex, address, MacAddress::ZERO)..=(ifindex, address, MacAddress([255; 6]));
        for (key, expired) in self.entries.range_mut(range) {
            if Some(key.2) != mac && expired.is_none() {
                *expired = Some(now_ms);
                changed = true;
            }
        }
        let Some(mac) = mac else {
            return changed;
        };
        let key = (ifindex, address, mac);
        if let Some(expired) = self.entries.get_mut(&key) {
            return changed | expired.take().is_some();
        }
        if self.entries.len() >= MAX_ENTRIES && !self.evict() {
            self.refused += 1;
            return changed;
        }
        self.entries.insert(key, None);
        true
    }

    /// Applies a whole dump: entries that are not in it have expired. Returns whether that is a change.
    pub fn replace(
        &mut self,
        entries: impl Iterator<Item = (u32, IpAddr, Option<MacAddress>)> + Clone,
        now_ms: u64,
    ) -> bool {
        let valid: std::collections::BTreeSet<Key> = entries
            .clone()
            .filter_map(|(ifindex, address, mac)| Some((ifindex, address, mac?)))
            .collect();
        let mut changed = false;
        for (key, expired) in &mut self.entries {
            if expired.is_none() && !valid.contains(key) {
                *expired = Some(now_ms);
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
        self.entries.retain(|_, expired| {
            expired.is_none_or(|since| now_ms.saturating_sub(since) < KEPT_MS)
        });
        self.entries.len() < before
    }

    /// Removes the entry that expired first; false if all are valid.
    fn evict(&mut self) -> bool {
        let expired = self.entries.iter();
        let expired = expired.filter_map(|(key, expired)| Some(((*expired)?, *key)));
        let Some((_, oldest)) = expired.min() else {
            return false;
        };
        self.entries.remove(&oldest);
        true
    }

    /// Returns each entry, and whether the kernel still has it.
    pub fn entries(&self) -> impl Iterator<Item = (u32, IpAddr, MacAddress, bool)> {
        self.entries
            .iter()
            .map(|(&(ifindex, address, mac), expired)| (ifindex, address, mac, expired.is_none()))
    }

    pub fn refused(&self) -> u64 {
        self.refused
    }
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
        table.update(1, address(7), None, 1);
        table.update(1, address(8), None, 2);
        assert!(table.update(1, [192, 0, 2, 1].into(), Some(mac(2)), 3));
        assert_eq!(table.entries().count(), MAX_ENTRIES);
        assert!(table.entries().all(|(_, held, ..)| held != address(7)));
    }
}
