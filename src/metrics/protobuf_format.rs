// SPDX-License-Identifier: AGPL-3.0-only
//! The Prometheus protobuf format: messages `io.prometheus.client.MetricFamily`, each after its length
//! (metrics.proto of github.com/prometheus/client_model; wire format: protobuf.dev, "Encoding").
//!
//! The messages are written directly: their few fields need no generated types. A flow series has samples in up to
//! six families: its labels are encoded once, and families of one kind copy all of a sample but its value.

use std::ops::Range;

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
const VALUE_BYTES: usize = size_of::<f64>();
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
    /// The estimate of its samples.
    samples: usize,
    /// The encoded labels of the current sample.
    labels: Vec<u8>,
    /// The lengths of the label names of the rows; empty until the first.
    names: Vec<usize>,
    /// By [`Kind`].
    rows: [RowSamples; 2],
}

/// The positions of the samples of the flow series in the first family of a kind.
#[derive(Default)]
struct RowSamples {
    /// The position of the family.
    body: usize,
    /// By row.
    samples: Vec<RowSample>,
}

/// The position of a sample in its family, in bytes; a row whose sample is not stored has the length 0.
#[derive(Clone, Copy, Default)]
struct RowSample {
    begin: u32,
    len: u16,
    /// The length of the labels, and of what is before them.
    labels: u16,
    head: u8,
    /// The length of what is after the value.
    tail: u8,
}

impl RowSamples {
    /// Returns the position of a sample, and the length of what is after its value.
    fn sample(&self, row: usize) -> Option<(Range<usize>, usize)> {
        let (sample, begin) = self.get(row)?;
        Some((begin..begin + sample.len as usize, sample.tail.into()))
    }

    fn labels(&self, row: usize) -> Option<Range<usize>> {
        let (sample, begin) = self.get(row)?;
        let begin = begin + usize::from(sample.head);
        Some(begin..begin + sample.labels as usize)
    }

    fn get(&self, row: usize) -> Option<(&RowSample, usize)> {
        let sample = self.samples.get(row).filter(|sample| sample.len > 0)?;
        Some((sample, self.body + sample.begin as usize))
    }

    /// Adds a sample of the family at `body`, which has about `rows`. Only those of the first family are stored, in the
    /// order of their rows.
    fn add(&mut self, body: usize, row: usize, sample: RowSample, rows: usize) {
        if self.samples.is_empty() {
            self.body = body;
            self.samples.reserve_exact(rows);
        }
        if self.body == body && row >= self.samples.len() {
            self.samples.resize(row, RowSample::default());
            self.samples.push(sample);
        }
    }
}

impl<'a> ProtobufWriter<'a> {
    pub fn new(out: &'a mut Vec<u8>) -> Self {
        Self {
            out,
            kind: Kind::Gauge,
            body: 0,
            reserved: 0,
            samples: 0,
            labels: Vec::new(),
            names: Vec::new(),
            rows: Default::default(),
        }
    }

    pub fn finish(&mut self) {}

    /// Starts a family; `samples` is an estimate.
    pub fn begin_family(&mut self, head: Head, samples: usize) {
        self.kind = head.kind;
        self.samples = samples;
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
            for rows in &mut self.rows {
                if rows.body == self.body {
                    rows.body = body;
                }
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

    /// Writes a sample of a row. All rows have the same label names, and `created` of a row is the same in all families
    /// of one kind.
    pub fn row(&mut self, row: usize, labels: &str, value: SampleValue, created: Created) {
        if let Some((same, tail)) = self.rows[self.kind as usize].sample(row) {
            self.out.extend_from_within(same);
            let end = self.out.len() - tail;
            self.out[end - VALUE_BYTES..end].copy_from_slice(&encoded(value));
            return;
        }
        self.new_row(row, labels, value, created);
    }

    /// Writes the first sample of a row in a family of its kind.
    #[inline(never)]
    fn new_row(&mut self, row: usize, labels: &str, value: SampleValue, created: Created) {
        let begin = self.out.len();
        let measurement = Measurement::new(self.kind, value, created);
        let labels_len = match self.rows.iter().find_map(|rows| rows.labels(row)) {
            Some(encoded) => {
                let len = encoded.len();
                self.begin_metric(len + measurement.len);
                self.out.extend_from_within(encoded);
                len
            }
            None => self.begin_row(labels, measurement.len),
        };
        let head = self.out.len() - labels_len - begin;
        self.out.extend_from_slice(measurement.bytes());
        // a longer one is encoded again
        if let Ok(len) = u16::try_from(self.out.len() - begin) {
            let sample = RowSample {
                begin: (begin - self.body) as u32,
                len,
                labels: labels_len as u16,
                head: head as u8,
                tail: measurement.tail() as u8,
            };
            self.rows[self.kind as usize].add(self.body, row, sample, self.samples);
        }
    }

    /// Begins a metric with encoded labels, before a measurement of this length. Returns the length of the labels.
    fn begin_row(&mut self, labels: &str, measurement: usize) -> usize {
        if self.names.is_empty() {
            self.names = pairs(labels).map(|(name, _)| name.len()).collect();
        }
        // with the length that most have
        let begin = self.out.len();
        self.begin_metric(0x80);
        let labels_begin = self.out.len();
        push_rendered(self.out, labels, &self.names);
        let len = self.out.len() - labels_begin;
        match len + measurement {
            whole @ 0x80..0x4000 => {
                let length = [whole as u8 | 0x80, (whole >> 7) as u8];
                self.out[labels_begin - 2..labels_begin].copy_from_slice(&length);
            }
            whole => {
                self.labels.clear();
                self.labels.extend_from_slice(&self.out[labels_begin..]);
                self.out.truncate(begin);
                self.begin_metric(whole);
                self.out.extend_from_slice(&self.labels);
            }
        }
        len
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
    /// The end of the value.
    const VALUE_END: usize = 3 + VALUE_BYTES;

    fn new(kind: Kind, value: SampleValue, created: Created) -> Self {
        let mut buffer = [0; MAX_MEASUREMENT];
        buffer[0] = match kind {
            Kind::Counter => tag::METRIC_COUNTER,
            Kind::Gauge => tag::METRIC_GAUGE,
        };
        buffer[2] = tag::VALUE;
        buffer[3..Self::VALUE_END].copy_from_slice(&encoded(value));
        let mut len = Self::VALUE_END;
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

    /// Returns the length of what is after the value.
    fn tail(&self) -> usize {
        self.len - Self::VALUE_END
    }

    fn bytes(&self) -> &[u8] {
        &self.buffer[..self.len]
    }
}

fn encoded(value: SampleValue) -> [u8; VALUE_BYTES] {
    let value = match value {
        SampleValue::Integer(value) => value as f64,
        SampleValue::Float(value) => value,
    };
    value.to_le_bytes()
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

/// Encodes labels that are written as `name="value",…`, escaped for the text format; `names` are the lengths of their
/// names.
fn push_rendered(out: &mut Vec<u8>, text: &str, names: &[usize]) {
    let begin = out.len();
    if !push_plain(out, text.as_bytes(), names) {
        out.truncate(begin);
        for (name, value) in pairs(text) {
            push_label(out, name.as_bytes(), value.as_bytes());
        }
    }
}

/// Encodes labels that are short and have no escapes; returns false at the first other one.
fn push_plain(out: &mut Vec<u8>, text: &[u8], names: &[usize]) -> bool {
    let begin = out.len();
    // a label has two bytes more than its text and a comma
    let len = text.len() + 1 + 2 * names.len();
    out.resize(begin + len + COPY, 0);
    let complete = encode_plain(&mut out[begin..], text, names) == Some(len);
    out.truncate(begin + len);
    complete
}

/// Returns the length of the encoding of [`push_plain`]. The encoding of a label contains its text: two bytes between
/// name and value, and others around it.
fn encode_plain(out: &mut [u8], text: &[u8], names: &[usize]) -> Option<usize> {
    let (mut name, mut at) = (0, 0);
    for &name_len in names {
        let value = name + name_len + 2;
        if text.get(value - 2..value)? != b"=\"" {
            return None;
        }
        let value_len = plain_length(text, value)?;
        let (copied, len) = (name_len + 2 + value_len, 4 + name_len + value_len);
        if len >= 0x80 {
            return None;
        }
        let out = out.get_mut(at..)?;
        let head = [
            tag::METRIC_LABEL,
            len as u8,
            tag::LABEL_NAME,
            name_len as u8,
        ];
        *out.first_chunk_mut()? = head;
        let out = &mut out[head.len()..];
        copy(out, &text[name..], copied);
        out[name_len..name_len + 2].copy_from_slice(&[tag::LABEL_VALUE, value_len as u8]);
        at += head.len() + copied;
        // after the quote and the comma
        name = value + value_len + 2;
    }
    (name > text.len()).then_some(at)
}

/// The length of the copy of a shorter text: one that the compiler knows needs no call.
const COPY: usize = 32;

/// Copies the first bytes of a text, and possibly some of those after them.
fn copy(out: &mut [u8], text: &[u8], len: usize) {
    match (out.first_chunk_mut::<COPY>(), text.first_chunk::<COPY>()) {
        (Some(out), Some(text)) if len <= COPY => *out = *text,
        _ => out[..len].copy_from_slice(&text[..len]),
    }
}

/// Returns the length of the value that begins here; `None` if it has escapes. Eight bytes are searched at once.
fn plain_length(text: &[u8], begin: usize) -> Option<usize> {
    let mut at = begin;
    while at < text.len() {
        let word = word_at(text, at);
        let found = bytes_equal(word, b'"') | bytes_equal(word, b'\\');
        if found != 0 {
            let end = at + found.trailing_zeros() as usize / 8;
            return (text[end] == b'"').then_some(end - begin);
        }
        at += WORD;
    }
    None
}

const WORD: usize = size_of::<u64>();

/// Returns eight bytes of a text, or the last ones and zeros.
fn word_at(text: &[u8], at: usize) -> u64 {
    let word = match text[at..].first_chunk::<WORD>() {
        Some(word) => *word,
        None => {
            let (rest, mut word) = (&text[at..], [0; WORD]);
            word[..rest.len()].copy_from_slice(rest);
            word
        }
    };
    u64::from_le_bytes(word)
}

/// Returns the highest bit of each byte of a word that is equal to `byte`.
fn bytes_equal(word: u64, byte: u8) -> u64 {
    const LOW: u64 = u64::from_ne_bytes([0x7f; WORD]);
    let differences = word ^ u64::from_ne_bytes([byte; WORD]);
    !(((differences & LOW) + LOW) | differences | LOW)
}
