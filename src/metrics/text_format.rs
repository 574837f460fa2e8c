// SPDX-License-Identifier: AGPL-3.0-only
//! The text formats: those of Prometheus, 0.0.4 and 1.0.0, which are equal for the names of rfm, and
//! OpenMetrics 1.0.

use super::declarations::Kind;
use super::exposition::{Created, Head, SampleValue};

/// The suffix of samples of counters. In OpenMetrics, it is not part of the name of the family.
const TOTAL: &str = "_total";
/// Names of families in OpenMetrics end in their units.
const UNITS: [&str; 2] = ["bytes", "seconds"];

/// The differences between text formats.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    Prometheus,
    /// With `created`, each counter has a second sample: the time at which it began.
    OpenMetrics {
        created: bool,
    },
}

/// Writes families, one after the other.
pub struct TextWriter<'a> {
    out: &'a mut Vec<u8>,
    style: Style,
    /// The name of the samples of the current family.
    name: String,
    kind: Kind,
    /// The position of the labels of the current sample.
    labels: usize,
}

impl<'a> TextWriter<'a> {
    pub fn new(out: &'a mut Vec<u8>, style: Style) -> Self {
        Self {
            out,
            style,
            name: String::new(),
            kind: Kind::Gauge,
            labels: 0,
        }
    }

    pub fn finish(&mut self) {
        if self.style != Style::Prometheus {
            self.push("# EOF\n");
        }
    }

    pub fn begin_family(&mut self, head: Head, _: usize) {
        let Head { name, kind, help } = head;
        debug_assert!(!help.contains(['\\', '\n']), "to be escaped: {help}");
        self.name.clear();
        self.name.push_str(name);
        self.kind = kind;
        let kind = kind.name();
        if self.style == Style::Prometheus {
            let parts = [
                "# HELP ",
                name,
                " ",
                help,
                "\n# TYPE ",
                name,
                " ",
                kind,
                "\n",
            ];
            parts.iter().for_each(|part| self.push(part));
            return;
        }
        let name = family_name(name);
        let help = help.replace('"', "\\\"");
        for part in [
            "# HELP ",
            name,
            " ",
            &help,
            "\n# TYPE ",
            name,
            " ",
            kind,
            "\n",
        ] {
            self.push(part);
        }
        let suffix = name.rsplit('_').next().unwrap_or_default();
        if UNITS.contains(&suffix) {
            for part in ["# UNIT ", name, " ", suffix, "\n"] {
                self.push(part);
            }
        }
    }

    pub fn end_family(&mut self) {}

    pub fn begin_sample(&mut self) {
        self.out.extend_from_slice(self.name.as_bytes());
        self.labels = self.out.len();
    }

    /// Writes a label of the current sample, and escapes its value.
    pub fn label(&mut self, name: &str, value: &str) {
        let before = match self.out.len() == self.labels {
            true => b'{',
            false => b',',
        };
        self.out.push(before);
        push_label(self.out, name, value);
    }

    pub fn end_sample(&mut self, value: SampleValue, created: Created) {
        if self.out.len() > self.labels {
            self.out.push(b'}');
        }
        self.value(value, created);
    }

    pub fn row(&mut self, _: usize, labels: &str, value: SampleValue, created: Created) {
        self.begin_sample();
        self.out.push(b'{');
        self.push(labels);
        self.out.push(b'}');
        self.value(value, created);
    }

    fn value(&mut self, value: SampleValue, created: Created) {
        let labels = self.labels..self.out.len();
        self.out.push(b' ');
        match value {
            SampleValue::Integer(value) => {
                let mut buffer = itoa::Buffer::new();
                self.out.extend_from_slice(buffer.format(value).as_bytes());
            }
            // the digits that identify the number; /metrics has no infinite value
            SampleValue::Float(value) => self.push(&value.to_string()),
        }
        self.out.push(b'\n');
        if self.style == (Style::OpenMetrics { created: true })
            && self.kind == Kind::Counter
            && let Some(ms) = created
        {
            self.out
                .extend_from_slice(family_name(&self.name).as_bytes());
            self.push("_created");
            self.out.extend_from_within(labels);
            self.push(&format!(" {}.{:03}\n", ms / 1000, ms % 1000));
        }
    }

    fn push(&mut self, text: &str) {
        self.out.extend_from_slice(text.as_bytes());
    }
}

/// Returns the name of a family in OpenMetrics.
fn family_name(name: &str) -> &str {
    name.strip_suffix(TOTAL).unwrap_or(name)
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
    use crate::metrics::exposition::{FamilyWriter, Format};

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

    fn written(write: impl FnOnce(&mut FamilyWriter)) -> String {
        written_as(Format::TextV0, write)
    }

    fn written_as(format: Format, write: impl FnOnce(&mut FamilyWriter)) -> String {
        let mut out = Vec::new();
        let mut writer = FamilyWriter::new(format, &mut out);
        write(&mut writer);
        writer.finish();
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
    fn openmetrics_has_units_and_optionally_the_times_of_creation() {
        const COUNTER: Metric<1> = Metric {
            name: "a_bytes_total",
            kind: Kind::Counter,
            labels: ["x"],
            help: "A \"quoted\" word.",
        };
        let write = |w: &mut FamilyWriter| {
            let mut family = w.family(&COUNTER);
            family.sample(["1"], 5, Some(1_700_000_000_045));
            family.row(0, "x=\"2\"", 7, None);
            drop(family);
            w.family(&PLAIN).gauge([], 1);
        };
        let expected = "# HELP a_bytes A \\\"quoted\\\" word.\n# TYPE a_bytes counter\n# UNIT a_bytes bytes\n\
                        a_bytes_total{x=\"1\"} 5\na_bytes_total{x=\"2\"} 7\n\
                        # HELP a Help.\n# TYPE a gauge\na 1\n# EOF\n";
        let plain = written_as(Format::OpenMetrics { created: false }, write);
        assert_eq!(plain, expected);
        let created = written_as(Format::OpenMetrics { created: true }, write);
        let line = "a_bytes_created{x=\"1\"} 1700000000.045\n";
        assert_eq!(
            created,
            expected.replacen(" 5\n", &format!(" 5\n{line}"), 1)
        );
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
