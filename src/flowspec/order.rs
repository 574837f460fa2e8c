// SPDX-License-Identifier: AGPL-3.0-only
//! The precedence of rules (RFC 8955 section 5.1, RFC 8956 section 4): the first in ascending order is evaluated
//! first.

use std::cmp::Ordering;

use super::nlri::{AddressPattern, FlowComponent, FlowRule};
use crate::types::prefix::Prefix;

impl Ord for FlowRule {
    /// Rules of IPv4 precede those of IPv6; no packet can match both.
    fn cmp(&self, other: &Self) -> Ordering {
        let (a, b) = (self.components(), other.components());
        let common = a.iter().zip(b).map(|(a, b)| compare(a, b));
        let families = self.family().cmp(&other.family());
        // a rule with further components precedes
        std::iter::once(families)
            .chain(common)
            .find(|order| order.is_ne())
            .unwrap_or_else(|| b.len().cmp(&a.len()))
    }
}

impl PartialOrd for FlowRule {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

fn compare(a: &FlowComponent, b: &FlowComponent) -> Ordering {
    let kinds = a.kind().cmp(&b.kind());
    kinds.then_with(|| match (a, b) {
        (FlowComponent::Address(_, a), FlowComponent::Address(_, b)) => compare_patterns(a, b),
        (FlowComponent::Tests(_, a), FlowComponent::Tests(_, b)) => {
            compare_bytes(a.as_bytes(), b.as_bytes())
        }
        // components of one kind have one form
        _ => Ordering::Equal,
    })
}

/// The lower offset precedes, then the longer of two overlapping prefixes, and otherwise the lower address.
fn compare_patterns(a: &AddressPattern, b: &AddressPattern) -> Ordering {
    let common = a.prefix.length().min(b.prefix.length());
    let [of_a, of_b] = [a, b].map(|pattern| Prefix::new(pattern.prefix.address(), common));
    let lengths = || b.prefix.length().cmp(&a.prefix.length());
    let values = || match of_a == of_b {
        true => lengths(),
        false => a.prefix.address().cmp(&b.prefix.address()),
    };
    a.offset.cmp(&b.offset).then_with(values)
}

/// The lower bytes precede; if one is the start of the other, the longer precedes.
fn compare_bytes(a: &[u8], b: &[u8]) -> Ordering {
    let common = a.len().min(b.len());
    a[..common]
        .cmp(&b[..common])
        .then_with(|| b.len().cmp(&a.len()))
}

#[cfg(test)]
mod tests {
    use super::super::nlri::FlowFamily::{self, Ipv4, Ipv6};
    use super::*;

    fn rule(family: FlowFamily, nlri: &[u8]) -> FlowRule {
        FlowRule::decode(family, nlri).unwrap()
    }

    #[test]
    fn rules_are_in_the_order_of_the_rfc() {
        let ascending = [
            // the longer of overlapping prefixes, then the lower address
            rule(Ipv4, &[1, 24, 10, 0, 0]),
            // with further components before without
            rule(Ipv4, &[1, 8, 10, 3, 0x81, 6]),
            rule(Ipv4, &[1, 8, 10]),
            rule(Ipv4, &[1, 8, 11, 2, 8, 10]),
            rule(Ipv4, &[1, 8, 11, 3, 0x01, 1, 0x81, 2]),
            rule(Ipv4, &[1, 8, 11, 3, 0x81, 6]),
            rule(Ipv4, &[1, 8, 11, 3, 0x81, 17]),
            rule(Ipv4, &[1, 0]),
            // without a destination after all that have one
            rule(Ipv4, &[2, 8, 10]),
            rule(Ipv4, &[3, 0x81, 6]),
            // the lower offset, before the longer prefix
            rule(Ipv6, &[1, 16, 0, 0x20, 1]),
            rule(Ipv6, &[1, 32, 8, 1, 0x0d, 0xb8]),
            rule(Ipv6, &[1, 24, 8, 1, 0x0d]),
            rule(Ipv6, &[13, 0x81, 1]),
        ];
        for (n, a) in ascending.iter().enumerate() {
            for (m, b) in ascending.iter().enumerate() {
                assert_eq!(a.cmp(b), n.cmp(&m), "{n} {m}");
            }
        }
    }
}
