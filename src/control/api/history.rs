// SPDX-License-Identifier: AGPL-3.0-only
//! Replies of /v1/history and /v1/bill.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::bill::Bill;

/// The traffic of a period.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub struct HistoryReply {
    /// The period that the sums cover, in Unix seconds without its end: whole points of `step` seconds.
    pub from: u64,
    pub to: u64,
    /// The length of the stored points that were added up, in seconds.
    pub step: u64,
    /// The fields of `values`.
    pub by: Vec<String>,
    /// By interface and direction; the largest first, the rest last. The rows of an interface and direction add up to
    /// its counters.
    pub rows: Vec<HistoryRow>,
    /// In order of time.
    pub events: Vec<HistoryEvent>,
    /// The most bytes that a row may lack because a query adds up a limited number of different rows; 0 below the limit.
    #[serde(default)]
    pub max_missing_bytes: u64,
    /// The number of damaged blocks that the answer lacks.
    pub damaged_blocks: u64,
    /// The names of ASNs that are known.
    #[serde(default)]
    pub asn_names: BTreeMap<u32, String>,
}

/// Something that happened.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub struct HistoryEvent {
    /// In Unix seconds.
    pub time: u64,
    /// A word such as `start`.
    pub kind: String,
    /// The interface, the router or the rule.
    pub text: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HistoryRow {
    pub interface: String,
    pub direction: String,
    /// By the names in `by`; empty for the rest.
    pub values: BTreeMap<String, serde_json::Value>,
    pub bytes: u64,
    /// None if only bytes are stored.
    pub packets: Option<u64>,
    /// The highest rate of five seconds; none if it is not stored.
    pub max_bytes_per_second: Option<f64>,
    /// Seconds of the period in which the interface was observed.
    pub covered_seconds: f64,
    /// Whether this is the traffic of the interface and direction that no other row has.
    pub rest: bool,
}

/// The bills of a period.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub struct BillReply {
    /// In Unix seconds, without its end.
    pub from: u64,
    pub to: u64,
    /// Bytes that were added to each packet.
    pub overhead: u32,
    /// Whether the samples are exact counts; otherwise they are rounded to 0.1 %, and from sampled packets.
    pub exact: bool,
    pub bills: Vec<Bill>,
    pub damaged_blocks: u64,
}

/// The samples of a bill.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub struct SamplesReply {
    pub sources: Vec<SourceSamples>,
    pub damaged_blocks: u64,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub struct SourceSamples {
    pub source: String,
    pub samples: Vec<SampleRow>,
}

/// Counts of five minutes; bytes and packets by direction: received, sent.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub struct SampleRow {
    pub time: u64,
    pub covered_ms: u32,
    pub bytes: [u64; 2],
    pub packets: [u64; 2],
}
