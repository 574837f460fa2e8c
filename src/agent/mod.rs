// SPDX-License-Identifier: AGPL-3.0-only
//! Wiring only: load, channels, threads, attach, wait, and the order of a clean stop.

mod bmp;
mod error;
mod privilege;
mod settings;
mod signals;

use std::cell::RefCell;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crossbeam_channel::{Receiver, Sender, bounded};
use rustix::thread::CapabilitySet;

use crate::bpf::attach::{self, HookKind};
use crate::bpf::counters::Counters;
use crate::bpf::load::Loaded;
use crate::bpf::ring::RingReader;
use crate::config::{Agent, Config, Mmdb};
use crate::enrich::Enricher;
use crate::enrich::mmdb::{self, Databases};
use crate::errors::Errors;
use crate::export::http::Server;
use crate::export::metrics::Reload;
use crate::export::routes::Routes;
use crate::export::scrape::{BmpReader, LinkReader, Scrape};
use crate::flow::key::{Direction, FlowRecord};
use crate::flow::worker::{self, Request};
use crate::interfaces::Interfaces;
use crate::links::watcher::{Plan, Watcher};
use crate::links::{Link, LinkSocket};
use crate::memory;
use crate::process::ProcessReader;
use crate::threads::{self, Heartbeat, Threads};

use bmp::Bmp;
pub use error::Error;
use settings::is_forced;
use signals::SignalPipe;

/// How often the threads are looked after.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// Batches of records between thread ring and thread flow; beyond that the ring fills.
const BATCHES: usize = 32;

/// Requests that wait for thread flow.
const REQUESTS: usize = 16;

/// Runs until SIGINT or SIGTERM.
pub fn run(config: &Config) -> Result<(), Error> {
    let agent = &config.agent;
    privilege::check()?;
    let mut signals = SignalPipe::new().map_err(Error::Start)?;
    let errors = Arc::new(Errors::default());
    let mut socket = LinkSocket::new(errors.clone());
    let links = socket.dump().map_err(Error::Links)?;
    let found = find(agent, &links)?;
    let databases = Databases::open(&agent.enrich.mmdb).map_err(Error::Database)?;
    let bmp = Bmp::bind(&agent.enrich.rib, &errors)?;
    let server = bind(agent, &errors)?;
    let settings = settings::load(agent, found.len());

    let running = Running {
        threads: Arc::new(Threads::new()),
        counters: Arc::default(),
        attached: Arc::new(AtomicBool::new(false)),
        interfaces: Arc::new(Interfaces::new(settings.slots)),
        databases: Arc::new(databases),
        errors,
    };
    running.watch_databases(&agent.enrich.mmdb)?;
    bmp::assign_vrfs(&running.interfaces, &links);
    let flow = running.start_flow(agent, &bmp)?;
    let reader = LinkReader::new(socket, links.clone());
    running.start_http(agent, server, flow.requests, reader, bmp.reader())?;
    bmp.start(&running)?;
    // serving waits neither for the verifier, some 20 ms a program, nor for the attaching, 13 ms a hook
    let loaded = Loaded::load(&settings).map_err(Error::Load)?;
    running.start_ring(&loaded, flow.batches, flow.spares)?;
    let watcher = running.attach(agent, loaded, &found);
    memory::forget_startup_code();
    let end = running.wait(&mut signals);
    running.stop(watcher);
    end
}

/// Removes the clsact filters that a killed run left on this machine's interfaces.
pub fn detach() -> Result<(), Error> {
    // to ask the kernel for a program by its number is an administrator's right
    if !privilege::have(CapabilitySet::NET_ADMIN | CapabilitySet::SYS_ADMIN)? {
        return Err(Error::Privilege("CAP_NET_ADMIN and CAP_SYS_ADMIN"));
    }
    // libbpf prints a line for each place where there is nothing
    libbpf_rs::set_print(None);
    let links = LinkSocket::new(Arc::default())
        .dump()
        .map_err(Error::Links)?;
    for link in &links {
        for direction in Direction::ALL {
            let count = attach::detach_leftovers(link.ifindex, direction);
            if count > 0 {
                log::info!(
                    "{}: removed {count} filter at {}",
                    link.name,
                    direction.name()
                );
            }
        }
    }
    Ok(())
}

fn find<'a>(agent: &Agent, links: &'a [Link]) -> Result<Vec<&'a Link>, Error> {
    let patterns = agent.patterns();
    let found: Vec<_> = links
        .iter()
        .filter(|link| patterns.matches(&link.name, link.loopback))
        .collect();
    if found.is_empty() {
        if agent.require_interface {
            let names: Vec<_> = links.iter().map(|link| link.name.as_str()).collect();
            let present = names.join(", ");
            return Err(Error::NoInterface { present });
        }
        log::warn!("agent.interfaces matches no interface that is present now");
    }
    Ok(found)
}

fn bind(agent: &Agent, errors: &Arc<Errors>) -> Result<Server, Error> {
    let prometheus = &agent.prometheus;
    let server =
        Server::bind(&prometheus.host, prometheus.port, errors.clone()).map_err(Error::Bind)?;
    for address in server.addresses() {
        log::info!("serving http://{address}/metrics");
    }
    if prometheus.allow.is_empty() {
        return Ok(server);
    }
    let allow = prometheus.allow.clone();
    Ok(server.allow(move |address| allow.iter().any(|prefix| prefix.contains(address))))
}

/// The other ends of thread flow's channels.
struct FlowEnds {
    batches: Sender<Vec<FlowRecord>>,
    spares: Receiver<Vec<FlowRecord>>,
    requests: Sender<Request>,
}

/// What the parts share.
struct Running {
    threads: Arc<Threads>,
    /// Set when the programs are loaded.
    counters: Arc<OnceLock<Counters>>,
    /// The interfaces found at the start are attached.
    attached: Arc<AtomicBool>,
    interfaces: Arc<Interfaces>,
    databases: Arc<Databases>,
    errors: Arc<Errors>,
}

impl Running {
    /// Thread mmdb, where there is something to watch.
    fn watch_databases(&self, files: &Mmdb) -> Result<(), Error> {
        if files.files().next().is_none() {
            return Ok(());
        }
        let files = files.clone();
        let (databases, errors) = (self.databases.clone(), self.errors.clone());
        self.spawn("mmdb", move |heartbeat| {
            mmdb::watch(&databases, &files, &errors, &heartbeat);
        })
    }

    /// Thread flow, and the other ends of its channels.
    fn start_flow(&self, agent: &Agent, bmp: &Bmp) -> Result<FlowEnds, Error> {
        let (batches, records) = bounded(BATCHES);
        let (spare, spares) = bounded(BATCHES);
        let (requests, answers) = bounded(REQUESTS);
        let channels = worker::Channels {
            records,
            spare,
            requests: answers,
        };
        let settings = settings::flow(agent);
        let names = self.interfaces.clone();
        let routes = bmp.routes(&agent.enrich.rib, self.interfaces.clone());
        let enricher = Enricher::new(
            Some(Box::new(routes)),
            &agent.enrich.prefix,
            self.databases.clone(),
            self.errors.clone(),
        );
        self.spawn("flow", move |heartbeat| {
            threads::raise_priority();
            worker::run(&settings, names, enricher, channels, &heartbeat);
        })?;
        Ok(FlowEnds {
            batches,
            spares,
            requests,
        })
    }

    /// Thread ring, which feeds thread flow; and the counters for whoever shows them.
    fn start_ring(
        &self,
        loaded: &Loaded,
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
            word: loaded.reader().map_err(Error::Maps)?,
            flow_cache: loaded.flow_cache().map_err(Error::Maps)?,
        };
        self.spawn("ring", move |heartbeat| {
            threads::raise_to_real_time();
            if let Err(error) = reader.run(&heartbeat) {
                log::error!("thread ring: {error}");
            }
        })
    }

    fn start_http(
        &self,
        agent: &Agent,
        server: Server,
        flows: Sender<Request>,
        links: LinkReader,
        bmp: Option<BmpReader>,
    ) -> Result<(), Error> {
        let scrape = Scrape {
            interfaces: self.interfaces.clone(),
            counters: self.counters.clone(),
            directions: agent.directions.clone(),
            patterns: agent.patterns(),
            flows,
            flow_gauges: agent.prometheus.flow_gauges,
            sample_rate: agent.bpf.sample_rate,
            databases: self.databases.clone(),
            bmp,
            errors: self.errors.clone(),
            reload: Reload {
                successful: true,
                success_time: unix_time(),
            },
            links: RefCell::new(links),
            process: ProcessReader::new().map_err(Error::Start)?,
        };
        let threads = self.threads.clone();
        let attached = self.attached.clone();
        let routes = Routes::new(
            move |out| scrape.write(out),
            move || health(&threads, &attached),
        );
        self.spawn("http", move |heartbeat| {
            server.run(&heartbeat, move |request, _| routes.answer(&request));
        })
    }

    fn spawn(
        &self,
        name: &'static str,
        body: impl FnOnce(Heartbeat) + Send + 'static,
    ) -> Result<(), Error> {
        self.threads.spawn(name, body).map_err(Error::Start)
    }

    fn attach(&self, agent: &Agent, loaded: Loaded, found: &[&Link]) -> Watcher {
        let plan = Plan {
            kind: if is_forced("clsact") {
                HookKind::Clsact
            } else {
                HookKind::detect()
            },
            position: agent.bpf.position,
            directions: agent.directions.clone(),
        };
        let interfaces = self.interfaces.clone();
        let mut watcher = Watcher::new(loaded, interfaces, self.errors.clone(), plan);
        // every one is tried, whatever becomes of the others
        let watched = found.iter().filter(|link| watcher.watch(link)).count();
        self.attached
            .store(watched == found.len(), Ordering::Release);
        watcher
    }

    /// Until a signal comes, or a thread has ended by itself.
    fn wait(&self, signals: &mut SignalPipe) -> Result<(), Error> {
        while !signals.wait(CHECK_INTERVAL) {
            if let Some(name) = self.threads.failed() {
                return Err(Error::ThreadEnded(name));
            }
        }
        Ok(())
    }

    /// The order of a clean stop: no program runs, the timers have swept, the ring and the channel
    /// are drained, and only then the maps close.
    fn stop(&self, watcher: Watcher) {
        log::info!("stopping");
        self.attached.store(false, Ordering::Release);
        let loaded = watcher.unwatch_all();
        if let Err(error) = sweep_all(&loaded) {
            log::error!("the flow cache was not swept: {error}");
        }
        for name in ["ring", "flow", "http", "bmp", "mmdb"] {
            self.threads.stop(name);
        }
    }
}

fn sweep_all(loaded: &Loaded) -> io::Result<()> {
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

fn health(threads: &Threads, attached: &AtomicBool) -> Result<(), Vec<String>> {
    let mut reasons: Vec<_> = threads
        .unhealthy()
        .into_iter()
        .map(|name| format!("thread {name} does not run"))
        .collect();
    if !attached.load(Ordering::Acquire) {
        reasons.push("not all interfaces found at the start are attached".into());
    }
    if reasons.is_empty() {
        Ok(())
    } else {
        Err(reasons)
    }
}

fn unix_time() -> f64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0.0, |elapsed| elapsed.as_secs_f64())
}
