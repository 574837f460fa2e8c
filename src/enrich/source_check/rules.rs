// SPDX-License-Identifier: AGPL-3.0-only
//! The firewall rules that drop bogons and local prefixes (pure).
//!
//! They have no list of outside interfaces: rules that pass are evaluated first, for interfaces with the role
//! internal, for sources that belong to the segment, and for each connected network on its own interface.

use std::collections::HashMap;

use super::tables::SourceTables;
use crate::netlink::{Link, find};
use crate::types::interface_pattern::Pattern;
use crate::types::prefix::Prefix;
use crate::types::rule::{Action, Rule};

/// Maximum number of rules. If they do not suffice there are none: without the rule that passes a connected network,
/// the rules of the bogons would drop its sources.
pub const MAX_RULES: usize = 2048;
/// Sources of DHCP, ARP probes and neighbor discovery, of hosts without another address.
const OF_THE_SEGMENT: [&str; 4] = ["0.0.0.0/32", "169.254.0.0/16", "::/128", "fe80::/10"];

/// Returns the rules in order; an error is the number of rules that would be necessary.
pub fn rules(tables: &SourceTables, links: &[Link]) -> Result<Vec<Rule>, usize> {
    let names: HashMap<u32, Pattern> = links
        .iter()
        .filter_map(|link| Some((link.ifindex, escaped(&link.name)?)))
        .collect();
    let mut rules = Vec::new();
    for ifindex in &tables.internal {
        rules.extend(names.get(ifindex).map(|name| Rule {
            interface: Some(name.clone()),
            action: Action::Pass,
            ..Rule::default()
        }));
    }
    let of_the_segment = OF_THE_SEGMENT.iter().filter_map(|text| text.parse().ok());
    rules.extend(of_the_segment.map(|prefix| from(prefix, None, Action::Pass)));
    let mut networks: Vec<_> = tables.local.iter().collect();
    // the longest match decides
    networks.sort_by_key(|(prefix, _)| (std::cmp::Reverse(prefix.length()), prefix.to_string()));
    for (&prefix, interfaces) in networks {
        let own = interfaces
            .iter()
            .filter(|ifindex| find(links, **ifindex).is_some_and(|link| !link.loopback))
            .filter_map(|ifindex| names.get(ifindex));
        rules.extend(own.map(|name| from(prefix, Some(name.clone()), Action::Pass)));
        rules.push(from(prefix, None, Action::Drop));
    }
    let mut bogons: Vec<_> = tables.bogons.iter().map(|(prefix, ())| *prefix).collect();
    bogons.sort_by_key(Prefix::to_string);
    rules.extend(
        bogons
            .into_iter()
            .map(|prefix| from(prefix, None, Action::Drop)),
    );
    match rules.len() <= MAX_RULES {
        true => Ok(rules),
        false => Err(rules.len()),
    }
}

fn from(prefix: Prefix, interface: Option<Pattern>, action: Action) -> Rule {
    Rule {
        src: Some(prefix),
        interface,
        action,
        ..Rule::default()
    }
}

/// Returns the pattern that matches exactly this name.
fn escaped(name: &str) -> Option<Pattern> {
    regex_lite::escape(name).parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::enrich::source_check::PrefixMap;

    #[test]
    fn what_belongs_to_the_segment_passes_before_anything_is_dropped() {
        let link = |ifindex, name: &str, loopback| Link {
            ifindex,
            name: name.into(),
            loopback,
            ..Link::default()
        };
        let links = [
            link(1, "lo", true),
            link(2, "eth0", false),
            link(3, "eth0.7", false),
            link(4, "in0", false),
        ];
        let prefix = |text: &str| -> Prefix { text.parse().unwrap() };
        let tables = SourceTables {
            internal: vec![4],
            bogons: PrefixMap::new(["10.0.0.0/8", "fc00::/7"].map(|text| (prefix(text), ()))),
            local: PrefixMap::new([
                (prefix("10.1.0.0/16"), vec![3, 2]),
                (prefix("10.1.2.0/24"), vec![2]),
                (prefix("192.0.2.1/32"), vec![1]),
            ]),
            ..SourceTables::default()
        };
        let rules = rules(&tables, &links).unwrap();
        let shown = rules.iter().map(|rule| rule.to_string().replace("--", ""));
        let shown: Vec<_> = shown.map(|text| text.replace("action ", "")).collect();
        let expected = [
            "pass interface in0",
            "pass src 0.0.0.0/32",
            "pass src 169.254.0.0/16",
            "pass src ::/128",
            "pass src fe80::/10",
            "drop src 192.0.2.1/32",
            "pass src 10.1.2.0/24 interface eth0",
            "drop src 10.1.2.0/24",
            "pass src 10.1.0.0/16 interface eth0\\.7",
            "pass src 10.1.0.0/16 interface eth0",
            "drop src 10.1.0.0/16",
            "drop src 10.0.0.0/8",
            "drop src fc00::/7",
        ];
        assert_eq!(shown, expected);
    }

    /// A part of the rules would drop the sources of the networks and interfaces that found no room.
    #[test]
    fn there_are_all_rules_or_none() {
        let links: Vec<_> = (1..=3000)
            .map(|ifindex| Link {
                ifindex,
                name: format!("ppp{ifindex}"),
                ..Link::default()
            })
            .collect();
        let networks = |count: u32| {
            PrefixMap::new((0..count).map(|n| {
                let address = std::net::Ipv4Addr::from(n << 8);
                (Prefix::new(address.into(), 24), vec![2])
            }))
        };
        let tables = |internal: u32, count| SourceTables {
            internal: (1..=internal).collect(),
            bogons: PrefixMap::new([("10.0.0.0/8".parse().unwrap(), ())]),
            local: networks(count),
            ..SourceTables::default()
        };
        let of = |internal, count| rules(&tables(internal, count), &links).map(|rules| rules.len());
        assert_eq!(of(1, 1021), Ok(MAX_RULES));
        assert_eq!(of(2, 1021), Err(MAX_RULES + 1));
        assert_eq!(of(1, 1022), Err(MAX_RULES + 2));
    }
}
