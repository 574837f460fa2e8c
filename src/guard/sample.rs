// SPDX-License-Identifier: AGPL-3.0-only
//! A weighted sample of the records of one host or prefix (pure).
//!
//! Priority sampling (Duffield, Lund, Thorup, 2007): each record has the priority w/u, where w is its weight and u is
//! uniform in (0, 1]; those with the highest priorities are kept, and a record stands for max(w, τ), where τ is the highest
//! priority that was not kept. Records with much traffic are always kept, and sums over any property are unbiased.

use super::traffic::{Values, values};
use crate::types::flow::FlowRecord;

/// Records in one generation.
const KEPT: usize = 96;

#[derive(Clone, Copy, Debug)]
pub struct Item {
    pub record: FlowRecord,
    pub is_new: bool,
    weight: f32,
    priority: f32,
}

impl Item {
    /// Returns the values of the record, without its weight.
    pub fn values(&self) -> Values {
        values(&self.record, self.is_new)
    }
}

/// The records of a period.
#[derive(Clone, Debug)]
pub struct Generation {
    began_ns: u64,
    items: Vec<Item>,
    /// The highest priority that was not kept.
    limit: f32,
}

impl Generation {
    pub fn new(now_ns: u64) -> Self {
        Self {
            began_ns: now_ns,
            items: Vec::new(),
            limit: 0.0,
        }
    }

    /// Adds a record; `random` is uniform in (0, 1].
    pub fn add(&mut self, record: &FlowRecord, is_new: bool, weight: f32, random: f32) {
        let priority = weight / random;
        if priority <= self.limit {
            return;
        }
        let item = Item {
            record: *record,
            is_new,
            weight,
            priority,
        };
        if self.items.len() < KEPT {
            self.items.push(item);
            return;
        }
        let least = (0..KEPT).min_by(|&a, &b| {
            let priority = |at: usize| self.items[at].priority;
            priority(a).total_cmp(&priority(b))
        });
        let least = least.unwrap_or(0);
        if self.items[least].priority < priority {
            self.limit = self.limit.max(self.items[least].priority);
            self.items[least] = item;
        } else {
            self.limit = self.limit.max(priority);
        }
    }

    /// Returns the records, each with the number of times that it counts.
    fn scaled(&self) -> impl Iterator<Item = (&Item, f32)> {
        let limit = self.limit;
        self.items
            .iter()
            .map(move |item| (item, (limit / item.weight).max(1.0)))
    }
}

/// The records of the current and the previous second, and of a second before the traffic rose.
#[derive(Clone, Debug)]
pub struct RecordSample {
    current: Generation,
    previous: Option<Generation>,
    baseline: Option<(Generation, f32)>,
}

impl RecordSample {
    pub fn new(now_ns: u64) -> Self {
        Self {
            current: Generation::new(now_ns),
            previous: None,
            baseline: None,
        }
    }

    pub fn add(&mut self, record: &FlowRecord, is_new: bool, weight: f32, random: f32) {
        self.current.add(record, is_new, weight, random);
    }

    /// Begins a new generation after a second; the traffic has been `calm` if no attack begins.
    pub fn rotate(&mut self, now_ns: u64, calm: bool) {
        const GENERATION_NS: u64 = 1_000_000_000;
        let age = now_ns.saturating_sub(self.current.began_ns);
        if age < GENERATION_NS {
            return;
        }
        let current = std::mem::replace(&mut self.current, Generation::new(now_ns));
        if let Some(previous) = self.previous.replace(current)
            && calm
        {
            let seconds = now_ns.saturating_sub(previous.began_ns) as f32 / 1e9 - age as f32 / 1e9;
            self.baseline = Some((previous, seconds.max(0.5)));
        }
    }

    /// Returns the records with packets after `since_ns`, each with its weight per second.
    pub fn since(&self, since_ns: u64, now_ns: u64) -> Vec<(Item, f32)> {
        let generations = self.previous.iter().chain([&self.current]);
        let began = generations
            .clone()
            .map(|one| one.began_ns)
            .min()
            .unwrap_or(now_ns);
        let seconds = now_ns.saturating_sub(began.max(since_ns)) as f32 / 1e9;
        let all = generations.flat_map(Generation::scaled);
        let recent = all.filter(|(item, _)| item.record.last >= since_ns);
        recent
            .map(|(item, scale)| (*item, scale / seconds.max(0.1)))
            .collect()
    }

    /// Returns the records before the traffic rose, each with its weight per second.
    pub fn baseline(&self) -> Vec<(Item, f32)> {
        let baseline = self.baseline.iter();
        let all = baseline.flat_map(|(generation, seconds)| {
            generation
                .scaled()
                .map(move |(item, scale)| (*item, scale / seconds))
        });
        all.collect()
    }
}
