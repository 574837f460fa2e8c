// SPDX-License-Identifier: AGPL-3.0-only
//! What the thread tells of itself.

use std::collections::HashMap;
use std::time::Instant;

use super::super::book::{Entry, ShownRule};
use super::super::handle::{Listed, Listing, Report, Request};
use super::Worker;
use crate::types::rule::{Action, Origin, Rule};

impl Worker {
    pub(super) fn tell(&self, request: Request, now: Instant) {
        match request {
            Request::List { from, limit, reply } => {
                drop(reply.try_send(self.list(from, limit, now)));
            }
            Request::Report(reply) => {
                let report = Report {
                    series: self.ledger.series(&self.book, &self.counts()),
                    rules: Origin::ALL.map(|origin| self.book.count(origin)),
                    ports: self.ports.all(),
                    dropped: self.dropped.clone(),
                    tally: self.kernel.tally().unwrap_or_default(),
                };
                drop(reply.try_send(report));
            }
            Request::Edit { .. } | Request::Change { .. } | Request::Export(_) | Request::End => {}
        }
    }

    fn list(&self, from: usize, limit: usize, now: Instant) -> Listing {
        let counted: HashMap<_, _> = self.counts().into_iter().collect();
        let rules = self.book.iter().skip(from).take(limit).map(|shown| {
            let (rule, sport, expires) = match shown.rule {
                ShownRule::Entry(Entry { rule, expires, .. }) => (rule.clone(), None, *expires),
                ShownRule::Allow(what) => (what.to_rule(Action::Pass), what.sport, None),
                ShownRule::Blackhole(dst, action) => {
                    let dst = Some(dst);
                    let rule = Rule {
                        dst,
                        action,
                        ..Rule::default()
                    };
                    (rule, None, None)
                }
            };
            Listed {
                id: shown.id,
                origin: shown.origin,
                rule,
                sport,
                counts: counted.get(&shown.id).copied().unwrap_or_default(),
                left: expires.map(|at| at.saturating_duration_since(now)),
            }
        });
        Listing {
            rules: rules.collect(),
            total: Origin::ALL
                .iter()
                .map(|&origin| self.book.count(origin))
                .sum(),
        }
    }
}
