// SPDX-License-Identifier: AGPL-3.0-only
//! Measures the time from exec to the first answers: `/metrics`, and `/healthz`, which waits for the attaching.
//!
//! `make bench PART=start`

mod common;

use std::error::Error;
use std::process::{Command, Stdio};
use std::time::Instant;

use common::daemon::{Daemon, RFM};
use common::lab::{Lab, can_run};
use common::report::{Cell, Report, Table, rounds};
use common::stats::Figure;
use rustix::process::Signal;

const STARTS: usize = 10;
const INTERFACES: usize = 2;

/// Design target: milliseconds until /metrics is served.
const TARGET: f64 = 50.0;

fn main() -> Result<(), Box<dyn Error>> {
    if !can_run(&["ip", "sysctl"]) {
        return Ok(());
    }
    let lab = Lab::new();
    let namespace = lab.namespace("s");
    lab.veth((&namespace, "v0"), (&namespace, "v1"));
    let milliseconds = |since: Instant| since.elapsed().as_secs_f64() * 1e3;
    let (mut exec, mut metrics, mut healthy, mut ended) = (vec![], vec![], vec![], vec![]);
    for _ in 0..rounds(STARTS) {
        let start = Instant::now();
        Command::new(RFM)
            .arg("--version")
            .stdout(Stdio::null())
            .status()?;
        exec.push(milliseconds(start));

        let start = Instant::now();
        let mut agent = Daemon::rfm(&lab, &namespace, "[\"v.*\"]", "sample_rate = 1");
        agent.wait_for("/metrics");
        metrics.push(milliseconds(start));
        agent.wait_for("/healthz");
        healthy.push(milliseconds(start));

        let start = Instant::now();
        if !agent.stop(Signal::TERM) {
            return Err("the agent does not stop".into());
        }
        ended.push(milliseconds(start));
    }
    let text = format!(
        "Milliseconds, of {STARTS} starts with {INTERFACES} interfaces; a request is sent every \
         0.2 ms."
    );
    let mut table = Table::new("Start", &text, &["until", "ms", "target"]);
    table.row(
        "`rfm --version` has ended",
        [Cell::figure(Figure::of(&exec), 1)],
    );
    let figure = Figure::of(&metrics);
    table.row(
        "`/metrics` is 200",
        [
            Cell::figure(figure, 1),
            Cell::at_most(figure.median, TARGET, "ms"),
        ],
    );
    let figure = Figure::of(&healthy);
    table.row(
        "`/healthz` is 200: all is attached",
        [Cell::figure(figure, 1)],
    );
    let figure = Figure::of(&ended);
    table.row(
        "it has ended, after SIGTERM, nothing lost",
        [Cell::figure(figure, 1)],
    );
    let mut report = Report::new("start");
    report.add(table);
    report.write()
}
