// SPDX-License-Identifier: AGPL-3.0-only
//! Selects the flows with the most traffic, in a heap of at most the requested size.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

use super::{FlowContext, Sort, Sum};
use crate::types::flow::FlowRecord;
use crate::types::label::Enrichment;

/// One flow of an answer.
#[derive(Clone, Debug)]
pub struct FlowRow {
    /// The partial record.
    pub record: FlowRecord,
    pub sum: Sum,
    pub known: Enrichment,
}

/// The best flows so far, the least of them on top.
#[derive(Debug)]
pub(super) struct Best {
    sort: Sort,
    limit: usize,
    heap: BinaryHeap<Reverse<Ranked>>,
}

#[derive(Debug)]
struct Ranked {
    rank: (u64, u64),
    record: FlowRecord,
}

impl Best {
    pub fn new(sort: Sort, limit: usize) -> Self {
        Self {
            sort,
            limit,
            heap: BinaryHeap::new(),
        }
    }

    pub fn offer(&mut self, record: &FlowRecord, sum: &Sum) {
        let figure = match self.sort {
            Sort::Bytes => sum.bytes,
            Sort::Packets => sum.packets,
            Sort::Rate => sum.bytes_per_second,
            Sort::Last => record.last,
            Sort::Duration => record.last.saturating_sub(record.first),
        };
        let rank = (figure, record.last);
        if self.heap.len() >= self.limit {
            match self.heap.peek() {
                Some(Reverse(least)) if least.rank < rank => drop(self.heap.pop()),
                _ => return,
            }
        }
        let record = *record;
        self.heap.push(Reverse(Ranked { rank, record }));
    }

    /// Returns the largest flows first. A flow that moved in the table between two slices may have
    /// been visited twice.
    pub fn finish(self, now_ns: u64, context: &impl FlowContext) -> Vec<FlowRow> {
        let ranked = self.heap.into_sorted_vec();
        let mut rows: Vec<FlowRow> = Vec::with_capacity(ranked.len());
        let mut met = std::collections::HashSet::new();
        for Reverse(Ranked { record, .. }) in ranked {
            if met.insert(record.key) {
                rows.push(FlowRow {
                    sum: Sum::of(&record, now_ns),
                    known: context.known(&record),
                    record,
                });
            }
        }
        rows
    }
}

impl PartialEq for Ranked {
    fn eq(&self, other: &Self) -> bool {
        self.rank == other.rank
    }
}

impl Eq for Ranked {}

impl PartialOrd for Ranked {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Ranked {
    fn cmp(&self, other: &Self) -> Ordering {
        self.rank.cmp(&other.rank)
    }
}
