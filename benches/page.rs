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
const PARTS: [&str; 16] = [
    "datapath", "flood", "overload", "guard", "firewall", "cache", "table", "scrape", "history",
    "store", "ipfix", "memory", "series", "rib", "start", "fleet",
];

const INTRODUCTION: &str = "\
# Benchmarks

`make bench` writes this document and repeats all measurements (as root; on Debian it installs missing packages);
`make bench PART=datapath` repeats one part: datapath, flood, overload, guard, firewall, cache, table, scrape,
history, store, ipfix, memory, series, rib, start or fleet.
A figure is the median of several rounds in which the compared variants alternate, with the minimum and the maximum in
brackets. The project set the targets itself. Other work on the machine widens the spread.

";

/// The cost of a cargo feature: no bench builds the program twice.
const FEATURE: &str = "\
## TLS and users

The cost of the cargo feature `tls`, measured by hand: release builds for x86-64 without symbols (`cargo build --release`, with and without
`--no-default-features`), with the shipped configuration, one interface, and no `agent.prometheus.web_config`. Size and memory in MB
(1,000,000 bytes) as in `ls -l` and `/proc/PID/status`, three seconds after the start; two rounds of five starts of each build in turn.

|                                        | without             | with                | difference | target              |
| -------------------------------------- | ------------------- | ------------------- | ---------- | ------------------- |
| size of the program                    | 6.75                | 7.98                | 1.23       | ≤ 1.2 MB: missed    |
| resident (VmRSS), first round          | 4.37 (4.28 to 4.50) | 4.55 (4.26 to 4.60) | 0.18       | ≤ 0.3 MB: holds     |
| resident (VmRSS), second round         | 4.42 (4.35 to 4.51) | 4.44 (4.35 to 4.63) | 0.02       | ≤ 0.3 MB: holds     |
| resident, after 25 s, three starts     | 5.64 (5.63 to 5.70) | 5.91 (5.59 to 6.02) | 0.27       | ≤ 0.3 MB: holds     |
| of it anonymous (RssAnon)              | 1.12 (1.11 to 1.18) | 1.14 (1.13 to 1.20) | 0.02       |                     |
| of it the program's file (RssFile)     | 3.20 and 3.30       | 3.40 and 3.26       | ± 0.2      |                     |

The size is 0.83 MB of machine code (rustls and webpki 0.3, the assembler and C of ring 0.15, its Rust 0.06, YAML 0.09, rfm's own 0.09),
0.24 MB of constants (0.15 of them ring's table for P-256), 0.11 MB of unwind tables and 0.05 MB of relocations. Measured and not adopted:
rustls, webpki and the YAML parser at `opt-level = \"z\"` save 9 kB; packed relative relocations (`-z pack-relative-relocs`) save 143 kB of the whole
program, but need glibc 2.36, and the packages support 2.34; folding of identical functions saves 49 kB, but only lld has it.
The resident pages of the file differ between starts as much as between the builds: the kernel maps 16 pages around each that is needed.
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
    write!(page, "\n{FEATURE}")?;
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
