// SPDX-License-Identifier: AGPL-3.0-only
//! Messages: a header, and sets of records or of templates (RFC 7011 section 3; pure).

use std::rc::Rc;

use crate::flow::export_queue::RecordCounts;

const VERSION: u16 = 10;
const HEADER: usize = 16;
const SET_HEADER: usize = 4;
const SEQUENCE_AT: usize = 8;

/// Set ids of templates (RFC 7011 section 3.3.2).
pub const TEMPLATES: u16 = 2;
pub const OPTIONS_TEMPLATES: u16 = 3;
const FIRST_DATA_SET: u16 = 256;

/// The maximum length of a message in bytes, if no smaller path limit is known: with the headers of
/// UDP and IPv6 it passes any Ethernet and most tunnels.
pub const MAX_LENGTH: usize = 1_400;
/// The minimum of the length limit: IPv6 guarantees 1,280 bytes with headers.
pub const MIN_LENGTH: usize = 1_232;

/// A message under construction.
#[derive(Debug, Default)]
pub struct Message {
    bytes: Vec<u8>,
    /// The offset of the last set.
    set_at: usize,
    set: u16,
    records: u32,
    load: RecordCounts,
}

/// A complete message except for its sequence number, which each collector counts separately. Copies share the bytes.
#[derive(Clone, Debug)]
pub struct Sealed {
    bytes: Rc<[u8]>,
    /// The number of data records, including those of options: the sequence number counts them.
    pub records: u32,
    /// The counts of its flow records.
    pub load: RecordCounts,
}

impl Sealed {
    /// Replaces the content of `out` with the message under this sequence number.
    pub fn write(&self, sequence: u32, out: &mut Vec<u8>) {
        out.clear();
        out.extend_from_slice(&self.bytes);
        out[SEQUENCE_AT..SEQUENCE_AT + 4].copy_from_slice(&sequence.to_be_bytes());
    }

    /// Returns whether it contains templates or options, and no flow records.
    pub fn is_announcement(&self) -> bool {
        self.load.parts == 0
    }
}

impl Message {
    /// Returns whether `length` bytes of a record in a set `id` fit within `limit`.
    pub fn has_room(&self, id: u16, length: usize, limit: usize) -> bool {
        let begun = !self.bytes.is_empty() && self.set == id;
        let header = if begun { 0 } else { SET_HEADER };
        self.bytes.len().max(HEADER) + header + length <= limit
    }

    /// Returns the buffer to which the next record of a set `id` must be appended.
    pub fn record(&mut self, id: u16) -> &mut Vec<u8> {
        if self.bytes.is_empty() {
            self.bytes.resize(HEADER, 0);
            self.set = 0;
        }
        if self.set != id {
            self.end_set();
            self.set_at = self.bytes.len();
            self.set = id;
            self.bytes.extend(id.to_be_bytes());
            self.bytes.extend([0; 2]);
        }
        self.records += u32::from(id >= FIRST_DATA_SET);
        &mut self.bytes
    }

    /// Counts an appended flow record.
    pub fn carries(&mut self, load: RecordCounts) {
        self.load += load;
    }

    /// Completes the header and returns the message.
    pub fn seal(&mut self, export_time: u32, domain: u32) -> Sealed {
        self.end_set();
        let length = self.bytes.len() as u16;
        self.bytes[..2].copy_from_slice(&VERSION.to_be_bytes());
        self.bytes[2..4].copy_from_slice(&length.to_be_bytes());
        self.bytes[4..SEQUENCE_AT].copy_from_slice(&export_time.to_be_bytes());
        self.bytes[SEQUENCE_AT + 4..HEADER].copy_from_slice(&domain.to_be_bytes());
        Sealed {
            bytes: self.bytes.as_slice().into(),
            records: self.records,
            load: self.load,
        }
    }

    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    pub fn clear(&mut self) {
        self.bytes.clear();
        self.records = 0;
        self.load = RecordCounts::default();
    }

    /// Completes the last set; the next record starts a new one.
    pub fn end_set(&mut self) {
        if self.set != 0 {
            let length = (self.bytes.len() - self.set_at) as u16;
            self.bytes[self.set_at + 2..self.set_at + 4].copy_from_slice(&length.to_be_bytes());
            self.set = 0;
        }
    }
}
