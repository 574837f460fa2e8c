// SPDX-License-Identifier: AGPL-3.0-only
//! Defines a firewall rule, as an operator writes it and as the kernel receives it.

pub mod fields;
pub mod flags;
mod kinds;
mod parts;
pub mod ranges;
pub mod rate;

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use super::named::{Named, serialize_as_text, serialize_by_name};
use super::prefix::Prefix;
pub use super::protocol::Protocol;
use fields::{FieldValues, MatchField, ValueSet};
use kinds::Proposed;
pub use kinds::{MAX_PATTERNS, PartError, PartForm, PatternCache};
pub(crate) use parts::rule_parts;
pub use parts::{FirewallRule, PARTS, PartRole, Rule, RuleArgs, RuleKey, RulePart};
use ranges::Ranges;
use rate::LimitRate;

pub const DEFAULT_ACTION: Action = Action::Drop;

/// The longest time to live: later arithmetic with clocks cannot overflow.
pub const MAX_TTL: Duration = super::duration::MAX;

/// The protocols whose ports a Flowspec rule may name: TCP and UDP.
const FLOWSPEC_PORTS: [u32; 2] = [6, 17];

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
        let has = |has: fn(Protocol) -> bool| self.proto.as_ref().map(|set| set.all(has));
        let named = [
            ("sport", self.sport.is_some()),
            ("dport", self.dport.is_some()),
            ("port", self.port.is_some()),
        ];
        for (name, _) in named.into_iter().filter(|(_, is_named)| *is_named) {
            if has(Protocol::has_ports) == Some(false) {
                faults.push((
                    name,
                    "needs a proto with ports, such as \"tcp\", or none".into(),
                ));
            }
        }
        if self.tcp_flags.is_some() && has(Protocol::is_tcp) == Some(false) {
            faults.push(("tcp_flags", "needs the proto \"tcp\", or none".into()));
        }
        let named = [
            ("icmp_type", self.icmp_type.is_some()),
            ("icmp_code", self.icmp_code.is_some()),
        ];
        for (name, _) in named.into_iter().filter(|(_, is_named)| *is_named) {
            if has(Protocol::is_icmp) == Some(false) {
                faults.push((
                    name,
                    "needs the proto \"icmp\" or \"icmpv6\", or none".into(),
                ));
            }
        }
        if self.flow_label.is_some() && [self.src, self.dst].iter().flatten().any(Prefix::is_ipv4) {
            faults.push(("flow_label", "needs prefixes of IPv6, or none".into()));
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
        match (self.rate, self.burst) {
            (Some(rate), Some(burst)) if u64::from(burst) > rate.max_burst() => {
                let most = rate.max_burst();
                faults.push((
                    "burst",
                    format!("expected at most {most}, an hour of the rate, got {burst}"),
                ));
            }
            (None, Some(_)) if self.action != Action::Limit => {
                faults.push(("burst", "needs action \"limit\"".into()));
            }
            _ => {}
        }
        faults
    }

    /// Returns whether the rule matches every packet, since no condition restricts it.
    pub fn is_for_everything(&self) -> bool {
        let whole = |prefix: Option<Prefix>| prefix.is_none_or(|prefix| prefix.length() == 0);
        whole(self.src) && whole(self.dst) && self.to_match(None).fields().is_empty()
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
serialize_as_text!(Protocol, Community, TrustedPeer);

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
    /// Attacks.
    Guard,
    Blackhole,
    /// Bogons and local prefixes.
    SourceCheck,
}

impl RuleSource {
    pub const ALL: [Self; 6] = [
        Self::Allow,
        Self::Runtime,
        Self::Config,
        Self::Guard,
        Self::Blackhole,
        Self::SourceCheck,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Runtime => "runtime",
            Self::Config => "config",
            Self::Guard => "guard",
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
    /// `None` = all.
    pub interfaces: Option<Vec<u32>>,
    /// See [`Match::into_flowspec`].
    pub is_flowspec: bool,
    /// The packet has one of the values of each field.
    pub fields: MatchFields,
}

/// Values of fields, in the order of [`MatchField`], each field at most once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MatchFields(Vec<(MatchField, Arc<Ranges>)>);

impl Rule {
    /// Returns the conditions of the rule; `interfaces` are those that the pattern matches now.
    pub fn to_match(&self, interfaces: Option<Vec<u32>>) -> Match {
        let mut matcher = Match {
            src: self.src,
            dst: self.dst,
            interfaces,
            is_flowspec: false,
            fields: MatchFields::default(),
        };
        matcher.add(self.proto.as_ref());
        matcher.add(self.sport.as_ref());
        matcher.add(self.dport.as_ref());
        matcher.add(self.port.as_ref());
        if let Some(flags) = &self.tcp_flags {
            matcher.set(MatchField::TcpFlags, flags.ranges().into());
        }
        matcher.add(self.icmp_type.as_ref());
        matcher.add(self.icmp_code.as_ref());
        matcher.add(self.length.as_ref());
        if let Some(fragments) = self.fragment {
            matcher.set(MatchField::Fragment, fragments.ranges().into());
        }
        matcher.add(self.dscp.as_ref());
        matcher.add(self.flow_label.as_ref());
        matcher
    }
}

impl Match {
    fn add<V: FieldValues>(&mut self, set: Option<&ValueSet<V>>) {
        if let Some(set) = set {
            self.set(V::FIELD, set.ranges().clone());
        }
    }

    pub fn has_prefix(&self) -> bool {
        self.src.is_some() || self.dst.is_some()
    }

    /// Sets the values of one field.
    pub fn set(&mut self, field: MatchField, values: Arc<Ranges>) {
        let fields = &mut self.fields.0;
        match fields.binary_search_by_key(&field, |(field, _)| *field) {
            Ok(at) => fields[at].1 = values,
            Err(at) => fields.insert(at, (field, values)),
        }
    }

    /// Returns the conditions with the values of one more field.
    pub fn with(mut self, field: MatchField, values: Ranges) -> Self {
        self.set(field, values.into());
        self
    }

    pub fn fields(&self) -> &[(MatchField, Arc<Ranges>)] {
        &self.fields.0
    }

    /// Returns the values of a field; `None` = all.
    pub fn field(&self, field: MatchField) -> Option<&Arc<Ranges>> {
        let fields = self.fields();
        let at = fields.binary_search_by_key(&field, |(field, _)| *field);
        at.ok().map(|at| &fields[at].1)
    }

    /// Returns the match of a Flowspec rule (RFC 8955 section 4.2.2): its ports are those of TCP and UDP only, and it
    /// never matches a packet in which a field that it names cannot be read.
    pub fn into_flowspec(mut self) -> Self {
        self.is_flowspec = true;
        let ports = [MatchField::Sport, MatchField::Dport, MatchField::Port];
        if ports.iter().all(|field| self.field(*field).is_none()) {
            return self;
        }
        let named = self.field(MatchField::Protocol).cloned();
        let is_named = |protocol: &u32| named.as_ref().is_none_or(|set| set.contains(*protocol));
        let protocols = FLOWSPEC_PORTS.into_iter().filter(is_named).collect();
        self.with(MatchField::Protocol, protocols)
    }

    /// Returns the rule that an operator would write for these prefixes, protocols and ports.
    pub fn to_rule(&self, action: Action) -> Rule {
        Rule {
            src: self.src,
            dst: self.dst,
            proto: self.value_set(),
            sport: self.value_set(),
            dport: self.value_set(),
            action,
            ..Rule::default()
        }
    }

    fn value_set<V: FieldValues>(&self) -> Option<ValueSet<V>> {
        self.field(V::FIELD).cloned().map(ValueSet::from)
    }
}

/// A rule for the kernel, in a list ordered by priority: the first match wins, but after [`Action::Count`] the
/// next rule is evaluated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KernelRule {
    pub id: RuleId,
    pub matcher: Match,
    pub action: Action,
    /// Of [`Action::Limit`].
    pub rate: Option<LimitRate>,
    /// Packets, or bytes if the rate is in bits; `None` = those of a tenth of a second.
    pub burst: Option<u32>,
    pub per: Per,
}
