// SPDX-License-Identifier: AGPL-3.0-only
//! Measures the time of a lookup, compared with other structures that have the same prefixes.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use foldhash::fast::RandomState;
use hashbrown::HashMap;
use ip_network_table_deps_treebitmap::IpLookupTable;
use rfm::enrich::bmp::{Session, SessionStats};
use rfm::enrich::rib::{Rib, RibConfig, SharedRib, TableId};
use rfm::enrich::{RouteLookup, VrfRib};
use rfm::interfaces::InterfaceRegistry;

use super::common::machine::thread_time;
use super::common::report::{Cell, Table};
use super::common::stats::Figure;
use super::memory::Memory;
use super::table::{self, Load};

const LOOKUPS: usize = 1_000_000;
/// Design target in nanoseconds.
const TARGET: f64 = 200.0;
/// Milliseconds.
const STALE: u64 = 1000;
/// The batch size of thread flow.
const BATCH: usize = 256;

const LOADS: [(Load, &str); 2] = [
    (Load::Traffic, "as traffic is"),
    (Load::Any, "any prefix alike"),
];

pub fn feed(rib: &SharedRib, session: &mut Session, bytes: &[u8]) {
    let mut done = 0;
    while done < bytes.len() {
        let piece = &bytes[done..bytes.len().min(done + 8192)];
        let mut stats = SessionStats::default();
        let fed = rib.write(0, |rib| session.feed(rib, piece, 0, &mut stats));
        done += fed.expect("a session in order").0;
    }
}

pub fn rib(peers: u8) -> SharedRib {
    let rib = SharedRib::new(RibConfig {
        max_routes: 4_000_000,
        stale_ms: STALE,
        ..RibConfig::default()
    });
    for peer in 0..peers {
        let address = Ipv4Addr::new(127, 0, 0, 1 + peer);
        let mut session = Session::new(address.into(), true, 0);
        feed(&rib, &mut session, &table::session(peer));
    }
    rib
}

pub fn routes(rib: &SharedRib) -> VrfRib {
    VrfRib::new(
        rib.clone(),
        Arc::new(InterfaceRegistry::new(1, Duration::ZERO)),
        [],
    )
}

/// Returns the CPU nanoseconds of a lookup; nearly all lookups find a route.
pub fn time(addresses: &[IpAddr], mut find: impl FnMut(IpAddr) -> bool) -> f64 {
    let start = thread_time();
    let found = addresses.iter().filter(|a| black_box(find(**a))).count();
    let took = thread_time() - start;
    assert!(found > addresses.len() * 99 / 100, "{found} found");
    took.as_secs_f64() * 1e9 / addresses.len() as f64
}

/// A value as large as the labels need: origin AS and peer AS.
type Value = (u32, u32);

struct TreeBitmap {
    v4: IpLookupTable<Ipv4Addr, Value>,
    v6: IpLookupTable<Ipv6Addr, Value>,
}

impl TreeBitmap {
    fn new() -> Self {
        let (mut v4, mut v6) = (IpLookupTable::new(), IpLookupTable::new());
        for (bits, length) in table::prefixes(false) {
            let address = Ipv4Addr::from_bits((bits >> 96) as u32);
            v4.insert(address, length.into(), (1, 2));
        }
        for (bits, length) in table::prefixes(true) {
            v6.insert(Ipv6Addr::from_bits(bits), length.into(), (1, 2));
        }
        Self { v4, v6 }
    }

    fn find(&self, address: IpAddr) -> bool {
        match address {
            IpAddr::V4(address) => self.v4.longest_match(address).is_some(),
            IpAddr::V6(address) => self.v6.longest_match(address).is_some(),
        }
    }
}

/// A hash table for each length; the longest is searched first.
struct Hashes<K> {
    tables: Vec<(u8, HashMap<K, Value, RandomState>)>,
}

impl<K: std::hash::Hash + Eq> Hashes<K> {
    fn new(prefixes: &[(u128, u8)], key: impl Fn(u128) -> K) -> Self {
        let mut tables: BTreeMap<u8, HashMap<K, Value, RandomState>> = BTreeMap::new();
        for &(bits, length) in prefixes {
            let table = tables.entry(length).or_default();
            table.insert(key(bits), (1, 2));
        }
        Self {
            tables: tables.into_iter().rev().collect(),
        }
    }

    fn find(&self, bits: u128, key: impl Fn(u128) -> K) -> bool {
        let mut tables = self.tables.iter();
        tables.any(|(length, table)| {
            table.contains_key(&key(bits & (u128::MAX << (128 - u32::from(*length)))))
        })
    }
}

pub fn measure(rounds: usize) -> Table {
    let (one, two) = (rib(1), rib(2));
    let tree = TreeBitmap::new();
    let v4 = |bits: u128| (bits >> 96) as u32;
    let hashes4 = Hashes::new(&table::prefixes(false), v4);
    let hashes6 = Hashes::new(&table::prefixes(true), |bits| bits);
    let arrays = Memory::new();
    let memory = |kind, one_by_one| match kind {
        Load::Any => arrays.read(LOOKUPS, one_by_one),
        Load::Traffic => f64::NAN,
    };
    let by_length = |address| match address {
        IpAddr::V4(a) => hashes4.find(u128::from(a.to_bits()) << 96, v4),
        IpAddr::V6(a) => hashes6.find(a.to_bits(), |bits| bits),
    };
    let text = format!(
        "CPU ns a lookup, four of five IPv4, {LOOKUPS} in a row. \"Any prefix alike\": all \
         prefixes equally likely, with a new address each time; \"as traffic is\": the n-th \
         address with a probability of 1/n. \"As thread flow asks\": for both ends of a flow at \
         once; the other rows are for one address after the other. Treebitmap and hash tables \
         store one route a prefix, and can neither distinguish peers nor withdraw a route. \"The \
         memory itself\": for both ends at once a chain of four random reads, each of which \
         depends on the previous one, in arrays as large as the RIB's and under a lock like the \
         RIB's, with nothing to compute; the next flow begins when the result of this one is \
         known, or as soon as the CPU can start it."
    );
    let columns = ["", LOADS[0].1, "target", LOADS[1].1, "target"];
    let mut rows: Vec<(&str, [Vec<f64>; 2])> = [
        "as thread flow asks, one peer",
        "as thread flow asks, two peers",
        "RIB, one peer",
        "RIB, two peers",
        "treebitmap",
        "hash table for each length",
        "the memory itself, one flow after the other",
        "the memory itself, as many as the CPU can",
    ]
    .map(|name| (name, Default::default()))
    .into();
    for (load, (kind, _)) in LOADS.into_iter().enumerate() {
        let addresses = table::addresses(LOOKUPS, kind);
        for _ in 0..rounds {
            let whole = |rib: &SharedRib| {
                time(&addresses, |address| {
                    rib.lookup(address, TableId::GLOBAL).is_some()
                })
            };
            let both_ends = |rib: &SharedRib| {
                let mut routes = routes(rib);
                let start = thread_time();
                let mut found = 0;
                for batch in addresses.chunks_exact(BATCH) {
                    for ends in batch.as_chunks().0 {
                        let routes = black_box(routes.lookup(*ends, TableId::GLOBAL));
                        found += routes.iter().flatten().count();
                    }
                    routes.end_batch();
                }
                assert!(found > LOOKUPS * 98 / 100, "{found} found");
                (thread_time() - start).as_secs_f64() * 1e9 / found as f64
            };
            let figures = [
                both_ends(&one),
                both_ends(&two),
                whole(&one),
                whole(&two),
                time(&addresses, |address| tree.find(address)),
                time(&addresses, by_length),
                memory(kind, true),
                memory(kind, false),
            ];
            for (row, figure) in rows.iter_mut().zip(figures) {
                row.1[load].push(figure);
            }
        }
    }
    let mut table = Table::new("Lookup", &text, &columns);
    for (name, values) in rows {
        let target = |figure: Figure| match name {
            "as thread flow asks, one peer" => Cell::at_most(figure.median, TARGET, "ns"),
            _ => Cell::Nothing,
        };
        let cells = values.iter().flat_map(|values| {
            if values.iter().any(|value| value.is_nan()) {
                return [Cell::Nothing, Cell::Nothing];
            }
            let figure = Figure::of(values);
            [Cell::figure(figure, 0), target(figure)]
        });
        table.row(name, cells);
    }
    table
}

/// Runs `write` during batches of lookups every 2 ms, as at about 100,000 records a second.
/// Returns the microseconds of each batch, sorted.
fn batches_during(rib: &SharedRib, addresses: &[IpAddr], write: impl FnOnce() + Send) -> Vec<f64> {
    let mut waits = Vec::new();
    thread::scope(|scope| {
        let writer = scope.spawn(write);
        let mut routes = routes(rib);
        let mut batches = addresses.chunks(BATCH).cycle();
        while !writer.is_finished() {
            let start = Instant::now();
            for ends in batches.next().unwrap_or_default().as_chunks().0 {
                black_box(routes.lookup(*ends, TableId::GLOBAL));
            }
            routes.end_batch();
            waits.push(start.elapsed().as_secs_f64() * 1e6);
            thread::sleep(Duration::from_millis(2));
        }
    });
    waits.sort_by(f64::total_cmp);
    waits
}

/// Measures how long thread flow waits for a batch of lookups while other threads write.
pub fn waits(rounds: usize) -> Table {
    let addresses = table::addresses(LOOKUPS, Load::Any);
    let (first, second) = (table::session(0), table::session(1));
    let names = ["nobody writes", "a second table comes in", "both tables go"];
    let mut rows: Vec<[Vec<f64>; 2]> = names.iter().map(|_| Default::default()).collect();
    for _ in 0..rounds {
        let rib = rib(0);
        let mut sessions =
            [0, 1].map(|n| Session::new(Ipv4Addr::new(127, 0, 0, n).into(), true, 0));
        feed(&rib, &mut sessions[0], &first);
        let idle = || thread::sleep(Duration::from_millis(500));
        let nobody = batches_during(&rib, &addresses, idle);
        let more = || feed(&rib, &mut sessions[1], &second);
        let comes = batches_during(&rib, &addresses, more);
        let end = || {
            for session in &mut sessions {
                rib.write(0, |rib| session.close(rib, 0));
            }
            rib.maintain(STALE);
        };
        let go = batches_during(&rib, &addresses, end);
        assert_eq!(rib.read(Rib::held), 0);
        for ([medians, longest], waits) in rows.iter_mut().zip([nobody, comes, go]) {
            medians.push(waits[waits.len() / 2]);
            longest.push(waits[waits.len() - 1]);
        }
    }
    let text = format!(
        "Batches of {BATCH} lookups, all prefixes equally likely, start every 2 ms, while another \
         thread writes as fast as it can. Microseconds of a batch by the clock, including other \
         work of the machine."
    );
    let mut table = Table::new(
        "Lookups while others write",
        &text,
        &["", "median", "longest"],
    );
    for (name, [medians, longest]) in names.iter().zip(rows) {
        let figures = [medians, longest].map(|values| Cell::figure(Figure::of(&values), 0));
        table.row(*name, figures);
    }
    table
}
