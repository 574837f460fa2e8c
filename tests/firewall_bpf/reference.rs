// SPDX-License-Identifier: AGPL-3.0-only
//! Random rules over all fields against random frames, compared with a matcher that is written from the text of
//! RFC 8955 section 4 and RFC 8956 and shares no code with rfm: it reads the bytes of the frame, and its rules are
//! lists of numbers that reach rfm as the words of an operator.

mod frame;
mod random;
mod rfc;

use std::collections::BTreeMap;

use rfm::types::rule::KernelRule;

use crate::fixture::{Fixture, Verdict, fixture_of, rule};
pub use random::{NETWORKS, Random};
use rfc::{Component, Meaning, Rule};

const SETS: usize = 64;
const FRAMES: usize = 64;

fn prefix(random: &mut Random, is_v4: bool) -> String {
    let network = NETWORKS[random.below(2) + if is_v4 { 0 } else { 2 }];
    match (is_v4, random.below(3)) {
        (true, 0) => format!("{network}.0.0/16"),
        (true, 1) => format!("{network}.0.{}/32", random.below(3)),
        (true, _) => "0.0.0.0/0".to_owned(),
        (false, 0) => format!("{network}:/48"),
        (false, 1) => format!("{network}:{}/128", random.below(3)),
        (false, _) => "::/0".to_owned(),
    }
}

/// Values that frames have, and the borders of what the index calls a page.
fn values(random: &mut Random, component: Component) -> Vec<(u32, u32)> {
    let (some, most): (&[u32], u32) = match component {
        Component::Protocol => (&[0, 1, 6, 17, 33, 47, 58, 132, 136, 255], 255),
        Component::SourcePort | Component::DestinationPort | Component::Port => {
            (&frame::PORTS, 65_535)
        }
        Component::IcmpType => (&[0, 3, 8, 128, 255], 255),
        Component::IcmpCode => (&[0, 1, 4, 255], 255),
        Component::Length => (&[0, 40, 48, 63, 64, 68, 100, 128, 1000, 65_535], 65_535),
        Component::Dscp => (&[0, 1, 46, 63], 63),
        Component::FlowLabel => (&[0, 7, 65_535, 65_536, 0xf_ffff], 0xf_ffff),
    };
    let range = |random: &mut Random| {
        let (first, more) = (random.of(some), random.of(&[0, 0, 0, 1, 64, 700, 70_000]));
        (first, (first + more).min(most))
    };
    (0..=random.below(4)).map(|_| range(random)).collect()
}

fn random_rule(random: &mut Random, id: u64, wide: bool) -> Rule {
    let mut rule = Rule {
        id,
        meaning: if random.chance(40) {
            Meaning::Flowspec
        } else {
            Meaning::Rfm
        },
        action: random.of(&["drop", "drop", "pass", "count"]),
        ..Rule::default()
    };
    let is_v4 = random.chance(50);
    if !wide && random.chance(50) {
        rule.source = Some(prefix(random, is_v4));
    }
    if !wide && random.chance(40) {
        rule.destination = Some(prefix(random, is_v4));
    }
    for component in Component::ALL {
        if random.chance(if component == Component::Protocol {
            30
        } else {
            14
        }) {
            let values = values(random, component);
            rule.components.push((component, values));
        }
    }
    if random.chance(12) {
        let tests = |random: &mut Random| {
            let mask = random.of(&[0x02, 0x12, 0x04, 0xff, 0x3f, 0x01]);
            (mask & random.of(&[0x02, 0x10, 0x12, 0x00, 0xff]), mask)
        };
        rule.tcp_flags = (0..=random.below(3)).map(|_| tests(random)).collect();
    }
    if random.chance(15) {
        rule.fragments = (0..=random.below(2))
            .map(|_| random.of(&rfc::FRAGMENTS))
            .collect();
    }
    rule.on_loopback = random.chance(8).then(|| random.chance(60));
    rule
}

/// What rfm gets: the words of an operator.
fn encode(rule_: &Rule) -> KernelRule {
    let mut encoded = rule(rule_.id, &rule_.words());
    if rule_.meaning == Meaning::Flowspec {
        encoded.matcher = encoded.matcher.into_flowspec();
    }
    encoded
}

/// The verdict, and the rules that count the packet.
fn judge(rules: &[Rule], packet: &rfc::Packet) -> (Verdict, Vec<u64>) {
    let mut counted = Vec::new();
    for rule in rules.iter().filter(|rule| rule.matches(packet)) {
        counted.push(rule.id);
        match rule.action {
            "drop" => return (Verdict::Drop, counted),
            "pass" => return (Verdict::Pass, counted),
            _ => {}
        }
    }
    (Verdict::Pass, counted)
}

/// Returns how many rules matched, and how many packets were dropped.
fn compare(fixture: &mut Fixture, rules: &[Rule], random: &mut Random) -> (u64, u64) {
    let encoded: Vec<KernelRule> = rules.iter().map(encode).collect();
    fixture.firewall.replace(&[]).expect("no rules");
    fixture.firewall.replace(&encoded).expect("rules");
    let mut expected = BTreeMap::new();
    let mut dropped = 0;
    for _ in 0..FRAMES {
        let bytes = frame::draw(random);
        let packet = rfc::Packet::read(&bytes);
        let (verdict, counted) = judge(rules, &packet);
        if fixture.verdict(&bytes) != verdict {
            let first = counted.last().map(|id| rules[*id as usize].words());
            panic!("expected {verdict:?} by {counted:?} {first:?} for {packet:?}: {bytes:02x?}");
        }
        dropped += u64::from(verdict == Verdict::Drop);
        for id in counted {
            *expected.entry(id).or_insert(0) += 1;
        }
    }
    let counted: BTreeMap<u64, u64> = fixture.packets().into_iter().collect();
    for rule in rules {
        let [got, expected] = [&counted, &expected].map(|all| all.get(&rule.id).copied());
        assert_eq!(got, expected, "rule {}: {}", rule.id, rule.words());
    }
    (expected.values().sum(), dropped)
}

fn run(typed: bool) {
    let Some(mut fixture) = fixture_of(0, typed) else {
        return;
    };
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let (mut matched, mut dropped) = (0, 0);
    for set in 0..SETS {
        // some sets only have rules without a prefix, and some of these need more than one group of the index
        let (count, wide) = match set % 8 {
            0 => (513 + random.below(512), true),
            1..4 => (1 + random.below(40), true),
            _ => (1 + random.below(60), false),
        };
        let rules: Vec<Rule> = (0..count as u64)
            .map(|id| {
                let mut rule = random_rule(&mut random, id, wide);
                // otherwise an early rule decides about each packet, and later groups are not reached
                if count > 512 && id < 512 {
                    rule.action = "count";
                }
                rule
            })
            .collect();
        let (more, drops) = compare(&mut fixture, &rules, &mut random);
        matched += more;
        dropped += drops;
    }
    println!(
        "{matched} matches, {dropped} of {} packets dropped",
        SETS * FRAMES
    );
    assert!(matched > 1000 && dropped > 500);
}

#[test]
fn random_rules_match_random_frames_as_the_rfcs_require() {
    run(true);
}

#[test]
fn programs_without_types_match_as_the_rfcs_require() {
    run(false);
}
