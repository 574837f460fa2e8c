// SPDX-License-Identifier: AGPL-3.0-only
//! Flowspec rules as NLRIs: what they match by the BPF program, their order, and malformed ones. The expected results
//! are from `rfc.rs`, which is written from the text of RFC 8955 and RFC 8956 and shares no code with rfm.

#[path = "../common/mod.rs"]
mod common;
#[allow(dead_code)]
#[path = "../firewall_bpf/fixture.rs"]
mod fixture;
#[path = "../firewall_bpf/reference/frame.rs"]
mod frame;
#[path = "../firewall_bpf/reference/rfc.rs"]
#[allow(dead_code)]
mod packet;
#[path = "../firewall_bpf/reference/random.rs"]
mod random;

mod draw;
mod malformed;
mod matching;
mod order;
mod rfc;

use random::{NETWORKS, Random};
