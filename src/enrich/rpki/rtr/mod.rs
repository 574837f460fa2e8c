// SPDX-License-Identifier: AGPL-3.0-only
//! RTR (RFC 8210): receives VRPs from an RPKI cache, such as Routinator or stayrtr.

mod connection;
pub mod pdu;
pub mod session;

pub use connection::run;
