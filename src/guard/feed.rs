// SPDX-License-Identifier: AGPL-3.0-only
//! The detector in thread flow, and its channel to thread guard.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use crossbeam_channel::{Receiver, Sender, bounded};

use super::DetectorSettings;
use super::detector::{Detector, ReportLookups};
use super::report::DetectorEvent;
use super::shared::GuardHandle;
use super::thresholds::{PlainThreshold, PlainThresholds};
use crate::flow::table::FlowTable;
use crate::flow::thread::{RecordLookup, RecordWatcher};
use crate::sys::clock;
use crate::types::flow::FlowRecord;

/// Events that wait for thread guard; one more is dropped and counted.
const MAX_WAITING: usize = 256;

pub struct GuardFeed {
    detector: Detector,
    thresholds: PlainThresholds,
    events: Sender<DetectorEvent>,
    handle: GuardHandle,
}

impl GuardFeed {
    /// Returns the feed, and the events for thread guard.
    pub fn new(
        settings: DetectorSettings,
        thresholds: Vec<PlainThreshold>,
        handle: GuardHandle,
    ) -> (Self, Receiver<DetectorEvent>) {
        let (events, received) = bounded(MAX_WAITING);
        let random = RandomState::new().hash_one(0);
        let now = clock::boot_ns();
        let feed = Self {
            detector: Detector::new(settings, random, now),
            thresholds: PlainThresholds::new(thresholds, now),
            events,
            handle,
        };
        (feed, received)
    }
}

impl RecordWatcher for GuardFeed {
    fn count(&mut self, record: &FlowRecord, flows: &FlowTable, lookup: &dyn RecordLookup) {
        if !self.thresholds.is_empty() {
            self.thresholds.count(record, lookup);
        }
        if lookup.is_summed(record.key.ifindex) {
            self.detector.count(record, flows);
        }
    }

    /// Evaluates what has been counted, and sends the events.
    fn advance(&mut self, flows: &FlowTable, lookup: &dyn RecordLookup) {
        let now = clock::boot_ns();
        let unix_s = clock::unix_seconds();
        let known = ReportLookups { flows, lookup };
        if !self.detector.advance(now, unix_s, known) {
            return;
        }
        let mut lost = 0;
        let mut waiting = self.detector.take_events();
        waiting.extend(self.thresholds.advance(now, || self.detector.next_id()));
        for event in waiting {
            lost += u64::from(self.events.try_send(event).is_err());
        }
        let learned = self.detector.take_learned().map(Arc::new);
        let hosts = self.detector.hosts();
        let mut state = self.handle.lock();
        state.hosts = hosts.len() as u64;
        state.evictions = hosts.evictions();
        state.watched = self.detector.watched() as u64;
        state.lost_reports += lost;
        if let Some(learned) = learned {
            state.unsaved = Some(Arc::clone(&learned));
            state.learned = learned;
        }
    }
}
