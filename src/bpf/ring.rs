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
use libbpf_rs::{ErrorKind, MapHandle, RingBuffer, RingBufferBuilder};

use super::cache::FlowCache;
use super::load::ReaderMap;
use super::pace::{Pace, Wait};
use super::record;
use crate::clock::Clock;
use crate::errors::{Errors, Subsystem};
use crate::flow::key::FlowRecord;
use crate::interfaces::Interfaces;
use crate::threads::Heartbeat;

/// After an error of poll(2), which none is known to give.
const ERROR_PAUSE: Duration = Duration::from_millis(100);

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
    /// Where this thread tells the programs whether it wants to be woken.
    pub word: ReaderMap,
    /// To be read at the end, when no program runs any more.
    pub flow_cache: Option<FlowCache>,
}

impl RingReader {
    /// Runs until asked to stop, then reads what is left in the ring and ends.
    pub fn run(self, heartbeat: &Heartbeat) -> io::Result<()> {
        let batcher = RefCell::new(Batcher::new(&self, heartbeat));
        let mut builder = RingBufferBuilder::new();
        builder
            .add(&self.ring, |bytes| batcher.borrow_mut().push(bytes))
            .map_err(io::Error::other)?;
        let ring = builder.build().map_err(io::Error::other)?;

        let mut pace = Pace::new(self.flow_cache.is_some(), Instant::now());
        let mut wait = pace.next(0, Instant::now());
        while !heartbeat.stopping() {
            self.wait(&ring, wait);
            ring.consume().map_err(io::Error::other)?;
            let now = Instant::now();
            let records = batcher.borrow_mut().end_round(now)?;
            let next = pace.next(records, now);
            self.announce(wait, next);
            wait = next;
        }
        self.announce(wait, Wait::Poll(Duration::ZERO));
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

    fn wait(&self, ring: &RingBuffer<'_>, wait: Wait) {
        let timeout = match wait {
            Wait::Pause(time) => return std::thread::sleep(time),
            Wait::Poll(timeout) => timeout,
        };
        match ring.poll(timeout) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => {
                self.errors
                    .report(Subsystem::RingBuffer, "poll", || error.to_string());
                std::thread::sleep(ERROR_PAUSE);
            }
        }
    }

    /// Tells the programs whether they need to wake this thread. What they sent between the last
    /// reading and this word waits for the poll's timeout at the most.
    fn announce(&self, before: Wait, next: Wait) {
        let polling = matches!(next, Wait::Pause(_));
        if polling == matches!(before, Wait::Pause(_)) {
            return;
        }
        if !polling {
            // what a flood needed goes back to the system after it
            drop(self.spares.try_iter().collect::<Vec<_>>());
        }
        if let Err(error) = self.word.set_polling(polling) {
            self.errors
                .report(Subsystem::BpfMap, "write", || error.to_string());
        }
    }
}

struct Batcher<'a> {
    reader: &'a RingReader,
    heartbeat: &'a Heartbeat,
    clock: Clock,
    batch: Vec<FlowRecord>,
    /// Records of this round.
    records: usize,
    /// The interface of the last record: records come in runs.
    recent: Option<(u32, u32)>,
    /// Thread flow has ended; nothing can be delivered.
    closed: bool,
}

impl<'a> Batcher<'a> {
    fn new(reader: &'a RingReader, heartbeat: &'a Heartbeat) -> Self {
        Self {
            reader,
            heartbeat,
            clock: Clock::new(),
            batch: Vec::with_capacity(BATCH),
            records: 0,
            recent: None,
            closed: false,
        }
    }

    /// Takes one record from the ring. A non-zero answer ends this round of reading.
    fn push(&mut self, bytes: &[u8]) -> i32 {
        self.records += 1;
        let interfaces = &self.reader.interfaces;
        let recent = &mut self.recent;
        match record::decode(bytes, &self.clock, |slot| match *recent {
            Some((known, ifindex)) if known == slot => Some(ifindex),
            _ => {
                let ifindex = interfaces.ifindex_of(slot)?;
                *recent = Some((slot, ifindex));
                Some(ifindex)
            }
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

    /// Sends what there is. How many records the round had.
    fn end_round(&mut self, now: Instant) -> io::Result<usize> {
        self.flush();
        if self.closed {
            return Err(io::Error::other("thread flow has gone"));
        }
        self.clock.refresh(now);
        self.recent = None;
        Ok(std::mem::take(&mut self.records))
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
