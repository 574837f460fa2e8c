// SPDX-License-Identifier: AGPL-3.0-only
//! Frames as payloads of blocks (pure).
//!
//! Step and number of slots; the number of scopes; of each scope its interface, its direction, the
//! covered milliseconds, the totals by family (exact), and by kind the sorted parts and then their
//! columns: a rounded number of bytes, and the maximum beside the mean.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::bytes::{Bytes, MAX_VALUE, NumberColumn, cut, put_column, put_text, put_varint};
use super::frame::{Frame, ScopeColumns, ScopeName};
use super::level;
use crate::store::types::{CurveFilter, Part, PartKind, TimeSpan};
use crate::types::flow::{Direction, Family};

/// The limit of a name of an interface or a prefix.
const MAX_NAME: usize = 256;
/// The limits of a frame that is read.
const MAX_SLOTS: usize = 1440;
const MAX_SCOPES: usize = 1024;
const MAX_PARTS: usize = 4096;

/// Returns the payload of a frame.
pub fn encode(frame: &Frame) -> Vec<u8> {
    let mut out = Vec::new();
    put_varint(&mut out, frame.step);
    put_varint(&mut out, frame.slots as u64);
    put_varint(&mut out, frame.scopes.len() as u64);
    for (name, scope) in &frame.scopes {
        put_text(&mut out, cut(&name.interface, MAX_NAME));
        out.push(name.direction as u8);
        put_column(&mut out, &scope.covered_ms);
        put_totals(&mut out, scope);
        for kind in PartKind::ALL {
            put_parts(&mut out, scope, kind);
        }
    }
    out
}

fn put_totals(out: &mut Vec<u8>, scope: &ScopeColumns) {
    let mut families = 0u8;
    for (n, total) in scope.totals.iter().enumerate() {
        families |= u8::from(total.is_some()) << n;
    }
    out.push(families);
    let bounded =
        |values: &[u64]| -> Vec<u64> { values.iter().map(|v| (*v).min(MAX_VALUE)).collect() };
    for total in scope.totals.iter().flatten() {
        put_column(out, &bounded(&total.bytes));
        put_column(out, &bounded(&total.packets));
        let max: Vec<_> = total
            .max
            .iter()
            .map(|max| level::encode(max.round() as u64))
            .collect();
        put_column(out, &max);
    }
}

fn put_parts(out: &mut Vec<u8>, scope: &ScopeColumns, kind: PartKind) {
    put_varint(out, scope.parts_of(kind).count() as u64);
    let mut last = 0;
    for (part, _) in scope.parts_of(kind) {
        if let Part::Prefix(name) = part {
            put_text(out, cut(name, MAX_NAME));
        }
        if let Some(number) = number(part) {
            put_varint(out, number - last);
            last = number;
        }
    }
    for (_, columns) in scope.parts_of(kind) {
        let codes: Vec<_> = columns
            .bytes
            .iter()
            .map(|bytes| level::encode(*bytes))
            .collect();
        put_column(out, &codes);
        let slots = codes.iter().zip(&columns.max).enumerate();
        let max: Vec<_> = slots
            .map(|(slot, (code, max))| match code {
                0 => 0,
                _ => level::encode_max(*max, scope.rate(slot, level::decode(*code))),
            })
            .collect();
        put_column(out, &max);
    }
}

/// Returns the number of a part, in the order of the parts of its kind.
fn number(part: &Part) -> Option<u64> {
    match part {
        Part::Network(asn) | Part::Neighbor(asn) => Some((*asn).into()),
        Part::Country(code) => Some(u16::from_be_bytes(*code).into()),
        Part::Service(protocol, port) => Some(u64::from(*protocol) << 16 | u64::from(*port)),
        Part::Prefix(_) | Part::Total(_) | Part::Rest(_) => None,
    }
}

fn part(kind: PartKind, number: u64) -> Option<Part> {
    let number = u32::try_from(number).ok()?;
    Some(match kind {
        PartKind::Network => Part::Network(number),
        PartKind::Neighbor => Part::Neighbor(number),
        PartKind::Country => Part::Country(u16::try_from(number).ok()?.to_be_bytes()),
        PartKind::Service => Part::Service(u8::try_from(number >> 16).ok()?, number as u16),
        PartKind::Prefix => return None,
    })
}

/// Adds the selected curves of a payload to `frame`. Returns `None` if the payload is not that of
/// a frame of `step` seconds in `span`; some of it may have been added.
pub fn decode_into(
    frame: &mut Frame,
    payload: &[u8],
    span: TimeSpan,
    step: u64,
    filter: &CurveFilter,
) -> Option<()> {
    let mut bytes = Bytes(payload);
    let slots = {
        let read_step = bytes.varint()?;
        let slots = bytes.count(MAX_SLOTS)?;
        (read_step == step && span.seconds() == step * slots as u64).then_some(slots)?
    };
    let places: Vec<_> = (0..slots)
        .map(|slot| frame.slot(span.from + slot as u64 * step))
        .collect();
    let mut places_used = places.iter().flatten();
    if places_used.next().is_none() {
        return Some(());
    }
    let decoder = Decoder { places, filter };
    for _ in 0..bytes.count(MAX_SCOPES)? {
        let interface: Arc<str> = bytes.text(MAX_NAME)?.into();
        let direction = Direction::ALL.get(usize::from(bytes.byte()?)).copied()?;
        let wanted = filter.has_scope(&interface, direction);
        let name = ScopeName {
            interface,
            direction,
        };
        decoder.scope(&mut bytes, wanted.then(|| frame.scope_mut(&name)))?;
    }
    frame.bound();
    bytes.0.is_empty().then_some(())
}

/// Returns the interfaces of a payload; `None` if it is not that of a frame.
pub fn interfaces(payload: &[u8]) -> Option<BTreeSet<Arc<str>>> {
    let mut bytes = Bytes(payload);
    bytes.varint()?;
    let slots = bytes.count(MAX_SLOTS)?;
    let decoder = Decoder {
        places: vec![None; slots],
        filter: &CurveFilter::default(),
    };
    let mut names = BTreeSet::new();
    for _ in 0..bytes.count(MAX_SCOPES)? {
        names.insert(bytes.text(MAX_NAME)?.into());
        bytes.byte()?;
        decoder.scope(&mut bytes, None)?;
    }
    Some(names)
}

struct Decoder<'a> {
    /// The slot of the target for each slot of the payload.
    places: Vec<Option<usize>>,
    filter: &'a CurveFilter,
}

impl Decoder<'_> {
    fn scope(&self, bytes: &mut Bytes, mut scope: Option<&mut ScopeColumns>) -> Option<()> {
        let slots = self.places.len();
        let mut covered_ms = vec![0; slots];
        let column = NumberColumn::read(bytes, slots)?;
        column.for_each(|slot, value| covered_ms[slot] = value);
        if let Some(scope) = &mut scope {
            self.each(column, |to, value| {
                scope.covered_ms[to] = scope.covered_ms[to].saturating_add(value);
            });
        }
        let families = bytes.byte()?;
        for family in Family::ALL {
            if families >> family as u8 & 1 == 0 {
                continue;
            }
            let [sums, packets, max] = [(); 3].map(|()| NumberColumn::read(bytes, slots));
            let (sums, packets, max) = (sums?, packets?, max?);
            if let Some(scope) = &mut scope {
                let total = scope.total_mut(family);
                self.each(sums, |to, value| total.add(to, value, 0, 0.0));
                self.each(packets, |to, value| total.add(to, 0, value, 0.0));
                self.each(max, |to, code| {
                    total.add(to, 0, 0, level::decode(code) as f32)
                });
            }
        }
        PartKind::ALL
            .into_iter()
            .try_for_each(|kind| self.parts(bytes, kind, scope.as_deref_mut(), &covered_ms))
    }

    fn parts(
        &self,
        bytes: &mut Bytes,
        kind: PartKind,
        mut scope: Option<&mut ScopeColumns>,
        covered_ms: &[u64],
    ) -> Option<()> {
        let slots = self.places.len();
        let count = bytes.count(MAX_PARTS)?;
        let mut parts = Vec::with_capacity(count);
        let mut last = 0u64;
        for _ in 0..count {
            parts.push(match kind {
                PartKind::Prefix => Part::Prefix(bytes.text(MAX_NAME)?.into()),
                _ => {
                    last = last.checked_add(bytes.varint()?)?;
                    part(kind, last)?
                }
            });
        }
        let is_wanted = self.filter.kinds.contains(&kind);
        let mut codes = vec![0; slots];
        let per_second: Vec<_> = covered_ms
            .iter()
            .map(|ms| 1000.0 / (*ms).max(1) as f32)
            .collect();
        for part in &parts {
            let (sums, max) = (
                NumberColumn::read(bytes, slots)?,
                NumberColumn::read(bytes, slots)?,
            );
            let Some(scope) = scope.as_deref_mut().filter(|_| is_wanted) else {
                continue;
            };
            if !self.filter.has_part(part) {
                self.each(sums, |to, code| {
                    scope.add_unlisted(kind, to, level::decode(code));
                });
                continue;
            }
            codes.fill(0);
            max.for_each(|slot, code| codes[slot] = code);
            let columns = scope.part_mut(part);
            sums.for_each(|slot, code| {
                let Some(to) = self.places[slot] else { return };
                let sum = level::decode(code);
                let mean = sum as f32 * per_second[slot];
                columns.add(to, sum, level::decode_max(codes[slot], mean));
            });
        }
        Some(())
    }

    /// Calls `each` with the slot of the target and the value.
    fn each(&self, column: NumberColumn, mut each: impl FnMut(usize, u64)) {
        column.for_each(|slot, value| {
            if let Some(to) = self.places[slot] {
                each(to, value);
            }
        });
    }
}
