// SPDX-License-Identifier: AGPL-3.0-only
//! Simulates how often a flow cache misses, by its size, its ways, and its eviction policy. The bench
//! `datapath` measures the cost of a hit and a miss in the kernel.
//!
//! `make bench PART=cache`

mod common;

use std::error::Error;

use common::flows::{Load, Random};
use common::report::{Cell, Report, Table, measuring, rounds};
use common::stats::Figure;

const ROUNDS: usize = 3;
const PACKETS: usize = 1_000_000;

/// Packets in a tick of the clock: a million a second at CONFIG_HZ=250.
const TICK: u64 = 4000;

const RECORDS: [usize; 3] = [4096, 8192, 16_384];

/// The slots that may hold the record of a flow.
#[derive(Clone, Copy, Debug)]
enum Places {
    /// Any slot in one set of this size.
    Set(usize),
    /// Either of two slots, each selected by its own hash, as in the BPF programs.
    Skewed,
}

const PLACES: [(Places, &str); 4] = [
    (Places::Set(1), "1"),
    (Places::Set(2), "2"),
    (Places::Skewed, "2 skewed"),
    (Places::Set(4), "4"),
];

const BY_POLICY: [(Places, &str); 2] = [(PLACES[2].0, PLACES[2].1), (PLACES[3].0, PLACES[3].1)];

const LOADS: [Load; 8] = [
    Load::Uniform(1000),
    Load::Uniform(4000),
    Load::Uniform(10_000),
    Load::Uniform(65_000),
    Load::Zipf(1000),
    Load::Zipf(10_000),
    Load::Zipf(65_000),
    Load::Zipf(1_000_000),
];

/// The record of a full set that is evicted.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Evict {
    /// The oldest one.
    Oldest,
    /// The one without a hit for the longest time.
    LeastRecent,
    /// The same by a clock of ticks; within a tick, the last of the set.
    LeastRecentTick,
    /// The one with the fewest packets; among equal ones, the last of the set.
    Smallest,
    /// A random one.
    Random,
}

const POLICIES: [(Evict, &str); 5] = [
    (Evict::LeastRecent, "last use"),
    (Evict::LeastRecentTick, "last use, in ticks"),
    (Evict::Oldest, "oldest"),
    (Evict::Smallest, "fewest packets"),
    (Evict::Random, "random"),
];

#[derive(Clone, Copy, Default)]
struct Entry {
    /// The flow number plus one; 0 is an empty slot.
    flow: u32,
    stamp: u64,
}

struct Cache {
    entries: Vec<Entry>,
    places: Places,
    evict: Evict,
    seed: u64,
    random: Random,
    now: u64,
}

impl Cache {
    fn new(records: usize, places: Places, evict: Evict, seed: u64) -> Self {
        Self {
            entries: vec![Entry::default(); records],
            places,
            evict,
            seed,
            random: Random::default(),
            now: 0,
        }
    }

    /// Counts a packet of the flow; returns true if the flow had a record.
    fn hit(&mut self, flow: u32) -> bool {
        self.now += 1;
        let stamp = match self.evict {
            Evict::LeastRecentTick => self.now / TICK,
            Evict::Smallest => 1,
            _ => self.now,
        };
        let places = self.places_of(flow);
        if let Some(entry) = places.clone().find(|&at| self.entries[at].flow == flow + 1) {
            let entry = &mut self.entries[entry];
            entry.stamp = match self.evict {
                Evict::Oldest => entry.stamp,
                Evict::Smallest => entry.stamp + 1,
                _ => stamp,
            };
            return true;
        }
        let place = match places.clone().find(|&at| self.entries[at].flow == 0) {
            Some(empty) => Some(empty),
            None if self.evict == Evict::Random => {
                let ways = places.clone().count() as u32;
                places.clone().nth(self.random.below(ways) as usize)
            }
            // among equal ones, the last one
            None => places.rev().min_by_key(|&at| self.entries[at].stamp),
        };
        self.entries[place.expect("a flow has a place")] = Entry {
            flow: flow + 1,
            stamp,
        };
        false
    }

    fn places_of(&self, flow: u32) -> impl DoubleEndedIterator<Item = usize> + Clone + use<> {
        let hash = mix(u64::from(flow) ^ self.seed) as usize;
        let (first, step, ways) = match self.places {
            Places::Set(ways) => (hash % (self.entries.len() / ways) * ways, 1, ways),
            Places::Skewed => {
                let half = self.entries.len() / 2;
                let other = mix(hash as u64) as usize % half + half;
                (hash % half, other - hash % half, 2)
            }
        };
        (0..ways).map(move |way| first + way * step)
    }
}

/// splitmix64, Steele and others 2014.
fn mix(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// Returns the misses in percent of the packets, after a warm-up of a quarter of them. Each round uses another hash.
fn misses(flows: &[u32], records: usize, places: Places, evict: Evict) -> Figure {
    let warm_up = flows.len() / 4;
    let mut seeds = Random::default();
    let rounds: Vec<f64> = (0..rounds(ROUNDS))
        .map(|_| {
            let mut cache = Cache::new(records, places, evict, seeds.next());
            flows[..warm_up].iter().for_each(|flow| {
                cache.hit(*flow);
            });
            let missed = flows[warm_up..].iter().filter(|f| !cache.hit(**f)).count();
            100.0 * missed as f64 / (flows.len() - warm_up) as f64
        })
        .collect();
    Figure::of(&rounds)
}

fn cell(figure: Figure) -> Cell {
    Cell::text(format!("{:.2}", figure.median))
}

fn sizes(loads: &[(Load, Vec<u32>)]) -> Table {
    let mut columns = vec!["flows".to_owned()];
    for records in RECORDS {
        columns.extend(PLACES.map(|(_, name)| format!("{records} × {name}")));
    }
    let columns: Vec<&str> = columns.iter().map(String::as_str).collect();
    let mut table = Table::new(
        "Flow cache: misses by records and ways",
        "Percentage of packets whose flow has no record, simulated; records × ways, by last use; \
         with skewed ways, each way has a separate hash. The simulation omits the sweep, which \
         empties the cache once a second: it adds as many misses as there are flows in a second.",
        &columns,
    );
    for (load, flows) in loads {
        let figures = RECORDS.iter().flat_map(|&records| {
            PLACES.map(|(places, _)| cell(misses(flows, records, places, Evict::LeastRecent)))
        });
        table.row(load.name(), figures);
    }
    table
}

fn policies(loads: &[(Load, Vec<u32>)]) -> Table {
    let mut columns = vec!["flows".to_owned()];
    for (_, ways) in BY_POLICY {
        columns.extend(POLICIES.map(|(_, name)| format!("{ways}: {name}")));
    }
    let columns: Vec<&str> = columns.iter().map(String::as_str).collect();
    let mut table = Table::new(
        "Flow cache: misses by eviction policy",
        "Percentage as above, of 8,192 records. If all flows are alike, only the size helps: the \
         eviction policy makes no difference, and with 65,000 flows most packets miss under any \
         policy. If few flows carry most of the traffic, keeping the record with the most packets \
         causes the fewest misses. Timestamps need no finer unit than a tick, if among equal ones \
         always the same way is evicted: new records then replace new records.",
        &columns,
    );
    for (load, flows) in loads {
        let figures = BY_POLICY.into_iter().flat_map(|(places, _)| {
            POLICIES.map(|(evict, _)| cell(misses(flows, 8192, places, evict)))
        });
        table.row(load.name(), figures);
    }
    table
}

fn main() -> Result<(), Box<dyn Error>> {
    let packets = if measuring() { PACKETS } else { 1000 };
    let loads = LOADS.map(|load| (load, load.sequence(packets)));
    let mut report = Report::new("cache");
    report.add(sizes(&loads));
    report.add(policies(&loads));
    report.write()
}
