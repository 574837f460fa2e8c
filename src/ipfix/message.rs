// SPDX-License-Identifier: AGPL-3.0-only
//! Messages: a header, and sets of records or of templates (RFC 7011 section 3; pure).

use crate::flow::export_queue::RecordCounts;

const VERSION: u16 = 10;
const HEADER: usize = 16;
const SET_HEADER: usize = 4;
const SEQUENCE_AT: usize = 8;

/// Sets that are no data (RFC 7011 section 3.3.2).
pub const TEMPLATES: u16 = 2;
pub const OPTIONS_TEMPLATES: u16 = 3;
const FIRST_DATA_SET: u16 = 256;

/// Bytes of a message at most, where nothing on the way is known to take less: with the headers of UDP
/// and IPv6 it passes any Ethernet and most tunnels.
pub const MAX_LENGTH: usize = 1_400;
/// At least so much must go through: IPv6 promises 1,280 bytes with headers.
pub const MIN_LENGTH: usize = 1_232;

/// A message in the making.
#[derive(Debug, Default)]
pub struct Message {
    bytes: Vec<u8>,
    /// Where the last set begins.
    set_at: usize,
    set: u16,
    records: u32,
    load: RecordCounts,
}

impl Message {
    /// Room for `length` bytes of a record in a set `id`, within `limit`?
    pub fn has_room(&self, id: u16, length: usize, limit: usize) -> bool {
        let begun = !self.bytes.is_empty() && self.set == id;
        let header = if begun { 0 } else { SET_HEADER };
        self.bytes.len().max(HEADER) + header + length <= limit
    }

    /// Where the next record of a set `id` is to be appended.
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

    /// Says that a flow record was appended.
    pub fn carries(&mut self, load: RecordCounts) {
        self.load += load;
    }

    /// Completes the header, but for the sequence number, which each collector counts for itself.
    pub fn seal(&mut self, export_time: u32, domain: u32) {
        self.end_set();
        let length = self.bytes.len() as u16;
        self.bytes[..2].copy_from_slice(&VERSION.to_be_bytes());
        self.bytes[2..4].copy_from_slice(&length.to_be_bytes());
        self.bytes[4..SEQUENCE_AT].copy_from_slice(&export_time.to_be_bytes());
        self.bytes[SEQUENCE_AT + 4..HEADER].copy_from_slice(&domain.to_be_bytes());
    }

    pub fn number(&mut self, sequence: u32) {
        self.bytes[SEQUENCE_AT..SEQUENCE_AT + 4].copy_from_slice(&sequence.to_be_bytes());
    }

    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Data records, those of options included: what the sequence number counts.
    pub fn records(&self) -> u32 {
        self.records
    }

    /// What its flow records carry.
    pub fn load(&self) -> RecordCounts {
        self.load
    }

    pub fn clear(&mut self) {
        self.bytes.clear();
        self.records = 0;
        self.load = RecordCounts::default();
    }

    fn end_set(&mut self) {
        if self.set != 0 {
            let length = (self.bytes.len() - self.set_at) as u16;
            self.bytes[self.set_at + 2..self.set_at + 4].copy_from_slice(&length.to_be_bytes());
        }
    }
}
