// SPDX-License-Identifier: AGPL-3.0-only
//! THREAD flow: owns the flow table and the rollup, and answers requests about them.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded, never, select};

use super::conversations::{ConversationCounters, ConversationSettings};
use super::export_queue::ExportSender;
use super::paths::{PathCounters, PathSnapshot};
use super::peers::{Peer, PeerCounters};
use super::query::Scan;
use super::rollup::{self, Rollup};
use super::snapshot::{Snapshot, Totals};
use super::sources::SourceCounters;
use super::table::{self, FlowTable};
use super::talkers::{TalkerAnswer, TalkerQuery, Talkers};
use crate::store::sender::HistorySender;
use crate::store::types::HistoryInput;
use crate::sys::clock::{self, WallClock};
use crate::sys::threads::Heartbeat;
use crate::types::flow::{FlowKey, FlowRecord};
use crate::types::label::{Enrichment, Labels};
use crate::types::mac::MacAddress;
use crate::types::network_path::NetworkPath;
use crate::types::source::CheckedSource;
use crate::types::static_prefix::StaticPrefix;

mod accounting;
#[cfg(test)]
mod tests;

use accounting::FlowAccounting;

/// The sleep time of an idle thread: short enough for the heartbeat and for timeouts of seconds.
const IDLE_INTERVAL: Duration = Duration::from_millis(500);
/// The time between two searches for due flow records while there are flows to export: a longer one would complete
/// them in bursts.
const EXPIRE_INTERVAL: Duration = Duration::from_millis(100);
/// The sleep time after the last record: the thread is about to be stopped.
const DRAIN_INTERVAL: Duration = Duration::from_millis(10);
/// The sleep time while flow records wait for room in the export queue.
const FULL_INTERVAL: Duration = Duration::from_millis(5);
/// The number of flow records completed between two batches.
const EXPIRE_BATCH: usize = 4096;
/// The time that due flow records wait for room; then they are completed, and dropped if the queue
/// is full.
const MAX_WAIT_MS: u64 = 1_000;
/// The time limit for sending the last flow records.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(2);
/// The time for flow queries between two batches. The ring buffer holds a multiple of the records
/// that arrive in it.
const SCAN_TIME: Duration = Duration::from_millis(1);
/// The interval at which neighbors without traffic expire.
const PEER_EXPIRY_MS: u64 = 10_000;
/// The number of queued flow queries; a further one is rejected.
const MAX_SCANS: usize = 4;

/// Provides the names of interfaces.
pub trait InterfaceNames: Send {
    /// Advances when a name may have changed; the labels of a flow are then looked up again at its
    /// next record.
    fn generation(&self) -> u32;
    fn name(&self, ifindex: u32) -> Option<Arc<str>>;
    /// Returns whether sums over interfaces include it: it is not internal, and its packets cross no other monitored
    /// interface.
    fn is_summed(&self, _ifindex: u32) -> bool {
        true
    }
}

/// Provides the enrichment of the addresses of a flow.
pub trait Enrich: Send {
    /// Same as in [`InterfaceNames`]. `now_ms` is monotonic.
    fn generation(&mut self, now_ms: u64) -> u32;
    /// `neighbor` is the MAC address of the neighbor on the segment.
    fn enrichment(&self, key: &FlowKey, neighbor: MacAddress) -> Enrichment;
    /// Returns the AS of the neighbor in the enrichment, without the rest of it.
    fn peer_asn(&self, key: &FlowKey, neighbor: MacAddress) -> u32 {
        self.enrichment(key, neighbor).peer_asn
    }
    /// Returns the neighbor with this MAC address on the segment of an interface.
    fn peer(&self, _ifindex: u32, _mac: MacAddress) -> Peer {
        Peer::default()
    }
    /// Writes the AS path of a flow: of the best route to its destination at egress, to its source at ingress.
    fn path(&self, _key: &FlowKey, path: &mut NetworkPath) {
        path.clear();
    }

    /// Checks the source of a received record; `None` if it is not checked.
    fn check_source(&self, _record: &FlowRecord) -> Option<CheckedSource> {
        None
    }

    /// Returns the name of the configured prefix of the remote side: of the source at ingress, of the destination
    /// at egress.
    fn prefix_name(&self, _key: &FlowKey) -> Option<&Arc<str>> {
        None
    }

    /// Returns the name of an AS.
    fn asn_name(&self, _asn: u32) -> Option<Arc<str>> {
        None
    }
    /// Applies the static prefixes of a new configuration.
    fn set_prefixes(&mut self, prefixes: &[StaticPrefix]);
    /// Called at the end of a batch: no lookups follow for a while.
    fn end_batch(&mut self) {}
}

/// Looks up properties of records for a [`RecordWatcher`].
pub trait RecordLookup {
    /// Advances when an answer may have changed.
    fn generation(&self) -> u32;
    fn name(&self, ifindex: u32) -> Option<Arc<str>>;
    /// Returns whether sums over interfaces include it.
    fn is_summed(&self, ifindex: u32) -> bool;
    /// Returns the AS of the neighbor of the record, 0 if unknown.
    fn peer_asn(&self, record: &FlowRecord) -> u32;
    /// Returns the country of the source, if it is known; takes a lookup in each source of the enrichment.
    fn source_country(&self, record: &FlowRecord) -> Option<Arc<str>>;
}

/// Sees each record before the flow table does.
pub trait RecordWatcher: Send {
    fn count(&mut self, record: &FlowRecord, flows: &FlowTable, lookup: &dyn RecordLookup);
    /// Called at least ten times a second.
    fn advance(&mut self, flows: &FlowTable, lookup: &dyn RecordLookup);
}

/// Returns no enrichment.
impl Enrich for () {
    fn generation(&mut self, _: u64) -> u32 {
        0
    }

    fn enrichment(&self, _: &FlowKey, _: MacAddress) -> Enrichment {
        Enrichment::default()
    }

    fn set_prefixes(&mut self, _: &[StaticPrefix]) {}
}

pub struct FlowSettings {
    pub table: table::TableLimits,
    pub rollup: rollup::RollupLimits,
    pub labels: Labels,
    /// Whether to count bytes by neighbor.
    pub peer_series: bool,
    /// Whether to count bytes by AS path.
    pub paths: bool,
    /// Maximum number of series of ASes on the path.
    pub transit_series: usize,
    /// Whether to check source addresses.
    pub source_check: bool,
    /// What to count for the history, if there is one.
    pub history: Option<ConversationSettings>,
}

/// The settings that can change while the thread runs: all except the labels, and whether neighbors, paths, sources and
/// conversations are counted.
pub struct FlowChange {
    pub settings: FlowSettings,
    pub prefixes: Vec<StaticPrefix>,
    /// The new destination of completed flow records, if it changes.
    pub export_sender: Option<Option<ExportSender>>,
}

/// A request to the flow thread. An answer without a receiver is dropped.
pub enum Request {
    Snapshot(Sender<Snapshot>),
    Totals(Sender<Totals>),
    /// `None` if paths are not counted.
    Paths(Sender<Option<PathSnapshot>>),
    /// Dropped, with its channel closed, if too many queries are queued.
    Scan(Box<Scan>),
    /// Starts to count what the question needs.
    Talkers(Box<TalkerQuery>, Sender<TalkerAnswer>),
    Change(Box<FlowChange>),
}

/// The channel endpoints of the flow thread.
pub struct Endpoints {
    pub records: Receiver<Vec<FlowRecord>>,
    /// Returns the emptied batches.
    pub spare: Sender<Vec<FlowRecord>>,
    pub requests: Receiver<Request>,
    /// The destination of completed flow records.
    pub export_sender: Option<ExportSender>,
    /// The destination of the lists of each minute.
    pub history_sender: Option<HistorySender>,
    /// The detection of attacks, if it is enabled.
    pub guard: Option<Box<dyn RecordWatcher>>,
}

/// The reason why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AskError {
    /// There was no answer within the timeout.
    Late,
    /// Too many queries are queued, or the thread has ended.
    Refused,
}

/// Sends a request and waits at most `timeout` for the answer.
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

/// Requests a snapshot; returns `None` if the flow thread does not answer in time.
pub fn snapshot(requests: &Sender<Request>, timeout: Duration) -> Option<Snapshot> {
    ask(requests, timeout, Request::Snapshot).ok()
}

/// Runs the thread. It ends when it is asked to stop and no record is waiting.
pub fn run(
    settings: &FlowSettings,
    names: impl InterfaceNames,
    enricher: impl Enrich,
    mut endpoints: Endpoints,
    heartbeat: &Heartbeat,
) {
    let epoch = Instant::now();
    let mut worker = Worker {
        epoch,
        clock: WallClock::new(epoch),
        table: FlowTable::new(settings.table),
        accounting: FlowAccounting {
            rollup: Rollup::new(settings.labels, settings.rollup),
            names,
            enricher,
            generation: 0,
            export_sender: endpoints.export_sender.take(),
            paths: settings
                .paths
                .then(|| PathCounters::new(SystemTime::now(), settings.transit_series)),
            path: NetworkPath::default(),
            talkers: Talkers::default(),
            now_ms: 0,
        },
        peers: settings.peer_series.then(PeerCounters::default),
        sources: settings.source_check.then(SourceCounters::default),
        conversations: (settings.history.as_ref())
            .zip(endpoints.history_sender.take())
            .map(|(settings, sender)| (ConversationCounters::new(settings), sender)),
        guard: endpoints.guard.take(),
        peers_expired_ms: 0,
        series_ttl_ms: settings.rollup.series_ttl_ms,
        accounted_packets: 0,
        accounted_bytes: 0,
        full_since_ms: None,
        scans: VecDeque::new(),
    };
    let mut pause: Option<Duration> = None;
    let mut interval = IDLE_INTERVAL;
    loop {
        heartbeat.beat();
        if heartbeat.stopping() && endpoints.records.is_empty() {
            worker.end(heartbeat);
            return;
        }
        let timeout = pause.map_or(interval, |pause| pause.min(interval));
        select! {
            recv(endpoints.records) -> batch => match batch {
                Ok(batch) => {
                    let batch = worker.account(batch);
                    // The channel is full: there are enough spare batches.
                    drop(endpoints.spare.try_send(batch));
                }
                // Thread ring has ended; it does so just before this thread is stopped. A closed
                // channel is always ready, so wait only for the other events.
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
        let seeding = worker.seed_talkers();
        if worker.scan() || seeding {
            pause = Some(Duration::ZERO);
        }
    }
}

fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.unwrap_or(Duration::ZERO).as_millis() as u64
}

struct Worker<N, K> {
    epoch: Instant,
    clock: WallClock,
    table: FlowTable,
    accounting: FlowAccounting<N, K>,
    peers: Option<PeerCounters>,
    sources: Option<SourceCounters>,
    conversations: Option<(ConversationCounters, HistorySender)>,
    guard: Option<Box<dyn RecordWatcher>>,
    peers_expired_ms: u64,
    series_ttl_ms: u64,
    accounted_packets: u64,
    accounted_bytes: u64,
    /// The time since which the export queue has been full.
    full_since_ms: Option<u64>,
    scans: VecDeque<Box<Scan>>,
}

impl<N: InterfaceNames, K: Enrich> Worker<N, K> {
    fn now_ms(&self) -> u64 {
        self.epoch.elapsed().as_millis() as u64
    }

    /// Advances the clocks of the counters.
    fn advance(&mut self) -> u64 {
        let now = self.now_ms();
        self.accounting.rollup.advance(now);
        self.accounting.now_ms = now;
        if let Some(paths) = &mut self.accounting.paths {
            paths.advance(now);
        }
        self.accounting.talkers.advance(now);
        if let Some((conversations, sender)) = &mut self.conversations {
            let name = |ifindex| self.accounting.names.name(ifindex);
            if let Some(lists) = conversations.advance(now, unix_ms, name) {
                sender.send(HistoryInput::Lists(lists));
            }
        }
        now
    }

    /// Adds a batch to the table and returns it empty.
    fn account(&mut self, mut batch: Vec<FlowRecord>) -> Vec<FlowRecord> {
        let now = self.advance();
        self.accounting.update_generation(now);
        for record in batch.drain(..) {
            self.accounted_packets = self.accounted_packets.wrapping_add(record.packets);
            self.accounted_bytes = self.accounted_bytes.wrapping_add(record.frame_bytes);
            if let Some(peers) = &mut self.peers {
                let generation = self.accounting.generation;
                peers.count(&record, now, generation, &self.accounting);
            }
            if let Some(sources) = &mut self.sources {
                let generation = self.accounting.generation;
                sources.count(&record, now, generation, &self.accounting);
            }
            if let Some((conversations, _)) = &mut self.conversations {
                let names = &self.accounting.names;
                let prefix = self.accounting.enricher.prefix_name(&record.key);
                conversations.count(&record, prefix, |ifindex| names.is_summed(ifindex));
            }
            if let Some(guard) = &mut self.guard {
                guard.count(&record, &self.table, &self.accounting);
            }
            self.table.update(&record, now, &mut self.accounting);
        }
        self.accounting.enricher.end_batch();
        batch
    }

    /// Expires flows that are due. Returns the delay until the next call if that matters.
    fn expire(&mut self) -> Option<Duration> {
        let now = self.advance();
        if let Some(guard) = &mut self.guard {
            guard.advance(&self.table, &self.accounting);
        }
        self.expire_peers(now);
        let limit = self.room(now);
        let more = self.table.expire(now, limit, &mut self.accounting);
        self.accounting.enricher.end_batch();
        let mut exports = false;
        if let Some(export_sender) = &mut self.accounting.export_sender {
            export_sender.flush_if_due(now);
            exports = !self.table.is_empty();
        }
        match (more, limit) {
            (false, _) => (exports || self.guard.is_some()).then_some(EXPIRE_INTERVAL),
            (true, 0) => Some(FULL_INTERVAL),
            (true, _) => Some(Duration::ZERO),
        }
    }

    fn expire_peers(&mut self, now_ms: u64) {
        if now_ms - self.peers_expired_ms < PEER_EXPIRY_MS {
            return;
        }
        self.peers_expired_ms = now_ms;
        if let Some(peers) = &mut self.peers {
            peers.expire(now_ms, self.series_ttl_ms);
        }
        if let Some(sources) = &mut self.sources {
            sources.expire(now_ms, self.series_ttl_ms);
        }
    }

    /// Returns the number of flow records that may be completed now.
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

    /// Sends the lists of the current minute to the history, and completes every flow for the exporter.
    fn end(&mut self, heartbeat: &Heartbeat) {
        let now = self.now_ms();
        let name = |ifindex| self.accounting.names.name(ifindex);
        if let Some((conversations, sender)) = &mut self.conversations
            && let Some(lists) = conversations.finish(now, name)
        {
            sender.send(HistoryInput::Lists(lists));
        }
        if self.accounting.export_sender.is_none() {
            return;
        }
        let deadline = Instant::now() + FLUSH_TIMEOUT;
        loop {
            heartbeat.beat();
            let export_sender = self.accounting.export_sender.as_ref();
            // if there is no room, the rest is counted as dropped
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
            // The channel holds one answer, so this fails only if the receiver was dropped.
            Request::Snapshot(reply) => drop(reply.try_send(self.snapshot())),
            Request::Totals(reply) => drop(reply.try_send(self.totals())),
            Request::Paths(reply) => {
                let (paths, now) = (&self.accounting.paths, self.now_ms());
                drop(reply.try_send(paths.as_ref().map(|paths| paths.snapshot(now))));
            }
            Request::Scan(scan) if self.scans.len() < MAX_SCANS => self.scans.push_back(scan),
            Request::Scan(_) => {}
            Request::Talkers(query, reply) => drop(reply.try_send(self.talkers(&query))),
            Request::Change(change) => self.change(*change),
        }
    }

    fn change(&mut self, change: FlowChange) {
        self.table.set_limits(change.settings.table);
        self.accounting.rollup.set_limits(change.settings.rollup);
        self.series_ttl_ms = change.settings.rollup.series_ttl_ms;
        self.accounting.enricher.set_prefixes(&change.prefixes);
        if let (Some((conversations, _)), Some(settings)) =
            (&mut self.conversations, &change.settings.history)
        {
            conversations.change(settings);
        }
        if let Some(export_sender) = change.export_sender {
            // dropping the previous sender flushes its batch
            self.accounting.export_sender = export_sender;
            self.full_since_ms = None;
        }
    }

    /// Continues the flow queries. Returns true if there is more to do.
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

    fn talkers(&mut self, query: &TalkerQuery) -> TalkerAnswer {
        let now = self.advance();
        self.accounting.talkers.open(query, now);
        self.seed_talkers();
        let answer = self
            .accounting
            .with_talkers(|talkers, context| talkers.answer(query, now, context));
        self.accounting.enricher.end_batch();
        answer
    }

    /// Reads the flow table for new lists of talkers. Returns true if there is more to do.
    fn seed_talkers(&mut self) -> bool {
        if !self.accounting.talkers.is_seeding() {
            return false;
        }
        let (table, now) = (&self.table, (self.now_ms(), clock::boot_ns()));
        let more = self
            .accounting
            .with_talkers(|talkers, context| talkers.seed(table, now, SCAN_TIME, context));
        self.accounting.enricher.end_batch();
        more
    }

    fn snapshot(&mut self) -> Snapshot {
        // not older than the time of any series that is created later
        let at_ms = self.now_ms();
        let totals = self.totals();
        let clock = self.clock.times();
        let paths = self.accounting.paths.as_mut();
        let transit = paths.map(|paths| paths.transit(at_ms));
        let FlowAccounting {
            rollup, enricher, ..
        } = &mut self.accounting;
        Snapshot {
            at_ms,
            clock,
            series: rollup.rows(),
            asns: rollup.asns(|asn| enricher.asn_name(asn)),
            totals,
            peers: self
                .peers
                .as_ref()
                .map(PeerCounters::snapshot)
                .unwrap_or_default(),
            transit: transit.unwrap_or_default(),
            sources: self
                .sources
                .as_ref()
                .map(SourceCounters::snapshot)
                .unwrap_or_default(),
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
