// SPDX-License-Identifier: AGPL-3.0-only
//! Adds stored curves up in the slots of an answer (pure).

use std::collections::BTreeMap;
use std::sync::Arc;

use super::resolution::Slots;
use crate::bill::percentile::nearest_rank;
use crate::history::time_series::Measure;
use crate::store::types::{Curve, Part, PartKind};
use crate::types::flow::{Direction, Family};

/// Bytes and packets of each slot.
#[derive(Clone, Debug, Default)]
pub struct SlotColumn {
    pub bytes: Vec<u64>,
    /// Empty if only bytes are stored.
    pub packets: Vec<u64>,
}

impl SlotColumn {
    pub fn new(slots: usize, has_packets: bool) -> Self {
        Self {
            bytes: vec![0; slots],
            packets: vec![0; if has_packets { slots } else { 0 }],
        }
    }

    pub fn sum(&self) -> u64 {
        self.bytes.iter().fold(0, |sum, n| sum.saturating_add(*n))
    }

    pub fn packets(&self) -> Option<u64> {
        let packets = self.packets.iter();
        (!self.packets.is_empty()).then(|| packets.fold(0, |sum: u64, n| sum.saturating_add(*n)))
    }

    pub fn add(&mut self, slot: usize, bytes: u64, packets: u64) {
        self.bytes[slot] = self.bytes[slot].saturating_add(bytes);
        if let Some(sum) = self.packets.get_mut(slot) {
            *sum = sum.saturating_add(packets);
        }
    }
}

/// A part of the traffic of an interface.
#[derive(Clone, Debug)]
pub struct PartCurve {
    pub column: SlotColumn,
    /// The highest rate of five seconds, in bytes per second.
    pub max: f32,
}

/// The traffic of one interface in one direction.
#[derive(Clone, Debug)]
pub struct ScopeCurves {
    pub covered_ms: Vec<u64>,
    /// By [`Family`].
    pub families: [SlotColumn; Family::ALL.len()],
    /// The sum of the highest rates of the families: an upper bound.
    pub max: f32,
    pub parts: BTreeMap<Part, PartCurve>,
}

impl ScopeCurves {
    fn new(slots: usize) -> Self {
        Self {
            covered_ms: vec![0; slots],
            families: Family::ALL.map(|_| SlotColumn::new(slots, true)),
            max: 0.0,
            parts: BTreeMap::new(),
        }
    }

    pub fn part(&mut self, part: Part) -> &mut PartCurve {
        let slots = self.covered_ms.len();
        self.parts.entry(part).or_insert_with(|| PartCurve {
            column: SlotColumn::new(slots, false),
            max: 0.0,
        })
    }
}

/// The interfaces of an answer in one direction.
pub type Scopes = BTreeMap<Arc<str>, ScopeCurves>;

/// Adds up the curves of one direction. The rest of `kind` has the observed times.
pub fn add_up(curves: &[Curve], direction: Direction, kind: PartKind, slots: Slots) -> Scopes {
    let mut scopes = Scopes::new();
    for curve in curves.iter().filter(|curve| curve.direction == direction) {
        let scope = scopes.entry(curve.interface.clone());
        let scope = scope.or_insert_with(|| ScopeCurves::new(slots.count));
        add_curve(scope, curve, kind, slots);
    }
    scopes
}

fn add_curve(scope: &mut ScopeCurves, curve: &Curve, kind: PartKind, slots: Slots) {
    let points = curve.points.iter();
    let points = points.filter_map(|point| Some((slots.of(point.time)?, point)));
    let most = curve.points.iter().map(|point| point.max_rate);
    let most = most.fold(0.0, f32::max);
    match &curve.part {
        Part::Total(family) => {
            scope.max += most;
            let column = &mut scope.families[*family as usize];
            points.for_each(|(slot, point)| column.add(slot, point.bytes, point.packets));
        }
        // it has a point for each observed time
        Part::Rest(of) if *of == kind => {
            points.for_each(|(slot, point)| scope.covered_ms[slot] += u64::from(point.covered_ms));
        }
        Part::Rest(_) => {}
        part => {
            let sum = scope.part(part.clone());
            sum.max = sum.max.max(most);
            points.for_each(|(slot, point)| sum.column.add(slot, point.bytes, 0));
        }
    }
}

/// Returns the slots in which any interface was observed.
pub fn observed(scopes: [&Scopes; Direction::ALL.len()], slots: Slots) -> Vec<bool> {
    let mut observed = vec![false; slots.count];
    let all = scopes.into_iter().flat_map(BTreeMap::values);
    for covered in all.map(|scope| &scope.covered_ms) {
        for (observed, covered) in observed.iter_mut().zip(covered) {
            *observed |= *covered > 0;
        }
    }
    observed
}

/// Adds up the rates of columns, each of an interface with its observed time.
pub fn rates<'a>(
    columns: impl Iterator<Item = (&'a SlotColumn, &'a [u64])>,
    measure: Measure,
    slots: Slots,
) -> Vec<f64> {
    let mut rates = vec![0.0; slots.count];
    for (column, covered_ms) in columns {
        let counts = match measure {
            Measure::Bytes => &column.bytes,
            Measure::Packets => &column.packets,
        };
        for ((rate, count), covered) in rates.iter_mut().zip(counts).zip(covered_ms) {
            if *covered > 0 {
                *rate += *count as f64 * 1000.0 / *covered as f64;
            }
        }
    }
    rates
}

/// Returns the 95th percentile of the observed rates, by nearest rank.
pub fn p95(rates: &[f64], observed: &[bool]) -> Option<f64> {
    let pairs = rates.iter().zip(observed);
    let mut seen: Vec<f64> = pairs.filter(|(_, o)| **o).map(|(rate, _)| *rate).collect();
    seen.sort_unstable_by(f64::total_cmp);
    nearest_rank(&seen)
}
