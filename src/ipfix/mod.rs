// SPDX-License-Identifier: AGPL-3.0-only
//! IPFIX (RFC 7011): completed flows as records that every collector reads and scales by itself.
//!
//! [`fields`], [`flows`], [`options`], [`message`] and [`templates`] are pure: they say what stands where.
//! A [`thread`] has them sent by one collector each, over [`udp`] or [`tcp`].

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

/// What became of a message.
enum Sent {
    Yes,
    /// There is no room for it: it is lost.
    NoRoom,
}
