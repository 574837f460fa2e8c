// SPDX-License-Identifier: AGPL-3.0-only
//! THREAD history: stores the rows that other threads send.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crossbeam_channel::{Receiver, RecvTimeoutError};

use super::files::writer::{HistoryWriter, StoreSettings, StoreTime};
use super::shared::SharedHistory;
use super::types::HistoryInput;
use crate::sys::malloc;
use crate::sys::threads::Heartbeat;

/// The time between two heartbeats.
const BEAT: Duration = Duration::from_secs(2);

/// Stores rows until [`HistoryInput::Stop`] arrives or `heartbeat` requests a stop; then stores all
/// that is left. Calls `written` with the Unix time after each write.
pub fn run(
    shared: Arc<SharedHistory>,
    settings: StoreSettings,
    received: &Receiver<HistoryInput>,
    heartbeat: &Heartbeat,
    mut written: impl FnMut(u64),
) {
    let origin = Instant::now();
    let mut writer = HistoryWriter::new(shared, settings, now(origin));
    while !heartbeat.stopping() {
        heartbeat.beat();
        match received.recv_timeout(BEAT) {
            Ok(HistoryInput::Stop) => break,
            Ok(input) => writer.add(input),
            Err(RecvTimeoutError::Timeout) => {}
            // no sender is left: only the time of writing matters
            Err(RecvTimeoutError::Disconnected) => std::thread::park_timeout(BEAT),
        }
        let time = now(origin);
        if writer.tick(time) {
            heartbeat.beat();
            written(time.wall);
            // deriving takes memory that is not needed until the next day
            malloc::return_free_blocks();
        }
    }
    received.try_iter().for_each(|input| writer.add(input));
    writer.close(now(origin));
}

fn now(origin: Instant) -> StoreTime {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    StoreTime {
        wall: since.map_or(0, |since| since.as_secs()),
        monotonic: origin.elapsed(),
    }
}
