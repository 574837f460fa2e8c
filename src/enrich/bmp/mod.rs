// SPDX-License-Identifier: AGPL-3.0-only
//! BMP, the BGP Monitoring Protocol (RFC 7854, 8671, 9069): routers connect and tell their routes.
//!
//! [`Collector`] is the thread that listens; it starts one thread per router (`connection`), which
//! feeds the bytes to a [`Session`], which decodes them and writes to the Rib. Decoding and the session
//! do no I/O.

mod admission;
mod collector;
mod connection;
mod families;
mod home;
mod message;
mod monitor;
mod nlri;
mod open;
mod path;
mod reader;
mod sender;
mod session;
mod tally;
mod update;

pub use collector::Collector;
pub use connection::label;
pub use families::Unread;
pub use message::{FrameError, MAX_MESSAGE};
pub use monitor::{Monitor, RouterStatus};
pub use session::{Next, Session};
pub use tally::{Fault, Tally};
