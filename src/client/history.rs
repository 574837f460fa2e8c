// SPDX-License-Identifier: AGPL-3.0-only
//! `history` and `bill`: they read a period as people write it, and print sums in the zone of the reader.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::time::{Duration, SystemTime};

use serde_json::{Map, Value, json};

use super::time_range::{self, TimeRange, Zone};
use super::{AgentClient, ClientError, output, read};
use crate::args::{BillOptions, HistoryOptions};
use crate::bill::{self, file};
use crate::control::api::{BillReply, HistoryReply, SamplesReply};
use crate::store::types::{Sample, TimeSpan};

/// The period of `history` without a range.
const DEFAULT_RANGE: &str = "1h";

fn now() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.unwrap_or(Duration::ZERO).as_secs()
}

/// Returns a zone by its name, or the default.
fn zone(name: Option<&String>, default: fn() -> Zone) -> Result<Zone, ClientError> {
    let zone = name.map_or_else(|| Ok(default()), |name| Zone::named(name));
    zone.map_err(ClientError::Usage)
}

pub fn history(agent: &AgentClient, options: &HistoryOptions) -> Result<String, ClientError> {
    one_format(agent.json, options.csv)?;
    let zone = zone(options.tz.as_ref(), Zone::local)?;
    let text = match options.range.join(" ") {
        text if text.is_empty() => DEFAULT_RANGE.to_owned(),
        text => text,
    };
    let range = time_range::parse(&text, now(), &zone).map_err(ClientError::Usage)?;
    let mut query = period(&range);
    query.extend(super::given([
        ("by", &options.by),
        ("interface", &options.interface),
        ("direction", &options.direction),
        ("address", &options.address),
        ("src", &options.src),
        ("dst", &options.dst),
        ("limit", &options.limit),
    ]));
    let reply = agent.get("history", &query)?;
    if agent.json {
        return with_zone(&reply, &range.zone);
    }
    let reply: HistoryReply = read(&reply)?;
    Ok(match options.csv {
        true => output::history_csv(&reply),
        false => output::history(&reply, &range.zone),
    })
}

pub fn bill(agent: &AgentClient, options: &BillOptions) -> Result<String, ClientError> {
    one_format(agent.json, options.csv || options.export)?;
    let zone = zone(options.tz.as_ref(), Zone::utc)?;
    let month = options.month.as_deref().unwrap_or("this month");
    let range = time_range::parse(month, now(), &zone).map_err(ClientError::Usage)?;
    if let Some(file) = &options.samples {
        let reply = of_file(file, options, &range)?;
        let json = serde_json::to_vec(&reply);
        let json = json.map_err(|error| ClientError::Failed(error.to_string()))?;
        return print_bill(agent, options, &range, &json);
    }
    let mut query = period(&range);
    for (name, values) in [
        ("interface", &options.interface),
        ("prefix", &options.prefix),
    ] {
        if !values.is_empty() {
            query.push((name, values.join(",")));
        }
    }
    query.extend(super::given([
        ("asn", &options.asn),
        ("peer_asn", &options.peer_asn),
        ("overhead", &options.overhead),
    ]));
    if options.export {
        let reply: SamplesReply = read(&agent.get("bill/samples", &query)?)?;
        return Ok(export(reply));
    }
    let reply = agent.get("bill", &query)?;
    print_bill(agent, options, &range, &reply)
}

fn print_bill(
    agent: &AgentClient,
    options: &BillOptions,
    range: &TimeRange,
    reply: &[u8],
) -> Result<String, ClientError> {
    if agent.json {
        return with_zone(reply, &range.zone);
    }
    let reply: BillReply = read(reply)?;
    Ok(match options.csv {
        true => output::bill_csv(&reply, &range.zone),
        false => output::bill(&reply, &range.zone),
    })
}

/// Calculates a bill from a file of samples. The options select sources by their names.
fn of_file(
    path: &Path,
    options: &BillOptions,
    range: &TimeRange,
) -> Result<BillReply, ClientError> {
    if options.asn.is_some() || options.peer_asn.is_some() || options.export {
        let text = "expected --samples without --asn, --peer-asn and --export";
        return Err(ClientError::Usage(text.to_owned()));
    }
    let overhead = match &options.overhead {
        None => 0,
        Some(text) => text
            .parse()
            .ok()
            .filter(|bytes| *bytes <= 1000)
            .ok_or_else(|| {
                let text = text.escape_debug();
                ClientError::Usage(format!(
                    "--overhead: expected 0 to 1000 bytes, got \"{text}\""
                ))
            })?,
    };
    let failed = |error: String| ClientError::Failed(format!("{}: {error}", path.display()));
    let text = read_file(path).map_err(|error| failed(error.to_string()))?;
    let mut sources = file::parse(&text).map_err(failed)?;
    let wanted: Vec<&String> = options.interface.iter().chain(&options.prefix).collect();
    if !wanted.is_empty() {
        for name in &wanted {
            if !sources.iter().any(|(source, _)| source == *name) {
                let name = name.escape_debug();
                return Err(failed(format!("expected samples of {name}, got none")));
            }
        }
        sources.retain(|(source, _)| wanted.contains(&source));
    }
    let span = TimeSpan::new(range.from, range.to - range.to % bill::INTERVAL);
    Ok(BillReply {
        from: span.from,
        to: span.to,
        overhead,
        exact: true,
        bills: vec![bill::bill(&sources, span, overhead)],
        damaged_blocks: 0,
    })
}

/// Reads a file, or standard input for `-`.
fn read_file(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    let input: Box<dyn Read> = match path.as_os_str() == "-" {
        true => Box::new(io::stdin()),
        false => Box::new(File::open(path)?),
    };
    input.take(file::MAX_SIZE).read_to_string(&mut text)?;
    Ok(text)
}

fn export(reply: SamplesReply) -> String {
    let sources = reply.sources.into_iter().map(|source| {
        let samples = source.samples.iter().map(|row| Sample {
            time: row.time,
            covered_ms: row.covered_ms,
            bytes: row.bytes,
            packets: row.packets,
        });
        (source.source, samples.collect())
    });
    file::write(&sources.collect())
}

fn period(range: &TimeRange) -> Vec<(&'static str, String)> {
    vec![
        ("from", range.from.to_string()),
        ("to", range.to.to_string()),
    ]
}

fn one_format(json: bool, other: bool) -> Result<(), ClientError> {
    match json && other {
        true => Err(ClientError::Usage(
            "expected only one of --json, --csv and --export".to_owned(),
        )),
        false => Ok(()),
    }
}

/// Returns a reply as JSON, with the zone, and the period in it.
fn with_zone(reply: &[u8], zone: &Zone) -> Result<String, ClientError> {
    let mut reply: Map<String, Value> = read(reply)?;
    for (name, shown) in [("from", "from_time"), ("to", "to_time")] {
        if let Some(seconds) = reply.get(name).and_then(Value::as_u64) {
            reply.insert(shown.to_owned(), json!(zone.rfc3339(seconds)));
        }
    }
    reply.insert("zone".to_owned(), json!(zone.to_string()));
    let text = serde_json::to_string_pretty(&reply);
    text.map(|text| text + "\n")
        .map_err(|error| ClientError::Failed(error.to_string()))
}
