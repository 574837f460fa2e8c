// SPDX-License-Identifier: AGPL-3.0-only
//! Replies as text for people.

mod flows;
mod rib;
mod status;

pub use flows::{flows, top};
pub use rib::rib;
pub use status::status;
