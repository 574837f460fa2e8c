// SPDX-License-Identifier: AGPL-3.0-only
//! The questions to the history on disk, and its answers.

use std::net::IpAddr;
use std::sync::Arc;

use crate::types::flow::{Direction, Family};

/// The resolution of stored points.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Tier {
    Minute,
    FiveMinutes,
    Hour,
    Day,
}

impl Tier {
    pub const ALL: [Self; 4] = [Self::Minute, Self::FiveMinutes, Self::Hour, Self::Day];

    /// Returns the length of a point in seconds.
    pub fn seconds(self) -> u64 {
        match self {
            Self::Minute => 60,
            Self::FiveMinutes => 300,
            Self::Hour => 3600,
            Self::Day => 86_400,
        }
    }

    /// Returns the word for it in documents.
    pub fn name(self) -> &'static str {
        match self {
            Self::Minute => "1m",
            Self::FiveMinutes => "5m",
            Self::Hour => "1h",
            Self::Day => "1d",
        }
    }
}

/// A period in Unix seconds, without its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeSpan {
    pub from: u64,
    pub to: u64,
}

impl TimeSpan {
    pub fn new(from: u64, to: u64) -> Self {
        Self { from, to }
    }

    pub fn contains(self, time: u64) -> bool {
        (self.from..self.to).contains(&time)
    }

    pub fn overlaps(self, other: Self) -> bool {
        self.from < other.to && other.from < self.to
    }

    pub fn seconds(self) -> u64 {
        self.to.saturating_sub(self.from)
    }
}

/// The kinds of parts of an interface. The parts of one kind and their rest add up to the interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum PartKind {
    /// The AS of the far side: of the source at ingress, of the destination at egress.
    Network,
    /// The peer AS of the far side.
    Neighbor,
    /// The country of the far side.
    Country,
    /// The named prefix of the far side.
    Prefix,
    /// The protocol and the service port.
    Service,
}

impl PartKind {
    pub const ALL: [Self; 5] = [
        Self::Network,
        Self::Neighbor,
        Self::Country,
        Self::Prefix,
        Self::Service,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::Network => "network",
            Self::Neighbor => "neighbor",
            Self::Country => "country",
            Self::Prefix => "prefix",
            Self::Service => "service",
        }
    }
}

/// A part of the traffic of an interface and direction.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Part {
    /// All traffic of a family, from the counters of the interface.
    Total(Family),
    /// An ASN; 0 if it is unknown.
    Network(u32),
    /// An ASN; 0 if it is unknown.
    Neighbor(u32),
    /// ISO 3166 alpha-2; spaces if it is unknown.
    Country([u8; 2]),
    Prefix(Arc<str>),
    /// Protocol and port; 0 if the protocol has no ports.
    Service(u8, u16),
    /// The traffic that no part of this kind has.
    Rest(PartKind),
}

impl Part {
    /// Returns `None` for totals.
    pub fn kind(&self) -> Option<PartKind> {
        match self {
            Self::Total(_) => None,
            Self::Network(_) => Some(PartKind::Network),
            Self::Neighbor(_) => Some(PartKind::Neighbor),
            Self::Country(_) => Some(PartKind::Country),
            Self::Prefix(_) => Some(PartKind::Prefix),
            Self::Service(..) => Some(PartKind::Service),
            Self::Rest(kind) => Some(*kind),
        }
    }
}

/// A point of a curve. The mean rate is `bytes` by `covered_ms`.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct CurvePoint {
    /// The start of the point.
    pub time: u64,
    /// The milliseconds of the point in which the interface was observed. After a clock step back
    /// they may exceed the length of the point.
    pub covered_ms: u32,
    pub bytes: u64,
    /// Exact for totals; 0 for parts and rests.
    pub packets: u64,
    /// The highest rate of five seconds, in bytes per second; 0 for rests, which have none.
    pub max_rate: f32,
}

/// A curve without points for the times without data.
#[derive(Clone, Debug, PartialEq)]
pub struct Curve {
    pub interface: Arc<str>,
    pub direction: Direction,
    pub part: Part,
    /// In order of time. Times at which the interface was observed and the part had no traffic have
    /// no point, except for totals and rests.
    pub points: Vec<CurvePoint>,
}

/// The selection of curves. An empty list selects all.
#[derive(Clone, Debug, Default)]
pub struct CurveFilter {
    pub interfaces: Vec<Arc<str>>,
    pub directions: Vec<Direction>,
    /// The kinds of parts to return beside the totals, each with its rest. An empty list selects
    /// only totals.
    pub kinds: Vec<PartKind>,
    /// Only these parts of the kinds. The rest is still that of all stored parts.
    pub parts: Vec<Part>,
}

impl CurveFilter {
    /// Returns a filter for all parts of all kinds.
    pub fn everything() -> Self {
        Self {
            kinds: PartKind::ALL.to_vec(),
            ..Self::default()
        }
    }

    pub(super) fn has_scope(&self, interface: &str, direction: Direction) -> bool {
        let named = |name: &Arc<str>| **name == *interface;
        (self.interfaces.is_empty() || self.interfaces.iter().any(named))
            && (self.directions.is_empty() || self.directions.contains(&direction))
    }

    pub(super) fn has_part(&self, part: &Part) -> bool {
        match part {
            Part::Total(_) => true,
            Part::Rest(kind) => self.kinds.contains(kind),
            _ => {
                part.kind().is_some_and(|kind| self.kinds.contains(&kind))
                    && (self.parts.is_empty() || self.parts.contains(part))
            }
        }
    }
}

#[derive(Clone, Debug, PartialEq)]
pub struct Curves {
    pub tier: Tier,
    pub curves: Vec<Curve>,
    /// The number of damaged blocks that the answer lacks.
    pub damaged_blocks: u64,
}

/// The traffic of a minute, from one thread.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MinuteRows {
    /// The start of the minute in Unix seconds.
    pub minute: u64,
    pub rows: Vec<ScopeRow>,
}

/// The traffic of one interface and direction in a minute.
#[derive(Clone, Debug, PartialEq)]
pub struct ScopeRow {
    pub interface: Arc<str>,
    pub direction: Direction,
    /// Milliseconds of the minute in which it was observed; 0 if the row has only parts, which
    /// another thread counted.
    pub covered_ms: u32,
    /// By [`Family`]; all 0 if the row has only parts.
    pub totals: [TotalRow; Family::ALL.len()],
    pub parts: Vec<PartRow>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct TotalRow {
    pub bytes: u64,
    pub packets: u64,
    /// The highest rate of five seconds, in bytes per second.
    pub max_rate: f32,
}

/// A part that is neither a total nor a rest.
#[derive(Clone, Debug, PartialEq)]
pub struct PartRow {
    pub part: Part,
    pub bytes: u64,
    pub max_rate: f32,
}

/// The exact counts of a named prefix with `bill = true` in a minute. Egress is the traffic from
/// the prefix, ingress the traffic to it, on the interfaces that face other networks.
#[derive(Clone, Debug, PartialEq)]
pub struct PrefixRow {
    pub name: Arc<str>,
    pub direction: Direction,
    /// Milliseconds of the minute in which its traffic was counted.
    pub covered_ms: u32,
    pub bytes: u64,
    pub packets: u64,
}

/// One conversation in a period. With `conversations = "prefixes"` the addresses are those of
/// prefixes: /24 and /48.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConversationRow {
    pub source: IpAddr,
    pub destination: IpAddr,
    pub protocol: u8,
    /// 0 if the protocol has no ports.
    pub service_port: u16,
    pub bytes: u64,
    pub packets: u64,
}

/// The largest conversations of one interface and direction in a period.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConversationList {
    pub interface: Arc<str>,
    pub direction: Direction,
    /// Largest first.
    pub rows: Vec<ConversationRow>,
    /// Bytes and packets of all other conversations.
    pub rest: (u64, u64),
}

/// The lists of a minute from thread flow.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MinuteLists {
    /// The start of the minute in Unix seconds.
    pub minute: u64,
    /// Services and named prefixes: rows with parts only.
    pub parts: Vec<ScopeRow>,
    pub prefixes: Vec<PrefixRow>,
    pub conversations: Vec<ConversationList>,
}

/// The conversations of a period of one or ten minutes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConversationPeriod {
    pub time: u64,
    /// 60 or 600.
    pub seconds: u64,
    pub lists: Vec<ConversationList>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Conversations {
    /// In order of time.
    pub periods: Vec<ConversationPeriod>,
    pub damaged_blocks: u64,
}

/// The subject of exact samples.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SampleSource {
    Interface(Arc<str>),
    Prefix(Arc<str>),
}

/// Exact counts of five minutes, by [`Direction`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sample {
    pub time: u64,
    pub covered_ms: u32,
    pub bytes: [u64; Direction::ALL.len()],
    pub packets: [u64; Direction::ALL.len()],
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Samples {
    /// In order of time; periods without data have none.
    pub samples: Vec<Sample>,
    pub damaged_blocks: u64,
}

/// Something that happened, as the page marks it.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct EventRow {
    pub time: u64,
    /// A word such as `start`, `stop`, `reload` or `interface_gone`.
    pub kind: String,
    /// A short text: the interface, the router or the rule.
    pub text: String,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EventRows {
    /// In order of time.
    pub events: Vec<EventRow>,
    pub damaged_blocks: u64,
}

/// A message to thread history.
#[derive(Clone, Debug, PartialEq)]
pub enum HistoryInput {
    Minute(MinuteRows),
    Lists(MinuteLists),
    Event(EventRow),
    /// The end of thread history.
    Stop,
}

impl HistoryInput {
    /// Returns the number of rows, lists and events.
    pub fn rows(&self) -> usize {
        match self {
            Self::Minute(minute) => minute.rows.len(),
            Self::Lists(lists) => {
                lists.parts.len() + lists.prefixes.len() + lists.conversations.len()
            }
            Self::Event(_) => 1,
            Self::Stop => 0,
        }
    }
}
