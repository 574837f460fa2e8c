// SPDX-License-Identifier: AGPL-3.0-only
//! OpenMetrics, read by the strict parser of the Python package prometheus-client, and compared with the text 0.0.4.

use std::io::Write;
use std::process::{Command, Stdio};

use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;
use rfm::metrics::exposition::Format;
use serde_json::Value;

use crate::fixture::Fixture;
use crate::format::Exposition;

const OPENMETRICS: Format = Format::OpenMetrics { created: false };

/// Where `scripts/setup.sh test` installs the parser.
const PYTHON: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/.cache/python/bin/python");
const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/metrics/openmetrics.py");

fn text(fixture: &Fixture, format: Format) -> String {
    let bytes = fixture.bytes(format, |input| input.flow_gauges = false);
    String::from_utf8(bytes).unwrap()
}

/// A name, the labels in alphabetical order, and the value.
type Sample = (String, Vec<(String, String)>, f64);

struct Family {
    name: String,
    kind: String,
    help: String,
    unit: String,
    samples: Vec<Sample>,
}

/// Parses strictly; `None` if the parser is not installed.
fn parse(text: &str) -> Option<Vec<Family>> {
    let python = Command::new(PYTHON)
        .arg(SCRIPT)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn();
    let mut python = match python {
        Ok(python) => python,
        Err(error) => {
            let required = std::env::var("RFM_REQUIRE_TOOLS").is_ok_and(|v| v == "1");
            assert!(!required, "{PYTHON}: {error}");
            eprintln!("skipped: {PYTHON}: {error}");
            return None;
        }
    };
    let mut stdin = python.stdin.take().unwrap();
    stdin.write_all(text.as_bytes()).unwrap();
    drop(stdin);
    let output = python.wait_with_output().unwrap();
    assert!(output.status.success(), "refused:\n{text}");
    let families: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
    Some(families.iter().map(family).collect())
}

fn family(json: &Value) -> Family {
    let string = |at: usize| json[at].as_str().unwrap().to_owned();
    let pair = |pair: &Value| {
        [0, 1]
            .map(|at| pair[at].as_str().unwrap().to_owned())
            .into()
    };
    let sample = |sample: &Value| {
        let labels = sample[1].as_array().unwrap().iter().map(pair);
        let name = sample[0].as_str().unwrap().to_owned();
        (name, labels.collect(), sample[2].as_f64().unwrap())
    };
    Family {
        name: string(0),
        help: string(1),
        kind: string(2),
        unit: string(3),
        samples: json[4].as_array().unwrap().iter().map(sample).collect(),
    }
}

/// The samples of the text 0.0.4.
fn of_text(fixture: &Fixture) -> Vec<Sample> {
    let families = Exposition::parse(&text(fixture, Format::TextV0))
        .unwrap()
        .families;
    let of_family = |family: crate::format::Family| {
        let samples = family.samples.into_iter();
        let sample = move |mut sample: crate::format::Sample| {
            sample.labels.sort();
            (
                family.name.clone(),
                sample.labels,
                sample.value.parse().unwrap(),
            )
        };
        samples.map(sample).collect::<Vec<_>>()
    };
    families.into_iter().flat_map(of_family).collect()
}

fn assert_equal(fixture: &Fixture) {
    let Some(families) = parse(&text(fixture, OPENMETRICS)) else {
        return;
    };
    let samples: Vec<_> = families.into_iter().flat_map(|f| f.samples).collect();
    assert_eq!(samples, of_text(fixture));
}

#[test]
fn the_strict_parser_reads_the_samples_of_the_text() {
    assert_equal(&Fixture::new());
    assert_equal(&Fixture::empty());
}

#[test]
fn odd_label_values_are_read_as_they_were() {
    let mut runner = TestRunner::deterministic();
    let strings =
        proptest::string::string_regex("([\\\\\"\n\r{}=, #a-zé\u{85}\u{2028}]{0,20}|\\PC{0,20})");
    let strings = strings.unwrap();
    let mut string = || strings.new_tree(&mut runner).unwrap().current();
    let values: Vec<_> = (0..500).map(|_| string()).collect();
    assert_equal(&Fixture::with_cities(&values));
    assert_equal(&Fixture::hostile("a\"b\\c\nd", "é{}\r\t # EOF\n# EOF"));
}

#[test]
fn families_have_types_units_and_one_end() {
    let text = text(&Fixture::new(), OPENMETRICS);
    assert!(text.ends_with("\n# EOF\n"));
    assert!(!text.contains("_created"));
    let Some(families) = parse(&text) else {
        return;
    };
    assert!(families.len() > 60);
    for Family {
        name,
        kind,
        help,
        unit,
        samples,
    } in families
    {
        assert!(help.ends_with('.'), "{name}");
        let mut units = ["bytes", "seconds"].into_iter();
        let expected = units.find(|unit| name.ends_with(&format!("_{unit}")));
        let expected = expected.unwrap_or_default();
        assert_eq!(unit, expected, "{name}");
        let suffix = match kind.as_str() {
            "counter" => "_total",
            "gauge" => "",
            other => panic!("{name}: {other}"),
        };
        for (sample, ..) in samples {
            assert_eq!(sample, format!("{name}{suffix}"));
        }
    }
}

#[test]
fn times_of_creation_are_samples_if_requested() {
    let fixture = Fixture::new();
    let text = text(&fixture, Format::OpenMetrics { created: true });
    let Some(families) = parse(&text) else {
        return;
    };
    let all: Vec<_> = families.into_iter().flat_map(|f| f.samples).collect();
    let (created, rest): (Vec<_>, Vec<_>) = all
        .into_iter()
        .partition(|(name, ..)| name.ends_with("_created"));
    assert_eq!(rest, of_text(&fixture));
    assert!(created.len() > 50);
    let of_flows = created
        .iter()
        .filter(|(name, ..)| name == "rfm_flow_bytes_created");
    let times: Vec<_> = of_flows.map(|(_, _, seconds)| *seconds).collect();
    assert_eq!(times, [1_700_000_101.0, 1_700_000_101.001]);
}

#[test]
fn with_the_flow_gauges_there_is_no_openmetrics() {
    Fixture::new().bytes(Format::TextV0, |input| {
        assert!(!input.fits_openmetrics());
        input.flow_gauges = false;
        assert!(input.fits_openmetrics());
    });
}
