// SPDX-License-Identifier: AGPL-3.0-only
//! /v1/history: the traffic of a period by interface, and by a part of it. Pure, but for the files that the reader reads.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::hash::{Hash, Hasher};
use std::net::IpAddr;
use std::sync::Arc;

use serde_json::{Value, json};

use super::api::{HistoryEvent, HistoryReply, HistoryRow};
use super::asn_names::HasAsns;
use super::params::{self, Params, limit};
use crate::store::group_sums::GroupSums;
use crate::store::reader::HistoryReader;
use crate::store::types::{
    ConversationRow, CurveFilter, Curves, EventRow, Part, PartKind, Tier, TimeSpan,
};
use crate::types::address_detail::AddressDetail;
use crate::types::did_you_mean::nearest;
use crate::types::flow::Direction;
use crate::types::prefix::Prefix;
use crate::types::protocol::Protocol;

/// The period without `from`.
const DEFAULT_PERIOD: u64 = 3600;
/// Maximum number of events of a reply; the last ones.
const MAX_EVENTS: usize = 1000;

/// A part of the traffic that is stored as curves.
const SERIES: [(&str, PartKind); 5] = [
    ("asn", PartKind::Network),
    ("peer_asn", PartKind::Neighbor),
    ("country", PartKind::Country),
    ("net", PartKind::Prefix),
    ("service", PartKind::Service),
];

/// Fields of stored conversations.
const FIELDS: [&str; 4] = ["src", "dst", "proto", "port"];

/// The rows of a reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HistoryBy {
    Interface,
    Series(&'static str, PartKind),
    /// Some of [`FIELDS`].
    Conversations(Vec<&'static str>),
}

/// A query of /v1/history.
#[derive(Debug, PartialEq)]
pub struct HistoryQuery {
    pub span: TimeSpan,
    pub by: HistoryBy,
    pub interface: Option<String>,
    pub direction: Option<Direction>,
    pub addresses: AddressFilter,
    pub limit: usize,
}

/// The selection of conversations.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AddressFilter {
    pub either: Option<Prefix>,
    pub source: Option<Prefix>,
    pub destination: Option<Prefix>,
}

impl AddressFilter {
    fn read(params: &mut Params) -> Result<Self, String> {
        Ok(Self {
            either: params.read("address", params::PREFIX, params::prefix)?,
            source: params.read("src", params::PREFIX, params::prefix)?,
            destination: params.read("dst", params::PREFIX, params::prefix)?,
        })
    }

    fn is_empty(self) -> bool {
        self == Self::default()
    }

    fn selects(self, row: &ConversationRow) -> bool {
        let is_in = |prefix: Option<Prefix>, address| prefix.is_none_or(|p| has(p, address));
        let is_either = [row.source, row.destination].map(|address| is_in(self.either, address));
        is_in(self.source, row.source)
            && is_in(self.destination, row.destination)
            && is_either.contains(&true)
    }
}

/// Returns whether a prefix has a stored address. If prefixes are stored in place of addresses, it has those that
/// contain it as well.
fn has(prefix: Prefix, stored: IpAddr) -> bool {
    let stored_prefix = Prefix::new(stored, if stored.is_ipv4() { 24 } else { 48 });
    let may_be_prefix = stored_prefix.address() == stored;
    prefix.contains(stored) || (may_be_prefix && stored_prefix.contains(prefix.address()))
}

/// Parses the query of /v1/history.
pub fn query(query: Option<&str>, now: u64) -> Result<HistoryQuery, String> {
    let mut params = Params::parse(query)?;
    let span = span(&mut params, now)?;
    let by = params.take("by").map(|by| parse_by(&by)).transpose()?;
    let interface = params.take("interface");
    let direction = params.read("direction", "ingress or egress", |text| {
        Direction::ALL.into_iter().find(|d| d.name() == text)
    })?;
    let addresses = AddressFilter::read(&mut params)?;
    let limit = limit(&mut params)?;
    params.finish()?;
    let by = match by {
        Some(by) => by,
        None if addresses.is_empty() => HistoryBy::Interface,
        None => HistoryBy::Conversations(FIELDS.into()),
    };
    if !addresses.is_empty() && !matches!(by, HistoryBy::Conversations(_)) {
        return Err(format!(
            "by: expected some of {} with a selection of addresses",
            FIELDS.join(",")
        ));
    }
    Ok(HistoryQuery {
        span,
        by,
        interface,
        direction,
        addresses,
        limit,
    })
}

/// Reads the period of a query, in Unix seconds; the last hour by default.
pub(super) fn span(params: &mut Params, now: u64) -> Result<TimeSpan, String> {
    const TIME: &str = "a time in Unix seconds";
    let time = |text: &str| text.parse::<u64>().ok().filter(|time| *time < 1 << 40);
    let to = params.read("to", TIME, time)?.unwrap_or(now);
    let from = params.read("from", TIME, time)?;
    let from = from.unwrap_or(to.saturating_sub(DEFAULT_PERIOD));
    match from < to {
        true => Ok(TimeSpan::new(from, to)),
        false => Err(format!("to: expected a time after {from}, got {to}")),
    }
}

fn parse_by(text: &str) -> Result<HistoryBy, String> {
    if let Some((name, kind)) = SERIES.iter().find(|(name, _)| *name == text) {
        return Ok(HistoryBy::Series(name, *kind));
    }
    let mut fields = Vec::new();
    for name in text.split(',').map(str::trim) {
        let Some(field) = FIELDS.iter().find(|field| **field == name) else {
            let known = SERIES.iter().map(|(name, _)| *name).chain(FIELDS);
            let unknown = format!("by: unknown field \"{}\"", name.escape_debug());
            if SERIES.iter().any(|(series, _)| *series == name) {
                return Err(format!("by: {name} cannot be combined with other fields"));
            }
            return Err(match nearest(name, known) {
                Some(near) => format!("{unknown}, did you mean {near}?"),
                None => format!(
                    "{unknown}, expected one of {}, or some of {}",
                    SERIES.map(|(name, _)| name).join(", "),
                    FIELDS.join(",")
                ),
            });
        };
        if fields.contains(field) {
            return Err(format!("by: {name} is given twice"));
        }
        fields.push(*field);
    }
    Ok(HistoryBy::Conversations(fields))
}

/// Sums of one row.
#[derive(Clone, Copy, Debug, Default)]
struct RowSum {
    bytes: u64,
    packets: u64,
    max_rate: f32,
    covered_ms: u64,
}

type Scope = (Arc<str>, Direction);

/// The values of a part, and its sums.
type PartSum = (BTreeMap<String, Value>, RowSum);

/// The selected fields of a conversation; the others are `None` or 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct ConversationGroup {
    /// In the detail that may be shown.
    source: Option<IpAddr>,
    destination: Option<IpAddr>,
    protocol: u8,
    port: u16,
}

/// With few writes: a question hashes millions of rows.
impl Hash for ConversationGroup {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let bits = |address: Option<IpAddr>| match address {
            Some(IpAddr::V4(v4)) => v4.to_ipv6_mapped().to_bits(),
            Some(IpAddr::V6(v6)) => v6.to_bits(),
            None => 0,
        };
        state.write_u128(bits(self.source));
        state.write_u128(bits(self.destination));
        state.write_u32(u32::from(self.port) << 8 | u32::from(self.protocol));
    }
}

/// The fields by which conversations are grouped.
struct GroupFields {
    source: bool,
    destination: bool,
    protocol: bool,
    port: bool,
    addresses: AddressDetail,
}

impl GroupFields {
    fn new(fields: &[&str], addresses: AddressDetail) -> Self {
        let has = |field| fields.contains(&field);
        Self {
            source: has("src"),
            destination: has("dst"),
            protocol: has("proto"),
            port: has("port"),
            addresses,
        }
    }

    fn group(&self, row: &ConversationRow) -> ConversationGroup {
        let shown = |is_field: bool, address| {
            let shown = is_field.then(|| self.addresses.of(address)).flatten();
            shown.map(|shown| shown.address())
        };
        ConversationGroup {
            source: shown(self.source, row.source),
            destination: shown(self.destination, row.destination),
            protocol: if self.protocol { row.protocol } else { 0 },
            port: if self.port { row.service_port } else { 0 },
        }
    }
}

impl ConversationGroup {
    fn values(&self, fields: &[&str], addresses: AddressDetail) -> BTreeMap<String, Value> {
        let address =
            |shown: Option<IpAddr>| json!(shown.map_or_else(String::new, |a| addresses.text(a)));
        let value = |field: &str| match field {
            "src" => address(self.source),
            "dst" => address(self.destination),
            "proto" => json!(self.protocol),
            _ => json!(self.port),
        };
        let values = fields
            .iter()
            .map(|field| ((*field).to_owned(), value(field)));
        values.collect()
    }
}

/// Answers a query. `addresses` is the detail in which addresses may be shown.
pub fn history(
    reader: &HistoryReader,
    query: &HistoryQuery,
    addresses: AddressDetail,
) -> HistoryReply {
    let filter = CurveFilter {
        interfaces: query
            .interface
            .iter()
            .map(|name| name.as_str().into())
            .collect(),
        directions: query.direction.into_iter().collect(),
        ..CurveFilter::default()
    };
    let mut reply = match &query.by {
        HistoryBy::Interface => of_series(reader, query, &filter, None),
        HistoryBy::Series(name, kind) => of_series(reader, query, &filter, Some((name, *kind))),
        HistoryBy::Conversations(fields) => {
            of_conversations(reader, query, &filter, fields, addresses)
        }
    };
    let events = reader.events(query.span, MAX_EVENTS);
    let event = |event: EventRow| HistoryEvent {
        time: event.time,
        kind: event.kind,
        text: event.text,
    };
    reply.events = events.events.into_iter().map(event).collect();
    reply.damaged_blocks += events.damaged_blocks;
    reply
}

/// Returns the whole points that a span touches.
fn whole_points(span: TimeSpan, step: u64) -> TimeSpan {
    TimeSpan::new(span.from - span.from % step, span.to.div_ceil(step) * step)
}

/// Adds up the totals of each interface and direction.
fn totals(curves: &Curves) -> BTreeMap<Scope, RowSum> {
    let mut totals: BTreeMap<Scope, RowSum> = BTreeMap::new();
    for curve in &curves.curves {
        if let Part::Total(_) = curve.part {
            let sum = totals
                .entry((curve.interface.clone(), curve.direction))
                .or_default();
            let mut covered = 0;
            for point in &curve.points {
                sum.bytes = sum.bytes.saturating_add(point.bytes);
                sum.packets = sum.packets.saturating_add(point.packets);
                covered += u64::from(point.covered_ms);
            }
            // the families are observed together
            sum.covered_ms = sum.covered_ms.max(covered);
            sum.max_rate += curve.points.iter().map(|p| p.max_rate).fold(0.0, f32::max);
        }
    }
    totals
}

fn of_series(
    reader: &HistoryReader,
    query: &HistoryQuery,
    filter: &CurveFilter,
    kind: Option<(&'static str, PartKind)>,
) -> HistoryReply {
    let filter = CurveFilter {
        kinds: kind.iter().map(|(_, kind)| *kind).collect(),
        ..filter.clone()
    };
    let curves = reader.curves(query.span, None, &filter);
    let mut rows = Vec::new();
    for (scope, total) in totals(&curves) {
        let Some((name, _)) = kind else {
            rows.push(row(&scope, BTreeMap::new(), &total, true, false));
            continue;
        };
        let mut parts: Vec<PartSum> = Vec::new();
        for curve in &curves.curves {
            if curve.interface != scope.0 || curve.direction != scope.1 {
                continue;
            }
            let Some(value) = value(&curve.part) else {
                continue;
            };
            let mut sum = RowSum {
                covered_ms: total.covered_ms,
                ..RowSum::default()
            };
            for point in &curve.points {
                sum.bytes = sum.bytes.saturating_add(point.bytes);
                sum.max_rate = sum.max_rate.max(point.max_rate);
            }
            parts.push((BTreeMap::from([(name.to_owned(), value)]), sum));
        }
        put_series(&mut rows, &scope, &total, parts, query.limit);
    }
    let step = curves.tier.seconds();
    let span = whole_points(query.span, step);
    HistoryReply {
        from: span.from,
        to: span.to,
        step,
        by: kind.iter().map(|(name, _)| (*name).to_owned()).collect(),
        rows,
        events: Vec::new(),
        max_missing_bytes: 0,
        damaged_blocks: curves.damaged_blocks,
        asn_names: BTreeMap::new(),
    }
}

/// Returns the value of a part; `None` for totals and rests.
fn value(part: &Part) -> Option<Value> {
    Some(match part {
        Part::Network(0) | Part::Neighbor(0) => Value::Null,
        Part::Network(asn) | Part::Neighbor(asn) => json!(asn),
        Part::Country(code) => match std::str::from_utf8(code).map(str::trim) {
            Ok("") | Err(_) => Value::Null,
            Ok(code) => json!(code),
        },
        Part::Prefix(name) => json!(&**name),
        Part::Service(protocol, port) => {
            json!(format!("{}/{port}", Protocol(*protocol)))
        }
        Part::Total(_) | Part::Rest(_) => return None,
    })
}

fn of_conversations(
    reader: &HistoryReader,
    query: &HistoryQuery,
    filter: &CurveFilter,
    fields: &[&'static str],
    addresses: AddressDetail,
) -> HistoryReply {
    let mut sums: GroupSums<Scope, ConversationGroup, ()> = GroupSums::default();
    let group_fields = GroupFields::new(fields, addresses);
    let mut step = Tier::Minute.seconds();
    let mut damaged_blocks = reader.each_conversation_period(query.span, filter, &mut |period| {
        step = step.max(period.seconds);
        for list in &period.lists {
            let scope = sums.scope(&(list.interface.clone(), list.direction));
            for row in list.rows.iter().filter(|row| query.addresses.selects(row)) {
                let group = group_fields.group(row);
                sums.add(scope, group, (row.bytes, row.packets), ());
            }
        }
    });
    let tier = if step > Tier::Minute.seconds() {
        Tier::FiveMinutes
    } else {
        Tier::Minute
    };
    let span = whole_points(query.span, step);
    // the counters of the same periods: what no conversation has is the rest
    let curves = reader.curves(span, Some(tier), filter);
    damaged_blocks += curves.damaged_blocks;
    let (mut rows, mut max_missing) = (Vec::new(), 0);
    for (scope, total) in totals(&curves) {
        let found = sums.take(&scope);
        max_missing = max_missing.max(found.max_missing());
        // estimates from sampled packets may exceed the total
        let all = found.total();
        let parts = found.largest(query.limit).into_iter().map(|(group, sum)| {
            let sum = RowSum {
                bytes: fit(sum.bytes, all.0, total.bytes),
                packets: fit(sum.packets, all.1, total.packets),
                max_rate: 0.0,
                covered_ms: total.covered_ms,
            };
            (group.values(fields, addresses), sum)
        });
        put_rows(&mut rows, &scope, &total, parts, true);
    }
    HistoryReply {
        from: span.from,
        to: span.to,
        step,
        by: fields.iter().map(|field| (*field).to_owned()).collect(),
        rows,
        events: Vec::new(),
        max_missing_bytes: max_missing,
        damaged_blocks,
        asn_names: BTreeMap::new(),
    }
}

/// Puts the `limit` largest parts of an interface and direction, and its rest. If rounded parts exceed the total, they
/// are reduced to fit.
fn put_series(
    rows: &mut Vec<HistoryRow>,
    scope: &Scope,
    total: &RowSum,
    mut parts: Vec<PartSum>,
    limit: usize,
) {
    let all: u128 = parts.iter().map(|(_, sum)| u128::from(sum.bytes)).sum();
    parts.sort_by_key(|(_, sum)| Reverse(sum.bytes));
    parts.truncate(limit);
    for (_, sum) in &mut parts {
        sum.bytes = fit(sum.bytes, all, total.bytes);
    }
    put_rows(rows, scope, total, parts.into_iter(), false);
}

/// Returns a value of parts that add up to `sum`, reduced so that they add up to at most `total`.
fn fit(value: u64, sum: u128, total: u64) -> u64 {
    match sum > u128::from(total) {
        true => (u128::from(value) * u128::from(total) / sum) as u64,
        false => value,
    }
}

/// Puts the rows of parts, and the rest: the total less the parts.
fn put_rows(
    rows: &mut Vec<HistoryRow>,
    scope: &Scope,
    total: &RowSum,
    parts: impl Iterator<Item = PartSum>,
    has_packets: bool,
) {
    let mut rest = RowSum {
        max_rate: 0.0,
        ..*total
    };
    for (values, sum) in parts.filter(|(_, sum)| sum.bytes > 0) {
        rest.bytes -= sum.bytes;
        rest.packets -= sum.packets;
        let mut row = row(scope, values, &sum, has_packets, false);
        if has_packets {
            row.max_bytes_per_second = None;
        }
        rows.push(row);
    }
    let mut rest = row(scope, BTreeMap::new(), &rest, has_packets, true);
    rest.max_bytes_per_second = None;
    rows.push(rest);
}

fn row(
    (interface, direction): &Scope,
    values: BTreeMap<String, Value>,
    sum: &RowSum,
    has_packets: bool,
    rest: bool,
) -> HistoryRow {
    HistoryRow {
        interface: interface.to_string(),
        direction: direction.name().to_owned(),
        values,
        bytes: sum.bytes,
        packets: has_packets.then_some(sum.packets),
        max_bytes_per_second: Some(f64::from(sum.max_rate)),
        covered_seconds: sum.covered_ms as f64 / 1000.0,
        rest,
    }
}

impl HasAsns for HistoryReply {
    fn asns(&self) -> Vec<u32> {
        let values = self.rows.iter().flat_map(|row| &row.values);
        let asns = values.filter(|(name, _)| name.ends_with("asn"));
        asns.filter_map(|(_, value)| u32::try_from(value.as_u64()?).ok())
            .collect()
    }

    fn set_names(&mut self, names: BTreeMap<u32, String>) {
        self.asn_names = names;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stored_prefix_is_found_by_the_addresses_in_it() {
        for (prefix, stored, expected) in [
            ("192.0.2.7", "192.0.2.7", true),
            ("192.0.2.7", "192.0.2.0", true),
            ("192.0.2.7", "192.0.3.0", false),
            ("192.0.2.7", "192.0.2.8", false),
            ("192.0.2.0/25", "192.0.2.0", true),
            ("192.0.0.0/16", "192.0.2.0", true),
            ("2001:db8:1:2::7", "2001:db8:1::", true),
            ("2001:db8:1:2::7", "2001:db8:1:2::", false),
            ("2001:db8::/32", "2001:db8:1:2::", true),
            ("192.0.2.7", "2001:db8:1::", false),
        ] {
            let found = has(prefix.parse().unwrap(), stored.parse().unwrap());
            assert_eq!(found, expected, "{prefix} {stored}");
        }
    }
}
