// SPDX-License-Identifier: AGPL-3.0-only
//! The content of the page, as JSON: a summary of all interfaces, and the details of one (pure).
//!
//! Units are bytes, seconds, and bytes per second. A line of a table is an array, to keep a
//! thousand of them small: its key, current rate, mean, maximum, current packets per second, bytes
//! and packets in the window, and for a network the peer AS. An AS number of -1 is `other`, 0 is
//! unknown.
//!
//! Without options an answer has everything. `table`, `dir`, `rows`, `sort` and `stack` select what a reader shows, `after`
//! and `seen` what it does not have yet, and `points=packed` makes curves short ([`Points`](super::points::Points)).

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

use super::query::Query;
use super::shown::{shown, uplinks};
use super::talkers::{self, TalkersView};
use super::viewer::{Details, FilteredTraffic, Interface, Viewer, newest_points};
use crate::flow::talkers::TalkerAnswer;
use crate::flow::talkers::filter::Condition;
use crate::history::History;
use crate::history::time_series::{COARSE_TICKS, TICK_SECONDS};
use crate::history::top_table::{MAX_CURVE_BYTES, Scope};
use crate::history::window_totals::Window;
use crate::page::attacks::AttackTable;
use crate::page::local::LocalNetwork;
use crate::page::paths::{PathTable, PathsState};
use crate::page::source_check::SourceTable;
use crate::types::address_detail::AddressDetail;
use crate::types::flow::Direction;

/// The schema version. It changes when an existing field changes its meaning; a new field does not
/// change it.
const SCHEMA: u32 = 1;
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
    /// Whether `page/v2.json` has longer periods.
    stored: bool,
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
    /// The address of the dashboard; empty without one.
    pub dashboard: String,
    /// `None` if sources are not checked.
    pub source_check: Option<SourceTable>,
    /// `None` without the guard.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attacks: Option<AttackTable>,
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

/// Returns the view of `query` as JSON; `agent` is included unchanged.
pub fn render(
    history: &History,
    query: &Query,
    answer: Option<&TalkerAnswer>,
    addresses: AddressDetail,
    agent: &AgentState,
    stored: bool,
) -> Vec<u8> {
    let shown = shown(history, query);
    let viewer = Viewer {
        history,
        window: query.window,
        covered: query.window.covered(history.tick).max(1) as f32,
        measure: query.measure,
        newest: newest_points(history, query),
        table: query.table,
        direction: query.direction,
        order: query.order(),
        stack: query.stack,
        is_packed: query.is_packed,
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
        let details = || viewer.details(&scopes, direction, query);
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
        stored,
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
