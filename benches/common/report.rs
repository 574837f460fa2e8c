// SPDX-License-Identifier: AGPL-3.0-only
//! The results of a bench: printed as tables, and written as JSON for the page of the latest results.

use std::error::Error;
use std::fmt::Write;
use std::fs;
use std::io::ErrorKind;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::machine::Machine;
use super::stats::Figure;

#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Report {
    pub name: String,
    pub machine: Machine,
    pub tables: Vec<Table>,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Table {
    pub title: String,
    /// The method of the measurement: all that a reader must know to trust it.
    pub text: String,
    pub columns: Vec<String>,
    pub rows: Vec<Vec<Cell>>,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Cell {
    Text(String),
    Figure {
        figure: Figure,
        decimals: usize,
    },
    /// A multiple of the baseline.
    Ratio(f64),
    Target {
        limit: String,
        holds: bool,
    },
    Nothing,
}

impl Cell {
    pub fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }

    pub fn figure(figure: Figure, decimals: usize) -> Self {
        Self::Figure { figure, decimals }
    }

    pub fn ratio(value: f64, baseline: f64) -> Self {
        Self::Ratio(value / baseline)
    }

    pub fn at_most(value: f64, limit: f64, unit: &str) -> Self {
        Self::Target {
            limit: format!("≤ {limit} {unit}"),
            holds: value <= limit,
        }
    }

    pub fn within(value: f64, (least, most): (f64, f64), unit: &str) -> Self {
        Self::Target {
            limit: format!("{least} to {most} {unit}"),
            holds: (least..=most).contains(&value),
        }
    }

    pub fn at_least(value: f64, limit: f64, unit: &str) -> Self {
        Self::Target {
            limit: format!("≥ {limit} {unit}"),
            holds: value >= limit,
        }
    }
}

impl std::fmt::Display for Cell {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Text(text) => f.write_str(text),
            Self::Figure {
                figure: Figure { median, min, max },
                decimals: d,
            } if min == max => write!(f, "{median:.d$}"),
            Self::Figure {
                figure: Figure { median, min, max },
                decimals: d,
            } => write!(f, "{median:.d$} ({min:.d$} to {max:.d$})"),
            Self::Ratio(times) => write!(f, "× {times:.2}"),
            Self::Target { limit, holds: true } => write!(f, "{limit}: holds"),
            Self::Target { limit, .. } => write!(f, "{limit}: **missed**"),
            Self::Nothing => Ok(()),
        }
    }
}

impl Table {
    pub fn new(title: &str, text: &str, columns: &[&str]) -> Self {
        Self {
            title: title.to_owned(),
            text: text.to_owned(),
            columns: columns.iter().map(|&c| c.to_owned()).collect(),
            rows: Vec::new(),
        }
    }

    pub fn row(&mut self, name: impl Into<String>, cells: impl IntoIterator<Item = Cell>) {
        let mut row = vec![Cell::Text(name.into())];
        row.extend(cells);
        row.resize(self.columns.len(), Cell::Nothing);
        self.rows.push(row);
    }

    /// Returns Markdown, aligned so that its source is readable.
    pub fn markdown(&self) -> String {
        let mut lines = vec![self.columns.clone()];
        let rows = self.rows.iter();
        lines.extend(rows.map(|row| row.iter().map(Cell::to_string).collect()));
        let width = |column: usize| {
            let cells = lines.iter().filter_map(|line| line.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..self.columns.len()).map(width).collect();
        lines.insert(1, widths.iter().map(|w| "-".repeat(*w)).collect());
        // writing to a string cannot fail
        let mut out = format!("### {}\n\n", self.title);
        if !self.text.is_empty() {
            let _ = write!(out, "{}\n\n", self.text);
        }
        for line in lines {
            for (cell, width) in line.iter().zip(&widths) {
                let _ = write!(out, "| {cell:width$} ");
            }
            out.push_str("|\n");
        }
        out
    }
}

impl Report {
    pub fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            machine: Machine::here(),
            tables: Vec::new(),
        }
    }

    /// Adds a table and prints it at once.
    pub fn add(&mut self, table: Table) {
        println!("{}", table.markdown());
        self.tables.push(table);
    }

    /// Returns the path of the results of a bench.
    pub fn path(name: &str) -> PathBuf {
        // CARGO_TARGET_TMPDIR is `tmp` in the target folder
        let mut path = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
        path.pop();
        path.push("bench");
        path.push(format!("{name}.json"));
        path
    }

    pub fn write(&self) -> Result<(), Box<dyn Error>> {
        let path = Self::path(&self.name);
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        fs::write(path, serde_json::to_string_pretty(self)?)?;
        Ok(())
    }

    /// Returns the latest results of a bench, if it has run.
    pub fn read(name: &str) -> Result<Option<Self>, Box<dyn Error>> {
        match fs::read_to_string(Self::path(name)) {
            Ok(text) => Ok(Some(serde_json::from_str(&text)?)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

/// Returns whether this bench must measure, or only prove that it works (`cargo test --benches`).
pub fn measuring() -> bool {
    std::env::args().any(|arg| arg == "--bench")
}

/// Returns the requested number of rounds: `-- --rounds N`.
pub fn rounds(default: usize) -> usize {
    let args: Vec<String> = std::env::args().collect();
    let after = args.iter().position(|arg| arg == "--rounds");
    let given = after.and_then(|at| args.get(at + 1)?.parse().ok());
    match measuring() {
        true => given.unwrap_or(default),
        false => 1,
    }
}

/// Returns true without root, and prints that the bench is skipped.
pub fn skipped(name: &str) -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        println!("{name}: skipped: not root");
    }
    !root
}
