// SPDX-License-Identifier: AGPL-3.0-only
//! The firewall: which packets are dropped before the stack pays for them.
//!
//! - [`rule`]: a rule as the kernel side takes it, which is `crate::bpf::firewall`.

pub mod rule;

pub use rule::{Origin, RuleId};
