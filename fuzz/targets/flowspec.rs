// SPDX-License-Identifier: AGPL-3.0-only
//! Rules of BGP Flowspec and their extended communities.

use rfm::flowspec::{FlowActions, FlowFamily, FlowRule, nlri};

use super::Input;

pub fn run(input: &[u8]) {
    let mut input = Input(input);
    let family = match input.u8() % 2 {
        0 => FlowFamily::Ipv4,
        _ => FlowFamily::Ipv6,
    };
    let length = input.u8().into();
    if let Ok(actions) = FlowActions::decode(input.take(length), &[]) {
        let _ = actions.outcome();
    }
    let mut rules: Vec<FlowRule> = Vec::new();
    for nlri in nlri::split(input.0) {
        let Ok(rule) = nlri.map(|nlri| FlowRule::decode(family, nlri)) else {
            break;
        };
        let Ok(rule) = rule else { continue };
        assert!(!rule.to_string().is_empty());
        if let Ok(matcher) = rule.to_match() {
            let mut values = matcher.fields().iter().map(|(_, values)| values);
            assert!(values.all(|values| !values.as_slice().is_empty()));
        }
        rules.push(rule);
    }
    rules.sort();
    assert!(rules.is_sorted());
}
