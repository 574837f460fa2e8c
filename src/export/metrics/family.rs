// SPDX-License-Identifier: AGPL-3.0-only
//! The protos of the `prometheus` crate, for families of a sample or a few.

use prometheus::proto::MetricType::{self, COUNTER};
use prometheus::proto::{Counter, Gauge, LabelPair, Metric, MetricFamily};

/// A family of one sample without labels.
pub(super) fn single(kind: MetricType, name: &str, help: &str, value: f64) -> MetricFamily {
    family(kind, name, help, [sample(kind, &[], value)])
}

pub(super) fn family(
    kind: MetricType,
    name: &str,
    help: &str,
    samples: impl IntoIterator<Item = Metric>,
) -> MetricFamily {
    let mut family = MetricFamily::default();
    family.set_name(name.to_owned());
    family.set_help(help.to_owned());
    family.set_field_type(kind);
    family.set_metric(samples.into_iter().collect());
    family
}

/// The family's `kind` says which of a proto's values is read.
pub(super) fn sample(kind: MetricType, labels: &[(&str, &str)], value: f64) -> Metric {
    let labels = labels.iter().map(|(name, text)| {
        let mut pair = LabelPair::default();
        pair.set_name((*name).to_owned());
        pair.set_value((*text).to_owned());
        pair
    });
    let mut metric = Metric::from_label(labels.collect());
    if kind == COUNTER {
        let mut counter = Counter::default();
        counter.set_value(value);
        metric.set_counter(counter);
    } else {
        let mut gauge = Gauge::default();
        gauge.set_value(value);
        metric.set_gauge(gauge);
    }
    metric
}
