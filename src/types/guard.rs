// SPDX-License-Identifier: AGPL-3.0-only
//! Defines the quantities that the guard measures, and what it does about an attack.

use super::named::{Named, serialize_by_name};

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

serialize_by_name!(GuardMode, GuardAction, Quantity, Heading);
