// SPDX-License-Identifier: AGPL-3.0-only
//! Collects the data of one scrape of /metrics, in the order that keeps its values consistent.

use std::cell::RefCell;
use std::collections::HashSet;
use std::io;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant, UNIX_EPOCH};

use crossbeam_channel::Sender;

use super::exposition::{Created, Format};
use super::problems::{Facts, Moment, ProblemHistory};
use super::scrapers::ZeroSince;
use super::{Bmp, Build, GuardCounts, Input, Interface, Rpki};
use crate::bill::current_month::MonthPercentiles;
use crate::bpf::counters::Counters;
use crate::config::Agent;
use crate::config::current::CurrentConfig;
use crate::enrich::bmp::RouterStats;
use crate::enrich::mmdb::Databases;
use crate::enrich::rib::{Rib, SharedRib};
use crate::enrich::rpki::SharedVrps;
use crate::enrich::source_check::SharedSources;
use crate::firewall::handle::Handle;
use crate::flow::snapshot::Snapshot;
use crate::flow::thread::{self, Request};
use crate::guard::shared::GuardHandle;
use crate::http::gate::AccessStatus;
use crate::interfaces::{CounterSnapshot, InterfaceRegistry};
use crate::ipfix::collector_stats::CollectorStatsList;
use crate::metrics;
use crate::netlink::stacked_interfaces::all_stacked;
use crate::netlink::{self, Link, LinkSocket};
use crate::store::shared::SharedHistory;
use crate::sys::clock::{WallClock, WallTimes};
use crate::sys::error_counters::{ErrorCounters, Subsystem};
use crate::sys::logging;
use crate::sys::process::ProcessReader;
use crate::types::counters::HookCounters;
use crate::types::database::DatabaseKind;
use crate::types::flow::Direction;
use crate::types::role::{InterfaceRole, RoleRule};

/// Thread flow answers between two batches; if it exceeds this timeout, it is stuck.
const SNAPSHOT_TIMEOUT: Duration = Duration::from_secs(5);

/// Thread firewall is slow while it reads a hundred thousand rules; then its series are missing in
/// one scrape.
const FIREWALL_TIMEOUT: Duration = Duration::from_secs(2);

/// The data sources of a scrape.
pub struct Scrape {
    pub interfaces: Arc<InterfaceRegistry>,
    /// Not set until the programs are loaded; before that, no interface has counters.
    pub counters: Arc<OnceLock<Counters>>,
    pub live: Arc<CurrentConfig>,
    pub flows: Sender<Request>,
    pub databases: Arc<Databases>,
    pub vrps: Arc<SharedVrps>,
    pub sources: Arc<SharedSources>,
    pub bmp: Option<BmpReader>,
    pub ipfix: CollectorStatsList,
    pub firewall: Option<Handle>,
    /// `None` if the guard is disabled.
    pub guard: Option<GuardHandle>,
    pub errors: Arc<ErrorCounters>,
    pub access: Arc<AccessStatus>,
    pub links: RefCell<LinkReader>,
    pub process: ProcessReader,
    /// Converts the times at which counters began. Created before the first of them.
    pub clock: RefCell<WallClock>,
    /// Reports stuck threads, and whether all interfaces found at the start are attached.
    pub liveness: Box<Liveness>,
    pub problems: Arc<ProblemHistory>,
    /// `None` without a history on disk.
    pub history: Option<Arc<SharedHistory>>,
    pub month_percentiles: Arc<MonthPercentiles>,
}

/// A request for all families.
pub struct ScrapeRequest<'a> {
    /// Returns the format of the answer; the argument is whether OpenMetrics is possible.
    pub format: &'a dyn Fn(bool) -> Format,
    /// Selects the series that this reader gets as 0.
    pub zero_since: &'a ZeroSince<'a>,
    /// The number of scrapers whose state was evicted.
    pub evicted_scrapers: u64,
}

/// Returns the threads that do not run, and whether all interfaces found at the start are attached.
pub type Liveness = dyn Fn() -> (Vec<&'static str>, bool) + Send;

/// The sources of the BMP routers and of their routes.
#[derive(Clone)]
pub struct BmpReader {
    pub router_stats: Arc<RouterStats>,
    pub rib: SharedRib,
}

/// The links as last read: if the kernel does not answer, the scrape shows the previous ones.
pub struct LinkReader {
    socket: LinkSocket,
    last: Vec<Link>,
}

impl LinkReader {
    pub fn new(socket: LinkSocket, last: Vec<Link>) -> Self {
        Self { socket, last }
    }

    fn read(&mut self) -> &[Link] {
        // the socket has counted and logged the error
        if let Ok(links) = self.socket.dump() {
            self.last = links;
        }
        &self.last
    }
}

impl BmpReader {
    fn read(&self) -> Bmp {
        let read = |rib: &Rib| (rib.counts(), rib.blackholes_refused());
        let (counts, blackholes_refused) = self.rib.read(read);
        Bmp {
            routers: self.router_stats.routers(),
            errors: self.router_stats.error_counts().collect(),
            counts,
            blackholes_refused,
        }
    }
}

impl Scrape {
    /// Appends all families, and returns their format.
    pub fn write(&self, request: &ScrapeRequest, out: &mut Vec<u8>) -> Result<Format, String> {
        let start = Instant::now();
        let mut flows = self.snapshot()?;
        if let Some(since_ms) = (request.zero_since)(flows.at_ms) {
            flows.start_at_zero(since_ms);
        }
        self.gather(&flows, |input, _| {
            let format = (request.format)(input.fits_openmetrics());
            let input = Input {
                evicted_scrapers: request.evicted_scrapers,
                ..*input
            };
            metrics::render(format, &input, || start.elapsed(), out);
            Ok(format)
        })
    }

    /// Collects the data and passes it to `body`.
    pub fn read<T>(&self, body: impl FnOnce(&Input) -> T) -> Result<T, String> {
        // promise 3, flows + dropped ≤ sampled, holds in each answer only if they are read in this
        // order; of a hook's counters the kernel copies `dropped` before `sampled`
        let flows = self.snapshot()?;
        Ok(self.gather(&flows, |input, _| body(input)))
    }

    /// Collects everything except the flows, which were read before, and passes it to `use_it` with
    /// all existing links.
    pub fn gather<T>(&self, flows: &Snapshot, use_it: impl FnOnce(&Input, &[Link]) -> T) -> T {
        let mut reader = self.links.borrow_mut();
        let links = reader.read();
        let snapshot = self.interfaces.snapshot();
        let in_force = self.live.get();
        let mut clock = self.clock.borrow_mut();
        let times = clock.times();
        let created = |began| times.wall_ms(clock.ms(began));
        let (mut interfaces, all_hooks) = self.interfaces(&snapshot, links, &created);
        set_roles(&mut interfaces, &in_force.config.agent.interface);
        let agent = &in_force.config.agent;
        let parse_errors = self.parse_errors();
        let bmp = self.bmp.as_ref().map(BmpReader::read);
        let firewall = self.firewall.as_ref();
        let firewall = firewall.and_then(|firewall| firewall.report(FIREWALL_TIMEOUT).ok());
        let guard = self.guard.as_ref();
        let guard = guard.map(|guard| GuardCounts::from(&*guard.lock()));
        let names = links.iter().map(|link| (link.name.as_str(), link.loopback));
        let input = Input {
            interfaces: &interfaces,
            all_hooks,
            pattern_matches: &in_force.patterns.counts(names),
            flows,
            flow_gauges: agent.prometheus.flow_gauges,
            peer_series: agent.prometheus.peer_series,
            source_check: agent.enrich.source_check.enabled(),
            sample_rate: agent.bpf.sample_rate,
            overload_rate: self.overload_rate(),
            databases: &self.databases.build_times(),
            rpki: self.rpki(agent),
            bmp: bmp.as_ref(),
            ipfix: &self.ipfix.all(),
            firewall: firewall.as_ref(),
            guard: guard.as_ref(),
            history: self.history.as_ref().map(|history| &history.counters),
            month_percentiles: &self.month_percentiles.get(),
            errors: &self.errors,
            http_auth_failures: self.access.failures(),
            dropped_log_lines: logging::dropped(),
            parse_errors: &parse_errors,
            build: Build {
                version: env!("RFM_VERSION"),
                revision: env!("RFM_REVISION"),
            },
            reload: in_force.reload,
            problems: &[],
            process: self.process.read().ok(),
            evicted_scrapers: 0,
            started_ms: self.started_ms(times),
        };
        let facts = self.facts(agent);
        let problems = self.problems.problems(&input, &facts, Moment::now());
        let input = Input {
            problems: &problems,
            ..input
        };
        use_it(&input, links)
    }

    /// Returns what the problems depend on, beyond the metrics.
    fn facts(&self, agent: &Agent) -> Facts {
        let (stuck_threads, attached) = (self.liveness)();
        let kinds = DatabaseKind::ALL.into_iter();
        let missing = kinds.filter_map(|kind| self.databases.path(kind));
        let missing = missing.filter(|path| !path.exists());
        Facts {
            stuck_threads,
            attached,
            not_attached: self.interfaces.problem(),
            state_file: self.firewall.as_ref().and_then(Handle::problem),
            missing_databases: missing.map(|path| path.display().to_string()).collect(),
            broken_databases: self.databases.problems(),
            web_config: self.access.problem(),
            open_port: match self.access.is_protected() {
                true => None,
                false => agent.prometheus.open_port(),
            },
            vrps: self.vrps.problem(),
            history: self.history.as_ref().and_then(|history| history.problem()),
        }
    }

    /// Returns the VRPs in use, if some are configured.
    fn rpki(&self, agent: &Agent) -> Option<Rpki> {
        if !agent.enrich.rpki.enabled() {
            return None;
        }
        let Some(used) = self.vrps.get() else {
            return Some(Rpki::default());
        };
        let updated = used.updated.duration_since(UNIX_EPOCH);
        Some(Rpki {
            vrps: used.table.counts(),
            updated: updated.map_or(0, |updated| updated.as_secs()),
        })
    }

    /// Returns all links that exist now.
    pub fn links(&self) -> Vec<Link> {
        self.links.borrow_mut().read().to_vec()
    }

    fn snapshot(&self) -> Result<Snapshot, String> {
        thread::snapshot(&self.flows, SNAPSHOT_TIMEOUT)
            .ok_or_else(|| "thread flow does not answer".into())
    }

    /// Returns the monitored interfaces that exist, and the sum over all current and former hooks.
    fn interfaces<'a>(
        &self,
        snapshot: &'a CounterSnapshot,
        links: &'a [Link],
        created: &dyn Fn(Instant) -> Created,
    ) -> (Vec<Interface<'a>>, HookCounters) {
        let mut all_hooks = snapshot.removed_hooks(|slot, direction| self.kernel(slot, direction));
        let now = Instant::now();
        let mut interfaces: Vec<Interface<'a>> = Vec::with_capacity(snapshot.monitored.len());
        for monitored in &snapshot.monitored {
            let [ingress, egress] = Direction::ALL.map(|direction| {
                let kernel = self.kernel(monitored.slot, direction)?;
                all_hooks += monitored.own(direction, kernel);
                let total = monitored.total(direction, kernel);
                monitored.has_hook[direction as usize].then_some(total)
            });
            let Some(link) = netlink::find(links, monitored.ifindex) else {
                continue;
            };
            interfaces.push(Interface {
                name: &monitored.name,
                link,
                master: netlink::master_of(link, links),
                attach: monitored.attach,
                role: InterfaceRole::default(),
                is_summed: true,
                ingress,
                egress,
                created_ms: created(monitored.created),
                assigned_ms: created(monitored.assigned),
                removals: monitored.removals,
                problems: monitored.problems(now),
            });
        }
        let unmonitored = snapshot.unmonitored.iter().filter_map(|failed| {
            let link = netlink::find(links, failed.ifindex)?;
            Some(Interface {
                name: &failed.name,
                link,
                master: netlink::master_of(link, links),
                attach: "none",
                role: InterfaceRole::default(),
                is_summed: true,
                ingress: None,
                egress: None,
                created_ms: None,
                assigned_ms: None,
                removals: Default::default(),
                problems: Vec::new(),
            })
        });
        interfaces.extend(unmonitored);
        // if the events of a rename arrive out of order, two interfaces may briefly have the same
        // name
        let mut names = HashSet::new();
        interfaces.retain(|interface| names.insert(interface.name));
        (interfaces, all_hooks)
    }

    /// Returns the start time of the process, unless the wall clock has stepped since.
    fn started_ms(&self, times: WallTimes) -> Created {
        let started_ms = (self.process.start_time() * 1000.0) as u64;
        times.is_from_start().then_some(started_ms)
    }

    fn kernel(&self, slot: u32, direction: Direction) -> Option<HookCounters> {
        self.counters
            .get()?
            .hook(slot, direction)
            .inspect_err(|error| self.unreadable(error))
            .ok()
    }

    fn parse_errors(&self) -> Vec<(&'static str, u64)> {
        let Some(counters) = self.counters.get() else {
            return Vec::new();
        };
        counters
            .parse_errors()
            .inspect_err(|error| self.unreadable(error))
            .map_or_else(|_| Vec::new(), Vec::from)
    }

    fn overload_rate(&self) -> u32 {
        let read = self.counters.get().map(Counters::overload_rate);
        let read = read.transpose().inspect_err(|error| self.unreadable(error));
        read.ok().flatten().unwrap_or(1)
    }

    fn unreadable(&self, error: &io::Error) {
        self.errors
            .count_and_log(Subsystem::BpfMap, "read", || error.to_string());
    }
}

fn set_roles(interfaces: &mut [Interface], rules: &[RoleRule]) {
    let stacked = all_stacked(interfaces.iter().map(|interface| interface.link));
    for interface in interfaces {
        let link = interface.link;
        let role = InterfaceRole::of(rules, interface.name, link.loopback, &link.alias);
        interface.is_summed = !role.is_internal() && !stacked.contains(&link.ifindex);
        interface.role = role;
    }
}
