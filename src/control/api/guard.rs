// SPDX-License-Identifier: AGPL-3.0-only
//! The guard: attacks, and the requests about them.

use serde::{Deserialize, Serialize};

use crate::types::rule::FirewallRule;

/// GET /v1/guard
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct GuardReply {
    pub time: String,
    /// "watch" or "act".
    pub mode: String,
    /// The configured action.
    pub action: String,
    pub protect: Vec<String>,
    /// Prefixes for which an operator has forbidden rules.
    pub allowed: Vec<String>,
    /// Hosts in the table, and how many with traffic made room for others.
    /// The usual traffic of the protected prefixes in this hour of the week, with agent.guard.baseline.
    #[serde(default)]
    pub baselines: Vec<GuardBaseline>,
    pub hosts: u64,
    pub evicted_hosts: u64,
    /// Attacks in progress, the earliest first.
    pub active: Vec<GuardAttack>,
    /// Attacks that have ended, the latest first.
    pub ended: Vec<GuardAttack>,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct GuardBaseline {
    pub prefix: String,
    /// "in" or "out".
    pub direction: String,
    /// The hours of the week that are learned, of 168.
    pub learned_hours: u64,
    pub packets_per_second: f64,
    pub bits_per_second: f64,
    pub new_flows_per_second: f64,
    pub syn_per_second: f64,
    pub fragments_per_second: f64,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct GuardAttack {
    pub id: u64,
    /// A host or a protected prefix; of a plain threshold its prefix, its interface, or "AS64500".
    pub target: String,
    /// "in" or "out", as seen from the target.
    pub direction: String,
    /// The quantity that exceeds its threshold: "packets", "bits", "new_flows", "syn" or "fragments". Of a plain
    /// threshold its key: "above_packets", "above_bits", "below_packets" or "below_bits".
    pub kind: String,
    /// Per second.
    pub threshold: f64,
    pub packets_per_second: f64,
    pub bits_per_second: f64,
    pub new_flows_per_second: f64,
    pub syn_per_second: f64,
    pub fragments_per_second: f64,
    /// When the threshold was first exceeded, when the alarm was raised, and the end.
    pub began: String,
    pub alarm: String,
    pub ended: Option<String>,
    /// The properties that the packets share; none if they share too few.
    pub signature: Option<String>,
    /// The part of the excess that the signature covers.
    pub share: Option<f64>,
    /// "alert", "count", "limit" or "drop".
    pub action: String,
    pub reason: String,
    /// The rules: in force, or proposed.
    pub rules: Vec<FirewallRule>,
    pub in_force: bool,
    pub expires: Option<String>,
    /// The packets that the rules have matched.
    pub matched_packets: u64,
    pub matched_bytes: u64,
    /// Why the rules could not be added.
    pub problem: Option<String>,
    /// The interface that most of the traffic crosses; its bits per second on the wire, the highest since the alarm, and its
    /// speed.
    pub interface: Option<String>,
    pub link_bits_per_second: Option<f64>,
    pub link_speed: Option<f64>,
    /// Whether the link is full: then only an announcement upstream helps.
    pub link_full: bool,
    /// Countries of the sources, and neighbor ASes that hand them over, if they share at least 80 % of the excess.
    pub countries: Vec<String>,
    pub peer_asns: Vec<u32>,
    /// The file with its first packets, if agent.guard.pcap is true.
    #[serde(default)]
    pub pcap: Option<String>,
    /// Distinct sources in a sample of at most 192 records.
    pub sampled_sources: u64,
    /// The largest flows of the sample.
    pub flows: Vec<GuardFlow>,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct GuardFlow {
    pub protocol: u8,
    pub src: String,
    pub dst: String,
    pub src_port: u16,
    pub dst_port: u16,
    pub tcp_flags: u8,
    pub packets: u64,
    pub bytes: u64,
}

/// A line of GET /v1/events.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct GuardEvent {
    /// Numbers increase by one; those of a later agent are higher.
    pub number: u64,
    pub time: String,
    /// "alarm", "rules", "failed", "link_full", "rules_removed" or "end".
    pub event: String,
    pub attack: GuardAttack,
}

/// A line of GET /v1/events?follow=true before an event if others before it are no longer kept.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct MissedEvents {
    pub missed: u64,
}

/// POST /v1/guard/stop, request.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GuardStop {
    pub id: u64,
}

/// POST /v1/guard/allow, request.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GuardAllow {
    pub prefix: String,
}

/// POST /v1/guard/stop and allow, reply.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct GuardChanged {
    pub removed_rules: u64,
}
