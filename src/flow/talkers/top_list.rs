// SPDX-License-Identifier: AGPL-3.0-only
//! A list of the talkers with the most bytes of the last five minutes, in a fixed number of counters.
//!
//! This is [`SpaceSaving`] over a sliding window: a new talker takes the counter with the least bytes, and the counter
//! keeps them. That is at most one part in [`COUNTERS`] of all bytes: a talker with more is never evicted, and the bytes of
//! one that returns are too low by at most that part. A record costs one lookup, and a new talker the search for the least
//! counter, which is constant on average.

use foldhash::fast::RandomState;
use hashbrown::HashMap;

use super::{Talker, TalkerVolume};
use crate::flow::sliding_window::SlidingWindow;
use crate::flow::space_saving::SpaceSaving;
use crate::flow::volume::Volume;
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
}

/// One line of the list.
pub(super) struct TopLine {
    pub talker: Talker,
    pub volumes: [TalkerVolume; 2],
    pub error: u64,
}

#[derive(Debug)]
pub(super) struct TopList {
    counters: SpaceSaving<TopCounter, SlidingWindow>,
    places: HashMap<Talker, u32, RandomState>,
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
            counters: SpaceSaving::new(COUNTERS),
            places: HashMap::default(),
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
        let (counter, all) = self.counters.get_mut(at);
        all.add(minute, bytes);
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
    fn place(&mut self, talker: Talker, minute: u32) -> u32 {
        if let Some(&at) = self.places.get(&talker) {
            return at;
        }
        let counter = TopCounter {
            talker,
            traffic: [TalkerTraffic::default(); 2],
        };
        let window = SlidingWindow::default();
        let (at, evicted) = self.counters.insert(counter, window, minute);
        if let Some(evicted) = evicted {
            self.places.remove(&evicted.talker);
            self.evicted += 1;
        }
        self.places.insert(talker, at);
        at
    }

    /// Advances to a new minute: frees the counters without traffic in the window.
    fn advance(&mut self, minute: u32) {
        if minute <= self.minute {
            return;
        }
        self.minute = minute;
        let is_silent = |_: &TopCounter, all: SlidingWindow| all.sum(minute) == 0;
        for silent in self.counters.advance(minute, is_silent) {
            self.places.remove(&silent.talker);
        }
    }

    pub fn tick(&mut self, minute: u32, seconds: f32) {
        self.advance(minute);
        let counters = self.counters.occupants_mut().flat_map(|c| &mut c.traffic);
        for traffic in counters.chain(&mut self.totals) {
            traffic.tick(minute, seconds);
        }
    }

    pub fn totals(&self, minute: u32) -> [TalkerVolume; 2] {
        self.totals.map(|traffic| traffic.volume(minute))
    }

    /// Returns the largest talkers first.
    pub fn lines(&self, minute: u32, limit: usize) -> Vec<TopLine> {
        let line = |(_, counter, all): (u32, &TopCounter, SlidingWindow)| {
            let volumes = counter.traffic.map(|traffic| traffic.volume(minute));
            let own = volumes[0].bytes.saturating_add(volumes[1].bytes);
            TopLine {
                talker: counter.talker,
                volumes,
                error: all.sum(minute).saturating_sub(own),
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
        self.counters.bytes() + self.places.allocation_size()
    }
}
