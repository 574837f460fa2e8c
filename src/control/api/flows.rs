// SPDX-License-Identifier: AGPL-3.0-only
//! The live flows, and sums over them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// GET /v1/flows
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct FlowsReply {
    pub time: String,
    pub sample_rate: u32,
    /// The number of matching flows; the answer has at most `limit` of them.
    pub matched: u64,
    pub flows: Vec<LiveFlow>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LiveFlow {
    pub interface: String,
    pub direction: String,
    pub protocol: u8,
    pub src: String,
    pub dst: String,
    pub src_port: u16,
    pub dst_port: u16,
    pub vlan: u16,
    pub inner_vlan: u16,
    pub bytes: u64,
    pub packets: u64,
    pub sampled_bytes: u64,
    pub sampled_packets: u64,
    /// Of `bytes` and `packets`, by adaptive sampling; 0 unless it counted packets several times.
    #[serde(default)]
    pub standard_error_bytes: u64,
    #[serde(default)]
    pub standard_error_packets: u64,
    pub sample_rate: u32,
    pub bytes_per_second: u64,
    pub packets_per_second: u64,
    pub first: String,
    pub last: String,
    pub tcp_flags: u8,
    pub tos: u8,
    pub input_interface: Option<String>,
    pub src_asn: Option<u32>,
    pub dst_asn: Option<u32>,
    pub src_asn_name: Option<String>,
    pub dst_asn_name: Option<String>,
    pub src_peer_asn: Option<u32>,
    pub dst_peer_asn: Option<u32>,
    pub src_city: Option<String>,
    pub dst_city: Option<String>,
    pub src_country: Option<String>,
    pub dst_country: Option<String>,
    pub src_net: Option<String>,
    pub dst_net: Option<String>,
}

/// GET /v1/top
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct TopReply {
    pub time: String,
    pub sample_rate: u32,
    pub by: Vec<String>,
    /// The number of groups; the answer has at most `limit` of them.
    pub groups: u64,
    pub total: TopSum,
    /// The sum over the groups beyond the maximum number of groups.
    pub rest: TopSum,
    /// Interfaces that were left out because an interface below counts the same packets.
    pub left_out: Vec<String>,
    pub top: Vec<TopGroup>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TopSum {
    pub flows: u64,
    pub bytes: u64,
    pub packets: u64,
    pub bytes_per_second: u64,
    pub packets_per_second: u64,
    pub sampled_packets: u64,
    /// Of `bytes` and `packets`, by adaptive sampling; 0 unless it counted packets several times.
    #[serde(default)]
    pub standard_error_bytes: u64,
    #[serde(default)]
    pub standard_error_packets: u64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TopGroup {
    /// The values of the fields in `by`: a number, a text, or null if unknown.
    pub values: serde_json::Map<String, serde_json::Value>,
    /// The name of the first AS among the values.
    pub asn_name: Option<String>,
    /// The names of all ASNs among the values, by field.
    #[serde(default)]
    pub asn_names: BTreeMap<String, String>,
    #[serde(flatten)]
    pub sum: TopSum,
}
