// SPDX-License-Identifier: AGPL-3.0-only
//! The log: one append and one sync for the rows of an interval.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::derive;
use super::folder::{self, FileId, FileSection, MAX_FILE};
use crate::store::format::block::{BlockKind, Blocks, put_block};
use crate::store::format::frame::Carry;
use crate::store::format::{conversations, events, series};
use crate::store::pending::{Pending, WINDOW};
use crate::store::types::{ConversationPeriod, TimeSpan};

/// A log file at its end.
#[derive(Debug)]
pub struct OpenLog {
    pub id: FileId,
    file: File,
    length: u64,
}

impl OpenLog {
    /// Opens the log file of `time`, or creates it. A torn end is cut off; returns its number of
    /// damaged places.
    pub fn open(folder: &Path, time: u64) -> io::Result<(Self, u64)> {
        let first = FileId::new(FileSection::Log, time);
        let files = folder::list(folder, FileSection::Log)?;
        let of_period = files.keys().filter(|id| id.start == first.start);
        let id = match of_period.max() {
            Some(id) => *id,
            None => derive::unused_generation(folder, first),
        };
        let path = id.path(folder);
        let is_new = !files.contains_key(&id);
        let file = folder::write_options().truncate(false).open(&path)?;
        if is_new {
            folder::sync_folder(&folder.join(FileSection::Log.name()))?;
            return Ok((
                Self {
                    id,
                    file,
                    length: 0,
                },
                0,
            ));
        }
        let bytes = folder::read_file(&path, MAX_FILE)?;
        let mut blocks = Blocks::new(&bytes);
        blocks.by_ref().for_each(drop);
        let length = blocks.intact_to as u64;
        if length < file.metadata()?.len() {
            file.set_len(length)?;
        }
        Ok((Self { id, file, length }, blocks.damaged))
    }

    pub fn length(&self) -> u64 {
        self.length
    }

    /// Appends and syncs. After an error the file is as before, as far as the disk permits.
    pub fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let written = self.file.write_all_at(bytes, self.length);
        match written.and_then(|()| self.file.sync_data()) {
            Ok(()) => {
                self.length += bytes.len() as u64;
                Ok(())
            }
            Err(error) => {
                // if this fails as well, the next append overwrites these bytes
                drop(self.file.set_len(self.length));
                Err(error)
            }
        }
    }
}

/// Returns the blocks for the `ready` rows, and the next carry.
pub fn blocks(pending: &Pending, ready: &dyn Fn(u64) -> bool) -> (Vec<u8>, Carry) {
    let mut out = Vec::new();
    let (frames, carry) = pending.frames(ready);
    for frame in &frames {
        let payload = series::encode(frame);
        put_block(&mut out, BlockKind::Series, frame.span(), &payload);
    }
    for frame in pending.prefix_frames(ready) {
        let payload = series::encode(&frame);
        put_block(&mut out, BlockKind::Prefixes, frame.span(), &payload);
    }
    let mut lists: BTreeMap<u64, Vec<&ConversationPeriod>> = BTreeMap::new();
    for period in pending.conversations.iter().filter(|p| ready(p.time)) {
        let window = period.time - period.time % WINDOW;
        lists.entry(window).or_default().push(period);
    }
    for (start, periods) in lists {
        let payload = conversations::encode(&periods);
        let span = TimeSpan::new(start, start + WINDOW);
        put_block(&mut out, BlockKind::Conversations, span, &payload);
    }
    let happened: Vec<_> = pending.events.iter().filter(|e| ready(e.time)).collect();
    if let (Some(from), Some(to)) = (
        happened.iter().map(|event| event.time).min(),
        happened.iter().map(|event| event.time).max(),
    ) {
        let payload = events::encode(&happened);
        put_block(
            &mut out,
            BlockKind::Events,
            TimeSpan::new(from, to + 1),
            &payload,
        );
    }
    (out, carry)
}
