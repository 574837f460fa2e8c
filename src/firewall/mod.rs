// SPDX-License-Identifier: AGPL-3.0-only
//! The firewall: which packets are dropped before the stack pays for them, and who may say so.
//!
//! - [`rule`]: a rule as the maps take it; `words`: one as it is written on the command line and in files,
//! - `book`: all rules by their origin, with numbers, limits and times to live (pure),
//! - `guard`: what always passes, and whether a change would lock out the one who makes it (pure),
//! - `ports`: where the program is attached, and what becomes of it when interfaces come and go,
//! - [`pins`]: links that outlive the agent, where that is wanted,
//! - `ledger`: what was counted, as series that never fall (pure),
//! - `drops`: which flows are dropped, from samples (pure),
//! - [`file`](mod@file), `state`: rule files of the operator, and the one that survives a restart,
//! - [`blackhole`]: the prefixes that BGP wants dropped,
//! - [`worker`]: THREAD firewall, which owns all of that; [`handle`]: how others ask it.
//!
//! The kernel side is `crate::bpf::xdp`; the thread knows it as [`kernel::Kernel`].

pub mod blackhole;
pub mod book;
mod drops;
pub mod file;
pub mod guard;
pub mod handle;
pub mod kernel;
pub mod ledger;
pub mod pins;
pub mod ports;
mod state;
#[cfg(test)]
mod tests;
pub mod words;
pub mod worker;

pub use crate::types::rule::{Origin, RuleId};
pub use guard::Caller;
