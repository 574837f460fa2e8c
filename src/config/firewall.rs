// SPDX-License-Identifier: AGPL-3.0-only
//! `[agent.firewall]`: what is dropped at the door.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use serde::Serialize;

use super::document::Section;
use super::load::{MAX_LIST, SECOND, prefixes};
use super::values::{Complaint, Parsed, Value, boolean, duration, list, named, number, path, word};
use crate::types::interface_pattern::Pattern;
use crate::types::named::{Named, serialize_as_text, serialize_by_name};
use crate::types::prefix::Prefix;

pub const DEFAULT_ENABLED: bool = false;
pub const DEFAULT_ALLOW_OWN: bool = true;
pub const DEFAULT_PIN: bool = false;
pub const DEFAULT_BLACKHOLE_MIN_LENGTH: [u8; 2] = [32, 128];
pub const DEFAULT_BLACKHOLE_MAX: u32 = 1000;
pub const DEFAULT_ACTION: Action = Action::Drop;

const MAX_BLACKHOLE_MAX: u32 = 100_000;
const MAX_RULES: usize = 10_000;
/// Packets per second of a limit.
pub const MAX_RATE: u32 = 1_000_000_000;
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

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Rule {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub src: Option<Prefix>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dst: Option<Prefix>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proto: Option<Protocol>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dport: Option<PortRange>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interface: Option<Pattern>,
    pub action: Action,
    /// Packets per second of [`Action::Limit`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate: Option<u32>,
    /// Whose packets it counts together.
    #[serde(skip_serializing_if = "Per::is_rule")]
    pub per: Per,
    #[serde(with = "humantime_serde", skip_serializing_if = "Option::is_none")]
    pub ttl: Option<Duration>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Action {
    Drop,
    Pass,
    Count,
    Limit,
}

/// Of a limit: its rate is for all that the rule matches together, or for each source.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Per {
    #[default]
    Rule,
    /// An IPv4 address, or the /64 of an IPv6 address.
    Source,
}

impl Per {
    pub fn is_rule(&self) -> bool {
        *self == Self::Rule
    }
}

/// An IP protocol number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Protocol(pub u8);

/// First and last port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PortRange(pub u16, pub u16);

/// A BGP community (RFC 1997), its two halves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Community(pub u16, pub u16);

/// A BGP neighbour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    Address(IpAddr),
    Asn(u32),
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

    /// What does not fit together: the key, and why.
    pub fn faults(&self) -> Vec<(&'static str, String)> {
        let mut faults = Vec::new();
        if let (Some(src), Some(dst)) = (self.src, self.dst)
            && src.is_ipv4() != dst.is_ipv4()
        {
            let fault = format!("expected the family of src ({src}), got {dst}");
            faults.push(("dst", fault));
        }
        if self.dport.is_some() && !self.proto.is_some_and(Protocol::has_ports) {
            faults.push(("dport", "needs a proto with ports, such as \"tcp\"".into()));
        }
        match (self.action, self.rate) {
            (Action::Limit, None) => {
                faults.push(("rate", "required with action \"limit\"".into()));
            }
            (Action::Drop | Action::Pass | Action::Count, Some(_)) => {
                faults.push(("rate", "needs action \"limit\"".into()));
            }
            (Action::Drop | Action::Pass | Action::Count, None) if !self.per.is_rule() => {
                faults.push(("per", "needs action \"limit\"".into()));
            }
            _ => {}
        }
        faults
    }

    /// Whether nothing narrows it down: every packet is meant.
    pub fn is_for_everything(&self) -> bool {
        let whole = |prefix: Option<Prefix>| prefix.is_none_or(|prefix| prefix.length() == 0);
        whole(self.src) && whole(self.dst) && self.proto.is_none()
    }
}

impl Named for Per {
    const ALL: &'static [Self] = &[Self::Rule, Self::Source];

    fn name(self) -> &'static str {
        match self {
            Self::Rule => "rule",
            Self::Source => "source",
        }
    }
}

impl Named for Action {
    const ALL: &'static [Self] = &[Self::Drop, Self::Pass, Self::Count, Self::Limit];

    fn name(self) -> &'static str {
        match self {
            Self::Drop => "drop",
            Self::Pass => "pass",
            Self::Count => "count",
            Self::Limit => "limit",
        }
    }
}

/// The names that an operator types; any other protocol is its number.
const PROTOCOLS: &[(&str, u8)] = &[
    ("icmp", 1),
    ("tcp", 6),
    ("udp", 17),
    ("gre", 47),
    ("esp", 50),
    ("icmpv6", 58),
    ("sctp", 132),
];

impl Protocol {
    /// Names that stand for a number.
    pub fn names() -> impl Iterator<Item = &'static str> {
        PROTOCOLS.iter().map(|(name, _)| *name)
    }

    /// Whether its packets carry ports.
    pub fn has_ports(self) -> bool {
        matches!(self.0, 6 | 17 | 33 | 132 | 136)
    }
}

impl FromStr for Protocol {
    type Err = &'static str;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        let named = PROTOCOLS.iter().find(|(name, _)| *name == s);
        named
            .map(|(_, number)| *number)
            .or_else(|| s.parse().ok())
            .map(Self)
            .ok_or("neither a known name nor a number from 0 to 255")
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match PROTOCOLS.iter().find(|(_, number)| *number == self.0) {
            Some((name, _)) => f.write_str(name),
            None => write!(f, "{}", self.0),
        }
    }
}

impl FromStr for PortRange {
    type Err = &'static str;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        let (first, last) = s.split_once('-').unwrap_or((s, s));
        match (first.parse(), last.parse()) {
            (Ok(first), Ok(last)) if first <= last => Ok(Self(first, last)),
            (Ok(_), Ok(_)) => Err("the last port is below the first"),
            _ => Err("a port is a number from 0 to 65535"),
        }
    }
}

impl fmt::Display for PortRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == self.1 {
            write!(f, "{}", self.0)
        } else {
            write!(f, "{}-{}", self.0, self.1)
        }
    }
}

impl FromStr for Community {
    type Err = &'static str;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        s.split_once(':')
            .and_then(|(a, b)| Some(Self(a.parse().ok()?, b.parse().ok()?)))
            .ok_or("not two numbers from 0 to 65535")
    }
}

impl fmt::Display for Community {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.0, self.1)
    }
}

impl FromStr for Peer {
    type Err = &'static str;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        if let Ok(address) = s.parse() {
            return Ok(Self::Address(address));
        }
        s.strip_prefix("AS")
            .and_then(|n| n.parse().ok())
            .map(Self::Asn)
            .ok_or("neither an address nor \"AS\" and a number")
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => write!(f, "{address}"),
            Self::Asn(asn) => write!(f, "AS{asn}"),
        }
    }
}

serialize_by_name!(Action, Per);
serialize_as_text!(Protocol, PortRange, Community, Peer);
