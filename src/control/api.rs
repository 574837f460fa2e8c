// SPDX-License-Identifier: AGPL-3.0-only
//! The requests and replies of the socket: written by the agent, read by the client commands.
//! docs/reference/control.md documents each field. Within a version of the path, no field changes its meaning.

mod flows;
mod guard;
mod history;
mod lookup;
mod paths;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::enrich::rib::SHORTEST_NETWORK;
pub use crate::types::rule::FirewallRule;
pub use flows::{FlowsReply, LiveFlow, TopGroup, TopReply, TopSum};
pub use guard::{
    GuardAllow, GuardAttack, GuardBaseline, GuardChanged, GuardEvent, GuardFlow, GuardReply,
    GuardStop, MissedEvents,
};
pub use history::{
    BillReply, HistoryEvent, HistoryReply, HistoryRow, SampleRow, SamplesReply, SourceSamples,
};
pub use lookup::{LookupLabel, LookupReply};
pub use paths::{
    PathEntry, PathHistory, PathSum, PathSums, PathsReply, PeakHour, WhatIfLoad, WhatIfLoads,
    WhatIfNeighbor, WhatIfReply,
};

/// The first component of all paths.
pub const VERSION: &str = "/v1";

/// The only path that accepts a large body, from clients that may change something.
pub const FIREWALL_ADD: &str = "/v1/firewall/add";

/// The body of every reply with a status other than 2xx.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub struct ErrorReply {
    pub error: String,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Status {
    pub version: String,
    pub revision: String,
    pub pid: u32,
    pub time: String,
    pub started: String,
    pub uptime_seconds: u64,
    pub healthy: bool,
    /// Empty if healthy.
    pub problems: Vec<Problem>,
    pub sample_rate: u32,
    /// 1 unless the ring buffer is more than half full.
    #[serde(default)]
    pub overload_rate: u32,
    pub log_level: String,
    pub interfaces: Vec<InterfaceStatus>,
    pub flows: FlowTotals,
    pub lost: Dropped,
    pub memory: MemoryStatus,
    pub cpu_seconds: f64,
    pub threads: Vec<ThreadStatus>,
    pub errors: Vec<ErrorCount>,
    pub parse_errors: Vec<ParseErrorCount>,
    pub databases: Vec<DatabaseStatus>,
    /// None without VRPs.
    #[serde(default)]
    pub rpki: Option<RpkiStatus>,
    /// None if sources are not checked.
    #[serde(default)]
    pub source_check: Option<SourceCheckStatus>,
    pub exporters: Vec<ExporterStatus>,
    pub bmp: Option<BmpStatus>,
    pub config: ConfigStatus,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Problem {
    /// A value of the label `kind` of rfm_problems.
    pub kind: String,
    pub text: String,
    pub remedy: String,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct InterfaceStatus {
    pub name: String,
    pub ifindex: u32,
    pub alias: String,
    pub kind: String,
    pub master: Option<String>,
    pub parent: Option<String>,
    /// The monitored interface that sees the same packets nearer to the wire.
    pub stacked_on: Option<String>,
    /// "transit", "ix", "pni", "customer" or "internal"; empty if it is unknown.
    #[serde(default)]
    pub role: String,
    /// The other network or the exchange; empty if it is unknown.
    #[serde(default)]
    pub provider: String,
    pub up: bool,
    pub speed_bytes: Option<u64>,
    /// "tcx", "clsact" or "none".
    pub attach: String,
    pub rx_bytes: u64,
    pub rx_packets: u64,
    pub tx_bytes: u64,
    pub tx_packets: u64,
    pub families: Vec<FamilyTotals>,
    pub sampled_packets: u64,
    pub sampled_bytes: u64,
    pub lost_packets: u64,
    pub lost_bytes: u64,
    pub device: DeviceTotals,
    pub rates: Option<InterfaceRates>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct FamilyTotals {
    /// "ipv4", "ipv6" or "other".
    pub family: String,
    pub rx_bytes: u64,
    pub rx_packets: u64,
    pub tx_bytes: u64,
    pub tx_packets: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct DeviceTotals {
    pub rx_bytes: u64,
    pub rx_packets: u64,
    pub tx_bytes: u64,
    pub tx_packets: u64,
}

/// Over the last `seconds`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct InterfaceRates {
    pub seconds: f64,
    pub rx_bytes_per_second: f64,
    pub rx_packets_per_second: f64,
    pub tx_bytes_per_second: f64,
    pub tx_packets_per_second: f64,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct FlowTotals {
    pub active: u64,
    pub max: u64,
    pub accounted_packets: u64,
    pub accounted_bytes: u64,
    pub forced_evictions: u64,
    pub series: u64,
    pub series_limit: u64,
    pub series_folded: u64,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Dropped {
    pub records: u64,
    pub packets: u64,
    pub bytes: u64,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct MemoryStatus {
    pub resident_bytes: u64,
    pub virtual_bytes: u64,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ThreadStatus {
    pub name: String,
    pub alive: bool,
    pub heartbeat_age_seconds: f64,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ErrorCount {
    pub subsystem: String,
    pub count: u64,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ParseErrorCount {
    pub reason: String,
    pub count: u64,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct DatabaseStatus {
    pub name: String,
    pub built: String,
    /// The path of the file.
    pub file: String,
}

/// The neighbors whose sources are checked.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SourceCheckStatus {
    pub mode: String,
    /// The number of neighbor ASes on the segments of the monitored interfaces.
    pub neighbors: u64,
    /// Those whose routes before import policy rfm does not receive: the result for them is unknown.
    pub without_view: Vec<u32>,
    /// The names of these ASNs, if the ASN database has them.
    #[serde(default)]
    pub asn_names: BTreeMap<u32, String>,
}

/// The VRPs in use.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RpkiStatus {
    pub ipv4_vrps: u64,
    pub ipv6_vrps: u64,
    /// The path of the file.
    pub source: String,
    /// When they were written.
    pub updated: String,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ExporterStatus {
    /// "prometheus" or "ipfix".
    pub kind: String,
    pub address: String,
    /// Only for "ipfix": flow records that were sent, and those that were not delivered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub records: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dropped_records: Option<u64>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct BmpStatus {
    pub sessions: u64,
    pub routers: Vec<BmpRouterStatus>,
    /// The number of all peers; `peers` has at most 1000 of them.
    pub peer_count: u64,
    pub peers: Vec<BgpPeerStatus>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct BmpRouterStatus {
    pub router: String,
    pub sessions: u64,
    pub last_message: Option<String>,
    pub updates: u64,
    pub withdraws: u64,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct BgpPeerStatus {
    pub router: String,
    pub address: String,
    /// "global", "distinguished", "local", "loc-rib" or "originated".
    pub kind: String,
    pub distinguisher: String,
    pub up: bool,
    pub ipv4_routes: u64,
    pub ipv6_routes: u64,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ConfigStatus {
    pub file: String,
    pub last_reload_successful: bool,
    pub last_reload_success: String,
}

/// GET /v1/rib
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RibReply {
    pub address: String,
    /// "global", or the VRF device.
    pub table: String,
    /// The prefix of the best route.
    pub prefix: Option<String>,
    /// Why no route was chosen.
    pub none_chosen: Option<String>,
    pub routes: Vec<RibRoute>,
    /// Names of the ASNs in the routes, from the ASN database.
    #[serde(default)]
    pub asn_names: BTreeMap<u32, String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RibRoute {
    pub prefix: String,
    pub best: bool,
    /// The reason why it is the best route, or why it is not.
    pub reason: String,
    /// The step of the decision process at which it won or lost, if it took part.
    pub step: Option<String>,
    /// Steps before that one for which BMP carries no data.
    pub unknown_steps: Vec<String>,
    pub router: String,
    pub peer: String,
    pub peer_asn: Option<u32>,
    /// The name from the OPEN of the peer.
    pub peer_name: Option<String>,
    pub view: String,
    pub path_id: Option<u32>,
    pub stale: bool,
    /// Seconds since rfm received it with these attributes: at least and at most.
    pub age_min: u64,
    pub age_max: u64,
    pub origin_asn: Option<u32>,
    pub neighbour_asn: Option<u32>,
    /// "valid", "invalid" or "not-found" (RFC 6811); none without VRPs.
    #[serde(default)]
    pub rpki: Option<String>,
    pub next_hop: Option<String>,
    /// The value that the decision process compares: 100 if none was sent.
    pub local_pref: u32,
    pub local_pref_sent: bool,
    /// The AS path in the notation of routers.
    pub as_path: String,
    pub as_path_length: u16,
    pub origin: String,
    /// 0 if none was sent.
    pub med: u32,
    pub med_sent: bool,
    pub communities: Vec<String>,
    pub large_communities: Vec<String>,
    pub originator_id: Option<String>,
    pub cluster_list: Vec<String>,
    /// Whether the AS path or the lists are incomplete.
    pub cut: bool,
    pub blackhole: bool,
    /// For a blackhole route: "taken", or the reason why the firewall refuses it.
    pub blackhole_state: Option<String>,
}

impl RibRoute {
    /// Returns whether the prefix is so short that it belongs to no single network.
    pub fn is_default(&self) -> bool {
        let length = self.prefix.rsplit_once('/').map(|(_, length)| length);
        let length = length.and_then(|length| length.parse::<u8>().ok());
        length.is_some_and(|length| length < SHORTEST_NETWORK)
    }
}

/// POST /v1/sample_rate, request and reply.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SampleRate {
    pub sample_rate: u32,
}

/// POST /v1/log_level, request and reply.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogLevel {
    /// "off", "error", "warn", "info", "debug" or "trace".
    pub log_level: String,
}

/// POST /v1/reload, reply.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct ReloadReply {
    /// Keys that have another value now.
    pub changed: Vec<String>,
    /// Keys whose new value needs a restart.
    pub needs_restart: Vec<String>,
}

/// POST /v1/bmp/flush, request.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BmpFlush {
    /// The name of the router in the reply of `status`.
    pub router: String,
}

/// POST /v1/bmp/flush, reply.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct BmpFlushed {
    pub sessions: u64,
}

/// GET /v1/firewall
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct FirewallStatus {
    pub rules: FirewallCounts,
    pub interfaces: Vec<FirewallInterface>,
    /// The series with their values on /metrics.
    pub series: Vec<FirewallSeries>,
    /// The largest flows that were dropped in the last 5 seconds, estimated from samples.
    pub dropped_flows: Vec<FirewallFlow>,
    /// Samples that were dropped because the ring was full.
    pub lost_samples: u64,
    /// Sources without a bucket in a limit per source: they began with a full bucket.
    #[serde(default)]
    pub new_sources: u64,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct FirewallFlow {
    pub interface: String,
    pub protocol: u8,
    pub src: String,
    pub dst: String,
    pub src_port: u16,
    pub dst_port: u16,
    pub vlan: u16,
    pub packets: u64,
    pub bytes: u64,
    pub sampled_packets: u64,
    pub sample_rate: u32,
    pub last: String,
}

/// The number of rules, by their origin.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct FirewallCounts {
    pub allow: u64,
    pub runtime: u64,
    pub config: u64,
    #[serde(default)]
    pub guard: u64,
    pub blackhole: u64,
    #[serde(default)]
    pub source_check: u64,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct FirewallInterface {
    pub name: String,
    pub ifindex: u32,
    /// "native", "generic", or "none"; `problem` has the reason for "none".
    pub mode: String,
    pub problem: Option<String>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct FirewallSeries {
    pub rule: String,
    /// "drop", "pass" or "count".
    pub action: String,
    pub packets: u64,
    pub bytes: u64,
}

/// GET /v1/firewall/rules
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct FirewallRules {
    /// The number of all rules; the answer has at most `limit` of them.
    pub total: u64,
    /// In the order of priority.
    pub rules: Vec<FirewallListed>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct FirewallListed {
    pub id: u64,
    /// "allow", "runtime", "config", "blackhole" or "source-check".
    pub origin: String,
    pub rule: FirewallRule,
    /// The time at which the rule expires.
    pub expires: Option<String>,
    pub packets: u64,
    pub bytes: u64,
    /// The part of these that a limit dropped.
    pub dropped_packets: u64,
    pub dropped_bytes: u64,
}

/// POST /v1/firewall/add, request.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FirewallAdd {
    pub rules: Vec<FirewallRule>,
    /// Whether the rules replace all previously added ones.
    #[serde(default)]
    pub replace: bool,
    /// Whether to skip the check for likely mistakes.
    #[serde(default)]
    pub force: bool,
    /// The `SSH_CONNECTION` of the environment, which the rules must not cut.
    #[serde(default)]
    pub ssh_connection: Option<String>,
}

/// POST /v1/firewall/del, request.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FirewallDel {
    pub ids: Vec<u64>,
    #[serde(default)]
    pub force: bool,
    #[serde(default)]
    pub ssh_connection: Option<String>,
}

/// POST /v1/firewall/flush, request.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FirewallFlush {
    #[serde(default)]
    pub force: bool,
    #[serde(default)]
    pub ssh_connection: Option<String>,
}

/// POST /v1/firewall/add, del and flush, reply.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct FirewallEdited {
    /// Numbers of the added rules, in their order.
    pub added: Vec<u64>,
    pub removed: u64,
}
