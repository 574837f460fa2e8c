// SPDX-License-Identifier: AGPL-3.0-only
//! THREAD ipfix: completed flows → records → messages → collectors.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crossbeam_channel::{RecvTimeoutError, never};

use super::collector::{Collector, Need};
use super::collector_stats::Tally;
use super::flows::{Layout, Shape};
use super::message::{MAX_LENGTH, MIN_LENGTH, Message};
use super::options::{Interface, Statistics};
use super::resolve::Names;
use super::self_traffic::OwnConnections;
use super::templates::{self, Facts};
use crate::config;
use crate::enrich::Ways;
use crate::flow::outlet::{Inlet, Load};
use crate::flow::table::CompletedFlow;
use crate::sys::clock::Clock;
use crate::sys::error_counters::ErrorCounters;
use crate::sys::threads::Heartbeat;
use crate::types::flow::FlowKey;
use crate::types::transport::Transport;

/// How long the thread sleeps when there is nothing to do.
const IDLE_TICK: Duration = Duration::from_millis(500);
/// How long it sleeps while a collector is being reached or slow.
const BUSY_TICK: Duration = Duration::from_millis(10);
/// A message that does not fill up leaves after this long.
const FLUSH_AFTER: Duration = Duration::from_millis(500);
/// Interfaces are read anew no more often.
const INTERFACES_FOR: Duration = Duration::from_secs(1);
/// Beyond it, interfaces that repeat flows are found again from those that are there.
const MAX_REPEATING: usize = 4096;

pub struct Settings {
    pub targets: Vec<Target>,
    pub template_refresh: Duration,
    pub domain: u32,
    pub layout: Layout,
    /// In force until a record has another.
    pub sample_rate: u32,
    /// When it changes, names are looked up again.
    pub lookups: Arc<AtomicU32>,
    /// From the times of records to those of messages.
    pub clock: Clock,
}

/// A collector by its name.
pub struct Target {
    pub transport: Transport,
    pub names: Names,
    pub tally: Arc<Tally>,
}

impl Target {
    pub fn new(
        collector: &config::IpfixCollector,
        bind: &config::IpfixBind,
        tally: Arc<Tally>,
    ) -> Self {
        Self {
            transport: collector.transport,
            names: Names {
                host: collector.host.clone(),
                port: collector.port,
                own_host: bind.host.clone(),
                own_port: bind.port,
            },
            tally,
        }
    }
}

/// What the thread asks others.
pub trait Sources {
    /// Makes up its mind anew; `now_ms` is monotonic.
    fn refresh(&mut self, now_ms: u64);
    /// What is known of the ends of a flow.
    fn ways(&self, key: &FlowKey) -> Ways;
    /// Nothing is asked for a while.
    fn rest(&mut self) {}
    /// The interfaces of this machine.
    fn interfaces(&mut self) -> Vec<Interface>;
    /// What was taken and then lost before it was in a flow: packets, and bytes of frames.
    fn lost(&self) -> (u64, u64);
}

/// The body of the thread. It ends when it is told to and no part is waiting.
pub fn run(
    settings: Settings,
    sources: impl Sources,
    mut inlet: Inlet,
    errors: &Arc<ErrorCounters>,
    heartbeat: &Heartbeat,
) {
    let mut exporter = Exporter::new(settings, sources, errors);
    loop {
        heartbeat.beat();
        if heartbeat.stopping() && inlet.parts.is_empty() {
            return exporter.finish();
        }
        let now = Instant::now();
        exporter.turn(now);
        match inlet.parts.recv_timeout(exporter.patience(now)) {
            Ok(mut batch) => {
                exporter.export(&mut batch);
                // No room: there are spare ones enough.
                drop(inlet.spare.try_send(batch));
            }
            Err(RecvTimeoutError::Timeout) => {}
            // Thread flow has ended, as it does just before this one is told to.
            Err(RecvTimeoutError::Disconnected) => inlet.parts = never(),
        }
    }
}

struct Exporter<S> {
    sources: S,
    layout: Layout,
    domain: u32,
    clock: Clock,
    collectors: Vec<Collector>,
    own: OwnConnections,
    lookups: Arc<AtomicU32>,
    /// Its value when names were last looked up.
    looked_up: u32,
    /// Under which the records are that are sent now.
    sample_rate: u32,
    message: Message,
    /// When its first record came.
    begun: Option<Instant>,
    /// Bytes of a record, by shape.
    lengths: Vec<usize>,
    limit: usize,
    interfaces: Vec<Interface>,
    interfaces_read: Option<Instant>,
    /// Interfaces whose flows another one exports.
    repeating: HashSet<u32>,
    epoch: Instant,
}

impl<S: Sources> Exporter<S> {
    fn new(settings: Settings, sources: S, errors: &Arc<ErrorCounters>) -> Self {
        let now = Instant::now();
        let layout = settings.layout;
        let lengths = Shape::all().map(|shape| shape.template(layout, &mut Vec::new()));
        let collectors = settings.targets.into_iter().map(|target| {
            Collector::new(
                target.names,
                target.transport,
                settings.template_refresh,
                target.tally,
                errors.clone(),
                now,
            )
        });
        Self {
            sources,
            layout,
            domain: settings.domain,
            clock: settings.clock,
            collectors: collectors.collect(),
            own: OwnConnections::default(),
            looked_up: settings.lookups.load(Ordering::Acquire),
            lookups: settings.lookups,
            sample_rate: settings.sample_rate,
            message: Message::default(),
            begun: None,
            lengths: lengths.collect(),
            limit: MAX_LENGTH,
            interfaces: Vec::new(),
            interfaces_read: None,
            repeating: HashSet::new(),
            epoch: now,
        }
    }

    /// What time brings: collectors come and go, templates and messages fall due.
    fn turn(&mut self, now: Instant) {
        let lookups = self.lookups.load(Ordering::Acquire);
        if std::mem::replace(&mut self.looked_up, lookups) != lookups {
            self.collectors
                .iter_mut()
                .for_each(Collector::look_up_again);
        }
        for i in 0..self.collectors.len() {
            match self.collectors[i].turn(now, &mut self.own) {
                Need::Nothing => {}
                Need::Options => self.notify(i, false, now),
                Need::TemplatesAndOptions => self.notify(i, true, now),
            }
        }
        let payloads = self.collectors.iter().filter_map(Collector::payload);
        let narrowest = payloads.min().unwrap_or(MAX_LENGTH);
        self.limit = narrowest.clamp(MIN_LENGTH, MAX_LENGTH);
        if self.begun.is_some_and(|begun| now - begun >= FLUSH_AFTER) {
            self.flush(now);
        }
    }

    fn patience(&self, now: Instant) -> Duration {
        if self.collectors.iter().any(Collector::is_waiting) {
            return BUSY_TICK;
        }
        self.begun.map_or(IDLE_TICK, |begun| {
            FLUSH_AFTER.saturating_sub(now - begun).min(IDLE_TICK)
        })
    }

    /// Exports a batch, and leaves it empty. Parts under the rate in force come first: each other rate
    /// is announced.
    fn export(&mut self, batch: &mut Vec<CompletedFlow>) {
        let now = Instant::now();
        self.clock.refresh(now);
        self.sources.refresh((now - self.epoch).as_millis() as u64);
        self.read_interfaces(now);
        let rate = self.sample_rate;
        if batch.iter().any(|part| part.record.sample_rate != rate) {
            batch.sort_by_key(|part| (part.record.sample_rate != rate, part.record.sample_rate));
        }
        for part in batch.drain(..) {
            let key = &part.record.key;
            // the firewall drops a packet on one interface only
            let repeated = !part.dropped && self.repeating.contains(&key.ifindex);
            if !repeated && !self.own.contain(key) {
                self.export_part(&part, now);
            }
        }
        self.sources.rest();
    }

    fn export_part(&mut self, part: &CompletedFlow, now: Instant) {
        if part.record.sample_rate != self.sample_rate {
            self.flush(now);
            self.sample_rate = part.record.sample_rate;
            self.announce_rate(now);
        }
        let shape = Shape::of(&part.record);
        let length = self.lengths[shape.index()];
        if !self.message.has_room(shape.id(), length, self.limit) {
            self.flush(now);
        }
        let ways = self.sources.ways(&part.record.key);
        let out = self.message.record(shape.id());
        shape.record(self.layout, part, &self.clock, &ways, out);
        let mut load = Load::default();
        load.add(part);
        self.message.carries(load);
        self.begun.get_or_insert(now);
    }

    /// Sends the message in the making to all.
    fn flush(&mut self, now: Instant) {
        self.begun = None;
        if self.message.is_empty() {
            return;
        }
        self.message.seal(unix_time(), self.domain);
        for collector in &mut self.collectors {
            collector.send(&mut self.message, now);
        }
        self.message.clear();
    }

    fn announce_rate(&mut self, now: Instant) {
        let mut message = templates::sampling(self.domain, self.sample_rate);
        message.seal(unix_time(), self.domain);
        for collector in &mut self.collectors {
            collector.notify(&mut message, now);
        }
    }

    /// Tells a collector all it must know.
    fn notify(&mut self, i: usize, with_templates: bool, now: Instant) {
        self.read_interfaces(now);
        let (ignored_packets, ignored_octets) = self.sources.lost();
        let facts = Facts {
            layout: self.layout,
            domain: self.domain,
            sample_rate: self.sample_rate,
            statistics: Statistics {
                ignored_packets,
                ignored_octets,
                ..self.collectors[i].statistics()
            },
            interfaces: &self.interfaces,
            limit: self.limit,
        };
        for mut message in templates::all(&facts, with_templates) {
            message.seal(unix_time(), self.domain);
            self.collectors[i].notify(&mut message, now);
        }
    }

    fn read_interfaces(&mut self, now: Instant) {
        let read = self.interfaces_read;
        if read.is_none_or(|read| now - read >= INTERFACES_FOR) {
            self.interfaces = self.sources.interfaces();
            self.interfaces_read = Some(now);
            self.find_repeating();
        }
    }

    /// The last flows of an interface are exported after it was deleted: what it was stays known.
    fn find_repeating(&mut self) {
        if self.repeating.len() > MAX_REPEATING {
            self.repeating.clear();
        }
        for interface in &self.interfaces {
            if interface.repeats {
                self.repeating.insert(interface.ifindex);
            } else {
                self.repeating.remove(&interface.ifindex);
            }
        }
    }

    fn finish(mut self) {
        self.flush(Instant::now());
        self.collectors.into_iter().for_each(Collector::finish);
    }
}

/// Seconds since 1970, as messages carry them until 2106.
fn unix_time() -> u32 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |elapsed| elapsed.as_secs() as u32)
}
