// SPDX-License-Identifier: AGPL-3.0-only
//! IPFIX (RFC 7011): completed flows as records that every collector reads and scales by itself.
//!
//! [`fields`], [`flows`], [`options`], [`message`] and [`templates`] are pure: they define the layout.
//! [`thread`] sends them to each collector, over [`udp`] or [`tcp`].

mod collector;
pub mod collector_stats;
pub mod fields;
pub mod flows;
pub mod message;
pub mod options;
mod resolve;
mod self_traffic;
mod socket;
mod tcp;
pub mod templates;
pub mod thread;
mod udp;

/// The outcome of sending a message.
enum SendResult {
    Sent,
    /// There is no room for it: it is dropped.
    NoRoom,
}
