// SPDX-License-Identifier: AGPL-3.0-only
//! Measures thousands of peers: their effect on a lookup, and their cost when they are established and end.

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use rfm::enrich::RouteLookup;
use rfm::enrich::bmp::{Session, SessionStats};
use rfm::enrich::rib::{SharedRib, TableId};

use super::common::machine::thread_time;
use super::common::report::{Cell, Table};
use super::common::stats::Figure;
use super::lookups::{feed, rib, routes};
use super::table::{self, Load};

/// Peers of a session.
const PEERS: u16 = 4096;
const SESSIONS: u8 = 16;
/// The number of prefixes of each peer.
const OWN: u32 = 100;
const BATCH: usize = 256;
const BATCHES: usize = 1000;
/// Design target: multiple of the time of a lookup with one peer.
const TARGET: f64 = 2.0;
/// Design target: CPU seconds for each part of the storm.
const TARGET_UP: f64 = 1.0;
/// Address of a session, whether it is local to this machine, and its number of peers.
type Others = ([u8; 4], bool, u16);

fn header(peer: u16) -> [u8; 42] {
    let [high, low] = peer.to_be_bytes();
    let mut header = [0; 42];
    header[22..26].copy_from_slice(&[10, 1, high, low]);
    header[26..30].copy_from_slice(&65_000_u32.to_be_bytes());
    header[30..34].copy_from_slice(&[10, 1, high, low]);
    header
}

fn initiation(name: u8) -> Vec<u8> {
    let mut bytes = Vec::new();
    table::message(&mut bytes, 4, &[&[0, 2, 0, 2, b'p', name]]);
    bytes
}

fn up(bytes: &mut Vec<u8>, peer: u16) {
    let opens = [table::open(table::HOME), table::open(65_000)];
    table::message(bytes, 3, &[&header(peer), &[0; 20], &opens[0], &opens[1]]);
}

fn down(bytes: &mut Vec<u8>, peer: u16) {
    table::message(bytes, 2, &[&header(peer), &[4]]);
}

fn announce(bytes: &mut Vec<u8>, peer: u16, prefixes: &[(u128, u8)]) {
    let mut nlri = Vec::new();
    for (bits, length) in prefixes {
        nlri.push(*length);
        nlri.extend(&bits.to_be_bytes()[..usize::from(length.div_ceil(8))]);
    }
    let mut attributes = vec![0x40, 1, 1, 0, 0x40, 2, 10, 2, 2];
    attributes.extend(65_000_u32.to_be_bytes());
    attributes.extend((70_000 + u32::from(peer)).to_be_bytes());
    attributes.extend([0x40, 3, 4, 10, 0, 0, 1]);
    let length = 23 + attributes.len() + nlri.len();
    let mut start = vec![0xff; 16];
    start.extend((length as u16).to_be_bytes());
    start.extend([2, 0, 0]);
    start.extend((attributes.len() as u16).to_be_bytes());
    table::message(bytes, 0, &[&header(peer), &start, &attributes, &nlri]);
}

/// Adds a session of `peers` peers to the RIB, each with a few prefixes of its own.
fn join(rib: &SharedRib, address: [u8; 4], local: bool, peers: u16) -> Session {
    let mut session = Session::new(IpAddr::from(address), local, 0);
    let prefixes = table::prefixes(false);
    let mut bytes = initiation(b'a' + address[3]);
    for peer in 0..peers {
        up(&mut bytes, peer);
        let from = usize::from(peer) * OWN as usize % (prefixes.len() - OWN as usize);
        announce(&mut bytes, peer, &prefixes[from..from + OWN as usize]);
    }
    feed(rib, &mut session, &bytes);
    session
}

/// Returns the CPU nanoseconds of a lookup; `change` is called before each batch.
fn time(rib: &SharedRib, addresses: &[IpAddr], mut change: impl FnMut()) -> f64 {
    let mut routes = routes(rib);
    let mut took = Duration::ZERO;
    for batch in addresses.chunks_exact(BATCH).take(BATCHES) {
        change();
        let start = thread_time();
        for ends in batch.as_chunks().0 {
            black_box(routes.lookup(*ends, TableId::GLOBAL));
        }
        took += thread_time() - start;
        routes.end_batch();
    }
    took.as_secs_f64() * 1e9 / (BATCHES * BATCH) as f64
}

/// Measures lookups in one full table, in ns, by the additional sessions.
pub fn lookups(rounds: usize) -> Table {
    let addresses = table::addresses(BATCH * BATCHES, Load::Any);
    // like the session of the full table: an address of this machine
    let own = [127, 0, 0, 2];
    let elsewhere = [192, 0, 2, 1];
    let cases: [(&str, &[Others]); 5] = [
        ("one peer", &[]),
        ("and one more", &[(own, true, 1)]),
        ("and 4,096 more", &[(own, true, PEERS)]),
        (
            "and 4,096 elsewhere, another rank",
            &[(elsewhere, false, PEERS)],
        ),
        (
            "and 4,096 here and there, and older sessions of both: four ranks",
            &[
                (own, true, PEERS),
                (own, true, 1),
                (elsewhere, false, PEERS),
                (elsewhere, false, 1),
            ],
        ),
    ];
    let text = format!(
        "CPU ns a lookup, all prefixes equally likely, in the way of thread flow, beside one full \
         table. Each further peer announces {OWN} prefixes of it. Or while a peer is shut down, is \
         established and announces them again before each batch of {BATCH} lookups; or the peer \
         has 20,000 prefixes, too many to remove their best paths one by one. × is the cost in \
         units of one peer."
    );
    let columns = [
        "",
        "nothing changes",
        "×",
        "target",
        "a peer flaps",
        "×",
        "target",
        "a large one flaps",
    ];
    let mut table = Table::new("Lookups with thousands of peers", &text, &columns);
    let mut baseline = None;
    for (name, others) in cases {
        let rib = rib(1);
        let mut sessions: Vec<_> = others
            .iter()
            .map(|(address, local, peers)| join(&rib, *address, *local, *peers))
            .collect();
        let mut quiet = Vec::new();
        let [mut small, mut large] = [Vec::new(), Vec::new()];
        let prefixes = table::prefixes(false);
        for _ in 0..rounds {
            time(&rib, &addresses, || {});
            quiet.push(time(&rib, &addresses, || {}));
            let Some(session) = sessions.first_mut() else {
                continue;
            };
            for (times, count) in [(&mut small, OWN as usize / 4), (&mut large, 20_000)] {
                let mut bytes = Vec::new();
                down(&mut bytes, 0);
                up(&mut bytes, 0);
                for some in prefixes[..count].chunks(500) {
                    announce(&mut bytes, 0, some);
                }
                // replaces the previous routes of the peer by these, and determines all best routes again
                feed(&rib, session, &bytes);
                time(&rib, &addresses, || {});
                times.push(time(&rib, &addresses, || {
                    feed(&rib, session, &bytes);
                    while rib.write(0, |rib| rib.sweep()) {}
                }));
            }
        }
        let quiet = Figure::of(&quiet);
        let one = *baseline.get_or_insert(quiet.median);
        let mut cells = vec![Cell::figure(quiet, 0)];
        let target =
            |value: f64| Cell::at_most((value / one * 10.0).round() / 10.0, TARGET, "times");
        cells.extend([Cell::ratio(quiet.median, one), target(quiet.median)]);
        if !small.is_empty() {
            let [small, large] = [small, large].map(|values| Figure::of(&values));
            cells.extend([
                Cell::figure(small, 0),
                Cell::ratio(small.median, one),
                target(small.median),
                Cell::figure(large, 0),
            ]);
        } else {
            cells.extend([const { Cell::Nothing }; 4]);
        }
        table.row(name, cells);
    }
    table
}

/// The writes of a writer: their total CPU time, and the clock time of the longest.
#[derive(Default)]
struct Turns {
    cpu: Duration,
    longest: Duration,
}

impl Turns {
    fn add<R>(&mut self, turn: impl FnOnce() -> R) -> R {
        let (cpu, start) = (thread_time(), Instant::now());
        let result = turn();
        self.cpu += thread_time() - cpu;
        self.longest = self.longest.max(start.elapsed());
        result
    }

    fn feed(&mut self, rib: &SharedRib, session: &mut Session, bytes: &[u8]) {
        let mut done = 0;
        while done < bytes.len() {
            let piece = &bytes[done..bytes.len().min(done + 8192)];
            let mut stats = SessionStats::default();
            let fed = self.add(|| {
                rib.write(0, |rib| {
                    rib.sweep();
                    session.feed(rib, piece, 0, &mut stats)
                })
            });
            done += fed.expect("a session in order").0;
        }
    }
}

/// Measures the maximum number of peers of a collector: all are established, announce one route each, and end.
pub fn storm(rounds: usize) -> Table {
    let names = [
        "all come up",
        "each announces a route",
        "all go down",
        "the sessions end",
        "their routes expire",
    ];
    let mut rows: Vec<[Vec<f64>; 2]> = names.iter().map(|_| Default::default()).collect();
    for _ in 0..rounds {
        let rib = rib(0);
        let address = Ipv4Addr::new(127, 0, 0, 1);
        let mut sessions: Vec<_> = (0..SESSIONS)
            .map(|n| {
                let mut session = Session::new(address.into(), true, 0);
                feed(&rib, &mut session, &initiation(b'a' + n));
                session
            })
            .collect();
        let each = |message: fn(&mut Vec<u8>, u16)| {
            let mut bytes = Vec::new();
            (0..PEERS).for_each(|peer| message(&mut bytes, peer));
            bytes
        };
        let own = |bytes: &mut Vec<u8>, peer: u16| {
            announce(bytes, peer, &[(0x0a << 120 | u128::from(peer) << 104, 24)]);
        };
        let mut turns: [Turns; 5] = Default::default();
        for (turns, bytes) in turns.iter_mut().zip([each(up), each(own), each(down)]) {
            for session in &mut sessions {
                turns.feed(&rib, session, &bytes);
            }
        }
        for session in &mut sessions {
            feed(&rib, session, &each(up));
            feed(&rib, session, &each(own));
        }
        for session in &mut sessions {
            turns[3].add(|| rib.write(0, |rib| session.close(rib, 0)));
        }
        loop {
            let expire = || rib.write(u64::MAX, |rib| rib.expire(u64::MAX));
            if !turns[4].add(expire) {
                break;
            }
        }
        for (row, turns) in rows.iter_mut().zip(turns) {
            row[0].push(turns.cpu.as_secs_f64());
            row[1].push(turns.longest.as_secs_f64() * 1e6);
        }
    }
    let text = format!(
        "{SESSIONS} sessions of {PEERS} peers. CPU seconds of the threads that write, and the \
         longest time for which they lock the RIB, in µs of the clock, including other work of the \
         machine."
    );
    let mut table = Table::new(
        "65,536 peers",
        &text,
        &["", "CPU s", "target", "longest turn"],
    );
    for (name, [cpu, longest]) in names.iter().zip(rows) {
        let cpu = Figure::of(&cpu);
        let target = Cell::at_most(cpu.median, TARGET_UP, "s");
        table.row(
            *name,
            [
                Cell::figure(cpu, 3),
                target,
                Cell::figure(Figure::of(&longest), 0),
            ],
        );
    }
    table
}
