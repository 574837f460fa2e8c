// SPDX-License-Identifier: AGPL-3.0-only
//! Converts a rule into conditions of the firewall, or refuses it.

use std::fmt;

use super::nlri::{AddressPattern, ComponentKind, FlowComponent, FlowFamily, FlowRule};
use super::operators::{OperatorTest, Operators};
use crate::types::named::Named;
use crate::types::prefix::Prefix;
use crate::types::rule::Match;
use crate::types::rule::fields::{MAX_RANGES, MatchField};
use crate::types::rule::flags::{DONT_FRAGMENT, FIRST_FRAGMENT, LAST_FRAGMENT, LATER_FRAGMENT};
use crate::types::rule::ranges::Ranges;

/// The reason why the firewall cannot enforce a rule exactly.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum FlowRejectReason {
    /// A prefix has an offset: the firewall compares addresses from their first bit on.
    Offset,
    /// A test of TCP flags names bits that the firewall does not read: those before the eight flags.
    TcpFlags,
    /// A component has more ranges than the firewall can have in one list.
    Ranges,
    /// No packet can match.
    Unmatchable,
    /// The rule redirects packets, or into a VRF.
    Redirect,
    /// The rule changes the DSCP of packets.
    Mark,
    /// The rate is no rate of the firewall.
    Rate,
    /// Two communities with one meaning differ, or both a rate in bytes and one in packets limit the packets.
    Conflict,
    /// Packets within the limit are evaluated further (terminal bit), which a limit of the firewall cannot do.
    Terminal,
    /// The extended communities end within one.
    Malformed,
}

/// The eight flags of TCP: the byte that a value of one byte tests.
const TCP_FLAGS: u64 = 0xff;
/// The bits before them. The data offset, in the highest four bits, counts as 0 (RFC 8955 section 4.2.2.9).
const TCP_RESERVED: u64 = 0x0f00;

impl Named for FlowRejectReason {
    const ALL: &'static [Self] = &[
        Self::Offset,
        Self::TcpFlags,
        Self::Ranges,
        Self::Unmatchable,
        Self::Redirect,
        Self::Mark,
        Self::Rate,
        Self::Conflict,
        Self::Terminal,
        Self::Malformed,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Offset => "offset",
            Self::TcpFlags => "tcp_flags",
            Self::Ranges => "ranges",
            Self::Unmatchable => "unmatchable",
            Self::Redirect => "redirect",
            Self::Mark => "mark",
            Self::Rate => "rate",
            Self::Conflict => "conflict",
            Self::Terminal => "terminal",
            Self::Malformed => "malformed",
        }
    }
}

impl fmt::Display for FlowRejectReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FlowRule {
    /// Returns the conditions of the firewall that match the same packets. The prefix of all addresses restricts a
    /// rule without a prefix to its family.
    pub fn to_match(&self) -> Result<Match, FlowRejectReason> {
        let mut matcher = Match::default();
        for component in self.components() {
            match component {
                FlowComponent::Address(ComponentKind::Source, pattern) => {
                    matcher.src = Some(pattern.to_prefix()?);
                }
                FlowComponent::Address(_, pattern) => matcher.dst = Some(pattern.to_prefix()?),
                FlowComponent::Tests(kind, tests) => {
                    let values = kind.values(self.family(), tests)?;
                    matcher.set(kind.field(), values.into());
                }
            }
        }
        if !matcher.has_prefix() {
            matcher.dst = Some(self.family().all_addresses());
        }
        let matcher = matcher.into_flowspec();
        let is_empty = |values: &Ranges| values.as_slice().is_empty();
        match matcher.fields().iter().any(|(_, values)| is_empty(values)) {
            true => Err(FlowRejectReason::Unmatchable),
            false => Ok(matcher),
        }
    }
}

impl AddressPattern {
    fn to_prefix(self) -> Result<Prefix, FlowRejectReason> {
        match self.offset {
            0 => Ok(self.prefix),
            _ => Err(FlowRejectReason::Offset),
        }
    }
}

impl ComponentKind {
    /// Returns the field of a component with tests.
    fn field(self) -> MatchField {
        match self {
            Self::Port => MatchField::Port,
            Self::DestinationPort => MatchField::Dport,
            Self::SourcePort => MatchField::Sport,
            Self::IcmpType => MatchField::IcmpType,
            Self::IcmpCode => MatchField::IcmpCode,
            Self::TcpFlags => MatchField::TcpFlags,
            Self::Length => MatchField::Length,
            Self::Dscp => MatchField::Dscp,
            Self::Fragment => MatchField::Fragment,
            Self::FlowLabel => MatchField::FlowLabel,
            Self::Protocol | Self::Destination | Self::Source => MatchField::Protocol,
        }
    }

    /// Returns the numbers that pass the tests.
    pub(super) fn numbers(self, tests: &Operators) -> Ranges {
        let all = u64::MAX;
        let (max, mask) = match self {
            // 65,535 bytes after the header of IPv6, and that header
            Self::Length => (65_575, all),
            Self::Port | Self::DestinationPort | Self::SourcePort => (65_535, all),
            // bits before those of the field are treated as 0
            Self::Dscp => (63, 63),
            Self::FlowLabel => (0xf_ffff, 0xf_ffff),
            _ => (255, all),
        };
        tests.numbers(max, mask)
    }

    fn values(self, family: FlowFamily, tests: &Operators) -> Result<Ranges, FlowRejectReason> {
        let values = match self {
            Self::TcpFlags if tests.names(TCP_RESERVED) => return Err(FlowRejectReason::TcpFlags),
            Self::TcpFlags => bit_values(TCP_FLAGS as u32, tests, |test| match test.size {
                1 => TCP_FLAGS,
                _ => u64::from(u16::MAX),
            }),
            Self::Fragment => {
                let fragments = FIRST_FRAGMENT | LATER_FRAGMENT | LAST_FRAGMENT;
                // IPv6 has no such bit (RFC 8956 section 3.6)
                let known = match family {
                    FlowFamily::Ipv4 => fragments | DONT_FRAGMENT,
                    FlowFamily::Ipv6 => fragments,
                };
                bit_values(fragments | DONT_FRAGMENT, tests, |_| known.into())
            }
            _ => self.numbers(tests),
        };
        match values.as_slice().len() > MAX_RANGES {
            true => Err(FlowRejectReason::Ranges),
            false => Ok(values),
        }
    }
}

/// Returns the combinations of bits up to `max` that pass; `mask` returns the bits of a value that have a meaning.
fn bit_values(max: u32, tests: &Operators, mask: impl Fn(OperatorTest) -> u64) -> Ranges {
    let passes = tests.bits_passed(mask);
    (0..=max).filter(|bits| passes(u64::from(*bits))).collect()
}

#[cfg(test)]
mod tests;
