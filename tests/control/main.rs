// SPDX-License-Identifier: AGPL-3.0-only
//! The control socket and the client commands, against a running agent.

#[path = "../common/mod.rs"]
mod common;
#[path = "../bmp/craft.rs"]
#[allow(dead_code, reason = "the tests of BMP use more of it")]
mod craft;

mod changes;
mod clients;
mod descriptors;
mod file;
mod flows;
mod kit;
mod permissions;
mod rib;
mod status;
