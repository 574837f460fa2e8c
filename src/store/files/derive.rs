// SPDX-License-Identifier: AGPL-3.0-only
//! Makes the files of longer points from the log, when a day has ended. Each file is written
//! beside the previous one and replaces it at once.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use super::calendar::DAY;
use super::folder::{self, FileId, FileList, FileSection, LOG_SECONDS, MAX_FILE};
use super::sources::LogSources;
use crate::store::format::block::{Block, BlockKind, Blocks, HEADER, put_block};
use crate::store::format::frame::{Frame, MAX_CURVES};
use crate::store::format::{conversations, events, series};
use crate::store::shared::SharedHistory;
use crate::store::types::{ConversationPeriod, CurveFilter, TimeSpan};

/// The number of bytes in which a file's first sources lie.
const HEAD: u64 = 64 << 10;
const HOUR: u64 = 3600;
/// The conversations of this many seconds are added up.
pub const LIST_SECONDS: u64 = 600;
/// The largest conversations of each list that are stored.
const LIST_ROWS: usize = 100;
/// The derived sections.
const DERIVED: [FileSection; 6] = [
    FileSection::FiveMinutes,
    FileSection::Hour,
    FileSection::Day,
    FileSection::Conversations,
    FileSection::Bill,
    FileSection::Events,
];

/// Returns the identity of a new log file that no derived file includes.
pub fn unused_generation(folder: &Path, first: FileId) -> FileId {
    let mut id = first;
    for section in DERIVED {
        let derived = FileId::new(section, first.start);
        let Some(sources) = read_sources(&derived.path(folder)) else {
            continue;
        };
        let known = sources.0.keys().filter(|known| known.start == first.start);
        if let Some(last) = known.map(|known| known.generation).max() {
            id.generation = id.generation.max(last.saturating_add(1));
        }
    }
    id
}

fn read_sources(path: &Path) -> Option<LogSources> {
    let find = |limit| {
        let bytes = folder::read_file(path, limit).ok()?;
        let sources = Blocks::new(&bytes).find(|block| block.kind == BlockKind::LogSources)?;
        LogSources::read(&sources)
    };
    find(HEAD).or_else(|| find(MAX_FILE))
}

/// Returns whether every derived file includes a log file of `length` bytes.
pub fn is_derived(folder: &Path, log: FileId, length: u64) -> bool {
    let included = |section| {
        let derived = FileId::new(section, log.start);
        read_sources(&derived.path(folder)).is_some_and(|s| s.included(log) >= length)
    };
    DERIVED.into_iter().all(included)
}

/// Derives the files of the day that begins at `day`; `now` is in Unix seconds. Returns the number of bytes
/// written.
pub fn derive_day(shared: &SharedHistory, day: u64, now: u64) -> io::Result<u64> {
    let logs: FileList = folder::list(&shared.path, FileSection::Log)?
        .into_iter()
        .filter(|(id, _)| (day..day + DAY).contains(&id.start))
        .collect();
    let mut written = 0;
    for section in DERIVED {
        let derivation = Derivation::new(shared, section, (day, now), &logs)?;
        if let Some(derivation) = derivation {
            written += derivation.run()?;
        }
    }
    Ok(written)
}

/// One derived file that is made.
struct Derivation<'a> {
    shared: &'a SharedHistory,
    id: FileId,
    /// The bytes of the previous file; empty if there is none.
    previous: Vec<u8>,
    /// Log files of the day that have more than the previous file includes.
    logs: Vec<FileId>,
    sources: LogSources,
    /// The sources of the previous file.
    included: LogSources,
}

impl<'a> Derivation<'a> {
    /// Returns `None` if the file includes all of the log.
    fn new(
        shared: &'a SharedHistory,
        section: FileSection,
        (day, now): (u64, u64),
        logs: &FileList,
    ) -> io::Result<Option<Self>> {
        let id = FileId::new(section, day);
        let path = id.path(&shared.path);
        let mut included = LogSources::default();
        let exists = fs::symlink_metadata(&path).is_ok();
        if exists {
            match read_sources(&path) {
                Some(sources) => included = sources,
                None => set_aside(shared, &path, now)?,
            }
        }
        let new = logs
            .iter()
            .filter(|(log, length)| included.included(**log) < **length);
        let new: Vec<_> = new.map(|(log, _)| *log).collect();
        if new.is_empty() {
            return Ok(None);
        }
        let previous = match folder::read_file(&path, MAX_FILE) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(error),
        };
        let mut sources = included.clone();
        sources.0.extend(
            logs.iter()
                .map(|(log, length)| (*log, (*length).max(included.included(*log)))),
        );
        Ok(Some(Self {
            shared,
            id,
            previous,
            logs: new,
            sources,
            included,
        }))
    }

    fn run(self) -> io::Result<u64> {
        let path = self.id.path(&self.shared.path);
        let temporary = temporary(&path);
        let file = folder::write_options().truncate(true).open(&temporary)?;
        let mut out = Output {
            file: BufWriter::new(file),
            written: 0,
        };
        let made = self.write(&mut out).and_then(|()| out.finish());
        let written = match made {
            Ok(written) => written,
            Err(error) => {
                // the next start removes it otherwise
                drop(fs::remove_file(&temporary));
                return Err(error);
            }
        };
        {
            // readers have the old or the new file
            let _readers = self.shared.write();
            fs::rename(&temporary, &path)?;
        }
        if let Some(parent) = path.parent() {
            folder::sync_folder(parent)?;
        }
        Ok(written)
    }

    fn write(&self, out: &mut Output) -> io::Result<()> {
        let span = self.id.period();
        let mut sources = Vec::new();
        self.sources.put(&mut sources, span);
        out.put(&sources)?;
        match self.id.section {
            FileSection::FiveMinutes => {
                // a quarter of a day at a time bounds the memory
                let windows = span.seconds() / LOG_SECONDS;
                for start in (0..windows).map(|n| span.from + n * LOG_SECONDS) {
                    let slots = (LOG_SECONDS / 300) as usize;
                    self.put_series(out, Frame::new(start, 300, slots))?;
                }
            }
            FileSection::Hour => self.put_series(out, Frame::new(span.from, 3600, 24))?,
            FileSection::Day => {
                let days = (span.seconds() / DAY) as usize;
                self.put_series(out, Frame::new(span.from, DAY, days))?;
            }
            FileSection::Bill => self.put_samples(out)?,
            FileSection::Conversations => self.put_lists(out)?,
            FileSection::Events => self.put_events(out)?,
            FileSection::Log => {}
        }
        // twice: with damaged sources the file would have to be made again
        out.put(&sources)
    }

    /// Calls `each` with each intact block of the previous file, and then of the new parts of the
    /// logs; `true` marks those of the previous file.
    fn each_block(&self, each: &mut dyn FnMut(&Block, bool)) -> io::Result<()> {
        for block in Blocks::new(&self.previous) {
            each(&block, true);
        }
        for log in &self.logs {
            let damaged = self.each_block_of(*log, &mut |block| each(block, false))?;
            self.shared.counters.add_damaged(damaged);
        }
        Ok(())
    }

    /// Calls `each` with each intact block of the new part of a log. Returns the number of damaged blocks.
    fn each_block_of(&self, log: FileId, each: &mut dyn FnMut(&Block)) -> io::Result<u64> {
        let limit = self.sources.included(log);
        let bytes = folder::read_file(&log.path(&self.shared.path), limit)?;
        let mut blocks = Blocks::after(&bytes, self.included.included(log));
        let is_inside = |block: &Block| {
            log.period().from <= block.span.from && block.span.to <= log.period().to
        };
        blocks
            .by_ref()
            .filter(is_inside)
            .for_each(|block| each(&block));
        Ok(blocks.damaged)
    }

    fn put_series(&self, out: &mut Output, mut frame: Frame) -> io::Result<()> {
        let everything = CurveFilter::everything();
        self.each_block(&mut |block, is_previous| {
            if block.kind == BlockKind::Series && block.span.overlaps(frame.span()) {
                let step = if is_previous { frame.step } else { 60 };
                add(&mut frame, block, step, &everything);
            }
        })?;
        frame.limit(MAX_CURVES);
        frame.round();
        out.put_frame(BlockKind::Series, &frame)
    }

    fn put_samples(&self, out: &mut Output) -> io::Result<()> {
        let totals = CurveFilter::default();
        for kind in [BlockKind::Series, BlockKind::Prefixes] {
            let mut frame = Frame::new(self.id.start, 300, (DAY / 300) as usize);
            self.each_block(&mut |block, is_previous| {
                if block.kind == kind {
                    add(
                        &mut frame,
                        block,
                        if is_previous { 300 } else { 60 },
                        &totals,
                    );
                }
            })?;
            for total in frame
                .scopes
                .values_mut()
                .flat_map(|s| s.totals.iter_mut().flatten())
            {
                // samples have no maximum
                total.max.fill(0.0);
            }
            if !frame.scopes.is_empty() {
                out.put_frame(kind, &frame)?;
            }
        }
        Ok(())
    }

    fn put_lists(&self, out: &mut Output) -> io::Result<()> {
        self.copy(out, BlockKind::Conversations)?;
        for log in &self.logs {
            // an hour in a block: the addresses repeat; an hour at a time bounds the memory
            let TimeSpan { from, to } = log.period();
            for hour in (from..to).step_by(HOUR as usize) {
                self.put_hour_of_lists(out, *log, TimeSpan::new(hour, hour + HOUR))?;
            }
        }
        Ok(())
    }

    fn put_hour_of_lists(&self, out: &mut Output, log: FileId, hour: TimeSpan) -> io::Result<()> {
        let mut periods: BTreeMap<u64, ConversationPeriod> = BTreeMap::new();
        // the damaged blocks are counted when the series are made
        self.each_block_of(log, &mut |block| {
            if block.kind != BlockKind::Conversations || !block.span.overlaps(hour) {
                return;
            }
            let minutes = conversations::decode(block.payload).unwrap_or_default();
            for minute in minutes.iter().filter(|minute| hour.contains(minute.time)) {
                let time = minute.time - minute.time % LIST_SECONDS;
                let period = periods.entry(time).or_insert_with(|| ConversationPeriod {
                    time,
                    seconds: LIST_SECONDS,
                    lists: Vec::new(),
                });
                conversations::add_up(period, minute);
            }
        })?;
        if periods.is_empty() {
            return Ok(());
        }
        for period in periods.values_mut() {
            conversations::shorten(period, LIST_ROWS);
        }
        let periods: Vec<_> = periods.values().collect();
        out.put_block(
            BlockKind::Conversations,
            hour,
            &conversations::encode(&periods),
        )
    }

    fn put_events(&self, out: &mut Output) -> io::Result<()> {
        self.copy(out, BlockKind::Events)?;
        let mut happened = Vec::new();
        let mut span = TimeSpan::new(u64::MAX, 0);
        self.each_block(&mut |block, is_previous| {
            if block.kind == BlockKind::Events && !is_previous {
                happened.extend(events::decode(block.payload).unwrap_or_default());
                span.from = span.from.min(block.span.from);
                span.to = span.to.max(block.span.to);
            }
        })?;
        if happened.is_empty() {
            return Ok(());
        }
        let happened: Vec<_> = happened.iter().collect();
        out.put_block(BlockKind::Events, span, &events::encode(&happened))
    }

    /// Copies the intact blocks of a kind from the previous file.
    fn copy(&self, out: &mut Output, kind: BlockKind) -> io::Result<()> {
        for block in Blocks::new(&self.previous).filter(|block| block.kind == kind) {
            out.put_block(kind, block.span, block.payload)?;
        }
        Ok(())
    }
}

/// A derived file while it is written.
struct Output {
    file: BufWriter<File>,
    written: u64,
}

impl Output {
    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.written += bytes.len() as u64;
        self.file.write_all(bytes)
    }

    fn put_block(&mut self, kind: BlockKind, span: TimeSpan, payload: &[u8]) -> io::Result<()> {
        let mut block = Vec::with_capacity(payload.len() + HEADER);
        put_block(&mut block, kind, span, payload);
        self.put(&block)
    }

    fn put_frame(&mut self, kind: BlockKind, frame: &Frame) -> io::Result<()> {
        self.put_block(kind, frame.span(), &series::encode(frame))
    }

    fn finish(self) -> io::Result<u64> {
        let file = self.file.into_inner().map_err(|error| error.into_error())?;
        file.sync_all()?;
        Ok(self.written)
    }
}

/// Adds an intact block. A payload that is not a frame would be a fault of the writer: it is left
/// out.
fn add(frame: &mut Frame, block: &Block, step: u64, filter: &CurveFilter) {
    let added = series::decode_into(frame, block.payload, block.span, step, filter);
    if added.is_none() {
        log::debug!("history: a block at {} is not a frame", block.span.from);
    }
}

pub fn temporary(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".tmp");
    name.into()
}

/// Renames a derived file without readable sources, which cannot be added to.
fn set_aside(shared: &SharedHistory, path: &Path, now: u64) -> io::Result<()> {
    let mut name = path.as_os_str().to_owned();
    name.push(".damaged");
    let aside = PathBuf::from(name);
    {
        let _readers = shared.write();
        fs::rename(path, &aside)?;
    }
    let reason = format!(
        "{}: damaged; renamed to {}",
        path.display(),
        aside.display()
    );
    log::warn!("history: {reason}");
    shared.counters.add_damaged(1);
    shared.damaged(now, &reason);
    Ok(())
}
