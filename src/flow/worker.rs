// SPDX-License-Identifier: AGPL-3.0-only
//! THREAD flow: owns the flow table and the rollup, and answers questions about them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded, never, select};

use super::key::{FlowKey, FlowRecord};
use super::labels::{Enrichment, Labels};
use super::rollup::{self, Rollup, SetId, Tally};
use super::snapshot::{Snapshot, Totals};
use super::table::{self, CompletedFlow, FlowTable, Ledger};
use crate::threads::Heartbeat;

/// How long the thread sleeps when there is nothing to do: often enough for the heartbeat and for
/// timeouts of seconds.
const IDLE_TICK: Duration = Duration::from_millis(250);
/// Parts completed between two batches.
const EXPIRE_PER_TURN: usize = 4096;

/// Where the flow thread learns the names of interfaces.
pub trait Names: Send {
    /// Advances when a name may have changed; flows are then asked about again as they go on.
    fn generation(&self) -> u32;
    fn name(&self, ifindex: u32) -> Option<Arc<str>>;
}

pub struct Settings {
    pub table: table::Limits,
    pub rollup: rollup::Limits,
    pub labels: Labels,
}

/// What others ask of the flow thread. An answer that nobody waits for any more is dropped.
pub enum Request {
    Snapshot(Sender<Snapshot>),
}

/// The flow thread's ends of its channels.
pub struct Channels {
    pub records: Receiver<Vec<FlowRecord>>,
    /// Takes the emptied batches back.
    pub spare: Sender<Vec<FlowRecord>>,
    pub requests: Receiver<Request>,
}

/// Asks for a snapshot; `None` if the flow thread does not answer in time.
pub fn snapshot(requests: &Sender<Request>, timeout: Duration) -> Option<Snapshot> {
    let deadline = Instant::now() + timeout;
    let (reply, answer) = bounded(1);
    requests
        .send_deadline(Request::Snapshot(reply), deadline)
        .ok()?;
    answer.recv_deadline(deadline).ok()
}

/// The body of the thread. It ends when it is told to and no record is waiting.
pub fn run(settings: &Settings, names: impl Names, mut channels: Channels, heartbeat: &Heartbeat) {
    let mut worker = Worker {
        epoch: Instant::now(),
        table: FlowTable::new(settings.table),
        books: Books {
            rollup: Rollup::new(settings.labels, settings.rollup),
            names,
            generation: 0,
        },
        accounted_packets: 0,
        accounted_bytes: 0,
    };
    let mut behind = false;
    loop {
        heartbeat.beat();
        if heartbeat.stopping() && channels.records.is_empty() {
            return;
        }
        let patience = if behind { Duration::ZERO } else { IDLE_TICK };
        select! {
            recv(channels.records) -> batch => match batch {
                Ok(batch) => {
                    let batch = worker.account(batch);
                    // No room: there are spare ones enough.
                    drop(channels.spare.try_send(batch));
                }
                // A closed channel is always ready: wait for the rest alone.
                Err(_) => channels.records = never(),
            },
            recv(channels.requests) -> request => match request {
                Ok(request) => worker.answer(request),
                Err(_) => channels.requests = never(),
            },
            default(patience) => {}
        }
        behind = worker.expire();
    }
}

struct Worker<N> {
    epoch: Instant,
    table: FlowTable,
    books: Books<N>,
    accounted_packets: u64,
    accounted_bytes: u64,
}

impl<N: Names> Worker<N> {
    fn now_ms(&self) -> u64 {
        self.epoch.elapsed().as_millis() as u64
    }

    /// Adds a batch to the table, and returns it empty.
    fn account(&mut self, mut batch: Vec<FlowRecord>) -> Vec<FlowRecord> {
        let now = self.now_ms();
        self.books.rollup.advance(now);
        self.books.generation = self.books.names.generation();
        for record in batch.drain(..) {
            self.accounted_packets = self.accounted_packets.wrapping_add(record.packets);
            self.accounted_bytes = self.accounted_bytes.wrapping_add(record.bytes);
            self.table.update(&record, now, &mut self.books);
        }
        batch
    }

    /// Ends what is due; true if more is.
    fn expire(&mut self) -> bool {
        let now = self.now_ms();
        self.books.rollup.advance(now);
        self.table.expire(now, EXPIRE_PER_TURN, &mut self.books)
    }

    fn answer(&self, request: Request) {
        match request {
            // The channel holds one answer, so this fails only if the asker has gone.
            Request::Snapshot(reply) => drop(reply.try_send(self.snapshot())),
        }
    }

    fn snapshot(&self) -> Snapshot {
        let rollup = &self.books.rollup;
        Snapshot {
            series: rollup.rows(),
            totals: Totals {
                accounted_packets: self.accounted_packets,
                accounted_bytes: self.accounted_bytes,
                active_flows: self.table.len() as u64,
                max_flows: self.table.max_flows() as u64,
                forced_evictions: self.table.forced_evictions(),
                series: rollup.series() as u64,
                series_limit: rollup.max_series() as u64,
                series_folded: rollup.folded(),
            },
        }
    }
}

/// Keeps the rollup in step with the table.
struct Books<N> {
    rollup: Rollup,
    names: N,
    generation: u32,
}

impl<N: Names> Ledger for Books<N> {
    fn generation(&self) -> u32 {
        self.generation
    }

    fn open(&mut self, key: &FlowKey) -> SetId {
        let name = self.names.name(key.ifindex);
        let name = name.as_deref().unwrap_or_default();
        self.rollup.open(key, name, &Enrichment::default())
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
    }

    fn close(&mut self, set: SetId) {
        self.rollup.close(set);
    }
}
