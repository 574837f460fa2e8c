// SPDX-License-Identifier: AGPL-3.0-only
//! The curves of an answer while frames are added in order of time (pure).

use std::collections::BTreeMap;

use super::format::frame::{Frame, ScopeColumns, ScopeName};
use super::types::{Curve, CurveFilter, CurvePoint, Part, PartKind};
use crate::types::flow::Family;

/// The maximum number of points of an answer: a bound for its memory.
const MAX_POINTS: usize = 1 << 20;
/// The maximum number of parts of an answer.
const MAX_PARTS: usize = 1024;

#[derive(Default)]
pub struct CurveAnswer {
    curves: BTreeMap<(ScopeName, Part), Vec<CurvePoint>>,
    points: usize,
}

impl CurveAnswer {
    /// Adds the curves of a frame that begins after all previous ones.
    pub fn add(&mut self, frame: &Frame, filter: &CurveFilter) {
        for (name, scope) in &frame.scopes {
            self.add_scope(frame, (name, scope), filter);
        }
        if self.points > MAX_POINTS || self.curves.len() > 2 * MAX_PARTS {
            self.limit();
        }
    }

    pub fn finish(mut self) -> Vec<Curve> {
        if self.curves.len() > MAX_PARTS {
            self.limit();
        }
        let curves = self.curves.into_iter();
        let curve = |((name, part), points): ((ScopeName, Part), Vec<CurvePoint>)| Curve {
            interface: name.interface,
            direction: name.direction,
            part,
            points,
        };
        curves.map(curve).collect()
    }

    fn put(&mut self, name: &ScopeName, part: Part, points: impl Iterator<Item = CurvePoint>) {
        let curve = self.curves.entry((name.clone(), part)).or_default();
        let before = curve.len();
        curve.extend(points);
        self.points += curve.len() - before;
    }

    fn add_scope(
        &mut self,
        frame: &Frame,
        (name, scope): (&ScopeName, &ScopeColumns),
        filter: &CurveFilter,
    ) {
        let point = |slot: usize, bytes: u64, packets: u64, max_rate: f32| CurvePoint {
            time: frame.start + slot as u64 * frame.step,
            covered_ms: u32::try_from(scope.covered_ms[slot]).unwrap_or(u32::MAX),
            bytes,
            packets,
            max_rate,
        };
        let observed = || (0..frame.slots).filter(|slot| scope.covered_ms[*slot] > 0);
        for (family, total) in Family::ALL.into_iter().zip(&scope.totals) {
            let Some(total) = total else { continue };
            let points =
                observed().map(|s| point(s, total.bytes[s], total.packets[s], total.max[s]));
            self.put(name, Part::Total(family), points);
        }
        for (part, columns) in &scope.parts {
            let used = (0..frame.slots).filter(|slot| columns.bytes[*slot] > 0);
            let points = used.map(|slot| point(slot, columns.bytes[slot], 0, columns.max[slot]));
            self.put(name, part.clone(), points);
        }
        for kind in PartKind::ALL {
            if filter.kinds.contains(&kind) {
                let rest = scope.rest(kind);
                let points = observed().map(|slot| point(slot, rest[slot], 0, 0.0));
                self.put(name, Part::Rest(kind), points);
            }
        }
    }

    /// Moves the parts with the least traffic to the rest of their kind, until half of the limits
    /// is free.
    fn limit(&mut self) {
        let sum = |points: &[CurvePoint]| points.iter().map(|p| u128::from(p.bytes)).sum::<u128>();
        let is_part = |part: &Part| !matches!(part, Part::Total(_) | Part::Rest(_));
        let parts = self.curves.iter().filter(|((_, part), _)| is_part(part));
        let mut sums: Vec<_> = parts
            .map(|(key, points)| (sum(points), key.clone()))
            .collect();
        sums.sort_unstable();
        let mut left = sums.len();
        for (_, key) in sums {
            if left <= MAX_PARTS / 2 && self.points <= MAX_POINTS / 2 {
                break;
            }
            left -= 1;
            let points = self.curves.remove(&key).unwrap_or_default();
            self.points -= points.len();
            let (name, part) = key;
            let Some(kind) = part.kind() else { continue };
            let Some(rest) = self.curves.get_mut(&(name, Part::Rest(kind))) else {
                continue;
            };
            // both are in order of time
            let mut rest = rest.iter_mut().peekable();
            for point in points {
                while rest.next_if(|rest| rest.time < point.time).is_some() {}
                if let Some(same) = rest.peek_mut().filter(|rest| rest.time == point.time) {
                    same.bytes = same.bytes.saturating_add(point.bytes);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::flow::Direction;

    #[test]
    fn the_smallest_parts_become_rest() {
        let mut answer = CurveAnswer::default();
        let filter = CurveFilter::everything();
        let parts = 3 * MAX_PARTS as u32;
        let mut frame = Frame::new(0, 60, 2);
        let name = ScopeName {
            interface: "eth0".into(),
            direction: Direction::Ingress,
        };
        let scope = frame.scope_mut(&name);
        scope.covered_ms.fill(60_000);
        let total: u64 = (1..=u64::from(parts)).sum();
        scope.total_mut(Family::Ipv4).add(1, total, 1, 1.0);
        for n in 1..=parts {
            scope.part_mut(&Part::Network(n)).add(1, n.into(), 1.0);
        }
        answer.add(&frame, &filter);
        let curves = answer.finish();
        let of_kind = |curve: &&Curve| curve.part.kind() == Some(PartKind::Network);
        let bytes = |curves: &mut dyn Iterator<Item = &Curve>| -> u64 {
            curves
                .flat_map(|curve| &curve.points)
                .map(|point| point.bytes)
                .sum()
        };
        assert_eq!(bytes(&mut curves.iter().filter(of_kind)), total);
        assert!(curves.len() <= MAX_PARTS);
        assert!(
            curves
                .iter()
                .any(|curve| curve.part == Part::Network(parts))
        );
    }
}
