// SPDX-License-Identifier: AGPL-3.0-only
//! The control socket and the client commands, against a running agent.

#[path = "../bmp/builders.rs"]
#[allow(dead_code, reason = "the tests of BMP use more of it")]
mod builders;
#[path = "../common/mod.rs"]
mod common;
#[path = "../top/terminal.rs"]
#[allow(dead_code, reason = "the tests of rfm top use more of it")]
mod terminal;

mod changes;
mod clients;
mod completions;
mod descriptors;
mod exit_codes;
mod file;
mod flows;
mod harness;
mod overload;
mod permissions;
mod rib;
mod status;
