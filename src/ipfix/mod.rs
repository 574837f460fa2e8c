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
pub mod message;
pub mod options;
mod outages;
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
    /// There is no room for the message; it is dropped.
    NoRoom,
}
