// SPDX-License-Identifier: AGPL-3.0-only
//! The curves of a period in points of one length (pure): rows are added, frames are merged into
//! frames of longer points, and the sums of the parts never exceed the interface.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::level;
use crate::store::types::{Part, PartKind, ScopeRow, TimeSpan};
use crate::types::flow::{Direction, Family};

/// The maximum number of curves of a frame that is written, totals included.
pub const MAX_CURVES: usize = 512;
/// The number of curves at which a frame in memory drops the smallest ones.
const CURVES_IN_MEMORY: usize = 2 * MAX_CURVES;

/// One direction of one interface.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ScopeName {
    pub interface: Arc<str>,
    pub direction: Direction,
}

/// Bytes and highest rate of each slot.
#[derive(Clone, Debug, PartialEq)]
pub struct PartColumns {
    pub bytes: Vec<u64>,
    pub max: Vec<f32>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct TotalColumns {
    pub bytes: Vec<u64>,
    pub packets: Vec<u64>,
    pub max: Vec<f32>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct ScopeColumns {
    pub covered_ms: Vec<u64>,
    /// By [`Family`]; `None` without traffic.
    pub totals: [Option<TotalColumns>; Family::ALL.len()],
    pub parts: BTreeMap<Part, PartColumns>,
    /// By [`PartKind`]: the bytes of parts that a reader did not ask for.
    pub unlisted: [Vec<u64>; PartKind::ALL.len()],
}

#[derive(Clone, Debug, PartialEq)]
pub struct Frame {
    pub start: u64,
    /// Seconds of a slot.
    pub step: u64,
    pub slots: usize,
    pub scopes: BTreeMap<ScopeName, ScopeColumns>,
}

impl PartColumns {
    fn new(slots: usize) -> Self {
        Self {
            bytes: vec![0; slots],
            max: vec![0.0; slots],
        }
    }

    pub fn add(&mut self, slot: usize, bytes: u64, max: f32) {
        self.bytes[slot] = self.bytes[slot].saturating_add(bytes);
        self.max[slot] = self.max[slot].max(max);
    }

    fn sum(&self) -> u64 {
        self.bytes.iter().fold(0, |sum, b| sum.saturating_add(*b))
    }
}

impl TotalColumns {
    fn new(slots: usize) -> Self {
        Self {
            bytes: vec![0; slots],
            packets: vec![0; slots],
            max: vec![0.0; slots],
        }
    }

    pub fn add(&mut self, slot: usize, bytes: u64, packets: u64, max: f32) {
        self.bytes[slot] = self.bytes[slot].saturating_add(bytes);
        self.packets[slot] = self.packets[slot].saturating_add(packets);
        self.max[slot] = self.max[slot].max(max);
    }
}

impl ScopeColumns {
    fn new(slots: usize) -> Self {
        Self {
            covered_ms: vec![0; slots],
            totals: Default::default(),
            parts: BTreeMap::new(),
            unlisted: Default::default(),
        }
    }

    pub fn total_mut(&mut self, family: Family) -> &mut TotalColumns {
        let slots = self.covered_ms.len();
        self.totals[family as usize].get_or_insert_with(|| TotalColumns::new(slots))
    }

    pub fn part_mut(&mut self, part: &Part) -> &mut PartColumns {
        let slots = self.covered_ms.len();
        self.parts
            .entry(part.clone())
            .or_insert_with(|| PartColumns::new(slots))
    }

    pub fn add_unlisted(&mut self, kind: PartKind, slot: usize, bytes: u64) {
        let sums = &mut self.unlisted[kind as usize];
        sums.resize(self.covered_ms.len(), 0);
        sums[slot] = sums[slot].saturating_add(bytes);
    }

    /// Returns the bytes of all families in a slot.
    pub fn bytes_at(&self, slot: usize) -> u64 {
        let bytes = self.totals.iter().flatten().map(|total| total.bytes[slot]);
        bytes.fold(0, u64::saturating_add)
    }

    /// Returns the bytes that no part of a kind has, slot by slot.
    pub fn rest(&self, kind: PartKind) -> Vec<u64> {
        let mut rest: Vec<_> = (0..self.covered_ms.len())
            .map(|s| self.bytes_at(s))
            .collect();
        let listed = self.parts_of(kind).map(|(_, columns)| &columns.bytes);
        for bytes in listed.chain([&self.unlisted[kind as usize]]) {
            for (rest, bytes) in rest.iter_mut().zip(bytes) {
                *rest = rest.saturating_sub(*bytes);
            }
        }
        rest
    }

    pub fn parts_of(&self, kind: PartKind) -> impl Iterator<Item = (&Part, &PartColumns)> {
        let parts = self.parts.iter();
        parts.filter(move |(part, _)| part.kind() == Some(kind))
    }

    /// Returns the rate in bytes per second of `bytes` in a slot.
    pub fn rate(&self, slot: usize, bytes: u64) -> f32 {
        bytes as f32 * 1000.0 / self.covered_ms[slot].max(1) as f32
    }
}

impl Frame {
    pub fn new(start: u64, step: u64, slots: usize) -> Self {
        Self {
            start,
            step,
            slots,
            scopes: BTreeMap::new(),
        }
    }

    pub fn span(&self) -> TimeSpan {
        let end = self.start.saturating_add(self.step * self.slots as u64);
        TimeSpan::new(self.start, end)
    }

    pub fn slot(&self, time: u64) -> Option<usize> {
        let slot = (time.checked_sub(self.start)? / self.step) as usize;
        (slot < self.slots).then_some(slot)
    }

    pub fn scope_mut(&mut self, name: &ScopeName) -> &mut ScopeColumns {
        let slots = self.slots;
        let entry = self.scopes.entry(name.clone());
        entry.or_insert_with(|| ScopeColumns::new(slots))
    }

    /// Adds a row of the slot at `time`. Rows of times outside are ignored.
    pub fn add_row(&mut self, time: u64, row: &ScopeRow) {
        let Some(slot) = self.slot(time) else { return };
        let name = ScopeName {
            interface: row.interface.clone(),
            direction: row.direction,
        };
        let scope = self.scope_mut(&name);
        scope.covered_ms[slot] += u64::from(row.covered_ms);
        for (family, total) in Family::ALL.into_iter().zip(&row.totals) {
            if total.bytes > 0 || total.packets > 0 {
                let columns = scope.total_mut(family);
                columns.add(slot, total.bytes, total.packets, total.max_rate);
            }
        }
        for part in row.parts.iter().filter(|part| part.bytes > 0) {
            scope
                .part_mut(&part.part)
                .add(slot, part.bytes, part.max_rate);
        }
    }

    /// Adds the slots of `other` that this frame covers. A slot of `other` is not longer.
    pub fn merge(&mut self, other: &Self) {
        for (name, theirs) in &other.scopes {
            let places: Vec<_> = (0..other.slots)
                .map(|slot| self.slot(other.start + slot as u64 * other.step))
                .collect();
            let places = || {
                places
                    .iter()
                    .enumerate()
                    .filter_map(|(from, to)| Some((from, (*to)?)))
            };
            if places().next().is_none() {
                return;
            }
            let ours = self.scope_mut(name);
            for (from, to) in places() {
                ours.covered_ms[to] += theirs.covered_ms[from];
            }
            for (family, total) in Family::ALL.into_iter().zip(&theirs.totals) {
                let Some(total) = total else { continue };
                let columns = ours.total_mut(family);
                for (from, to) in places() {
                    columns.add(to, total.bytes[from], total.packets[from], total.max[from]);
                }
            }
            for kind in PartKind::ALL {
                let unlisted = &theirs.unlisted[kind as usize];
                for (from, to) in places().filter(|(from, _)| *from < unlisted.len()) {
                    ours.add_unlisted(kind, to, unlisted[from]);
                }
            }
            for (part, columns) in &theirs.parts {
                let sum = ours.part_mut(part);
                for (from, to) in places() {
                    sum.add(to, columns.bytes[from], columns.max[from]);
                }
            }
        }
        self.bound();
    }

    /// Drops the smallest parts if there are too many for the memory.
    pub fn bound(&mut self) {
        if self.curves() > CURVES_IN_MEMORY {
            self.limit(MAX_CURVES);
        }
    }

    fn totals(&self) -> usize {
        let scopes = self.scopes.values();
        scopes
            .map(|scope| scope.totals.iter().flatten().count())
            .sum()
    }

    pub fn curves(&self) -> usize {
        let parts: usize = self.scopes.values().map(|scope| scope.parts.len()).sum();
        self.totals() + parts
    }

    /// Drops the parts with the least traffic until at most `max` curves are left. Their traffic
    /// is then that of the rest. Totals stay.
    pub fn limit(&mut self, max: usize) {
        let room = max.saturating_sub(self.totals());
        let parts = self.scopes.values().flat_map(|scope| scope.parts.values());
        let mut sums: Vec<_> = parts.map(PartColumns::sum).collect();
        if sums.len() <= room {
            return;
        }
        sums.sort_unstable_by(|a, b| b.cmp(a));
        // parts as large as the last one that has room are dropped, unless all are as large
        let least = sums[room];
        let mut ties = room - sums[..room].iter().filter(|sum| **sum > least).count();
        for scope in self.scopes.values_mut() {
            scope.parts.retain(|_, columns| {
                let sum = columns.sum();
                if sum == least && ties > 0 {
                    ties -= 1;
                    return true;
                }
                sum > least
            });
        }
    }

    /// Rounds the parts down to numbers that can be stored.
    pub fn round(&mut self) {
        let parts = self
            .scopes
            .values_mut()
            .flat_map(|scope| scope.parts.values_mut());
        for bytes in parts.flat_map(|columns| &mut columns.bytes) {
            *bytes = level::decode(level::encode(*bytes));
        }
    }

    /// Reduces the parts of each slot to the traffic of the interface, and moves their surplus to
    /// the next slot. Returns the surplus of the last slot.
    ///
    /// Thread flow counts a packet up to a second later than the interface, and estimates from
    /// samples vary: the parts of a minute may exceed it.
    pub fn fit(&mut self, carried: &Carry) -> Carry {
        let mut surplus = Carry::new();
        for (name, part, bytes) in carried.iter().map(|((n, p), b)| (n, p, *b)) {
            if let Some(scope) = self.scopes.get_mut(name)
                && self.slots > 0
            {
                let columns = scope.part_mut(part);
                columns.bytes[0] = columns.bytes[0].saturating_add(bytes);
            }
        }
        for (name, scope) in &mut self.scopes {
            for slot in 0..self.slots {
                for kind in PartKind::ALL {
                    let total = scope.bytes_at(slot);
                    let of_kind = scope.parts_of(kind).map(|(_, columns)| columns.bytes[slot]);
                    let sum: u128 = of_kind.map(u128::from).sum();
                    if sum <= u128::from(total) {
                        continue;
                    }
                    for (part, columns) in &mut scope.parts {
                        let bytes = columns.bytes[slot];
                        if part.kind() != Some(kind) || bytes == 0 {
                            continue;
                        }
                        let fits = (u128::from(bytes) * u128::from(total) / sum) as u64;
                        columns.bytes[slot] = fits;
                        match columns.bytes.get_mut(slot + 1) {
                            Some(next) => *next = next.saturating_add(bytes - fits),
                            None => {
                                surplus.insert((name.clone(), part.clone()), bytes - fits);
                            }
                        }
                    }
                }
            }
        }
        surplus
    }
}

/// The surplus of parts, which the next minute gets.
pub type Carry = BTreeMap<(ScopeName, Part), u64>;
