// SPDX-License-Identifier: AGPL-3.0-only
//! Writes the history: rows to the log in each interval, derived files after each day.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::calendar::DAY;
use super::derive;
use super::folder::{self, FileSection, Folder};
use super::log::{self as log_file, OpenLog};
use super::retention::{self, FileLimits};
use crate::store::shared::SharedHistory;
use crate::store::types::HistoryInput;
use crate::sys::os_error;

/// Seconds after a minute in which its rows arrive.
const GRACE: u64 = 15;
/// Seconds after a day until its files are derived.
const DAY_GRACE: u64 = 600;
/// Minutes further in the future than this are those before a clock step back.
const FUTURE: u64 = 120;
/// A larger difference between the clocks in seconds is a step.
const STEP: u64 = 60;
/// The time without a step after which ages are measured by the wall clock: a clock that is wrong for a moment
/// deletes nothing.
const STEADY: Duration = Duration::from_secs(3600);
/// The number of minutes that stay in memory when nothing can be stored, beside those of the
/// interval.
const MINUTES_KEPT: u64 = 10;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreSettings {
    /// Bytes of all files.
    pub max_size: u64,
    pub sync_interval: Duration,
}

/// A time by both clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoreTime {
    /// Unix seconds.
    pub wall: u64,
    /// Since any origin.
    pub monotonic: Duration,
}

#[derive(Debug)]
pub struct HistoryWriter {
    shared: Arc<SharedHistory>,
    settings: StoreSettings,
    /// `None` until it could be opened.
    folder: Option<Folder>,
    log: Option<OpenLog>,
    /// The next write, by the monotonic clock.
    due: Duration,
    /// The day up to which files are derived.
    derived_to: u64,
    clock: SteadyClock,
}

/// The time since which the wall clock had no step.
#[derive(Clone, Copy, Debug)]
struct SteadyClock {
    since: Duration,
    last: StoreTime,
}

impl SteadyClock {
    fn new(now: StoreTime) -> Self {
        Self {
            since: now.monotonic,
            last: now,
        }
    }

    fn read(&mut self, now: StoreTime) {
        let elapsed = now.monotonic.saturating_sub(self.last.monotonic);
        let expected = self.last.wall.saturating_add(elapsed.as_secs());
        if now.wall.abs_diff(expected) > STEP {
            self.since = now.monotonic;
        }
        self.last = now;
    }

    fn is_steady(&self) -> bool {
        self.last.monotonic.saturating_sub(self.since) >= STEADY
    }
}

impl HistoryWriter {
    /// Opens the folder. If this fails, the writer tries again in each interval.
    pub fn new(shared: Arc<SharedHistory>, settings: StoreSettings, now: StoreTime) -> Self {
        let mut writer = Self {
            shared,
            settings,
            folder: None,
            log: None,
            due: Duration::ZERO,
            derived_to: u64::MAX,
            clock: SteadyClock::new(now),
        };
        writer.schedule(now);
        let opened = writer.open(now);
        writer.report(opened.map_err(|error| (error, "")));
        writer
    }

    pub fn add(&self, input: HistoryInput) {
        let lost = self.shared.write().add(input);
        self.shared.counters.add_lost(lost);
    }

    /// Writes what is due. Returns whether something was.
    pub fn tick(&mut self, now: StoreTime) -> bool {
        self.clock.read(now);
        if now.monotonic < self.due {
            return false;
        }
        self.schedule(now);
        let is_complete = |time: u64| time + 60 + GRACE <= now.wall || time > now.wall + FUTURE;
        self.store(now, &is_complete);
        self.derive(now);
        true
    }

    /// Writes everything, at the end.
    pub fn close(mut self, now: StoreTime) {
        self.store(now, &|_| true);
    }

    /// Sets the next write: shortly after the end of a window of the log, if the interval permits.
    fn schedule(&mut self, now: StoreTime) {
        let interval = self.settings.sync_interval.as_secs().max(1);
        let phase = now.wall.saturating_sub(GRACE + 5) % interval;
        self.due = now.monotonic + Duration::from_secs(interval - phase);
    }

    fn open(&mut self, now: StoreTime) -> Result<(), String> {
        if self.folder.is_some() {
            return Ok(());
        }
        let folder = Folder::open(&self.shared.path, now.wall)?;
        if let Some(reason) = &folder.set_aside {
            log::error!("history: {reason}; a new history starts");
            self.shared.damaged(now.wall, reason);
        }
        let recovered = recover(&self.shared);
        recovered.map_err(|error| {
            format!(
                "{}: cannot read: {}",
                folder.path.display(),
                os_error::reason(&error)
            )
        })?;
        self.folder = Some(folder);
        self.derived_to = 0;
        Ok(())
    }

    fn store(&mut self, now: StoreTime, ready: &dyn Fn(u64) -> bool) {
        let stored = self.open(now).and_then(|()| {
            self.write(now, ready)
                .map_err(|error| self.cannot_write(&error))
        });
        let interval = self.settings.sync_interval.as_secs() / 60;
        if stored.is_err() {
            let lost = self.shared.write().trim((interval + MINUTES_KEPT) as usize);
            self.shared.counters.add_lost(lost);
        }
        self.report(stored.map_err(|error| (error, "; nothing is stored until this succeeds")));
    }

    /// Logs a problem when it begins, and its end.
    fn report(&self, result: Result<(), (String, &str)>) {
        let before = self.shared.problem();
        match result {
            Ok(()) if before.is_some() => {
                log::info!("history: {} is written again", self.shared.path.display());
                self.shared.set_problem(None);
            }
            Ok(()) => {}
            Err((error, more)) => {
                if before.as_ref() != Some(&error) {
                    log::error!("history: {error}{more}");
                }
                self.shared.set_problem(Some(error));
            }
        }
    }

    fn write(&mut self, now: StoreTime, ready: &dyn Fn(u64) -> bool) -> io::Result<()> {
        loop {
            let next = self.shared.read().times().find(|time| ready(*time));
            let Some(time) = next else { break };
            let period = FileSection::Log.period(time);
            let of_period = |time: u64| ready(time) && period.contains(time);
            self.write_period(time, &of_period)?;
            self.shared
                .counters
                .last_sync
                .store(now.wall, Ordering::Relaxed);
        }
        let bytes = self.make_room(0)?;
        self.shared.counters.bytes.store(bytes, Ordering::Relaxed);
        Ok(())
    }

    fn make_room(&self, more: u64) -> io::Result<u64> {
        let limits = FileLimits {
            max_size: self.settings.max_size,
            keep: self.log.as_ref().map(|log| log.id),
            age_at: self.clock.is_steady().then_some(self.clock.last.wall),
        };
        retention::make_room(&self.shared, limits, more)
    }

    /// Appends the `ready` rows of one log file.
    fn write_period(&mut self, time: u64, ready: &dyn Fn(u64) -> bool) -> io::Result<()> {
        let (bytes, carry) = log_file::blocks(&self.shared.read(), ready);
        let is_open = |log: &OpenLog| log.id.period().contains(time);
        if !self.log.as_ref().is_some_and(is_open) {
            let (log, damaged) = OpenLog::open(&self.shared.path, time)?;
            self.shared.counters.add_damaged(damaged);
            self.log = Some(log);
        }
        let more = bytes.len() as u64;
        self.make_room(more)?;
        let Some(log) = &mut self.log else {
            return Ok(());
        };
        let id = log.id;
        // until the rows are synced, readers have them from memory
        self.shared.write().synced.insert(id, log.length());
        log.append(&bytes)?;
        let counters = &self.shared.counters;
        counters.written_bytes.fetch_add(more, Ordering::Relaxed);
        let mut pending = self.shared.write();
        pending.remove(ready);
        pending.carry = carry;
        pending.synced.clear();
        pending.synced.insert(id, log.length());
        Ok(())
    }

    /// Derives the files of days that have ended.
    fn derive(&mut self, now: StoreTime) {
        let today = now.wall.saturating_sub(DAY_GRACE) / DAY * DAY;
        if self.folder.is_none() || self.derived_to == today {
            return;
        }
        let derived = self.derive_before(today, now);
        if derived.is_ok() {
            self.derived_to = today;
        }
        self.report(derived.map_err(|error| (self.cannot_write(&error), "; it is tried again")));
    }

    fn cannot_write(&self, error: &io::Error) -> String {
        let path = self.shared.path.display();
        format!("{path}: cannot write: {}", os_error::reason(error))
    }

    fn derive_before(&self, today: u64, now: StoreTime) -> io::Result<()> {
        let logs = folder::list(&self.shared.path, FileSection::Log)?;
        let mut days: Vec<_> = logs.keys().map(|id| id.start / DAY * DAY).collect();
        days.dedup();
        for day in days.into_iter().filter(|day| *day < today) {
            let logs = logs.iter().filter(|(id, _)| id.start / DAY * DAY == day);
            let more: u64 = logs.map(|(_, length)| *length).sum();
            self.make_room(more)?;
            let written = derive::derive_day(&self.shared, day, now.wall)?;
            let counter = &self.shared.counters.written_bytes;
            counter.fetch_add(written, Ordering::Relaxed);
        }
        Ok(())
    }
}

/// Removes unfinished files, and cuts torn ends off.
fn recover(shared: &SharedHistory) -> io::Result<()> {
    for section in FileSection::ALL {
        let entries = fs::read_dir(shared.path.join(section.name()))?;
        for entry in entries.flatten() {
            let is_unfinished = entry.file_name().to_string_lossy().ends_with(".seg.tmp");
            if is_unfinished {
                fs::remove_file(entry.path())?;
            }
        }
    }
    let logs = folder::list(&shared.path, FileSection::Log)?;
    if let Some((last, _)) = logs.last_key_value() {
        let (_, damaged) = OpenLog::open(&shared.path, last.start)?;
        shared.counters.add_damaged(damaged);
    }
    Ok(())
}

/// Returns the bytes of all files of a history.
pub fn size(path: &Path) -> io::Result<u64> {
    let mut bytes = 0;
    for section in FileSection::ALL {
        bytes += folder::list(path, section)?.values().sum::<u64>();
    }
    Ok(bytes)
}
