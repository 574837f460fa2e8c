// SPDX-License-Identifier: AGPL-3.0-only
//! The blocks of the files: a header, and a payload, each with a checksum (pure). A reader that
//! finds a damaged block continues at the next one.

use crate::store::types::TimeSpan;

/// Begins each block. No text has the first byte.
const MAGIC: [u8; 8] = *b"\xa7rfmhist";
/// Magic, kind, version, two reserved bytes, length, start, end, and two checksums.
pub const HEADER: usize = 40;
const VERSION: u8 = 1;
/// The largest payload: a bound for a reader's memory.
pub const MAX_PAYLOAD: usize = 8 << 20;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum BlockKind {
    /// The parts of the log that a derived file includes.
    LogSources = 0,
    /// A [`Frame`](super::frame::Frame).
    Series = 1,
    /// Exact counts of named prefixes, as a frame.
    Prefixes = 2,
    /// Events.
    Events = 4,
    /// Conversations of a period.
    Conversations = 5,
}

impl BlockKind {
    const ALL: [Self; 5] = [
        Self::LogSources,
        Self::Series,
        Self::Prefixes,
        Self::Events,
        Self::Conversations,
    ];
}

/// A block of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Block<'a> {
    pub kind: BlockKind,
    /// The period of its rows.
    pub span: TimeSpan,
    pub payload: &'a [u8],
}

/// Appends a block.
pub fn put_block(out: &mut Vec<u8>, kind: BlockKind, span: TimeSpan, payload: &[u8]) {
    let start = out.len();
    out.extend_from_slice(&MAGIC);
    out.extend_from_slice(&[kind as u8, VERSION, 0, 0]);
    out.extend_from_slice(&(payload.len() as u32).to_le_bytes());
    out.extend_from_slice(&span.from.to_le_bytes());
    out.extend_from_slice(&span.to.to_le_bytes());
    out.extend_from_slice(&crc32fast::hash(payload).to_le_bytes());
    let header = crc32fast::hash(&out[start..]);
    out.extend_from_slice(&header.to_le_bytes());
    out.extend_from_slice(payload);
}

/// The blocks of a file's bytes.
pub struct Blocks<'a> {
    bytes: &'a [u8],
    at: usize,
    /// The end of the last intact block.
    pub intact_to: usize,
    /// The number of damaged places so far. A place ends at the next intact header.
    pub damaged: u64,
    /// Set in a damaged place.
    is_lost: bool,
}

impl<'a> Blocks<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self {
            bytes,
            at: 0,
            intact_to: 0,
            damaged: 0,
            is_lost: false,
        }
    }

    /// Returns the blocks that begin at `from` or later.
    pub fn after(bytes: &'a [u8], from: u64) -> Self {
        let at = usize::try_from(from).unwrap_or(usize::MAX).min(bytes.len());
        Self {
            at,
            intact_to: at,
            ..Self::new(bytes)
        }
    }

    /// Moves to the next magic, if there is one.
    fn resume(&mut self) {
        if !self.is_lost {
            self.is_lost = true;
            self.damaged += 1;
        }
        let rest = self.bytes.get(self.at + 1..).unwrap_or_default();
        self.at = match find(rest, &MAGIC) {
            Some(next) => self.at + 1 + next,
            None => self.bytes.len(),
        };
    }
}

impl<'a> Iterator for Blocks<'a> {
    type Item = Block<'a>;

    fn next(&mut self) -> Option<Block<'a>> {
        while self.at < self.bytes.len() {
            let rest = &self.bytes[self.at..];
            let Some(header) = Header::read(rest) else {
                self.resume();
                continue;
            };
            let Some(payload) = rest.get(HEADER..HEADER + header.length) else {
                self.resume();
                continue;
            };
            // the header is intact, so its length is that of the payload, damaged or not
            self.is_lost = false;
            self.at += HEADER + header.length;
            if crc32fast::hash(payload) != header.payload_crc {
                self.damaged += 1;
                continue;
            }
            self.intact_to = self.at;
            match header.kind {
                Some(kind) => {
                    return Some(Block {
                        kind,
                        span: header.span,
                        payload,
                    });
                }
                // of a later version
                None => continue,
            }
        }
        None
    }
}

struct Header {
    kind: Option<BlockKind>,
    length: usize,
    span: TimeSpan,
    payload_crc: u32,
}

impl Header {
    fn read(bytes: &[u8]) -> Option<Self> {
        let header: &[u8; HEADER] = bytes.first_chunk()?;
        let number = |at: usize| u32::from_le_bytes(*header[at..].first_chunk().unwrap_or(&[0; 4]));
        let time = |at: usize| u64::from_le_bytes(*header[at..].first_chunk().unwrap_or(&[0; 8]));
        if header[..8] != MAGIC || crc32fast::hash(&header[..36]) != number(36) {
            return None;
        }
        let length = number(12) as usize;
        if length > MAX_PAYLOAD {
            return None;
        }
        let kind = BlockKind::ALL.into_iter().find(|k| *k as u8 == header[8]);
        Some(Self {
            kind: kind.filter(|_| header[9] == VERSION),
            length,
            span: TimeSpan::new(time(16), time(24)),
            payload_crc: number(32),
        })
    }
}

fn find(bytes: &[u8], pattern: &[u8]) -> Option<usize> {
    let mut from = 0;
    while let Some(at) = bytes[from..].iter().position(|byte| *byte == pattern[0]) {
        if bytes[from + at..].starts_with(pattern) {
            return Some(from + at);
        }
        from += at + 1;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn three() -> (Vec<u8>, [usize; 3]) {
        let mut out = Vec::new();
        let ends = [1u64, 2, 3].map(|n| {
            let payload = vec![n as u8; 100];
            put_block(
                &mut out,
                BlockKind::Series,
                TimeSpan::new(n, n + 1),
                &payload,
            );
            out.len()
        });
        (out, ends)
    }

    fn read(bytes: &[u8]) -> (Vec<u64>, u64, usize) {
        let mut blocks = Blocks::new(bytes);
        let starts = blocks.by_ref().map(|block| block.span.from).collect();
        (starts, blocks.damaged, blocks.intact_to)
    }

    #[test]
    fn a_damaged_byte_costs_one_block() {
        let (bytes, ends) = three();
        assert_eq!(read(&bytes), (vec![1, 2, 3], 0, ends[2]));
        for at in 0..bytes.len() {
            let mut bytes = bytes.clone();
            bytes[at] ^= 0x10;
            let (starts, damaged, _) = read(&bytes);
            let hit = ends.iter().position(|end| at < *end).unwrap() as u64 + 1;
            let others: Vec<_> = (1..=3).filter(|n| *n != hit).collect();
            assert_eq!((starts, damaged), (others, 1), "byte {at}");
        }
    }

    #[test]
    fn a_truncated_file_ends_before_the_cut() {
        let (bytes, ends) = three();
        for cut in 0..bytes.len() {
            let (starts, damaged, intact_to) = read(&bytes[..cut]);
            let whole = ends.iter().filter(|end| **end <= cut).count();
            assert_eq!(starts.len(), whole, "cut at {cut}");
            let end = whole.checked_sub(1).map_or(0, |last| ends[last]);
            assert_eq!(intact_to, end);
            assert_eq!(damaged, u64::from(cut > end), "cut at {cut}");
        }
    }

    #[test]
    fn a_payload_that_has_the_magic_is_no_block() {
        let mut out = Vec::new();
        put_block(&mut out, BlockKind::Series, TimeSpan::new(1, 2), &MAGIC);
        out[0] = 0;
        assert_eq!(read(&out), (vec![], 1, 0));
    }
}
