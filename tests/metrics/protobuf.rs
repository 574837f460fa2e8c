// SPDX-License-Identifier: AGPL-3.0-only
//! The protobuf format, decoded by `prost` with the types of metrics.proto (client_model), and compared with the text.

use std::collections::BTreeMap;

use proptest::prelude::*;
use prost::Message;
use rfm::metrics::exposition::Format;

use crate::fixture::{CREATED_MS, Fixture, STARTED_MS};
use crate::format::Exposition;

#[derive(Clone, PartialEq, Message)]
struct MetricFamily {
    #[prost(string, optional, tag = "1")]
    name: Option<String>,
    #[prost(string, optional, tag = "2")]
    help: Option<String>,
    #[prost(enumeration = "MetricType", optional, tag = "3")]
    r#type: Option<i32>,
    #[prost(message, repeated, tag = "4")]
    metric: Vec<Metric>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, prost::Enumeration)]
enum MetricType {
    Counter = 0,
    Gauge = 1,
}

#[derive(Clone, PartialEq, Message)]
struct Metric {
    #[prost(message, repeated, tag = "1")]
    label: Vec<LabelPair>,
    #[prost(message, optional, tag = "2")]
    gauge: Option<Gauge>,
    #[prost(message, optional, tag = "3")]
    counter: Option<Counter>,
}

#[derive(Clone, PartialEq, Message)]
struct LabelPair {
    #[prost(string, optional, tag = "1")]
    name: Option<String>,
    #[prost(string, optional, tag = "2")]
    value: Option<String>,
}

#[derive(Clone, PartialEq, Message)]
struct Gauge {
    #[prost(double, optional, tag = "1")]
    value: Option<f64>,
}

#[derive(Clone, PartialEq, Message)]
struct Counter {
    #[prost(double, optional, tag = "1")]
    value: Option<f64>,
    #[prost(message, optional, tag = "3")]
    created_timestamp: Option<Timestamp>,
}

#[derive(Clone, PartialEq, Message)]
struct Timestamp {
    #[prost(int64, tag = "1")]
    seconds: i64,
    #[prost(int32, tag = "2")]
    nanos: i32,
}

/// Decodes all families. Decoding and encoding again gives the same bytes: nothing is lost, and no length is longer
/// than necessary.
fn families(body: &[u8]) -> Vec<MetricFamily> {
    let mut families = Vec::new();
    let mut rest = body;
    while !rest.is_empty() {
        families.push(MetricFamily::decode_length_delimited(&mut rest).expect("a family"));
    }
    let mut again = Vec::new();
    for family in &families {
        family.encode_length_delimited(&mut again).unwrap();
    }
    assert!(again == body, "encoded again, it differs");
    families
}

type Labels = Vec<(String, String)>;

fn labels(metric: &Metric) -> Labels {
    let pairs = metric.label.iter();
    pairs
        .map(|pair| (pair.name().to_owned(), pair.value().to_owned()))
        .collect()
}

/// Name, help and type of each family, with the labels and the value of each sample, in their order.
type Families = Vec<(String, String, MetricType, Vec<(Labels, f64)>)>;

fn of_protobuf(body: &[u8]) -> Families {
    let family = |family: MetricFamily| {
        let kind = family.r#type();
        let value = |metric: &Metric| match (kind, &metric.counter, &metric.gauge) {
            (MetricType::Counter, Some(counter), None) => counter.value.expect("a value"),
            (MetricType::Gauge, None, Some(gauge)) => gauge.value.expect("a value"),
            _ => panic!("{kind:?}: {metric:?}"),
        };
        let samples = family.metric.iter();
        let samples = samples.map(|m| (labels(m), value(m))).collect();
        let (name, help) = (family.name().to_owned(), family.help().to_owned());
        (name, help, kind, samples)
    };
    families(body).into_iter().map(family).collect()
}

fn of_text(text: &str) -> Families {
    let families = Exposition::parse(text).unwrap().families.into_iter();
    let family = |family: crate::format::Family| {
        let kind = match family.kind.as_str() {
            "counter" => MetricType::Counter,
            _ => MetricType::Gauge,
        };
        let samples = family.samples.into_iter();
        let samples = samples.map(|s| (s.labels, s.value.parse().unwrap()));
        (family.name, family.help, kind, samples.collect())
    };
    families.map(family).collect()
}

fn assert_equal(fixture: &Fixture) {
    let protobuf = of_protobuf(&fixture.bytes(Format::Protobuf, |_| {}));
    let text = of_text(&fixture.text());
    assert_eq!(protobuf.len(), text.len());
    for (protobuf, text) in protobuf.iter().zip(&text) {
        assert_eq!(protobuf, text);
    }
}

#[test]
fn protobuf_and_text_have_the_same_families_and_values() {
    assert_equal(&Fixture::new());
    assert_equal(&Fixture::empty());
    assert_equal(&Fixture::large(20_000));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn any_string_has_the_same_value_in_both(name in ".{1,15}", alias in ".{0,300}") {
        assert_equal(&Fixture::hostile(&name, &alias));
    }

    /// Values with and without escapes, shorter and longer than a label or a sample whose length is one byte.
    #[test]
    fn any_labels_of_flows_are_the_same_in_both(
        values in prop::collection::vec(prop_oneof!["[a-z=,]{0,20}", "(?s).{0,150}"], 1..20),
    ) {
        assert_equal(&Fixture::with_cities(&values));
    }
}

/// The time of creation of each series, in milliseconds; `None` for a counter without one.
fn created(body: &[u8]) -> BTreeMap<(String, Labels), Option<u64>> {
    let mut all = BTreeMap::new();
    for family in families(body) {
        for metric in &family.metric {
            let Some(counter) = &metric.counter else {
                continue;
            };
            let time = counter.created_timestamp.as_ref();
            let ms = time.map(|t| t.seconds as u64 * 1000 + t.nanos as u64 / 1_000_000);
            all.insert((family.name().to_owned(), labels(metric)), ms);
        }
    }
    all
}

#[test]
fn each_counter_has_the_time_of_its_creation() {
    let times = created(&Fixture::new().bytes(Format::Protobuf, |_| {}));
    assert!(times.len() > 50);
    for ((name, labels), time) in times {
        let last = labels.iter().any(|(_, value)| value == "64497");
        let expected = match name.as_str() {
            // the kernel does not report when a device began to count
            name if name.starts_with("rfm_interface_device_") => None,
            "rfm_interface_hook_removals_total" => Some(CREATED_MS + 500),
            name if name.starts_with("rfm_interface_") => Some(CREATED_MS),
            "rfm_flow_series_folded_total" => Some(STARTED_MS),
            "rfm_transit_bytes_total" => Some(CREATED_MS + 3000),
            name if name.starts_with("rfm_flow_") => Some(CREATED_MS + 1000 + u64::from(last)),
            "rfm_peer_bytes_total" => {
                let value = |name| labels.iter().find(|(n, _)| n == name).unwrap().1.as_str();
                let egress = u64::from(value("direction") == "egress");
                let ipv6 = u64::from(value("family") == "ipv6");
                Some(CREATED_MS + 2001 + 2 * egress + ipv6)
            }
            "rfm_source_series_folded_total" => Some(STARTED_MS),
            name if name.starts_with("rfm_source_") => Some(CREATED_MS + 3000),
            _ => Some(STARTED_MS),
        };
        assert_eq!(time, expected, "{name} {labels:?}");
    }
}

#[test]
fn after_a_step_of_the_clock_the_counters_of_the_agent_have_no_time() {
    let times = created(&Fixture::new().bytes(Format::Protobuf, |input| input.started_ms = None));
    let of_agent = times
        .iter()
        .filter(|((name, _), _)| name.starts_with("rfm_collector_"));
    assert!(of_agent.clone().count() > 5);
    for (series, time) in of_agent {
        assert_eq!(*time, None, "{series:?}");
    }
}
