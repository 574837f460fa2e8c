// SPDX-License-Identifier: AGPL-3.0-only
//! The Prometheus text format 0.0.4, for families with one sample per interface or series.

use std::io::{self, Write};

use super::declarations::Metric;

/// The size of the buffer, which prevents small writes to a compressor.
const CHUNK: usize = 16 * 1024;

/// Writes families, one after the other, in pieces of [`CHUNK`] bytes.
pub struct TextWriter<'a> {
    out: &'a mut dyn Write,
    chunk: Vec<u8>,
}

impl<'a> TextWriter<'a> {
    pub fn new(out: &'a mut dyn Write) -> Self {
        Self {
            out,
            chunk: Vec::with_capacity(CHUNK + 1024),
        }
    }

    /// Starts a family. HELP and TYPE are written with its first sample; a family without samples
    /// writes nothing.
    pub fn family<'w, const LABELS: usize>(
        &'w mut self,
        metric: &'static Metric<LABELS>,
    ) -> Family<'w, 'a, LABELS> {
        Family {
            writer: self,
            metric,
            begun: false,
        }
    }

    /// Writes the rest of the buffer.
    pub fn finish(mut self) -> io::Result<()> {
        self.pass_on()
    }

    fn pass_on(&mut self) -> io::Result<()> {
        self.out.write_all(&self.chunk)?;
        self.chunk.clear();
        Ok(())
    }
}

/// A family whose samples are being written.
pub struct Family<'w, 'a, const LABELS: usize> {
    writer: &'w mut TextWriter<'a>,
    metric: &'static Metric<LABELS>,
    begun: bool,
}

impl<const LABELS: usize> Family<'_, '_, LABELS> {
    /// Writes one sample and escapes the values of its labels.
    pub fn sample(&mut self, labels: [&str; LABELS], value: u64) -> io::Result<()> {
        self.begin();
        let chunk = &mut self.writer.chunk;
        let mut before = b'{';
        for (name, text) in self.metric.labels.iter().zip(labels) {
            chunk.push(before);
            push_label(chunk, name, text);
            before = b',';
        }
        if LABELS > 0 {
            chunk.push(b'}');
        }
        self.end(value)
    }

    /// Writes one sample with labels as `name="value",…`, already escaped; at least one label.
    pub fn rendered(&mut self, labels: &str, value: u64) -> io::Result<()> {
        self.begin();
        let chunk = &mut self.writer.chunk;
        chunk.push(b'{');
        chunk.extend_from_slice(labels.as_bytes());
        chunk.push(b'}');
        self.end(value)
    }

    fn begin(&mut self) {
        if !self.begun {
            self.begun = true;
            self.head();
        }
        self.writer
            .chunk
            .extend_from_slice(self.metric.name.as_bytes());
    }

    fn head(&mut self) {
        let Metric {
            name, kind, help, ..
        } = self.metric;
        debug_assert!(!help.contains(['\\', '\n']), "to be escaped: {help}");
        for part in [
            "# HELP ",
            name,
            " ",
            help,
            "\n# TYPE ",
            name,
            " ",
            kind.name(),
            "\n",
        ] {
            self.writer.chunk.extend_from_slice(part.as_bytes());
        }
    }

    fn end(&mut self, value: u64) -> io::Result<()> {
        let chunk = &mut self.writer.chunk;
        chunk.push(b' ');
        chunk.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
        chunk.push(b'\n');
        if chunk.len() >= CHUNK {
            self.writer.pass_on()?;
        }
        Ok(())
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
    use super::*;
    use crate::metrics::declarations::Kind;

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

    fn written(write: impl FnOnce(&mut TextWriter)) -> String {
        let mut out = Vec::new();
        let mut writer = TextWriter::new(&mut out);
        write(&mut writer);
        writer.finish().unwrap();
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
            family.sample(["1", ""], u64::MAX).unwrap();
            family.rendered("x=\"2\"", 7).unwrap();
            w.family(&PLAIN).sample([], 0).unwrap();
        });
        let expected = "# HELP a_total Some help.\n# TYPE a_total counter\n\
                        a_total{x=\"1\",y=\"\"} 18446744073709551615\na_total{x=\"2\"} 7\n\
                        # HELP a Help.\n# TYPE a gauge\na 0\n";
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
            let mut family = w.family(&LABELLED);
            family.sample(["q\" b\\ n\n ü"], 1).unwrap();
        });
        assert!(text.ends_with("a{l=\"q\\\" b\\\\ n\\n ü\"} 1\n"), "{text}");
    }

    #[test]
    fn a_long_family_is_passed_on_in_pieces_and_whole() {
        struct Pieces(Vec<usize>);
        impl Write for Pieces {
            fn write(&mut self, piece: &[u8]) -> io::Result<usize> {
                self.0.push(piece.len());
                Ok(piece.len())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let mut pieces = Pieces(Vec::new());
        let mut writer = TextWriter::new(&mut pieces);
        let mut family = writer.family(&PLAIN);
        for value in 100_000..110_000 {
            family.sample([], value).unwrap();
        }
        writer.finish().unwrap();
        let head = "# HELP a Help.\n# TYPE a gauge\n".len();
        assert_eq!(
            pieces.0.iter().sum::<usize>(),
            head + 10_000 * "a 100000\n".len()
        );
        assert!(pieces.0.len() > 4);
        assert!(pieces.0.iter().all(|&len| len < CHUNK + 1024));
    }
}
