// SPDX-License-Identifier: AGPL-3.0-only
//! `rfm top` in a real terminal, with real traffic.

#[path = "../common/mod.rs"]
mod common;
#[path = "../control/harness.rs"]
#[allow(dead_code, reason = "the tests of the socket use more of it")]
mod harness;

mod ends;
mod keys;
mod router;
mod sizes;
mod terminal;
