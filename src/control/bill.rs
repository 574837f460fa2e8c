// SPDX-License-Identifier: AGPL-3.0-only
//! /v1/bill: the 95th percentile of interfaces, prefixes and networks.

use std::collections::BTreeMap;
use std::mem;
use std::sync::Arc;

use super::api::{BillReply, SampleRow, SamplesReply, SourceSamples};
use super::history::span;
use super::params::Params;
use crate::bill::{BillSum, INTERVAL};
use crate::store::reader::HistoryReader;
use crate::store::types::{CurveFilter, Part, PartKind, Sample, SampleSource, Tier, TimeSpan};
use crate::types::asn;

/// Maximum number of interfaces or prefixes of one query.
const MAX_SOURCES: usize = 64;
/// The largest overhead: more than any encapsulation has.
const MAX_OVERHEAD: u32 = 1000;

/// The traffic to add up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BillSubject {
    /// Each interface and each prefix with samples has its own bill.
    Each,
    Interfaces(Vec<String>),
    Prefixes(Vec<String>),
    /// The traffic from and to an AS, over all interfaces.
    Network(u32),
    /// The traffic from and to a neighbor AS, over all interfaces.
    Neighbor(u32),
}

/// A query of /v1/bill.
#[derive(Debug, PartialEq)]
pub struct BillQuery {
    pub span: TimeSpan,
    pub subject: BillSubject,
    pub overhead: u32,
}

/// Parses the query of /v1/bill. The period ends with the last complete sample.
pub fn query(query: Option<&str>, now: u64) -> Result<BillQuery, String> {
    let mut params = Params::parse(query)?;
    let mut span = span(&mut params, now)?;
    let names = |text: &str| {
        let names: Vec<String> = text.split(',').map(str::to_owned).collect();
        (names.len() <= MAX_SOURCES && names.iter().all(|name| !name.is_empty())).then_some(names)
    };
    const NAMES: &str = "at most 64 names with commas between them";
    let mut subjects = [
        params
            .read("interface", NAMES, names)?
            .map(BillSubject::Interfaces),
        params
            .read("prefix", NAMES, names)?
            .map(BillSubject::Prefixes),
        params
            .read("asn", asn::EXPECTED, asn::parse)?
            .map(BillSubject::Network),
        params
            .read("peer_asn", asn::EXPECTED, asn::parse)?
            .map(BillSubject::Neighbor),
    ]
    .into_iter()
    .flatten();
    let subject = match (subjects.next(), subjects.next()) {
        (None, _) => BillSubject::Each,
        (Some(subject), None) => subject,
        _ => return Err("expected only one of interface, prefix, asn and peer_asn".to_owned()),
    };
    let overhead = params.read("overhead", "a number of bytes from 0 to 1000", |text| {
        text.parse().ok().filter(|bytes| *bytes <= MAX_OVERHEAD)
    })?;
    let overhead = overhead.unwrap_or(0);
    params.finish()?;
    let by_asn = matches!(subject, BillSubject::Network(_) | BillSubject::Neighbor(_));
    if by_asn && overhead > 0 {
        return Err("overhead: expected none for an AS, whose packets are not stored".to_owned());
    }
    span.to = span.to.min(now - now % INTERVAL).max(span.from);
    Ok(BillQuery {
        span,
        subject,
        overhead,
    })
}

/// Answers a query; `prefixes` are the names of the prefixes with samples.
pub fn bill(reader: &HistoryReader, query: &BillQuery, prefixes: &[String]) -> BillReply {
    let is_each = query.subject == BillSubject::Each;
    let new = || BillSum::new(query.span, query.overhead);
    let (mut bills, mut sum) = (Vec::new(), new());
    let damaged_blocks = each_source(reader, query, prefixes, &mut |source, samples| {
        sum.add(source, &samples);
        if is_each {
            bills.push(mem::replace(&mut sum, new()).finish());
        }
    });
    if !is_each {
        bills.push(sum.finish());
    }
    BillReply {
        from: query.span.from,
        to: query.span.to,
        overhead: query.overhead,
        exact: !matches!(
            query.subject,
            BillSubject::Network(_) | BillSubject::Neighbor(_)
        ),
        bills,
        damaged_blocks,
    }
}

/// Returns the samples of a query.
pub fn samples(reader: &HistoryReader, query: &BillQuery, prefixes: &[String]) -> SamplesReply {
    let row = |sample: Sample| SampleRow {
        time: sample.time,
        covered_ms: sample.covered_ms,
        bytes: sample.bytes,
        packets: sample.packets,
    };
    let mut sources = Vec::new();
    let damaged_blocks = each_source(reader, query, prefixes, &mut |source, samples| {
        sources.push(SourceSamples {
            source: source.to_owned(),
            samples: samples.into_iter().map(row).collect(),
        });
    });
    SamplesReply {
        sources,
        damaged_blocks,
    }
}

/// Calls `each` with the samples of each source of a query, of one at a time. Returns the number of damaged blocks.
fn each_source(
    reader: &HistoryReader,
    query: &BillQuery,
    prefixes: &[String],
    each: &mut dyn FnMut(&str, Vec<Sample>),
) -> u64 {
    let interface = |name: &String| SampleSource::Interface(name.as_str().into());
    let prefix = |name: &String| SampleSource::Prefix(name.as_str().into());
    let sources: Vec<SampleSource> = match &query.subject {
        BillSubject::Each => {
            let names = interfaces(reader, query.span);
            let names = names.into_iter().map(SampleSource::Interface);
            names.chain(prefixes.iter().map(prefix)).collect()
        }
        BillSubject::Interfaces(names) => names.iter().map(interface).collect(),
        BillSubject::Prefixes(names) => names.iter().map(prefix).collect(),
        BillSubject::Network(asn) => {
            let part = Part::Network(*asn);
            return of_part(reader, query.span, part, PartKind::Network, each);
        }
        BillSubject::Neighbor(asn) => {
            let part = Part::Neighbor(*asn);
            return of_part(reader, query.span, part, PartKind::Neighbor, each);
        }
    };
    let mut damaged = 0;
    for source in sources {
        let samples = reader.samples(query.span, &source);
        let (SampleSource::Interface(name) | SampleSource::Prefix(name)) = source;
        damaged += samples.damaged_blocks;
        each(&name, samples.samples);
    }
    damaged
}

/// Returns the interfaces with data in a period.
fn interfaces(reader: &HistoryReader, span: TimeSpan) -> Vec<Arc<str>> {
    let curves = reader.curves(span, None, &CurveFilter::default());
    let mut names: Vec<_> = curves.curves.into_iter().map(|c| c.interface).collect();
    names.sort();
    names.dedup();
    names
}

/// Adds up the curves of a part over all interfaces, in points of five minutes. The part had no traffic in an interval
/// in which an interface was observed and the part has no point.
fn of_part(
    reader: &HistoryReader,
    span: TimeSpan,
    part: Part,
    kind: PartKind,
    each: &mut dyn FnMut(&str, Vec<Sample>),
) -> u64 {
    let filter = CurveFilter {
        kinds: vec![kind],
        parts: vec![part.clone()],
        ..CurveFilter::default()
    };
    let curves = reader.curves(span, Some(Tier::FiveMinutes), &filter);
    let mut intervals: BTreeMap<u64, Sample> = BTreeMap::new();
    for curve in &curves.curves {
        for point in &curve.points {
            let sample = intervals.entry(point.time).or_insert(Sample {
                time: point.time,
                ..Sample::default()
            });
            sample.covered_ms = sample.covered_ms.max(point.covered_ms);
            if curve.part == part {
                let bytes = &mut sample.bytes[curve.direction as usize];
                *bytes = bytes.saturating_add(point.bytes);
            }
        }
    }
    let name = match part {
        Part::Neighbor(asn) => format!("peer AS{asn}"),
        Part::Network(asn) => format!("AS{asn}"),
        _ => String::new(),
    };
    each(&name, intervals.into_values().collect());
    curves.damaged_blocks
}
