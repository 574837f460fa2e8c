// SPDX-License-Identifier: AGPL-3.0-only
//! rfm, the Router Flow Monitor.

pub mod agent;
pub mod args;
pub mod bpf;
pub mod config;
pub mod errors;
pub mod flow;
pub mod logging;
pub mod threads;
