// SPDX-License-Identifier: AGPL-3.0-only
//! A history in a temporary folder, with time that the test sets, and a model of what it stores.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use rfm::store::files::writer::{HistoryWriter, StoreSettings, StoreTime};
use rfm::store::reader::HistoryReader;
use rfm::store::shared::SharedHistory;
use rfm::store::types::{
    Curve, CurveFilter, HistoryInput, MinuteRows, Part, PartKind, PartRow, ScopeRow, Tier,
    TimeSpan, TotalRow,
};
use rfm::types::flow::Direction;

/// 2026-11-02 00:00 UTC.
pub const START: u64 = 1_793_577_600;

/// A folder that is removed at the end.
pub struct Scratch(pub PathBuf);

impl Scratch {
    pub fn new(name: &str) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let id = std::process::id();
        let path = std::env::temp_dir().join(format!("rfm-store-{name}-{id}-{number}"));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub fn history(&self) -> PathBuf {
        self.0.join("history")
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.0));
    }
}

/// A writer with a clock of its own.
pub struct Store {
    pub shared: Arc<SharedHistory>,
    pub writer: Option<HistoryWriter>,
    pub now: StoreTime,
    settings: StoreSettings,
}

pub fn settings() -> StoreSettings {
    StoreSettings {
        max_size: 96 << 20,
        sync_interval: Duration::from_secs(300),
    }
}

impl Store {
    pub fn open(path: &Path, wall: u64) -> Self {
        Self::with(path, wall, settings())
    }

    pub fn with(path: &Path, wall: u64, settings: StoreSettings) -> Self {
        let shared = Arc::new(SharedHistory::new(path.to_owned()));
        let now = StoreTime {
            wall,
            monotonic: Duration::from_secs(1_000),
        };
        let writer = HistoryWriter::new(shared.clone(), settings.clone(), now);
        Self {
            shared,
            writer: Some(writer),
            now,
            settings,
        }
    }

    pub fn add(&self, input: HistoryInput) {
        self.writer.as_ref().unwrap().add(input);
    }

    /// Lets both clocks advance.
    pub fn advance(&mut self, seconds: u64) {
        self.now.wall += seconds;
        self.now.monotonic += Duration::from_secs(seconds);
        self.writer.as_mut().unwrap().tick(self.now);
    }

    /// Ends the writer as SIGTERM does, and opens the folder again.
    pub fn restart(&mut self) {
        self.writer.take().unwrap().close(self.now);
        self.reopen();
    }

    /// Ends the writer as kill -9 does, and opens the folder again.
    pub fn crash(&mut self) {
        drop(self.writer.take());
        self.reopen();
    }

    fn reopen(&mut self) {
        // a child that another test starts has the lock until it runs its program
        for _ in 0..1000 {
            self.shared = Arc::new(SharedHistory::new(self.shared.path.clone()));
            let writer = HistoryWriter::new(self.shared.clone(), self.settings.clone(), self.now);
            self.writer = Some(writer);
            let problem = self.problem().unwrap_or_default();
            if !problem.contains("another process uses it") {
                return;
            }
            self.writer = None;
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    pub fn reader(&self) -> HistoryReader {
        HistoryReader::new(self.shared.clone())
    }

    pub fn problem(&self) -> Option<String> {
        self.shared.problem()
    }
}

pub fn row(interface: &str, bytes: [u64; 3], parts: Vec<(Part, u64)>) -> ScopeRow {
    let part = |(part, bytes): (Part, u64)| PartRow {
        part,
        bytes,
        max_rate: bytes as f32 / 60.0,
    };
    ScopeRow {
        interface: interface.into(),
        direction: Direction::Ingress,
        covered_ms: 60_000,
        totals: bytes.map(|bytes| TotalRow {
            bytes,
            packets: bytes / 100,
            max_rate: bytes as f32 / 60.0,
        }),
        parts: parts.into_iter().map(part).collect(),
    }
}

pub fn minute(minute: u64, rows: Vec<ScopeRow>) -> HistoryInput {
    HistoryInput::Minute(MinuteRows { minute, rows })
}

/// The sums of a curve's points, by their times.
pub fn sums(curves: &[Curve], wanted: impl Fn(&Curve) -> bool) -> BTreeMap<u64, u64> {
    let mut sums = BTreeMap::new();
    for curve in curves.iter().filter(|curve| wanted(curve)) {
        for point in &curve.points {
            *sums.entry(point.time).or_default() += point.bytes;
        }
    }
    sums.retain(|_, bytes| *bytes > 0);
    sums
}

pub fn totals(curves: &[Curve]) -> BTreeMap<u64, u64> {
    sums(curves, |curve| matches!(curve.part, Part::Total(_)))
}

/// Asserts that the parts of each kind and their rest are the interface, in each tier. Returns the
/// totals by tier.
pub fn check(reader: &HistoryReader, span: TimeSpan, damaged: u64) -> Vec<BTreeMap<u64, u64>> {
    Tier::ALL
        .into_iter()
        .map(|tier| {
            let curves = reader.curves(span, Some(tier), &CurveFilter::everything());
            assert_eq!(curves.damaged_blocks, damaged, "{tier:?}");
            for curve in &curves.curves {
                let times: Vec<_> = curve.points.iter().map(|point| point.time).collect();
                assert!(times.is_sorted_by(|a, b| a < b), "{tier:?}: {times:?}");
            }
            let total = totals(&curves.curves);
            for kind in PartKind::ALL {
                let of_kind = |curve: &Curve| curve.part.kind() == Some(kind);
                assert_eq!(sums(&curves.curves, of_kind), total, "{tier:?} {kind:?}");
            }
            total
        })
        .collect()
}
