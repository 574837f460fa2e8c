// SPDX-License-Identifier: AGPL-3.0-only

use std::time::Instant;

use super::rules;
use crate::firewall::backend::Counts;
use crate::firewall::rule_series::{MAX_LABELS, RuleSeries};
use crate::firewall::rule_set::RuleSet;
use crate::types::rule::{Action, RuleId};

fn counted(id: u64, packets: u64) -> (RuleId, Counts) {
    let counts = Counts {
        packets,
        bytes: 100 * packets,
        dropped_packets: packets / 4,
        dropped_bytes: 25 * packets,
    };
    (RuleId(id), counts)
}

/// Returns label, action and packets of each series.
fn shown(
    rule_series: &RuleSeries,
    rule_set: &RuleSet,
    counts: &[(RuleId, Counts)],
) -> Vec<(String, String, u64)> {
    let series = rule_series.series(rule_set, counts).into_iter();
    series
        .map(|s| (s.rule, s.action.to_owned(), s.packets))
        .collect()
}

fn expected(series: &[(&str, &str, u64)]) -> Vec<(String, String, u64)> {
    let series = series.iter();
    series
        .map(|(r, a, n)| ((*r).into(), (*a).into(), *n))
        .collect()
}

#[test]
fn each_rule_has_its_series_and_a_limit_has_two() {
    let (mut rule_set, mut rule_series) = (RuleSet::default(), RuleSeries::default());
    let lines = ["--src ::1", "--src ::2 --action limit --rate 5"];
    rule_set.set_config(&rules(&lines), Instant::now()).unwrap();
    rule_series.update(&rule_set, &[]);
    let counts = [counted(1, 8), counted(2, 40)];
    let all = [
        ("config-1", "drop", 8),
        ("config-2", "drop", 10),
        ("config-2", "pass", 30),
    ];
    assert_eq!(shown(&rule_series, &rule_set, &counts), expected(&all));
}

#[test]
fn what_shares_a_series_never_makes_it_fall() {
    let (mut rule_set, mut rule_series) = (RuleSet::default(), RuleSeries::default());
    let holes = |texts: &[&str]| texts.iter().map(|t| t.parse().unwrap()).collect::<Vec<_>>();
    rule_set.set_blackholes(&holes(&["::1", "::2"]), Action::Drop);
    assert!(!rule_series.needs_counts(&rule_set));
    rule_series.update(&rule_set, &[]);
    let counts = [counted(1, 5), counted(2, 7)];
    assert_eq!(
        shown(&rule_series, &rule_set, &counts),
        expected(&[("blackhole", "drop", 12)])
    );
    rule_set.set_blackholes(&holes(&["::2"]), Action::Drop);
    assert!(rule_series.needs_counts(&rule_set));
    rule_series.update(&rule_set, &counts);
    let counts = [counted(2, 8)];
    assert_eq!(
        shown(&rule_series, &rule_set, &counts),
        expected(&[("blackhole", "drop", 13)])
    );
    rule_set.set_blackholes(&[], Action::Drop);
    rule_series.update(&rule_set, &counts);
    assert_eq!(
        shown(&rule_series, &rule_set, &[]),
        expected(&[("blackhole", "drop", 13)])
    );
}

#[test]
fn beyond_so_many_the_rest_is_other_for_good() {
    let (mut rule_set, mut rule_series, now) =
        (RuleSet::default(), RuleSeries::default(), Instant::now());
    let line = |n: usize| format!("--dst 192.0.2.{n}");
    let lines: Vec<_> = (0..MAX_LABELS + 2).map(line).collect();
    let lines: Vec<_> = lines.iter().map(String::as_str).collect();
    rule_set.add(rules(&lines), now).unwrap();
    rule_series.update(&rule_set, &[]);
    let last = MAX_LABELS as u64 + 2;
    let counts = [counted(1, 1), counted(last - 1, 10), counted(last, 20)];
    let series = shown(&rule_series, &rule_set, &counts);
    assert_eq!(series.len(), MAX_LABELS + 1);
    assert!(series.contains(&expected(&[("other", "drop", 30)])[0]));
    // the next new rule uses the free label
    rule_set.remove(&[RuleId(1)]).unwrap();
    rule_series.update(&rule_set, &counts);
    let series = shown(&rule_series, &rule_set, &counts[1..]);
    assert_eq!(series.len(), MAX_LABELS);
    assert!(series.contains(&expected(&[("other", "drop", 30)])[0]));
}
