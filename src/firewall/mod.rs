// SPDX-License-Identifier: AGPL-3.0-only
//! The firewall: drops packets before the network stack spends work on them.
//!
//! - [`rule_syntax`]: a rule on the command line and in files,
//! - [`rule_set`]: all rules by their source, with numbers, limits and times to live (pure),
//! - [`allowlist`]: the packets that always pass; whether a change would lock out its caller (pure),
//! - [`attachments`]: attaches the program, and follows the interfaces,
//! - [`pins`]: links that outlive the agent,
//! - [`rule_series`]: the counters of the rules as series that never fall (pure),
//! - `drop_samples`: the dropped flows, from samples (pure),
//! - [`file`](mod@file), `persist`: rule files of the operator, and the file that survives a restart,
//! - [`blackhole`]: the prefixes that BGP requests to drop,
//! - [`thread`]: THREAD firewall, which owns all of these; [`handle`]: its interface for other threads.
//!
//! The part in the kernel is `crate::bpf::xdp`, behind the trait [`backend::Backend`].

pub mod allowlist;
pub mod attachments;
pub mod backend;
pub mod blackhole;
mod drop_samples;
pub mod file;
pub mod handle;
pub mod kept_links;
mod persist;
pub mod pins;
pub mod rule_series;
pub mod rule_set;
pub mod rule_syntax;
#[cfg(test)]
mod tests;
pub mod thread;

pub use crate::types::rule::{RuleId, RuleSource};
pub use allowlist::SshPeer;
