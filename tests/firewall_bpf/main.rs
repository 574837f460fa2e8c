// SPDX-License-Identifier: AGPL-3.0-only
//! The firewall's BPF programs alone, without the agent: generated frames by `BPF_PROG_TEST_RUN`, verdicts and
//! counters to the packet.

#[path = "../common/mod.rs"]
mod common;

mod conditions;
mod fixture;
mod generic;
mod hooks;
mod kinds;
mod limits;
mod model;
mod oracle;
mod records;
mod reference;
mod swaps;
