// SPDX-License-Identifier: AGPL-3.0-only
//! The firewall at work: rules from the configuration and the command line, packets over a wire.

#[path = "../common/mod.rs"]
mod common;
#[path = "../control/kit.rs"]
#[allow(dead_code, reason = "the tests of the control socket use more of it")]
mod kit;

mod changes;
mod commands;
mod drops;
mod ends;
mod packets;
mod pinned;
mod wire;
