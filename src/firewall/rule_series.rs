// SPDX-License-Identifier: AGPL-3.0-only
//! The counters of the rules as series: their number is limited, and none ever decreases. Pure.
//!
//! A runtime rule or a rule of the configuration has its own series if there are few enough rules when it is
//! added; it keeps its first series. All others share one series, which includes the counters of removed rules.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::backend::Counts;
use super::rule_set::RuleSet;
use crate::types::named::Named;
use crate::types::rule::{Action, RuleId, RuleSource};

/// The most rules with their own series.
pub const MAX_LABELS: usize = 100;

const OTHER: &str = "other";

/// One sample of a rule or of several.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Series {
    pub rule: String,
    /// "drop", "pass" or "count": a limit has two of them.
    pub action: &'static str,
    pub packets: u64,
    pub bytes: u64,
}

#[derive(Default)]
pub struct RuleSeries {
    own: HashSet<RuleId>,
    /// Counters of removed rules, by the series they shared.
    removed: BTreeMap<(&'static str, Action), Counts>,
    /// Rules that share a series.
    shared: HashMap<RuleId, (&'static str, Action)>,
}

impl RuleSeries {
    /// Returns whether counts are needed before `rule_set` is applied.
    pub fn needs_counts(&self, rule_set: &RuleSet) -> bool {
        let staying: HashSet<RuleId> = rule_set.iter().map(|shown| shown.id).collect();
        self.shared.keys().any(|id| !staying.contains(id))
    }

    /// Updates the series after `rule_set` was applied; `counts` were read just before.
    pub fn update(&mut self, rule_set: &RuleSet, counts: &[(RuleId, Counts)]) {
        let staying: HashSet<RuleId> = rule_set.iter().map(|shown| shown.id).collect();
        let counted: HashMap<_, _> = counts.iter().copied().collect();
        let removed = &mut self.removed;
        self.shared.retain(|id, series| {
            let stays = staying.contains(id);
            if !stays && let Some(&counts) = counted.get(id) {
                *removed.entry(*series).or_default() += counts;
            }
            stays
        });
        self.own.retain(|id| staying.contains(id));
        for shown in rule_set.iter() {
            let series = match shown.source {
                RuleSource::Allow
                | RuleSource::Guard
                | RuleSource::Blackhole
                | RuleSource::SourceCheck => shown.source.name(),
                _ if self.own.contains(&shown.id) => continue,
                _ if self.shared.contains_key(&shown.id) => continue,
                _ if self.own.len() < MAX_LABELS => {
                    self.own.insert(shown.id);
                    continue;
                }
                _ => OTHER,
            };
            self.shared.insert(shown.id, (series, shown.rule.action()));
        }
    }

    /// Returns the series in the order of the labels.
    pub fn series(&self, rule_set: &RuleSet, counts: &[(RuleId, Counts)]) -> Vec<Series> {
        let counted: HashMap<_, _> = counts.iter().copied().collect();
        let of = |id: RuleId| counted.get(&id).copied().unwrap_or_default();
        let mut sums: BTreeMap<(&str, Action), Counts> = self.removed.clone();
        for (id, series) in &self.shared {
            *sums.entry(*series).or_default() += of(*id);
        }
        let mut all = Vec::new();
        for shown in rule_set.iter().filter(|shown| self.own.contains(&shown.id)) {
            let label = format!("{}-{}", shown.source.name(), shown.id.0);
            all.push((label, shown.rule.action(), of(shown.id)));
        }
        let sums = sums.into_iter();
        all.extend(sums.map(|((label, action), counts)| (label.to_owned(), action, counts)));
        let mut series: BTreeMap<(String, &'static str), Counts> = BTreeMap::new();
        for (label, action, counts) in all {
            for (action, part) in parts(action, counts) {
                *series.entry((label.clone(), action)).or_default() += part;
            }
        }
        series
            .into_iter()
            .map(|((rule, action), counts)| Series {
                rule,
                action,
                packets: counts.packets,
                bytes: counts.bytes,
            })
            .collect()
    }
}

/// Splits the counters by action: a limit drops some of its packets and passes the others.
fn parts(action: Action, counts: Counts) -> Vec<(&'static str, Counts)> {
    let of = |packets, bytes| Counts {
        packets,
        bytes,
        ..Counts::default()
    };
    match action {
        Action::Limit => {
            let passed = of(
                counts.packets.saturating_sub(counts.dropped_packets),
                counts.bytes.saturating_sub(counts.dropped_bytes),
            );
            let dropped = of(counts.dropped_packets, counts.dropped_bytes);
            vec![("pass", passed), ("drop", dropped)]
        }
        Action::Drop | Action::Pass | Action::Count => {
            vec![(action.name(), of(counts.packets, counts.bytes))]
        }
    }
}
