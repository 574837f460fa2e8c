// SPDX-License-Identifier: AGPL-3.0-only
//! The firewall at work: rules from the configuration and the command line, packets over a wire.

#[path = "../../benches/common/bpf.rs"]
mod bpf;
#[path = "../common/mod.rs"]
mod common;
#[path = "../ipfix/decode.rs"]
#[allow(dead_code, reason = "the tests of IPFIX use more of it")]
mod decode;
#[path = "../ipfix/fixture.rs"]
#[allow(dead_code, reason = "the tests of IPFIX use more of it")]
mod fixture;
#[path = "../control/harness.rs"]
#[allow(dead_code, reason = "the tests of the control socket use more of it")]
mod harness;

mod changes;
mod commands;
mod drops;
mod ends;
mod fields;
mod flood;
mod limits;
mod packets;
mod pinned;
mod restart;
mod wire;
