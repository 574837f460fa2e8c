// SPDX-License-Identifier: AGPL-3.0-only
//! Events of runtime rules and blackholes for the history: the differences between two rule sets.

use std::collections::HashSet;

use super::RuleSet;
use crate::firewall::rule_set::RuleEntry;
use crate::store::event_log;
use crate::types::event::EventKind;
use crate::types::rule::RuleId;

/// One change has at most this many events; the last one has the number of the others.
const MAX_EVENTS: usize = 10;

/// Records the runtime rules that were added.
pub(super) fn record_added(before: &RuleSet, after: &RuleSet) {
    record(
        EventKind::RuleAdded,
        rules(before.runtime(), after.runtime()),
    );
}

/// Records the runtime rules that expired.
pub(super) fn record_expired(before: &[RuleEntry], after: &RuleSet) {
    record(EventKind::RuleExpired, rules(after.runtime(), before));
}

/// Records the blackholes that appeared.
pub(super) fn record_blackholes(before: &RuleSet, after: &RuleSet) {
    let old: HashSet<_> = before
        .blackholes()
        .map(|prefix| prefix.to_string())
        .collect();
    let new = after.blackholes().map(|prefix| prefix.to_string());
    record(
        EventKind::Blackhole,
        new.filter(|prefix| !old.contains(prefix)),
    );
}

/// Returns the rules of the second list that the first one does not have.
fn rules<'a>(
    without: &'a [RuleEntry],
    of: &'a [RuleEntry],
) -> impl Iterator<Item = String> + use<'a> {
    let known: HashSet<RuleId> = without.iter().map(|entry| entry.id).collect();
    let new = of.iter().filter(move |entry| !known.contains(&entry.id));
    new.map(|entry| format!("{}: {}", entry.id.0, entry.rule))
}

fn record(kind: EventKind, texts: impl Iterator<Item = String>) {
    let mut texts = texts.peekable();
    for text in texts.by_ref().take(MAX_EVENTS) {
        event_log::record(kind, &text);
    }
    let others = texts.count();
    if others > 0 {
        event_log::record(kind, &format!("and {others} more"));
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;
    use crate::firewall::rule_syntax;
    use crate::types::prefix::Prefix;
    use crate::types::rule::{Action, PatternCache, Rule};

    fn rule(line: &str) -> Rule {
        let words = rule_syntax::parse(line, []).unwrap().0;
        words.rule(&mut PatternCache::default()).unwrap()
    }

    fn texts(kind: EventKind) -> Vec<String> {
        let recorded = event_log::recorded().into_iter();
        recorded
            .map(|(recorded, text)| {
                assert_eq!(recorded, kind);
                text
            })
            .collect()
    }

    #[test]
    fn rules_and_blackholes_are_recorded_once() {
        let now = Instant::now();
        let mut rules = RuleSet::default();
        let empty = rules.clone();
        let lines = ["--src 192.0.2.0/24 --ttl 5s", "--src 198.51.100.0/24"];
        rules.add(lines.map(rule).into(), now).unwrap();
        record_added(&empty, &rules);
        let added = texts(EventKind::RuleAdded);
        assert!(
            added[0].starts_with("1: ") && added[0].contains("192.0.2.0/24"),
            "{added:?}"
        );
        assert_eq!(added.len(), 2);
        record_added(&rules.clone(), &rules);
        assert_eq!(texts(EventKind::RuleAdded), [""; 0]);

        let before = rules.runtime().to_vec();
        rules.expire(now + Duration::from_secs(6));
        record_expired(&before, &rules);
        let expired = texts(EventKind::RuleExpired);
        assert!(expired[0].contains("192.0.2.0/24"), "{expired:?}");
        assert_eq!(expired.len(), 1);

        let holes: Vec<Prefix> = (0..15u8)
            .map(|n| format!("203.0.113.{n}").parse().unwrap())
            .collect();
        let before = rules.clone();
        rules.set_blackholes(&holes, Action::Drop);
        record_blackholes(&before, &rules);
        let recorded = texts(EventKind::Blackhole);
        assert!(
            recorded[..MAX_EVENTS].contains(&"203.0.113.0/32".to_owned()),
            "{recorded:?}"
        );
        assert_eq!(recorded[MAX_EVENTS..], ["and 5 more"]);
        let before = rules.clone();
        rules.set_blackholes(&holes[1..], Action::Drop);
        record_blackholes(&before, &rules);
        assert_eq!(texts(EventKind::Blackhole), [""; 0]);
    }
}
