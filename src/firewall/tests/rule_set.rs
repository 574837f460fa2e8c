// SPDX-License-Identifier: AGPL-3.0-only

use std::time::{Duration, Instant};

use super::{rule, rules};
use crate::firewall::rule_set::{MAX_RULES, RuleEntry, RuleSet, RuleSetError};
use crate::types::prefix::Prefix;
use crate::types::rule::MAX_PATTERNS;
use crate::types::rule::{Action, Match, Rule, RuleId, RuleSource};

const SECOND: Duration = Duration::from_secs(1);

fn ids(rule_set: &RuleSet, now: Instant) -> Vec<u64> {
    let compiled = rule_set.compile(now, |_| vec![]);
    compiled.iter().map(|rule| rule.id.0).collect()
}

fn prefixes(texts: &[&str]) -> Vec<Prefix> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

/// Returns `count` rules with a prefix each.
fn many(count: usize) -> Vec<Rule> {
    let prefix = |n: usize| Prefix::new(std::net::Ipv4Addr::from_bits(n as u32).into(), 32);
    let plain = rule("--src 0.0.0.0/32");
    let all = (0..count).map(|n| Rule {
        src: Some(prefix(n)),
        ..plain.clone()
    });
    all.collect()
}

#[test]
fn the_order_is_allow_runtime_config_blackhole() {
    let (mut rule_set, now) = (RuleSet::default(), Instant::now());
    rule_set
        .set_config(&rules(&["--src ::1", "--src ::2"]), now)
        .unwrap();
    rule_set.add(rules(&["--src ::3"]), now).unwrap();
    rule_set.set_blackholes(&prefixes(&["192.0.2.1"]), Action::Count);
    let allow = Match {
        src: Some("::4".parse().unwrap()),
        ..Match::default()
    };
    assert!(rule_set.set_allow(vec![allow.clone()]));
    assert!(!rule_set.set_allow(vec![allow]));
    assert_eq!(ids(&rule_set, now), [5, 3, 1, 2, 4]);
    let compiled = rule_set.compile(now, |_| vec![]);
    let actions: Vec<_> = compiled.iter().map(|rule| rule.action).collect();
    use Action::{Count, Drop, Pass};
    assert_eq!(actions, [Pass, Drop, Drop, Drop, Count]);
    assert_eq!(
        compiled[4].matcher.dst,
        Some("192.0.2.1/32".parse().unwrap())
    );
    assert_eq!(
        RuleSource::ALL.map(|source| rule_set.count(source)),
        [1, 1, 2, 0, 1, 0]
    );
}

#[test]
fn what_stays_keeps_its_number_and_no_number_comes_again() {
    let (mut rule_set, now) = (RuleSet::default(), Instant::now());
    rule_set
        .set_config(&rules(&["--src ::1", "--src ::1", "--src ::2"]), now)
        .unwrap();
    assert_eq!(ids(&rule_set, now), [1, 2, 3]);
    rule_set
        .set_config(&rules(&["--src ::2", "--src ::9", "--src ::1"]), now)
        .unwrap();
    assert_eq!(ids(&rule_set, now), [3, 4, 1]);
    let added = rule_set
        .add(rules(&["--dst ::1", "--dst ::2", "--dst ::1"]), now)
        .unwrap();
    assert_eq!(added, [5, 6, 5].map(RuleId), "twice the same is once");
    assert_eq!(rule_set.flush(), 2);
    let added = rule_set.add(rules(&["--dst ::2"]), now).unwrap();
    assert_eq!(added, [RuleId(7)]);
    rule_set.set_blackholes(&prefixes(&["::5", "::6"]), Action::Drop);
    rule_set.set_blackholes(&prefixes(&["::6", "::7"]), Action::Drop);
    assert_eq!(ids(&rule_set, now), [7, 3, 4, 1, 9, 10]);
    rule_set.set_blackholes(&prefixes(&["::6"]), Action::Count);
    assert_eq!(ids(&rule_set, now), [7, 3, 4, 1, 11], "counted again");
}

#[test]
fn rules_end_by_themselves() {
    let (mut rule_set, start) = (RuleSet::default(), Instant::now());
    rule_set
        .set_config(&rules(&["--src ::1 --ttl 5s", "--src ::2"]), start)
        .unwrap();
    rule_set
        .add(rules(&["--src ::3 --ttl 10s", "--src ::4"]), start)
        .unwrap();
    assert_eq!(rule_set.next_expiry(start), Some(start + 5 * SECOND));
    assert!(!rule_set.expire(start + 4 * SECOND));
    let at = start + 5 * SECOND;
    assert!(rule_set.expire(at));
    assert!(!rule_set.expire(at), "that is no news");
    assert_eq!(ids(&rule_set, at), [3, 4, 2]);
    // a reload of the same file does not add it again, but a changed time to live does
    rule_set
        .set_config(&rules(&["--src ::1 --ttl 5s", "--src ::2"]), at)
        .unwrap();
    assert_eq!(ids(&rule_set, at), [3, 4, 2]);
    rule_set
        .set_config(&rules(&["--src ::1 --ttl 6s", "--src ::2"]), at)
        .unwrap();
    assert_eq!(ids(&rule_set, at), [3, 4, 1, 2]);

    // a repeated request restarts the time
    let again = rule_set.add(rules(&["--src ::3 --ttl 10s"]), at).unwrap();
    assert_eq!(again, [RuleId(3)]);
    let later = start + 12 * SECOND;
    rule_set.expire(later);
    assert_eq!(ids(&rule_set, later), [3, 4, 2]);
    let end = start + 15 * SECOND;
    assert!(rule_set.expire(end));
    assert_eq!(rule_set.runtime().len(), 1);
    assert_eq!(rule_set.next_expiry(end), None);
}

#[test]
fn rules_of_before_a_restart_never_share_a_number() {
    let (mut before, now) = (RuleSet::default(), Instant::now());
    before
        .add(rules(&["--src ::1", "--src ::2", "--src ::3"]), now)
        .unwrap();
    let mut rule_set = RuleSet::default();
    rule_set
        .set_config(&rules(&["--src ::8", "--src ::9"]), now)
        .unwrap();
    assert_eq!(rule_set.restore(before.runtime().to_vec()), 0);
    assert_eq!(ids(&rule_set, now), [4, 5, 3, 1, 2]);
    let added = rule_set.add(rules(&["--src ::4"]), now).unwrap();
    assert_eq!(added, [RuleId(6)]);
}

#[test]
fn the_numbers_of_a_state_file_use_up_none() {
    for id in [u64::from(u32::MAX), u64::MAX] {
        let (mut rule_set, now) = (RuleSet::default(), Instant::now());
        rule_set.set_config(&rules(&["--src ::8"]), now).unwrap();
        let entry = RuleEntry {
            id: RuleId(id),
            rule: rule("--src ::1"),
            expires: None,
        };
        assert_eq!(rule_set.restore(vec![entry]), 0);
        assert!(rule_set.set_allow(vec![Match::default()]));
        assert_eq!(
            rule_set.add(rules(&["--src ::2"]), now),
            Ok(vec![RuleId(4)]),
            "{id}"
        );
        assert_eq!(ids(&rule_set, now), [3, 2, 4, 1], "{id}");
    }
}

#[test]
fn a_state_file_with_more_rules_than_fit_is_restored_as_far_as_there_is_room() {
    let (mut before, now) = (RuleSet::default(), Instant::now());
    before.add(many(MAX_RULES), now).unwrap();
    let mut rule_set = RuleSet::default();
    rule_set
        .set_config(&rules(&["--dst ::1", "--dst ::2"]), now)
        .unwrap();
    assert_eq!(rule_set.restore(before.runtime().to_vec()), 2);
    assert_eq!(rule_set.count(RuleSource::Runtime), MAX_RULES - 2);

    let entries = (0..600).map(|n| RuleEntry {
        id: RuleId(n + 1),
        rule: rule(&format!("--src ::1 --interface eth{n}")),
        expires: None,
    });
    let mut rule_set = RuleSet::default();
    assert_eq!(rule_set.restore(entries.collect()), 600 - 2 * MAX_PATTERNS);
    assert!(rule_set.add(rules(&["--src ::2"]), now).is_ok());
}

#[test]
fn what_cannot_be_taken_out_is_told_why() {
    let (mut rule_set, now) = (RuleSet::default(), Instant::now());
    rule_set.set_config(&rules(&["--src ::1"]), now).unwrap();
    rule_set
        .add(rules(&["--src ::2", "--src ::3"]), now)
        .unwrap();
    for (ids, expected) in [
        (vec![9], RuleSetError::Unknown(RuleId(9))),
        (vec![2, 9], RuleSetError::Unknown(RuleId(9))),
        (
            vec![1],
            RuleSetError::NotRuntime(RuleId(1), RuleSource::Config),
        ),
    ] {
        let ids: Vec<_> = ids.into_iter().map(RuleId).collect();
        assert_eq!(rule_set.remove(&ids), Err(expected));
    }
    assert_eq!(ids(&rule_set, now), [2, 3, 1], "all or nothing");
    rule_set.remove(&[RuleId(2)]).unwrap();
    assert_eq!(ids(&rule_set, now), [3, 1]);
}

#[test]
fn there_is_an_end_of_room() {
    let (mut rule_set, now) = (RuleSet::default(), Instant::now());
    assert_eq!(rule_set.add(many(MAX_RULES), now).unwrap().len(), MAX_RULES);
    let before = rule_set.clone();
    let more = rule_set.add(rules(&["--dst ::1"]), now);
    assert_eq!(more, Err(RuleSetError::TooMany(MAX_RULES + 1)));
    rule_set = before;
    let left_out = rule_set.set_blackholes(&prefixes(&["::1", "::2"]), Action::Drop);
    assert_eq!(left_out, 2);
    assert_eq!(rule_set.count(RuleSource::Blackhole), 0);
    assert_eq!(
        rule_set.add(many(10), now).unwrap().len(),
        10,
        "they are there already"
    );
}

#[test]
fn patterns_mean_the_interfaces_there_are() {
    let (mut rule_set, now) = (RuleSet::default(), Instant::now());
    rule_set
        .add(
            rules(&[
                "--interface eth.*",
                "--src ::1 --interface eth.*",
                "--src ::2",
            ]),
            now,
        )
        .unwrap();
    let mut asked = 0;
    let compiled = rule_set.compile(now, |pattern| {
        assert_eq!(pattern.as_str(), "eth.*");
        asked += 1;
        vec![3, 4]
    });
    assert_eq!(asked, 1);
    let interfaces: Vec<_> = compiled
        .into_iter()
        .map(|rule| rule.matcher.interfaces)
        .collect();
    assert_eq!(interfaces, [Some(vec![3, 4]), Some(vec![3, 4]), None]);
    assert_eq!(rule_set.patterns().len(), 1);
}
