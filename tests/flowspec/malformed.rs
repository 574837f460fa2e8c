// SPDX-License-Identifier: AGPL-3.0-only
//! Mutated rules and communities: a malformed rule is never decoded, and a valid one always is.

use rfm::flowspec::{FlowActions, FlowRule, nlri};

use crate::{Random, draw, rfc};

const MUTATIONS: usize = 1_000_000;

fn mutate(random: &mut Random, bytes: &mut Vec<u8>) {
    for _ in 0..random.below(4) {
        let at = random.below(bytes.len());
        match random.below(4) {
            0 => bytes[at] = random.next() as u8,
            1 => bytes[at] ^= 1 << random.below(8),
            2 => bytes.insert(at, random.next() as u8),
            _ if bytes.len() > 1 => drop(bytes.remove(at)),
            _ => {}
        }
    }
}

#[test]
fn only_valid_rules_are_decoded() {
    let mut random = Random(0xfeed_f00d);
    let mut decoded = 0;
    let mut rule = Vec::new();
    for round in 0..MUTATIONS {
        let family = draw::family(&mut random);
        if round % 8 == 0 {
            rule = draw::rule(&mut random, family);
        }
        let mut bytes = rule.clone();
        mutate(&mut random, &mut bytes);
        let got = FlowRule::decode(family, &bytes);
        let is_valid = rfc::parts(family, &bytes).is_some();
        assert_eq!(got.is_ok(), is_valid, "{family:?} {bytes:02x?}: {got:?}");
        decoded += usize::from(is_valid);
        for nlri in nlri::split(&bytes) {
            assert!(nlri.is_err() || nlri.is_ok_and(|nlri| nlri.len() < bytes.len()));
        }
    }
    assert!(
        (MUTATIONS / 20..MUTATIONS * 19 / 20).contains(&decoded),
        "{decoded}"
    );
}

#[test]
fn communities_have_an_action_or_a_reason() {
    let mut random = Random(0xc0_ffee);
    let mut drops = 0;
    for _ in 0..MUTATIONS {
        let kind = random.of(&[[0x80, 6], [0x80, 7], [0x80, 0x0c], [0x80, 8], [0, 2]]);
        let mut bytes = [&kind[..], &[0; 6]].concat();
        mutate(&mut random, &mut bytes);
        let outcome = FlowActions::decode(&bytes, &[]).and_then(|actions| actions.outcome());
        let is_drop = outcome.is_ok_and(|outcome| outcome.to_string() == "→ drop");
        let is_rate = bytes.len() == 8 && matches!(bytes[..2], [0x80, 6 | 0x0c]);
        assert!(!is_drop || is_rate, "{bytes:02x?}");
        drops += usize::from(is_drop);
    }
    assert!(drops > MUTATIONS / 10, "{drops}");
}
