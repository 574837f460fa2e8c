// SPDX-License-Identifier: AGPL-3.0-only
//! THREAD ring: polls the ring buffer, decodes, and hands batches to thread flow.
//!
//! A full channel blocks this thread: then the ring fills, and the kernel counts what it loses. So
//! loss has one place and one counter.

use std::cell::RefCell;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender};
use libbpf_rs::{ErrorKind, MapHandle, RingBufferBuilder};

use super::cache::FlowCache;
use super::record;
use crate::clock::Clock;
use crate::errors::{Errors, Subsystem};
use crate::flow::key::FlowRecord;
use crate::interfaces::Interfaces;
use crate::threads::Heartbeat;

/// Bounds the delay of a record that did not fill a wakeup batch.
const POLL_TIMEOUT: Duration = Duration::from_millis(100);

/// With a flow cache every sweep that sent something wakes the reader, so that after this many rounds
/// without a record, more than a sweep takes, it looks less often. A look costs 50 µs of an idle CPU.
const SILENT_ROUNDS: u32 = 20;
const SILENT_TIMEOUT: Duration = Duration::from_millis(500);

/// Records in one batch to thread flow.
pub const BATCH: usize = 256;

/// What thread ring works with.
pub struct RingReader {
    pub ring: MapHandle,
    pub interfaces: Arc<Interfaces>,
    pub errors: Arc<Errors>,
    /// Batches to thread flow.
    pub batches: Sender<Vec<FlowRecord>>,
    /// Empty vectors on their way back, to be filled again.
    pub spares: Receiver<Vec<FlowRecord>>,
    /// To be read at the end, when no program runs any more.
    pub flow_cache: Option<FlowCache>,
}

impl RingReader {
    /// Runs until asked to stop, then reads what is left in the ring and ends.
    pub fn run(self, heartbeat: &Heartbeat) -> io::Result<()> {
        let batcher = RefCell::new(Batcher {
            reader: &self,
            heartbeat,
            clock: Clock::new(),
            batch: Vec::with_capacity(BATCH),
            received: false,
            closed: false,
        });
        let mut builder = RingBufferBuilder::new();
        builder
            .add(&self.ring, |bytes| batcher.borrow_mut().push(bytes))
            .map_err(io::Error::other)?;
        let ring = builder.build().map_err(io::Error::other)?;

        let mut silent_rounds = 0_u32;
        while !heartbeat.stopping() {
            heartbeat.beat();
            match ring.poll(self.poll_timeout(silent_rounds)) {
                // a timeout reads nothing by itself, and less than a batch wakes nobody
                Ok(()) => ring.consume().map_err(io::Error::other)?,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => {
                    self.errors
                        .report(Subsystem::RingBuffer, "poll", || error.to_string());
                    std::thread::sleep(POLL_TIMEOUT);
                }
            }
            let mut batcher = batcher.borrow_mut();
            batcher.flush();
            if batcher.closed {
                return Err(io::Error::other("thread flow has gone"));
            }
            batcher.clock.refresh(Instant::now());
            silent_rounds = match std::mem::take(&mut batcher.received) {
                true => 0,
                false => silent_rounds.saturating_add(1),
            };
        }
        // all programs are detached by now: what is in the ring and the cache is all there will be
        ring.consume().map_err(io::Error::other)?;
        let mut batcher = batcher.borrow_mut();
        if let Some(cache) = &self.flow_cache {
            cache.leftovers(|bytes| {
                batcher.push(bytes);
            })?;
        }
        batcher.flush();
        Ok(())
    }

    fn poll_timeout(&self, silent_rounds: u32) -> Duration {
        match self.flow_cache.is_some() && silent_rounds >= SILENT_ROUNDS {
            true => SILENT_TIMEOUT,
            false => POLL_TIMEOUT,
        }
    }
}

struct Batcher<'a> {
    reader: &'a RingReader,
    heartbeat: &'a Heartbeat,
    clock: Clock,
    batch: Vec<FlowRecord>,
    /// Something came in this round.
    received: bool,
    /// Thread flow has ended; nothing can be delivered.
    closed: bool,
}

impl Batcher<'_> {
    /// Takes one record from the ring. A non-zero answer ends this round of reading.
    fn push(&mut self, bytes: &[u8]) -> i32 {
        self.received = true;
        match record::decode(bytes, &self.clock, |slot| {
            self.reader.interfaces.ifindex_of(slot)
        }) {
            Ok(record) => self.batch.push(record),
            Err(error) => self
                .reader
                .errors
                .report(Subsystem::RingBuffer, "decode", || error.to_string()),
        }
        if self.batch.len() >= BATCH {
            self.flush();
        }
        i32::from(self.closed)
    }

    fn flush(&mut self) {
        self.heartbeat.beat();
        if self.batch.is_empty() {
            return;
        }
        let next = self
            .reader
            .spares
            .try_recv()
            .unwrap_or_else(|_| Vec::with_capacity(BATCH));
        let full = std::mem::replace(&mut self.batch, next);
        self.closed = self.reader.batches.send(full).is_err();
    }
}
