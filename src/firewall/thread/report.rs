// SPDX-License-Identifier: AGPL-3.0-only
//! The replies of the thread to read requests.

use std::collections::HashMap;
use std::time::Instant;

use super::super::backend::Counts;
use super::super::handle::{FirewallReport, ListedRule, Request, RuleList};
use super::super::rule_set::{RuleBody, RuleEntry};
use super::Worker;
use crate::bpf::xdp::source_limits::MAX_BUCKETS;
use crate::types::rule::{Action, Rule, RuleSource};

impl Worker {
    pub(super) fn report(&self, request: Request, now: Instant) {
        match request {
            Request::List { from, limit, reply } => {
                drop(reply.try_send(self.list(from, limit, now)));
            }
            Request::Report(reply) => {
                let report = FirewallReport {
                    series: self.rule_series.series(&self.rule_set, &self.counts()),
                    rules: RuleSource::ALL.map(|source| self.rule_set.count(source)),
                    attachments: self.attachments.all(),
                    dropped: self.dropped.clone(),
                    stats: self.backend.stats().unwrap_or_default(),
                    max_sources: u64::from(MAX_BUCKETS),
                    idle_patterns: self.idle_patterns(),
                };
                drop(reply.try_send(report));
            }
            Request::Edit { .. }
            | Request::Change { .. }
            | Request::Guard { .. }
            | Request::Export(_)
            | Request::End => {}
        }
    }

    /// Returns the counters of the guard's rules, in their order.
    pub(super) fn guard_counts(&self) -> Vec<Counts> {
        let counted: HashMap<_, _> = self.counts().into_iter().collect();
        let of = |id| counted.get(&id).copied().unwrap_or_default();
        self.rule_set.guard().map(of).collect()
    }

    /// Returns the patterns of rules that match no interface now.
    fn idle_patterns(&self) -> Vec<String> {
        let patterns = self.rule_set.patterns().into_iter();
        let idle = patterns.filter(|pattern| self.attachments.resolve(pattern).is_empty());
        idle.map(|pattern| pattern.as_str().to_owned()).collect()
    }

    fn list(&self, from: usize, limit: usize, now: Instant) -> RuleList {
        let counted: HashMap<_, _> = self.counts().into_iter().collect();
        let rules = self.rule_set.iter().skip(from).take(limit).map(|shown| {
            let (rule, expires) = match shown.rule {
                RuleBody::Entry(RuleEntry { rule, expires, .. }) => (rule.clone(), *expires),
                RuleBody::Allow(matcher) => (matcher.to_rule(Action::Pass), None),
                RuleBody::Blackhole(dst, action) => {
                    let dst = Some(dst);
                    let rule = Rule {
                        dst,
                        action,
                        ..Rule::default()
                    };
                    (rule, None)
                }
            };
            ListedRule {
                id: shown.id,
                source: shown.source,
                rule,
                counts: counted.get(&shown.id).copied().unwrap_or_default(),
                left: expires.map(|at| at.saturating_duration_since(now)),
            }
        });
        RuleList {
            rules: rules.collect(),
            total: RuleSource::ALL
                .iter()
                .map(|&source| self.rule_set.count(source))
                .sum(),
        }
    }
}
