// SPDX-License-Identifier: AGPL-3.0-only
//! The formats of /metrics, and a writer of families for all of them.

use hyper::HeaderMap;

use super::declarations::{Kind, Metric};
use super::protobuf_format::ProtobufWriter;
use super::text_format::{Style, TextWriter};
use crate::http::accept::{self, MediaType};

/// A format of /metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// The text format 0.0.4.
    TextV0,
    /// As 0.0.4, except that names may be quoted, which names of rfm need not be.
    TextV1,
    /// OpenMetrics 1.0 as text; optionally with the times at which counters began, as series of their
    /// own.
    OpenMetrics { created: bool },
    /// `io.prometheus.client.MetricFamily`, delimited.
    Protobuf,
}

const CHARSET: (&str, &[&str]) = ("charset", &["utf-8"]);

/// Ways to write names that are not plain; those of rfm are.
const PLAIN_NAMES: (&str, &[&str]) = ("escaping", &["allow-utf-8", "underscores", "values"]);

/// The formats; of equal ones, the server prefers the first.
const OFFERS: [(Format, MediaType); 4] = [
    (
        Format::TextV0,
        MediaType {
            name: "text/plain",
            parameters: &[("version", &["0.0.4"]), CHARSET],
        },
    ),
    (
        Format::TextV1,
        MediaType {
            name: "text/plain",
            parameters: &[
                ("version", &["1.0.0"]),
                ("escaping", &["allow-utf-8"]),
                CHARSET,
            ],
        },
    ),
    (
        Format::OpenMetrics { created: false },
        MediaType {
            name: "application/openmetrics-text",
            parameters: &[("version", &["1.0.0"]), PLAIN_NAMES, CHARSET],
        },
    ),
    (
        Format::Protobuf,
        MediaType {
            name: "application/vnd.google.protobuf",
            parameters: &[
                ("proto", &["io.prometheus.client.metricfamily"]),
                ("encoding", &["delimited"]),
                PLAIN_NAMES,
            ],
        },
    ),
];

impl Format {
    /// Returns the format that the header fields of a request prefer, among all formats or those
    /// without OpenMetrics.
    pub fn preferred(headers: &HeaderMap, openmetrics: bool) -> Self {
        let mut offers = OFFERS.to_vec();
        offers.retain(|(format, _)| openmetrics || !format.is_openmetrics());
        let media_types: Vec<MediaType> =
            offers.iter().map(|(_, media_type)| *media_type).collect();
        offers[accept::preferred(headers, &media_types)].0
    }

    /// Adds the times at which counters began, if they would be series of their own.
    pub fn with_created(self) -> Self {
        match self {
            Self::OpenMetrics { .. } => Self::OpenMetrics { created: true },
            other => other,
        }
    }

    fn is_openmetrics(self) -> bool {
        matches!(self, Self::OpenMetrics { .. })
    }

    pub fn content_type(self) -> &'static str {
        match self {
            Self::TextV0 => "text/plain; version=0.0.4; charset=utf-8",
            Self::TextV1 => "text/plain; version=1.0.0; charset=utf-8; escaping=allow-utf-8",
            Self::OpenMetrics { .. } => {
                "application/openmetrics-text; version=1.0.0; charset=utf-8"
            }
            Self::Protobuf => {
                "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited"
            }
        }
    }
}

/// A time in milliseconds since the Unix epoch at which a counter was 0; `None` if it is not known.
/// It never changes while the counter exists.
pub type Created = Option<u64>;

/// A value of a sample.
#[derive(Clone, Copy, Debug)]
pub enum SampleValue {
    Integer(u64),
    Float(f64),
}

impl From<u64> for SampleValue {
    fn from(value: u64) -> Self {
        Self::Integer(value)
    }
}

impl From<f64> for SampleValue {
    fn from(value: f64) -> Self {
        Self::Float(value)
    }
}

/// The head of a family.
#[derive(Clone, Copy, Debug)]
pub struct Head<'h> {
    pub name: &'h str,
    pub kind: Kind,
    pub help: &'h str,
}

/// Writes families, one after the other.
pub struct FamilyWriter<'a>(FormatEncoder<'a>);

enum FormatEncoder<'a> {
    Text(TextWriter<'a>),
    Protobuf(ProtobufWriter<'a>),
}

/// Calls a method of the encoder in use.
macro_rules! encode {
    ($writer:expr, $encoder:ident => $call:expr) => {
        match &mut $writer.0 {
            FormatEncoder::Text($encoder) => $call,
            FormatEncoder::Protobuf($encoder) => $call,
        }
    };
}

impl<'a> FamilyWriter<'a> {
    pub fn new(format: Format, out: &'a mut Vec<u8>) -> Self {
        Self(match format {
            Format::TextV0 | Format::TextV1 => {
                FormatEncoder::Text(TextWriter::new(out, Style::Prometheus))
            }
            Format::OpenMetrics { created } => {
                FormatEncoder::Text(TextWriter::new(out, Style::OpenMetrics { created }))
            }
            Format::Protobuf => FormatEncoder::Protobuf(ProtobufWriter::new(out)),
        })
    }

    /// Ends the output.
    pub fn finish(mut self) {
        encode!(self, encoder => encoder.finish());
    }

    /// Starts a family of a few samples. A family without samples writes nothing.
    pub fn family<'w, const LABELS: usize>(
        &'w mut self,
        metric: &'static Metric<LABELS>,
    ) -> Family<'w, 'a, LABELS> {
        self.family_of(metric, 0)
    }

    /// Starts a family of about `samples` samples. The number has an effect only on the time.
    pub fn family_of<'w, const LABELS: usize>(
        &'w mut self,
        metric: &'static Metric<LABELS>,
        samples: usize,
    ) -> Family<'w, 'a, LABELS> {
        Family {
            metric,
            samples,
            open: OpenFamily {
                writer: self,
                begun: false,
            },
        }
    }

    /// Writes a family whose labels are not known to the compiler: of each sample the labels, the
    /// value and the time of creation.
    pub fn write<'s, L: Iterator<Item = (&'s str, &'s str)>>(
        &mut self,
        head: Head,
        samples: impl Iterator<Item = (L, f64, Created)>,
    ) {
        let mut open = OpenFamily {
            writer: self,
            begun: false,
        };
        for (labels, value, created) in samples {
            open.begin(head, 0);
            open.sample(labels, value.into(), created);
        }
    }
}

/// A family that may have been started in the output; it ends with this value.
struct OpenFamily<'w, 'a> {
    writer: &'w mut FamilyWriter<'a>,
    begun: bool,
}

impl OpenFamily<'_, '_> {
    fn begin(&mut self, head: Head, samples: usize) {
        if !self.begun {
            self.begun = true;
            encode!(self.writer, encoder => encoder.begin_family(head, samples));
        }
    }

    fn sample<'s>(
        &mut self,
        labels: impl Iterator<Item = (&'s str, &'s str)>,
        value: SampleValue,
        created: Created,
    ) {
        encode!(self.writer, encoder => {
            encoder.begin_sample();
            for (name, text) in labels {
                encoder.label(name, text);
            }
            encoder.end_sample(value, created);
        });
    }
}

impl Drop for OpenFamily<'_, '_> {
    fn drop(&mut self) {
        if self.begun {
            encode!(self.writer, encoder => encoder.end_family());
        }
    }
}

/// A family whose samples are being written. HELP and TYPE are written with its first sample.
pub struct Family<'w, 'a, const LABELS: usize> {
    metric: &'static Metric<LABELS>,
    samples: usize,
    open: OpenFamily<'w, 'a>,
}

impl<const LABELS: usize> Family<'_, '_, LABELS> {
    /// Writes one sample of a gauge.
    pub fn gauge(&mut self, labels: [&str; LABELS], value: u64) {
        self.sample(labels, value, None);
    }

    /// Writes one sample.
    pub fn sample(
        &mut self,
        labels: [&str; LABELS],
        value: impl Into<SampleValue>,
        created: Created,
    ) {
        self.begin();
        let labels = self.metric.labels.iter().copied().zip(labels);
        self.open.sample(labels, value.into(), created);
    }

    /// Writes one sample of a row of flow series, with labels as `name="value",…`, already escaped; at least one label.
    /// All rows have the same label names. `row` is the number of the row: its labels are the same in all families, and
    /// its time of creation in all families of one kind.
    pub fn row(&mut self, row: usize, labels: &str, value: u64, created: Created) {
        self.begin();
        encode!(self.open.writer, encoder => {
            encoder.row(row, labels, value.into(), created);
        });
    }

    fn begin(&mut self) {
        self.open.begin(Head::from(self.metric), self.samples);
    }
}

impl<const LABELS: usize> From<&'static Metric<LABELS>> for Head<'static> {
    fn from(metric: &'static Metric<LABELS>) -> Self {
        Self {
            name: metric.name,
            kind: metric.kind,
            help: metric.help,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::header::{ACCEPT, HeaderValue};

    /// Returns the preferred formats, with OpenMetrics and without it.
    fn formats(accept: &'static str) -> [Format; 2] {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_static(accept));
        [true, false].map(|openmetrics| Format::preferred(&headers, openmetrics))
    }

    const OPENMETRICS: Format = Format::OpenMetrics { created: false };

    #[test]
    fn each_client_gets_the_format_that_it_prefers() {
        for (expected, accept) in [
            ([Format::TextV0; 2], "*/*"),
            ([Format::TextV0; 2], "text/plain"),
            (
                [Format::TextV0; 2],
                "text/plain;version=1.0.0;escaping=underscores",
            ),
            // vmagent
            (
                [Format::TextV0; 2],
                "text/plain;version=0.0.4;q=1,*/*;q=0.1",
            ),
            // a browser
            (
                [Format::TextV0; 2],
                "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8",
            ),
            // Prometheus 2
            (
                [OPENMETRICS, Format::TextV0],
                "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,\
                 text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
            ),
            // Prometheus 3
            (
                [OPENMETRICS, Format::TextV1],
                "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,\
                 application/openmetrics-text;version=0.0.1;q=0.5,\
                 text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
            ),
            // Prometheus 2 with native histograms
            (
                [Format::Protobuf; 2],
                "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited,\
                 application/openmetrics-text;version=1.0.0;q=0.8,application/openmetrics-text;version=0.0.1;q=0.75,\
                 text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
            ),
            // Prometheus 3 with created timestamps
            (
                [Format::Protobuf; 2],
                "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;q=0.6,\
                 application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,\
                 application/openmetrics-text;version=0.0.1;q=0.4,\
                 text/plain;version=1.0.0;escaping=allow-utf-8;q=0.3,text/plain;version=0.0.4;q=0.2,*/*;q=0.1",
            ),
            (
                [Format::TextV0; 2],
                "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=text",
            ),
            (
                [OPENMETRICS, Format::TextV0],
                "application/openmetrics-text; version=1.0.0; escaping=underscores",
            ),
            (
                [Format::TextV0; 2],
                "application/openmetrics-text; version=0.0.1",
            ),
        ] {
            assert_eq!(formats(accept), expected, "{accept}");
        }
    }
}
