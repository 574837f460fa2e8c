// SPDX-License-Identifier: AGPL-3.0-only
//! Builds the protos of the `prometheus` crate, for families of one or a few samples.

use prometheus::proto::{Counter, Gauge, LabelPair, MetricFamily, MetricType};

use super::declarations::{Kind, Metric};

/// Returns a family of one sample without labels.
pub(super) fn single(metric: &Metric<0>, value: f64) -> MetricFamily {
    family(metric, [([], value)])
}

/// Returns a family of these samples, each with the values of its labels and its value.
pub(super) fn family<'v, const LABELS: usize>(
    metric: &Metric<LABELS>,
    samples: impl IntoIterator<Item = ([&'v str; LABELS], f64)>,
) -> MetricFamily {
    let samples = samples.into_iter();
    let mut family = MetricFamily::default();
    family.set_name(metric.name.to_owned());
    family.set_help(metric.help.to_owned());
    family.set_field_type(match metric.kind {
        Kind::Counter => MetricType::COUNTER,
        Kind::Gauge => MetricType::GAUGE,
    });
    family.set_metric(
        samples
            .map(|(labels, value)| sample(metric, labels, value))
            .collect(),
    );
    family
}

/// Returns one sample. The type of the family selects the field of the proto that is read.
fn sample<const LABELS: usize>(
    metric: &Metric<LABELS>,
    labels: [&str; LABELS],
    value: f64,
) -> prometheus::proto::Metric {
    let labels = metric.labels.iter().zip(labels).map(|(name, text)| {
        let mut pair = LabelPair::default();
        pair.set_name((*name).to_owned());
        pair.set_value(text.to_owned());
        pair
    });
    let mut proto = prometheus::proto::Metric::from_label(labels.collect());
    match metric.kind {
        Kind::Counter => {
            let mut counter = Counter::default();
            counter.set_value(value);
            proto.set_counter(counter);
        }
        Kind::Gauge => {
            let mut gauge = Gauge::default();
            gauge.set_value(value);
            proto.set_gauge(gauge);
        }
    }
    proto
}
