// SPDX-License-Identifier: AGPL-3.0-only
//! Types that several rooms share: flows, prefixes, patterns. They import no other room.

pub mod address_detail;
pub mod community_pattern;
pub mod counters;
pub mod database;
pub mod did_you_mean;
pub mod distinguisher;
pub mod flow;
pub mod hook;
pub mod interface_pattern;
pub mod label;
pub mod mac;
pub mod named;
pub mod network_path;
pub mod prefix;
pub mod problem;
pub mod protocol;
pub mod role;
pub mod rtr_server;
pub mod rule;
pub(crate) mod slab;
pub mod source;
pub mod static_peer;
pub mod static_prefix;
pub mod transport;
pub mod validity;
