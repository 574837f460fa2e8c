// SPDX-License-Identifier: AGPL-3.0-only
//! The databases in use, and THREAD mmdb, which notices that a file was replaced.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;
use std::{fs, thread};

use super::{Attribution, Database, FileIdentity, search};
use crate::sys::error_counters::{ErrorCounters, Subsystem};
use crate::sys::threads::Heartbeat;
use crate::types::database::DatabaseKind;

/// How often the files are checked. A changed file is read when two checks in a row find the same state: a
/// file that is being written in place changes from check to check.
const INTERVAL: Duration = Duration::from_secs(1);

/// A database and where its file is.
#[derive(Clone, Debug)]
pub struct DatabaseFile {
    pub kind: DatabaseKind,
    pub place: DatabasePlace,
}

#[derive(Clone, Debug)]
pub enum DatabasePlace {
    /// A configured file.
    File(PathBuf),
    /// The first database in these folders, if there is one.
    Folders(Vec<PathBuf>),
}

impl DatabaseFile {
    /// Returns the path of the file now.
    pub fn path(&self) -> Option<PathBuf> {
        match &self.place {
            DatabasePlace::File(path) => Some(path.clone()),
            DatabasePlace::Folders(folders) => search::find(self.kind, folders),
        }
    }
}

/// A database in use, or the reason why a file that was found is not used.
#[derive(Clone, Default)]
struct Slot {
    used: Option<(Arc<Database>, Arc<Path>)>,
    problem: Option<String>,
    /// Whether the configuration wants a database of this kind.
    is_wanted: bool,
}

/// By [`DatabaseKind`].
type InUse = [Slot; DatabaseKind::ALL.len()];

/// The databases in use, shared by the threads that look up and the thread that replaces them.
pub struct Databases {
    in_use: RwLock<InUse>,
    generation: AtomicU32,
}

impl Databases {
    /// Opens the files. The error names the key and the configured file; a file that was found and cannot be used is a
    /// problem.
    pub fn open(files: &[DatabaseFile]) -> Result<Self, String> {
        let mut in_use = InUse::default();
        for file in files {
            in_use[file.kind as usize].is_wanted = true;
            let Some(path) = file.path() else { continue };
            let (kind, shown) = (file.kind, path.display());
            let slot = &mut in_use[kind as usize];
            match (Database::open(&path, kind, &|| {}), &file.place) {
                (Ok(database), place) => {
                    if let DatabasePlace::Folders(_) = place {
                        log::info!("{}: found {shown}", kind.key());
                    }
                    slot.used = Some((Arc::new(database), path.into()));
                }
                (Err(error), DatabasePlace::File(_)) => {
                    return Err(format!("{}: cannot use {shown}: {error}", kind.key()));
                }
                (Err(error), DatabasePlace::Folders(_)) => {
                    let problem = format!("{shown}: {error}");
                    log::warn!("{}: cannot use {problem}", kind.key());
                    slot.problem = Some(problem);
                }
            }
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
        let in_use = self.read();
        let used = in_use[kind as usize].used.as_ref()?;
        Some(used.0.clone())
    }

    /// Returns the file of the database in use.
    pub fn path(&self, kind: DatabaseKind) -> Option<Arc<Path>> {
        let in_use = self.read();
        let used = in_use[kind as usize].used.as_ref()?;
        Some(used.1.clone())
    }

    /// Returns whether the configuration wants a database of this kind, and none is in use.
    pub fn is_missing(&self, kind: DatabaseKind) -> bool {
        let slot = &self.read()[kind as usize];
        slot.is_wanted && slot.used.is_none()
    }

    /// Returns the attributions that the licences of the databases in use require, each once.
    pub fn attributions(&self) -> Vec<Attribution> {
        let in_use = self.read();
        let databases = in_use.iter().filter_map(|slot| slot.used.as_ref());
        let mut found: Vec<_> = databases
            .filter_map(|(database, _)| Attribution::of(database.database_type()))
            .collect();
        found.dedup();
        found
    }

    /// Returns why files that were found are not used.
    pub fn problems(&self) -> Vec<String> {
        let in_use = self.read();
        in_use
            .iter()
            .filter_map(|slot| slot.problem.clone())
            .collect()
    }

    /// Returns when each database in use was built, in seconds since the Unix epoch.
    pub fn build_times(&self) -> Vec<(&'static str, u64)> {
        let in_use = self.read();
        let time = |kind: DatabaseKind| {
            let (database, _) = in_use[kind as usize].used.as_ref()?;
            Some((kind.name(), database.build_time()))
        };
        DatabaseKind::ALL.into_iter().filter_map(time).collect()
    }

    fn replace(&self, kind: DatabaseKind, database: Database, path: &Path) {
        let new = Slot {
            used: Some((Arc::new(database), path.into())),
            problem: None,
            is_wanted: true,
        };
        let mut in_use = self.in_use.write().unwrap_or_else(PoisonError::into_inner);
        let old = std::mem::replace(&mut in_use[kind as usize], new);
        drop(in_use);
        self.generation.fetch_add(1, Ordering::Release);
        // This may be the last reference: unmapping takes time, but no thread waits for it here.
        drop(old);
    }

    fn set_problem(&self, kind: DatabaseKind, problem: Option<String>) {
        let mut in_use = self.in_use.write().unwrap_or_else(PoisonError::into_inner);
        in_use[kind as usize].problem = problem;
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
        .map(|file| {
            let identity = databases.get(file.kind).map(|used| used.identity());
            WatchedFile::new(file, databases.path(file.kind), identity)
        })
        .collect();
    let mut idle = Duration::ZERO;
    while !heartbeat.stopping() {
        heartbeat.beat();
        // here and not when it is opened: a start and a reload do not wait for it
        if let Some(database) = databases.get(DatabaseKind::Asn)
            && !database.is_indexed()
        {
            index(&database, errors, &|| heartbeat.beat());
            databases.generation.fetch_add(1, Ordering::Release);
        }
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

/// Reads the names of all ASNs. Without them, only the names of addresses are known.
fn index(database: &Database, errors: &ErrorCounters, beat: &dyn Fn()) {
    match database.index(beat) {
        Ok(count) => log::debug!("the ASN database names {count} ASNs"),
        Err(error) => errors.count_and_log(Subsystem::Mmdb, "index", || error.to_string()),
    }
}

/// A watched file and its known states. Without an identity there is no file, or its metadata cannot be
/// read.
pub(super) struct WatchedFile<'a> {
    file: &'a DatabaseFile,
    /// The file that was read last.
    path: Option<Arc<Path>>,
    /// The state when the file was last read, successfully or not.
    read: Option<FileIdentity>,
    /// The state at the last check.
    seen: Option<FileIdentity>,
}

impl<'a> WatchedFile<'a> {
    pub fn new(
        file: &'a DatabaseFile,
        path: Option<Arc<Path>>,
        identity: Option<FileIdentity>,
    ) -> Self {
        Self {
            file,
            path,
            read: identity,
            seen: identity,
        }
    }

    /// Reads the file if it changed and has settled, or if another one is preferred now. A broken file is reported once
    /// and not used.
    pub fn check_file(&mut self, databases: &Databases, errors: &ErrorCounters, beat: &dyn Fn()) {
        let Some(path) = self.file.path() else {
            // the database in use stays, and a broken file is gone
            if self.path.take().is_some() {
                databases.set_problem(self.file.kind, None);
            }
            return;
        };
        let is_other = self.path.as_deref() != Some(&path);
        let now = fs::metadata(&path)
            .ok()
            .map(|metadata| FileIdentity::from(&metadata));
        let settled = now == self.seen;
        self.seen = now;
        if !settled || (now == self.read && !is_other) {
            return;
        }
        self.read = now;
        let kind = self.file.kind;
        let shown = path.display();
        match Database::open(&path, kind, beat) {
            Ok(database) => {
                if kind == DatabaseKind::Asn {
                    // before it replaces the one in use: no name is missing meanwhile
                    index(&database, errors, beat);
                }
                match is_other {
                    true => log::info!("{}: found {shown}", kind.key()),
                    false => log::info!("{shown}: replaced, and read again"),
                }
                databases.replace(kind, database, &path);
            }
            Err(error) => {
                if let DatabasePlace::Folders(_) = self.file.place {
                    databases.set_problem(kind, Some(format!("{shown}: {error}")));
                }
                errors.count_and_log(Subsystem::Mmdb, kind.name(), || {
                    format!("{shown}: {error}; the previous one stays in use")
                });
            }
        }
        self.path = Some(path.into());
    }
}
