// SPDX-License-Identifier: AGPL-3.0-only
//! All rules by their source, with their numbers and times to live. Pure: `now` is an argument.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use crate::types::interface_pattern::Pattern;
use crate::types::prefix::Prefix;
use crate::types::rule::fields::MatchField;
use crate::types::rule::ranges::Ranges;
use crate::types::rule::{
    Action, KernelRule, MAX_PATTERNS, Match, Per, Rule, RuleId, RuleKey, RuleSource,
};

/// The most rules of all sources except the allow list and the source check, which have their own limits.
pub const MAX_RULES: usize = 100_000;

/// The most rules of the guard.
pub const MAX_GUARD_RULES: usize = 1024;

/// The highest number that a rule of a state file keeps: with any file, 2³¹ rules can be added before the low
/// 32 bits, by which the kernel finds the buckets of a limit, repeat.
const MAX_RESTORED_ID: u64 = 1 << 31;

/// A rule with its number.
#[derive(Clone, Debug, PartialEq)]
pub struct RuleEntry {
    pub id: RuleId,
    pub rule: Rule,
    pub expires: Option<Instant>,
}

impl RuleEntry {
    fn is_expired(&self, now: Instant) -> bool {
        self.expires.is_some_and(|at| at <= now)
    }
}

/// A rule set. Cheap to clone: a clone from before a change undoes the change if it fails.
#[derive(Clone, Debug, Default)]
pub struct RuleSet {
    last: u64,
    allow: Arc<Vec<(RuleId, Match)>>,
    runtime: Arc<Vec<RuleEntry>>,
    config: Arc<Vec<RuleEntry>>,
    guard: Arc<Vec<RuleEntry>>,
    blackhole: Arc<Vec<(RuleId, Prefix)>>,
    blackhole_action: Option<Action>,
    source_check: Arc<Vec<RuleEntry>>,
    /// Rules that expired before this time have been removed.
    expired: Option<Instant>,
}

/// The reason why the rule set was not changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RuleSetError {
    /// The number of rules after the change.
    TooMany(usize),
    Patterns,
    Unknown(RuleId),
    /// Only runtime rules can be removed.
    NotRuntime(RuleId, RuleSource),
}

impl fmt::Display for RuleSetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooMany(count) => {
                write!(
                    f,
                    "expected at most {MAX_RULES} rules, got {count}: remove some, or replace them by \
                     shorter prefixes"
                )
            }
            Self::Patterns => write!(
                f,
                "expected at most {MAX_PATTERNS} different patterns of interfaces: use the same pattern in \
                 several rules"
            ),
            Self::Unknown(RuleId(id)) => {
                write!(f, "there is no rule {id} (see: rfm firewall list)")
            }
            Self::NotRuntime(RuleId(id), RuleSource::Config) => write!(
                f,
                "rule {id} is of the configuration: remove it there, and run rfm reload"
            ),
            Self::NotRuntime(RuleId(id), RuleSource::Blackhole) => write!(
                f,
                "rule {id} is a BGP route: it ends when the route is withdrawn"
            ),
            Self::NotRuntime(RuleId(id), RuleSource::SourceCheck) => write!(
                f,
                "rule {id} is of the source check: it depends on agent.enrich.source_check"
            ),
            Self::NotRuntime(RuleId(id), RuleSource::Guard) => {
                write!(
                    f,
                    "rule {id} is of the guard: remove it with rfm guard stop"
                )
            }
            Self::NotRuntime(RuleId(id), _) => {
                write!(
                    f,
                    "rule {id} is of the allow list: change agent.firewall.allow, and run rfm reload"
                )
            }
        }
    }
}

/// One rule of any source.
pub struct AnyRule<'a> {
    pub id: RuleId,
    pub source: RuleSource,
    pub rule: RuleBody<'a>,
}

pub enum RuleBody<'a> {
    Entry(&'a RuleEntry),
    Allow(&'a Match),
    Blackhole(Prefix, Action),
}

impl RuleBody<'_> {
    pub fn action(&self) -> Action {
        match self {
            Self::Entry(entry) => entry.rule.action,
            Self::Allow(_) => Action::Pass,
            Self::Blackhole(_, action) => *action,
        }
    }
}

impl RuleSet {
    fn number(&mut self) -> RuleId {
        self.last += 1;
        RuleId(self.last)
    }

    pub fn count(&self, source: RuleSource) -> usize {
        match source {
            RuleSource::Allow => self.allow.len(),
            RuleSource::Runtime => self.runtime.len(),
            RuleSource::Config => self.config.len(),
            RuleSource::Guard => self.guard.len(),
            RuleSource::Blackhole => self.blackhole.len(),
            RuleSource::SourceCheck => self.source_check.len(),
        }
    }

    fn check_room(&self) -> Result<(), RuleSetError> {
        let count = self.runtime.len() + self.config.len() + self.blackhole.len();
        if count > MAX_RULES {
            return Err(RuleSetError::TooMany(count));
        }
        let entries = self.runtime.iter().chain(&*self.config);
        let patterns = entries.filter_map(|entry| entry.rule.interface.as_ref());
        let distinct: HashSet<_> = patterns.map(Pattern::as_str).collect();
        match distinct.len() > 2 * MAX_PATTERNS {
            true => Err(RuleSetError::Patterns),
            false => Ok(()),
        }
    }

    /// Replaces the rules of the configuration. A rule that existed keeps its number and its remaining time.
    pub fn set_config(&mut self, rules: &[Rule], now: Instant) -> Result<(), RuleSetError> {
        let mut before: HashMap<RuleKey<'_>, Vec<&RuleEntry>> = HashMap::new();
        let old = self.config.clone();
        for entry in old.iter().rev() {
            before.entry(entry.rule.key()).or_default().push(entry);
        }
        let mut entries = Vec::with_capacity(rules.len());
        for rule in rules {
            let known = before.get_mut(&rule.key()).and_then(Vec::pop);
            entries.push(match known {
                Some(entry) if entry.rule.ttl == rule.ttl => entry.clone(),
                known => RuleEntry {
                    id: match known {
                        Some(entry) => entry.id,
                        None => self.number(),
                    },
                    rule: rule.clone(),
                    expires: rule.ttl.map(|ttl| now + ttl),
                },
            });
        }
        self.config = Arc::new(entries);
        self.check_room()
    }

    /// Replaces the allow list. Returns whether it changed.
    pub fn set_allow(&mut self, matches: Vec<Match>) -> bool {
        let same = self.allow.iter().map(|(_, matcher)| matcher).eq(&matches);
        if same {
            return false;
        }
        let old = self.allow.clone();
        let mut before: HashMap<_, _> = old
            .iter()
            .map(|(id, matcher)| (allow_key(matcher), *id))
            .collect();
        let mut allow = Vec::with_capacity(matches.len());
        let known: Vec<_> = matches
            .iter()
            .map(|matcher| before.remove(&allow_key(matcher)))
            .collect();
        for (matcher, id) in matches.into_iter().zip(known) {
            allow.push((id.unwrap_or_else(|| self.number()), matcher));
        }
        self.allow = Arc::new(allow);
        true
    }

    /// Replaces the blackholes and their action. Returns how many did not fit.
    pub fn set_blackholes(&mut self, prefixes: &[Prefix], action: Action) -> usize {
        let room = MAX_RULES - (self.runtime.len() + self.config.len()).min(MAX_RULES);
        let old = self.blackhole.clone();
        // a rule with another action is a new rule, and its counters start at 0
        let kept = self.blackhole_action == Some(action);
        let before: HashMap<_, _> = old
            .iter()
            .filter(|_| kept)
            .map(|&(id, p)| (p, id))
            .collect();
        let mut holes = Vec::with_capacity(prefixes.len().min(room));
        for &prefix in prefixes.iter().take(room) {
            let id = match before.get(&prefix) {
                Some(&id) => id,
                None => self.number(),
            };
            holes.push((id, prefix));
        }
        self.blackhole = Arc::new(holes);
        self.blackhole_action = Some(action);
        prefixes.len().saturating_sub(room)
    }

    /// Replaces the rules of the source check, which limits their number itself. Returns whether they changed.
    pub fn set_source_check(&mut self, rules: &[Rule]) -> bool {
        let entries = self.renumber(&self.source_check.clone(), rules);
        entries.map(|entries| self.source_check = entries).is_some()
    }

    /// Replaces the rules of the guard. Returns whether they changed.
    pub fn set_guard(&mut self, rules: &[Rule]) -> bool {
        let rules = &rules[..rules.len().min(MAX_GUARD_RULES)];
        let entries = self.renumber(&self.guard.clone(), rules);
        entries.map(|entries| self.guard = entries).is_some()
    }

    /// Returns the numbers of the guard's rules, in their order.
    pub fn guard(&self) -> impl Iterator<Item = RuleId> {
        self.guard.iter().map(|entry| entry.id)
    }

    /// Returns the entries of `rules`, which keep the numbers of equal rules; `None` if nothing changed.
    fn renumber(&mut self, old: &[RuleEntry], rules: &[Rule]) -> Option<Arc<Vec<RuleEntry>>> {
        if old.iter().map(|entry| &entry.rule).eq(rules) {
            return None;
        }
        let mut before: HashMap<RuleKey<'_>, RuleId> = HashMap::new();
        before.extend(old.iter().map(|entry| (entry.rule.key(), entry.id)));
        let mut entries = Vec::with_capacity(rules.len());
        for rule in rules {
            let id = match before.remove(&rule.key()) {
                Some(id) => id,
                None => self.number(),
            };
            entries.push(RuleEntry {
                id,
                rule: rule.clone(),
                expires: None,
            });
        }
        Some(Arc::new(entries))
    }

    /// Adds runtime rules, all or none. A rule that exists keeps its number and place; its time to live starts again.
    pub fn add(&mut self, rules: Vec<Rule>, now: Instant) -> Result<Vec<RuleId>, RuleSetError> {
        let there = self.runtime.clone();
        let mut places: HashMap<RuleKey<'_>, usize> =
            HashMap::with_capacity(there.len() + rules.len());
        places.extend(there.iter().enumerate().map(|(at, e)| (e.rule.key(), at)));
        let mut entries = Vec::clone(&there);
        let mut ids = Vec::with_capacity(rules.len());
        for rule in &rules {
            let expires = rule.ttl.map(|ttl| now + ttl);
            if let Some(&at) = places.get(&rule.key()) {
                entries[at].rule.ttl = rule.ttl;
                entries[at].expires = expires;
                ids.push(entries[at].id);
                continue;
            }
            let id = self.number();
            places.insert(rule.key(), entries.len());
            entries.push(RuleEntry {
                id,
                rule: rule.clone(),
                expires,
            });
            ids.push(id);
        }
        self.runtime = Arc::new(entries);
        self.check_room().map(|()| ids)
    }

    /// Restores the runtime rules of a previous run. Each keeps its number, unless another rule has it by
    /// now or it is above [`MAX_RESTORED_ID`]. Returns how many rules did not fit.
    pub fn restore(&mut self, entries: Vec<RuleEntry>) -> usize {
        let wanted = entries.len();
        let room = MAX_RULES.saturating_sub(self.config.len() + self.blackhole.len());
        let config = self.config.iter();
        let config = config.filter_map(|entry| entry.rule.interface.as_ref());
        let mut patterns: HashSet<String> = config.map(named).collect();
        let mut has_room = |entry: &RuleEntry| {
            let Some(pattern) = &entry.rule.interface else {
                return true;
            };
            let known = patterns.contains(pattern.as_str());
            known || patterns.len() < 2 * MAX_PATTERNS && patterns.insert(named(pattern))
        };
        let entries = entries.into_iter().filter(|entry| has_room(entry));
        let mut entries: Vec<RuleEntry> = entries.take(room).collect();
        let taken = self.last;
        let keeps = |entry: &RuleEntry| entry.id.0 > taken && entry.id.0 <= MAX_RESTORED_ID;
        let kept = entries.iter().filter(|entry| keeps(entry));
        self.last = kept.map(|entry| entry.id.0).fold(taken, u64::max);
        for entry in entries.iter_mut().filter(|entry| !keeps(entry)) {
            entry.id = self.number();
        }
        let left_out = wanted - entries.len();
        self.runtime = Arc::new(entries);
        left_out
    }

    /// Removes runtime rules, all or none.
    pub fn remove(&mut self, ids: &[RuleId]) -> Result<(), RuleSetError> {
        let wanted: HashSet<RuleId> = ids.iter().copied().collect();
        let there: HashSet<RuleId> = self.runtime.iter().map(|entry| entry.id).collect();
        if let Some(&id) = ids.iter().find(|id| !there.contains(id)) {
            let found = self.iter().find(|shown| shown.id == id);
            return Err(match found {
                Some(shown) => RuleSetError::NotRuntime(id, shown.source),
                None => RuleSetError::Unknown(id),
            });
        }
        Arc::make_mut(&mut self.runtime).retain(|entry| !wanted.contains(&entry.id));
        Ok(())
    }

    /// Removes all runtime rules; returns their number.
    pub fn flush(&mut self) -> usize {
        std::mem::take(&mut self.runtime).len()
    }

    /// Removes expired rules; returns whether there was one. Rules of the configuration stay in the set: otherwise the
    /// next reload would add them again.
    pub fn expire(&mut self, now: Instant) -> bool {
        let since = self.expired.replace(now);
        let is_news = |entry: &RuleEntry| {
            let past = |at| since.is_some_and(|since| at <= since);
            entry.expires.is_some_and(|at| at <= now && !past(at))
        };
        let runtime = self.runtime.iter().any(|entry| entry.is_expired(now));
        if runtime {
            Arc::make_mut(&mut self.runtime).retain(|entry| !entry.is_expired(now));
        }
        runtime || self.config.iter().any(is_news)
    }

    /// Returns the time at which the next rule expires, after `now`.
    pub fn next_expiry(&self, now: Instant) -> Option<Instant> {
        let entries = self.runtime.iter().chain(&*self.config);
        entries
            .filter_map(|e| e.expires)
            .filter(|at| *at > now)
            .min()
    }

    /// Returns the runtime rules, which later changes leave as they are.
    pub fn shared_runtime(&self) -> Arc<Vec<RuleEntry>> {
        self.runtime.clone()
    }

    /// Returns the prefixes of the blackholes.
    pub fn blackholes(&self) -> impl Iterator<Item = Prefix> {
        self.blackhole.iter().map(|(_, prefix)| *prefix)
    }

    /// Returns the runtime rules.
    pub fn runtime(&self) -> &[RuleEntry] {
        &self.runtime
    }

    /// Returns all rules in the order of priority.
    pub fn iter(&self) -> impl Iterator<Item = AnyRule<'_>> {
        let entries = |source, entries| {
            let entries: &[RuleEntry] = entries;
            entries.iter().map(move |entry| AnyRule {
                id: entry.id,
                source,
                rule: RuleBody::Entry(entry),
            })
        };
        let allow = self.allow.iter().map(|(id, matcher)| AnyRule {
            id: *id,
            source: RuleSource::Allow,
            rule: RuleBody::Allow(matcher),
        });
        let action = self.blackhole_action.unwrap_or(Action::Drop);
        let blackhole = self.blackhole.iter().map(move |&(id, prefix)| AnyRule {
            id,
            source: RuleSource::Blackhole,
            rule: RuleBody::Blackhole(prefix, action),
        });
        allow
            .chain(entries(RuleSource::Runtime, &self.runtime))
            .chain(entries(RuleSource::Config, &self.config))
            .chain(entries(RuleSource::Guard, &self.guard))
            .chain(blackhole)
            .chain(entries(RuleSource::SourceCheck, &self.source_check))
    }

    /// Returns the rules for the kernel; `resolve` returns the interfaces that a pattern matches now.
    pub fn compile(
        &self,
        now: Instant,
        mut resolve: impl FnMut(&Pattern) -> Vec<u32>,
    ) -> Vec<KernelRule> {
        let mut resolved: HashMap<&str, Vec<u32>> = HashMap::new();
        let mut compiled = Vec::with_capacity(self.allow.len() + self.runtime.len());
        for shown in self.iter() {
            let (matcher, action, limit) = match shown.rule {
                RuleBody::Entry(entry) if entry.is_expired(now) => continue,
                RuleBody::Entry(RuleEntry { rule, .. }) => {
                    let interfaces = rule.interface.as_ref().map(|pattern| {
                        let known = resolved.entry(pattern.as_str());
                        known.or_insert_with(|| resolve(pattern)).clone()
                    });
                    (rule.to_match(interfaces), rule.action, Some(rule))
                }
                RuleBody::Allow(matcher) => (matcher.clone(), Action::Pass, None),
                RuleBody::Blackhole(prefix, action) => {
                    let dst = Some(prefix);
                    let matcher = Match {
                        dst,
                        ..Match::default()
                    };
                    (matcher, action, None)
                }
            };
            compiled.push(KernelRule {
                id: shown.id,
                matcher,
                action,
                rate: limit.and_then(|rule| rule.rate),
                burst: limit.and_then(|rule| rule.burst),
                per: limit.map_or(Per::Rule, |rule| rule.per),
            });
        }
        compiled
    }

    /// Returns the patterns in all rules.
    pub fn patterns(&self) -> Vec<Pattern> {
        let entries = self.runtime.iter().chain(&*self.config);
        let entries = entries.chain(&*self.source_check);
        let mut patterns: Vec<Pattern> = Vec::new();
        for pattern in entries.filter_map(|entry| entry.rule.interface.as_ref()) {
            if !patterns.contains(pattern) {
                patterns.push(pattern.clone());
            }
        }
        patterns
    }
}

fn named(pattern: &Pattern) -> String {
    pattern.as_str().to_owned()
}

type AllowKey<'a> = (
    Option<Prefix>,
    Option<Prefix>,
    &'a [(MatchField, Arc<Ranges>)],
);

fn allow_key(matcher: &Match) -> AllowKey<'_> {
    (matcher.src, matcher.dst, matcher.fields())
}
