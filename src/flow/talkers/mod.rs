// SPDX-License-Identifier: AGPL-3.0-only
//! Top talkers: the hosts, prefixes, services and networks with the most traffic of the last minutes, and the curve of
//! the traffic that matches a filter. Pure.
//!
//! - [`filter`]: the traffic that a reader selects,
//! - `top_list`: a list of talkers, in bounded memory,
//! - `watch`: the lists and the curve of one filter.
//!
//! Nothing is counted until a reader asks, and a watch ends [`KEEP_MS`] after the last question. A new list starts with
//! the partial records of the flow table, so that the first answer covers up to a minute.

pub mod filter;
mod top_list;
mod watch;

#[cfg(test)]
mod tests;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use self::filter::TrafficFilter;
use self::watch::TrafficWatch;
use super::labels::SetId;
use super::query::FlowContext;
use super::table::FlowTable;
use crate::types::address_detail::short_length;
use crate::types::flow::FlowRecord;
use crate::types::prefix::Prefix;

pub use self::top_list::COUNTERS;

/// Maximum number of watches, of 24 kB each; then the one that has not been asked for longest is evicted.
pub const MAX_WATCHES: usize = 8;
/// Maximum number of lists of all watches, of 100 kB each; then the one that has not been asked for longest is evicted.
pub const MAX_LISTS: usize = 16;
/// The time after the last question for which a watch counts.
pub const KEEP_MS: u64 = 600_000;
/// The time between two points of a curve.
pub const TICK_MS: u64 = 5_000;
/// The number of points of a curve: an hour.
pub const POINTS: usize = 720;
/// Maximum number of rows of an answer.
const ROWS: usize = 100;
/// The number of flows visited between two reads of the clock.
const STEP: usize = 64;

/// The values of one talker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Talker {
    Host(IpAddr),
    /// A /24 or a /48.
    Network(IpAddr),
    /// The protocol, and the lower of the two ports; 0 if there are no ports.
    Service(u8, u16),
    Asn(u32),
}

impl Talker {
    fn prefix(address: IpAddr) -> Self {
        Self::Network(Prefix::new(address, short_length(address)).address())
    }
}

/// The end of the traffic, as seen from the router: the source at ingress and the destination at egress are remote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TrafficEnd {
    Remote,
    Local,
}

/// A list of talkers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TalkerList {
    Hosts(TrafficEnd),
    Prefixes(TrafficEnd),
    Services,
    Networks(TrafficEnd),
}

/// A question of a reader.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TalkerQuery {
    pub filter: TrafficFilter,
    pub list: TalkerList,
}

/// Traffic in the window of the list, scaled by the sample rate; rates are per second.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct TalkerVolume {
    pub bytes: u64,
    pub packets: u64,
    pub bytes_now: f32,
    pub packets_now: f32,
    /// The highest rates of a tick, which need not be of one tick.
    pub bytes_most: f32,
    pub packets_most: f32,
}

/// One line of a list. The bytes of a talker that was evicted and returned are too low by at most `error`, both
/// directions together.
#[derive(Clone, Debug)]
pub struct TalkerRow {
    pub talker: Talker,
    /// By [`crate::types::flow::Direction`].
    pub volumes: [TalkerVolume; 2],
    pub error: u64,
    /// The AS of the address, 0 if unknown.
    pub asn: u32,
    pub asn_name: Option<Arc<str>>,
    pub country: Option<Arc<str>>,
    pub net: Option<Arc<str>>,
}

/// One point of a curve: by direction, then family (IPv4, IPv6); bytes and packets per second.
pub type TalkerPoint = [[[f32; 2]; 2]; 2];

/// The answer to a [`TalkerQuery`].
#[derive(Clone, Debug, Default)]
pub struct TalkerAnswer {
    /// Whether the flow table was read to its end; otherwise the lists are shorter than they will be.
    pub is_complete: bool,
    /// The length of the window of the list.
    pub covered_ms: u64,
    /// Largest first, at most 100.
    pub rows: Vec<TalkerRow>,
    pub totals: [TalkerVolume; 2],
    /// A talker that was evicted from the list had at most this many bytes.
    pub missing_at_most: u64,
    /// Oldest first.
    pub points: Vec<TalkerPoint>,
    /// The time of the last point, from any origin.
    pub end_ms: u64,
    /// The number of talkers that were evicted from the list.
    pub evicted: u64,
    /// The number of watches and lists that were evicted since the start.
    pub evicted_lists: u64,
    /// The memory of all watches.
    pub bytes: usize,
}

#[derive(Debug, Default)]
pub struct Talkers {
    watches: Vec<TrafficWatch>,
    evicted: u64,
}

impl Talkers {
    /// Returns whether no watch counts.
    pub fn is_idle(&self) -> bool {
        self.watches.is_empty()
    }

    /// Adds a record that was received.
    pub fn count(
        &mut self,
        record: &FlowRecord,
        set: SetId,
        now_ms: u64,
        context: &impl FlowContext,
    ) {
        for watch in &mut self.watches {
            if watch.filter.admits(record, set, context) {
                watch.count(record, set, now_ms, context);
            }
        }
    }

    /// Completes the ticks until `now_ms`, and removes the watches that nobody reads.
    pub fn advance(&mut self, now_ms: u64) {
        self.watches
            .retain(|watch| now_ms.saturating_sub(watch.asked_ms) < KEEP_MS);
        for watch in &mut self.watches {
            watch.advance(now_ms);
        }
    }

    /// Starts what a question needs, if it does not exist yet.
    pub fn open(&mut self, query: &TalkerQuery, now_ms: u64) {
        let at = self.watches.iter().position(|w| w.filter == query.filter);
        let at = at.unwrap_or_else(|| {
            if self.watches.len() >= MAX_WATCHES {
                let idle = (0..self.watches.len()).min_by_key(|&at| self.watches[at].asked_ms);
                self.watches.remove(idle.unwrap_or_default());
                self.evicted += 1;
            }
            let watch = TrafficWatch::new(query.filter.clone(), now_ms);
            self.watches.push(watch);
            self.watches.len() - 1
        });
        if self.watches[at].ask(query.list, now_ms) {
            return;
        }
        let lists = self.watches.iter().map(|watch| watch.lists.len());
        if lists.sum::<usize>() >= MAX_LISTS {
            let oldest = self.watches.iter_mut().filter(|w| !w.lists.is_empty());
            if let Some(watch) = oldest.min_by_key(|watch| watch.oldest_ms()) {
                watch.evict_oldest();
                self.evicted += 1;
            }
        }
        self.watches[at].add(query.list, now_ms);
    }

    /// Reads the flow table for new lists, for at most `time`. Returns true if there is more to read.
    pub fn seed(
        &mut self,
        table: &FlowTable,
        now: (u64, u64),
        time: Duration,
        context: &impl FlowContext,
    ) -> bool {
        let start = Instant::now();
        for watch in &mut self.watches {
            while watch.seed(table, now, STEP, context) {
                if start.elapsed() >= time {
                    return true;
                }
            }
        }
        false
    }

    /// Returns whether the flow table is still to be read for a list.
    pub fn is_seeding(&self) -> bool {
        self.watches.iter().any(TrafficWatch::is_seeding)
    }

    /// Answers a question for which [`Talkers::open`] was called.
    pub fn answer(
        &self,
        query: &TalkerQuery,
        now_ms: u64,
        context: &impl FlowContext,
    ) -> TalkerAnswer {
        let watch = self.watches.iter().find(|w| w.filter == query.filter);
        let answer = watch.and_then(|watch| watch.answer(query.list, now_ms, context));
        TalkerAnswer {
            evicted_lists: self.evicted,
            bytes: self.watches.iter().map(TrafficWatch::bytes).sum(),
            ..answer.unwrap_or_default()
        }
    }
}
