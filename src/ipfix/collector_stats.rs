// SPDX-License-Identifier: AGPL-3.0-only
//! Flow records sent and dropped, by collector. Thread ipfix counts them, a scrape reads them.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use crate::flow::export_queue::{DroppedRecords, RecordCounts};

/// The statistics of all current collectors, for all readers.
#[derive(Clone, Default)]
pub struct CollectorStatsList(Arc<RwLock<Vec<Arc<CollectorStats>>>>);

impl CollectorStatsList {
    pub fn all(&self) -> Vec<Arc<CollectorStats>> {
        self.0
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    pub fn replace(&self, stats: Vec<Arc<CollectorStats>>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = stats;
    }
}

/// The counters of one collector.
#[derive(Debug)]
pub struct CollectorStats {
    /// The address of the collector, as in the label.
    pub collector: String,
    records: AtomicU64,
    /// The flow records that wait to be sent.
    queued: AtomicU64,
    /// Records not sent, or sent and rejected.
    dropped: DroppedRecords,
    /// Records dropped before they reached thread ipfix, and therefore for every collector.
    queue_dropped: Arc<DroppedRecords>,
}

impl CollectorStats {
    pub fn new(collector: String, queue_dropped: Arc<DroppedRecords>) -> Self {
        Self {
            collector,
            records: AtomicU64::new(0),
            queued: AtomicU64::new(0),
            dropped: DroppedRecords::default(),
            queue_dropped,
        }
    }

    pub fn add_sent(&self, records: u64) {
        self.records.fetch_add(records, Ordering::Relaxed);
    }

    pub fn add_dropped(&self, load: RecordCounts) {
        self.dropped.count(load);
    }

    pub fn set_queued(&self, records: u64) {
        self.queued.store(records, Ordering::Relaxed);
    }

    /// Returns the flow records that wait to be sent.
    pub fn queued(&self) -> u64 {
        self.queued.load(Ordering::Relaxed)
    }

    /// Returns the flow records that were sent and, as far as known, not rejected.
    pub fn records(&self) -> u64 {
        self.records.load(Ordering::Relaxed)
    }

    pub fn dropped(&self) -> RecordCounts {
        let mut dropped = self.dropped.get();
        dropped += self.queue_dropped.get();
        dropped
    }
}
