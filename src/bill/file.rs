// SPDX-License-Identifier: AGPL-3.0-only
//! Samples as CSV (RFC 4180): `rfm bill --export` writes them, and `rfm bill --samples FILE` reads them.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::INTERVAL;
use crate::store::types::Sample;

/// The first line; a file may lack `source`, `covered_seconds` and the packets, and may have other columns.
const COLUMNS: [&str; 7] = [
    "time",
    "source",
    "covered_seconds",
    "in_bytes",
    "in_packets",
    "out_bytes",
    "out_packets",
];

/// Maximum size of a file: 13 months of 256 sources.
pub const MAX_SIZE: u64 = 2 << 30;

/// The samples of each source.
pub type SampleFile = Vec<(String, Vec<Sample>)>;

pub fn write(sources: &SampleFile) -> String {
    let mut text = COLUMNS.join(",") + "\r\n";
    for (name, samples) in sources {
        let name = quoted(name);
        for sample in samples {
            let covered = f64::from(sample.covered_ms) / 1000.0;
            let (bytes, packets) = (sample.bytes, sample.packets);
            // writing to a string cannot fail
            let _ = write!(
                text,
                "{},{name},{covered},{},{},{},{}\r\n",
                sample.time, bytes[0], packets[0], bytes[1], packets[1]
            );
        }
    }
    text
}

/// Quotes a value if CSV requires it.
pub fn quoted(value: &str) -> String {
    match value.contains([',', '"', '\r', '\n']) {
        true => format!("\"{}\"", value.replace('"', "\"\"")),
        false => value.to_owned(),
    }
}

/// Reads a file; an error names the line.
pub fn parse(text: &str) -> Result<SampleFile, String> {
    let mut lines = records(text.trim_start_matches('\u{feff}'));
    let header = lines.next().ok_or_else(|| {
        format!(
            "line 1: expected the columns {}, got an empty file",
            COLUMNS.join(",")
        )
    })?;
    let header = header.map_err(|error| format!("line 1: {error}"))?;
    let columns = COLUMNS.map(|name| {
        let known = |column: &String| column.trim().eq_ignore_ascii_case(name);
        header.iter().position(known)
    });
    for needed in [0, 3, 5] {
        if columns[needed].is_none() {
            return Err(format!(
                "line 1: expected the columns time,in_bytes,out_bytes (and source,covered_seconds,in_packets,\
                 out_packets if known), got no {}",
                COLUMNS[needed]
            ));
        }
    }
    let mut sources: BTreeMap<String, Vec<Sample>> = BTreeMap::new();
    for (at, record) in (2..).zip(lines) {
        let wrong = |error: String| format!("line {at}: {error}");
        let record = record.map_err(wrong)?;
        if record.iter().all(|value| value.trim().is_empty()) {
            continue;
        }
        let (source, sample) = sample(&record, columns).map_err(wrong)?;
        sources.entry(source).or_default().push(sample);
    }
    Ok(sources.into_iter().collect())
}

fn sample(record: &[String], columns: [Option<usize>; 7]) -> Result<(String, Sample), String> {
    let value = |column: usize| {
        let at = columns[column]?;
        record.get(at).map(|value| value.trim())
    };
    let number = |column: usize| match value(column) {
        Some(text) => text.parse::<u64>().map_err(|_| {
            let (name, text) = (COLUMNS[column], text.escape_debug());
            format!("{name}: expected a whole number, got \"{text}\"")
        }),
        None if columns[column].is_some() => Err(format!("{}: expected a value", COLUMNS[column])),
        None => Ok(0),
    };
    let covered_ms = match value(2) {
        None => INTERVAL as u32 * 1000,
        Some(text) => {
            let seconds = text.parse::<f64>().ok();
            // a clock that was set back lets an interval last longer, but not for weeks
            let valid = seconds.filter(|seconds| (0.0..=4_000_000.0).contains(seconds));
            let seconds = valid.ok_or_else(|| {
                format!(
                    "covered_seconds: expected seconds, got \"{}\"",
                    text.escape_debug()
                )
            })?;
            (seconds * 1000.0).round() as u32
        }
    };
    let sample = Sample {
        time: number(0)?,
        covered_ms,
        bytes: [number(3)?, number(5)?],
        packets: [number(4)?, number(6)?],
    };
    Ok((value(1).unwrap_or_default().to_owned(), sample))
}

/// Splits a text into records of values; a value in quotes may contain separators and line ends.
fn records(text: &str) -> impl Iterator<Item = Result<Vec<String>, String>> + '_ {
    let mut letters = text.chars().peekable();
    std::iter::from_fn(move || {
        letters.peek()?;
        let (mut record, mut value, mut quoted) = (Vec::new(), String::new(), false);
        while let Some(letter) = letters.next() {
            match letter {
                '"' if quoted && letters.peek() == Some(&'"') => {
                    letters.next();
                    value.push('"');
                }
                '"' if quoted || value.is_empty() => quoted = !quoted,
                ',' if !quoted => record.push(std::mem::take(&mut value)),
                '\r' if !quoted => {}
                '\n' if !quoted => break,
                letter => value.push(letter),
            }
        }
        record.push(value);
        match quoted {
            true => Some(Err("expected a closing quote".to_owned())),
            false => Some(Ok(record)),
        }
    })
}
