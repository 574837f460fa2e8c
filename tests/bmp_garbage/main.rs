// SPDX-License-Identifier: AGPL-3.0-only
//! Garbage: captures with bytes changed, cut out and put in, and bytes from nowhere. No thread ends,
//! nothing is left behind.
//!
//! RFM_FUZZ_SECONDS sets how long it goes on. It is one test in a program of its own, since it
//! measures the memory of the process.

#[allow(dead_code)]
#[path = "../bmp/agent.rs"]
mod agent;
#[path = "../bmp/data.rs"]
mod data;

use std::time::{Duration, Instant};

use rfm::enrich::bmp::{Session, Tally};
use rfm::enrich::rib::{Rib, Settings, TableId};

use agent::{Agent, wait};
use data::{CAPTURES, capture, messages};

const MAX_ROUTES: usize = 5_000;
/// What memory may differ by once all is gone.
const SLACK: usize = 15_000_000;

fn seconds() -> u64 {
    let text = std::env::var("RFM_FUZZ_SECONDS").unwrap_or_default();
    text.parse().unwrap_or(10)
}

struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        // xorshift64
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    /// Values that lengths and types break at, more often than others.
    fn byte(&mut self) -> u8 {
        match self.below(4) {
            0 => [0, 1, 2, 32, 33, 127, 128, 129, 254, 255][self.below(10)],
            _ => self.next() as u8,
        }
    }

    fn seed() -> u64 {
        let time = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        time.unwrap().as_nanos() as u64 | 1
    }
}

/// Changes a message. Mostly its length stays that of the header, so that the parser gets further.
fn mutate(random: &mut Random, message: &mut Vec<u8>) {
    for _ in 0..1 + random.below(4) {
        let at = random.below(message.len());
        match random.below(8) {
            0 => message.truncate(at.max(7)),
            1 => message.insert(at, random.byte()),
            2 => drop(message.drain(at..(at + random.below(40)).min(message.len()))),
            3 => {
                let piece: Vec<u8> = message[at..].iter().take(50).copied().collect();
                message.extend(piece);
            }
            _ => message[at] = random.byte(),
        }
        if message.len() < 7 {
            *message = (0..50).map(|_| random.byte()).collect();
        }
    }
    if random.below(50) > 0 {
        message[0] = 3;
        let length = (message.len() as u32).to_be_bytes();
        message[1..5].copy_from_slice(&length);
    }
    // and that of the BGP message in it
    if message.len() > 66 && random.below(4) > 0 {
        let length = (message.len() as u16 - 48).to_be_bytes();
        message[64..66].copy_from_slice(&length);
    }
}

/// A stretch of a session, some of it changed.
fn garbage(random: &mut Random, captures: &[Vec<&[u8]>]) -> Vec<u8> {
    let all = &captures[random.below(captures.len())];
    let mut bytes = all[..2].concat();
    let start = random.below(all.len());
    for message in all[start..].iter().take(100) {
        let mut message = message.to_vec();
        if random.below(3) == 0 {
            mutate(random, &mut message);
        }
        bytes.extend(message);
    }
    bytes
}

fn resident() -> usize {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: usize = text.split(' ').nth(1).unwrap().parse().unwrap();
    pages * 4096
}

#[test]
fn garbage_ends_no_thread_and_leaves_nothing_behind() {
    let seed = Random::seed();
    eprintln!("seed {seed}");
    let mut random = Random(seed);
    let bytes = CAPTURES.map(capture);
    let captures: Vec<_> = bytes.iter().map(|b| messages(b)).collect();
    to_the_rib(&mut random, &captures);
    by_tcp(&mut random, &captures);
}

fn to_the_rib(random: &mut Random, captures: &[Vec<&[u8]>]) {
    let mut rib = Rib::new(Settings {
        max_routes: MAX_ROUTES,
        stale_ms: 3,
        ..Settings::default()
    });
    let end = Instant::now() + Duration::from_secs(seconds()) / 2;
    let (mut now, mut rounds) = (0, 0);
    while Instant::now() < end {
        let mut session = Session::new([127, 0, 0, 1].into(), random.below(2) == 0, 0);
        let bytes = garbage(random, captures);
        let mut tally = Tally::default();
        // an error ends the session, as it does in its thread
        let _ = session.feed(&mut rib, &bytes, now, &mut tally);
        rib.settle();
        for _ in 0..20 {
            let address = (random.next() as u32).to_be_bytes();
            let _ = rib.lookup(address.into(), TableId::GLOBAL);
        }
        assert!(rib.held() <= MAX_ROUTES);
        let counts = rib.counts();
        let routes = rib.routes();
        assert_eq!(routes.len(), counts.routes.iter().sum::<usize>());
        now += random.below(3) as u64;
        rib.expire(now);
        session.close(&mut rib, now);
        rib.sweep();
        rib.compact();
        rounds += 1;
    }
    assert!(rounds > 10);
    rib.expire(now + 10);
    while rib.sweep() {}
    assert_eq!((rib.held(), rib.attribute_sets()), (0, 0));
    assert_eq!(rib.counts(), Default::default());
}

fn by_tcp(random: &mut Random, captures: &[Vec<&[u8]>]) {
    let agent = Agent::start(100, |bmp| bmp.max_sessions = 8);
    let mut before = 0;
    let start = Instant::now();
    let length = Duration::from_secs(seconds()) / 2;
    while start.elapsed() < length {
        let mut bytes = match random.below(10) {
            0 => (0..random.below(10_000)).map(|_| random.byte()).collect(),
            _ => garbage(random, captures),
        };
        bytes.truncate(1 + random.below(bytes.len() + bytes.len() / 4 + 1));
        // a session that was ended refuses the rest
        let stream = std::net::TcpStream::connect(agent.address).unwrap();
        let _ = std::io::Write::write_all(&mut &stream, &bytes);
        if before == 0 && start.elapsed() > length / 10 {
            before = resident();
        }
    }
    wait("all to be forgotten", || agent.rib.read(Rib::held) == 0);
    wait("all sessions to end", || {
        let mut routers = agent.monitor.routers().into_iter();
        routers.all(|r| r.sessions == 0)
    });
    assert_eq!(agent.threads.failed(), None);
    assert_eq!(agent.threads.unhealthy(), Vec::<&str>::new());
    wait("memory to come back", || resident() < before + SLACK);
}
