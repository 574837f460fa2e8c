// SPDX-License-Identifier: AGPL-3.0-only
//! Writes docs/BENCHMARKS.md from the latest results of the benches. `make bench` runs it at the end.

mod common;

use std::error::Error;
use std::fmt::Write;
use std::fs;
use std::path::Path;

use common::machine::Machine;
use common::report::{Cell, Report};

/// The benches in the order of the page.
const PARTS: [&str; 13] = [
    "datapath", "flood", "firewall", "cache", "table", "scrape", "history", "ipfix", "memory",
    "series", "rib", "start", "fleet",
];

const INTRODUCTION: &str = "\
# Benchmarks

`make bench` writes this document and repeats all measurements (as root; on Debian it installs missing packages);
`make bench PART=datapath` repeats one part: datapath, flood, firewall, cache, table, scrape, history, ipfix,
memory, series, rib, start or fleet.
A figure is the median of several rounds in which the compared variants alternate, with the minimum and the maximum in
brackets. The project set the targets itself. Other work on the machine widens the spread.

";

fn main() -> Result<(), Box<dyn Error>> {
    let mut reports = Vec::new();
    for name in PARTS {
        reports.extend(Report::read(name).map_err(|error| format!("{name}: {error}"))?);
    }
    let Some(first) = reports.first() else {
        println!("page: skipped: nothing has been measured yet");
        return Ok(());
    };
    let mut page = INTRODUCTION.to_owned();
    page.push_str(&describe(&first.machine));
    page.push_str(&missed(&reports)?);
    for report in &reports {
        if report.machine != first.machine {
            return Err(format!("{} is of another machine: measure it again", report.name).into());
        }
        write!(page, "\n## {}\n\n", report.name)?;
        let tables: Vec<String> = report.tables.iter().map(|table| table.markdown()).collect();
        page.push_str(&tables.join("\n"));
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/BENCHMARKS.md");
    fs::write(path, page)?;
    println!("docs/BENCHMARKS.md is written");
    Ok(())
}

fn describe(machine: &Machine) -> String {
    format!(
        "Measured on: {}, {} cores{}, {} MB of memory, Linux {}.\n",
        machine.cpu,
        machine.cores,
        if machine.virtual_machine {
            " of a virtual machine"
        } else {
            ""
        },
        machine.memory_mb,
        machine.kernel
    )
}

/// Returns the number of targets, and the missed ones.
fn missed(reports: &[Report]) -> Result<String, std::fmt::Error> {
    let (mut count, mut out) = (0, String::new());
    for table in reports.iter().flat_map(|report| &report.tables) {
        for row in &table.rows {
            for (cell, column) in row.iter().skip(1).zip(&table.columns) {
                let Cell::Target { limit, holds } = cell else {
                    continue;
                };
                count += 1;
                if !holds {
                    let what = row.first().map(Cell::to_string).unwrap_or_default();
                    // the figure precedes its target
                    writeln!(out, "- {}: {what}: {column}: {limit}", table.title)?;
                }
            }
        }
    }
    Ok(match out.is_empty() {
        true => format!("All {count} targets hold.\n"),
        false => format!("Of {count} targets these do not hold:\n\n{out}"),
    })
}
