// SPDX-License-Identifier: AGPL-3.0-only
//! The limits of the files: a number of files for each section, and `max_size` for all.

use std::fs;
use std::io;
use std::path::Path;

use super::derive;
use super::folder::{self, FileId, FileSection};
use crate::store::shared::SharedHistory;

/// The number of files of a section, and its share of `max_size` in percent. Numbers of files and
/// not ages: after a clock step forward by years nothing is too old at once.
fn limits(section: FileSection) -> (usize, u64) {
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
            bytes * 100 / limits(*section).1
        };
        let has_some = |files: &[(FileId, u64)]| files.iter().any(|(id, _)| Some(*id) != keep);
        let sections = self.0.iter_mut().filter(|(_, files)| has_some(files));
        let (_, files) = sections.max_by_key(|section| excess(section))?;
        let oldest = files.iter().position(|(id, _)| Some(*id) != keep)?;
        Some(files.remove(oldest).0)
    }
}

/// Deletes files until `more` bytes fit below `max_size`, and those beyond the numbers of files.
/// `keep` is the log file that is written. Returns the bytes of all files.
pub fn make_room(
    shared: &SharedHistory,
    max_size: u64,
    more: u64,
    keep: Option<FileId>,
) -> io::Result<u64> {
    let mut inventory = Inventory::read(&shared.path)?;
    for (section, files) in &mut inventory.0 {
        while files.len() > limits(*section).0 {
            let (id, length) = files[0];
            // the log waits until it has been derived; `max_size` does not
            let is_needed =
                *section == FileSection::Log && !derive::is_derived(&shared.path, id, length);
            if is_needed || Some(id) == keep {
                break;
            }
            delete(shared, id)?;
            files.remove(0);
        }
    }
    while inventory.bytes().saturating_add(more) > max_size {
        match inventory.pop_largest(keep) {
            Some(id) => delete(shared, id)?,
            None => break,
        }
    }
    Ok(inventory.bytes())
}

fn delete(shared: &SharedHistory, id: FileId) -> io::Result<()> {
    let _readers = shared.write();
    fs::remove_file(id.path(&shared.path))?;
    let counter = &shared.counters.evicted_files;
    counter.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    Ok(())
}
