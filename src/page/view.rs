// SPDX-License-Identifier: AGPL-3.0-only
//! The content of the page, as JSON: a summary of all interfaces, and the details of one (pure).
//!
//! Units are bytes, seconds, and bytes per second. A line of a table is an array, to keep a
//! thousand of them small: its key, current rate, mean, maximum, current packets per second, bytes
//! and packets in the window, and for a network the peer AS. An AS number of -1 is `other`, 0 is
//! unknown.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

use super::query::{Query, TopTableName};
use super::shown::{shown, uplinks};
use super::talkers::{self, TalkersView};
use crate::flow::talkers::TalkerAnswer;
use crate::flow::talkers::filter::Condition;
use crate::history::string_refs::OTHER;
use crate::history::time_series::{COARSE_TICKS, Measure, POINTS, TICK_SECONDS, TimeSeries};
use crate::history::top_table::{MAX_CURVE_BYTES, Scope, Side, TOP, TopEntry, TopKey, TopKind};
use crate::history::window_totals::{Sums, Window};
use crate::history::{History, InterfaceHistory};
use crate::page::local::LocalNetwork;
use crate::page::paths::{PathTable, PathsState};
use crate::page::source_check::SourceTable;
use crate::types::address_detail::AddressDetail;
use crate::types::flow::{Direction, Family};
use crate::types::named::Named;
use crate::types::role::Role;

/// The schema version. It changes when an existing field changes its meaning; a new field does not
/// change it.
const SCHEMA: u32 = 1;
/// The maximum number of lines of a table.
const ROWS: usize = 1000;
/// The number of points of the small curves in the list of interfaces.
const SPARK_POINTS: usize = 120;

#[derive(Serialize)]
struct View<'a> {
    schema: u32,
    version: &'a str,
    revision: &'a str,
    /// Seconds since the Unix epoch: the last tick, and the start of counting.
    now: f64,
    since: f64,
    /// The number of ticks of `tick_seconds` since then.
    ticks: u64,
    tick_seconds: u64,
    sample_rate: u32,
    window: &'a str,
    /// The period of means and maxima in seconds.
    covered: u64,
    /// Seconds between two points.
    step: u64,
    interfaces: Vec<Interface<'a>>,
    left_out: usize,
    /// The ifindex of the interface shown in detail.
    shown: Option<u32>,
    /// The ifindexes of the uplinks, and whether their sum is shown.
    uplinks: Vec<u32>,
    shows_uplinks: bool,
    /// `full`, `prefix` or `none`: the detail of addresses.
    addresses: AddressDetail,
    talkers: Option<TalkersView<'a>>,
    /// The traffic that the filters select, by direction, if the history has it.
    filtered: Option<[FilteredTraffic; 2]>,
    ingress: Option<Details<'a>>,
    egress: Option<Details<'a>>,
    /// The names of the ASNs above.
    asns: BTreeMap<u32, &'a str>,
    /// The curves have only the points after this tick.
    after: Option<u64>,
    history: Cost,
    /// `None` if AS paths are not counted, or not read yet.
    paths: Option<&'a PathTable>,
    paths_waiting: bool,
    #[serde(flatten)]
    agent: &'a AgentState,
}

/// The state of the agent itself, as the page shows it.
#[derive(Default, Serialize)]
pub struct AgentState {
    /// The families of /metrics about the agent itself.
    pub figures: Value,
    /// `[{"kind": ..., "text": ..., "remedy": ...}]`
    pub problems: Value,
    /// `[{"text": ..., "url": ...}]`: what the licences of the databases in use require.
    pub attributions: Value,
    /// Whether an ASN database is wanted and none is there.
    pub names_missing: bool,
    /// `None` if sources are not checked.
    pub source_check: Option<SourceTable>,
    #[serde(skip)]
    pub paths: PathsState,
    /// The networks of the interfaces.
    #[serde(skip)]
    pub local: Vec<LocalNetwork>,
    /// The names of the ASNs in these tables.
    #[serde(skip)]
    pub asns: BTreeMap<u32, String>,
}

#[derive(Serialize)]
struct Cost {
    lines: usize,
    curves: usize,
    bytes: usize,
    curve_bytes_limit: usize,
    evicted: u64,
}

#[derive(Serialize)]
struct Interface<'a> {
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
    ifindex: u32,
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
    /// The current rate by family.
    families: [f32; Family::ALL.len()],
    bytes_total: u64,
    packets_total: u64,
    spark: Vec<u64>,
}

/// The total of the window, and the curve.
#[derive(Serialize)]
struct FilteredTraffic {
    total: Option<Row<()>>,
    curve: Vec<u64>,
}

type Row<T> = (T, f32, f32, f32, f32, u64, u64);
type Network = (i64, f32, f32, f32, f32, u64, u64, i64);

/// A table is missing if the reader does not show it.
#[derive(Serialize)]
struct Details<'a> {
    /// Curves by family, and of all flows.
    families: Vec<Vec<u64>>,
    flows: Vec<u64>,
    total: Option<Row<()>>,
    networks: Option<Vec<Network>>,
    /// The curves of the top networks: the AS number and the points.
    curves: Vec<(i64, Vec<u64>)>,
    neighbours: Option<Vec<Row<i64>>>,
    countries: Option<Vec<Row<&'a str>>>,
    cities: Option<Vec<Row<&'a str>>>,
    protocols: Option<Vec<Row<i64>>>,
    /// The total number of networks; the table contains the first of them.
    networks_total: usize,
}

/// Returns the view of `query` as JSON; `agent` is included unchanged.
pub fn render(
    history: &History,
    query: &Query,
    answer: Option<&TalkerAnswer>,
    addresses: AddressDetail,
    agent: &AgentState,
) -> Vec<u8> {
    let shown = shown(history, query);
    let viewer = Viewer {
        history,
        window: query.window,
        covered: query.window.covered(history.tick).max(1) as f32,
        measure: query.measure,
        newest: newest_points(history, query),
        table: query.table,
    };
    let mut interfaces: Vec<_> = history
        .interfaces()
        .map(|(number, port)| viewer.interface(number, port))
        .collect();
    interfaces.sort_unstable_by_key(|interface| interface.ifindex);
    let scopes = |direction: Direction| -> Vec<Scope> {
        let counted = shown.iter();
        let counted = counted.filter(|(_, port)| port.observed[direction as usize].is_some());
        let scope = |&(interface, _): &(u16, _)| Scope {
            interface,
            direction,
        };
        counted.map(scope).collect()
    };
    let of = |direction: Direction| {
        let scopes = scopes(direction);
        let details = || viewer.details(&scopes, query.side, query.filters.is_empty());
        (!scopes.is_empty()).then(details)
    };
    let (ingress, egress) = (of(Direction::Ingress), of(Direction::Egress));
    let kind = talkers::history_kind(&query.filters, |text| history.names.find(text));
    let filtered = kind.map(|(kind, value)| {
        Direction::ALL.map(|direction| viewer.filtered(&scopes(direction), kind, value))
    });
    let view = View {
        schema: SCHEMA,
        version: env!("RFM_VERSION"),
        revision: env!("RFM_REVISION"),
        now: history.wall,
        since: history.since,
        ticks: history.tick,
        tick_seconds: TICK_SECONDS,
        sample_rate: history.sample_rate,
        window: query.window.name(),
        covered: query.window.covered(history.tick),
        step: match query.window {
            Window::Hour => TICK_SECONDS,
            Window::Day => TICK_SECONDS * COARSE_TICKS,
        },
        asns: {
            let others = agent.asns.iter().map(|(asn, name)| (*asn, &**name));
            let mut asns = names(history, &query.filters, answer, [&ingress, &egress]);
            asns.extend(others);
            asns
        },
        shown: match query.uplinks {
            true => None,
            false => shown.first().map(|(_, port)| port.ifindex),
        },
        after: query.after.filter(|_| viewer.newest.is_some()),
        uplinks: uplinks(history)
            .iter()
            .map(|(_, port)| port.ifindex)
            .collect(),
        shows_uplinks: query.uplinks,
        addresses,
        talkers: answer.map(|answer| talkers::view(query, answer, &agent.local)),
        filtered,
        interfaces,
        left_out: history.left_out,
        ingress,
        egress,
        history: Cost {
            lines: history.entries.lines(),
            curves: history.entries.curves(),
            bytes: history.bytes(),
            curve_bytes_limit: MAX_CURVE_BYTES,
            evicted: history.entries.evicted(),
        },
        paths: agent.paths.tables().map(|tables| tables.of(query.window)),
        paths_waiting: agent.paths == PathsState::Waiting,
        agent,
    };
    // fails only for maps whose keys are not strings
    serde_json::to_vec(&view).unwrap_or_default()
}

/// Returns the names of all networks and peers in these details, in the filters, and of the talkers.
fn names<'a>(
    history: &'a History,
    filters: &[Condition],
    answer: Option<&'a TalkerAnswer>,
    details: [&Option<Details>; 2],
) -> BTreeMap<u32, &'a str> {
    let details = details.into_iter().flatten();
    let asns = details.flat_map(|details| {
        let networks = details.networks.iter().flatten();
        let networks = networks.flat_map(|row| [row.0, row.7]);
        let curves = details.curves.iter().map(|(asn, _)| *asn);
        let neighbours = details.neighbours.iter().flatten().map(|row| row.0);
        networks.chain(neighbours).chain(curves)
    });
    let known = asns
        .filter_map(|asn| u32::try_from(asn).ok())
        .filter_map(|asn| Some((asn, history.names.asn(asn)?)));
    let talkers = answer.into_iter().flat_map(|answer| &answer.rows);
    let talkers = talkers.filter_map(|row| Some((row.asn, row.asn_name.as_deref()?)));
    let filters = filters.iter().filter_map(|filter| match filter {
        Condition::Asn(_, asn) | Condition::Peer(_, asn) => Some((*asn, history.names.asn(*asn)?)),
        _ => None,
    });
    known.chain(filters).chain(talkers).collect()
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
fn newest_points(history: &History, query: &Query) -> Option<usize> {
    let (after, now) = (query.after?, history.tick);
    let passed = match query.window {
        Window::Hour => now.checked_sub(after)?,
        Window::Day => (now / COARSE_TICKS).checked_sub(after / COARSE_TICKS)?,
    };
    usize::try_from(passed).ok().filter(|n| *n < POINTS / 2)
}

struct Viewer<'a> {
    history: &'a History,
    window: Window,
    covered: f32,
    measure: Measure,
    /// The number of points of each curve, from its end; `None` for all.
    newest: Option<usize>,
    /// The only table of an answer with the newest points.
    table: Option<TopTableName>,
}

impl<'a> Viewer<'a> {
    fn interface(&self, number: u16, port: &'a InterfaceHistory) -> Interface<'a> {
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
            now: tenths(sum(&|e| e.now.0)),
            mean: tenths(sum(&|e| e.sums(window).bytes) / self.covered),
            max: tenths(sum(&|e| e.sums(window).most)),
            packets: tenths(sum(&|e| e.now.1)),
            packets_mean: tenths(sum(&|e| e.sums(window).packets) / self.covered),
            families: families.map(|family| family.map_or(0.0, |entry| tenths(entry.now.0))),
            bytes_total: observed.iter().map(|c| c.bytes).sum(),
            packets_total: observed.iter().map(|c| c.packets).sum(),
            // a reader that has the previous points adds the current rate
            spark: match self.newest {
                None => spark(&self.sum_of_curves(curves)),
                Some(_) => Vec::new(),
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

    /// Returns the details of interfaces; without tables if the reader has filters.
    fn details(&self, scopes: &[Scope], side: Side, with_tables: bool) -> Details<'a> {
        let family = |family: Family| self.merged(scopes, TopKind::Family, family as u32);
        let families = Family::ALL.map(family);
        let flows = self.merged(scopes, TopKind::Flows, 0);
        let mut details = Details {
            families: families.iter().map(|family| self.points(family)).collect(),
            flows: self.points(&flows),
            total: (!flows.curves.is_empty() || flows.sums.bytes > 0.0)
                .then(|| self.row((), &flows)),
            networks: None,
            curves: Vec::new(),
            neighbours: None,
            countries: None,
            cities: None,
            protocols: None,
            networks_total: 0,
        };
        if !with_tables {
            return details;
        }
        let mut networks = self.entries(scopes, TopKind::Asn(side));
        let with_curve = networks.iter().filter(|(_, line)| !line.curves.is_empty());
        details.curves = with_curve
            .take(TOP)
            .map(|(asn, line)| (as_number(*asn), self.points(line)))
            .collect();
        details.networks_total = networks.len();
        networks.truncate(ROWS);
        let names = &self.history.names;
        let text = |value: u32| names.text(value);
        let is_shown =
            |table| self.newest.is_none() || self.table.is_none_or(|shown| shown == table);
        details.networks = is_shown(TopTableName::Networks)
            .then(|| networks.iter().map(|(k, e)| self.network(*k, e)).collect());
        details.neighbours = is_shown(TopTableName::Neighbours)
            .then(|| self.rows(scopes, TopKind::Peer(side), as_number));
        details.countries = is_shown(TopTableName::Countries)
            .then(|| self.rows(scopes, TopKind::Country(side), text));
        details.cities =
            is_shown(TopTableName::Cities).then(|| self.rows(scopes, TopKind::City(side), text));
        details.protocols = is_shown(TopTableName::Protocols)
            .then(|| self.rows(scopes, TopKind::Protocol, as_number));
        details
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
    fn filtered(&self, scopes: &[Scope], kind: TopKind, value: u32) -> FilteredTraffic {
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

    fn rows<T>(&self, scopes: &[Scope], kind: TopKind, what: impl Fn(u32) -> T) -> Vec<Row<T>> {
        let entries = self.entries(scopes, kind).into_iter().take(ROWS);
        entries
            .map(|(value, line)| self.row(what(value), &line))
            .collect()
    }

    fn row<T>(&self, what: T, line: &Merged) -> Row<T> {
        let sums = line.sums;
        let (now, total, most) = match self.measure {
            Measure::Bytes => (line.now.0, sums.bytes, sums.most),
            Measure::Packets => (line.now.1, sums.packets, self.most(line)),
        };
        (
            what,
            tenths(now),
            tenths(total / self.covered),
            tenths(most),
            tenths(line.now.1),
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

    fn points(&self, line: &Merged) -> Vec<u64> {
        let sum = self.sum_of_curves(line.curves.iter().copied());
        let known = self
            .newest
            .map_or(0, |newest| sum.len().saturating_sub(newest));
        sum[known..].iter().map(|rate| *rate as u64).collect()
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

/// Rounds to a tenth, which is precise enough and short.
fn tenths(rate: f32) -> f32 {
    (rate * 10.0).round() / 10.0
}
