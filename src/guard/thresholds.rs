// SPDX-License-Identifier: AGPL-3.0-only
//! Plain thresholds: the packets or bits of an interface, of a neighbor AS or of a prefix, above or below a number (pure).
//!
//! The time for which a threshold must be crossed has up to ten steps. A step is evaluated when all records of its
//! packets have arrived, by the times in the records.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use foldhash::fast::RandomState;

use super::origins::Origins;
use super::report::{AttackId, AttackReport, DetectorEvent};
use super::traffic::Values;
use crate::flow::thread::RecordLookup;
use crate::types::flow::{Direction, FlowRecord};
use crate::types::guard::{AlarmKind, AlarmTarget, Heading, Quantity};

/// Steps in the time for which a threshold must be crossed; a step has at least a second.
const STEPS: u64 = 10;
const SECOND_NS: u64 = 1_000_000_000;
/// A record waits up to a second in the kernel, and then on its way.
const DELAY_NS: u64 = 1_300_000_000;
/// Steps that are counted at a time: the newest, and those with records on their way.
const OPEN: usize = 4;
/// Interfaces whose thresholds are remembered; beyond these the memory is cleared.
const MAX_KNOWN: usize = 1_024;

/// A threshold of the configuration.
#[derive(Clone, Debug, PartialEq)]
pub struct PlainThreshold {
    pub target: AlarmTarget,
    pub heading: Heading,
    pub kind: AlarmKind,
    /// Per second.
    pub limit: u64,
    /// The time for which it must be crossed.
    pub lasts: Duration,
}

/// Packets and bits: a long step has more than a float of 32 bits can add up.
type StepSums = [f64; 2];

struct ThresholdState {
    threshold: PlainThreshold,
    step_ns: u64,
    /// The number of steps after which the alarm begins or ends.
    steps: u64,
    /// The oldest step that is not evaluated yet.
    next: u64,
    /// The sums of the steps from `next` on, each at its number modulo [`OPEN`].
    open: [StepSums; OPEN],
    /// The number of steps in a row on the other side than that of the present state.
    changed: u64,
    alarm: Option<(AttackId, u64)>,
}

pub struct PlainThresholds {
    all: Vec<ThresholdState>,
    /// The thresholds by interface, and those of prefixes and neighbors.
    by_interface: HashMap<u32, Vec<usize>, RandomState>,
    others: Vec<usize>,
    has_peers: bool,
    generation: u32,
}

impl PlainThresholds {
    pub fn new(thresholds: Vec<PlainThreshold>, now_ns: u64) -> Self {
        let is_other = |one: &PlainThreshold| !matches!(one.target, AlarmTarget::Interface(_));
        let others = thresholds.iter().enumerate();
        Self {
            others: others
                .filter(|(_, one)| is_other(one))
                .map(|(at, _)| at)
                .collect(),
            has_peers: thresholds
                .iter()
                .any(|one| matches!(one.target, AlarmTarget::Peer(_))),
            all: thresholds
                .into_iter()
                .map(|threshold| ThresholdState::new(threshold, now_ns))
                .collect(),
            by_interface: HashMap::default(),
            generation: 0,
        }
    }

    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// Adds a record to all thresholds that cover it.
    pub fn count(&mut self, record: &FlowRecord, lookup: &dyn RecordLookup) {
        let key = &record.key;
        let generation = lookup.generation();
        if generation != self.generation || self.by_interface.len() >= MAX_KNOWN {
            self.generation = generation;
            self.by_interface.clear();
        }
        let all = &self.all;
        let of_interface = self.by_interface.entry(key.ifindex).or_insert_with(|| {
            let Some(name) = lookup.name(key.ifindex) else {
                return Vec::new();
            };
            let target = AlarmTarget::Interface(name);
            let same = |at: &usize| all[*at].threshold.target == target;
            (0..all.len()).filter(same).collect()
        });
        if of_interface.is_empty() && self.others.is_empty() {
            return;
        }
        let (heading, address) = match key.direction {
            Direction::Ingress => (Heading::In, key.destination()),
            Direction::Egress => (Heading::Out, key.source()),
        };
        let rate = f64::from(record.sample_rate);
        let sums = [record.packets, record.frame_bytes.saturating_mul(8)];
        let sums = sums.map(|value| value as f64 * rate);
        for at in of_interface {
            self.all[*at].add(record, heading, &sums);
        }
        if self.others.is_empty() {
            return;
        }
        let peer = match self.has_peers {
            true => lookup.peer_asn(record),
            false => 0,
        };
        let address = address.to_canonical();
        // the same packets would count twice if they also cross an interface inside
        let is_summed = lookup.is_summed(key.ifindex);
        for at in &self.others {
            let one = &mut self.all[*at];
            if one.threshold.covers(peer, address, is_summed) {
                one.add(record, heading, &sums);
            }
        }
    }

    /// Evaluates the steps that are complete; `next_id` numbers new alarms.
    pub fn advance(
        &mut self,
        now_ns: u64,
        mut next_id: impl FnMut() -> AttackId,
    ) -> Vec<DetectorEvent> {
        let mut events = Vec::new();
        for one in &mut self.all {
            one.advance(now_ns, &mut next_id, &mut events);
        }
        events
    }
}

impl PlainThreshold {
    fn covers(&self, peer: u32, address: IpAddr, is_summed: bool) -> bool {
        match self.target {
            AlarmTarget::Prefix(prefix) => is_summed && prefix.contains(address),
            AlarmTarget::Peer(asn) => asn == peer,
            AlarmTarget::Interface(_) => false,
        }
    }
}

impl ThresholdState {
    fn new(threshold: PlainThreshold, now_ns: u64) -> Self {
        let lasts = u64::try_from(threshold.lasts.as_nanos()).unwrap_or(u64::MAX);
        let steps = (lasts / SECOND_NS).clamp(1, STEPS);
        let step_ns = lasts.div_ceil(steps).max(SECOND_NS);
        Self {
            threshold,
            step_ns,
            steps,
            // the step of the start has only a part of its packets
            next: now_ns / step_ns + 1,
            open: Default::default(),
            changed: 0,
            alarm: None,
        }
    }

    /// Spreads a record over the steps from its first to its last packet.
    fn add(&mut self, record: &FlowRecord, heading: Heading, added: &StepSums) {
        if heading != self.threshold.heading {
            return;
        }
        let (first, last) = (record.first, record.last.max(record.first));
        let newest = self.next + OPEN as u64 - 1;
        let (from, to) = (first / self.step_ns, last / self.step_ns);
        let span = (last - first).max(1) as f64;
        for step in from.max(self.next)..=to.min(newest) {
            let begin = (step * self.step_ns).max(first);
            let end = ((step + 1) * self.step_ns).min(last);
            let share = match from == to {
                true => 1.0,
                false => end.saturating_sub(begin) as f64 / span,
            };
            let sums = &mut self.open[step as usize % OPEN];
            for (sum, value) in sums.iter_mut().zip(added) {
                *sum += value * share;
            }
        }
    }

    fn advance(
        &mut self,
        now_ns: u64,
        next_id: &mut dyn FnMut() -> AttackId,
        events: &mut Vec<DetectorEvent>,
    ) {
        while (self.next + 1) * self.step_ns + DELAY_NS <= now_ns {
            let step = self.next;
            let sums = std::mem::take(&mut self.open[step as usize % OPEN]);
            self.next += 1;
            let seconds = self.step_ns as f64 / SECOND_NS as f64;
            let [packets, bits] = sums.map(|sum| (sum / seconds) as f32);
            let mut values = Values::default();
            values[Quantity::Packets as usize] = packets;
            values[Quantity::Bits as usize] = bits;
            self.evaluate(step, values, now_ns, next_id, events);
        }
    }

    fn evaluate(
        &mut self,
        step: u64,
        values: Values,
        now_ns: u64,
        next_id: &mut dyn FnMut() -> AttackId,
        events: &mut Vec<DetectorEvent>,
    ) {
        let kind = self.threshold.kind;
        let (value, limit) = (
            values[kind.quantity() as usize],
            self.threshold.limit as f32,
        );
        let is_crossed = match kind.is_below() {
            true => value < limit,
            false => value > limit,
        };
        self.changed = match is_crossed == self.alarm.is_some() {
            true => 0,
            false => self.changed + 1,
        };
        let is_changed = self.changed >= self.steps;
        if is_changed {
            self.changed = 0;
        }
        match (self.alarm, is_changed) {
            (None, true) => {
                let since_ns = (step + 1 - self.steps) * self.step_ns;
                let id = next_id();
                self.alarm = Some((id, since_ns));
                let report = self.report(id, since_ns, now_ns, values);
                events.push(DetectorEvent::Alarm(Box::new(report)));
            }
            (Some((id, _)), true) => {
                self.alarm = None;
                events.push(DetectorEvent::Calm(id));
            }
            (Some((id, since_ns)), false) if is_crossed => {
                let report = self.report(id, since_ns, now_ns, values);
                events.push(DetectorEvent::Update(Box::new(report)));
            }
            _ => {}
        }
    }

    fn report(&self, id: AttackId, since_ns: u64, now_ns: u64, values: Values) -> AttackReport {
        AttackReport {
            id,
            target: self.threshold.target.clone(),
            heading: self.threshold.heading,
            kind: self.threshold.kind,
            threshold: self.threshold.limit as f32,
            values,
            since_ns,
            now_ns,
            signature: None,
            exceptions: Vec::new(),
            has_more_exceptions: false,
            flows: Vec::new(),
            sources: 0,
            origins: Origins::default(),
            interface: match &self.threshold.target {
                AlarmTarget::Interface(name) => Some(name.clone()),
                _ => None,
            },
        }
    }
}
