// SPDX-License-Identifier: AGPL-3.0-only
//! `[agent.guard]`: the detection of attacks, and what is done about them.

use std::time::Duration;

use super::reference::ReloadClass::Restart;
use super::section::section;
use super::values::{MAX_LIST, SECOND, boolean, canonical_prefix, duration, list, named, number};
use crate::types::guard::{GuardAction, GuardMode};
use crate::types::prefix::Prefix;

const MAX_THRESHOLD: u64 = 1_000_000_000_000;
/// Rules of all attacks at once.
pub const MAX_RULES: u32 = 256;

section! {
    pub struct Guard() {
        enabled: bool = key {
            reload: Restart,
            type: boolean(),
            default: false,
            text: "Whether to detect attacks on the protected hosts.",
            details: "docs/guard.md describes what counts as an attack.",
        }
        mode: GuardMode = key {
            reload: Restart,
            type: named::<GuardMode>(),
            default: GuardMode::Watch,
            text: "\"watch\" reports attacks and the rules that would stop them; \"act\" also adds these rules to the firewall.",
            details: "\"act\" needs agent.firewall.enabled, unless the action is \"alert\".",
        }
        protect: Vec<Prefix> = key {
            reload: Restart,
            type: list(MAX_LIST, canonical_prefix()),
            default: Vec::new(),
            example: "[\"198.51.100.0/24\", \"2001:db8:1::/48\"]",
            text: "Prefixes whose hosts are monitored; empty = the networks to which this machine is connected at the start.",
            details: "Each prefix also has thresholds of its own, against attacks that spread over its hosts.",
        }
        action: GuardAction = key {
            reload: Restart,
            type: named::<GuardAction>(),
            default: GuardAction::Drop,
            text: "\"alert\" adds no rule; \"count\", \"limit\" and \"drop\" add rules with this action.",
            details: "An attack without a signature gets no rule. A signature that also fits legitimate packets gets a limit for \
                      each source in place of a drop.",
        }
        #[serde(with = "humantime_serde")]
        ttl: Duration = key {
            reload: Restart,
            type: duration(SECOND),
            default: Duration::from_secs(60),
            text: "Time to live of a rule after the last second in which it matched the attack.",
        }
        max_rules: u32 = key {
            reload: Restart,
            type: number(1..=MAX_RULES),
            unit: "rules",
            default: 64,
            text: "Most rules of all attacks at once.",
        }
        host_packets: u64 = key {
            reload: Restart,
            type: number(0..=MAX_THRESHOLD),
            unit: "packets/s",
            default: 100_000,
            text: "Threshold of packets to or from one host, without established connections and answered flows; 0 = none.",
        }
        host_bits: u64 = key {
            reload: Restart,
            type: number(0..=MAX_THRESHOLD),
            unit: "bit/s",
            default: 1_000_000_000,
            text: "The same for bits of frames.",
        }
        host_new_flows: u64 = key {
            reload: Restart,
            type: number(0..=MAX_THRESHOLD),
            unit: "flows/s",
            default: 20_000,
            text: "The same for new flows.",
        }
        host_syn: u64 = key {
            reload: Restart,
            type: number(0..=MAX_THRESHOLD),
            unit: "packets/s",
            default: 10_000,
            text: "Threshold of TCP SYNs to or from one host that the client did not follow with an ACK; 0 = none.",
        }
        host_fragments: u64 = key {
            reload: Restart,
            type: number(0..=MAX_THRESHOLD),
            unit: "packets/s",
            default: 20_000,
            text: "Threshold of fragments to or from one host, without the first of each packet; 0 = none.",
        }
        prefix_packets: u64 = key {
            reload: Restart,
            type: number(0..=MAX_THRESHOLD),
            unit: "packets/s",
            default: 400_000,
            text: "Threshold of packets of all hosts of a protected prefix together; 0 = none.",
        }
        prefix_bits: u64 = key {
            reload: Restart,
            type: number(0..=MAX_THRESHOLD),
            unit: "bit/s",
            default: 4_000_000_000,
            text: "The same for bits of frames.",
        }
        prefix_new_flows: u64 = key {
            reload: Restart,
            type: number(0..=MAX_THRESHOLD),
            unit: "flows/s",
            default: 80_000,
            text: "The same for new flows.",
        }
        prefix_syn: u64 = key {
            reload: Restart,
            type: number(0..=MAX_THRESHOLD),
            unit: "packets/s",
            default: 40_000,
            text: "The same for TCP SYNs without an ACK.",
        }
        prefix_fragments: u64 = key {
            reload: Restart,
            type: number(0..=MAX_THRESHOLD),
            unit: "packets/s",
            default: 80_000,
            text: "The same for fragments.",
        }
    }
}

impl Guard {
    /// Returns whether an attack may lead to a rule.
    pub fn changes_firewall(&self) -> bool {
        self.mode == GuardMode::Act && self.action != GuardAction::Alert
    }
}
