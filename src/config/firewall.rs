// SPDX-License-Identifier: AGPL-3.0-only
//! `[agent.firewall]`: what is dropped at the door.

use std::path::PathBuf;

use serde::Serialize;

use super::document::Section;
use super::load::{MAX_LIST, SECOND, prefixes};
use super::values::{Complaint, Parsed, Value, boolean, duration, list, named, number, path, word};
use crate::types::interface_pattern::Pattern;
use crate::types::prefix::Prefix;
use crate::types::rule::{Action, Community, DEFAULT_ACTION, MAX_RATE, Peer, Per, Rule};

pub const DEFAULT_ENABLED: bool = false;
pub const DEFAULT_ALLOW_OWN: bool = true;
pub const DEFAULT_PIN: bool = false;
pub const DEFAULT_BLACKHOLE_MIN_LENGTH: [u8; 2] = [32, 128];
pub const DEFAULT_BLACKHOLE_MAX: u32 = 1000;

const MAX_BLACKHOLE_MAX: u32 = 100_000;
const MAX_RULES: usize = 10_000;
const MAX_PATH: usize = 4095;

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Firewall {
    pub enabled: bool,
    pub interfaces: Vec<Pattern>,
    /// What comes from there or goes there always passes.
    pub allow: Vec<Prefix>,
    /// Whether the same holds for the own addresses and the BMP peers.
    pub allow_own: bool,
    /// Whether the programs stay when the agent is gone.
    pub pin: bool,
    /// Keeps runtime rules over a restart; empty = none.
    pub state_file: PathBuf,
    pub blackhole_communities: Vec<Community>,
    pub blackhole_within: Vec<Prefix>,
    pub blackhole_peers: Vec<Peer>,
    /// Shortest prefix taken, IPv4 and IPv6.
    pub blackhole_min_length: [u8; 2],
    pub blackhole_max: u32,
    /// Drop or count.
    pub blackhole_action: Action,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub rule: Vec<Rule>,
}

impl Firewall {
    pub(super) fn read(section: &Section<'_>) -> Self {
        let pattern = word("a regular expression or \"*\"");
        let community = word("a community such as \"65535:666\"");
        let peer = word("an address or an AS such as \"AS65000\"");
        let min_length = |value: &Value<'_>| {
            let [v4, v6] = DEFAULT_BLACKHOLE_MIN_LENGTH;
            // Two lengths may be equal, so this is no list in which each item stands once.
            let expected = format!("two lengths, IPv4 up to {v4} and IPv6 up to {v6}");
            pair(value, [v4, v6], expected)
        };
        Self {
            enabled: section.read("enabled", boolean, DEFAULT_ENABLED),
            interfaces: section.read("interfaces", list(MAX_LIST, pattern), Vec::new()),
            allow: prefixes(section, "allow"),
            allow_own: section.read("allow_own", boolean, DEFAULT_ALLOW_OWN),
            pin: section.read("pin", boolean, DEFAULT_PIN),
            state_file: section.read("state_file", path(MAX_PATH), PathBuf::new()),
            blackhole_communities: section.read(
                "blackhole_communities",
                list(MAX_LIST, community),
                Vec::new(),
            ),
            blackhole_within: prefixes(section, "blackhole_within"),
            blackhole_peers: section.read("blackhole_peers", list(MAX_LIST, peer), Vec::new()),
            blackhole_min_length: section.read(
                "blackhole_min_length",
                min_length,
                DEFAULT_BLACKHOLE_MIN_LENGTH,
            ),
            blackhole_max: section.read(
                "blackhole_max",
                number(1..=MAX_BLACKHOLE_MAX),
                DEFAULT_BLACKHOLE_MAX,
            ),
            blackhole_action: section.read("blackhole_action", named, DEFAULT_ACTION),
            rule: section
                .sections("rule", MAX_RULES)
                .iter()
                .map(Rule::read)
                .collect(),
        }
    }
}

/// Two numbers, neither above its maximum.
fn pair(value: &Value<'_>, max: [u8; 2], expected: String) -> Parsed<[u8; 2]> {
    let items = value.get_ref().as_array();
    let numbers = items.map(|items| {
        items
            .iter()
            .zip(max)
            .map(|(item, max)| number(0..=max)(item))
            .collect::<Result<Vec<_>, _>>()
    });
    match (items.map(|i| i.len()), numbers) {
        (Some(2), Some(Ok(n))) => Ok([n[0], n[1]]),
        _ => Err(vec![Complaint {
            span: value.span(),
            expected,
            reason: None,
        }]),
    }
}

impl Rule {
    fn read(section: &Section<'_>) -> Self {
        const PREFIX: &str = "a prefix such as \"10.0.0.0/8\"";
        Self {
            src: section.optional("src", word(PREFIX)),
            dst: section.optional("dst", word(PREFIX)),
            proto: section.optional("proto", word("a protocol such as \"tcp\" or \"47\"")),
            dport: section.optional("dport", word("ports such as \"80\" or \"6000-6063\"")),
            interface: section.optional("interface", word("a regular expression or \"*\"")),
            action: section.read("action", named, DEFAULT_ACTION),
            rate: section.optional("rate", number(1..=MAX_RATE)),
            per: section.read("per", named, Per::Rule),
            ttl: section.optional("ttl", duration(SECOND)),
        }
    }
}
