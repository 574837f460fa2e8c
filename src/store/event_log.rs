// SPDX-License-Identifier: AGPL-3.0-only
//! Events of all threads for the history, as `log` is for lines: without a history nothing is stored.

use std::sync::OnceLock;

use super::sender::HistorySender;
use crate::types::event::EventKind;

/// Maximum length of a text, in bytes; the rest is cut.
const MAX_TEXT: usize = 200;

static SENDER: OnceLock<HistorySender> = OnceLock::new();

#[cfg(test)]
thread_local! {
    static RECORDED: std::cell::RefCell<Vec<(EventKind, String)>> = const { std::cell::RefCell::new(Vec::new()) };
}

/// Returns the events that this thread recorded since the last call.
#[cfg(test)]
pub fn recorded() -> Vec<(EventKind, String)> {
    RECORDED.take()
}

/// Sends all later events to the history; called once, at the start.
pub fn install(sender: HistorySender) {
    // the first one stays
    let _ = SENDER.set(sender);
}

/// Stores an event that happens now.
pub fn record(kind: EventKind, text: &str) {
    #[cfg(test)]
    RECORDED.with_borrow_mut(|recorded| recorded.push((kind, text.to_owned())));
    if let Some(sender) = SENDER.get() {
        sender.event(kind.name(), shortened(text));
    }
}

fn shortened(text: &str) -> &str {
    let mut end = text.len().min(MAX_TEXT);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::store::shared::SharedHistory;
    use crate::store::types::HistoryInput;

    #[test]
    fn events_have_a_kind_and_a_bounded_text() {
        // another test may have installed its own
        record(EventKind::Reload, "before");
        let (sender, received) =
            HistorySender::new(Arc::new(SharedHistory::new("/nonexistent".into())));
        install(sender);
        record(EventKind::InterfaceGone, &"ü".repeat(150));
        // tests of other parts record events meanwhile
        let text = "ü".repeat(100);
        let event = received.try_iter().find_map(|input| match input {
            HistoryInput::Event(event) if event.text == text => Some(event),
            _ => None,
        });
        let event = event.expect("the event");
        assert_eq!(event.kind, "interface_gone");
        assert!(event.time > 1_700_000_000);
    }
}
