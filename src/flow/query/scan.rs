// SPDX-License-Identifier: AGPL-3.0-only
//! Iterates over the flow table, in slices.
//!
//! The iteration runs from the end to the front. The last flow moves to the index of a flow that
//! ends, and so moves towards the front: a flow not yet visited stays unvisited, a visited one may
//! be visited again. New flows are added at the end and are not visited. Therefore the answer
//! includes every flow that existed during the whole scan.

use std::time::{Duration, Instant};

use crossbeam_channel::Sender;

use super::group::Groups;
use super::select::{Best, FlowRow};
use super::{Field, Filter, FlowContext, Sort, Sum};
use crate::flow::table::FlowTable;
use crate::types::address_detail::AddressDetail;

/// The number of flows visited between two reads of the clock.
const STEP: usize = 64;

/// A query, and the channel for its answer.
pub enum Question {
    /// Single flows, and their total number.
    Flows(Sender<(Vec<FlowRow>, u64)>),
    /// Groups by these fields, at most [`super::MAX_FIELDS`], not sorted yet; and the sum of all. Addresses have this
    /// detail.
    Groups(Vec<Field>, AddressDetail, Sender<(Groups, Sum)>),
}

/// A query in progress.
pub struct Scan {
    filter: Filter,
    /// Flows below this index are not visited yet; `None` before the first slice.
    cursor: Option<usize>,
    total: Sum,
    matches: Matches,
}

enum Matches {
    Flows(Best, Sender<(Vec<FlowRow>, u64)>),
    Groups(Groups, Sender<(Groups, Sum)>),
}

impl Scan {
    pub fn new(question: Question, filter: Filter, sort: Sort, limit: usize) -> Self {
        let limit = limit.min(super::MAX_LIMIT);
        let matches = match question {
            Question::Flows(reply) => Matches::Flows(Best::new(sort, limit), reply),
            Question::Groups(fields, addresses, reply) => {
                Matches::Groups(Groups::new(fields, addresses), reply)
            }
        };
        Self {
            filter,
            cursor: None,
            total: Sum::default(),
            matches,
        }
    }

    /// Continues the scan for `time`. Returns true if the scan is complete. `now_ns` is
    /// CLOCK_BOOTTIME.
    pub fn go_on(
        &mut self,
        table: &FlowTable,
        context: &impl FlowContext,
        now_ns: u64,
        time: Duration,
    ) -> bool {
        let start = Instant::now();
        let mut cursor = self.cursor.unwrap_or(usize::MAX).min(table.len());
        while cursor > 0 {
            let next = cursor.saturating_sub(STEP);
            for at in (next..cursor).rev() {
                self.visit(table, at, context, now_ns);
            }
            cursor = next;
            if start.elapsed() >= time {
                break;
            }
        }
        self.cursor = Some(cursor);
        cursor == 0
    }

    fn visit(&mut self, table: &FlowTable, at: usize, context: &impl FlowContext, now_ns: u64) {
        // skip a flow without a partial record
        let Some((part, set)) = table.at(at).filter(|(part, _)| part.packets > 0) else {
            return;
        };
        if !self.filter.admits(part, set, context) {
            return;
        }
        let sum = Sum::of(part, now_ns);
        self.total.add(&sum);
        match &mut self.matches {
            Matches::Flows(best, _) => best.offer(part, &sum),
            Matches::Groups(groups, _) => groups.add(part, set, &sum, context),
        }
    }

    /// Sends the answer, if the receiver still exists.
    pub fn finish(self, context: &impl FlowContext, now_ns: u64) {
        match self.matches {
            Matches::Flows(best, reply) => {
                let rows = best.finish(now_ns, context);
                drop(reply.try_send((rows, self.total.flows)));
            }
            Matches::Groups(groups, reply) => drop(reply.try_send((groups, self.total))),
        }
    }
}
