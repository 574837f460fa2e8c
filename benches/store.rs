// SPDX-License-Identifier: AGPL-3.0-only
//! Measures the history on disk: the size of a year, the bytes of a conversation, the bytes written in a day, the memory
//! while a day is derived, and the time of a question; rrdtool and vnStat with the same data.
//!
//! `make bench PART=store`; RFM_STORE_DAYS sets the number of simulated days.

mod common;

use std::error::Error;
use std::fs;
use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use common::machine::thread_time;
use common::report::{Cell, Report, Table};
use common::rrd;
use rfm::control::{bill, history};
use rfm::page::stored::query::StoredQuery;
use rfm::page::stored::{StoredNames, answer};
use rfm::store::files::folder::{FileSection, list};
use rfm::store::files::writer::{HistoryWriter, StoreSettings, StoreTime};
use rfm::store::format::block::{BlockKind, Blocks, HEADER};
use rfm::store::format::conversations::decode;
use rfm::store::reader::HistoryReader;
use rfm::store::shared::SharedHistory;
use rfm::store::types::{
    ConversationList, ConversationRow, CurveFilter, HistoryInput, MinuteLists, MinuteRows, Part,
    PartRow, ScopeRow, Tier, TimeSpan, TotalRow,
};
use rfm::sys::malloc;
use rfm::types::address_detail::AddressDetail;
use rfm::types::flow::Direction;
use rfm::types::label::Endpoint;

const DAYS: u64 = 396;
const DAY: u64 = 86_400;
/// 2026-01-01 00:00 UTC.
const START: u64 = 1_767_225_600;
/// Interfaces, each with two directions and two families: 16 curves of totals.
const INTERFACES: usize = 4;
/// Parts of each interface and direction: 512 curves with the totals.
const PARTS: u32 = 62;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Traffic with the daily course of a network, noise, and bursts.
struct Traffic(u64);

impl Traffic {
    fn noise(&mut self) -> f64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (self.0 >> 11) as f64 / (1u64 << 53) as f64
    }

    fn minute(&mut self, time: u64) -> HistoryInput {
        let of_day = (time % DAY) as f64 / DAY as f64;
        let course = 1.0 + 0.8 * (of_day * std::f64::consts::TAU).sin();
        let mut rows = Vec::new();
        for interface in 0..INTERFACES {
            for direction in Direction::ALL {
                let mut sum = 0;
                let parts: Vec<_> = (0..PARTS)
                    .map(|n| {
                        let level = 3e8 / f64::from(n + 1) * course;
                        let bytes = (level * (0.7 + 0.6 * self.noise())) as u64;
                        sum += bytes;
                        let peak = 1.0 + 2.0 * self.noise() * self.noise();
                        PartRow {
                            part: Part::Network(1000 + n * 97),
                            bytes,
                            max_rate: (bytes as f64 / 60.0 * peak) as f32,
                        }
                    })
                    .collect();
                let ipv6 = (sum as f64 * (0.2 + 0.1 * self.noise())) as u64;
                let total = |bytes: u64| TotalRow {
                    bytes,
                    packets: bytes / 900 + bytes % 100,
                    max_rate: bytes as f32 / 40.0,
                };
                rows.push(ScopeRow {
                    interface: format!("eth{interface}").into(),
                    direction,
                    covered_ms: 60_000,
                    totals: [total(sum + sum / 10 - ipv6), total(ipv6), total(0)],
                    parts,
                });
            }
        }
        HistoryInput::Minute(MinuteRows { minute: time, rows })
    }
}

/// The days for which conversations are stored.
const CONVERSATION_DAYS: u64 = 15;
/// Conversations of each interface and direction, with traffic as by Zipf's law.
const CONVERSATIONS: u32 = 2000;
/// The number of stored conversations of each interface, direction and minute.
const LISTED: usize = 50;

impl Traffic {
    /// Returns the largest conversations of a minute, between /24 prefixes.
    fn lists(&mut self, time: u64) -> HistoryInput {
        let mut conversations = Vec::new();
        for scope in 0..2 * INTERFACES as u32 {
            // the first ranks decide: a conversation far behind is seldom among the largest
            let ranks = 0..CONVERSATIONS.min(4 * LISTED as u32);
            let mut rows: Vec<_> = ranks.map(|rank| self.conversation(scope, rank)).collect();
            rows.sort_by_key(|row| std::cmp::Reverse(row.bytes));
            rows.truncate(LISTED);
            conversations.push(ConversationList {
                interface: format!("eth{}", scope / 2).into(),
                direction: Direction::ALL[scope as usize % 2],
                rows,
                rest: (1_000_000_007, 1_000_003),
            });
        }
        HistoryInput::Lists(MinuteLists {
            minute: time,
            conversations,
            ..MinuteLists::default()
        })
    }

    fn conversation(&mut self, scope: u32, rank: u32) -> ConversationRow {
        let mixed = (scope * CONVERSATIONS + rank).wrapping_mul(2_654_435_761);
        let prefix = |bits: u32| IpAddr::from(Ipv4Addr::from_bits(bits & 0xffff_ff00));
        let bytes = (1e9 / f64::from(rank + 1) * (0.2 + 1.6 * self.noise())) as u64;
        let [remote, local] = [
            prefix(mixed),
            prefix(0xc0a8_0000 | (mixed.rotate_left(9) & 0x1f00)),
        ];
        let (source, destination) = match scope % 2 {
            0 => (remote, local),
            _ => (local, remote),
        };
        ConversationRow {
            source,
            destination,
            protocol: if mixed.is_multiple_of(3) { 17 } else { 6 },
            service_port: [443, 443, 443, 80, 8443, 53, 22, 25][mixed as usize >> 7 & 7],
            bytes,
            packets: bytes / 1000 + bytes % 97,
        }
    }
}

struct Simulation {
    writer: Option<HistoryWriter>,
    shared: Arc<SharedHistory>,
    traffic: Traffic,
    now: StoreTime,
}

impl Simulation {
    fn new(path: &Path) -> Self {
        let shared = Arc::new(SharedHistory::new(path.to_owned()));
        let now = StoreTime {
            wall: START,
            monotonic: Duration::ZERO,
        };
        let settings = StoreSettings {
            max_size: 96 << 20,
            sync_interval: Duration::from_secs(300),
        };
        let writer = HistoryWriter::new(shared.clone(), settings, now);
        Self {
            writer: Some(writer),
            shared,
            traffic: Traffic(1),
            now,
        }
    }

    fn run(&mut self, days: u64) {
        (0..days * DAY / 60).for_each(|_| self.step(false));
    }

    fn run_with_conversations(&mut self, days: u64) {
        (0..days * DAY / 60).for_each(|_| self.step(true));
    }

    fn step(&mut self, has_conversations: bool) {
        let row = self.traffic.minute(self.now.wall);
        let lists = has_conversations.then(|| self.traffic.lists(self.now.wall));
        let Some(writer) = &mut self.writer else {
            return;
        };
        writer.add(row);
        lists.into_iter().for_each(|lists| writer.add(lists));
        self.now.wall += 60;
        self.now.monotonic += Duration::from_secs(60);
        writer.tick(self.now);
    }
}

fn main() -> Result<()> {
    let mut report = Report::new("store");
    // first: in a process that has not used much memory
    let memory = derive_memory()?;
    report.add(year()?);
    report.add(conversations(memory)?);
    report.add(writes()?);
    report.write()
}

fn limited(value: f64, limit: f64, unit: &str) -> [Cell; 2] {
    [
        Cell::text(format!("{value:.2} {unit}")),
        Cell::at_most(value, limit, unit),
    ]
}

/// Returns the growth of resident memory, at most and afterwards, while the files of a day are derived.
fn derive_memory() -> Result<[f64; 2]> {
    let path = scratch("derive")?;
    let mut simulation = Simulation::new(&path.join("history"));
    // up to the last write before the files of the first day are made
    (0..DAY / 60 + 9).for_each(|_| simulation.step(true));
    malloc::return_free_blocks();
    let before = memory("VmRSS:")?;
    fs::write("/proc/self/clear_refs", "5")?;
    (0..6).for_each(|_| simulation.step(true));
    malloc::return_free_blocks();
    let derived = list(&path.join("history"), FileSection::Hour)?.len();
    if derived != 1 {
        return Err(format!("{derived} days were derived").into());
    }
    let growth = [memory("VmHWM:")? - before, memory("VmRSS:")? - before];
    drop(simulation);
    fs::remove_dir_all(path)?;
    Ok(growth)
}

/// Returns a line of /proc/self/status in MB.
fn memory(name: &str) -> Result<f64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let kilobytes = line.and_then(|line| line.split_whitespace().next());
    Ok(kilobytes.ok_or("a line")?.parse::<f64>()? * 1024.0 / 1e6)
}

/// Bytes of stored conversations, and the memory while a day is derived.
fn conversations([peak, kept]: [f64; 2]) -> Result<Table> {
    let path = scratch("conversations")?;
    let mut simulation = Simulation::new(&path.join("history"));
    simulation.run_with_conversations(4);
    let text = "4 interfaces, the 50 largest conversations of each minute and direction between /24 prefixes, then the \
                100 largest of 10 minutes; bytes with the headers of blocks";
    let mut table = Table::new("Conversations on disk", text, &["figure", "value", "limit"]);
    let (mut bytes, mut rows) = (0, 0);
    for section in [FileSection::Log, FileSection::Conversations] {
        let (mut of_section, mut stored) = (0, 0);
        for id in list(&path.join("history"), section)?.keys() {
            let file = fs::read(id.path(&path.join("history")))?;
            for block in Blocks::new(&file).filter(|b| b.kind == BlockKind::Conversations) {
                of_section += block.payload.len() + HEADER;
                let periods = decode(block.payload).ok_or("a block of conversations")?;
                let lists = periods.iter().flat_map(|period| &period.lists);
                stored += lists.map(|list| list.rows.len()).sum::<usize>();
            }
        }
        let name = format!("{}: bytes of a conversation", section.name());
        let each = of_section as f64 / stored as f64;
        table.row(name, [Cell::text(format!("{each:.2} B"))]);
        (bytes, rows) = (bytes + of_section, rows + stored);
    }
    let each = bytes as f64 / rows as f64;
    table.row("bytes of a conversation", limited(each, 12.0, "B"));
    table.row(
        "resident memory, at most, while a day is derived",
        limited(peak, 3.0, "MB"),
    );
    table.row("and afterwards", [Cell::text(format!("{kept:+.2} MB"))]);
    drop(simulation);
    fs::remove_dir_all(path)?;
    Ok(table)
}

fn scratch(name: &str) -> Result<PathBuf> {
    let path = std::env::temp_dir().join(format!("rfm-bench-{name}-{}", std::process::id()));
    fs::create_dir_all(&path)?;
    Ok(path)
}

/// The series of a year, and questions to them.
fn year() -> Result<Table> {
    let days = std::env::var("RFM_STORE_DAYS").map_or(Ok(DAYS), |days| days.parse())?;
    // without syncs: only sizes and times are measured
    let path = scratch("year")?;
    let mut simulation = Simulation::new(&path.join("history"));
    let before = thread_time();
    simulation.run(days);
    let cpu = (thread_time() - before).as_secs_f64() / (days * DAY) as f64;
    if let Some(problem) = simulation.shared.problem() {
        return Err(problem.into());
    }
    let text = format!("{days} simulated days of 512 busy curves on 4 interfaces");
    let mut table = Table::new("A year on disk", &text, &["figure", "value", "limit"]);
    let mut series = 0;
    for section in [
        FileSection::Log,
        FileSection::FiveMinutes,
        FileSection::Hour,
        FileSection::Day,
    ] {
        let bytes: u64 = list(&path.join("history"), section)?.values().sum();
        series += bytes;
        let shown = Cell::text(format!("{:.2} MB", bytes as f64 / 1e6));
        table.row(section.name(), [shown, Cell::text("")]);
    }
    table.row("series", limited(series as f64 / 1e6, 36.0, "MB"));
    table.row("CPU, with the generator", limited(cpu * 100.0, 0.2, "%"));
    let reader = HistoryReader::new(simulation.shared.clone());
    let end = simulation.now.wall;
    // no question asks for more than 1,500 points of a curve: by hour is for comparison
    let tiers = [
        ("by day", None, Some(200.0)),
        ("by hour", Some(Tier::Hour), None),
    ];
    for (name, tier, limit) in tiers {
        let span = TimeSpan::new(end - 365 * DAY, end);
        let mut best = Duration::MAX;
        let mut curves = 0;
        for _ in 0..10 {
            let begun = thread_time();
            curves = reader
                .curves(span, tier, &CurveFilter::everything())
                .curves
                .len();
            best = best.min(thread_time() - begun);
        }
        let name = format!("CPU time of a year {name}, {curves} curves");
        let time = best.as_secs_f64() * 1000.0;
        match limit {
            Some(limit) => table.row(name, limited(time, limit, "ms")),
            None => table.row(name, [Cell::text(format!("{time:.2} ms")), Cell::text("")]),
        }
    }
    simulation.run_with_conversations(CONVERSATION_DAYS);
    questions(&mut table, &simulation)?;
    drop(simulation);
    fs::remove_dir_all(path)?;
    Ok(table)
}

/// The answers that readers of the page and of the commands wait for.
fn questions(table: &mut Table, simulation: &Simulation) -> Result<()> {
    let reader = HistoryReader::new(simulation.shared.clone());
    let end = simulation.now.wall;
    let names = StoredNames {
        lookup: Box::new(|| Box::new(|_| Endpoint::default())),
        asn_name: Box::new(|_| None),
        addresses: AddressDetail::Full,
    };
    let year = format!("from={}&to={end}", end - 365 * DAY);
    let two_weeks = format!("from={}&to={end}", end - 14 * DAY);
    for (name, query) in [
        (
            "a year by network, with curves and percentiles",
            format!("{year}&by=asn&stack=networks"),
        ),
        ("a year by host", format!("{year}&by=host")),
        ("two weeks by host", format!("{two_weeks}&by=host")),
        (
            "two weeks by host of one network",
            format!("{two_weeks}&by=host&filter=far.asn.0"),
        ),
    ] {
        let query = format!("interface=eth0&points=packed&rows=25&{query}");
        let query = StoredQuery::parse(&query, end, AddressDetail::Full)?;
        let time = best(|| answer::render(&reader, &names, &query, end, AddressDetail::Full));
        table.row(format!("page/v2.json: {name}"), limited(time, 200.0, "ms"));
    }
    for (name, query) in [
        ("a year", year.clone()),
        ("a year by network", format!("{year}&by=asn")),
        ("two weeks by source", format!("{two_weeks}&by=src")),
        (
            "two weeks by conversation",
            format!("{two_weeks}&by=src,dst,proto,port"),
        ),
    ] {
        let query = history::query(Some(&query), end)?;
        let time = best(|| history::history(&reader, &query, AddressDetail::Full));
        table.row(format!("rfm history: {name}"), limited(time, 200.0, "ms"));
    }
    for (name, query) in [("a month", 31), ("a year", 365)] {
        let query = format!("from={}&to={end}&interface=eth0", end - query * DAY);
        let query = bill::query(Some(&query), end)?;
        let time = best(|| bill::bill(&reader, &query, &[]));
        table.row(
            format!("rfm bill: {name} of one interface"),
            limited(time, 200.0, "ms"),
        );
    }
    Ok(())
}

/// Returns the shortest CPU time of a question in ms.
fn best<T>(question: impl Fn() -> T) -> f64 {
    let times = (0..10).map(|_| {
        let begun = thread_time();
        black_box(question());
        thread_time() - begun
    });
    times.min().unwrap_or_default().as_secs_f64() * 1000.0
}

/// A file system in a file, by a loop device.
struct LoopDevice {
    folder: PathBuf,
    device: String,
}

impl LoopDevice {
    fn new(folder: PathBuf) -> Result<Self> {
        let image = folder.join("disk");
        let run = |command: &mut Command| -> Result<String> {
            let output = command.output()?;
            match output.status.success() {
                true => Ok(String::from_utf8(output.stdout)?.trim().to_owned()),
                false => Err(String::from_utf8_lossy(&output.stderr).into()),
            }
        };
        fs::File::create(&image)?.set_len(2 << 30)?;
        run(Command::new("mkfs.ext4").arg("-q").arg(&image))?;
        let device = run(Command::new("losetup")
            .args(["--find", "--show"])
            .arg(&image))?;
        let new = Self { folder, device };
        fs::create_dir_all(new.mount())?;
        run(Command::new("mount").arg(&new.device).arg(new.mount()))?;
        Ok(new)
    }

    fn mount(&self) -> PathBuf {
        self.folder.join("mount")
    }

    /// Returns the bytes that were written to the device.
    fn written(&self) -> Result<u64> {
        let name = self.device.trim_start_matches("/dev/");
        let stat = fs::read_to_string(format!("/sys/block/{name}/stat"))?;
        let sectors: u64 = stat
            .split_ascii_whitespace()
            .nth(6)
            .unwrap_or("0")
            .parse()?;
        Ok(sectors * 512)
    }
}

impl Drop for LoopDevice {
    fn drop(&mut self) {
        drop(Command::new("umount").arg(self.mount()).status());
        drop(Command::new("losetup").args(["-d", &self.device]).status());
        drop(fs::remove_dir_all(&self.folder));
    }
}

/// The bytes that reach the block device in a day.
fn writes() -> Result<Table> {
    let mut table = Table::new(
        "Bytes written",
        "ext4 on a loop device, a sync every 5 minutes; the second of two days, with its derived files",
        &["figure", "value", "limit"],
    );
    let device = match LoopDevice::new(scratch("disk")?) {
        Ok(device) => device,
        Err(error) => {
            println!("skipped: no loop device: {error}");
            return Ok(table);
        }
    };
    for (name, has_conversations) in [("series", false), ("series and conversations", true)] {
        let mut simulation = Simulation::new(&device.mount().join(name));
        let mut day = || (0..DAY / 60).for_each(|_| simulation.step(has_conversations));
        day();
        rustix::fs::sync();
        let before = device.written()?;
        day();
        rustix::fs::sync();
        let written = (device.written()? - before) as f64 / 1e6;
        if let Some(problem) = simulation.shared.problem() {
            return Err(problem.into());
        }
        let name = format!("rfm, a day of {name}");
        table.row(name, limited(written, 50.0, "MB"));
    }
    if rrd::is_installed() {
        let mut traffic = Traffic(1);
        let minutes = (0..DAY / 60).map(|n| traffic.minute(START + n * 60));
        let folder = device.mount().join("rrd");
        let mut files = rrd::Files::new(&folder, START)?;
        rustix::fs::sync();
        let before = device.written()?;
        let begun = Instant::now();
        for minute in minutes {
            if let HistoryInput::Minute(minute) = minute {
                files.add(&minute)?;
            }
        }
        files.finish()?;
        rustix::fs::sync();
        let written = (device.written()? - before) as f64 / 1e6;
        let text = |text: String| [Cell::text(text)];
        table.row(
            "rrdtool, a day of series, an update of each file every 5 minutes",
            text(format!("{written:.0} MB")),
        );
        table.row(
            "rrdtool, files of these series for 10 years",
            text(format!("{:.0} MB", rrd::size(&folder)? as f64 / 1e6)),
        );
        table.row(
            "rrdtool, time of these updates",
            text(format!("{:.0} s", begun.elapsed().as_secs_f64())),
        );
    }
    Ok(table)
}
