// SPDX-License-Identifier: AGPL-3.0-only
//! The parts of the log that a derived file includes (pure): with them, no row is counted twice or
//! left out, in whatever order files are written, deleted and read.

use std::collections::BTreeMap;

use super::folder::{FileId, FileSection};
use crate::store::format::block::{Block, BlockKind, put_block};
use crate::store::format::bytes::{Bytes, put_varint};
use crate::store::types::TimeSpan;

/// More than the log files of a month.
const MAX_SOURCES: usize = 4096;

/// Included bytes of each log file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogSources(pub BTreeMap<FileId, u64>);

impl LogSources {
    pub fn put(&self, out: &mut Vec<u8>, span: TimeSpan) {
        let mut payload = Vec::new();
        put_varint(&mut payload, self.0.len() as u64);
        for (id, length) in &self.0 {
            put_varint(&mut payload, id.start);
            put_varint(&mut payload, id.generation.into());
            put_varint(&mut payload, *length);
        }
        put_block(out, BlockKind::LogSources, span, &payload);
    }

    pub fn read(block: &Block) -> Option<Self> {
        let mut bytes = Bytes(block.payload);
        let mut sources = BTreeMap::new();
        for _ in 0..bytes.count(MAX_SOURCES)? {
            let id = FileId {
                section: FileSection::Log,
                start: bytes.varint()?,
                generation: u32::try_from(bytes.varint()?).ok()?,
            };
            sources.insert(id, bytes.varint()?);
        }
        Some(Self(sources))
    }

    /// Returns the number of bytes of a log file that are included.
    pub fn included(&self, id: FileId) -> u64 {
        self.0.get(&id).copied().unwrap_or(0)
    }
}
