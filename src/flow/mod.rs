// SPDX-License-Identifier: AGPL-3.0-only
//! The flow table and what stands around it.

mod asn_names;
mod candidates;
pub mod labels;
mod least;
mod list;
pub mod outlet;
pub mod query;
mod recent;
pub mod rollup;
pub mod snapshot;
mod symbols;
pub mod table;
pub mod worker;
