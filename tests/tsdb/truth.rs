// SPDX-License-Identifier: AGPL-3.0-only
//! What the agent counted, and what a database stored of it.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::Value;

use crate::common::agent::Agent;
use crate::common::lab::wait_for;
use crate::engine::{Engine, Samples};
use crate::traffic::PACKETS_PER_SECOND;

const PACKETS: &str = "rfm_flow_packets_total";
const BYTES: &str = "rfm_flow_bytes_total";

/// The labels that tell the series of these tests apart.
type Key = [String; 3];
const LABELS: [&str; 3] = ["ifname", "direction", "proto"];

/// `increase()` contains this part of the truth at least.
const BAR: f64 = 0.995;

/// Time in which the last values reach every database.
const ARRIVAL: Duration = Duration::from_secs(60);

/// The values of both families of flow counters, by family and series.
#[derive(Clone, Default)]
pub struct Truth(BTreeMap<(&'static str, Key), f64>);

impl Truth {
    /// Reads the agent as `curl` does, which gets the true values.
    fn of(agent: &Agent) -> Self {
        let metrics = agent.scrape();
        let each = [PACKETS, BYTES].into_iter().flat_map(|name| {
            let series = metrics.each(name);
            series.map(move |(labels, value)| {
                let key = LABELS.map(|label| labels.get(label).cloned().unwrap_or_default());
                ((name, key), value)
            })
        });
        Self(each.collect())
    }

    /// Adds what another agent counted, or this one after a series had expired.
    pub fn add(&mut self, more: &Self) {
        for (series, value) in &more.0 {
            *self.0.entry(series.clone()).or_default() += value;
        }
    }

    /// The packets of all series.
    pub fn packets(&self) -> f64 {
        let packets = self.0.iter().filter(|((name, _), _)| *name == PACKETS);
        packets.map(|(_, value)| value).sum()
    }

    /// The number of series of each family.
    pub fn series(&self) -> usize {
        self.0.len() / 2
    }

    /// Waits until a database has the last value of each series.
    fn wait_until_stored(&self, engine: &Engine) {
        let stored = || {
            [PACKETS, BYTES].into_iter().all(|name| {
                let last: BTreeMap<Key, f64> = engine
                    .raw(name)
                    .iter()
                    .filter_map(|(labels, samples)| Some((key(labels), samples.last()?.1)))
                    .collect();
                let mut wanted = self.0.iter().filter(|((n, _), _)| *n == name);
                wanted.all(|((_, key), value)| last.get(key) == Some(value))
            })
        };
        let name = engine.spec.name;
        assert!(wait_for(ARRIVAL, stored), "{name} lacks the last values");
    }

    /// Compares `increase()` over everything since `start` with the truth.
    fn assert_increase(&self, engine: &Engine, start: f64) {
        let name = engine.spec.name;
        // at the time of the last scrape, so that nothing is extrapolated
        let now = *engine.scrapes().last().expect("a scrape");
        let window = (now - start).ceil() + 60.0;
        for family in [PACKETS, BYTES] {
            let increase = format!("increase({family}{{scraper='{name}'}}[{window}s])");
            let result = engine.at(now, &increase);
            let found: BTreeMap<Key, f64> = result
                .iter()
                .map(|(labels, value)| (key(labels), *value))
                .collect();
            let wanted = self.0.iter().filter(|((n, _), _)| *n == family);
            let wanted: Vec<(&Key, f64)> = wanted.map(|((_, key), v)| (key, *v)).collect();
            let truth: f64 = wanted.iter().map(|(_, value)| value).sum();
            let of = |key: &Key| found.get(key).copied().unwrap_or(f64::NAN);
            let sum: f64 = wanted.iter().map(|(key, _)| of(key)).sum();
            println!(
                "{name}: {family}: {} series, {truth} counted, increase() {:.3} %",
                wanted.len(),
                sum / truth * 100.0
            );
            for (key, value) in wanted {
                let part = of(key) / value;
                assert!(
                    (BAR..=2.0 - BAR).contains(&part),
                    "{name}: {family} {key:?}: {} of {value}",
                    of(key)
                );
            }
        }
    }
}

/// What the agent has counted, after every database has it, too.
pub fn settled(agent: &Agent, engines: &[Engine]) -> Truth {
    let truth = Truth::of(agent);
    for engine in engines {
        truth.wait_until_stored(engine);
    }
    truth
}

/// Compares each database with the truth since `start`. The agent restarted this often.
pub fn check(truth: &Truth, engines: &[Engine], start: f64, resets: usize) {
    for engine in engines {
        truth.assert_increase(engine, start);
        assert_steps(engine, resets);
    }
}

/// All packets since `start`, as `increase()` has them.
pub fn increase(engine: &Engine, start: f64) -> f64 {
    let (job, now) = (
        engine.spec.name,
        *engine.scrapes().last().expect("a scrape"),
    );
    let window = (now - start).ceil() + 60.0;
    let sum = format!("sum(increase({PACKETS}{{scraper='{job}'}}[{window}s]))");
    engine.at(now, &sum).first().expect("series").1
}

/// The time, as databases have it.
pub fn seconds() -> f64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.expect("after 1970").as_secs_f64()
}

fn key(labels: &Value) -> Key {
    LABELS.map(|label| labels[label].as_str().unwrap_or_default().to_owned())
}

/// No value is negative, no counter goes back but to 0, at most `resets` times, and no series grows by more than two
/// intervals in its first step.
fn assert_steps(engine: &Engine, resets: usize) {
    let scrapes = engine.scrapes();
    for (labels, samples) in engine.raw(PACKETS) {
        let says = || format!("{}: {labels}: {samples:?}", engine.spec.name);
        let starts = starts(&samples);
        assert!(starts.len() <= resets + 1, "{}", says());
        for at in starts {
            let (time, value) = samples[at];
            assert_eq!(value, 0.0, "{}", says());
            let Some((next, first)) = samples.get(at + 1) else {
                continue;
            };
            let before = scrapes.iter().rfind(|scrape| **scrape < time - 0.001);
            let seconds = next - before.unwrap_or(&time);
            // the flow cache holds packets back for up to a second
            let limit = (seconds + 1.0) * PACKETS_PER_SECOND + 1.0;
            assert!(*first <= limit, "{first} in {seconds} s: {}", says());
        }
    }
}

/// The first sample, and those that are less than the one before.
fn starts(samples: &Samples) -> Vec<usize> {
    let is_less = |at: &usize| samples[*at].1 < samples[*at - 1].1;
    std::iter::once(0)
        .chain((1..samples.len()).filter(is_less))
        .collect()
}
