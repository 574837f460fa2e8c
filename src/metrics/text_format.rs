// SPDX-License-Identifier: AGPL-3.0-only
//! The Prometheus text formats 0.0.4 and 1.0.0, which are equal for the names of rfm.

use super::declarations::Kind;
use super::exposition::{Created, Head, Value};

/// Writes families, one after the other.
pub struct TextWriter<'a> {
    out: &'a mut Vec<u8>,
    /// The name of the current family.
    name: String,
    /// The byte before the next label of the current sample.
    before: u8,
}

impl<'a> TextWriter<'a> {
    pub fn new(out: &'a mut Vec<u8>) -> Self {
        Self {
            out,
            name: String::new(),
            before: b'{',
        }
    }

    pub fn begin_family(&mut self, head: Head, _: usize) {
        let Head { name, kind, help } = head;
        debug_assert!(!help.contains(['\\', '\n']), "to be escaped: {help}");
        self.name.clear();
        self.name.push_str(name);
        let kind = match kind {
            Kind::Counter => " counter\n",
            Kind::Gauge => " gauge\n",
        };
        for part in ["# HELP ", name, " ", help, "\n# TYPE ", name, kind] {
            self.out.extend_from_slice(part.as_bytes());
        }
    }

    pub fn end_family(&mut self) {}

    pub fn begin_sample(&mut self) {
        self.out.extend_from_slice(self.name.as_bytes());
        self.before = b'{';
    }

    /// Writes a label of the current sample, and escapes its value.
    pub fn label(&mut self, name: &str, value: &str) {
        self.out.push(self.before);
        push_label(self.out, name, value);
        self.before = b',';
    }

    pub fn end_sample(&mut self, value: Value, _: Created) {
        if self.before == b',' {
            self.out.push(b'}');
        }
        self.value(value);
    }

    pub fn row(&mut self, _: usize, labels: &str, value: Value, _: Created) {
        let out = &mut *self.out;
        out.extend_from_slice(self.name.as_bytes());
        out.push(b'{');
        out.extend_from_slice(labels.as_bytes());
        out.push(b'}');
        self.value(value);
    }

    fn value(&mut self, value: Value) {
        self.out.push(b' ');
        match value {
            Value::Integer(value) => {
                let mut buffer = itoa::Buffer::new();
                self.out.extend_from_slice(buffer.format(value).as_bytes());
            }
            // the digits that identify the number; /metrics has no infinite value
            Value::Float(value) => self.out.extend_from_slice(value.to_string().as_bytes()),
        }
        self.out.push(b'\n');
    }
}

/// Appends `name="value"` with the three escapes of the format.
pub fn push_label(out: &mut Vec<u8>, name: &str, value: &str) {
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"=\"");
    for &byte in value.as_bytes() {
        match byte {
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'"' => out.extend_from_slice(b"\\\""),
            b'\n' => out.extend_from_slice(b"\\n"),
            _ => out.push(byte),
        }
    }
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use crate::metrics::declarations::{Kind, Metric};
    use crate::metrics::exposition::{Format, Writer};

    const fn gauge<const LABELS: usize>(labels: [&'static str; LABELS]) -> Metric<LABELS> {
        Metric {
            name: "a",
            kind: Kind::Gauge,
            labels,
            help: "Help.",
        }
    }
    const PLAIN: Metric<0> = gauge([]);
    const LABELLED: Metric<1> = gauge(["l"]);

    fn written(write: impl FnOnce(&mut Writer)) -> String {
        let mut out = Vec::new();
        write(&mut Writer::new(Format::TextV0, &mut out));
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_family_has_one_head_and_then_its_samples() {
        let text = written(|w| {
            const COUNTER: Metric<2> = Metric {
                name: "a_total",
                kind: Kind::Counter,
                labels: ["x", "y"],
                help: "Some help.",
            };
            let mut family = w.family(&COUNTER);
            family.sample(["1", ""], u64::MAX, Some(1));
            family.row(0, "x=\"2\"", 7, None);
            drop(family);
            w.family(&PLAIN).sample([], 0.25, None);
        });
        let expected = "# HELP a_total Some help.\n# TYPE a_total counter\n\
                        a_total{x=\"1\",y=\"\"} 18446744073709551615\na_total{x=\"2\"} 7\n\
                        # HELP a Help.\n# TYPE a gauge\na 0.25\n";
        assert_eq!(text, expected);
    }

    #[test]
    fn a_family_without_samples_leaves_no_trace() {
        let text = written(|w| {
            w.family(&PLAIN);
        });
        assert_eq!(text, "");
    }

    #[test]
    fn label_values_are_escaped() {
        let text = written(|w| {
            w.family(&LABELLED).gauge(["q\" b\\ n\n ü"], 1);
        });
        assert!(text.ends_with("a{l=\"q\\\" b\\\\ n\\n ü\"} 1\n"), "{text}");
    }
}
