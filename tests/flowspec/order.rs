// SPDX-License-Identifier: AGPL-3.0-only
//! The order of rules against a sort by insertion.

use rfm::flowspec::{FlowFamily, FlowRule};

use crate::{Random, draw, rfc};

#[test]
fn rules_are_in_the_order_of_the_rfc() {
    let mut random = Random(0x0dd_ba11);
    for family in [FlowFamily::Ipv4, FlowFamily::Ipv6] {
        let mut naive: Vec<Vec<u8>> = Vec::new();
        let drawn: Vec<_> = (0..1500).map(|_| draw::rule(&mut random, family)).collect();
        for nlri in &drawn {
            let precedes = |other: &Vec<u8>| rfc::compare(family, nlri, other).is_lt();
            let at = naive.iter().position(precedes).unwrap_or(naive.len());
            naive.insert(at, nlri.clone());
        }
        let decode = |nlri: &Vec<u8>| FlowRule::decode(family, nlri).expect("a valid rule");
        let mut sorted: Vec<FlowRule> = drawn.iter().map(decode).collect();
        sorted.sort();
        let naive: Vec<FlowRule> = naive.iter().map(decode).collect();
        assert_eq!(sorted, naive);
    }
}
