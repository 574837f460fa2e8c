// SPDX-License-Identifier: AGPL-3.0-only
//! The folder of the history: its files by period, the lock, and folders that are set aside.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, OFlags, flock};

use super::calendar::{self, DAY};
use crate::store::types::{Tier, TimeSpan};
use crate::sys::os_error;

const FORMAT_FILE: &str = "format";
const FORMAT: &str = "rfm-history 1\n";
/// The largest file that is read. A writer's files are smaller.
pub const MAX_FILE: u64 = 64 << 20;
/// The period of a log file in seconds.
pub const LOG_SECONDS: u64 = 6 * 3600;
/// The limit of files of one kind that are listed.
const MAX_FILES: usize = 20_000;

/// A subfolder: one kind of files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FileSection {
    /// The rows as they were received: points of a minute, lists and events.
    Log,
    FiveMinutes,
    Hour,
    Day,
    Conversations,
    Bill,
    Events,
}

impl FileSection {
    pub const ALL: [Self; 7] = [
        Self::Log,
        Self::FiveMinutes,
        Self::Hour,
        Self::Day,
        Self::Conversations,
        Self::Bill,
        Self::Events,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::Log => "log",
            Self::FiveMinutes => "5m",
            Self::Hour => "1h",
            Self::Day => "1d",
            Self::Conversations => "conversations",
            Self::Bill => "bill",
            Self::Events => "events",
        }
    }

    /// Returns the section with the points of a tier.
    pub fn of(tier: Tier) -> Self {
        match tier {
            Tier::Minute => Self::Log,
            Tier::FiveMinutes => Self::FiveMinutes,
            Tier::Hour => Self::Hour,
            Tier::Day => Self::Day,
        }
    }

    /// Returns the period of the file that has the rows of `time`.
    pub fn period(self, time: u64) -> TimeSpan {
        let fixed = |length: u64| {
            let start = time - time % length;
            TimeSpan::new(start, start + length)
        };
        match self {
            Self::Log => fixed(LOG_SECONDS),
            Self::FiveMinutes | Self::Hour | Self::Conversations | Self::Bill => fixed(DAY),
            Self::Day | Self::Events => {
                TimeSpan::new(calendar::month_start(time), calendar::month_end(time))
            }
        }
    }
}

/// The identity of a file. Its period begins at `start`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileId {
    pub section: FileSection,
    pub start: u64,
    /// Distinguishes log files of one period: after the first one was deleted, a clock step may
    /// lead to a second one.
    pub generation: u32,
}

impl FileId {
    pub fn new(section: FileSection, time: u64) -> Self {
        Self {
            section,
            start: section.period(time).from,
            generation: 0,
        }
    }

    pub fn period(self) -> TimeSpan {
        self.section.period(self.start)
    }

    pub fn file_name(self) -> String {
        let (year, month, day) = calendar::date(self.start / DAY);
        match self.section {
            FileSection::Log => {
                let hour = self.start % DAY / 3600;
                let more = match self.generation {
                    0 => String::new(),
                    generation => format!(".{generation}"),
                };
                format!("{year:04}{month:02}{day:02}T{hour:02}00Z{more}.log")
            }
            FileSection::Day | FileSection::Events => format!("{year:04}{month:02}.seg"),
            _ => format!("{year:04}{month:02}{day:02}.seg"),
        }
    }

    /// Returns the identity of a file by its name; `None` for other files.
    fn parse(section: FileSection, name: &str) -> Option<Self> {
        let number = |range: std::ops::Range<usize>| name.get(range)?.parse::<u64>().ok();
        let month_only = matches!(section, FileSection::Day | FileSection::Events);
        let day = if month_only { 1 } else { number(6..8)? };
        let mut start = calendar::days(number(0..4)?, number(4..6)?, day)? * DAY;
        let mut generation = 0;
        if section == FileSection::Log {
            start += number(9..11)? * 3600;
            let more = name.get(14..)?.strip_suffix(".log")?;
            if let Some(more) = more.strip_prefix('.') {
                generation = more.parse().ok()?;
            }
        }
        let id = Self {
            generation,
            ..Self::new(section, start)
        };
        // other spellings are not those of a writer
        (id.file_name() == name).then_some(id)
    }

    pub fn path(self, folder: &Path) -> PathBuf {
        folder.join(self.section.name()).join(self.file_name())
    }
}

/// The files of a section with their sizes, in order of time.
pub type FileList = BTreeMap<FileId, u64>;

/// Lists the files of a section. Other files are ignored.
pub fn list(folder: &Path, section: FileSection) -> io::Result<FileList> {
    let mut files = FileList::new();
    let entries = match fs::read_dir(folder.join(section.name())) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(files),
        Err(error) => return Err(error),
    };
    for entry in entries.take(MAX_FILES) {
        let entry = entry?;
        let name = entry.file_name();
        let id = name.to_str().and_then(|name| FileId::parse(section, name));
        let Some(id) = id else { continue };
        // it may have been deleted meanwhile
        if let Ok(metadata) = entry.metadata()
            && metadata.is_file()
        {
            files.insert(id, metadata.len());
        }
    }
    Ok(files)
}

/// Reads at most `limit` bytes of a file of the history.
pub fn read_file(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    let file = OpenOptions::new()
        .read(true)
        .custom_flags((OFlags::NOFOLLOW | OFlags::NONBLOCK).bits() as i32)
        .open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(io::Error::new(
            ErrorKind::InvalidInput,
            "not a regular file",
        ));
    }
    let mut bytes = Vec::with_capacity(metadata.len().min(limit).min(MAX_FILE) as usize);
    file.take(limit.min(MAX_FILE)).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Makes the entries of a folder durable.
pub fn sync_folder(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// Returns options for a new or existing file that only the agent may read.
pub fn write_options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options
        .write(true)
        .create(true)
        .mode(0o600)
        .custom_flags(OFlags::NOFOLLOW.bits() as i32);
    options
}

/// The opened folder. It is locked until it is dropped.
#[derive(Debug)]
pub struct Folder {
    pub path: PathBuf,
    /// The reason why a folder was set aside, with its new name.
    pub set_aside: Option<String>,
    _lock: File,
}

impl Folder {
    /// Opens or creates the folder. A folder or file that is not a history of this version is
    /// renamed; `now` is in Unix seconds.
    pub fn open(path: &Path, now: u64) -> Result<Self, String> {
        let shown = path.display();
        let reason = foreign(path)
            .map_err(|error| format!("{shown}: cannot read: {}", os_error::reason(&error)))?;
        let set_aside = match reason {
            Some(reason) => Some(set_aside(path, &reason, now)?),
            None => None,
        };
        let lock = create(path).map_err(|error| match error.kind() {
            ErrorKind::WouldBlock => format!("{shown}: another process uses it"),
            _ => format!("{shown}: cannot create: {}", os_error::reason(&error)),
        })?;
        Ok(Self {
            path: path.to_owned(),
            set_aside,
            _lock: lock,
        })
    }
}

/// Returns why something at `path` is not a history of this version.
fn foreign(path: &Path) -> io::Result<Option<String>> {
    let metadata = match fs::symlink_metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    if !metadata.is_dir() {
        return Ok(Some("expected a folder, got another file".into()));
    }
    let format = match read_file(&path.join(FORMAT_FILE), 64) {
        Ok(format) => format,
        Err(error) if error.kind() == ErrorKind::PermissionDenied => return Err(error),
        Err(_) => {
            let is_empty = fs::read_dir(path)?.next().is_none();
            return Ok((!is_empty).then(|| "it has files but no format".into()));
        }
    };
    // the machine may have stopped before the format reached the disk
    if format == FORMAT.as_bytes() || format.is_empty() {
        return Ok(None);
    }
    let version = std::str::from_utf8(&format).ok();
    let version = version.and_then(|text| text.strip_prefix("rfm-history ")?.trim().parse().ok());
    Ok(Some(match version {
        Some(version @ 2u32..) => format!("it has format {version}, this rfm reads format 1"),
        _ => "its format is unknown".into(),
    }))
}

fn set_aside(path: &Path, reason: &str, now: u64) -> Result<String, String> {
    let shown = path.display();
    for n in 0..100 {
        let mut name = OsString::from(path);
        name.push(format!(".damaged-{now}"));
        if n > 0 {
            name.push(format!("-{n}"));
        }
        let aside = PathBuf::from(name);
        if fs::symlink_metadata(&aside).is_ok() {
            continue;
        }
        return match fs::rename(path, &aside) {
            Ok(()) => Ok(format!("{shown}: {reason}; renamed to {}", aside.display())),
            Err(error) => Err(format!(
                "{shown}: {reason}; cannot rename it: {}",
                os_error::reason(&error)
            )),
        };
    }
    Err(format!("{shown}: {reason}; too many damaged folders"))
}

fn create(path: &Path) -> io::Result<File> {
    let mut builder = DirBuilder::new();
    builder.mode(0o700).recursive(true).create(path)?;
    let format = path.join(FORMAT_FILE);
    let mut file = write_options().read(true).truncate(false).open(&format)?;
    flock(&file, FlockOperation::NonBlockingLockExclusive)?;
    if file.metadata()?.len() == 0 {
        io::Write::write_all(&mut file, FORMAT.as_bytes())?;
        file.sync_all()?;
    }
    for section in FileSection::ALL {
        let below = path.join(section.name());
        // a file that is in the way is moved, as a damaged folder is
        if fs::symlink_metadata(&below).is_ok_and(|found| !found.is_dir()) {
            fs::rename(&below, below.with_extension("damaged"))?;
        }
        builder.create(&below)?;
    }
    sync_folder(path)?;
    Ok(file)
}
