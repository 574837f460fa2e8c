// SPDX-License-Identifier: AGPL-3.0-only
//! What the benches share.

// each bench uses another part of it
#![allow(dead_code)]

pub mod bpf;
pub mod flows;
pub mod machine;
pub mod report;
pub mod stats;

#[path = "../../tests/common/frames.rs"]
pub mod frames;
