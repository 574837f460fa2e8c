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
