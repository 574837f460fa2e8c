// SPDX-License-Identifier: AGPL-3.0-only
//! Gathers what one scrape of /metrics shows, in the order that keeps its figures consistent.

use std::cell::RefCell;
use std::io;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use crossbeam_channel::Sender;

use super::metrics::{self, Bmp, Build, Input, Interface, Reload};
use crate::bpf::counters::{Counters, HookCounters};
use crate::config::Patterns;
use crate::enrich::bmp::Monitor;
use crate::enrich::mmdb::Databases;
use crate::enrich::rib::{Rib, RibHandle};
use crate::errors::{Errors, Subsystem};
use crate::flow::key::Direction;
use crate::flow::snapshot::Snapshot;
use crate::flow::worker::{self, Request};
use crate::interfaces::{Interfaces, Watched};
use crate::links::{self, Link, LinkSocket};
use crate::process::ProcessReader;

/// Thread flow answers between two batches; one that does not in this time is stuck.
const SNAPSHOT_TIMEOUT: Duration = Duration::from_secs(5);

/// Everything a scrape reads.
pub struct Scrape {
    pub interfaces: Arc<Interfaces>,
    /// Not there until the programs are loaded: then no interface has counters yet.
    pub counters: Arc<OnceLock<Counters>>,
    pub directions: Vec<Direction>,
    pub patterns: Patterns,
    pub flows: Sender<Request>,
    pub flow_gauges: bool,
    pub sample_rate: u32,
    pub databases: Arc<Databases>,
    pub bmp: Option<BmpReader>,
    pub errors: Arc<Errors>,
    pub reload: Reload,
    pub links: RefCell<LinkReader>,
    pub process: ProcessReader,
}

/// Who knows of the routers, and of their routes.
pub struct BmpReader {
    pub monitor: Arc<Monitor>,
    pub rib: RibHandle,
}

/// The links as last read: if the kernel does not answer, the scrape shows the earlier ones.
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
        Bmp {
            routers: self.monitor.routers(),
            faults: self.monitor.faults().collect(),
            counts: self.rib.read(Rib::counts),
        }
    }
}

impl Scrape {
    /// Appends the text format.
    pub fn write(&self, out: &mut Vec<u8>) -> Result<(), String> {
        let start = Instant::now();
        // promise 3, flows + lost ≤ taken, holds in each answer only if they are read in this order;
        // of a hook's counters the kernel copies lost before taken
        let flows = self.snapshot()?;
        let mut reader = self.links.borrow_mut();
        let links = reader.read();
        let watched = self.interfaces.watched();
        let mut departed = HookCounters::default();
        let interfaces: Vec<_> = watched
            .iter()
            .filter_map(|watched| self.interface(watched, links, &mut departed))
            .collect();
        let parse_errors = self.parse_errors();
        let bmp = self.bmp.as_ref().map(BmpReader::read);
        let names = links.iter().map(|link| (link.name.as_str(), link.loopback));
        let input = Input {
            interfaces: &interfaces,
            departed,
            pattern_matches: &self.patterns.counts(names),
            flows: &flows,
            flow_gauges: self.flow_gauges,
            sample_rate: self.sample_rate,
            databases: &self.databases.build_times(),
            bmp: bmp.as_ref(),
            errors: &self.errors,
            parse_errors: &parse_errors,
            build: Build {
                version: env!("CARGO_PKG_VERSION"),
                revision: env!("RFM_REVISION"),
            },
            reload: self.reload,
            process: self.process.read().ok(),
        };
        metrics::render(&input, || start.elapsed(), out).map_err(|error| error.to_string())
    }

    fn snapshot(&self) -> Result<Snapshot, String> {
        worker::snapshot(&self.flows, SNAPSHOT_TIMEOUT)
            .ok_or_else(|| "thread flow does not answer".into())
    }

    /// `None` for an interface that has gone; what it counted is added to `departed`.
    fn interface<'a>(
        &self,
        watched: &Watched,
        links: &'a [Link],
        departed: &mut HookCounters,
    ) -> Option<Interface<'a>> {
        let ingress = self.hook(watched, Direction::Ingress);
        let egress = self.hook(watched, Direction::Egress);
        let Some(link) = links::find(links, watched.ifindex) else {
            for counters in [ingress, egress].into_iter().flatten() {
                *departed += counters;
            }
            return None;
        };
        let master = link.master.and_then(|master| links::find(links, master));
        Some(Interface {
            link,
            master: master.map_or("", |master| &master.name),
            attach: watched.attach,
            ingress,
            egress,
        })
    }

    fn hook(&self, watched: &Watched, direction: Direction) -> Option<HookCounters> {
        if !self.directions.contains(&direction) || watched.attach == "none" {
            return None;
        }
        self.counters
            .get()?
            .hook(watched.slot, direction)
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

    fn unreadable(&self, error: &io::Error) {
        self.errors
            .report(Subsystem::BpfMap, "read", || error.to_string());
    }
}
