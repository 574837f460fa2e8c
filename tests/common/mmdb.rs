// SPDX-License-Identifier: AGPL-3.0-only
//! Writes MMDB files: <https://maxmind.github.io/MaxMind-DB/>.

use std::collections::BTreeMap;
use std::net::IpAddr;

#[derive(Clone)]
pub enum Value {
    Text(String),
    Short(u16),
    Number(u32),
    Long(u64),
    List(Vec<Value>),
    Map(Vec<(&'static str, Value)>),
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.into())
    }
}

/// A record of MaxMind's ASN database.
pub fn asn(number: u32, name: &str) -> Value {
    Value::Map(vec![
        ("autonomous_system_number", Value::Number(number)),
        ("autonomous_system_organization", name.into()),
    ])
}

/// A database in the making.
pub struct Writer {
    ip_version: u16,
    record_size: u16,
    build_time: u32,
    database_type: &'static str,
    /// Two children each.
    nodes: Vec<[Child; 2]>,
    data: Vec<u8>,
    /// Where a record like this stands.
    known: BTreeMap<Vec<u8>, usize>,
}

#[derive(Clone, Copy)]
enum Child {
    Nothing,
    Node(usize),
    Data(usize),
}

impl Writer {
    /// `ip_version` 4 or 6, `record_size` 24, 28 or 32.
    pub fn new(ip_version: u16, record_size: u16, build_time: u32) -> Self {
        Self {
            ip_version,
            record_size,
            build_time,
            database_type: "Test",
            nodes: vec![[Child::Nothing; 2]],
            data: Vec::new(),
            known: BTreeMap::new(),
        }
    }

    /// The type that the metadata names.
    pub fn with_type(mut self, database_type: &'static str) -> Self {
        self.database_type = database_type;
        self
    }

    /// A network and its record. Networks must not overlap.
    pub fn insert(&mut self, network: &str, record: &Value) {
        let (address, length) = network.split_once('/').expect("a length");
        let length: usize = length.parse().expect("a number");
        match address.parse().expect("an address") {
            IpAddr::V4(a) if self.ip_version == 4 => {
                self.insert_bits(u128::from(a.to_bits()) << 96, length, record);
            }
            // the IPv4 tree lies at ::/96
            IpAddr::V4(a) => self.insert_bits(a.to_bits().into(), 96 + length, record),
            IpAddr::V6(a) => self.insert_bits(a.to_bits(), length, record),
        }
    }

    fn insert_bits(&mut self, bits: u128, length: usize, record: &Value) {
        let bit = |depth: usize| (bits >> (127 - depth) & 1) as usize;
        let mut node = 0;
        for depth in 0..length - 1 {
            node = match self.nodes[node][bit(depth)] {
                Child::Node(next) => next,
                Child::Nothing => {
                    self.nodes.push([Child::Nothing; 2]);
                    self.nodes[node][bit(depth)] = Child::Node(self.nodes.len() - 1);
                    self.nodes.len() - 1
                }
                Child::Data(_) => panic!("networks overlap"),
            };
        }
        let mut bytes = Vec::new();
        encode(record, &mut bytes);
        let data = &mut self.data;
        let place = *self.known.entry(bytes).or_insert_with_key(|bytes| {
            data.extend(bytes);
            data.len() - bytes.len()
        });
        self.nodes[node][bit(length - 1)] = Child::Data(place);
    }

    pub fn finish(self) -> Vec<u8> {
        let count = self.nodes.len();
        let number = |child: Child| {
            let number = match child {
                Child::Nothing => count,
                Child::Node(node) => node,
                Child::Data(place) => count + 16 + place,
            };
            u32::try_from(number).expect("at most 4 GiB")
        };
        let mut file = Vec::new();
        for &[left, right] in &self.nodes {
            let (left, right) = (number(left).to_be_bytes(), number(right).to_be_bytes());
            match self.record_size {
                24 => file.extend([&left[1..], &right[1..]].concat()),
                28 => {
                    file.extend(&left[1..]);
                    file.push(left[0] << 4 | right[0]);
                    file.extend(&right[1..]);
                }
                _ => file.extend([left, right].concat()),
            }
        }
        file.extend([0; 16]);
        file.extend(&self.data);
        file.extend(b"\xab\xcd\xefMaxMind.com");
        let metadata = Value::Map(vec![
            ("node_count", Value::Number(count as u32)),
            ("record_size", Value::Short(self.record_size)),
            ("ip_version", Value::Short(self.ip_version)),
            ("database_type", self.database_type.into()),
            ("languages", Value::List(Vec::new())),
            ("description", Value::Map(Vec::new())),
            ("binary_format_major_version", Value::Short(2)),
            ("binary_format_minor_version", Value::Short(0)),
            ("build_epoch", Value::Long(self.build_time.into())),
        ]);
        encode(&metadata, &mut file);
        file
    }
}

/// Sections "Data Field Format" and "Payload".
fn encode(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Text(text) => {
            control(2, text.len(), out);
            out.extend(text.as_bytes());
        }
        Value::Short(number) => {
            control(5, 2, out);
            out.extend(number.to_be_bytes());
        }
        Value::Long(number) => {
            control(9, 8, out);
            out.extend(number.to_be_bytes());
        }
        Value::Number(number) => {
            control(6, 4, out);
            out.extend(number.to_be_bytes());
        }
        Value::List(items) => {
            control(11, items.len(), out);
            items.iter().for_each(|item| encode(item, out));
        }
        Value::Map(entries) => {
            control(7, entries.len(), out);
            for (key, value) in entries {
                encode(&Value::from(*key), out);
                encode(value, out);
            }
        }
    }
}

/// Type and size; types above 7 stand in a byte of their own.
fn control(kind: u8, size: usize, out: &mut Vec<u8>) {
    let short = u8::try_from(size.min(29)).expect("at most 29");
    match kind {
        ..=7 => out.push(kind << 5 | short),
        _ => out.extend([short, kind - 7]),
    }
    if size >= 29 {
        out.push(u8::try_from(size - 29).expect("sizes up to 284 are enough here"));
    }
}
