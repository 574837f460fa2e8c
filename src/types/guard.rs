// SPDX-License-Identifier: AGPL-3.0-only
//! Defines the quantities that the guard measures, and what it does about an attack.

use std::fmt;
use std::sync::Arc;

use super::named::{Named, serialize_by_name};
use super::prefix::Prefix;

/// Whether the guard may change the firewall.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum GuardMode {
    /// It reports attacks and the rules that it would add.
    #[default]
    Watch,
    Act,
}

impl Named for GuardMode {
    const ALL: &'static [Self] = &[Self::Watch, Self::Act];

    fn name(self) -> &'static str {
        match self {
            Self::Watch => "watch",
            Self::Act => "act",
        }
    }
}

/// Whether the guard learns the usual traffic of the protected prefixes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BaselineMode {
    #[default]
    Off,
    Learn,
    /// The learned traffic does not change.
    Frozen,
}

impl Named for BaselineMode {
    const ALL: &'static [Self] = &[Self::Off, Self::Learn, Self::Frozen];

    fn name(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Learn => "learn",
            Self::Frozen => "frozen",
        }
    }
}

/// The reply to an attack.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum GuardAction {
    Alert,
    /// A rule counts the packets of the attack.
    Count,
    Limit,
    #[default]
    Drop,
}

impl Named for GuardAction {
    const ALL: &'static [Self] = &[Self::Alert, Self::Count, Self::Limit, Self::Drop];

    fn name(self) -> &'static str {
        match self {
            Self::Alert => "alert",
            Self::Count => "count",
            Self::Limit => "limit",
            Self::Drop => "drop",
        }
    }
}

/// The quantities counted for each host and prefix, in each second.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(usize)]
pub enum Quantity {
    Packets,
    Bits,
    NewFlows,
    /// TCP SYNs that no ACK of the same client followed.
    Syn,
    /// Fragments without ports: all but the first of a packet.
    Fragments,
}

impl Named for Quantity {
    const ALL: &'static [Self] = &[
        Self::Packets,
        Self::Bits,
        Self::NewFlows,
        Self::Syn,
        Self::Fragments,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Packets => "packets",
            Self::Bits => "bits",
            Self::NewFlows => "new_flows",
            Self::Syn => "syn",
            Self::Fragments => "fragments",
        }
    }
}

/// The direction of traffic as seen from the protected host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(usize)]
pub enum Heading {
    /// To the host.
    In,
    /// From the host.
    Out,
}

impl Named for Heading {
    const ALL: &'static [Self] = &[Self::In, Self::Out];

    fn name(self) -> &'static str {
        match self {
            Self::In => "in",
            Self::Out => "out",
        }
    }
}

/// The reason of an alarm: the quantity of an attack, or the key of a plain threshold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum AlarmKind {
    Attack(Quantity),
    AbovePackets,
    AboveBits,
    BelowPackets,
    BelowBits,
}

impl AlarmKind {
    /// Returns the quantity that is compared with the threshold.
    pub fn quantity(self) -> Quantity {
        match self {
            Self::Attack(quantity) => quantity,
            Self::AbovePackets | Self::BelowPackets => Quantity::Packets,
            Self::AboveBits | Self::BelowBits => Quantity::Bits,
        }
    }

    pub fn is_attack(self) -> bool {
        matches!(self, Self::Attack(_))
    }

    pub fn is_below(self) -> bool {
        matches!(self, Self::BelowPackets | Self::BelowBits)
    }
}

impl Named for AlarmKind {
    const ALL: &'static [Self] = &[
        Self::Attack(Quantity::Packets),
        Self::Attack(Quantity::Bits),
        Self::Attack(Quantity::NewFlows),
        Self::Attack(Quantity::Syn),
        Self::Attack(Quantity::Fragments),
        Self::AbovePackets,
        Self::AboveBits,
        Self::BelowPackets,
        Self::BelowBits,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Attack(quantity) => quantity.name(),
            Self::AbovePackets => "above_packets",
            Self::AboveBits => "above_bits",
            Self::BelowPackets => "below_packets",
            Self::BelowBits => "below_bits",
        }
    }
}

/// The traffic that an alarm is about.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum AlarmTarget {
    /// A host (as its prefix), or a prefix.
    Prefix(Prefix),
    /// The interface of this name.
    Interface(Arc<str>),
    /// The neighbors of this AS.
    Peer(u32),
}

impl AlarmTarget {
    pub fn prefix(&self) -> Option<Prefix> {
        match self {
            Self::Prefix(prefix) => Some(*prefix),
            _ => None,
        }
    }
}

impl fmt::Display for AlarmTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Prefix(prefix) => prefix.fmt(f),
            Self::Interface(name) => f.write_str(name),
            Self::Peer(asn) => write!(f, "AS{asn}"),
        }
    }
}

serialize_by_name!(GuardMode, BaselineMode, GuardAction, Quantity, Heading);
