// SPDX-License-Identifier: AGPL-3.0-only
//! Wires the agent and contains no logic: load, channels, threads, attach, wait, and the order of a clean stop.

mod bmp;
pub mod commands;
mod control;
mod database_files;
mod derive;
mod error;
mod events;
mod firewall;
mod guard;
mod history;
mod ipfix;
mod kernel_check;
mod labels;
mod links;
mod main_loop;
mod neighbors;
mod page;
mod privilege;
mod reload;
mod rpki;
mod source_check;
mod stale_hooks;
#[cfg_attr(not(feature = "tls"), path = "web_absent.rs")]
mod web;

use std::cell::RefCell;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Instant;

use crossbeam_channel::{Receiver, Sender, bounded};

use crate::attach::thread::Progress;
use crate::bill::current_month::MonthPercentiles;
use crate::bpf::counters::Counters;
use crate::bpf::load::LoadedPrograms;
use crate::bpf::ring::RingReader;
use crate::config::current::CurrentConfig;
use crate::config::{Agent, Config, ConfigSource};
use crate::control::api;
use crate::enrich::mmdb::{self, DatabaseFile, Databases};
use crate::enrich::neighbors::SharedNeighbors;
use crate::enrich::rib::SharedRib;
use crate::enrich::rpki::SharedVrps;
use crate::enrich::source_check::SharedSources;
use crate::enrich::{Enricher, VrfRib};
use crate::firewall::handle::Handle;
use crate::firewall::kept_links::KeptLinks;
use crate::flow::export_queue::ExportSender;
use crate::flow::thread::{self, Request};
use crate::guard::feed::GuardFeed;
use crate::guard::shared::GuardHandle;
use crate::http::Server;
use crate::interfaces::InterfaceRegistry;
use crate::ipfix::collector_stats::CollectorStatsList;
use crate::metrics::collect::{BmpReader, LinkReader, Scrape};
use crate::metrics::problems::ProblemHistory;
use crate::page::Page;
use crate::page::routes::Routes;
use crate::store::event_log;
use crate::store::types::HistoryInput;
use crate::sys::clock::WallClock;
use crate::sys::error_counters::ErrorCounters;
use crate::sys::os_error;
use crate::sys::process::ProcessReader;
use crate::sys::sandbox;
use crate::sys::startup_steps::StartupSteps;
use crate::sys::systemd::Notifier;
use crate::sys::threads::{self, Heartbeat, Threads};
use crate::types::event::EventKind;
use crate::types::flow::FlowRecord;

use bmp::Bmp;
use control::Control;
pub use database_files::{inspect_database, open_files};
pub use error::Error;
use events::EventQueue;
use firewall::{Firewall, FirewallThread};
use guard::PreparedGuard;
use history::DiskHistory;
use ipfix::Export;
pub use kernel_check::check_kernel;
use links::LinksThread;
use main_loop::MainLoop;
use reload::Reconfigurer;
pub use stale_hooks::detach;
use web::Web;
pub use web::check as check_web;

/// Batches of records that wait between thread ring and thread flow; beyond that the ring fills.
const BATCHES: usize = 32;

/// Requests that wait for thread flow.
const REQUESTS: usize = 16;

/// Runs until SIGINT or SIGTERM. `config` was read from `source`, and SIGHUP makes the agent read it again.
/// `kept` has the links of the previous agent, and `steps` receives each step that may wait for something outside.
pub fn run(
    source: &ConfigSource,
    config: &Config,
    kept: KeptLinks,
    steps: StartupSteps,
) -> Result<(), Error> {
    let agent = &config.agent;
    privilege::check()?;
    sandbox::gain_nothing();
    let (mut queue, handle) = EventQueue::new().map_err(Error::Start)?;
    let errors = Arc::new(ErrorCounters::default());
    let live = Arc::new(CurrentConfig::new(config.clone()));
    steps.begin("listing the interfaces");
    let found = links::find(agent, &live.get().patterns, &errors)?;
    steps.begin("reading the databases");
    let databases =
        Databases::open(&derive::databases(&agent.enrich.mmdb)).map_err(Error::Database)?;
    steps.begin("listening for BMP");
    let bmp = Bmp::bind(agent, &errors)?;
    steps.begin("reading the web configuration");
    let web = Web::new(&agent.prometheus, &errors)?;
    steps.begin("listening for HTTP");
    let server = web.guard(bind(agent, &live, &errors, web.scheme())?);
    steps.begin("making the control socket");
    let control = Control::bind(config, &errors)?;
    let settings = derive::load(agent, found.wanted);
    derive::raise_descriptor_limit(agent, settings.slots);
    steps.begin("starting the threads");

    let mut running = Running {
        threads: Arc::new(Threads::new()),
        counters: Arc::default(),
        progress: Arc::default(),
        interfaces: Arc::new(InterfaceRegistry::new(
            settings.slots,
            agent.prometheus.series_ttl,
        )),
        databases: Arc::new(databases),
        neighbors: Arc::default(),
        vrps: Arc::default(),
        sources: Arc::default(),
        live,
        errors,
        problems: Arc::default(),
        history: None,
        month_percentiles: Arc::default(),
        web,
    };
    running.start_web()?;
    running.start_history(agent)?;
    running.watch_databases(derive::databases(&agent.enrich.mmdb))?;
    bmp::assign_vrfs(&running.interfaces, &found.links);
    let rib = bmp.rib();
    running.start_neighbors(agent, &rib)?;
    running.start_rpki(agent)?;
    running.start_source_check(agent, &rib)?;
    let export = Export::default();
    let (export_sender, exporter) = export.prepare(agent);
    let drops = export_sender.as_ref().map(firewall::clone_for_firewall);
    let (guard, feed) = PreparedGuard::prepare(agent)?.unzip();
    let flow = running.start_flow(agent, &rib, export_sender, feed)?;
    if let Some(exporter) = exporter {
        running.start_ipfix(exporter, agent, &rib)?;
    }
    let firewall = Firewall::prepare(agent)?;
    let reader = LinkReader::new(found.socket, found.links.clone());
    let addresses = server.addresses();
    let view = View {
        flows: flow.requests.clone(),
        bmp: bmp.reader(),
        ipfix: export.stats.clone(),
        firewall: firewall.as_ref().map(Firewall::handle),
        guard: guard.as_ref().map(|guard| guard.handle.clone()),
    };
    let guarded = view.firewall.clone();
    let page = running.start_page(agent, view.clone(), &found.links, bmp.rib())?;
    running.start_http(server, view.clone(), reader, page)?;
    let bmp_changes = bmp.changes();
    let _socket = control
        .map(|c| {
            c.start(
                &running,
                &source.file,
                handle.clone(),
                view,
                exporters(&addresses),
                &bmp,
            )
        })
        .transpose()?;
    bmp.start(&running)?;
    steps.begin("loading the firewall");
    // before thread links, because that thread reports when the agent is ready
    let (firewall, traced) = running.start_firewall(firewall, agent, &rib, drops, kept)?;
    steps.begin("loading the BPF programs");
    // serving waits neither for the verifier, about 20 ms a program, nor for the attaching, 13 ms a hook
    let loaded = LoadedPrograms::load(&settings).map_err(Error::Load)?;
    running.start_ring(&loaded, flow.batches, flow.spares)?;
    if let Some(guard) = guard {
        let recorder = running.recorder(&agent.guard, &loaded, traced);
        running.start_guard(guard, guarded, recorder)?;
    }
    let programs = loaded.config().map_err(Error::Maps)?;
    let links = running.start_links(agent, loaded, (found.events, found.links), move || {
        handle.wake();
    })?;
    drop(steps);
    sandbox::drop_capabilities();
    sandbox::refuse_system_calls();
    let mut main_loop = MainLoop {
        running: &running,
        reconfigurer: Reconfigurer {
            source,
            running: &running,
            links: &links,
            flows: flow.requests,
            bmp: bmp_changes,
            rib,
            export,
            programs,
            firewall: firewall.clone(),
        },
        notifier: Notifier::from_environment(),
    };
    queue.open();
    event_log::record(EventKind::Start, env!("RFM_VERSION"));
    let end = main_loop.run(&mut queue);
    let MainLoop {
        reconfigurer,
        mut notifier,
        ..
    } = main_loop;
    drop(reconfigurer);
    running.stop(links, &firewall, &mut notifier);
    end
}

fn bind(
    agent: &Agent,
    live: &Arc<CurrentConfig>,
    errors: &Arc<ErrorCounters>,
    scheme: &str,
) -> Result<Server, Error> {
    let prometheus = &agent.prometheus;
    let server =
        Server::bind(&prometheus.host, prometheus.port, errors.clone()).map_err(Error::Bind)?;
    for address in server.addresses() {
        log::info!("serving {scheme}://{address}/metrics");
    }
    let live = live.clone();
    Ok(server.allow(move |address| {
        let allow = &live.config().agent.prometheus.allow;
        allow.is_empty() || allow.iter().any(|prefix| prefix.contains(address))
    }))
}

/// The other ends of thread flow's channels.
struct FlowEnds {
    batches: Sender<Vec<FlowRecord>>,
    spares: Receiver<Vec<FlowRecord>>,
    requests: Sender<Request>,
}

/// The threads and objects that supply the values for scrapes.
#[derive(Clone)]
struct View {
    flows: Sender<Request>,
    bmp: Option<BmpReader>,
    ipfix: CollectorStatsList,
    firewall: Option<Handle>,
    guard: Option<GuardHandle>,
}

/// The state that all parts share.
struct Running {
    threads: Arc<Threads>,
    /// Set when the programs are loaded.
    counters: Arc<OnceLock<Counters>>,
    progress: Arc<Progress>,
    interfaces: Arc<InterfaceRegistry>,
    databases: Arc<Databases>,
    /// Empty unless thread neighbors runs.
    neighbors: Arc<SharedNeighbors>,
    /// Empty unless thread rpki runs.
    vrps: Arc<SharedVrps>,
    /// Empty unless thread source-check runs.
    sources: Arc<SharedSources>,
    live: Arc<CurrentConfig>,
    errors: Arc<ErrorCounters>,
    problems: Arc<ProblemHistory>,
    /// `None` if the configuration names no folder.
    history: Option<DiskHistory>,
    /// Empty unless `agent.prometheus.p95_series` is set.
    month_percentiles: Arc<MonthPercentiles>,
    web: Web,
}

impl Running {
    /// Starts thread mmdb if a database file is configured.
    fn watch_databases(&self, files: Vec<DatabaseFile>) -> Result<(), Error> {
        if files.is_empty() {
            return Ok(());
        }
        let (databases, errors) = (self.databases.clone(), self.errors.clone());
        self.spawn("mmdb", move |heartbeat| {
            mmdb::run(&databases, &files, &errors, &heartbeat);
        })
    }

    /// Replaces the databases, and restarts thread mmdb with the new files.
    fn replace_databases(&self, opened: Databases, files: Vec<DatabaseFile>) -> Result<(), String> {
        self.threads.stop("mmdb");
        self.databases.replace_all(opened);
        self.watch_databases(files).map_err(|e| e.to_string())
    }

    /// Starts thread flow, and returns the other ends of its channels.
    fn start_flow(
        &self,
        agent: &Agent,
        rib: &SharedRib,
        export_sender: Option<ExportSender>,
        guard: Option<GuardFeed>,
    ) -> Result<FlowEnds, Error> {
        let (batches, records) = bounded(BATCHES);
        let (spare, spares) = bounded(BATCHES);
        let (requests, answers) = bounded(REQUESTS);
        let endpoints = thread::Endpoints {
            records,
            spare,
            requests: answers,
            export_sender,
            history_sender: self.history.as_ref().map(|history| history.sender.clone()),
            guard: guard.map(|guard| Box::new(guard) as _),
        };
        let settings = derive::flow(agent);
        let names = self.interfaces.clone();
        let enricher = self.enricher(agent, rib);
        self.spawn_raised("flow", threads::raise_priority, move |heartbeat| {
            thread::run(&settings, names, enricher, endpoints, &heartbeat);
        })?;
        Ok(FlowEnds {
            batches,
            spares,
            requests,
        })
    }

    /// Returns an enricher with all sources of labels, for one thread.
    fn enricher(&self, agent: &Agent, rib: &SharedRib) -> Enricher {
        let routes = VrfRib::new(rib.clone(), self.interfaces.clone(), &agent.enrich.rib.vrf);
        Enricher::new(
            Some(Box::new(routes)),
            &agent.enrich.prefix,
            self.databases.clone(),
            self.errors.clone(),
        )
        .with_neighbors(self.neighbors.clone())
        .with_vrps(self.vrps.clone())
        .with_sources(self.sources.clone())
        .with_communities(derive::communities(agent))
    }

    /// Starts thread ring, which feeds thread flow, and publishes the counters.
    fn start_ring(
        &self,
        loaded: &LoadedPrograms,
        batches: Sender<Vec<FlowRecord>>,
        spares: Receiver<Vec<FlowRecord>>,
    ) -> Result<(), Error> {
        // only set here, and once
        let _ = self.counters.set(loaded.counters().map_err(Error::Maps)?);
        let reader = RingReader {
            ring: loaded.ring().map_err(Error::Maps)?,
            interfaces: self.interfaces.clone(),
            errors: self.errors.clone(),
            batches,
            spares,
            reader_map: loaded.reader().map_err(Error::Maps)?,
            flow_cache: loaded.flow_cache().map_err(Error::Maps)?,
        };
        self.spawn_raised("ring", threads::raise_to_real_time, move |heartbeat| {
            if let Err(error) = reader.run(&heartbeat) {
                log::error!("thread ring: {}", os_error::reason(&error));
            }
        })
    }

    fn start_http(
        &self,
        server: Server,
        view: View,
        links: LinkReader,
        page: Option<Arc<Page>>,
    ) -> Result<(), Error> {
        let scrape = self.scrape(view, links)?;
        let reads = page.as_ref().and_then(|page| page.deferrer().cloned());
        let liveness = self.liveness();
        // only thread http uses it
        let scrape = Arc::new(Mutex::new(scrape));
        let problems = scrape.clone();
        let routes = Routes::new(
            move |request, out| lock(&scrape).write(request, out),
            move || health(&liveness()),
            move || lock(&problems).read(|input| input.problems.to_vec()),
        )
        .with_page(page);
        self.spawn("http", move |heartbeat| {
            let server = match &reads {
                Some(reads) => server.deferrer(reads),
                None => server,
            };
            server.run(&heartbeat, move |request, _| routes.answer(&request));
        })
    }

    /// Returns all that a thread needs to collect the values of the agent.
    fn scrape(&self, view: View, links: LinkReader) -> Result<Scrape, Error> {
        Ok(Scrape {
            interfaces: self.interfaces.clone(),
            counters: self.counters.clone(),
            live: self.live.clone(),
            flows: view.flows,
            databases: self.databases.clone(),
            vrps: self.vrps.clone(),
            sources: self.sources.clone(),
            bmp: view.bmp,
            ipfix: view.ipfix,
            firewall: view.firewall,
            guard: view.guard,
            errors: self.errors.clone(),
            access: self.web.status(),
            links: RefCell::new(links),
            process: ProcessReader::new().map_err(Error::Start)?,
            clock: RefCell::new(WallClock::new(Instant::now())),
            liveness: Box::new(self.liveness()),
            problems: self.problems.clone(),
            history: self.history.as_ref().map(|history| history.shared.clone()),
            month_percentiles: self.month_percentiles.clone(),
        })
    }

    /// Returns a function that reports stuck threads, and whether all interfaces found at the start are attached.
    fn liveness(&self) -> impl Fn() -> (Vec<&'static str>, bool) + Send + 'static {
        let (threads, progress) = (self.threads.clone(), self.progress.clone());
        move || (threads.unhealthy(), progress.attached())
    }

    /// Starts a thread and drops all its capabilities except those that attaching needs.
    fn spawn(
        &self,
        name: &'static str,
        body: impl FnOnce(Heartbeat) + Send + 'static,
    ) -> Result<(), Error> {
        let confined = move |heartbeat| {
            sandbox::drop_capabilities();
            body(heartbeat);
        };
        self.threads.spawn(name, confined).map_err(Error::Start)
    }

    /// Starts a thread between ring and flow table: `raise` runs while the thread still has the capability.
    fn spawn_raised(
        &self,
        name: &'static str,
        raise: fn(),
        body: impl FnOnce(Heartbeat) + Send + 'static,
    ) -> Result<(), Error> {
        let confined = move |heartbeat| {
            raise();
            sandbox::drop_capabilities();
            body(heartbeat);
        };
        self.threads.spawn(name, confined).map_err(Error::Start)
    }

    /// Stops the agent in order: no program runs, the timers have swept, the ring and the channel are drained,
    /// and only then the maps close.
    ///
    /// The kernel detaches one hook after the other, each in a grace period. With thousands of interfaces this takes
    /// longer than the unit permits, so the agent requests more time from the service manager.
    fn stop(&self, links: LinksThread, firewall: &FirewallThread, notifier: &mut Notifier) {
        event_log::record(EventKind::Stop, "");
        log::info!("stopping");
        self.progress.end();
        let mut waiting = |age| {
            if age < threads::STALL_AFTER {
                notifier.more_time(Instant::now());
            }
        };
        // its rules end with the firewall
        self.threads.stop_with("guard", &mut waiting);
        firewall.end(self, &mut waiting);
        let loaded = links.end(self, &mut waiting);
        if let Some(loaded) = &loaded
            && let Err(error) = sweep_all(loaded)
        {
            log::error!(
                "the last packets of the flow cache are not accounted: {}",
                os_error::reason(&error)
            );
        }
        for name in [
            "page",
            "ring",
            "flow",
            "history",
            "ipfix",
            "control",
            "history-read",
            "http",
            "web",
            "source-check",
            "neighbors",
            "bmp",
            "mmdb",
            "rpki",
            "rtr",
        ] {
            if let Some(history) = self.history.as_ref().filter(|_| name == "history") {
                // the thread waits for messages
                history.sender.send(HistoryInput::Stop);
            }
            self.threads.stop_with(name, &mut waiting);
        }
    }
}

fn lock(scrape: &Mutex<Scrape>) -> MutexGuard<'_, Scrape> {
    scrape.lock().unwrap_or_else(PoisonError::into_inner)
}

fn sweep_all(loaded: &LoadedPrograms) -> io::Result<()> {
    let Some(cache) = loaded.flow_cache()? else {
        return Ok(());
    };
    loaded.config()?.set_stopping()?;
    if cache.wait_swept()? {
        Ok(())
    } else {
        Err(io::Error::from(io::ErrorKind::TimedOut))
    }
}

/// Returns why `/healthz` is 503, from the reply of [`Running::liveness`].
fn health((stuck, attached): &(Vec<&'static str>, bool)) -> Result<(), Vec<String>> {
    let mut reasons: Vec<_> = stuck
        .iter()
        .map(|name| format!("thread {name} does not run"))
        .collect();
    if !attached {
        reasons.push("not all interfaces found at the start are attached".into());
    }
    if reasons.is_empty() {
        Ok(())
    } else {
        Err(reasons)
    }
}

/// Returns the addresses that serve the metrics, for the control socket.
fn exporters(addresses: &[SocketAddr]) -> Vec<api::ExporterStatus> {
    let exporter = |address: &SocketAddr| api::ExporterStatus {
        kind: "prometheus".into(),
        address: address.to_string(),
        records: None,
        dropped_records: None,
    };
    addresses.iter().map(exporter).collect()
}
