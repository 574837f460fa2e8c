// SPDX-License-Identifier: AGPL-3.0-only
//! A full table by BMP: how fast the agent takes it in, what it holds, what is given back; how long a
//! lookup takes, and how long it waits while a table comes in; and what thousands of peers change of that.
//!
//! `make bench PART=rib`. The table is made up: 1.0 M IPv4 and 0.23 M IPv6 prefixes of the lengths that
//! the Internet has, of 75,000 origins that share paths as there.

#[path = "rib/agent.rs"]
mod agent;
mod common;
#[path = "rib/lookups.rs"]
mod lookups;
#[path = "rib/memory.rs"]
mod memory;
#[path = "rib/peers.rs"]
mod peers;
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
    report.add(lookups::measure(rounds));
    report.add(lookups::waits(rounds));
    report.add(peers::lookups(rounds));
    report.add(peers::storm(rounds));
    report.write()
}
