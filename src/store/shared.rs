// SPDX-License-Identifier: AGPL-3.0-only
//! The state that thread history shares with readers: the rows that are not yet on disk, and counters.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::pending::Pending;
use super::types::{EventRow, HistoryInput};
use crate::types::event::EventKind;

/// Counters of the history, for metrics and the status.
#[derive(Debug, Default)]
pub struct HistoryCounters {
    /// Bytes of all files.
    pub bytes: AtomicU64,
    /// Bytes that were written since the start.
    pub written_bytes: AtomicU64,
    /// Damaged blocks that readers and the writer found since the start.
    pub damaged_blocks: AtomicU64,
    /// Rows of a minute, lists and events that were dropped since the start.
    pub lost_rows: AtomicU64,
    /// The Unix time of the last sync; 0 before the first one.
    pub last_sync: AtomicU64,
    /// Files that were deleted because of `max_size` or their age since the start.
    pub evicted_files: AtomicU64,
}

#[derive(Debug)]
pub struct SharedHistory {
    pub path: PathBuf,
    /// Readers hold it while they read files, so that the writer replaces none of them meanwhile.
    pending: RwLock<Pending>,
    pub counters: HistoryCounters,
    /// The reason why nothing is stored.
    problem: Mutex<Option<String>>,
}

impl SharedHistory {
    pub fn new(path: PathBuf) -> Self {
        Self {
            path,
            pending: RwLock::default(),
            counters: HistoryCounters::default(),
            problem: Mutex::default(),
        }
    }

    pub fn read(&self) -> RwLockReadGuard<'_, Pending> {
        self.pending.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn write(&self) -> RwLockWriteGuard<'_, Pending> {
        self.pending.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds the event of a folder or a file that was set aside.
    pub fn damaged(&self, time: u64, text: &str) {
        let event = EventRow {
            time,
            kind: EventKind::HistoryDamaged.name().to_owned(),
            text: text.to_owned(),
        };
        let lost = self.write().add(HistoryInput::Event(event));
        self.counters.add_lost(lost);
    }

    pub fn problem(&self) -> Option<String> {
        lock(&self.problem).clone()
    }

    pub fn set_problem(&self, problem: Option<String>) {
        *lock(&self.problem) = problem;
    }
}

fn lock(text: &Mutex<Option<String>>) -> MutexGuard<'_, Option<String>> {
    text.lock().unwrap_or_else(PoisonError::into_inner)
}

impl HistoryCounters {
    pub fn add_damaged(&self, blocks: u64) {
        self.damaged_blocks.fetch_add(blocks, Ordering::Relaxed);
    }

    pub fn add_lost(&self, rows: usize) {
        self.lost_rows.fetch_add(rows as u64, Ordering::Relaxed);
    }
}
