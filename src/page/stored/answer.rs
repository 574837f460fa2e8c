// SPDX-License-Identifier: AGPL-3.0-only
//! The JSON of `page/v2.json`. Units are bytes, seconds, and bytes or packets per second.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::StoredNames;
use super::conversations::{ConversationSelection, RowValue, Selected};
use super::curves::{self, PartCurve, ScopeCurves, Scopes, SlotColumn};
use super::query::{StoredQuery, StoredTable};
use super::resolution::Slots;
use crate::bill::{BillSum, INTERVAL, Method};
use crate::flow::talkers::TrafficEnd;
use crate::flow::talkers::filter::Condition;
use crate::history::time_series::Measure;
use crate::history::top_table::TOP;
use crate::page::points::Points;
use crate::page::query::Stack;
use crate::store::reader::HistoryReader;
use crate::store::types::{
    CurveFilter, Curves, EventRow, Part, PartKind, SampleSource, Tier, TimeSpan,
};
use crate::types::address_detail::AddressDetail;
use crate::types::flow::{Direction, Family};

/// The schema version of `page/v2.json`.
const SCHEMA: u32 = 2;
/// Maximum number of events of an answer; the last ones.
const MAX_EVENTS: usize = 500;
const DAY: u64 = 86_400;
/// The kind with the fewest parts: its rest has the observed times.
const FEWEST: PartKind = PartKind::Prefix;
/// Conversations are stored for two weeks, and samples for 13 months.
const CONVERSATION_DAYS: u64 = 15;
const SAMPLE_DAYS: u64 = 400;
/// The rows of the latest seconds are not sent to the history yet: these points are left out, and are no gap.
const LATEST_SECONDS: u64 = 300;

/// The value, bytes, packets and the highest rate of five seconds (null if not stored); of a host or prefix also its
/// AS number and country.
type StoredRow = (RowValue, u64, Option<u64>, Option<f32>, u32, String);

#[derive(Serialize)]
struct StoredView {
    schema: u32,
    /// Unix seconds. The period that is covered: whole points of `step` seconds, from the first one with data.
    now: u64,
    from: u64,
    to: u64,
    step: u64,
    /// The stored points from which these are made: `1m`, `5m`, `1h` or `1d`.
    tier: &'static str,
    by: Option<&'static str>,
    /// The first point and the number of points of each time without observation.
    gaps: Vec<(usize, usize)>,
    /// The length of the samples of `p95`.
    p95_step: u64,
    /// The detail of addresses in the answer.
    addresses: AddressDetail,
    /// The time of the first stored conversation; null if none was read.
    conversations_from: Option<u64>,
    ingress: Option<StoredDirection>,
    egress: Option<StoredDirection>,
    /// Time, kind and text, in order of time.
    events: Vec<(u64, String, String)>,
    /// The names of the ASNs above.
    asns: BTreeMap<u32, String>,
    damaged_blocks: u64,
}

#[derive(Serialize)]
struct StoredDirection {
    /// Observed seconds.
    covered: f64,
    bytes: u64,
    packets: Option<u64>,
    /// The highest rate of five seconds, in bytes per second; null if it is not stored.
    max: Option<f32>,
    p95: Option<f64>,
    /// All traffic, or that of the filters.
    total: Points,
    families: Vec<Points>,
    /// The curves of the largest networks, and of all others together.
    curves: Vec<(RowValue, Points)>,
    rest: Points,
    rows: Option<Vec<StoredRow>>,
    /// The number of rows, with those that are left out.
    lines: usize,
    /// The most bytes that a row may lack because there were too many different rows.
    max_missing: u64,
    /// The bytes that no row has.
    rest_bytes: u64,
}

/// Returns the answer to a query at the Unix time `now`.
pub fn render(
    reader: &HistoryReader,
    names: &StoredNames,
    query: &StoredQuery,
    now: u64,
    addresses: AddressDetail,
) -> Vec<u8> {
    let stored = Stored::read(reader, query, now);
    let slots = stored.slots;
    let mut selection = ConversationSelection::new(query, slots, addresses, (names.lookup)());
    let (mut damaged_blocks, mut conversations_from) = (stored.damaged_blocks, None);
    if needs_conversations(query) {
        let first = now.saturating_sub(CONVERSATION_DAYS * DAY);
        let (from, to) = (slots.span().from.max(first), slots.span().to);
        let span = TimeSpan::new(from, to);
        damaged_blocks +=
            reader.each_conversation_period(span, &interfaces(query), &mut |period| {
                let first = conversations_from.get_or_insert(period.time);
                *first = period.time.min(*first);
                selection.add(&period);
            });
    }
    let observed = stored.observed();
    let bills = (query.filters.is_empty() && query.measure == Measure::Bytes)
        .then(|| percentiles(reader, query, slots.span(), now))
        .flatten();
    let found = std::mem::take(&mut selection.found);
    let directions = Direction::ALL.map(|direction| {
        let scopes = &stored.scopes[direction as usize];
        (!scopes.is_empty()).then(|| {
            let part = DirectionParts {
                query,
                slots,
                scopes,
                observed: &observed,
                selected: &found[direction as usize],
                direction,
            };
            part.view(bills.map(|bills| bills[direction as usize]), &mut selection)
        })
    });
    let events = reader.events(slots.span(), MAX_EVENTS);
    damaged_blocks += events.damaged_blocks;
    let event = |event: EventRow| (event.time, event.kind, event.text);
    let asns = asns(query, &directions);
    let [ingress, egress] = directions;
    let view = StoredView {
        schema: SCHEMA,
        now,
        from: slots.span().from,
        to: slots.span().to,
        step: slots.step,
        tier: stored.tier.name(),
        by: query.by.map(StoredTable::name),
        gaps: gaps(&observed),
        p95_step: bills.map_or(slots.step, |_| INTERVAL),
        addresses,
        conversations_from,
        ingress,
        egress,
        events: events.events.into_iter().map(event).collect(),
        asns: asns
            .into_iter()
            .filter_map(|asn| Some((asn, (names.asn_name)(asn)?)))
            .collect(),
        damaged_blocks,
    };
    // fails only for maps whose keys are not strings
    serde_json::to_vec(&view).unwrap_or_default()
}

fn interfaces(query: &StoredQuery) -> CurveFilter {
    CurveFilter {
        interfaces: query.interfaces.clone(),
        ..CurveFilter::default()
    }
}

/// Returns the stored part that the filters select, if it is one.
fn stored_part(filters: &[Condition]) -> Option<Part> {
    let [filter] = filters else {
        return None;
    };
    Some(match filter {
        Condition::Asn(TrafficEnd::Remote, asn) => Part::Network(*asn),
        Condition::Peer(TrafficEnd::Remote, asn) => Part::Neighbor(*asn),
        Condition::Country(TrafficEnd::Remote, code) => match &**code {
            "" => Part::Country(*b"  "),
            code => Part::Country(code.as_bytes().try_into().ok()?),
        },
        Condition::Service(protocol, port) => Part::Service(*protocol, *port),
        _ => return None,
    })
}

fn needs_conversations(query: &StoredQuery) -> bool {
    match query.by {
        Some(StoredTable::Host | StoredTable::Prefix) => true,
        Some(_) => !query.filters.is_empty(),
        None => !query.filters.is_empty() && stored_part(&query.filters).is_none(),
    }
}

/// The curves of an answer.
struct Stored {
    slots: Slots,
    tier: Tier,
    /// By [`Direction`].
    scopes: [Scopes; Direction::ALL.len()],
    damaged_blocks: u64,
}

impl Stored {
    /// Reads the curves. The period begins with the first data, so that a new history has short points.
    fn read(reader: &HistoryReader, query: &StoredQuery, now: u64) -> Self {
        let (kinds, parts) = selected_kinds(query);
        let filter = CurveFilter {
            kinds: kinds.clone(),
            parts,
            ..interfaces(query)
        };
        let mut span = query.span;
        let mut stored = Self::read_span(reader, &filter, span, now);
        for _ in 0..2 {
            let is_short = stored.slots.span().seconds() <= span.seconds() / 2;
            if !is_short || stored.slots.step == Tier::Minute.seconds() {
                break;
            }
            span.from = span.from.max(stored.slots.start);
            stored = Self::read_span(reader, &filter, span, now);
        }
        stored
    }

    fn read_span(reader: &HistoryReader, filter: &CurveFilter, span: TimeSpan, now: u64) -> Self {
        let mut slots = Slots::covering(span, Tier::Minute.seconds());
        let read = reader.curves(slots.span(), slots.tier(now), filter);
        if read.tier.seconds() > slots.step {
            slots = Slots::covering(span, read.tier.seconds());
        }
        let stored = Self::of(&read, filter.kinds[0], slots);
        let observed = stored.observed();
        let first = observed.iter().position(|observed| *observed).unwrap_or(0);
        let last = observed.iter().rposition(|observed| *observed);
        let end = last.map_or(slots.count, |last| last + 1);
        let waits = slots.start + end as u64 * slots.step + LATEST_SECONDS >= now;
        let count = if waits { end } else { slots.count } - first;
        if count == slots.count {
            return stored;
        }
        let start = slots.start + first as u64 * slots.step;
        Self::of(
            &read,
            filter.kinds[0],
            Slots {
                start,
                count,
                ..slots
            },
        )
    }

    fn of(read: &Curves, kind: PartKind, slots: Slots) -> Self {
        Self {
            slots,
            tier: read.tier,
            scopes: Direction::ALL
                .map(|direction| curves::add_up(&read.curves, direction, kind, slots)),
            damaged_blocks: read.damaged_blocks,
        }
    }

    /// Returns the slots in which any interface was observed, in any direction.
    fn observed(&self) -> Vec<bool> {
        curves::observed([&self.scopes[0], &self.scopes[1]], self.slots)
    }
}

/// Returns the kinds of parts to read, at least one, and the only part if there is one.
fn selected_kinds(query: &StoredQuery) -> (Vec<PartKind>, Vec<Part>) {
    if !query.filters.is_empty() {
        let part = stored_part(&query.filters);
        let kind = part.as_ref().and_then(Part::kind);
        return (vec![kind.unwrap_or(FEWEST)], part.into_iter().collect());
    }
    let table = match query.by {
        Some(StoredTable::Series(kind)) => Some(kind),
        Some(StoredTable::Protocol) => Some(PartKind::Service),
        _ => None,
    };
    let networks = (query.stack == Stack::Networks).then_some(PartKind::Network);
    let mut kinds: Vec<_> = networks.into_iter().chain(table).collect();
    kinds.dedup();
    if kinds.is_empty() {
        kinds.push(FEWEST);
    }
    (kinds, Vec::new())
}

/// Returns the 95th percentile of each direction from the samples of bills, in bytes per second; `None` if they do not
/// cover the period.
fn percentiles(
    reader: &HistoryReader,
    query: &StoredQuery,
    span: TimeSpan,
    now: u64,
) -> Option<[f64; 2]> {
    let span = TimeSpan::new(span.from, span.to.min(now - now % INTERVAL));
    if span.from >= span.to || now - span.from > SAMPLE_DAYS * DAY {
        return None;
    }
    let mut bill = BillSum::new(span, 0);
    for name in &query.interfaces {
        let samples = reader.samples(span, &SampleSource::Interface(name.clone()));
        if !samples.samples.is_empty() {
            bill.add(name, &samples.samples);
        }
    }
    let bill = bill.finish();
    let of = |method: Method| {
        let rate = bill.rates.iter().find(|rate| rate.method == method)?;
        // bits per second
        Some(rate.p95? / 8.0)
    };
    Some([of(Method::In)?, of(Method::Out)?])
}

/// The parts of the answer in one direction.
struct DirectionParts<'a> {
    query: &'a StoredQuery,
    slots: Slots,
    scopes: &'a Scopes,
    observed: &'a [bool],
    selected: &'a Selected,
    direction: Direction,
}

impl DirectionParts<'_> {
    fn view(&self, p95: Option<f64>, selection: &mut ConversationSelection) -> StoredDirection {
        let part = stored_part(&self.query.filters);
        let all = self.query.filters.is_empty();
        let of_part =
            |scope: &'_ ScopeCurves| part.as_ref().and_then(|p| scope.parts.get(p).cloned());
        let parts: Vec<Option<PartCurve>> = self.scopes.values().map(of_part).collect();
        let rates = if all {
            let scopes = self.scopes.values();
            self.rates(scopes.flat_map(|s| s.families.iter().map(|f| (f, &s.covered_ms[..]))))
        } else if part.is_some() {
            let scopes = self.scopes.values().zip(&parts);
            self.rates(scopes.filter_map(|(s, p)| Some((&p.as_ref()?.column, &s.covered_ms[..]))))
        } else {
            let scopes = self.scopes.iter();
            self.rates(scopes.filter_map(|(name, s)| {
                Some((self.selected.columns.get(name)?, &s.covered_ms[..]))
            }))
        };
        let columns: Vec<&SlotColumn> = if all {
            let scopes = self.scopes.values();
            scopes.flat_map(|scope| &scope.families).collect()
        } else if part.is_some() {
            parts.iter().flatten().map(|part| &part.column).collect()
        } else {
            self.selected.columns.values().collect()
        };
        let bytes = columns
            .iter()
            .fold(0u64, |sum, c| sum.saturating_add(c.sum()));
        let packets = columns.iter().map(|column| column.packets());
        let packets = packets.sum::<Option<u64>>().filter(|_| part.is_none());
        let max = if all {
            Some(self.scopes.values().map(|scope| scope.max).sum())
        } else {
            let has_max = part.is_some();
            has_max.then(|| parts.iter().flatten().map(|part| part.max).sum())
        };
        let table = self.query.by.map(|by| self.rows(by, selection));
        let (lines, max_missing) = table.as_ref().map_or((0, 0), |t| (t.lines, t.max_missing));
        let rows = table.map(|table| table.rows);
        let listed = rows.iter().flatten();
        let listed = listed.fold(0u64, |sum, row| sum.saturating_add(row.1));
        let (curves, rest) = self.networks(&rates);
        let covered = self
            .scopes
            .values()
            .map(|s| s.covered_ms.iter().sum::<u64>());
        StoredDirection {
            covered: covered.max().unwrap_or_default() as f64 / 1000.0,
            bytes,
            packets,
            max,
            p95: p95.or_else(|| curves::p95(&rates, self.observed)),
            total: self.points(&rates),
            families: self.families(),
            curves,
            rest,
            rows,
            lines,
            max_missing,
            rest_bytes: bytes.saturating_sub(listed),
        }
    }

    fn rates<'c>(&self, columns: impl Iterator<Item = (&'c SlotColumn, &'c [u64])>) -> Vec<f64> {
        curves::rates(columns, self.query.measure, self.slots)
    }

    fn points(&self, rates: &[f64]) -> Points {
        let rates = rates.iter().map(|rate| *rate as u64);
        Points::new(rates, self.query.is_packed)
    }

    fn families(&self) -> Vec<Points> {
        if self.query.stack != Stack::Family || !self.query.filters.is_empty() {
            return Vec::new();
        }
        let points = |family: Family| {
            let scopes = self.scopes.values();
            let rates =
                self.rates(scopes.map(|s| (&s.families[family as usize], &s.covered_ms[..])));
            self.points(&rates)
        };
        Family::ALL.map(points).into()
    }

    /// Returns the curves of the largest networks, and the rest of `total`.
    fn networks(&self, total: &[f64]) -> (Vec<(RowValue, Points)>, Points) {
        let is_drawn = self.query.stack == Stack::Networks
            && self.query.filters.is_empty()
            && self.query.measure == Measure::Bytes;
        if !is_drawn {
            return (Vec::new(), self.points(&[]));
        }
        let mut sums: BTreeMap<u32, u64> = BTreeMap::new();
        for (part, curve) in self.scopes.values().flat_map(|scope| &scope.parts) {
            if let Part::Network(asn) = part {
                *sums.entry(*asn).or_default() += curve.column.sum();
            }
        }
        let mut largest: Vec<_> = sums.into_iter().collect();
        largest.sort_by_key(|(asn, bytes)| (std::cmp::Reverse(*bytes), *asn));
        let mut rest = total.to_vec();
        let mut curves = Vec::new();
        for (asn, _) in largest.into_iter().take(TOP) {
            let scopes = self.scopes.values();
            let rates = self.rates(scopes.filter_map(|scope| {
                let part = scope.parts.get(&Part::Network(asn))?;
                Some((&part.column, &scope.covered_ms[..]))
            }));
            for (rest, rate) in rest.iter_mut().zip(&rates) {
                *rest = (*rest - rate).max(0.0);
            }
            curves.push((RowValue::Number(asn), self.points(&rates)));
        }
        (curves, self.points(&rest))
    }

    /// Returns the largest rows of the table.
    fn rows(&self, by: StoredTable, selection: &mut ConversationSelection) -> Table {
        let is_stored = matches!(by, StoredTable::Series(_) | StoredTable::Protocol);
        if is_stored && self.query.filters.is_empty() {
            return self.stored_rows(by);
        }
        let sums = selection.rows.take(&self.direction);
        let (lines, max_missing) = (sums.len(), sums.max_missing());
        let largest = sums.largest(self.query.rows).into_iter();
        let rows = largest.map(|(key, sum)| {
            let value = selection.value(by, &key);
            let (asn, country) = match by {
                StoredTable::Host | StoredTable::Prefix => {
                    let labels = selection.labels(sum.detail);
                    (labels.asn, labels.country.as_deref().unwrap_or_default())
                }
                _ => (0, ""),
            };
            let packets = Some(sum.packets);
            (value, sum.bytes, packets, None, asn, country.to_owned())
        });
        Table {
            rows: rows.collect(),
            lines,
            max_missing,
        }
    }

    fn stored_rows(&self, by: StoredTable) -> Table {
        let mut rows: BTreeMap<RowValue, (u64, f32)> = BTreeMap::new();
        for (part, curve) in self.scopes.values().flat_map(|scope| &scope.parts) {
            let Some(value) = value(by, part) else {
                continue;
            };
            let row = rows.entry(value).or_default();
            row.0 = row.0.saturating_add(curve.column.sum());
            // an upper bound if the maxima are not of one time
            row.1 += curve.max;
        }
        let rows = rows.into_iter().filter(|(_, (bytes, _))| *bytes > 0);
        let row = |(value, (bytes, max))| (value, bytes, None, Some(max), 0, String::new());
        let mut rows: Vec<StoredRow> = rows.map(row).collect();
        let lines = rows.len();
        rows.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        rows.truncate(self.query.rows);
        Table {
            rows,
            lines,
            max_missing: 0,
        }
    }
}

/// The largest rows of a table, and the number of all rows.
struct Table {
    rows: Vec<StoredRow>,
    lines: usize,
    max_missing: u64,
}

/// Returns the value of a part in a table; `None` if the table does not have it.
fn value(by: StoredTable, part: &Part) -> Option<RowValue> {
    let kind = match by {
        StoredTable::Series(kind) => kind,
        _ => PartKind::Service,
    };
    if part.kind() != Some(kind) {
        return None;
    }
    Some(match part {
        Part::Network(asn) | Part::Neighbor(asn) => RowValue::Number(*asn),
        Part::Country(code) => RowValue::Text(String::from_utf8_lossy(code).trim_end().to_owned()),
        Part::Prefix(name) => RowValue::Text(name.to_string()),
        Part::Service(protocol, _) if by == StoredTable::Protocol => {
            RowValue::Number((*protocol).into())
        }
        Part::Service(protocol, port) => RowValue::Text(format!("{protocol}/{port}")),
        Part::Total(_) | Part::Rest(_) => return None,
    })
}

/// Returns the first slot and the length of each run without observation.
fn gaps(observed: &[bool]) -> Vec<(usize, usize)> {
    let mut gaps: Vec<(usize, usize)> = Vec::new();
    for (slot, _) in observed.iter().enumerate().filter(|(_, o)| !**o) {
        match gaps.last_mut() {
            Some((first, count)) if *first + *count == slot => *count += 1,
            _ => gaps.push((slot, 1)),
        }
    }
    gaps
}

/// Returns the ASNs of filters, curves and rows.
fn asns(query: &StoredQuery, directions: &[Option<StoredDirection>; 2]) -> BTreeSet<u32> {
    let filters = query.filters.iter().filter_map(|filter| match filter {
        Condition::Asn(_, asn) | Condition::Peer(_, asn) => Some(*asn),
        _ => None,
    });
    let is_asn = matches!(
        query.by,
        Some(StoredTable::Series(PartKind::Network | PartKind::Neighbor))
    );
    let number = |value: &RowValue| match value {
        RowValue::Number(number) => Some(*number),
        RowValue::Text(_) => None,
    };
    let directions = directions.iter().flatten();
    let values = directions.flat_map(|view| {
        let rows = view.rows.iter().flatten();
        let of_rows = rows.flat_map(|row| {
            let value = number(&row.0).filter(|_| is_asn);
            value.into_iter().chain([row.4])
        });
        of_rows.chain(view.curves.iter().filter_map(|(value, _)| number(value)))
    });
    filters.chain(values).filter(|asn| *asn > 0).collect()
}
