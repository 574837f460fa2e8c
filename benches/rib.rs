// SPDX-License-Identifier: AGPL-3.0-only
//! Measures a full table by BMP: the rate at which the agent receives it, its memory, and the memory that is freed;
//! the memory of AS paths of flows beside it; the time of a lookup, and its wait while a table arrives; and the effect of thousands of peers on these.
//!
//! `make bench PART=rib`. The table is synthetic: 1.0 M IPv4 and 0.23 M IPv6 prefixes with the lengths of
//! the Internet, from 75,000 origins that share paths as in the Internet.

#[path = "rib/agent.rs"]
mod agent;
mod common;
#[path = "rib/lookups.rs"]
mod lookups;
#[path = "rib/memory.rs"]
mod memory;
#[path = "rib/paths.rs"]
mod paths;
#[path = "rib/peers.rs"]
mod peers;
#[path = "rib/sources.rs"]
mod sources;
#[path = "rib/table.rs"]
mod table;

use std::error::Error;

use common::lab::{Lab, can_run};
use common::report::{Report, rounds};

const ROUNDS: usize = 5;

fn main() -> Result<(), Box<dyn Error>> {
    if !can_run(&["ip", "sysctl"]) {
        return Ok(());
    }
    let lab = Lab::new();
    let rounds = rounds(ROUNDS);
    let mut report = Report::new("rib");
    report.add(agent::measure(&lab, rounds)?);
    report.add(paths::measure(&lab, rounds)?);
    report.add(lookups::measure(rounds));
    report.add(lookups::waits(rounds));
    report.add(sources::measure(rounds));
    report.add(peers::lookups(rounds));
    report.add(peers::storm(rounds));
    report.write()
}
