// SPDX-License-Identifier: AGPL-3.0-only
//! The figures of interfaces and of their tables, from the history (pure).

use std::collections::BTreeMap;

use serde::Serialize;

use super::order::{RowOrder, brief};
use super::points::Points;
use super::query::{Query, Stack, TopTableName};
use crate::history::string_refs::OTHER;
use crate::history::time_series::{COARSE_TICKS, Measure, POINTS, TimeSeries};
use crate::history::top_table::{Scope, Side, TOP, TopEntry, TopKey, TopKind};
use crate::history::window_totals::{Sums, Window};
use crate::history::{History, InterfaceHistory};
use crate::types::flow::{Direction, Family};
use crate::types::named::Named;
use crate::types::role::Role;

/// The maximum number of lines of a table.
const ROWS: usize = 1000;
/// The number of points of the small curves in the list of interfaces.
const SPARK_POINTS: usize = 120;

#[derive(Serialize)]
pub(super) struct Interface<'a> {
    name: &'a str,
    alias: &'a str,
    kind: &'a str,
    master: &'a str,
    attach: &'a str,
    /// Empty if it is unknown.
    role: &'static str,
    provider: &'a str,
    /// Whether sums over interfaces include it.
    summed: bool,
    pub ifindex: u32,
    speed: Option<u64>,
    ingress: Option<Crossing>,
    egress: Option<Crossing>,
}

/// From the interface's counters, which count every packet.
#[derive(Serialize)]
struct Crossing {
    now: f32,
    mean: f32,
    /// The sum of the families' maxima, which need not occur in one tick: an upper bound, exact if
    /// one family dominates.
    max: f32,
    packets: f32,
    packets_mean: f32,
    /// The current rate by family; `None` for the page.
    families: Option<[f32; Family::ALL.len()]>,
    bytes_total: u64,
    packets_total: u64,
    spark: Points,
}

/// The total of the window, and the curve.
#[derive(Serialize)]
pub(super) struct FilteredTraffic {
    total: Option<Row<()>>,
    curve: Points,
}

type Row<T> = (T, f32, f32, f32, f32, u64, u64);
type Network = (i64, f32, f32, f32, f32, u64, u64, i64);

/// A table is missing if the reader does not show it.
#[derive(Serialize)]
pub(super) struct Details<'a> {
    /// Curves by family, and of all flows; none that the reader does not draw.
    families: Vec<Points>,
    flows: Points,
    /// The flows without the networks of `curves`.
    rest: Points,
    total: Option<Row<()>>,
    pub networks: Option<Vec<Network>>,
    /// The curves of the top networks: the AS number and the points.
    pub curves: Vec<(i64, Points)>,
    pub neighbours: Option<Vec<Row<i64>>>,
    countries: Option<Vec<Row<&'a str>>>,
    cities: Option<Vec<Row<&'a str>>>,
    protocols: Option<Vec<Row<i64>>>,
    /// The total number of networks; the table contains the first of them.
    networks_total: usize,
    /// Whether the AS of any network is known.
    has_networks: bool,
    /// The number of lines that the selected table has, with those that the reader does not show.
    lines: usize,
}

/// The sum of the lines of one value, of several interfaces.
#[derive(Default)]
struct Merged<'a> {
    now: (f32, f32),
    sums: Sums,
    /// The peer of the largest line.
    peer: u32,
    largest: f32,
    curves: Vec<&'a TimeSeries>,
}

impl<'a> Merged<'a> {
    fn add(&mut self, entry: &'a TopEntry, window: Window) {
        let sums = entry.sums(window);
        self.now.0 += entry.now.0;
        self.now.1 += entry.now.1;
        self.sums.bytes += sums.bytes;
        self.sums.packets += sums.packets;
        // an upper bound if the maxima are not of one tick
        self.sums.most += sums.most;
        if sums.bytes >= self.largest {
            (self.peer, self.largest) = (entry.peer, sums.bytes);
        }
        self.curves.extend(entry.curve.as_deref());
    }
}

/// Returns the number of points that a reader does not have yet; `None` if the answer has all points.
pub(super) fn newest_points(history: &History, query: &Query) -> Option<usize> {
    let (after, now) = (query.after?, history.tick);
    let passed = match query.window {
        Window::Hour => now.checked_sub(after)?,
        Window::Day => (now / COARSE_TICKS).checked_sub(after / COARSE_TICKS)?,
    };
    usize::try_from(passed).ok().filter(|n| *n < POINTS / 2)
}

pub(super) struct Viewer<'a> {
    pub history: &'a History,
    pub window: Window,
    pub covered: f32,
    pub measure: Measure,
    /// The number of points of each curve, from its end; `None` for all.
    pub newest: Option<usize>,
    /// The only table that the reader shows, and its direction.
    pub table: Option<TopTableName>,
    pub direction: Option<Direction>,
    /// The lines of the table that the reader shows; `None` for all.
    pub order: Option<RowOrder>,
    /// The curves that the reader draws; `None` for all.
    pub stack: Option<Stack>,
    pub is_packed: bool,
}

impl<'a> Viewer<'a> {
    pub fn interface(&self, number: u16, port: &'a InterfaceHistory) -> Interface<'a> {
        let [ingress, egress] = Direction::ALL.map(|direction| {
            let scope = Scope {
                interface: number,
                direction,
            };
            self.crossing(scope, port)
        });
        Interface {
            name: &port.name,
            alias: &port.alias,
            kind: &port.kind,
            master: &port.master,
            attach: &port.attach,
            role: port.role.map_or("", Role::name),
            provider: &port.provider,
            summed: port.is_summed,
            ifindex: port.ifindex,
            speed: port.speed_bytes,
            ingress,
            egress,
        }
    }

    fn crossing(&self, scope: Scope, port: &InterfaceHistory) -> Option<Crossing> {
        let observed = port.observed[scope.direction as usize]?;
        let families = self.families(scope);
        let sum = |figure: &dyn Fn(&TopEntry) -> f32| -> f32 {
            families.iter().flatten().map(|entry| figure(entry)).sum()
        };
        let window = self.window;
        let curves = families.iter().flatten().filter_map(|e| e.curve.as_deref());
        Some(Crossing {
            now: brief(sum(&|e| e.now.0)),
            mean: brief(sum(&|e| e.sums(window).bytes) / self.covered),
            max: brief(sum(&|e| e.sums(window).most)),
            packets: brief(sum(&|e| e.now.1)),
            packets_mean: brief(sum(&|e| e.sums(window).packets) / self.covered),
            families: self
                .stack
                .is_none()
                .then(|| families.map(|family| family.map_or(0.0, |entry| brief(entry.now.0)))),
            bytes_total: observed.iter().map(|c| c.bytes).sum(),
            packets_total: observed.iter().map(|c| c.packets).sum(),
            // a reader that has the previous points adds the current rate
            spark: match self.newest {
                None => self.pack(spark(&self.sum_of_curves(curves)).into_iter()),
                Some(_) => self.pack(std::iter::empty()),
            },
        })
    }

    fn families(&self, scope: Scope) -> [Option<&'a TopEntry>; Family::ALL.len()] {
        Family::ALL.map(|family| {
            self.history.entries.get(&TopKey {
                scope,
                kind: TopKind::Family,
                value: family as u32,
            })
        })
    }

    /// Returns the details of interfaces in one direction; without tables if the reader has filters.
    pub fn details(&self, scopes: &[Scope], direction: Direction, query: &Query) -> Details<'a> {
        let side = query.side;
        let with_tables = query.filters.is_empty();
        let draws = |stack| self.stack.is_none_or(|drawn| drawn == stack);
        let family = |family: Family| self.merged(scopes, TopKind::Family, family as u32);
        let families = Family::ALL.map(family);
        let flows = self.merged(scopes, TopKind::Flows, 0);
        let none = || self.pack(std::iter::empty());
        let mut details = Details {
            families: match draws(Stack::Family) {
                true => families.iter().map(|family| self.points(family)).collect(),
                false => Vec::new(),
            },
            flows: match self.stack {
                None => self.points(&flows),
                Some(_) => none(),
            },
            rest: none(),
            total: (!flows.curves.is_empty() || flows.sums.bytes > 0.0)
                .then(|| self.row((), &flows)),
            networks: None,
            curves: Vec::new(),
            neighbours: None,
            countries: None,
            cities: None,
            protocols: None,
            networks_total: 0,
            has_networks: false,
            lines: 0,
        };
        if !with_tables {
            return details;
        }
        let networks = self.entries(scopes, TopKind::Asn(side));
        if draws(Stack::Networks) {
            let with_curve = networks.iter().filter(|(_, line)| !line.curves.is_empty());
            let top: Vec<_> = with_curve.take(TOP).collect();
            let curves = top
                .iter()
                .map(|(asn, line)| (as_number(*asn), self.points(line)));
            details.curves = curves.collect();
            details.rest = self.rest(&flows, top.iter().map(|(_, line)| line));
        }
        details.networks_total = networks.len();
        details.has_networks = networks.iter().any(|(asn, _)| *asn != 0 && *asn != OTHER);
        if self.direction.is_none_or(|shown| shown == direction) {
            self.tables(scopes, side, networks, &mut details);
        }
        details
    }

    /// Fills in the tables that the reader shows.
    fn tables(
        &self,
        scopes: &[Scope],
        side: Side,
        mut networks: Vec<(u32, Merged<'a>)>,
        details: &mut Details<'a>,
    ) {
        let names = &self.history.names;
        let text = |value: u32| names.text(value);
        let is_shown = |table| self.table.is_none_or(|shown| shown == table);
        if is_shown(TopTableName::Networks) {
            networks.truncate(ROWS);
            details.lines = networks.len();
            let mut rows = networks.iter().map(|(k, e)| self.network(*k, e)).collect();
            if let Some(order) = self.order {
                order.apply(&mut rows, |row: &Network| {
                    (row.1, row.2, row.3, row.4, row.5, row.6)
                });
            }
            details.networks = Some(rows);
        }
        let lines = &mut details.lines;
        if is_shown(TopTableName::Neighbours) {
            details.neighbours = Some(self.rows(scopes, TopKind::Peer(side), as_number, lines));
        }
        if is_shown(TopTableName::Countries) {
            details.countries = Some(self.rows(scopes, TopKind::Country(side), text, lines));
        }
        if is_shown(TopTableName::Cities) {
            details.cities = Some(self.rows(scopes, TopKind::City(side), text, lines));
        }
        if is_shown(TopTableName::Protocols) {
            details.protocols = Some(self.rows(scopes, TopKind::Protocol, as_number, lines));
        }
    }

    /// Returns the sum of one line over interfaces.
    fn merged(&self, scopes: &[Scope], kind: TopKind, value: u32) -> Merged<'a> {
        let mut merged = Merged::default();
        for &scope in scopes {
            let key = TopKey { scope, kind, value };
            if let Some(entry) = self.history.entries.get(&key) {
                merged.add(entry, self.window);
            }
        }
        merged
    }

    /// Returns the traffic that a filter selects.
    pub fn filtered(&self, scopes: &[Scope], kind: TopKind, value: u32) -> FilteredTraffic {
        let merged = self.merged(scopes, kind, value);
        FilteredTraffic {
            total: (merged.sums.bytes > 0.0).then(|| self.row((), &merged)),
            curve: self.points(&merged),
        }
    }

    /// Returns the lines with traffic in the window, largest first.
    fn entries(&self, scopes: &[Scope], kind: TopKind) -> Vec<(u32, Merged<'a>)> {
        let mut merged: BTreeMap<u32, Merged<'a>> = BTreeMap::new();
        for &scope in scopes {
            let of_kind = self.history.entries.of(scope);
            for (key, entry) in of_kind.filter(|(key, _)| key.kind == kind) {
                merged.entry(key.value).or_default().add(entry, self.window);
            }
        }
        let merged = merged.into_iter();
        let mut entries: Vec<_> = merged.filter(|(_, line)| line.sums.bytes > 0.0).collect();
        entries.sort_by(|(_, a), (_, b)| b.sums.bytes.total_cmp(&a.sums.bytes));
        entries
    }

    /// Returns the lines of a table, and stores how many there are.
    fn rows<T>(
        &self,
        scopes: &[Scope],
        kind: TopKind,
        what: impl Fn(u32) -> T,
        lines: &mut usize,
    ) -> Vec<Row<T>> {
        let entries = self.entries(scopes, kind).into_iter().take(ROWS);
        let rows = entries.map(|(value, line)| self.row(what(value), &line));
        let mut rows: Vec<_> = rows.collect();
        *lines = rows.len();
        if let Some(order) = self.order {
            order.apply(&mut rows, |row| (row.1, row.2, row.3, row.4, row.5, row.6));
        }
        rows
    }

    fn row<T>(&self, what: T, line: &Merged) -> Row<T> {
        let sums = line.sums;
        let (now, total, most) = match self.measure {
            Measure::Bytes => (line.now.0, sums.bytes, sums.most),
            Measure::Packets => (line.now.1, sums.packets, self.most(line)),
        };
        (
            what,
            brief(now),
            brief(total / self.covered),
            brief(most),
            brief(line.now.1),
            sums.bytes as u64,
            sums.packets as u64,
        )
    }

    /// Returns the largest point of the curves; NaN, which is null in JSON, if there is no curve.
    fn most(&self, line: &Merged) -> f32 {
        let sum = self.sum_of_curves(line.curves.iter().copied());
        sum.into_iter().fold(f32::NAN, f32::max)
    }

    fn network(&self, asn: u32, line: &Merged) -> Network {
        let (asn, now, mean, max, packets_now, bytes, packets) = self.row(as_number(asn), line);
        let peer = as_number(line.peer);
        (asn, now, mean, max, packets_now, bytes, packets, peer)
    }

    fn points(&self, line: &Merged) -> Points {
        self.end_of(&self.sum_of_curves(line.curves.iter().copied()))
    }

    /// Returns the flows that none of these lines has.
    fn rest<'m>(&self, flows: &Merged, top: impl Iterator<Item = &'m Merged<'a>>) -> Points
    where
        'a: 'm,
    {
        let mut rest = self.sum_of_curves(flows.curves.iter().copied());
        let top = self.sum_of_curves(top.flat_map(|line| line.curves.iter().copied()));
        for (rest, top) in rest.iter_mut().rev().zip(top.iter().rev()) {
            *rest = (*rest - top).max(0.0);
        }
        self.end_of(&rest)
    }

    /// Returns the points that the reader does not have.
    fn end_of(&self, rates: &[f32]) -> Points {
        let known = self
            .newest
            .map_or(0, |newest| rates.len().saturating_sub(newest));
        self.pack(rates[known..].iter().map(|rate| *rate as u64))
    }

    fn pack(&self, rates: impl Iterator<Item = u64>) -> Points {
        Points::new(rates, self.is_packed)
    }

    fn rates<'c>(&self, curve: &'c TimeSeries) -> Box<dyn ExactSizeIterator<Item = f32> + 'c> {
        match self.window {
            Window::Hour => Box::new(curve.hour(self.measure)),
            Window::Day => Box::new(curve.day(self.measure)),
        }
    }

    /// Returns the sum of curves, which end at the same time.
    fn sum_of_curves<'c>(&self, curves: impl Iterator<Item = &'c TimeSeries>) -> Vec<f32> {
        let mut sum: Vec<f32> = Vec::new();
        for curve in curves {
            let rates = self.rates(curve);
            let missing = rates.len().saturating_sub(sum.len());
            sum.splice(0..0, std::iter::repeat_n(0.0, missing));
            let shift = sum.len() - rates.len();
            for (sum, rate) in sum[shift..].iter_mut().zip(rates) {
                *sum += rate;
            }
        }
        sum
    }
}

/// Returns means of groups of points; a full curve gives [`SPARK_POINTS`].
fn spark(rates: &[f32]) -> Vec<u64> {
    let each = crate::history::time_series::POINTS / SPARK_POINTS;
    let groups = rates.rchunks(each);
    let means = groups.map(|g| (g.iter().sum::<f32>() / g.len() as f32) as u64);
    let mut points: Vec<_> = means.collect();
    points.reverse();
    points
}

fn as_number(value: u32) -> i64 {
    match value {
        OTHER => -1,
        value => value.into(),
    }
}
