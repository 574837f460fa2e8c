// SPDX-License-Identifier: AGPL-3.0-only
//! Queries about live flows: selection and sums (pure).
//!
//! - [`Filter`]: the flows that match,
//! - `select`: those with the most traffic,
//! - `group`: sums over flows with common values,
//! - [`Scan`]: the iteration over the table, in slices.

mod filter;
mod group;
mod scan;
mod select;

use std::net::IpAddr;
use std::sync::Arc;

use super::labels::SetId;
use super::volume::Variance;
use crate::types::flow::{FlowKey, FlowRecord};
use crate::types::label::{Enrichment, Label};
use crate::types::prefix::Prefix;

pub use filter::{EndpointFilter, Filter};
pub use group::{Group, Groups, MAX_FIELDS, MAX_GROUPS};
pub use scan::{Question, Scan};
pub use select::FlowRow;

/// The maximum number of flows or groups in one answer.
pub const MAX_LIMIT: usize = 1000;

/// A flow with a record within this time is active: the idle time since then does not reduce its
/// rate. The flow cache reports a flow once a second.
const UNDER_WAY_NS: u64 = 2_000_000_000;

/// The minimum time of a rate; otherwise a single packet would look like a burst.
const SHORTEST_NS: u64 = 1_000_000_000;

/// The data about a flow that is not in its record.
pub trait FlowContext {
    /// Returns all of it; needs a lookup in each source.
    fn known(&self, record: &FlowRecord) -> Enrichment;
    /// Returns source and destination AS, 0 if unknown.
    fn asns(&self, key: &FlowKey, set: SetId) -> [u32; 2];
    /// Returns the name of an AS.
    fn asn_name(&self, asn: u32) -> Option<Arc<str>>;
    fn name(&self, ifindex: u32) -> Option<Arc<str>>;
}

/// The sort key of the answers, in descending order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sort {
    #[default]
    Bytes,
    Packets,
    Rate,
    /// The time of the last packet.
    Last,
    /// The duration, longest first.
    Duration,
}

impl Sort {
    pub const ALL: [Self; 5] = [
        Self::Bytes,
        Self::Packets,
        Self::Rate,
        Self::Last,
        Self::Duration,
    ];

    /// The keys by which sums over flows can be sorted.
    pub const OF_SUMS: [Self; 3] = [Self::Bytes, Self::Packets, Self::Rate];

    pub fn name(self) -> &'static str {
        match self {
            Self::Bytes => "bytes",
            Self::Packets => "packets",
            Self::Rate => "rate",
            Self::Last => "last",
            Self::Duration => "duration",
        }
    }
}

/// A field by which flows can be grouped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    Label(Label),
    Src,
    Dst,
    SrcPort,
    DstPort,
}

impl Field {
    const OTHERS: [Self; 4] = [Self::Src, Self::Dst, Self::SrcPort, Self::DstPort];

    pub fn all() -> impl Iterator<Item = Self> {
        Label::ALL.into_iter().map(Self::Label).chain(Self::OTHERS)
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Label(label) => label.name(),
            Self::Src => "src",
            Self::Dst => "dst",
            Self::SrcPort => "src_port",
            Self::DstPort => "dst_port",
        }
    }
}

/// The value of a [`Field`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Value {
    /// The value is unknown, or there is none.
    Nothing,
    Number(u32),
    Address(IpAddr),
    Prefix(Prefix),
    Text(Arc<str>),
}

/// Packets and bytes, scaled by the sample rate; the number of sampled packets; the current rate; and the variance
/// that adaptive sampling caused.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Sum {
    pub flows: u64,
    pub bytes: u64,
    pub packets: u64,
    pub bytes_per_second: u64,
    pub packets_per_second: u64,
    pub sampled_packets: u64,
    pub variance: Variance,
}

impl Sum {
    /// Returns the traffic of the partial record of one flow; `now_ns` is CLOCK_BOOTTIME.
    pub(super) fn of(record: &FlowRecord, now_ns: u64) -> Self {
        let rate = u64::from(record.sample_rate);
        let bytes = record.frame_bytes.wrapping_mul(rate);
        let packets = record.packets.wrapping_mul(rate);
        let under_way = now_ns.saturating_sub(record.last) < UNDER_WAY_NS;
        let end = if under_way { record.last } else { now_ns };
        let span = end.saturating_sub(record.first).max(SHORTEST_NS);
        let per_second = |count: u64| (u128::from(count) * 1_000_000_000 / u128::from(span)) as u64;
        Self {
            flows: 1,
            bytes,
            packets,
            bytes_per_second: per_second(bytes),
            packets_per_second: per_second(packets),
            sampled_packets: record.packets,
            variance: record.into(),
        }
    }

    fn add(&mut self, other: &Self) {
        self.flows += other.flows;
        self.bytes = self.bytes.wrapping_add(other.bytes);
        self.packets = self.packets.wrapping_add(other.packets);
        self.bytes_per_second = self.bytes_per_second.wrapping_add(other.bytes_per_second);
        self.packets_per_second = self
            .packets_per_second
            .wrapping_add(other.packets_per_second);
        self.sampled_packets = self.sampled_packets.wrapping_add(other.sampled_packets);
        self.variance += other.variance;
    }
}

#[cfg(test)]
mod tests;
