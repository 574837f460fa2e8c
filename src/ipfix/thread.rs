// SPDX-License-Identifier: AGPL-3.0-only
//! THREAD ipfix: completed flow records → IPFIX records → messages → collectors.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crossbeam_channel::{RecvTimeoutError, never};

use super::collector::{Collector, Need};
use super::collector_stats::CollectorStats;
use super::flows::{Layout, Template};
use super::message::{MAX_LENGTH, MIN_LENGTH, Message};
use super::options::{ExportedInterface, Statistics};
use super::resolve::HostNames;
use super::self_traffic::SelfTraffic;
use super::templates::{self, ExportState};
use crate::config;
use crate::enrich::FlowRouting;
use crate::flow::export_queue::{ExportReceiver, RecordCounts};
use crate::flow::table::CompletedRecord;
use crate::sys::clock::Clock;
use crate::sys::error_counters::ErrorCounters;
use crate::sys::threads::Heartbeat;
use crate::types::flow::FlowRecord;
use crate::types::transport::Transport;

/// The sleep time of an idle thread.
const IDLE_INTERVAL: Duration = Duration::from_millis(500);
/// The time limit for the last messages, and the sleep time meanwhile.
const FINISH_TIMEOUT: Duration = Duration::from_secs(1);
const FINISH_INTERVAL: Duration = Duration::from_millis(1);
/// A message that is not full is sent after this time.
const FLUSH_AFTER: Duration = Duration::from_millis(500);
/// The minimum time between two reads of the interfaces.
const INTERFACES_FOR: Duration = Duration::from_secs(1);
/// The maximum number of stored repeating interfaces; beyond it, the set is rebuilt from the
/// existing interfaces.
const MAX_REPEATING: usize = 4096;

pub struct ExporterSettings {
    pub targets: Vec<Target>,
    pub template_refresh: Duration,
    pub domain: u32,
    pub layout: Layout,
    /// In force until a record has another rate.
    pub sample_rate: u32,
    /// A counter; when it changes, names are looked up again.
    pub lookups: Arc<AtomicU32>,
    /// Converts the times of records to those of messages.
    pub clock: Clock,
}

/// A collector, identified by its name.
pub struct Target {
    pub transport: Transport,
    pub names: HostNames,
    pub stats: Arc<CollectorStats>,
}

impl Target {
    pub fn new(
        collector: &config::IpfixCollector,
        bind: &config::IpfixBind,
        stats: Arc<CollectorStats>,
    ) -> Self {
        Self {
            transport: collector.transport,
            names: HostNames {
                host: collector.host.clone(),
                port: collector.port,
                local_host: bind.host.clone(),
                local_port: bind.port,
            },
            stats,
        }
    }
}

/// The data from other threads.
pub trait ExportSources {
    /// Reads changes of the configuration and of routes; `now_ms` is monotonic.
    fn refresh(&mut self, now_ms: u64);
    /// Returns the routing data of both endpoints of a flow, and the result of the source check if it is exported.
    fn routing(&self, record: &FlowRecord) -> FlowRouting;
    /// Called at the end of a batch: no lookups follow for a while.
    fn end_batch(&mut self) {}
    /// Returns the interfaces of this machine.
    fn interfaces(&mut self) -> Vec<ExportedInterface>;
    /// Returns the packets, and bytes of frames, that were sampled and then dropped before they
    /// were in a flow.
    fn dropped(&self) -> (u64, u64);
}

/// Runs the thread. It ends when it is stopped and no flow record is waiting.
pub fn run(
    settings: ExporterSettings,
    sources: impl ExportSources,
    mut export_receiver: ExportReceiver,
    errors: &Arc<ErrorCounters>,
    heartbeat: &Heartbeat,
) {
    let mut exporter = Exporter::new(settings, sources, errors);
    loop {
        heartbeat.beat();
        if heartbeat.stopping() && export_receiver.parts.is_empty() {
            return exporter.finish();
        }
        let now = Instant::now();
        exporter.poll_collectors(now);
        match export_receiver.parts.recv_timeout(exporter.timeout(now)) {
            Ok(mut batch) => {
                exporter.export(&mut batch);
                // The channel is full: there are enough spare batches.
                drop(export_receiver.spare.try_send(batch));
            }
            Err(RecvTimeoutError::Timeout) => {}
            // Thread flow has ended; it does so just before this thread is stopped.
            Err(RecvTimeoutError::Disconnected) => export_receiver.parts = never(),
        }
    }
}

struct Exporter<S> {
    sources: S,
    layout: Layout,
    domain: u32,
    clock: Clock,
    collectors: Vec<Collector>,
    self_traffic: SelfTraffic,
    lookups: Arc<AtomicU32>,
    /// The value of `lookups` at the last lookup of names.
    looked_up: u32,
    /// The sample rate of the records that are being sent.
    sample_rate: u32,
    message: Message,
    /// The time of its first record.
    begun: Option<Instant>,
    /// The length of a record in bytes, by template.
    lengths: Vec<usize>,
    limit: usize,
    interfaces: Vec<ExportedInterface>,
    interfaces_read: Option<Instant>,
    /// Interfaces whose flows another interface exports.
    repeating: HashSet<u32>,
    epoch: Instant,
}

impl<S: ExportSources> Exporter<S> {
    fn new(settings: ExporterSettings, sources: S, errors: &Arc<ErrorCounters>) -> Self {
        let now = Instant::now();
        let layout = settings.layout;
        let lengths =
            Template::all().map(|template| template.write_template(layout, &mut Vec::new()));
        let targets = settings.targets.into_iter().enumerate();
        let collectors = targets.map(|(number, target)| {
            Collector::new(
                number,
                target.names,
                target.transport,
                settings.template_refresh,
                target.stats,
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
            self_traffic: SelfTraffic::default(),
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

    /// Advances the connections of all collectors; sends templates and messages that are due.
    fn poll_collectors(&mut self, now: Instant) {
        let lookups = self.lookups.load(Ordering::Acquire);
        if std::mem::replace(&mut self.looked_up, lookups) != lookups {
            self.collectors
                .iter_mut()
                .for_each(Collector::look_up_again);
        }
        for i in 0..self.collectors.len() {
            match self.collectors[i].poll(now, &mut self.self_traffic) {
                Need::Nothing => {}
                Need::Options => self.announce(i, false, now),
                Need::TemplatesAndOptions => self.announce(i, true, now),
            }
            self.collectors[i].send_held(now);
        }
        let payloads = self.collectors.iter().filter_map(Collector::payload);
        let narrowest = payloads.min().unwrap_or(MAX_LENGTH);
        self.limit = narrowest.clamp(MIN_LENGTH, MAX_LENGTH);
        if self.begun.is_some_and(|begun| now - begun >= FLUSH_AFTER) {
            self.flush(now);
        }
    }

    fn timeout(&self, now: Instant) -> Duration {
        let flush = self
            .begun
            .map(|begun| FLUSH_AFTER.saturating_sub(now - begun));
        let steps = self.collectors.iter().filter_map(Collector::next_step);
        steps.chain(flush).min().unwrap_or(IDLE_INTERVAL)
    }

    /// Exports a batch and leaves it empty. Flows with the current sample rate are first, because
    /// each other rate is announced.
    fn export(&mut self, batch: &mut Vec<CompletedRecord>) {
        let now = Instant::now();
        self.clock.refresh(now);
        self.sources.refresh((now - self.epoch).as_millis() as u64);
        self.read_interfaces(now);
        let rate = self.sample_rate;
        if batch.iter().any(|flow| flow.record.sample_rate != rate) {
            batch.sort_by_key(|flow| (flow.record.sample_rate != rate, flow.record.sample_rate));
        }
        for flow in batch.drain(..) {
            let key = &flow.record.key;
            // the firewall drops a packet on one interface only
            let repeated = !flow.dropped && self.repeating.contains(&key.ifindex);
            if !repeated && !self.self_traffic.contains(key) {
                self.export_flow(&flow, now);
            }
        }
        self.sources.end_batch();
    }

    fn export_flow(&mut self, flow: &CompletedRecord, now: Instant) {
        if flow.record.sample_rate != self.sample_rate {
            self.flush(now);
            self.sample_rate = flow.record.sample_rate;
            self.announce_rate(now);
        }
        let template = Template::of(&flow.record);
        let length = self.lengths[template.index()];
        if !self.message.has_room(template.id(), length, self.limit) {
            self.flush(now);
        }
        let routing = self.sources.routing(&flow.record);
        let out = self.message.record(template.id());
        template.write_record(self.layout, flow, &self.clock, &routing, out);
        let mut load = RecordCounts::default();
        load.add(flow);
        self.message.carries(load);
        self.begun.get_or_insert(now);
    }

    /// Sends the current message to all collectors.
    fn flush(&mut self, now: Instant) {
        self.begun = None;
        if self.message.is_empty() {
            return;
        }
        let sealed = self.message.seal(unix_time(), self.domain);
        self.message.clear();
        for collector in &mut self.collectors {
            collector.send(&sealed, now);
        }
    }

    fn announce_rate(&mut self, now: Instant) {
        let mut message = templates::sample_rate(self.domain, self.sample_rate);
        let sealed = message.seal(unix_time(), self.domain);
        for collector in &mut self.collectors {
            collector.change_rate(&sealed, now);
        }
    }

    /// Sends the options to a collector, and the templates if requested.
    fn announce(&mut self, i: usize, with_templates: bool, now: Instant) {
        self.read_interfaces(now);
        let (ignored_packets, ignored_octets) = self.sources.dropped();
        let state = ExportState {
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
        for mut message in templates::messages(&state, with_templates) {
            let sealed = message.seal(unix_time(), self.domain);
            self.collectors[i].send(&sealed, now);
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

    /// Updates the repeating interfaces. The last flows of an interface are exported after it was
    /// deleted, so a deleted interface stays in the set.
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

    /// Sends the last messages.
    fn finish(mut self) {
        let mut now = Instant::now();
        let deadline = now + FINISH_TIMEOUT;
        self.flush(now);
        let mut waiting: Vec<_> = self.collectors.iter_mut().collect();
        loop {
            waiting.retain_mut(|collector| !collector.finish(now, deadline));
            if waiting.is_empty() {
                return;
            }
            std::thread::sleep(FINISH_INTERVAL);
            now = Instant::now();
        }
    }
}

/// Returns the seconds since 1970; the message format can represent them until 2106.
fn unix_time() -> u32 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |elapsed| elapsed.as_secs() as u32)
}
