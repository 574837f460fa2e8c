// SPDX-License-Identifier: AGPL-3.0-only
//! Mutated folders: no panic, no hang, and no loss beyond the damaged blocks.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rfm::store::format::block::{Blocks, HEADER};
use rfm::store::reader::HistoryReader;
use rfm::store::types::{
    ConversationList, ConversationRow, CurveFilter, EventRow, HistoryInput, MinuteLists, Part,
    SampleSource, Tier, TimeSpan,
};
use rfm::types::flow::Direction;

use crate::harness::{START, Scratch, Store, minute, row, totals};

/// The number of folders.
const FOLDERS: u32 = 10_000;
const SPAN: TimeSpan = TimeSpan {
    from: START,
    to: START + 3 * 86_400,
};

struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (self.0 >> 33) as usize % limit.max(1)
    }
}

/// Rows of all kinds in two bursts a day for two days, and some of the third.
fn build(path: &Path) {
    let mut store = Store::open(path, START);
    for n in 0..5u64 {
        for m in 0..20 {
            let time = store.now.wall / 60 * 60;
            let parts = (1..5).map(|asn| (Part::Network(asn), 1000 * u64::from(asn) + m));
            store.add(minute(
                time,
                vec![row("eth0", [50_000 + n, 0, 0], parts.collect())],
            ));
            let conversation = ConversationRow {
                source: [192, 0, 2, m as u8].into(),
                destination: [198, 51, 100, 1].into(),
                protocol: 6,
                service_port: 443,
                bytes: 5000,
                packets: 10,
            };
            let list = ConversationList {
                interface: "eth0".into(),
                direction: Direction::Ingress,
                rows: vec![conversation],
                rest: (45_000, 90),
            };
            store.add(HistoryInput::Lists(MinuteLists {
                minute: time,
                conversations: vec![list],
                ..MinuteLists::default()
            }));
            store.advance(60);
        }
        store.add(HistoryInput::Event(EventRow {
            time: store.now.wall,
            kind: "reload".into(),
            text: String::new(),
        }));
        store.advance(42_000);
    }
    assert_eq!(store.problem(), None);
    store.writer.take().unwrap().close(store.now);
}

/// The files below a folder, with their bytes.
fn files(path: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut files = Vec::new();
    for section in fs::read_dir(path)
        .unwrap()
        .map(|entry| entry.unwrap().path())
    {
        if section.is_dir() {
            let inside = fs::read_dir(section).unwrap();
            files.extend(inside.map(|entry| entry.unwrap().path()));
        }
    }
    files.sort();
    let read = |path: PathBuf| {
        let bytes = fs::read(&path).unwrap();
        (path, bytes)
    };
    files.into_iter().map(read).collect()
}

/// The tier whose points a file has.
fn tier_of(path: &Path) -> Option<Tier> {
    let section = path.parent()?.file_name()?.to_str()?;
    match section {
        "log" => Some(Tier::Minute),
        _ => Tier::ALL.into_iter().find(|tier| tier.name() == section),
    }
}

/// The periods of the blocks that have bytes of `range`.
fn hit(bytes: &[u8], range: &std::ops::Range<usize>) -> Vec<TimeSpan> {
    let mut hit = Vec::new();
    let mut start = 0;
    for block in Blocks::new(bytes) {
        let end = start + HEADER + block.payload.len();
        if start < range.end && range.start < end {
            hit.push(block.span);
        }
        start = end;
    }
    hit
}

fn read(path: &Path, tier: Tier) -> BTreeMap<u64, u64> {
    let reader = HistoryReader::of_folder(path);
    let curves = reader.curves(SPAN, Some(tier), &CurveFilter::everything());
    for curve in &curves.curves {
        assert!(curve.points.iter().all(|point| SPAN.contains(point.time)));
    }
    totals(&curves.curves)
}

/// Changes one file, and returns the periods whose rows may be missing.
fn mutate(random: &mut Random, files: &[(PathBuf, Vec<u8>)], at: usize) -> Vec<TimeSpan> {
    let (path, original) = &files[at];
    let mut bytes = original.clone();
    let from = random.below(bytes.len());
    let whole = TimeSpan::new(0, u64::MAX);
    let lost = match random.below(6) {
        0 | 1 => {
            bytes[from] ^= 1 << random.below(8);
            hit(original, &(from..from + 1))
        }
        2 => {
            bytes.truncate(from);
            hit(original, &(from..original.len()))
        }
        3 => {
            let from = from / 4096 * 4096;
            let to = (from + 4096).min(bytes.len());
            bytes[from..to].fill(0);
            hit(original, &(from..to))
        }
        4 => {
            // the bytes of another file
            bytes.clone_from(&files[random.below(files.len())].1);
            vec![whole]
        }
        _ => {
            // a file that no history has
            bytes = (0..random.below(9000))
                .map(|_| random.below(256) as u8)
                .collect();
            vec![whole]
        }
    };
    fs::write(path, bytes).unwrap();
    lost
}

#[test]
fn damage_costs_the_damaged_blocks() {
    let scratch = Scratch::new("damage");
    let folder = scratch.history();
    build(&folder);
    let files = files(&folder);
    assert!(files.len() >= 12, "{} files", files.len());
    let intact: Vec<_> = Tier::ALL.map(|tier| read(&folder, tier)).into();
    assert!(intact.iter().all(|found| found.len() >= 3), "{intact:?}");
    let mut random = Random(3);
    let mut slowest = Duration::ZERO;
    for n in 0..FOLDERS {
        let at = random.below(files.len());
        let lost = mutate(&mut random, &files, at);
        let begun = Instant::now();
        let tier = tier_of(&files[at].0).unwrap_or(Tier::ALL[random.below(4)]);
        let found = read(&folder, tier);
        let reader = HistoryReader::of_folder(&folder);
        match random.below(4) {
            0 => drop(reader.conversations(SPAN, &CurveFilter::default())),
            1 => drop(reader.events(SPAN, 100)),
            2 => drop(reader.samples(SPAN, &SampleSource::Interface("eth0".into()))),
            _ => drop(reader.sources(SPAN)),
        }
        slowest = slowest.max(begun.elapsed());
        let is_series = tier_of(&files[at].0).is_some();
        let may_lack = |time: u64| {
            let point = TimeSpan::new(time, time + tier.seconds());
            is_series && lost.iter().any(|lost| lost.overlaps(point))
        };
        let expected = &intact[tier as usize];
        for (time, bytes) in expected {
            let there = found.get(time).copied().unwrap_or(0);
            let is_right = there == *bytes || (there < *bytes && may_lack(*time));
            assert!(
                is_right,
                "folder {n}: {tier:?} {time}: {there}, not {bytes}"
            );
        }
        let more = found.keys().find(|time| !expected.contains_key(time));
        assert_eq!(more, None, "folder {n}: {tier:?}");
        // the agent writes on
        if n % 100 == 0 {
            let mut store = Store::open(&folder, SPAN.to);
            assert_eq!(store.problem(), None, "folder {n}");
            store.add(minute(SPAN.to, vec![row("eth0", [9, 0, 0], vec![])]));
            store.advance(900);
            assert_eq!(store.problem(), None, "folder {n}");
            drop(store);
            fs::remove_dir_all(&folder).unwrap();
            build_again(&folder, &files);
        }
        fs::write(&files[at].0, &files[at].1).unwrap();
    }
    println!("{FOLDERS} folders, the slowest questions took {slowest:?}");
    assert!(slowest < Duration::from_secs(10), "{slowest:?}");
}

fn build_again(folder: &Path, files: &[(PathBuf, Vec<u8>)]) {
    drop(Store::open(folder, START));
    for (path, bytes) in files {
        fs::write(path, bytes).unwrap();
    }
}
