// SPDX-License-Identifier: AGPL-3.0-only
//! The Prometheus protobuf format: messages `io.prometheus.client.MetricFamily`, each after its length
//! (metrics.proto of github.com/prometheus/client_model; wire format: protobuf.dev, "Encoding").
//!
//! The messages are written directly: their few fields need no generated types, and the labels of a
//! flow series, which are the same in up to six families, are encoded once and then copied.

use super::declarations::Kind;
use super::exposition::{Created, Head, SampleValue};
use crate::flow::label_parse::pairs;

/// Field numbers with their wire types, as one byte each.
mod tag {
    /// A varint, for numbers of fields below 16.
    const fn varint(field: u8) -> u8 {
        field << 3
    }
    const fn fixed64(field: u8) -> u8 {
        field << 3 | 1
    }
    /// Bytes after their length: strings and messages.
    const fn bytes(field: u8) -> u8 {
        field << 3 | 2
    }

    pub const FAMILY_NAME: u8 = bytes(1);
    pub const FAMILY_HELP: u8 = bytes(2);
    pub const FAMILY_TYPE: u8 = varint(3);
    pub const FAMILY_METRIC: u8 = bytes(4);
    pub const METRIC_LABEL: u8 = bytes(1);
    pub const METRIC_GAUGE: u8 = bytes(2);
    pub const METRIC_COUNTER: u8 = bytes(3);
    pub const LABEL_NAME: u8 = bytes(1);
    pub const LABEL_VALUE: u8 = bytes(2);
    /// Of counters and gauges.
    pub const VALUE: u8 = fixed64(1);
    pub const COUNTER_CREATED: u8 = bytes(3);
    pub const TIMESTAMP_SECONDS: u8 = varint(1);
    pub const TIMESTAMP_NANOS: u8 = varint(2);
}

/// The usual size of one sample in bytes, to estimate the size of a family.
const SAMPLE_BYTES: usize = 160;
/// The usual size of a family without its samples.
const HEAD_BYTES: usize = 256;
/// The longest encoding of a number of 64 bits.
const MAX_VARINT: usize = 10;
/// The longest [`Measurement`]: tag, length, value; tag, length, and the two numbers of the timestamp.
const MAX_MEASUREMENT: usize = 2 + 9 + 2 + 2 * (1 + MAX_VARINT);

/// Writes families, one after the other.
pub struct ProtobufWriter<'a> {
    out: &'a mut Vec<u8>,
    kind: Kind,
    /// The position of the current family, after its length.
    body: usize,
    /// The bytes reserved for its length.
    reserved: usize,
    /// The encoded labels of the current sample.
    labels: Vec<u8>,
    rows: RowLabels,
}

/// The positions of the labels of the flow series in the output, by row.
#[derive(Default)]
struct RowLabels {
    /// The position of the family that contains them.
    body: usize,
    /// Begin, relative to it, and length.
    spans: Vec<(u32, u32)>,
}

impl<'a> ProtobufWriter<'a> {
    pub fn new(out: &'a mut Vec<u8>) -> Self {
        Self {
            out,
            kind: Kind::Gauge,
            body: 0,
            reserved: 0,
            labels: Vec::new(),
            rows: RowLabels::default(),
        }
    }

    pub fn finish(&mut self) {}

    /// Starts a family; `samples` is an estimate.
    pub fn begin_family(&mut self, head: Head, samples: usize) {
        self.kind = head.kind;
        let estimate = HEAD_BYTES + SAMPLE_BYTES * samples;
        self.reserved = Varint::new(estimate as u64).len;
        let length = [0; MAX_VARINT];
        self.out.extend_from_slice(&length[..self.reserved]);
        self.body = self.out.len();
        push_bytes(self.out, tag::FAMILY_NAME, head.name.as_bytes());
        push_bytes(self.out, tag::FAMILY_HELP, head.help.as_bytes());
        let kind = match head.kind {
            Kind::Counter => 0,
            Kind::Gauge => 1,
        };
        self.out.extend_from_slice(&[tag::FAMILY_TYPE, kind]);
    }

    /// Writes the length of the family before it.
    pub fn end_family(&mut self) {
        let end = self.out.len();
        let length = Varint::new((end - self.body) as u64);
        let begin = self.body - self.reserved;
        if length.len != self.reserved {
            // the estimate was wrong
            let body = begin + length.len;
            self.out.resize(end.max(body + (end - self.body)), 0);
            self.out.copy_within(self.body..end, body);
            self.out.truncate(body + (end - self.body));
            if self.rows.body == self.body {
                self.rows.body = body;
            }
        }
        self.out[begin..begin + length.len].copy_from_slice(length.bytes());
    }

    pub fn begin_sample(&mut self) {
        self.labels.clear();
    }

    pub fn label(&mut self, name: &str, value: &str) {
        push_label(&mut self.labels, name.as_bytes(), value.as_bytes());
    }

    pub fn end_sample(&mut self, value: SampleValue, created: Created) {
        let measurement = Measurement::new(self.kind, value, created);
        self.begin_metric(self.labels.len() + measurement.len);
        self.out.extend_from_slice(&self.labels);
        self.out.extend_from_slice(measurement.bytes());
    }

    pub fn row(&mut self, row: usize, labels: &str, value: SampleValue, created: Created) {
        let Some(&(begin, len)) = self.rows.spans.get(row) else {
            return self.first_of_row(row, labels, value, created);
        };
        let (begin, len) = (self.rows.body + begin as usize, len as usize);
        let measurement = Measurement::new(self.kind, value, created);
        self.begin_metric(len + measurement.len);
        self.out.extend_from_within(begin..begin + len);
        self.out.extend_from_slice(measurement.bytes());
    }

    /// Writes the first sample of a row. All rows are written in their order at first.
    fn first_of_row(&mut self, row: usize, labels: &str, value: SampleValue, created: Created) {
        self.labels.clear();
        push_rendered(&mut self.labels, labels);
        let measurement = Measurement::new(self.kind, value, created);
        self.begin_metric(self.labels.len() + measurement.len);
        if row == self.rows.spans.len() && (row == 0 || self.rows.body == self.body) {
            self.rows.body = self.body;
            let begin = (self.out.len() - self.body) as u32;
            self.rows.spans.push((begin, self.labels.len() as u32));
        }
        self.out.extend_from_slice(&self.labels);
        self.out.extend_from_slice(measurement.bytes());
    }

    fn begin_metric(&mut self, len: usize) {
        match len {
            0x80..0x4000 => {
                let length = [len as u8 | 0x80, (len >> 7) as u8];
                let head = [tag::FAMILY_METRIC, length[0], length[1]];
                self.out.extend_from_slice(&head);
            }
            _ => {
                self.out.push(tag::FAMILY_METRIC);
                push_varint(self.out, len as u64);
            }
        }
    }
}

/// The encoded value of a sample, with its time of creation.
struct Measurement {
    buffer: [u8; MAX_MEASUREMENT],
    len: usize,
}

impl Measurement {
    fn new(kind: Kind, value: SampleValue, created: Created) -> Self {
        let value = match value {
            SampleValue::Integer(value) => value as f64,
            SampleValue::Float(value) => value,
        };
        let mut buffer = [0; MAX_MEASUREMENT];
        buffer[0] = match kind {
            Kind::Counter => tag::METRIC_COUNTER,
            Kind::Gauge => tag::METRIC_GAUGE,
        };
        buffer[2] = tag::VALUE;
        buffer[3..11].copy_from_slice(&value.to_le_bytes());
        let mut len = 11;
        if let (Kind::Counter, Some(created_ms)) = (kind, created) {
            buffer[11] = tag::COUNTER_CREATED;
            buffer[13] = tag::TIMESTAMP_SECONDS;
            len = put_varint(&mut buffer, 14, created_ms / 1000);
            let nanos = created_ms % 1000 * 1_000_000;
            // 0 is the default, and is left out
            if nanos > 0 {
                buffer[len] = tag::TIMESTAMP_NANOS;
                len = put_varint(&mut buffer, len + 1, nanos);
            }
            buffer[12] = (len - 13) as u8;
        }
        buffer[1] = (len - 2) as u8;
        Self { buffer, len }
    }

    fn bytes(&self) -> &[u8] {
        &self.buffer[..self.len]
    }
}

/// A number in the variable-length encoding: seven bits in each byte, the lowest first.
struct Varint {
    buffer: [u8; MAX_VARINT],
    len: usize,
}

impl Varint {
    fn new(number: u64) -> Self {
        let mut buffer = [0; MAX_VARINT];
        let len = put_varint(&mut buffer, 0, number);
        Self { buffer, len }
    }

    fn bytes(&self) -> &[u8] {
        &self.buffer[..self.len]
    }
}

/// Writes a number at a position, and returns the position after it.
fn put_varint(buffer: &mut [u8], mut at: usize, mut number: u64) -> usize {
    while number >= 0x80 {
        buffer[at] = number as u8 | 0x80;
        number >>= 7;
        at += 1;
    }
    buffer[at] = number as u8;
    at + 1
}

fn push_varint(out: &mut Vec<u8>, number: u64) {
    match number {
        0..0x80 => out.push(number as u8),
        0x80..0x4000 => out.extend_from_slice(&[number as u8 | 0x80, (number >> 7) as u8]),
        _ => out.extend_from_slice(Varint::new(number).bytes()),
    }
}

fn push_bytes(out: &mut Vec<u8>, tag: u8, bytes: &[u8]) {
    out.push(tag);
    push_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

fn push_label(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    let len = |bytes: &[u8]| 1 + Varint::new(bytes.len() as u64).len + bytes.len();
    out.push(tag::METRIC_LABEL);
    push_varint(out, (len(name) + len(value)) as u64);
    push_bytes(out, tag::LABEL_NAME, name);
    push_bytes(out, tag::LABEL_VALUE, value);
}

/// Encodes labels that are written as `name="value",…`, escaped for the text format.
fn push_rendered(out: &mut Vec<u8>, text: &str) {
    let begin = out.len();
    if !push_plain(out, text.as_bytes()) {
        out.truncate(begin);
        for (name, value) in pairs(text) {
            push_label(out, name.as_bytes(), value.as_bytes());
        }
    }
}

/// Encodes labels that are short and have no escapes; returns false at the first other one. The
/// encoding of a label contains its text: two bytes between name and value, and others around it.
fn push_plain(out: &mut Vec<u8>, mut text: &[u8]) -> bool {
    while !text.is_empty() {
        let Some(name) = text.iter().position(|&byte| byte == b'=') else {
            return false;
        };
        let Some(rest) = text.get(name + 2..) else {
            return false;
        };
        let is_end = |byte: &u8| matches!(byte, b'"' | b'\\');
        let Some(value) = rest.iter().position(is_end) else {
            return false;
        };
        let len = 4 + name + value;
        if rest[value] == b'\\' || len >= 0x80 {
            return false;
        }
        out.extend_from_slice(&[tag::METRIC_LABEL, len as u8, tag::LABEL_NAME, name as u8]);
        out.extend_from_slice(&text[..name + 2 + value]);
        let at = out.len() - value - 2;
        out[at..at + 2].copy_from_slice(&[tag::LABEL_VALUE, value as u8]);
        // the quote and the comma
        text = rest.get(value + 2..).unwrap_or_default();
    }
    true
}
