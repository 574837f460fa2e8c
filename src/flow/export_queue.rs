// SPDX-License-Identifier: AGPL-3.0-only
//! The queue of completed flow records from thread flow to the exporter: batches in a bounded
//! channel. Thread flow never blocks on it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};

use super::table::CompletedRecord;
use crate::types::flow::Direction;

/// Flow records per batch.
const BATCH: usize = 256;
/// Batches in the queue; when it is full, flow records are dropped.
const BATCHES: usize = 64;
/// A batch that is not full is sent after this time.
const BATCH_TIMEOUT_MS: u64 = 250;

/// Counters of dropped flow records and their packets and octets.
#[derive(Debug, Default)]
pub struct DroppedRecords {
    parts: AtomicU64,
    packets: AtomicU64,
    octets: AtomicU64,
}

/// Counts of flow records and of their packets and octets, not scaled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RecordCounts {
    pub parts: u64,
    pub packets: u64,
    pub octets: u64,
}

impl RecordCounts {
    pub fn add(&mut self, part: &CompletedRecord) {
        self.parts += 1;
        self.packets = self.packets.wrapping_add(part.record.packets);
        self.octets = self.octets.wrapping_add(part.record.ip_bytes);
    }
}

impl std::ops::AddAssign for RecordCounts {
    fn add_assign(&mut self, other: Self) {
        self.parts += other.parts;
        self.packets = self.packets.wrapping_add(other.packets);
        self.octets = self.octets.wrapping_add(other.octets);
    }
}

impl std::ops::SubAssign for RecordCounts {
    fn sub_assign(&mut self, other: Self) {
        self.parts = self.parts.wrapping_sub(other.parts);
        self.packets = self.packets.wrapping_sub(other.packets);
        self.octets = self.octets.wrapping_sub(other.octets);
    }
}

impl DroppedRecords {
    pub fn count(&self, load: RecordCounts) {
        self.parts.fetch_add(load.parts, Ordering::Relaxed);
        self.packets.fetch_add(load.packets, Ordering::Relaxed);
        self.octets.fetch_add(load.octets, Ordering::Relaxed);
    }

    pub fn get(&self) -> RecordCounts {
        RecordCounts {
            parts: self.parts.load(Ordering::Relaxed),
            packets: self.packets.load(Ordering::Relaxed),
            octets: self.octets.load(Ordering::Relaxed),
        }
    }
}

/// The channel endpoints of the exporter.
pub struct ExportReceiver {
    pub parts: Receiver<Vec<CompletedRecord>>,
    /// Returns the emptied batches.
    pub spare: Sender<Vec<CompletedRecord>>,
    /// The flow records that were dropped because the queue was full.
    pub losses: Arc<DroppedRecords>,
}

pub struct ExportSender {
    parts: Sender<Vec<CompletedRecord>>,
    spares: Receiver<Vec<CompletedRecord>>,
    losses: Arc<DroppedRecords>,
    batch: Vec<CompletedRecord>,
    directions: Vec<Direction>,
    /// The time of the last flush.
    flushed_ms: u64,
}

impl ExportSender {
    /// Creates a queue for flows of these directions; dropped flow records are added to `losses`.
    pub fn new(directions: Vec<Direction>, losses: Arc<DroppedRecords>) -> (Self, ExportReceiver) {
        let (sender, parts) = bounded(BATCHES);
        let (spare, spares) = bounded(BATCHES);
        let export_sender = Self {
            parts: sender,
            spares,
            losses: losses.clone(),
            batch: Vec::new(),
            directions,
            flushed_ms: 0,
        };
        let export_receiver = ExportReceiver {
            parts,
            spare,
            losses,
        };
        (export_sender, export_receiver)
    }

    /// Returns another sender into the same channel, for flows of these directions.
    pub fn clone_for(&self, directions: Vec<Direction>) -> Self {
        Self {
            parts: self.parts.clone(),
            spares: self.spares.clone(),
            losses: self.losses.clone(),
            batch: Vec::new(),
            directions,
            flushed_ms: 0,
        }
    }

    pub fn push(&mut self, part: &CompletedRecord) {
        if !self.directions.contains(&part.record.key.direction) {
            return;
        }
        self.batch.push(*part);
        if self.batch.len() >= BATCH {
            self.flush();
        }
    }

    /// Returns the number of flow records for which there is room now.
    pub fn room(&self) -> usize {
        BATCHES.saturating_sub(self.parts.len()) * BATCH
    }

    /// Sends the batch if it has waited for the timeout.
    pub fn flush_if_due(&mut self, now_ms: u64) {
        if now_ms.saturating_sub(self.flushed_ms) >= BATCH_TIMEOUT_MS {
            self.flushed_ms = now_ms;
            self.flush();
        }
    }

    /// Sends the batch, or counts it as dropped.
    pub fn flush(&mut self) {
        if self.batch.is_empty() {
            return;
        }
        let next = self.spares.try_recv().unwrap_or_default();
        let full = std::mem::replace(&mut self.batch, next);
        if let Err(TrySendError::Full(batch) | TrySendError::Disconnected(batch)) =
            self.parts.try_send(full)
        {
            let mut load = RecordCounts::default();
            batch.iter().for_each(|part| load.add(part));
            self.losses.count(load);
            self.batch = batch;
            self.batch.clear();
        }
    }

    /// Waits for room for the last flow records, at most until `deadline`. Returns true if there is
    /// room.
    pub fn wait(&self, deadline: Instant) -> bool {
        while self.room() <= BATCH {
            if Instant::now() >= deadline {
                return false;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        true
    }
}

impl Drop for ExportSender {
    fn drop(&mut self) {
        self.flush();
    }
}
