// SPDX-License-Identifier: AGPL-3.0-only
//! IPFIX (RFC 7011): exports completed flow records in a form that every collector can read and
//! scale.
//!
//! [`fields`], [`flows`], [`options`], [`message`] and [`templates`] are pure: they define the
//! layout. [`thread`] sends messages to each collector, over [`udp`] or [`tcp`].

mod collector;
pub mod collector_stats;
pub mod fields;
pub mod flows;
mod held;
pub mod message;
pub mod options;
mod outages;
mod pacer;
mod resolve;
mod self_traffic;
mod socket;
mod tcp;
pub mod templates;
pub mod thread;
mod udp;

/// The outcome of sending a message.
enum SendResult {
    /// It was sent, or waits in a queue.
    Sent,
    /// There is no room for the message; it is dropped.
    NoRoom,
}

/// The counts of messages sent to a collector.
#[derive(Clone, Copy, Debug, Default)]
struct SentCounts {
    /// The number of data records: over UDP since the start, over TCP in this connection (RFC
    /// 7011 section 3.1).
    sequence: u32,
    messages: u64,
    bytes: u64,
}

impl SentCounts {
    fn add(&mut self, records: u32, bytes: usize) {
        self.sequence = self.sequence.wrapping_add(records);
        self.messages += 1;
        self.bytes += bytes as u64;
    }
}
