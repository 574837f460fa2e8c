// SPDX-License-Identifier: AGPL-3.0-only
//! The flow table, and the modules that account, query and export its flows.

mod asn_names;
pub mod conversations;
pub mod export_queue;
mod first_records;
pub mod label_parse;
pub mod labels;
mod lazy_min_heap;
mod list;
mod mark;
pub mod paths;
pub mod peers;
pub mod query;
mod rate;
pub mod rollup;
mod sliding_window;
pub mod snapshot;
pub mod sources;
mod space_saving;
mod string_interner;
pub mod table;
pub mod talkers;
pub mod thread;
pub mod volume;
