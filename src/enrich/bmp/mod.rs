// SPDX-License-Identifier: AGPL-3.0-only
//! BMP, the BGP Monitoring Protocol (RFC 7854, 8671, 9069): routers connect and send their routes.
//!
//! [`Collector`] is the thread that listens; it starts one thread per router (`connection`), which
//! feeds the bytes to a [`Session`], which decodes them and writes to the Rib. Decoding and the session
//! do no I/O.

mod admission;
mod collector;
mod connection;
mod cursor;
mod error;
mod families;
mod local_ases;
mod message;
mod nlri;
mod open;
mod path;
mod quirks;
mod session;
mod stats;
mod update;

pub use collector::{BmpChange, BmpConfig, BmpLimits, Collector};
pub use connection::label;
pub use error::{BmpError, SessionStats};
pub use families::IgnoredFamily;
pub use message::{FrameError, MAX_MESSAGE};
pub use session::{Session, SessionState};
pub use stats::{RouterStats, RouterStatus};
