// SPDX-License-Identifier: AGPL-3.0-only
//! Measures the history on disk: the size of a year, the bytes written in a day, and the time of a question.
//!
//! `make bench PART=store`; RFM_STORE_DAYS sets the number of simulated days.

mod common;

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use common::machine::thread_time;
use common::report::{Cell, Report, Table};
use rfm::store::files::folder::{FileSection, list};
use rfm::store::files::writer::{HistoryWriter, StoreSettings, StoreTime};
use rfm::store::reader::HistoryReader;
use rfm::store::shared::SharedHistory;
use rfm::store::types::{
    CurveFilter, HistoryInput, MinuteRows, Part, PartRow, ScopeRow, Tier, TimeSpan, TotalRow,
};
use rfm::types::flow::Direction;

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
        for _ in 0..days * DAY / 60 {
            let row = self.traffic.minute(self.now.wall);
            let Some(writer) = &mut self.writer else {
                return;
            };
            writer.add(row);
            self.now.wall += 60;
            self.now.monotonic += Duration::from_secs(60);
            writer.tick(self.now);
        }
    }
}

fn main() -> Result<()> {
    let mut report = Report::new("store");
    report.add(year()?);
    report.add(writes()?);
    report.write()
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
    let limit = |value: f64, limit: f64, unit: &str| {
        [
            Cell::at_most(value, limit, unit),
            Cell::text(format!("{limit} {unit}")),
        ]
    };
    table.row("series", limit(series as f64 / 1e6, 36.0, "MB"));
    table.row("CPU, with the generator", limit(cpu * 100.0, 0.2, "%"));
    let reader = HistoryReader::new(simulation.shared.clone());
    let end = simulation.now.wall;
    for (name, tier) in [("by day", None), ("by hour", Some(Tier::Hour))] {
        let span = TimeSpan::new(end - 365 * DAY, end);
        let mut best = Duration::MAX;
        let mut curves = 0;
        for _ in 0..3 {
            let begun = Instant::now();
            curves = reader
                .curves(span, tier, &CurveFilter::everything())
                .curves
                .len();
            best = best.min(begun.elapsed());
        }
        let name = format!("a year {name}, {curves} curves");
        table.row(name, limit(best.as_secs_f64() * 1000.0, 200.0, "ms"));
    }
    drop(simulation);
    fs::remove_dir_all(path)?;
    Ok(table)
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
        fs::File::create(&image)?.set_len(512 << 20)?;
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
    let mut simulation = Simulation::new(&device.mount().join("history"));
    simulation.run(1);
    let before = device.written()?;
    simulation.run(1);
    rustix::fs::sync();
    let written = (device.written()? - before) as f64 / 1e6;
    let problem = simulation.shared.problem();
    drop(simulation);
    if let Some(problem) = problem {
        return Err(problem.into());
    }
    table.row(
        "at the block device, a day of series",
        [Cell::at_most(written, 50.0, "MB"), Cell::text("50 MB")],
    );
    Ok(table)
}
