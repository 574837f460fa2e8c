// SPDX-License-Identifier: AGPL-3.0-only
//! The counts of one interval: open, in a table; closed, packed.

use std::cmp::Reverse;
use std::hash::BuildHasher;

use foldhash::fast::RandomState;
use hashbrown::HashTable;

use super::interner::PathInterner;
use super::transit::TransitCounters;
use super::{MAX_ENTRIES, PathVolume, PathVolumes};
use crate::flow::lazy_min_heap::{HeapEntry, LazyMinHeap};
use crate::types::flow::Direction;

/// The bytes and packets of a path in one direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PathRow {
    pub direction: Direction,
    /// The number of the path.
    pub path: u32,
    pub volume: PathVolume,
}

#[derive(Debug)]
struct Entry {
    row: PathRow,
    /// The bytes that are not counted for the ASes on the path yet: for all records of the path at once.
    pending: u64,
    /// The bytes of all paths that had this place.
    weight: u64,
    serial: u64,
}

impl Entry {
    fn add_transit(&mut self, paths: &PathInterner, transit: &mut TransitCounters) {
        let bytes = std::mem::take(&mut self.pending);
        if bytes > 0 {
            transit.add(paths.path(self.row.path), self.row.direction, bytes);
        }
    }
}

#[derive(Debug)]
pub struct OpenInterval {
    number: u64,
    entries: Vec<Entry>,
    /// Entries by path and direction.
    index: HashTable<u32>,
    hasher: RandomState,
    least: LazyMinHeap<u64>,
    serial: u64,
    pub rest: PathVolumes,
}

/// A packed interval. A row takes 10 to 15 bytes: numbers have 7 bits in a byte (LEB128).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathInterval {
    /// The beginning, in intervals since the Unix epoch.
    pub number: u64,
    pub rows: usize,
    /// Traffic of paths that found no room, exact.
    pub rest: PathVolumes,
    packed: Box<[u8]>,
}

impl OpenInterval {
    pub fn new(number: u64) -> Self {
        Self {
            number,
            entries: Vec::new(),
            index: HashTable::new(),
            hasher: RandomState::default(),
            least: LazyMinHeap::new(),
            serial: 0,
            rest: PathVolumes::default(),
        }
    }

    pub fn number(&self) -> u64 {
        self.number
    }

    pub fn count(
        &mut self,
        paths: &mut PathInterner,
        transit: &mut TransitCounters,
        path: u32,
        direction: Direction,
        volume: PathVolume,
    ) {
        let key = (path, direction as u8);
        let hash = self.hasher.hash_one(key);
        let found = self.index.find(hash, |&at| self.key(at) == key);
        if let Some(&at) = found {
            let entry = &mut self.entries[at as usize];
            entry.row.volume += volume;
            entry.pending = entry.pending.wrapping_add(volume.bytes);
            entry.weight = entry.weight.saturating_add(volume.bytes);
            return;
        }
        paths.retain(path);
        let (at, weight) = match self.entries.len() < MAX_ENTRIES {
            true => (self.entries.len() as u32, 0),
            false => self.evict(paths, transit),
        };
        self.serial += 1;
        let entry = Entry {
            row: PathRow {
                direction,
                path,
                volume,
            },
            pending: volume.bytes,
            weight: weight.saturating_add(volume.bytes),
            serial: self.serial,
        };
        match self.entries.get_mut(at as usize) {
            Some(evicted) => *evicted = entry,
            None => self.entries.push(entry),
        }
        let (entries, hasher) = (&self.entries, &self.hasher);
        let rehash = |&at: &u32| {
            let row = &entries[at as usize].row;
            hasher.hash_one((row.path, row.direction as u8))
        };
        self.index.insert_unique(hash, at, rehash);
        let entry = HeapEntry {
            slot: at,
            serial: self.serial,
        };
        let live = self.entries.len();
        self.least
            .push(entry, live, |e| weight_of(&self.entries, e));
    }

    /// Counts all pending bytes for the ASes on their paths.
    pub fn add_transit(&mut self, paths: &PathInterner, transit: &mut TransitCounters) {
        for entry in &mut self.entries {
            entry.add_transit(paths, transit);
        }
    }

    fn key(&self, at: u32) -> (u32, u8) {
        let row = &self.entries[at as usize].row;
        (row.path, row.direction as u8)
    }

    /// Adds the smallest entry to the rest. Returns its place and its weight.
    fn evict(&mut self, paths: &mut PathInterner, transit: &mut TransitCounters) -> (u32, u64) {
        let least = self.least.least(|e| weight_of(&self.entries, e));
        let at = least.map_or(0, |least| least.slot);
        let key = self.key(at);
        let hash = self.hasher.hash_one(key);
        if let Ok(found) = self.index.find_entry(hash, |&other| other == at) {
            found.remove();
        }
        self.entries[at as usize].add_transit(paths, transit);
        let Entry { row, weight, .. } = self.entries[at as usize];
        self.rest[row.direction as usize] += row.volume;
        paths.release(row.path);
        (at, weight)
    }

    pub fn pack(&self) -> PathInterval {
        let mut rows: Vec<_> = self.entries.iter().map(|entry| entry.row).collect();
        rows.sort_unstable_by_key(|row| (Reverse(row.volume.bytes), row.path));
        PathInterval::new(self.number, &rows, self.rest)
    }
}

fn weight_of(entries: &[Entry], entry: HeapEntry) -> Option<u64> {
    let held = entries.get(entry.slot as usize)?;
    (held.serial == entry.serial).then_some(held.weight)
}

impl PathInterval {
    fn new(number: u64, rows: &[PathRow], rest: PathVolumes) -> Self {
        let mut packed = Vec::with_capacity(rows.len() * 16);
        for row in rows {
            write(&mut packed, u64::from(row.path) << 1 | row.direction as u64);
            write(&mut packed, row.volume.bytes);
            write(&mut packed, row.volume.packets);
        }
        Self {
            number,
            rows: rows.len(),
            rest,
            packed: packed.into(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.rows == 0 && self.rest == PathVolumes::default()
    }

    #[cfg(test)]
    pub fn bytes(&self) -> usize {
        size_of::<Self>() + self.packed.len()
    }

    /// Returns the rows, the largest first.
    pub fn rows(&self) -> impl Iterator<Item = PathRow> {
        let mut bytes = &self.packed[..];
        (0..self.rows).map(move |_| {
            let path = read(&mut bytes);
            let (bytes, packets) = (read(&mut bytes), read(&mut bytes));
            PathRow {
                direction: Direction::ALL[(path & 1) as usize],
                path: (path >> 1) as u32,
                volume: PathVolume { bytes, packets },
            }
        })
    }

    /// Returns the interval with the larger half of its rows, and the rows that are in its rest now.
    pub fn halved(&self) -> (Self, Vec<PathRow>) {
        let mut rows: Vec<_> = self.rows().collect();
        let removed = rows.split_off(rows.len() / 2);
        let mut rest = self.rest;
        for row in &removed {
            rest[row.direction as usize] += row.volume;
        }
        (Self::new(self.number, &rows, rest), removed)
    }
}

fn write(bytes: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
}

fn read(bytes: &mut &[u8]) -> u64 {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let Some((&byte, rest)) = bytes.split_first() else {
            break;
        };
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            break;
        }
    }
    value
}
