// SPDX-License-Identifier: AGPL-3.0-only
//! The common part of the benches.

// each bench uses another part of it
#![allow(dead_code)]

pub mod bpf;
pub mod cpu_limit;
pub mod daemon;
pub mod events;
pub mod flood;
pub mod flows;
pub mod generator;
pub mod machine;
pub mod peers;
pub mod report;
pub mod rrd;
pub mod run_stats;
pub mod stats;

#[path = "../../tests/common/flood.rs"]
pub mod counted_flood;
#[path = "../../tests/common/frames.rs"]
pub mod frames;
#[path = "../../tests/common/lab.rs"]
pub mod lab;
#[path = "../../tests/common/metrics.rs"]
pub mod metrics;
#[path = "../../tests/common/packet.rs"]
pub mod packet;
