// SPDX-License-Identifier: AGPL-3.0-only
//! THREAD flow: owns the flow table and the rollup, and answers questions about them.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded, never, select};

use super::labels::SetId;
use super::outlet::Outlet;
use super::query::{Facts, Scan};
use super::rollup::{self, Rollup, Tally};
use super::snapshot::{Snapshot, Totals};
use super::table::{self, CompletedFlow, FlowTable, Ledger};
use crate::sys::clock;
use crate::sys::threads::Heartbeat;
use crate::types::flow::{FlowKey, FlowRecord};
use crate::types::label::{Enrichment, Labels};
use crate::types::static_prefix::StaticPrefix;

#[cfg(test)]
mod tests;

/// How long the thread sleeps when there is nothing to do: often enough for the heartbeat and for
/// timeouts of seconds.
const IDLE_TICK: Duration = Duration::from_millis(500);
/// How long it sleeps when no record will come any more: soon it will be told to end.
const LAST_TICK: Duration = Duration::from_millis(10);
/// How long it sleeps when parts wait for room in the outlet.
const FULL_TICK: Duration = Duration::from_millis(5);
/// Parts completed between two batches.
const EXPIRE_PER_TURN: usize = 4096;
/// Parts that are due wait so long for room; then they are completed, and dropped if there is none.
const MAX_WAIT_MS: u64 = 1_000;
/// How long the last parts may take to leave.
const FAREWELL: Duration = Duration::from_secs(2);
/// For questions about flows between two batches: the ring holds what comes in a multiple of it.
const SCAN_PER_TURN: Duration = Duration::from_millis(1);
/// Questions that are answered one after the other; one more is turned away.
const MAX_SCANS: usize = 4;

/// Where the flow thread learns the names of interfaces.
pub trait Names: Send {
    /// Advances when a name may have changed; flows are then asked about again as they go on.
    fn generation(&self) -> u32;
    fn name(&self, ifindex: u32) -> Option<Arc<str>>;
}

/// Where the flow thread learns whose the addresses of a flow are.
pub trait Knowledge: Send {
    /// As in [`Names`]. `now_ms` is monotonic.
    fn generation(&mut self, now_ms: u64) -> u32;
    fn enrichment(&self, key: &FlowKey) -> Enrichment;
    /// The configuration tells other networks from now on.
    fn set_prefixes(&mut self, prefixes: &[StaticPrefix]);
    /// There will be no question for a while.
    fn end_batch(&mut self) {}
}

/// Knows nothing.
impl Knowledge for () {
    fn generation(&mut self, _: u64) -> u32 {
        0
    }

    fn enrichment(&self, _: &FlowKey) -> Enrichment {
        Enrichment::default()
    }

    fn set_prefixes(&mut self, _: &[StaticPrefix]) {}
}

pub struct Settings {
    pub table: table::Limits,
    pub rollup: rollup::Limits,
    pub labels: Labels,
}

/// What may change while the thread runs: all but the labels.
pub struct Change {
    pub settings: Settings,
    pub prefixes: Vec<StaticPrefix>,
    /// Where completed parts go from now on, if that changes.
    pub outlet: Option<Option<Outlet>>,
}

/// What others ask of the flow thread. An answer that nobody waits for any more is dropped.
pub enum Request {
    Snapshot(Sender<Snapshot>),
    Totals(Sender<Totals>),
    /// Is dropped, and its channel closed, where too many wait already.
    Scan(Box<Scan>),
    Change(Box<Change>),
}

/// The flow thread's ends of its channels.
pub struct Channels {
    pub records: Receiver<Vec<FlowRecord>>,
    /// Takes the emptied batches back.
    pub spare: Sender<Vec<FlowRecord>>,
    pub requests: Receiver<Request>,
    /// Where completed parts go.
    pub outlet: Option<Outlet>,
}

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoAnswer {
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
) -> Result<T, NoAnswer> {
    let deadline = Instant::now() + timeout;
    let (reply, answer) = bounded(1);
    requests
        .send_deadline(request(reply), deadline)
        .map_err(|_| NoAnswer::Late)?;
    answer.recv_deadline(deadline).map_err(|error| match error {
        RecvTimeoutError::Timeout => NoAnswer::Late,
        RecvTimeoutError::Disconnected => NoAnswer::Refused,
    })
}

/// Asks for a snapshot; `None` if the flow thread does not answer in time.
pub fn snapshot(requests: &Sender<Request>, timeout: Duration) -> Option<Snapshot> {
    ask(requests, timeout, Request::Snapshot).ok()
}

/// The body of the thread. It ends when it is told to and no record is waiting.
pub fn run(
    settings: &Settings,
    names: impl Names,
    knowledge: impl Knowledge,
    mut channels: Channels,
    heartbeat: &Heartbeat,
) {
    let mut worker = Worker {
        epoch: Instant::now(),
        table: FlowTable::new(settings.table),
        books: Books {
            rollup: Rollup::new(settings.labels, settings.rollup),
            names,
            knowledge,
            generation: 0,
            outlet: channels.outlet.take(),
        },
        accounted_packets: 0,
        accounted_bytes: 0,
        full_since_ms: None,
        scans: VecDeque::new(),
    };
    let mut pause = None;
    let mut tick = IDLE_TICK;
    loop {
        heartbeat.beat();
        if heartbeat.stopping() && channels.records.is_empty() {
            worker.end(heartbeat);
            return;
        }
        let patience = pause.unwrap_or(tick);
        select! {
            recv(channels.records) -> batch => match batch {
                Ok(batch) => {
                    let batch = worker.account(batch);
                    // No room: there are spare ones enough.
                    drop(channels.spare.try_send(batch));
                }
                // Thread ring has ended, as it does just before this one is told to. A closed
                // channel is always ready: wait for the rest alone.
                Err(_) => {
                    channels.records = never();
                    tick = LAST_TICK;
                }
            },
            recv(channels.requests) -> request => match request {
                Ok(request) => worker.answer(request),
                Err(_) => channels.requests = never(),
            },
            default(patience) => {}
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
    books: Books<N, K>,
    accounted_packets: u64,
    accounted_bytes: u64,
    /// Since when the outlet has had no room.
    full_since_ms: Option<u64>,
    scans: VecDeque<Box<Scan>>,
}

impl<N: Names, K: Knowledge> Worker<N, K> {
    fn now_ms(&self) -> u64 {
        self.epoch.elapsed().as_millis() as u64
    }

    /// Adds a batch to the table, and returns it empty.
    fn account(&mut self, mut batch: Vec<FlowRecord>) -> Vec<FlowRecord> {
        let now = self.now_ms();
        self.books.rollup.advance(now);
        self.books.learn(now);
        for record in batch.drain(..) {
            self.accounted_packets = self.accounted_packets.wrapping_add(record.packets);
            self.accounted_bytes = self.accounted_bytes.wrapping_add(record.frame_bytes);
            self.table.update(&record, now, &mut self.books);
        }
        self.books.knowledge.end_batch();
        batch
    }

    /// Ends what is due. If more is, says when to go on.
    fn expire(&mut self) -> Option<Duration> {
        let now = self.now_ms();
        self.books.rollup.advance(now);
        let limit = self.room(now);
        let more = self.table.expire(now, limit, &mut self.books);
        if let Some(outlet) = &mut self.books.outlet {
            outlet.turn(now);
        }
        match (more, limit) {
            (false, _) => None,
            (true, 0) => Some(FULL_TICK),
            (true, _) => Some(Duration::ZERO),
        }
    }

    /// Parts that may be completed now.
    fn room(&mut self, now_ms: u64) -> usize {
        let room = self.books.outlet.as_ref().map_or(usize::MAX, Outlet::room);
        if room > 0 {
            self.full_since_ms = None;
        } else if now_ms - *self.full_since_ms.get_or_insert(now_ms) < MAX_WAIT_MS {
            return 0;
        }
        match room {
            0 => EXPIRE_PER_TURN,
            room => room.min(EXPIRE_PER_TURN),
        }
    }

    /// Completes every flow for whoever takes them.
    fn end(&mut self, heartbeat: &Heartbeat) {
        if self.books.outlet.is_none() {
            return;
        }
        let deadline = Instant::now() + FAREWELL;
        loop {
            heartbeat.beat();
            let outlet = self.books.outlet.as_ref();
            // without room, what is left is counted as lost
            let room = match outlet.is_some_and(|outlet| outlet.wait(deadline)) {
                true => outlet.map_or(0, Outlet::room),
                false => EXPIRE_PER_TURN,
            };
            if !self.table.end(room.min(EXPIRE_PER_TURN), &mut self.books) {
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

    fn change(&mut self, change: Change) {
        self.table.set_limits(change.settings.table);
        self.books.rollup.set_limits(change.settings.rollup);
        self.books.knowledge.set_prefixes(&change.prefixes);
        if let Some(outlet) = change.outlet {
            // the one before lets go of its batch
            self.books.outlet = outlet;
            self.full_since_ms = None;
        }
    }

    /// Goes on with the questions about flows; true if there is more to do.
    fn scan(&mut self) -> bool {
        let Some(mut scan) = self.scans.pop_front() else {
            return false;
        };
        let now_ns = clock::boot_ns();
        if scan.go_on(&self.table, &self.books, now_ns, SCAN_PER_TURN) {
            scan.finish(&self.books, now_ns);
        } else {
            self.scans.push_front(scan);
        }
        !self.scans.is_empty()
    }

    fn snapshot(&self) -> Snapshot {
        let rollup = &self.books.rollup;
        Snapshot {
            series: rollup.rows(),
            asns: rollup.asns(),
            totals: self.totals(),
        }
    }

    fn totals(&self) -> Totals {
        let rollup = &self.books.rollup;
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
struct Books<N, K> {
    rollup: Rollup,
    names: N,
    knowledge: K,
    generation: u32,
    outlet: Option<Outlet>,
}

impl<N: Names, K: Knowledge> Books<N, K> {
    /// Asks whether there is something new.
    fn learn(&mut self, now_ms: u64) {
        // Each of the two only advances: so does their sum.
        let known = self.knowledge.generation(now_ms);
        self.generation = self.names.generation().wrapping_add(known);
    }
}

impl<N: Names, K: Knowledge> Ledger for Books<N, K> {
    fn generation(&self) -> u32 {
        self.generation
    }

    fn open(&mut self, key: &FlowKey) -> SetId {
        let name = self.names.name(key.ifindex);
        let name = name.as_deref().unwrap_or_default();
        self.rollup.open(key, name, &self.knowledge.enrichment(key))
    }

    fn relabel(&mut self, set: SetId, part: &FlowRecord) -> SetId {
        let new = self.open(&part.key);
        self.rollup.relabel(set, new, part.into());
        new
    }

    fn count(&mut self, set: SetId, record: &FlowRecord) {
        self.rollup.count(set, record.into());
    }

    fn complete(&mut self, set: SetId, part: &CompletedFlow) {
        self.rollup.settle(set, Tally::from(&part.record));
        if let Some(outlet) = &mut self.outlet {
            outlet.push(part);
        }
    }

    fn close(&mut self, set: SetId) {
        self.rollup.close(set);
    }
}

impl<N: Names, K: Knowledge> Facts for Books<N, K> {
    fn known(&self, key: &FlowKey) -> Enrichment {
        self.knowledge.enrichment(key)
    }

    fn asns(&self, key: &FlowKey, set: SetId) -> [u32; 2] {
        self.rollup.asns_of(set).unwrap_or_else(|| {
            let known = self.knowledge.enrichment(key);
            [known.src.asn, known.dst.asn]
        })
    }

    fn name(&self, ifindex: u32) -> Option<Arc<str>> {
        self.names.name(ifindex)
    }
}
