// SPDX-License-Identifier: AGPL-3.0-only
//! THREAD flow: owns the flow table and the rollup, and answers questions about them.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded, never, select};

use super::export_queue::ExportSender;
use super::labels::SetId;
use super::query::{FlowContext, Scan};
use super::rollup::{self, Rollup, Volume};
use super::snapshot::{Snapshot, Totals};
use super::table::{self, CompletedRecord, FlowObserver, FlowTable};
use crate::sys::clock;
use crate::sys::threads::Heartbeat;
use crate::types::flow::{FlowKey, FlowRecord};
use crate::types::label::{Enrichment, Labels};
use crate::types::static_prefix::StaticPrefix;

#[cfg(test)]
mod tests;

/// How long the thread sleeps when there is nothing to do: often enough for the heartbeat and for
/// timeouts of seconds.
const IDLE_INTERVAL: Duration = Duration::from_millis(500);
/// How long it sleeps after the last record: it is about to be stopped.
const DRAIN_INTERVAL: Duration = Duration::from_millis(10);
/// How long it sleeps when parts wait for room in the outlet.
const FULL_INTERVAL: Duration = Duration::from_millis(5);
/// Parts completed between two batches.
const EXPIRE_BATCH: usize = 4096;
/// Parts that are due wait so long for room; then they are completed, and dropped if there is none.
const MAX_WAIT_MS: u64 = 1_000;
/// How long the last parts may take to leave.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(2);
/// For questions about flows between two batches: the ring holds what comes in a multiple of it.
const SCAN_TIME: Duration = Duration::from_millis(1);
/// Questions that are answered one after the other; one more is turned away.
const MAX_SCANS: usize = 4;

/// Where the flow thread learns the names of interfaces.
pub trait InterfaceNames: Send {
    /// Advances when a name may have changed; flows are then asked about again as they go on.
    fn generation(&self) -> u32;
    fn name(&self, ifindex: u32) -> Option<Arc<str>>;
}

/// Where the flow thread learns whose the addresses of a flow are.
pub trait Enrich: Send {
    /// As in [`InterfaceNames`]. `now_ms` is monotonic.
    fn generation(&mut self, now_ms: u64) -> u32;
    fn enrichment(&self, key: &FlowKey) -> Enrichment;
    /// The configuration tells other networks from now on.
    fn set_prefixes(&mut self, prefixes: &[StaticPrefix]);
    /// There will be no question for a while.
    fn end_batch(&mut self) {}
}

/// Knows nothing.
impl Enrich for () {
    fn generation(&mut self, _: u64) -> u32 {
        0
    }

    fn enrichment(&self, _: &FlowKey) -> Enrichment {
        Enrichment::default()
    }

    fn set_prefixes(&mut self, _: &[StaticPrefix]) {}
}

pub struct FlowSettings {
    pub table: table::TableLimits,
    pub rollup: rollup::RollupLimits,
    pub labels: Labels,
}

/// What may change while the thread runs: all but the labels.
pub struct FlowChange {
    pub settings: FlowSettings,
    pub prefixes: Vec<StaticPrefix>,
    /// Where completed parts go from now on, if that changes.
    pub export_sender: Option<Option<ExportSender>>,
}

/// What others ask of the flow thread. An answer without a receiver is dropped.
pub enum Request {
    Snapshot(Sender<Snapshot>),
    Totals(Sender<Totals>),
    /// Is dropped, and its channel closed, where too many wait already.
    Scan(Box<Scan>),
    Change(Box<FlowChange>),
}

/// The flow thread's ends of its channels.
pub struct Endpoints {
    pub records: Receiver<Vec<FlowRecord>>,
    /// Takes the emptied batches back.
    pub spare: Sender<Vec<FlowRecord>>,
    pub requests: Receiver<Request>,
    /// Where completed parts go.
    pub export_sender: Option<ExportSender>,
}

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AskError {
    /// Not in the time given.
    Late,
    /// Too many questions wait already, or the thread has ended.
    Refused,
}

/// Asks something, and waits at most `timeout`.
pub fn ask<T>(
    requests: &Sender<Request>,
    timeout: Duration,
    request: impl FnOnce(Sender<T>) -> Request,
) -> Result<T, AskError> {
    let deadline = Instant::now() + timeout;
    let (reply, answer) = bounded(1);
    requests
        .send_deadline(request(reply), deadline)
        .map_err(|_| AskError::Late)?;
    answer.recv_deadline(deadline).map_err(|error| match error {
        RecvTimeoutError::Timeout => AskError::Late,
        RecvTimeoutError::Disconnected => AskError::Refused,
    })
}

/// Asks for a snapshot; `None` if the flow thread does not answer in time.
pub fn snapshot(requests: &Sender<Request>, timeout: Duration) -> Option<Snapshot> {
    ask(requests, timeout, Request::Snapshot).ok()
}

/// The body of the thread. It ends when it is told to and no record is waiting.
pub fn run(
    settings: &FlowSettings,
    names: impl InterfaceNames,
    enricher: impl Enrich,
    mut endpoints: Endpoints,
    heartbeat: &Heartbeat,
) {
    let mut worker = Worker {
        epoch: Instant::now(),
        table: FlowTable::new(settings.table),
        accounting: FlowAccounting {
            rollup: Rollup::new(settings.labels, settings.rollup),
            names,
            enricher,
            generation: 0,
            export_sender: endpoints.export_sender.take(),
        },
        accounted_packets: 0,
        accounted_bytes: 0,
        full_since_ms: None,
        scans: VecDeque::new(),
    };
    let mut pause = None;
    let mut interval = IDLE_INTERVAL;
    loop {
        heartbeat.beat();
        if heartbeat.stopping() && endpoints.records.is_empty() {
            worker.end(heartbeat);
            return;
        }
        let timeout = pause.unwrap_or(interval);
        select! {
            recv(endpoints.records) -> batch => match batch {
                Ok(batch) => {
                    let batch = worker.account(batch);
                    // No room: there are spare ones enough.
                    drop(endpoints.spare.try_send(batch));
                }
                // Thread ring has ended, as it does just before this one is told to. A closed
                // channel is always ready: wait for the rest alone.
                Err(_) => {
                    endpoints.records = never();
                    interval = DRAIN_INTERVAL;
                }
            },
            recv(endpoints.requests) -> request => match request {
                Ok(request) => worker.answer(request),
                Err(_) => endpoints.requests = never(),
            },
            default(timeout) => {}
        }
        pause = worker.expire();
        if worker.scan() {
            pause = Some(Duration::ZERO);
        }
    }
}

struct Worker<N, K> {
    epoch: Instant,
    table: FlowTable,
    accounting: FlowAccounting<N, K>,
    accounted_packets: u64,
    accounted_bytes: u64,
    /// Since when the outlet has had no room.
    full_since_ms: Option<u64>,
    scans: VecDeque<Box<Scan>>,
}

impl<N: InterfaceNames, K: Enrich> Worker<N, K> {
    fn now_ms(&self) -> u64 {
        self.epoch.elapsed().as_millis() as u64
    }

    /// Adds a batch to the table, and returns it empty.
    fn account(&mut self, mut batch: Vec<FlowRecord>) -> Vec<FlowRecord> {
        let now = self.now_ms();
        self.accounting.rollup.advance(now);
        self.accounting.update_generation(now);
        for record in batch.drain(..) {
            self.accounted_packets = self.accounted_packets.wrapping_add(record.packets);
            self.accounted_bytes = self.accounted_bytes.wrapping_add(record.frame_bytes);
            self.table.update(&record, now, &mut self.accounting);
        }
        self.accounting.enricher.end_batch();
        batch
    }

    /// Ends what is due. If more is, says when to go on.
    fn expire(&mut self) -> Option<Duration> {
        let now = self.now_ms();
        self.accounting.rollup.advance(now);
        let limit = self.room(now);
        let more = self.table.expire(now, limit, &mut self.accounting);
        if let Some(export_sender) = &mut self.accounting.export_sender {
            export_sender.flush_if_due(now);
        }
        match (more, limit) {
            (false, _) => None,
            (true, 0) => Some(FULL_INTERVAL),
            (true, _) => Some(Duration::ZERO),
        }
    }

    /// Parts that may be completed now.
    fn room(&mut self, now_ms: u64) -> usize {
        let room = self
            .accounting
            .export_sender
            .as_ref()
            .map_or(usize::MAX, ExportSender::room);
        if room > 0 {
            self.full_since_ms = None;
        } else if now_ms - *self.full_since_ms.get_or_insert(now_ms) < MAX_WAIT_MS {
            return 0;
        }
        match room {
            0 => EXPIRE_BATCH,
            room => room.min(EXPIRE_BATCH),
        }
    }

    /// Completes every flow for whoever takes them.
    fn end(&mut self, heartbeat: &Heartbeat) {
        if self.accounting.export_sender.is_none() {
            return;
        }
        let deadline = Instant::now() + FLUSH_TIMEOUT;
        loop {
            heartbeat.beat();
            let export_sender = self.accounting.export_sender.as_ref();
            // without room, what is left is counted as lost
            let room = match export_sender.is_some_and(|export_sender| export_sender.wait(deadline))
            {
                true => export_sender.map_or(0, ExportSender::room),
                false => EXPIRE_BATCH,
            };
            if !self.table.end(room.min(EXPIRE_BATCH), &mut self.accounting) {
                return;
            }
        }
    }

    fn answer(&mut self, request: Request) {
        match request {
            // The channel holds one answer, so this fails only if the asker has gone.
            Request::Snapshot(reply) => drop(reply.try_send(self.snapshot())),
            Request::Totals(reply) => drop(reply.try_send(self.totals())),
            Request::Scan(scan) if self.scans.len() < MAX_SCANS => self.scans.push_back(scan),
            Request::Scan(_) => {}
            Request::Change(change) => self.change(*change),
        }
    }

    fn change(&mut self, change: FlowChange) {
        self.table.set_limits(change.settings.table);
        self.accounting.rollup.set_limits(change.settings.rollup);
        self.accounting.enricher.set_prefixes(&change.prefixes);
        if let Some(export_sender) = change.export_sender {
            // the one before lets go of its batch
            self.accounting.export_sender = export_sender;
            self.full_since_ms = None;
        }
    }

    /// Goes on with the questions about flows; true if there is more to do.
    fn scan(&mut self) -> bool {
        let Some(mut scan) = self.scans.pop_front() else {
            return false;
        };
        let now_ns = clock::boot_ns();
        if scan.go_on(&self.table, &self.accounting, now_ns, SCAN_TIME) {
            scan.finish(&self.accounting, now_ns);
        } else {
            self.scans.push_front(scan);
        }
        !self.scans.is_empty()
    }

    fn snapshot(&self) -> Snapshot {
        let rollup = &self.accounting.rollup;
        Snapshot {
            series: rollup.rows(),
            asns: rollup.asns(),
            totals: self.totals(),
        }
    }

    fn totals(&self) -> Totals {
        let rollup = &self.accounting.rollup;
        Totals {
            accounted_packets: self.accounted_packets,
            accounted_bytes: self.accounted_bytes,
            active_flows: self.table.len() as u64,
            max_flows: self.table.max_flows() as u64,
            forced_evictions: self.table.forced_evictions(),
            series: rollup.series() as u64,
            series_limit: rollup.max_series() as u64,
            series_folded: rollup.folded(),
        }
    }
}

/// Keeps the rollup in step with the table.
struct FlowAccounting<N, K> {
    rollup: Rollup,
    names: N,
    enricher: K,
    generation: u32,
    export_sender: Option<ExportSender>,
}

impl<N: InterfaceNames, K: Enrich> FlowAccounting<N, K> {
    /// Asks whether there is something new.
    fn update_generation(&mut self, now_ms: u64) {
        // Each of the two only advances: so does their sum.
        let known = self.enricher.generation(now_ms);
        self.generation = self.names.generation().wrapping_add(known);
    }
}

impl<N: InterfaceNames, K: Enrich> FlowObserver for FlowAccounting<N, K> {
    fn generation(&self) -> u32 {
        self.generation
    }

    fn started(&mut self, key: &FlowKey) -> SetId {
        let name = self.names.name(key.ifindex);
        let name = name.as_deref().unwrap_or_default();
        self.rollup.open(key, name, &self.enricher.enrichment(key))
    }

    fn relabelled(&mut self, set: SetId, part: &FlowRecord) -> SetId {
        let new = self.started(&part.key);
        self.rollup.relabel(set, new, part.into());
        new
    }

    fn updated(&mut self, set: SetId, record: &FlowRecord) {
        self.rollup.count(set, record.into());
    }

    fn exported(&mut self, set: SetId, part: &CompletedRecord) {
        self.rollup.remove_live(set, Volume::from(&part.record));
        if let Some(export_sender) = &mut self.export_sender {
            export_sender.push(part);
        }
    }

    fn ended(&mut self, set: SetId) {
        self.rollup.close(set);
    }
}

impl<N: InterfaceNames, K: Enrich> FlowContext for FlowAccounting<N, K> {
    fn known(&self, key: &FlowKey) -> Enrichment {
        self.enricher.enrichment(key)
    }

    fn asns(&self, key: &FlowKey, set: SetId) -> [u32; 2] {
        self.rollup.asns_of(set).unwrap_or_else(|| {
            let known = self.enricher.enrichment(key);
            [known.src.asn, known.dst.asn]
        })
    }

    fn name(&self, ifindex: u32) -> Option<Arc<str>> {
        self.names.name(ifindex)
    }
}
