// SPDX-License-Identifier: AGPL-3.0-only
//! A list of the talkers with the most bytes of the last five minutes, in a fixed number of counters.
//!
//! This is "space saving" (Metwally, Agrawal, El Abbadi 2005) over a sliding window: a new talker takes the counter with
//! the least bytes, and the counter keeps them. That is at most one part in [`COUNTERS`] of all bytes: a talker with more
//! is never evicted, and the bytes of one that returns are too low by at most that part. A record costs one lookup, and a
//! new talker the search for the least counter, which is constant on average.

use foldhash::fast::RandomState;
use hashbrown::HashMap;

use super::{Talker, TalkerVolume};
use crate::flow::lazy_min_heap::{HeapEntry, LazyMinHeap};
use crate::flow::rollup::Volume;
use crate::flow::sliding_window::SlidingWindow;
use crate::types::flow::Direction;

/// The number of counters of a list.
pub const COUNTERS: usize = 256;

/// The current minute and the five previous ones, as in [`SlidingWindow`].
const MINUTES: u32 = 6;

#[derive(Clone, Copy, Debug, Default)]
struct MinuteSums {
    bytes: u64,
    packets: u64,
    most: [f32; 2],
}

/// The traffic of one direction in the window.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct TalkerTraffic {
    minute: u32,
    minutes: [MinuteSums; MINUTES as usize],
    /// Bytes and packets since the last tick.
    pending: [u64; 2],
    now: [f32; 2],
}

impl TalkerTraffic {
    fn advance(&mut self, minute: u32) -> &mut MinuteSums {
        let passed = minute.saturating_sub(self.minute);
        for back in 0..passed.min(MINUTES) {
            self.minutes[((minute - back) % MINUTES) as usize] = MinuteSums::default();
        }
        self.minute += passed;
        &mut self.minutes[(self.minute % MINUTES) as usize]
    }

    fn add(&mut self, minute: u32, bytes: u64, packets: u64) {
        let current = self.advance(minute);
        current.bytes = current.bytes.saturating_add(bytes);
        current.packets = current.packets.saturating_add(packets);
    }

    fn tick(&mut self, minute: u32, seconds: f32) {
        self.now = std::mem::take(&mut self.pending).map(|n| n as f32 / seconds);
        let now = self.now;
        let current = self.advance(minute);
        for (most, now) in current.most.iter_mut().zip(now) {
            *most = most.max(now);
        }
    }

    fn volume(mut self, minute: u32) -> TalkerVolume {
        self.advance(minute);
        let most = |of: usize| {
            let minutes = self.minutes.iter().map(|minute| minute.most[of]);
            minutes.fold(self.now[of], f32::max)
        };
        TalkerVolume {
            bytes: self.minutes.iter().map(|minute| minute.bytes).sum(),
            packets: self.minutes.iter().map(|minute| minute.packets).sum(),
            bytes_now: self.now[0],
            packets_now: self.now[1],
            bytes_most: most(0),
            packets_most: most(1),
        }
    }
}

#[derive(Debug)]
struct TopCounter {
    talker: Talker,
    traffic: [TalkerTraffic; 2],
    /// The bytes of all talkers that had the counter.
    all: SlidingWindow,
}

/// One line of the list.
pub(super) struct TopLine {
    pub talker: Talker,
    pub volumes: [TalkerVolume; 2],
    pub error: u64,
}

#[derive(Debug)]
pub(super) struct TopList {
    counters: Vec<TopCounter>,
    places: HashMap<Talker, u32, RandomState>,
    least: LazyMinHeap<u64>,
    totals: [TalkerTraffic; 2],
    minute: u32,
    evicted: u64,
}

/// Bytes and packets of a record, and whether they belong to the current tick.
pub(super) struct Addition {
    pub direction: Direction,
    pub volume: Volume,
    /// The rates of a flow that was read from the flow table.
    pub rates: Option<[f32; 2]>,
}

impl TopList {
    pub fn new(minute: u32) -> Self {
        Self {
            counters: Vec::new(),
            places: HashMap::default(),
            least: LazyMinHeap::new(),
            totals: [TalkerTraffic::default(); 2],
            minute,
            evicted: 0,
        }
    }

    pub fn add(&mut self, talker: Talker, minute: u32, added: &Addition) {
        self.advance(minute);
        let at = self.place(talker, minute);
        let direction = added.direction as usize;
        let (bytes, packets) = (added.volume.bytes, added.volume.packets);
        let counter = &mut self.counters[at];
        counter.all.add(minute, bytes);
        for traffic in [&mut counter.traffic[direction], &mut self.totals[direction]] {
            traffic.add(minute, bytes, packets);
            match added.rates {
                Some(rates) => {
                    traffic.now[0] += rates[0];
                    traffic.now[1] += rates[1];
                }
                None => {
                    traffic.pending[0] += bytes;
                    traffic.pending[1] += packets;
                }
            }
        }
    }

    /// Returns the counter of a talker; a new one takes a free counter, or the one with the least bytes.
    fn place(&mut self, talker: Talker, minute: u32) -> usize {
        if let Some(&at) = self.places.get(&talker) {
            return at as usize;
        }
        let sum = |counters: &[TopCounter], entry: HeapEntry| {
            counters
                .get(entry.slot as usize)
                .map(|counter| counter.all.sum(minute))
        };
        let full = self.counters.len() >= COUNTERS;
        let least = match full {
            true => self.least.least(|entry| sum(&self.counters, entry)),
            false => None,
        };
        let at = match least {
            Some(entry) => {
                let counter = &mut self.counters[entry.slot as usize];
                self.places.remove(&counter.talker);
                counter.talker = talker;
                counter.traffic = [TalkerTraffic::default(); 2];
                self.evicted += 1;
                entry.slot
            }
            None => {
                let slot = self.counters.len() as u32;
                self.counters.push(TopCounter {
                    talker,
                    traffic: [TalkerTraffic::default(); 2],
                    all: SlidingWindow::default(),
                });
                let (entry, live) = (HeapEntry { slot, serial: 0 }, self.counters.len());
                let counters = &self.counters;
                self.least.push(entry, live, |entry| sum(counters, entry));
                slot
            }
        };
        self.places.insert(talker, at);
        at as usize
    }

    /// Advances to a new minute: frees the counters without traffic in the window.
    fn advance(&mut self, minute: u32) {
        if minute <= self.minute {
            return;
        }
        self.minute = minute;
        self.counters.retain(|counter| counter.all.sum(minute) > 0);
        let numbered = || (0u32..).zip(&self.counters);
        self.places = numbered().map(|(at, c)| (c.talker, at)).collect();
        self.least = LazyMinHeap::new();
        let live = self.counters.len();
        for (slot, counter) in numbered() {
            let value = |_| Some(counter.all.sum(minute));
            self.least.push(HeapEntry { slot, serial: 0 }, live, value);
        }
    }

    pub fn tick(&mut self, minute: u32, seconds: f32) {
        self.advance(minute);
        let counters = self.counters.iter_mut().flat_map(|c| &mut c.traffic);
        for traffic in counters.chain(&mut self.totals) {
            traffic.tick(minute, seconds);
        }
    }

    pub fn totals(&self, minute: u32) -> [TalkerVolume; 2] {
        self.totals.map(|traffic| traffic.volume(minute))
    }

    /// Returns the largest talkers first.
    pub fn lines(&self, minute: u32, limit: usize) -> Vec<TopLine> {
        let line = |counter: &TopCounter| {
            let volumes = counter.traffic.map(|traffic| traffic.volume(minute));
            let own = volumes[0].bytes.saturating_add(volumes[1].bytes);
            TopLine {
                talker: counter.talker,
                volumes,
                error: counter.all.sum(minute).saturating_sub(own),
            }
        };
        let mut lines: Vec<_> = self.counters.iter().map(line).collect();
        let own = |line: &TopLine| line.volumes[0].bytes.saturating_add(line.volumes[1].bytes);
        lines.retain(|line| own(line) > 0);
        lines.sort_unstable_by(|a, b| own(b).cmp(&own(a)).then(a.talker.cmp(&b.talker)));
        lines.truncate(limit);
        lines
    }

    /// Returns the most bytes that a talker may have had when it was evicted.
    pub fn missing_at_most(&self, minute: u32) -> u64 {
        let [ingress, egress] = self.totals(minute).map(|total| total.bytes);
        match self.evicted > 0 {
            true => ingress.saturating_add(egress) / COUNTERS as u64,
            false => 0,
        }
    }

    pub fn evicted(&self) -> u64 {
        self.evicted
    }

    pub fn bytes(&self) -> usize {
        self.counters.capacity() * size_of::<TopCounter>() + self.places.allocation_size()
    }
}
