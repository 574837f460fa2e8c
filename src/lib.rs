// SPDX-License-Identifier: AGPL-3.0-only
//! rfm, the Router Flow Monitor.

pub mod agent;
pub mod args;
pub mod bpf;
pub mod clock;
pub mod config;
pub mod enrich;
pub mod errors;
pub mod export;
pub mod flow;
pub mod interfaces;
pub mod links;
pub mod logging;
pub mod process;
pub mod threads;
