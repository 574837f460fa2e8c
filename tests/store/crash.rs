// SPDX-License-Identifier: AGPL-3.0-only
//! A process that writes is killed at random moments: everything that it synced is there, nothing
//! twice, and the parts are the interface.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rfm::store::types::{Part, Tier, TimeSpan};

use crate::harness::{START, Scratch, Store, check, minute, row};

const CHILD_FOLDER: &str = "RFM_STORE_CHILD";
const CHILD_START: &str = "RFM_STORE_START";
/// `make soak` sets it to 1,000.
const KILLS: &str = "RFM_SOAK_KILLS";

/// The traffic of a minute, which the parent computes as well.
fn bytes_of(time: u64) -> u64 {
    time.wrapping_mul(6_364_136_223_846_793_005) >> 34
}

/// Writes minutes as fast as it can, and reports what it adds and what is synced.
#[test]
#[ignore = "runs as a child of the test below"]
fn child() {
    let Ok(folder) = std::env::var(CHILD_FOLDER) else {
        return;
    };
    let start: u64 = std::env::var(CHILD_START).unwrap().parse().unwrap();
    let mut store = Store::open(Path::new(&folder), start);
    let mut out = std::io::stdout();
    for n in 0.. {
        let time = store.now.wall / 60 * 60;
        let bytes = bytes_of(time);
        let parts = (1..6).map(|asn| (Part::Network(asn), bytes / 7));
        writeln!(out, "added {time}").unwrap();
        store.add(minute(
            time,
            vec![row("eth0", [bytes, 0, 0], parts.collect())],
        ));
        // a pause of hours ends a day now and then
        store.advance(if n % 40 == 39 { 20_000 } else { 60 });
        let pending = store.shared.read();
        let oldest = pending.minutes.keys().next().copied();
        // a row of this minute may follow
        let next = store.now.wall / 60 * 60;
        writeln!(out, "synced {}", oldest.unwrap_or(next)).unwrap();
        assert_eq!(store.problem(), None);
    }
}

/// What the killed processes reported.
#[derive(Default)]
struct Reported {
    added: BTreeMap<u64, u64>,
    synced_to: u64,
}

/// Starts a writer, kills it after `life`, and reads its reports.
fn kill_after(folder: &Path, start: u64, life: Duration) -> Reported {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "crash::child", "--ignored", "--nocapture"])
        .env(CHILD_FOLDER, folder)
        .env(CHILD_START, start.to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap());
    let mut reported = Reported::default();
    let mut begun: Option<Instant> = None;
    let mut line = String::new();
    while lines.read_line(&mut line).unwrap() > 0 {
        // a line that was cut by the end of the process has no newline
        let words = line
            .strip_suffix('\n')
            .map(|line| line.split(' ').collect());
        let words: Vec<_> = words.unwrap_or_default();
        match words[..] {
            ["added", time] => {
                let time = time.parse().unwrap();
                reported.added.insert(time, bytes_of(time));
            }
            ["synced", time] => reported.synced_to = time.parse().unwrap(),
            _ => {}
        }
        line.clear();
        let begun = *begun.get_or_insert_with(Instant::now);
        if begun.elapsed() >= life {
            // SIGKILL; the rest of the pipe is still read
            drop(child.kill());
        }
    }
    child.wait().unwrap();
    reported
}

#[test]
fn what_was_synced_survives_a_kill() {
    let kills = std::env::var(KILLS).map_or(50, |kills| kills.parse().unwrap());
    let scratch = Scratch::new("kill");
    let folder = scratch.history();
    let mut start = START;
    let mut sent: BTreeMap<u64, u64> = BTreeMap::new();
    let mut synced: BTreeMap<u64, u64> = BTreeMap::new();
    let mut random = 7u64;
    for kill in 0..kills {
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        let reported = kill_after(&folder, start, Duration::from_micros(random >> 48));
        let is_synced = |time: &u64| *time < reported.synced_to;
        synced.extend(reported.added.iter().filter(|(time, _)| is_synced(time)));
        sent.extend(&reported.added);
        let end = sent.keys().next_back().copied().unwrap_or(start) + 60;
        start = end.max(start);
        // opened as after a restart: a torn end is cut off
        let store = Store::open(&folder, start);
        assert_eq!(store.problem(), None, "kill {kill}");
        let from = start.saturating_sub(500_000) / 86_400 * 86_400;
        let span = TimeSpan::new(from, start);
        for (tier, found) in Tier::ALL.into_iter().zip(check(&store.reader(), span, 0)) {
            let slot = |time: &u64| time / tier.seconds() * tier.seconds();
            let sums = |rows: &BTreeMap<u64, u64>| {
                let mut sums: BTreeMap<u64, u64> = BTreeMap::new();
                for (time, bytes) in rows.range(from..) {
                    *sums.entry(slot(time)).or_default() += bytes;
                }
                sums
            };
            let (least, most) = (sums(&synced), sums(&sent));
            let logged = start.saturating_sub(2 * 86_400);
            for (time, bytes) in least {
                if tier == Tier::Minute && time < logged {
                    continue;
                }
                let there = found.get(&time).copied().unwrap_or(0);
                assert!(
                    there >= bytes,
                    "kill {kill}, {tier:?} {time}: {there}, not {bytes}"
                );
            }
            for (time, there) in found {
                let bytes = most.get(&time).copied().unwrap_or(0);
                assert!(
                    there <= bytes,
                    "kill {kill}, {tier:?} {time}: {there}, sent {bytes}"
                );
            }
        }
    }
    assert!(
        synced.len() > kills,
        "only {} minutes were synced",
        synced.len()
    );
    println!(
        "{kills} kills, {} minutes sent, {} synced",
        sent.len(),
        synced.len()
    );
}
