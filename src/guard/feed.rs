// SPDX-License-Identifier: AGPL-3.0-only
//! The detector in thread flow, and its channel to thread guard.

use std::hash::{BuildHasher, RandomState};

use crossbeam_channel::{Receiver, Sender, bounded};

use super::DetectorSettings;
use super::detector::Detector;
use super::report::DetectorEvent;
use super::shared::GuardHandle;
use crate::flow::table::FlowTable;
use crate::flow::thread::RecordWatcher;
use crate::sys::clock;
use crate::types::flow::FlowRecord;

/// Events that wait for thread guard; one more is dropped and counted.
const MAX_WAITING: usize = 256;

pub struct GuardFeed {
    detector: Detector,
    events: Sender<DetectorEvent>,
    handle: GuardHandle,
}

impl GuardFeed {
    /// Returns the feed, and the events for thread guard.
    pub fn new(settings: DetectorSettings, handle: GuardHandle) -> (Self, Receiver<DetectorEvent>) {
        let (events, received) = bounded(MAX_WAITING);
        let random = RandomState::new().hash_one(0);
        let detector = Detector::new(settings, random, clock::boot_ns());
        let feed = Self {
            detector,
            events,
            handle,
        };
        (feed, received)
    }
}

impl RecordWatcher for GuardFeed {
    fn count(&mut self, record: &FlowRecord, flows: &FlowTable) {
        self.detector.count(record, flows);
    }

    /// Evaluates what has been counted, and sends the events.
    fn advance(&mut self, flows: &FlowTable) {
        if !self.detector.advance(clock::boot_ns(), flows) {
            return;
        }
        let mut lost = 0;
        for event in self.detector.take_events() {
            lost += u64::from(self.events.try_send(event).is_err());
        }
        let hosts = self.detector.hosts();
        let mut state = self.handle.lock();
        state.hosts = hosts.len() as u64;
        state.evictions = hosts.evictions();
        state.watched = self.detector.watched() as u64;
        state.lost_reports += lost;
    }
}
