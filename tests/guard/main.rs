// SPDX-License-Identifier: AGPL-3.0-only
//! Attacks on a host behind a router that forwards, beside connections and queries of real programs.

#[path = "../common/mod.rs"]
mod common;

mod attacks;
mod floods;
mod legitimate;
mod network;
mod ordinary;
mod thresholds;
