// SPDX-License-Identifier: AGPL-3.0-only
//! Events as payloads of blocks (pure): time, kind and text of each.

use super::bytes::{Bytes, cut, put_text, put_varint};
use crate::store::types::EventRow;

const MAX_EVENTS: usize = 100_000;
/// Bytes of a kind, and of a text.
const MAX_KIND: usize = 64;
const MAX_TEXT: usize = 512;

pub fn encode(events: &[&EventRow]) -> Vec<u8> {
    let mut out = Vec::new();
    put_varint(&mut out, events.len() as u64);
    for event in events {
        put_varint(&mut out, event.time);
        put_text(&mut out, cut(&event.kind, MAX_KIND));
        put_text(&mut out, cut(&event.text, MAX_TEXT));
    }
    out
}

/// Returns `None` if the payload is not one of events.
pub fn decode(payload: &[u8]) -> Option<Vec<EventRow>> {
    let mut bytes = Bytes(payload);
    let count = bytes.count(MAX_EVENTS)?;
    let mut events = Vec::new();
    for _ in 0..count {
        events.push(EventRow {
            time: bytes.varint()?,
            kind: bytes.text(MAX_KIND)?.to_owned(),
            text: bytes.text(MAX_TEXT)?.to_owned(),
        });
    }
    bytes.0.is_empty().then_some(events)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_read_as_written() {
        let event = |time, text: &str| EventRow {
            time,
            kind: "reload".into(),
            text: text.into(),
        };
        let events = [event(1, ""), event(u64::MAX, "eth0 \u{fc}")];
        let payload = encode(&events.iter().collect::<Vec<_>>());
        assert_eq!(decode(&payload).unwrap(), events);
        for end in 0..payload.len() {
            assert_eq!(decode(&payload[..end]), None);
        }
        let long = event(1, &"\u{fc}".repeat(400));
        let read = decode(&encode(&[&long])).unwrap();
        assert_eq!(read[0].text, "\u{fc}".repeat(256));
    }
}
