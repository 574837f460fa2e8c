// SPDX-License-Identifier: AGPL-3.0-only
//! The latest messages for a collector that is not connected (pure). They are kept for a little longer than the
//! pause between two attempts, so that a collector misses nothing after its return.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::message::Sealed;
use crate::flow::export_queue::RecordCounts;

/// The maximum number of messages: about 25,000 records and 3 MB. The pacer sends them at its base rate.
pub const MAX_HELD: usize = 2_048;

#[derive(Debug, Default)]
pub struct HeldMessages {
    messages: VecDeque<(Instant, Sealed)>,
    load: RecordCounts,
}

impl HeldMessages {
    /// Keeps a message. Returns the counts of the oldest one if it had to make room.
    pub fn push(&mut self, message: &Sealed, now: Instant) -> RecordCounts {
        let evicted = match self.messages.len() < MAX_HELD {
            true => RecordCounts::default(),
            false => self.remove_oldest(),
        };
        self.load += message.load;
        self.messages.push_back((now, message.clone()));
        evicted
    }

    /// Removes the messages that were kept for `longest`. Returns their counts.
    pub fn expire(&mut self, longest: Duration, now: Instant) -> RecordCounts {
        let mut expired = RecordCounts::default();
        while let Some((since, _)) = self.messages.front()
            && now.saturating_duration_since(*since) >= longest
        {
            expired += self.remove_oldest();
        }
        if self.messages.is_empty() && self.messages.capacity() > 0 {
            self.messages = VecDeque::new();
        }
        expired
    }

    /// Returns all messages, the oldest first, and keeps none.
    pub fn take(&mut self) -> impl Iterator<Item = Sealed> + use<> {
        let taken = std::mem::take(self);
        taken.messages.into_iter().map(|(_, message)| message)
    }

    /// Returns the counts of all messages.
    pub fn load(&self) -> RecordCounts {
        self.load
    }

    fn remove_oldest(&mut self) -> RecordCounts {
        let load = self.messages.pop_front().map(|(_, message)| message.load);
        let load = load.unwrap_or_default();
        self.load -= load;
        load
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ipfix::message::Message;

    fn message(parts: u64) -> Sealed {
        let mut message = Message::default();
        message.record(256).push(0);
        message.carries(RecordCounts {
            parts,
            packets: 10 * parts,
            octets: 100 * parts,
        });
        message.seal(0, 1)
    }

    #[test]
    fn the_latest_messages_are_kept_for_a_limited_time() {
        let (mut held, start) = (HeldMessages::default(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        let expire = |held: &mut HeldMessages, seconds| {
            held.expire(Duration::from_secs(12), at(seconds)).parts
        };
        for second in 0..20 {
            assert_eq!(held.push(&message(second), at(second)).parts, 0);
        }
        assert_eq!(expire(&mut held, 11), 0);
        assert_eq!(expire(&mut held, 15), 1 + 2 + 3);
        assert_eq!(held.load().parts, (4..20).sum::<u64>());
        let taken: Vec<_> = held.take().map(|message| message.load.parts).collect();
        assert_eq!(taken, (4..20).collect::<Vec<_>>());
        assert_eq!(
            (held.load(), expire(&mut held, 99)),
            (RecordCounts::default(), 0)
        );
    }

    #[test]
    fn the_number_of_messages_is_limited() {
        let (mut held, now) = (HeldMessages::default(), Instant::now());
        let pushed = 0..MAX_HELD as u64 + 100;
        let evicted: u64 = pushed
            .map(|number| held.push(&message(number), now).parts)
            .sum();
        assert_eq!(evicted, (0..100).sum::<u64>());
        assert_eq!(held.take().count(), MAX_HELD);
    }
}
