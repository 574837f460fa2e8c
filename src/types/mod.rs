// SPDX-License-Identifier: AGPL-3.0-only
//! The words that several rooms share: flows, prefixes, patterns. They import no other room.

pub mod did_you_mean;
pub mod flow;
pub mod interface_pattern;
pub mod named;
pub mod prefix;
pub(crate) mod slab;
