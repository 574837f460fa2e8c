// SPDX-License-Identifier: AGPL-3.0-only
//! Random rules against random frames, through the BPF program.

use std::collections::BTreeMap;

use rfm::flowspec::{FlowFamily, FlowRejectReason, FlowRule};
use rfm::types::rule::{Action, KernelRule, Per, RuleId};

use crate::fixture::{Fixture, Verdict, fixture};
use crate::packet::Packet;
use crate::{Random, draw, frame, rfc};

const RULES: usize = 500;
const FRAMES: usize = 10_000;

struct Drawn {
    family: FlowFamily,
    nlri: Vec<u8>,
    rule: FlowRule,
    kernel: KernelRule,
}

/// Draws rules that are not rejected, in their order; checks that the others are rejected for a reason.
fn rules(random: &mut Random, frames: &[(Vec<u8>, Packet)], actions: &[Action]) -> Vec<Drawn> {
    let mut rules = Vec::new();
    while rules.len() < RULES {
        let family = draw::family(random);
        let nlri = draw::rule(random, family);
        let rule = FlowRule::decode(family, &nlri).expect("a valid rule");
        match rule.to_match() {
            Ok(matcher) => {
                let kernel = KernelRule {
                    id: RuleId(rules.len() as u64),
                    matcher,
                    action: random.of(actions),
                    rate: None,
                    burst: None,
                    per: Per::Rule,
                };
                rules.push(Drawn {
                    family,
                    nlri,
                    rule,
                    kernel,
                });
            }
            Err(FlowRejectReason::Unmatchable) => {
                let mut packets = frames.iter().map(|(_, packet)| packet);
                let matching = packets.find(|packet| rfc::matches(family, &nlri, packet));
                assert!(matching.is_none(), "{rule}: {matching:?}");
            }
            Err(FlowRejectReason::Offset) => assert!(rule.to_string().contains("offset")),
            Err(FlowRejectReason::TcpFlags) => assert!(rule.to_string().contains("0x")),
            Err(reason) => panic!("{rule}: {reason}"),
        }
    }
    rules.sort_by(|a, b| a.rule.cmp(&b.rule));
    rules
}

fn frames(random: &mut Random) -> Vec<(Vec<u8>, Packet)> {
    let mut draw = || {
        let bytes = frame::draw(random);
        let packet = Packet::read(&bytes);
        (bytes, packet)
    };
    (0..FRAMES).map(|_| draw()).collect()
}

fn load(rules: &[Drawn]) -> Option<Fixture> {
    let kernel: Vec<_> = rules.iter().map(|rule| rule.kernel.clone()).collect();
    let mut fixture = fixture()?;
    fixture.firewall.replace(&kernel).expect("rules");
    Some(fixture)
}

/// Checks each verdict, and at the end the number of packets of each rule.
fn compare(seed: u64, actions: &[Action]) {
    let mut random = Random(seed);
    let frames = frames(&mut random);
    let rules = rules(&mut random, &frames, actions);
    let Some(fixture) = load(&rules) else {
        return;
    };
    let mut expected: BTreeMap<u64, u64> = BTreeMap::new();
    let mut dropped = 0;
    for (bytes, packet) in &frames {
        let mut verdict = Verdict::Pass;
        for rule in &rules {
            if !rfc::matches(rule.family, &rule.nlri, packet) {
                continue;
            }
            *expected.entry(rule.kernel.id.0).or_default() += 1;
            match rule.kernel.action {
                Action::Count => continue,
                Action::Drop => verdict = Verdict::Drop,
                Action::Pass | Action::Limit => {}
            }
            break;
        }
        assert_eq!(fixture.verdict(bytes), verdict, "{packet:?}: {bytes:02x?}");
        dropped += usize::from(verdict == Verdict::Drop);
    }
    let counted: BTreeMap<u64, u64> = fixture.packets().into_iter().collect();
    for rule in &rules {
        let [got, expected] = [&counted, &expected].map(|all| all.get(&rule.kernel.id.0));
        assert_eq!(got, expected, "{}: {:02x?}", rule.rule, rule.nlri);
    }
    let matches: u64 = expected.values().sum();
    println!(
        "{matches} matches of {} rules, {dropped} dropped",
        expected.len()
    );
    assert!(matches > FRAMES as u64 / 2, "{matches}");
}

#[test]
fn each_rule_counts_the_packets_that_it_matches() {
    compare(0x5eed_0001, &[Action::Count]);
}

#[test]
fn the_first_rule_in_the_order_decides() {
    let actions = [&[Action::Count; 30][..], &[Action::Drop, Action::Pass]].concat();
    compare(0x5eed_0002, &actions);
}
