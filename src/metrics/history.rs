// SPDX-License-Identifier: AGPL-3.0-only
//! `rfm_history_*`: the history on disk. The families exist only if it is enabled.

use std::sync::atomic::{AtomicU64, Ordering};

use prometheus::proto::MetricFamily;

use super::declarations;
use super::family::single;
use crate::store::shared::HistoryCounters;

pub(super) fn families(history: &HistoryCounters) -> [MetricFamily; 6] {
    let value = |counter: &AtomicU64| counter.load(Ordering::Relaxed) as f64;
    [
        single(&declarations::HISTORY_BYTES, value(&history.bytes)),
        single(
            &declarations::HISTORY_WRITTEN_BYTES,
            value(&history.written_bytes),
        ),
        single(
            &declarations::HISTORY_EVICTED_FILES,
            value(&history.evicted_files),
        ),
        single(
            &declarations::HISTORY_DAMAGED_BLOCKS,
            value(&history.damaged_blocks),
        ),
        single(&declarations::HISTORY_LOST_ROWS, value(&history.lost_rows)),
        single(&declarations::HISTORY_LAST_SYNC, value(&history.last_sync)),
    ]
}
