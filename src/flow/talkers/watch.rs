// SPDX-License-Identifier: AGPL-3.0-only
//! The lists and the curve of one filter.

use std::collections::VecDeque;
use std::net::IpAddr;

use super::filter::{self, TrafficFilter};
use super::top_list::{Addition, TopLine, TopList};
use super::{POINTS, ROWS, TICK_MS, Talker, TalkerAnswer, TalkerList, TalkerPoint, TalkerRow};
use crate::flow::labels::SetId;
use crate::flow::query::{FlowContext, Sum};
use crate::flow::sliding_window::minute;
use crate::flow::table::FlowTable;
use crate::flow::volume::Volume;
use crate::types::flow::{Family, FlowKey, FlowRecord};

/// The window of a list: the running minute and five before.
const WINDOW_MS: u64 = 300_000;

#[derive(Debug)]
pub(super) struct WatchedList {
    kind: TalkerList,
    top: TopList,
    asked_ms: u64,
    /// The time from which on the list has the traffic.
    since_ms: u64,
    /// Flows of the table below this number are to be read; `None` when all are.
    cursor: Option<usize>,
}

#[derive(Debug)]
pub(super) struct TrafficWatch {
    pub filter: TrafficFilter,
    pub asked_ms: u64,
    pub lists: Vec<WatchedList>,
    points: VecDeque<TalkerPoint>,
    /// Bytes and packets since the last tick, by direction and family.
    pending: [[[u64; 2]; 2]; 2],
    ticked_ms: u64,
}

impl TrafficWatch {
    pub fn new(filter: TrafficFilter, now_ms: u64) -> Self {
        Self {
            filter,
            asked_ms: now_ms,
            lists: Vec::new(),
            points: VecDeque::new(),
            pending: Default::default(),
            ticked_ms: now_ms,
        }
    }

    /// Notes a question; returns whether the list exists.
    pub fn ask(&mut self, kind: TalkerList, now_ms: u64) -> bool {
        self.asked_ms = now_ms;
        let list = self.lists.iter_mut().find(|list| list.kind == kind);
        list.map(|list| list.asked_ms = now_ms).is_some()
    }

    pub fn add(&mut self, kind: TalkerList, now_ms: u64) {
        self.lists.push(WatchedList {
            kind,
            top: TopList::new(minute(now_ms)),
            asked_ms: now_ms,
            since_ms: now_ms,
            cursor: Some(usize::MAX),
        });
    }

    /// Returns the time of the last question for the list that has not been asked for longest.
    pub fn oldest_ms(&self) -> u64 {
        let asked = self.lists.iter().map(|list| list.asked_ms);
        asked.min().unwrap_or(u64::MAX)
    }

    pub fn evict_oldest(&mut self) {
        let oldest = self.oldest_ms();
        if let Some(at) = self.lists.iter().position(|list| list.asked_ms == oldest) {
            self.lists.remove(at);
        }
    }

    /// Adds a record that matches the filter.
    pub fn count(
        &mut self,
        record: &FlowRecord,
        set: SetId,
        now_ms: u64,
        context: &impl FlowContext,
    ) {
        let volume = Volume::from(record);
        let key = &record.key;
        let family = usize::from(key.family != Family::Ipv4);
        let pending = &mut self.pending[key.direction as usize][family];
        pending[0] = pending[0].saturating_add(volume.bytes);
        pending[1] = pending[1].saturating_add(volume.packets);
        let added = Addition {
            direction: key.direction,
            volume,
            rates: None,
        };
        for list in self.lists.iter_mut().filter(|list| list.cursor.is_none()) {
            let talker = talker(list.kind, key, set, context);
            list.top.add(talker, minute(now_ms), &added);
        }
    }

    /// Reads some flows of the table for a new list. Returns true if there was one to read. `now` is monotonic in
    /// milliseconds, and CLOCK_BOOTTIME in nanoseconds.
    pub fn seed(
        &mut self,
        table: &FlowTable,
        (now_ms, now_ns): (u64, u64),
        flows: usize,
        context: &impl FlowContext,
    ) -> bool {
        let Some(list) = self.lists.iter_mut().find(|list| list.cursor.is_some()) else {
            return false;
        };
        let cursor = list.cursor.unwrap_or_default().min(table.len());
        let next = cursor.saturating_sub(flows);
        for at in (next..cursor).rev() {
            let Some((part, set)) = table.at(at).filter(|(part, _)| part.packets > 0) else {
                continue;
            };
            if !self.filter.admits(part, set, context) {
                continue;
            }
            let sum = Sum::of(part, now_ns);
            let age_ms = now_ns.saturating_sub(part.first) / 1_000_000;
            list.since_ms = list.since_ms.min(now_ms.saturating_sub(age_ms));
            let added = Addition {
                direction: part.key.direction,
                volume: Volume::from(part),
                rates: Some([sum.bytes_per_second as f32, sum.packets_per_second as f32]),
            };
            let talker = talker(list.kind, &part.key, set, context);
            list.top.add(talker, minute(now_ms), &added);
        }
        list.cursor = (next > 0).then_some(next);
        true
    }

    pub fn is_seeding(&self) -> bool {
        self.lists.iter().any(|list| list.cursor.is_some())
    }

    /// Completes the ticks until `now_ms`.
    pub fn advance(&mut self, now_ms: u64) {
        let elapsed = now_ms.saturating_sub(self.ticked_ms);
        let ticks = elapsed / TICK_MS;
        if ticks == 0 {
            return;
        }
        // the last tick may be a little longer than the others
        self.ticked_ms = now_ms - elapsed % TICK_MS;
        let seconds = (ticks * TICK_MS) as f32 / 1000.0;
        let pending = std::mem::take(&mut self.pending);
        let point = pending.map(|families| families.map(|sums| sums.map(|n| n as f32 / seconds)));
        for _ in 0..ticks.min(POINTS as u64) {
            if self.points.len() == POINTS {
                self.points.pop_front();
            }
            self.points.push_back(point);
        }
        for list in self.lists.iter_mut().filter(|list| list.cursor.is_none()) {
            list.top.tick(minute(now_ms), seconds);
        }
    }

    pub fn answer(
        &self,
        kind: TalkerList,
        now_ms: u64,
        context: &impl FlowContext,
    ) -> Option<TalkerAnswer> {
        let list = self.lists.iter().find(|list| list.kind == kind)?;
        let now = minute(now_ms);
        let lines = list.top.lines(now, ROWS).into_iter();
        let into_window = WINDOW_MS + now_ms % 60_000;
        Some(TalkerAnswer {
            is_complete: list.cursor.is_none(),
            covered_ms: now_ms.saturating_sub(list.since_ms).clamp(1, into_window),
            rows: lines.map(|line| row(line, context)).collect(),
            totals: list.top.totals(now),
            missing_at_most: list.top.missing_at_most(now),
            points: self.points.iter().copied().collect(),
            end_ms: self.ticked_ms,
            evicted: list.top.evicted(),
            ..TalkerAnswer::default()
        })
    }

    pub fn bytes(&self) -> usize {
        let lists = self.lists.iter().map(|list| list.top.bytes());
        lists.sum::<usize>() + self.points.capacity() * size_of::<TalkerPoint>()
    }
}

fn talker(kind: TalkerList, key: &FlowKey, set: SetId, context: &impl FlowContext) -> Talker {
    match kind {
        TalkerList::Hosts(end) => Talker::Host(filter::address(key, end)),
        TalkerList::Prefixes(end) => Talker::prefix(filter::address(key, end)),
        TalkerList::Networks(end) => Talker::Asn(filter::asn(key, set, end, context)),
        TalkerList::Services => {
            let (protocol, port) = filter::service(key);
            Talker::Service(protocol, port)
        }
    }
}

/// Adds the names of a talker.
fn row(line: TopLine, context: &impl FlowContext) -> TalkerRow {
    let mut row = TalkerRow {
        talker: line.talker,
        volumes: line.volumes,
        error: line.error,
        asn: 0,
        asn_name: None,
        country: None,
        net: None,
    };
    match line.talker {
        Talker::Host(address) | Talker::Network(address) => {
            let known = context.known(&record_of(address)).src;
            row.asn = known.asn;
            row.asn_name = known.asn_name;
            row.country = known.country;
            row.net = known.net;
        }
        Talker::Asn(asn) => {
            row.asn = asn;
            row.asn_name = context.asn_name(asn);
        }
        Talker::Service(..) => {}
    }
    row
}

/// Returns a record with this address at both ends, for a lookup.
fn record_of(address: IpAddr) -> FlowRecord {
    let (family, bytes) = match address {
        IpAddr::V4(address) => {
            let mut bytes = [0; 16];
            bytes[..4].copy_from_slice(&address.octets());
            (Family::Ipv4, bytes)
        }
        IpAddr::V6(address) => (Family::Ipv6, address.octets()),
    };
    let mut record = FlowRecord::empty(family);
    (record.key.src, record.key.dst) = (bytes, bytes);
    record
}
