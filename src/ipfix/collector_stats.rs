// SPDX-License-Identifier: AGPL-3.0-only
//! What became of the flow records, by collector: counted by thread ipfix, read by a scrape.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use crate::flow::outlet::{Load, Losses};

/// Those of the collectors there are now, for whoever shows them.
#[derive(Clone, Default)]
pub struct Tallies(Arc<RwLock<Vec<Arc<Tally>>>>);

impl Tallies {
    pub fn all(&self) -> Vec<Arc<Tally>> {
        self.0
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    pub fn replace(&self, tallies: Vec<Arc<Tally>>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = tallies;
    }
}

/// The figures of one collector.
#[derive(Debug)]
pub struct Tally {
    /// Where to, as its label says it.
    pub collector: String,
    records: AtomicU64,
    /// Not sent, or sent and refused.
    dropped: Losses,
    /// What never reached thread ipfix, and so no collector.
    before: Arc<Losses>,
}

impl Tally {
    pub fn new(collector: String, before: Arc<Losses>) -> Self {
        Self {
            collector,
            records: AtomicU64::new(0),
            dropped: Losses::default(),
            before,
        }
    }

    pub fn sent(&self, records: u64) {
        self.records.fetch_add(records, Ordering::Relaxed);
    }

    pub fn dropped(&self, load: Load) {
        self.dropped.count(load);
    }

    /// Flow records handed to the network and not known to be refused.
    pub fn records(&self) -> u64 {
        self.records.load(Ordering::Relaxed)
    }

    pub fn lost(&self) -> Load {
        let mut lost = self.dropped.get();
        lost += self.before.get();
        lost
    }
}
