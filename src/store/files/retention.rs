// SPDX-License-Identifier: AGPL-3.0-only
//! The limits of the files: a number of files for each section, `max_size` for all, and an age for those with
//! conversations.

use std::fs;
use std::io;
use std::path::Path;

use super::calendar::DAY;
use super::derive;
use super::folder::{self, FileId, FileSection, MAX_FILE};
use crate::store::format::block::{BlockKind, Blocks};
use crate::store::shared::SharedHistory;

/// The age in seconds at which conversations are deleted. They have addresses, so that a number of files is
/// not enough: a router that is seldom on would keep them for longer.
const MAX_CONVERSATION_AGE: u64 = 14 * DAY;

/// The number of files of a section, and its share of `max_size` in percent. Numbers of files and
/// not ages: after a clock step forward by years nothing is too old at once.
fn file_limits(section: FileSection) -> (usize, u64) {
    match section {
        // 2 days and the current period
        FileSection::Log => (9, 22),
        // 5 weeks
        FileSection::FiveMinutes => (35, 16),
        // 13 months
        FileSection::Hour => (396, 15),
        // 10 years
        FileSection::Day => (120, 5),
        // 2 weeks
        FileSection::Conversations => (14, 20),
        // 13 months
        FileSection::Bill => (396, 21),
        FileSection::Events => (120, 1),
    }
}

/// The files of all sections, oldest first.
struct Inventory(Vec<(FileSection, Vec<(FileId, u64)>)>);

impl Inventory {
    fn read(path: &Path) -> io::Result<Self> {
        let sections = FileSection::ALL.into_iter().map(|section| {
            let files = folder::list(path, section)?.into_iter().collect();
            Ok((section, files))
        });
        Ok(Self(sections.collect::<io::Result<_>>()?))
    }

    fn bytes(&self) -> u64 {
        let files = self.0.iter().flat_map(|(_, files)| files);
        files.map(|(_, length)| *length).sum()
    }

    /// Removes the oldest file of the section that exceeds its share most.
    fn pop_largest(&mut self, keep: Option<FileId>) -> Option<FileId> {
        let excess = |(section, files): &(FileSection, Vec<(FileId, u64)>)| {
            let bytes: u64 = files.iter().map(|(_, length)| *length).sum();
            bytes * 100 / file_limits(*section).1
        };
        let has_some = |files: &[(FileId, u64)]| files.iter().any(|(id, _)| Some(*id) != keep);
        let sections = self.0.iter_mut().filter(|(_, files)| has_some(files));
        let (_, files) = sections.max_by_key(|section| excess(section))?;
        let oldest = files.iter().position(|(id, _)| Some(*id) != keep)?;
        Some(files.remove(oldest).0)
    }
}

/// What the files may take.
#[derive(Clone, Copy, Debug)]
pub struct FileLimits {
    /// The maximum size of all files in bytes.
    pub max_size: u64,
    /// The log file that is written.
    pub keep: Option<FileId>,
    /// The time by which ages are measured; `None` while the clock cannot be trusted.
    pub age_at: Option<u64>,
}

/// Deletes files until `more` bytes fit below the maximum size, those beyond the numbers of files, and
/// conversations beyond their age. Returns the bytes of all files.
pub fn make_room(shared: &SharedHistory, limits: FileLimits, more: u64) -> io::Result<u64> {
    let mut inventory = Inventory::read(&shared.path)?;
    // the log waits until it has been derived; `max_size` does not
    let is_needed = |id: FileId, length| {
        let is_log = id.section == FileSection::Log;
        Some(id) == limits.keep || (is_log && !derive::is_derived(&shared.path, id, length))
    };
    if let Some(now) = limits.age_at {
        let oldest = now.saturating_sub(MAX_CONVERSATION_AGE);
        for (section, files) in &mut inventory.0 {
            if !matches!(section, FileSection::Log | FileSection::Conversations) {
                continue;
            }
            for (id, length) in std::mem::take(files) {
                let is_old = id.period().to <= oldest && has_conversations(shared, id);
                match is_old && !is_needed(id, length) {
                    true => delete(shared, id)?,
                    false => files.push((id, length)),
                }
            }
        }
    }
    for (section, files) in &mut inventory.0 {
        while files.len() > file_limits(*section).0 {
            let (id, length) = files[0];
            if is_needed(id, length) {
                break;
            }
            delete(shared, id)?;
            files.remove(0);
        }
    }
    while inventory.bytes().saturating_add(more) > limits.max_size {
        match inventory.pop_largest(limits.keep) {
            Some(id) => delete(shared, id)?,
            None => break,
        }
    }
    Ok(inventory.bytes())
}

/// Returns whether a file has conversations; true if it cannot be read.
fn has_conversations(shared: &SharedHistory, id: FileId) -> bool {
    if id.section != FileSection::Log {
        return true;
    }
    let bytes = folder::read_file(&id.path(&shared.path), MAX_FILE);
    bytes.map_or(true, |bytes| {
        Blocks::new(&bytes).any(|block| block.kind == BlockKind::Conversations)
    })
}

fn delete(shared: &SharedHistory, id: FileId) -> io::Result<()> {
    let _readers = shared.write();
    fs::remove_file(id.path(&shared.path))?;
    let counter = &shared.counters.evicted_files;
    counter.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    Ok(())
}
