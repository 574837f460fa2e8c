// SPDX-License-Identifier: AGPL-3.0-only
//! A rule as the kernel side takes it: the seam between the book of rules and the maps.

use crate::config::{Action, Per, PortRange, Protocol};
use crate::types::prefix::Prefix;

/// Number of a rule: never given twice while the agent runs; also the `rule` label's tail. 64 bits never run out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RuleId(pub u64);

/// Whence a rule comes, first by priority.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Origin {
    /// Allow list, own addresses, BMP peers: always wins.
    Allow,
    Runtime,
    Config,
    Blackhole,
}

impl Origin {
    pub const ALL: [Self; 4] = [Self::Allow, Self::Runtime, Self::Config, Self::Blackhole];

    pub fn name(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Runtime => "runtime",
            Self::Config => "config",
            Self::Blackhole => "blackhole",
        }
    }
}

/// What a packet must be, and what becomes of it. Interfaces are resolved to ifindexes already.
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

/// One of a list in the order of priority: the first match wins, but [`Action::Count`] counts and goes
/// on to the next rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compilable {
    pub id: RuleId,
    pub what: Match,
    pub action: Action,
    /// Packets per second of [`Action::Limit`].
    pub rate: Option<u32>,
    pub per: Per,
}
