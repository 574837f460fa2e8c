// SPDX-License-Identifier: AGPL-3.0-only
//! A scrape, parsed: text format 0.0.4 into series and values.

use std::collections::BTreeMap;

pub type Labels = BTreeMap<String, String>;

#[derive(Clone, Debug, Default)]
pub struct Metrics {
    series: BTreeMap<(String, Labels), f64>,
}

impl Metrics {
    /// Panics on a line that is not of the format, and on a series that is there twice.
    pub fn parse(text: &str) -> Self {
        let mut metrics = Self::default();
        for line in text
            .lines()
            .filter(|l| !l.is_empty() && !l.starts_with('#'))
        {
            let (name, labels, rest) =
                split(line).unwrap_or_else(|| panic!("not a sample: {line}"));
            let value = rest
                .trim()
                .parse()
                .unwrap_or_else(|_| panic!("no value: {line}"));
            let twin = metrics.series.insert((name, labels), value);
            assert!(twin.is_none(), "twice in one scrape: {line}");
        }
        metrics
    }

    /// The sum over all series of `name` that carry these labels; `None` if there is none.
    pub fn get(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let found: Vec<f64> = self
            .series
            .iter()
            .filter(|((n, have), _)| {
                n == name
                    && labels
                        .iter()
                        .all(|(k, v)| have.get(*k).is_some_and(|h| h == v))
            })
            .map(|(_, value)| *value)
            .collect();
        (!found.is_empty()).then(|| found.iter().sum())
    }

    /// As [`Metrics::get`], for counters: what is not there has not counted.
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> u64 {
        self.get(name, labels).unwrap_or(0.0) as u64
    }

    /// The series of `name`: labels and values.
    pub fn each(&self, name: &str) -> impl Iterator<Item = (&Labels, f64)> {
        let of_name = self.series.iter().filter(move |((n, _), _)| n == name);
        of_name.map(|((_, labels), value)| (labels, *value))
    }

    /// How much each counter of traffic and faults grew since `before`, without those that did not.
    /// The device's own counters and what the exporter says of itself are left out.
    pub fn moved_since(&self, before: &Self) -> BTreeMap<String, u64> {
        self.series
            .iter()
            .filter(|((name, _), _)| {
                name.ends_with("_total")
                    && name.starts_with("rfm_")
                    && !name.starts_with("rfm_interface_device_")
            })
            .filter_map(|(key, after)| {
                let grown = after - before.series.get(key).unwrap_or(&0.0);
                (grown != 0.0).then(|| (written(key), grown as u64))
            })
            .collect()
    }
}

/// `name{a="1",b="2"}`, labels in alphabetical order, those with an empty value left out, as
/// Prometheus sees them.
fn written((name, labels): &(String, Labels)) -> String {
    let labels: Vec<String> = labels
        .iter()
        .filter(|(_, value)| !value.is_empty())
        .map(|(key, value)| format!("{key}={value:?}"))
        .collect();
    match labels.is_empty() {
        true => name.clone(),
        false => format!("{name}{{{}}}", labels.join(",")),
    }
}

fn split(line: &str) -> Option<(String, Labels, &str)> {
    let end = line.find(['{', ' '])?;
    let (name, mut rest) = line.split_at(end);
    let mut labels = Labels::new();
    if let Some(inside) = rest.strip_prefix('{') {
        rest = inside;
        loop {
            rest = rest.trim_start_matches(',');
            if let Some(after) = rest.strip_prefix('}') {
                rest = after;
                break;
            }
            let (key, after) = rest.split_once("=\"")?;
            let (value, after) = unquote(after)?;
            labels.insert(key.to_owned(), value);
            rest = after;
        }
    }
    Some((name.to_owned(), labels, rest))
}

/// Up to the closing quote, and what follows it.
fn unquote(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut chars = text.char_indices();
    loop {
        match chars.next()? {
            (at, '"') => return Some((value, &text[at + 1..])),
            (_, '\\') => match chars.next()?.1 {
                'n' => value.push('\n'),
                c => value.push(c),
            },
            (_, c) => value.push(c),
        }
    }
}

#[test]
fn labels_values_and_escapes_are_read() {
    let before = Metrics::parse("# TYPE a_total counter\na_total{x=\"1\"} 5\n");
    let after = Metrics::parse(
        "a_total{x=\"1\"} 7\na_total{x=\"2\",y=\"q\\\"\\\\\\n}\"} 1\nrfm_b_total{z=\"\"} 2e1\n",
    );
    assert_eq!(after.get("a_total", &[]), Some(8.0));
    assert_eq!(after.get("a_total", &[("y", "q\"\\\n}")]), Some(1.0));
    assert_eq!(after.get("a_total", &[("x", "3")]), None);
    assert_eq!(
        after.moved_since(&before),
        BTreeMap::from([("rfm_b_total".to_owned(), 20)])
    );
}
