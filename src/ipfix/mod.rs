// SPDX-License-Identifier: AGPL-3.0-only
//! IPFIX (RFC 7011): completed flows as records that every collector reads and scales by itself.
//!
//! [`fields`], [`flows`], [`options`], [`message`] and [`notices`] are pure: they say what stands where.
//! A [`worker`] has them sent by one collector each, over [`udp`] or [`tcp`].

mod collector;
pub mod fields;
pub mod flows;
pub mod message;
pub mod notices;
pub mod options;
mod own;
mod resolve;
mod socket;
pub mod tally;
mod tcp;
mod udp;
pub mod worker;

/// What became of a message.
enum Sent {
    Yes,
    /// There is no room for it: it is lost.
    NoRoom,
}
