// SPDX-License-Identifier: AGPL-3.0-only
//! The dashboard over a day, with the recording rules and without: the same figures, names that stay, and sums that are
//! those of the interfaces. The counters are made up; a real Prometheus stores them, and promtool applies the rules.

use std::collections::{BTreeMap, BTreeSet};
use std::f64::consts::TAU;
use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::Value;

use crate::common::lab::{Lab, Namespace, can_run, run};
use crate::common::prometheus;
use crate::grafana::{Target, View, target, targets};

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
/// The range that is shown; the data begin an hour before.
const RANGE: u64 = 24 * HOUR;
/// That of a panel of a thousand pixels.
const STEP: u64 = 2 * MINUTE;
const RATE_INTERVAL: &str = "4m";
/// The agent restarts so long before the end; it does not answer for some minutes, and it does not know a name for some more.
const RESTART: u64 = 10 * HOUR;
const DOWN: u64 = 3 * MINUTE;
const NAMELESS: u64 = 10 * MINUTE;
/// The windows of both ways reach differently over the restart.
const APART: u64 = 20 * MINUTE;

/// More than the ten that are shown; the last one has no AS.
const NETWORKS: usize = 15;
const INSTANCE: &str = "r1:9669";

fn asn(network: usize) -> String {
    match network + 1 == NETWORKS {
        true => String::new(),
        false => (64_500 + network).to_string(),
    }
}

/// Bits per second of a network at a time: the smaller its number, the more, with a wave of its own. The range has whole
/// waves, so that the order of the networks does not depend on the time of the day.
fn rate(network: usize, time: u64) -> f64 {
    let waves = time as f64 / RANGE as f64 * (1 + network % 5) as f64;
    let wave = (waves * TAU + network as f64).sin();
    8e6 / (network + 1) as f64 * (1.0 + 0.4 * wave)
}

/// OpenMetrics text, family by family.
#[derive(Default)]
struct Samples {
    text: String,
}

impl Samples {
    fn series(&mut self, name: &str, labels: &str, values: impl Iterator<Item = (u64, f64)>) {
        let separator = if labels.is_empty() { "" } else { "," };
        for (time, value) in values {
            let id = format!("{name}{{job=\"rfm\",instance=\"{INSTANCE}\"{separator}{labels}}}");
            writeln!(self.text, "{id} {value} {time}").expect("written");
        }
    }
}

/// The times at which Prometheus scrapes the agent.
fn scrapes(end: u64) -> impl Iterator<Item = u64> + Clone {
    let down = end - RESTART..end - RESTART + DOWN;
    (end - RANGE - HOUR..=end)
        .step_by(MINUTE as usize)
        .filter(move |time| !down.contains(time))
}

/// A counter of bytes that begins at 0 at the first scrape and after the restart.
fn counter(end: u64, rate: impl Fn(u64) -> f64) -> impl Iterator<Item = (u64, f64)> {
    let (mut value, mut before) = (0.0, None);
    scrapes(end).map(move |time| {
        let restarted = before.is_some_and(|b| b < end - RESTART && time >= end - RESTART);
        value = match before {
            Some(before) if !restarted => value + rate(time) / 8.0 * (time - before) as f64,
            _ => 0.0,
        };
        before = Some(time);
        (time, value)
    })
}

fn made_up(end: u64) -> String {
    let mut samples = Samples::default();
    let always = |value: f64| scrapes(end).map(move |time| (time, value));
    samples.series("rfm_build_info", "version=\"1\"", always(1.0));
    for (ifname, role) in [("wan0", "transit"), ("lan0", "internal")] {
        let labels = format!("ifname=\"{ifname}\",role=\"{role}\"");
        samples.series("rfm_interface_info", &labels, always(1.0));
    }
    for way in ["rx", "tx"] {
        let name = format!("rfm_interface_{way}_bytes_total");
        let all = |time| (0..NETWORKS).map(|n| rate(n, time)).sum::<f64>();
        let family = "ifname=\"wan0\",family=\"ipv4\"";
        samples.series(&name, family, counter(end, all));
        // no flow has these
        let family = "ifname=\"wan0\",family=\"other\"";
        samples.series(&name, family, counter(end, |_| 5e5));
        let lan = "ifname=\"lan0\",family=\"ipv4\"";
        samples.series(&name, lan, counter(end, |_| 1e9));
    }
    for network in 0..NETWORKS {
        for (direction, remote, local) in [("ingress", "src", "dst"), ("egress", "dst", "src")] {
            for (protocol, share) in [(6, 0.75), (17, 0.25)] {
                let labels = format!(
                    "ifname=\"wan0\",direction=\"{direction}\",proto=\"{protocol}\",{remote}_asn=\"{}\",\
                     {local}_asn=\"1\",{remote}_city=\"City {}\",{local}_city=\"\"",
                    asn(network),
                    network % 13,
                );
                let values = counter(end, move |time| rate(network, time) * share);
                samples.series("rfm_flow_bytes_total", &labels, values);
            }
        }
    }
    for network in (0..NETWORKS - 1).filter(|n| n % 4 != 3) {
        let asn = asn(network);
        let labels = format!("asn=\"{asn}\",name=\"Network {asn}\"");
        let nameless = end - RESTART..end - RESTART + NAMELESS;
        let known = always(1.0).filter(move |(time, _)| !nameless.contains(time));
        samples.series("rfm_asn_info", &labels, known);
    }
    samples.text + "# EOF\n"
}

/// Runs promtool, with the folder of the blocks that it makes as the last argument.
fn promtool(namespace: &Namespace, arguments: &[&str], files: &[&Path]) {
    let mut command = namespace.command("promtool", arguments);
    run(command.args(files));
}

fn now() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.expect("after 1970").as_secs()
}

#[test]
fn long_ranges_show_the_same_with_and_without_the_rules() {
    if !can_run(&["ip", "sysctl", "prometheus", "promtool"]) {
        return;
    }
    let lab = Lab::among_others();
    // a whole hour, so that the records by the hour cover the range exactly
    let end = now() / HOUR * HOUR - HOUR;
    let (plain, ruled) = (lab.namespace("plain"), lab.namespace("ruled"));
    let (plain_data, ruled_data) = (lab.path("plain"), lab.path("ruled"));
    let text = lab.file("samples.txt", &made_up(end));
    let import = ["tsdb", "create-blocks-from", "openmetrics", "--quiet"];
    promtool(&plain, &import, &[&text, &plain_data]);
    run(Command::new("cp")
        .arg("-r")
        .args([&plain_data, &ruled_data]));
    let _log = prometheus::start_with(&lab, &plain, "", &plain_data);
    let rules = Path::new(env!("CARGO_MANIFEST_DIR")).join("grafana/rules.yml");
    let (from, to) = (
        format!("--start={}", end - RANGE - HOUR),
        format!("--end={end}"),
    );
    let output = format!("--output-dir={}", ruled_data.display());
    let url = format!("--url=http://127.0.0.1:{}", prometheus::PORT);
    let backfill = [
        "tsdb",
        "create-blocks-from",
        "rules",
        &url,
        &from,
        &to,
        &output,
    ];
    promtool(&plain, &backfill, &[&rules]);
    let _log = prometheus::start_with(&lab, &ruled, "", &ruled_data);

    let without = View::new(&plain, Some(end), RANGE, RATE_INTERVAL, &[]);
    let with = View::new(&ruled, Some(end), RANGE, RATE_INTERVAL, &[]);
    variables(&without, &with);
    let short = View::new(&ruled, Some(end), 3 * HOUR, "1m", &[]);
    assert_eq!(
        (short.value("recorded"), short.value("records")),
        (".+", "-")
    );

    let (mut ranges, mut totals) = (0, 0);
    for target in targets() {
        let recorded = ["$recorded", "$records"];
        if !recorded.iter().any(|name| target.expression.contains(name)) {
            continue;
        }
        match target.instant {
            true => {
                same_totals(&target, &without, &with);
                totals += 1;
            }
            false => {
                same_curves(&target, &without, &with, end);
                ranges += 1;
            }
        }
    }
    assert_eq!((ranges, totals), (8, 7));
    for view in [&without, &with] {
        for title in [
            "Networks: sources of received traffic",
            "Networks: destinations of sent traffic",
        ] {
            names_stay(view, title, end);
            the_stack_is_the_interface(view, title, end);
        }
    }
    let together = View::new(
        &ruled,
        Some(end),
        RANGE,
        RATE_INTERVAL,
        &[("routers", "job")],
    );
    let networks = target("Networks: sources of received traffic", "A");
    let results = together.range(&networks, end, STEP);
    assert_eq!(
        results.len(),
        11,
        "the ten largest, and the one without an AS"
    );
    assert!(
        results
            .iter()
            .all(|result| result["metric"]["instance"].is_null())
    );
}

fn variables(without: &View, with: &View) {
    let of = |view: &View| {
        (
            view.value("recorded").to_owned(),
            view.value("records").to_owned(),
        )
    };
    assert_eq!(of(without), ("-".to_owned(), "-".to_owned()));
    assert_eq!(of(with), (".+".to_owned(), ".+".to_owned()));
    let largest: Vec<_> = (0..10).map(asn).collect();
    let largest = format!("({})", largest.join("|"));
    for view in [without, with] {
        assert_eq!(
            view.value("interface"),
            "(wan0)",
            "the uplinks are the default"
        );
        assert_eq!(view.value("top_in"), largest);
        assert_eq!(view.value("top_out"), largest);
        assert_eq!(view.value("top_city_in"), with.value("top_city_out"));
        assert_eq!(view.value("top_city_in").split('|').count(), 10);
    }
}

type Labels = BTreeMap<String, String>;

fn labels(result: &Value) -> Labels {
    serde_json::from_value(result["metric"].clone()).expect("labels")
}

/// The values by time, without those around the restart.
fn points(result: &Value, end: u64) -> BTreeMap<u64, f64> {
    let values = result["values"].as_array().expect("values");
    let point = |pair: &Value| {
        let time = pair[0].as_f64().expect("a time") as u64;
        (
            time,
            pair[1]
                .as_str()
                .expect("a value")
                .parse()
                .expect("a number"),
        )
    };
    let restart = end - RESTART - APART..end - RESTART + APART;
    let all = values.iter().map(point);
    all.filter(|(time, _): &(u64, f64)| !restart.contains(time))
        .collect()
}

fn assert_same(what: &str, found: f64, expected: f64, scale: f64) {
    let difference = (found - expected).abs();
    assert!(
        difference < 0.03 * expected.abs() + 0.005 * scale,
        "{what}: {found} with the records, {expected} without them"
    );
}

fn same_curves(target: &Target, without: &View, with: &View, end: u64) {
    let of = |view: &View| -> BTreeMap<Labels, BTreeMap<u64, f64>> {
        let results = view.range(target, end, STEP);
        results
            .iter()
            .map(|result| (labels(result), points(result, end)))
            .collect()
    };
    let (expected, found) = (of(without), of(with));
    let what = format!("{} {}", target.title, target.reference);
    assert!(!expected.is_empty(), "{what}: no results");
    let keys = |results: &BTreeMap<Labels, _>| results.keys().cloned().collect::<BTreeSet<_>>();
    assert_eq!(keys(&found), keys(&expected), "{what}");
    for (labels, points) in &expected {
        assert!(
            points.len() as u64 > (RANGE - 2 * APART) / STEP - 10,
            "{what} {labels:?}"
        );
        for (time, value) in points {
            let found = found[labels].get(time).copied().unwrap_or(f64::NAN);
            assert_same(&format!("{what} {labels:?} at {time}"), found, *value, 8e6);
        }
    }
}

fn same_totals(target: &Target, without: &View, with: &View) {
    let of = |view: &View| -> BTreeMap<Labels, f64> {
        let value = |result: &Value| {
            let text = result["value"][1].as_str().expect("a value");
            (labels(result), text.parse().expect("a number"))
        };
        view.instant(target).iter().map(value).collect()
    };
    let (expected, found) = (of(without), of(with));
    let what = format!("{} {}", target.title, target.reference);
    assert!(!expected.is_empty(), "{what}: no results");
    assert_eq!(
        found.len(),
        expected.len(),
        "{what}: {found:?} and {expected:?}"
    );
    for (labels, value) in &expected {
        let found = found.get(labels).copied().unwrap_or(f64::NAN);
        assert_same(&format!("{what} {labels:?}"), found, *value, 0.0);
    }
}

/// Each network has one name, also after the restart, before the agent knows it again.
fn names_stay(view: &View, title: &str, end: u64) {
    let results = view.range(&target(title, "A"), end, STEP);
    let names: Vec<_> = results
        .iter()
        .map(|result| {
            result["metric"]["network"]
                .as_str()
                .expect("a name")
                .to_owned()
        })
        .collect();
    assert_eq!(names.len(), 11, "{names:?}");
    let distinct: BTreeSet<_> = results
        .iter()
        .map(|r| r["metric"]["asn"].to_string())
        .collect();
    assert_eq!(distinct.len(), 11, "{names:?}");
    for expected in ["Network 64500 AS64500", "AS64503", "unknown"] {
        assert!(names.iter().any(|name| name == expected), "{names:?}");
    }
}

fn the_stack_is_the_interface(view: &View, title: &str, end: u64) {
    let mut sums = BTreeMap::<u64, f64>::new();
    for reference in ["A", "B"] {
        for result in view.range(&target(title, reference), end, STEP) {
            for (time, value) in points(&result, end) {
                *sums.entry(time).or_default() += value;
            }
        }
    }
    assert!(sums.len() as u64 > (RANGE - 2 * APART) / STEP - 10);
    for (time, sum) in sums {
        let interface = 5e5 + (0..NETWORKS).map(|n| rate(n, time)).sum::<f64>();
        assert_same(&format!("{title} at {time}"), sum, interface, 0.0);
    }
}
