// SPDX-License-Identifier: AGPL-3.0-only
//! The check of source addresses: whether the neighbor that handed over a packet announces a route that covers its
//! source (feasible path, RFC 3704 section 2.3), or a route of the same origin AS (RFC 8704 section 3.3, algorithm A).
//!
//! ```text
//! configuration: bogons, roles ─────────────────┐
//! kernel: connected networks ───────────────────┼─► SourceTables ─► SharedSources ─► thread flow
//! RIB: origins by neighbor, before policy ──────┘   tables.rs         (check.rs)
//! ```
//!
//! In mode enforce, rules for the firewall are made from the tables ([`rules`]).
//!
//! Thread source-check ([`thread`]) builds new tables when a source has changed. Whether a route covers the source, and
//! whether the sessions of the neighbor are up, is looked up in the RIB itself: after a change, a check never reports an
//! invalid source because of old tables.

mod check;
mod rules;
mod tables;
mod thread;

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use crate::types::rule::Rule;

pub use check::check;
pub use rules::MAX_RULES;
pub use tables::{MAX_ORIGINS, NeighborViews, PrefixMap, SourceTables, ViewsDraft};
pub use thread::{SourceSettings, TableSources, run};

/// The current tables, which thread source-check replaces; `None` if it does not run.
#[derive(Debug, Default)]
pub struct SharedSources {
    state: RwLock<State>,
    generation: AtomicU32,
}

#[derive(Debug, Default)]
struct State {
    tables: Option<Arc<SourceTables>>,
    /// For the firewall.
    rules: Arc<Vec<Rule>>,
    report: ViewReport,
}

/// The neighbors of the monitored interfaces, and how many of them have a view.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ViewReport {
    pub neighbors: usize,
    /// ASes whose routes before import policy rfm does not receive, in ascending order.
    pub without_view: Vec<u32>,
}

impl SharedSources {
    pub fn get(&self) -> Option<Arc<SourceTables>> {
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        state.tables.clone()
    }

    /// Returns a number that advances when the tables change.
    pub fn generation(&self) -> u32 {
        self.generation.load(Ordering::Acquire)
    }

    /// Returns the firewall rules that drop bogons and local prefixes; none until the first tables are built.
    pub fn rules(&self) -> Arc<Vec<Rule>> {
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        state.rules.clone()
    }

    pub fn report(&self) -> ViewReport {
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        state.report.clone()
    }

    /// Replaces the tables if they differ.
    fn set(&self, tables: SourceTables, rules: Vec<Rule>, report: ViewReport) {
        let same = self.get().is_some_and(|held| *held == tables);
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        state.report = report;
        if *state.rules != rules {
            state.rules = Arc::new(rules);
        }
        if !same {
            state.tables = Some(Arc::new(tables));
            drop(state);
            self.generation.fetch_add(1, Ordering::Release);
        }
    }
}
