// SPDX-License-Identifier: AGPL-3.0-only
//! Sends rows to thread history. A full channel loses the message, and counts it: no sender waits.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use crossbeam_channel::{Receiver, Sender, bounded};

use super::shared::SharedHistory;
use super::types::{EventRow, HistoryInput};

/// Messages that wait for thread history: some minutes of all senders, and events.
const MESSAGES: usize = 256;

#[derive(Clone, Debug)]
pub struct HistorySender {
    shared: Arc<SharedHistory>,
    messages: Sender<HistoryInput>,
}

impl HistorySender {
    /// Returns a sender and the end of thread history.
    pub fn new(shared: Arc<SharedHistory>) -> (Self, Receiver<HistoryInput>) {
        let (messages, received) = bounded(MESSAGES);
        (Self { shared, messages }, received)
    }

    pub fn send(&self, input: HistoryInput) {
        if let Err(error) = self.messages.try_send(input) {
            self.shared.counters.add_lost(error.into_inner().rows());
        }
    }

    /// Sends an event that happens now.
    pub fn event(&self, kind: &str, text: impl Into<String>) {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        self.send(HistoryInput::Event(EventRow {
            time: since.map_or(0, |since| since.as_secs()),
            kind: kind.to_owned(),
            text: text.into(),
        }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::Ordering;

    #[test]
    fn a_full_channel_loses_messages_and_counts_them() {
        let shared = Arc::new(SharedHistory::new("/nonexistent".into()));
        let (sender, received) = HistorySender::new(shared.clone());
        for _ in 0..MESSAGES + 7 {
            sender.event("reload", "");
        }
        assert_eq!(received.len(), MESSAGES);
        assert_eq!(shared.counters.lost_rows.load(Ordering::Relaxed), 7);
        drop(received);
        sender.event("stop", "");
        assert_eq!(shared.counters.lost_rows.load(Ordering::Relaxed), 8);
    }
}
