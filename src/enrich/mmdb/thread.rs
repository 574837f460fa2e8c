// SPDX-License-Identifier: AGPL-3.0-only
//! The databases in use, and THREAD mmdb, which notices that a file was replaced.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;
use std::{fs, thread};

use super::{Database, FileIdentity};
use crate::sys::error_counters::{ErrorCounters, Subsystem};
use crate::sys::threads::Heartbeat;
use crate::types::database::DatabaseKind;

/// How often the files are checked. A changed file is read when two checks in a row find the same state: a
/// file that is being written in place changes from check to check.
const INTERVAL: Duration = Duration::from_secs(1);

/// A database and its file.
#[derive(Clone, Debug)]
pub struct DatabaseFile {
    pub kind: DatabaseKind,
    pub path: PathBuf,
}

/// The databases by [`DatabaseKind`]; `None` if no file is configured.
type InUse = [Option<Arc<Database>>; DatabaseKind::ALL.len()];

/// The databases in use, shared by the threads that look up and the thread that replaces them.
pub struct Databases {
    in_use: RwLock<InUse>,
    generation: AtomicU32,
}

impl Databases {
    /// Opens the files. The error names the key and the file.
    pub fn open(files: &[DatabaseFile]) -> Result<Self, String> {
        let mut in_use = InUse::default();
        for DatabaseFile { kind, path } in files {
            let kind = *kind;
            let database = Database::open(path, kind, &|| {}).map_err(|error| {
                format!("{}: cannot use {}: {error}", kind.key(), path.display())
            })?;
            in_use[kind as usize] = Some(Arc::new(database));
        }
        Ok(Self {
            in_use: RwLock::new(in_use),
            generation: AtomicU32::new(0),
        })
    }

    /// Replaces all databases in use with those of `opened`.
    pub fn replace_all(&self, opened: Self) {
        let new = opened.in_use.into_inner();
        let new = new.unwrap_or_else(PoisonError::into_inner);
        let mut in_use = self.in_use.write().unwrap_or_else(PoisonError::into_inner);
        let old = std::mem::replace(&mut *in_use, new);
        drop(in_use);
        self.generation.fetch_add(1, Ordering::Release);
        drop(old);
    }

    /// Returns a number that advances when a database was replaced.
    pub fn generation(&self) -> u32 {
        self.generation.load(Ordering::Acquire)
    }

    pub fn get(&self, kind: DatabaseKind) -> Option<Arc<Database>> {
        self.read()[kind as usize].clone()
    }

    /// Returns when each database in use was built, in seconds since the Unix epoch.
    pub fn build_times(&self) -> Vec<(&'static str, u64)> {
        let in_use = self.read();
        let time =
            |kind: DatabaseKind| Some((kind.name(), in_use[kind as usize].as_ref()?.build_time()));
        DatabaseKind::ALL.into_iter().filter_map(time).collect()
    }

    fn replace(&self, kind: DatabaseKind, database: Database) {
        let new = Some(Arc::new(database));
        let mut in_use = self.in_use.write().unwrap_or_else(PoisonError::into_inner);
        let old = std::mem::replace(&mut in_use[kind as usize], new);
        drop(in_use);
        self.generation.fetch_add(1, Ordering::Release);
        // This may be the last reference: unmapping takes time, but no thread waits for it here.
        drop(old);
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, InUse> {
        self.in_use.read().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The body of thread mmdb.
pub fn run(
    databases: &Databases,
    files: &[DatabaseFile],
    errors: &ErrorCounters,
    heartbeat: &Heartbeat,
) {
    const POLL_INTERVAL: Duration = Duration::from_millis(250);
    let mut files: Vec<_> = files
        .iter()
        .filter_map(|DatabaseFile { kind, path }| {
            let identity = databases.get(*kind)?.identity();
            Some(WatchedFile::new(*kind, path, identity))
        })
        .collect();
    let mut idle = Duration::ZERO;
    while !heartbeat.stopping() {
        heartbeat.beat();
        if idle >= INTERVAL {
            idle = Duration::ZERO;
            for file in &mut files {
                file.check_file(databases, errors, &|| heartbeat.beat());
            }
        }
        thread::sleep(POLL_INTERVAL);
        idle += POLL_INTERVAL;
    }
}

/// A watched file and its known states. Without an identity there is no file, or its metadata cannot be
/// read.
pub(super) struct WatchedFile<'a> {
    kind: DatabaseKind,
    path: &'a Path,
    /// The state when the file was last read, successfully or not.
    read: Option<FileIdentity>,
    /// The state at the last check.
    seen: Option<FileIdentity>,
}

impl<'a> WatchedFile<'a> {
    pub fn new(kind: DatabaseKind, path: &'a Path, identity: FileIdentity) -> Self {
        Self {
            kind,
            path,
            read: Some(identity),
            seen: Some(identity),
        }
    }

    /// Reads the file if it changed and has settled. A broken file is reported once and not used.
    pub fn check_file(&mut self, databases: &Databases, errors: &ErrorCounters, beat: &dyn Fn()) {
        let now = fs::metadata(self.path)
            .ok()
            .map(|metadata| FileIdentity::from(&metadata));
        let settled = now == self.seen;
        self.seen = now;
        if !settled || now == self.read {
            return;
        }
        self.read = now;
        let path = self.path.display();
        match Database::open(self.path, self.kind, beat) {
            Ok(database) => {
                log::info!("{path}: replaced, and read again");
                databases.replace(self.kind, database);
            }
            Err(error) => errors.count_and_log(Subsystem::Mmdb, self.kind.name(), || {
                format!("{path}: {error}; the previous one stays in use")
            }),
        }
    }
}
