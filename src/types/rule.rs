// SPDX-License-Identifier: AGPL-3.0-only
//! Defines a firewall rule, as an operator writes it and as the kernel receives it.

mod kinds;
mod parts;

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use std::time::Duration;

use super::named::{Named, serialize_as_text, serialize_by_name};
use super::prefix::Prefix;
pub use super::protocol::Protocol;
use kinds::Proposed;
pub use kinds::{MAX_PATTERNS, PartError, PartForm, PatternCache};
pub(crate) use parts::rule_parts;
pub use parts::{FirewallRule, PARTS, PartRole, Rule, RuleArgs, RuleKey, RulePart};

pub const DEFAULT_ACTION: Action = Action::Drop;

/// The highest rate of a limit, in packets per second.
pub const MAX_RATE: u32 = 1_000_000_000;

/// The longest time to live: later arithmetic with clocks cannot overflow.
pub const MAX_TTL: Duration = super::duration::MAX;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Action {
    #[default]
    Drop,
    Pass,
    Count,
    Limit,
}

/// The scope of a limit: its rate applies to all packets that the rule matches together, or to each source.
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

/// First and last port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PortRange(pub u16, pub u16);

/// A BGP community (RFC 1997), as its two halves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Community(pub u16, pub u16);

/// A BGP neighbor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TrustedPeer {
    Address(IpAddr),
    Asn(u32),
}

impl Rule {
    /// Returns the errors in the combination of the parts: the key, and the reason.
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

    /// Returns whether the rule matches every packet, since no condition restricts it.
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

impl Proposed for Prefix {}

impl Proposed for PortRange {}

impl Proposed for Protocol {
    fn proposals() -> Vec<&'static str> {
        Protocol::NAMES.iter().map(|(name, _)| *name).collect()
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

impl FromStr for TrustedPeer {
    type Err = &'static str;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        if let Ok(address) = s.parse() {
            return Ok(Self::Address(address));
        }
        super::asn::parse_prefixed(s)
            .map(Self::Asn)
            .ok_or("neither an address nor \"AS\" and a number")
    }
}

impl fmt::Display for TrustedPeer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => write!(f, "{address}"),
            Self::Asn(asn) => write!(f, "AS{asn}"),
        }
    }
}

serialize_by_name!(Action, Per);
serialize_as_text!(Protocol, PortRange, Community, TrustedPeer);

/// The number of a rule: never assigned twice while the agent runs; also the end of the `rule` label. 64 bits
/// never run out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RuleId(pub u64);

/// The source of a rule, in the order of priority.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum RuleSource {
    /// Allow list, local addresses, BMP peers: always has priority.
    Allow,
    Runtime,
    Config,
    Blackhole,
    /// Bogons and local prefixes.
    SourceCheck,
}

impl RuleSource {
    pub const ALL: [Self; 5] = [
        Self::Allow,
        Self::Runtime,
        Self::Config,
        Self::Blackhole,
        Self::SourceCheck,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Runtime => "runtime",
            Self::Config => "config",
            Self::Blackhole => "blackhole",
            Self::SourceCheck => "source-check",
        }
    }
}

/// The conditions on a packet. Interfaces are already resolved to ifindexes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Match {
    pub src: Option<Prefix>,
    pub dst: Option<Prefix>,
    pub proto: Option<Protocol>,
    pub sport: Option<PortRange>,
    pub dport: Option<PortRange>,
    /// `None` = all.
    pub interfaces: Option<Vec<u32>>,
}

impl Rule {
    /// Returns the conditions of the rule; `interfaces` are those that the pattern matches now.
    pub fn to_match(&self, interfaces: Option<Vec<u32>>) -> Match {
        Match {
            src: self.src,
            dst: self.dst,
            proto: self.proto,
            sport: None,
            dport: self.dport,
            interfaces,
        }
    }
}

impl Match {
    /// Returns the rule that an operator would write for these conditions, if a rule has such parts.
    pub fn to_rule(&self, action: Action) -> Rule {
        Rule {
            src: self.src,
            dst: self.dst,
            proto: self.proto,
            dport: self.dport,
            action,
            ..Rule::default()
        }
    }
}

/// A rule for the kernel, in a list ordered by priority: the first match wins, but after [`Action::Count`] the
/// next rule is evaluated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KernelRule {
    pub id: RuleId,
    pub matcher: Match,
    pub action: Action,
    /// Packets per second of [`Action::Limit`].
    pub rate: Option<u32>,
    pub per: Per,
}
