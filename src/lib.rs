// SPDX-License-Identifier: AGPL-3.0-only
//! rfm, the Router Flow Monitor.

pub mod bpf;
pub mod errors;
pub mod export;
pub mod flow;
pub mod threads;
