// SPDX-License-Identifier: AGPL-3.0-only
//! A walk through the flow table, a slice at a time.
//!
//! It goes from the end to the front. A flow that ends gives its place to the last one, and so moves
//! towards the front: one not yet met stays so, one that was met may be met again. New flows come at
//! the end and are not met. So an answer lacks no flow that lived for the whole walk.

use std::time::{Duration, Instant};

use crossbeam_channel::Sender;

use super::group::Groups;
use super::select::{Best, FlowRow};
use super::{Field, Filter, FlowContext, Sort, Sum};
use crate::flow::table::FlowTable;

/// Flows looked at between two looks at the clock.
const STEP: usize = 64;

/// What is asked, and where the answer goes.
pub enum Question {
    /// Single flows, and how many there are.
    Flows(Sender<(Vec<FlowRow>, u64)>),
    /// Groups by these fields, at most [`super::MAX_FIELDS`], not sorted yet; and all together.
    Groups(Vec<Field>, Sender<(Groups, Sum)>),
}

/// A question on its way through the table.
pub struct Scan {
    filter: Filter,
    /// Flows below it are to come; `None` before the first slice.
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
            Question::Groups(fields, reply) => Matches::Groups(Groups::new(fields), reply),
        };
        Self {
            filter,
            cursor: None,
            total: Sum::default(),
            matches,
        }
    }

    /// Goes on for `time`; true when the walk is at its end. `now_ns` is CLOCK_BOOTTIME.
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
        // between two parts there is nothing to tell
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

    /// Sends the answer, if somebody still waits for it.
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
