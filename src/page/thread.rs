// SPDX-License-Identifier: AGPL-3.0-only
//! THREAD page: makes a reading in each tick.

use std::collections::BTreeMap;
use std::thread::park_timeout;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::{Map, Value, json};

use super::Page;
use super::attacks::AttackTable;
use super::local::LocalReader;
use super::paths::{PathReader, PathTables, PathsState};
use super::source_check::SourceTable;
use super::view::AgentState;
use crate::enrich::mmdb::Databases;
use crate::flow::thread::{Request, ask};
use crate::history::time_series::TICK_SECONDS;
use crate::history::{HistoryReading, InterfaceReading};
use crate::metrics::collect::Scrape;
use crate::metrics::{self, Input, agent};
use crate::netlink::DefaultRoute;
use crate::sys::threads::Heartbeat;
use crate::types::database::DatabaseKind;
use crate::types::problem::Problem;

const TICK: Duration = Duration::from_secs(TICK_SECONDS);
/// The time between two heartbeats.
const BEAT: Duration = Duration::from_secs(2);
/// The time that thread flow has for its answer.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Makes readings until `heartbeat` requests a stop. Skips a tick if thread flow does not answer.
pub fn run(page: &Page, scrape: &Scrape, mut default_route: DefaultRoute, heartbeat: &Heartbeat) {
    let start = Instant::now();
    let mut next = start;
    let mut path_reader = PathReader::default();
    let mut local_reader = LocalReader::default();
    let mut read = |now: Instant| {
        let uplink = default_route.ifindex();
        let paths = path_reader.read(now, page.has_readers(now), || {
            ask(&scrape.flows, TIMEOUT, Request::Paths).ok()
        });
        if let Err(reason) = scrape.read(|input| {
            let interfaces: Vec<_> = input.interfaces.iter().map(interface).collect();
            let reading = reading(start, input, &interfaces, uplink);
            let mut agent = agent_state(input, scrape, &paths);
            let live = scrape.live.get();
            agent.dashboard = live.config.agent.prometheus.dashboard.clone();
            let addresses = live.config.agent.privacy.addresses;
            let guard = scrape.guard.as_ref();
            agent.attacks = guard.map(|guard| AttackTable::new(&guard.lock(), addresses));
            agent.local = local_reader.read(input.interfaces, now);
            page.feed(&reading, agent)
        }) {
            log::debug!("page: {reason}");
        }
    };
    while !heartbeat.stopping() {
        heartbeat.beat();
        let now = Instant::now();
        if now >= next {
            read(now);
            // a late tick does not make the next one early
            next = (next + TICK).max(now + TICK / 2);
            continue;
        }
        park_timeout((next - now).min(BEAT));
    }
    if page.is_recorded() {
        // the traffic since the last tick
        read(Instant::now());
        page.end();
    }
}

fn interface<'a>(interface: &'a metrics::Interface<'a>) -> InterfaceReading<'a> {
    InterfaceReading {
        link: interface.link,
        master: interface.master,
        attach: interface.attach,
        role: interface.role.role,
        provider: &interface.role.provider,
        is_summed: interface.is_summed,
        hooks: [interface.ingress.as_ref(), interface.egress.as_ref()],
    }
}

fn reading<'a>(
    start: Instant,
    input: &'a Input,
    interfaces: &'a [InterfaceReading<'a>],
    uplink: Option<u32>,
) -> HistoryReading<'a> {
    let wall = SystemTime::now().duration_since(UNIX_EPOCH);
    HistoryReading {
        now_ms: start.elapsed().as_millis() as u64,
        wall: wall.map_or(0.0, |since| since.as_secs_f64()),
        interfaces,
        uplink,
        series: &input.flows.series,
        asns: &input.flows.asns,
        sample_rate: input.sample_rate,
    }
}

fn agent_state(input: &Input, scrape: &Scrape, paths: &PathsState) -> AgentState {
    let databases = &scrape.databases;
    let source_check = input
        .source_check
        .then(|| SourceTable::new(&input.flows.sources, &scrape.sources.report()));
    let shown = source_check.iter().flat_map(SourceTable::asns);
    let shown = shown.chain(paths.tables().into_iter().flat_map(PathTables::asns));
    let attributions = databases.attributions().into_iter();
    let problem = |problem: &Problem| {
        json!({
            "kind": problem.kind.name(),
            "text": problem.text,
            "remedy": problem.kind.remedy(),
        })
    };
    AgentState {
        figures: figures(input),
        problems: input.problems.iter().map(problem).collect(),
        attributions: attributions
            .map(|one| json!({ "text": one.text, "url": one.url }))
            .collect(),
        names_missing: databases.is_missing(DatabaseKind::Asn),
        dashboard: String::new(),
        asns: names(databases, shown),
        source_check,
        attacks: None,
        paths: paths.clone(),
        local: Vec::new(),
    }
}

/// Returns the names of these ASNs according to the database.
fn names(databases: &Databases, asns: impl Iterator<Item = u32>) -> BTreeMap<u32, String> {
    let Some(database) = databases.get(DatabaseKind::Asn) else {
        return BTreeMap::new();
    };
    let name = |asn| Some((asn, database.asn_name(asn)?.to_owned()));
    asns.filter_map(name).collect()
}

/// Returns `{"family": [[{"label": "value"}, 1.0]]}`: the families of /metrics that have no sample
/// per interface or series.
fn figures(input: &Input) -> Value {
    let mut figures = Map::new();
    for family in agent::families(input) {
        let samples = family.get_metric().iter().map(|metric| {
            let labels = metric.get_label().iter();
            let labels: Map<_, _> = labels
                .map(|l| (l.name().to_owned(), l.value().into()))
                .collect();
            let value = agent::value(&family, metric);
            Value::Array(vec![labels.into(), value.into()])
        });
        figures.insert(family.name().to_owned(), samples.collect());
    }
    figures.into()
}
