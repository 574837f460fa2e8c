// SPDX-License-Identifier: AGPL-3.0-only
//! `[agent.guard]`: the detection of attacks, and what is done about them.

use std::path::PathBuf;
use std::time::Duration;

use super::reference::ReloadClass::Restart;
use super::section::section;
use super::values::{
    MAX_LIST, SECOND, boolean, canonical_prefix, duration, list, named, number, optional,
    path as folder, text,
};
use crate::types::guard::{AlarmKind, AlarmTarget, BaselineMode, GuardAction, GuardMode, Heading};
use crate::types::prefix::Prefix;
use crate::types::static_peer::or_empty;

const MAX_PATH: usize = 3_900;
const MAX_PCAP_FILES: u32 = 10_000;
const MAX_FACTOR: u32 = 100;
const MAX_THRESHOLD: u64 = 1_000_000_000_000;
/// Rules of all attacks at once.
pub const MAX_RULES: u32 = 256;
/// Tables [[agent.guard.threshold]].
const MAX_PLAIN: usize = 64;
/// Tables [[agent.guard.link]].
const MAX_LINKS: usize = 64;
/// The length of the name of an interface.
const MAX_NAME: usize = 15;

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
        baseline: BaselineMode = key {
            reload: Restart,
            type: named::<BaselineMode>(),
            default: BaselineMode::Off,
            text: "\"learn\" learns the usual traffic of each protected prefix in each hour of the week, and raises its thresholds \
                   to baseline_factor times that; \"frozen\" keeps what was learned.",
            details: "The thresholds prefix_* are the lowest. The first 256 prefixes are learned.",
        }
        baseline_factor: u32 = key {
            reload: Restart,
            type: number(2..=MAX_FACTOR),
            unit: "times",
            default: 3,
            text: "The learned thresholds are so many times the usual traffic.",
        }
        baseline_file: PathBuf = key {
            reload: Restart,
            type: folder(MAX_PATH),
            default: "/var/lib/rfm/guard-baseline".into(),
            text: "Keeps what was learned over a restart: 7 kB for each prefix.",
        }
        #[serde(skip_serializing_if = "Vec::is_empty")]
        threshold: Vec<GuardThreshold> = tables {
            reload: Restart,
            of: GuardThreshold,
            max: MAX_PLAIN,
            with: (),
            text: "Plain thresholds for an interface, a neighbor AS or a prefix, one table each: they raise alarms, and add \
                   no rules.",
        }
        #[serde(skip_serializing_if = "Vec::is_empty")]
        link: Vec<GuardLink> = tables {
            reload: Restart,
            of: GuardLink,
            max: MAX_LINKS,
            with: (),
            text: "Speeds of links, one table each, for interfaces whose driver reports none or another than the provider \
                   delivers.",
        }
        pcap: bool = key {
            reload: Restart,
            type: boolean(),
            default: false,
            text: "Whether to store the first 1,000 packets of each attack, also those that are dropped: 256 bytes of each.",
            details: "The packets contain addresses and content of users. docs/guard.md lists the kernels that cannot do this.",
        }
        pcap_dir: PathBuf = key {
            reload: Restart,
            type: folder(MAX_PATH),
            default: "/var/lib/rfm/attacks".into(),
            text: "Folder of the packets; rfm creates it.",
        }
        pcap_files: u32 = key {
            reload: Restart,
            type: number(1..=MAX_PCAP_FILES),
            unit: "files",
            default: 100,
            text: "Most files of packets, each of at most 0.4 MB; the oldest are removed.",
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

section! {
    pub struct GuardThreshold() {
        /// "" = not by interface.
        interface: String = key {
            reload: Restart,
            type: text(MAX_NAME),
            default: String::new(),
            example: "\"wan0\"",
            text: "The name of a monitored interface; each table has interface, peer_asn or prefix.",
        }
        peer_asn: u32 = key {
            reload: Restart,
            type: number(0..=u32::MAX),
            default: 0,
            example: "64500",
            text: "The AS of neighbors, as in the label peer_asn; 0 = none.",
        }
        #[serde(serialize_with = "or_empty")]
        prefix: Option<Prefix> = key {
            reload: Restart,
            type: optional::<Prefix>("a prefix such as \"10.0.0.0/8\""),
            default: None,
            example: "\"198.51.100.0/24\"",
            text: "A prefix: packets to it that enter, and packets from it that leave.",
        }
        direction: Heading = key {
            reload: Restart,
            type: named::<Heading>(),
            default: Heading::In,
            text: "\"in\": packets that enter this router; \"out\": packets that leave it.",
        }
        above_packets: u64 = key {
            reload: Restart,
            type: number(0..=MAX_THRESHOLD),
            unit: "packets/s",
            default: 0,
            text: "Alarm while there are more packets than this; 0 = none. Each table has one of the four keys.",
        }
        above_bits: u64 = key {
            reload: Restart,
            type: number(0..=MAX_THRESHOLD),
            unit: "bit/s",
            default: 0,
            example: "9_000_000_000",
            text: "The same for bits of frames.",
        }
        below_packets: u64 = key {
            reload: Restart,
            type: number(0..=MAX_THRESHOLD),
            unit: "packets/s",
            default: 0,
            text: "Alarm while there are fewer packets than this; 0 = none.",
        }
        below_bits: u64 = key {
            reload: Restart,
            type: number(0..=MAX_THRESHOLD),
            unit: "bit/s",
            default: 0,
            text: "The same for bits of frames.",
        }
        #[serde(with = "humantime_serde")]
        r#for: Duration = key {
            reload: Restart,
            type: duration(SECOND),
            default: Duration::from_secs(10),
            text: "The time for which this must last; the alarm ends after as long on the other side of the threshold.",
            details: "The mean of each tenth of this time is compared, of each second at the least.",
        }
    }
}

section! {
    pub struct GuardLink() {
        interface: String = key {
            reload: Restart,
            type: text(MAX_NAME),
            required: "interface = \"wan0\"",
            default: String::new(),
            example: "\"wan0\"",
            text: "The name of the interface; required.",
        }
        speed: u64 = key {
            reload: Restart,
            type: number(1..=MAX_THRESHOLD),
            unit: "bit/s",
            required: "speed = 1_000_000_000",
            default: 1,
            example: "1_000_000_000",
            text: "Its speed; required. An event reports an attack that fills 95 % of it.",
        }
    }
}

impl GuardThreshold {
    /// Returns the targets that are set; a valid table has one.
    pub fn targets(&self) -> Vec<AlarmTarget> {
        let interface = Some(self.interface.as_str()).filter(|name| !name.is_empty());
        let interface = interface.map(|name| AlarmTarget::Interface(name.into()));
        let peer = Some(self.peer_asn)
            .filter(|asn| *asn > 0)
            .map(AlarmTarget::Peer);
        let prefix = self
            .prefix
            .map(|prefix| AlarmTarget::Prefix(prefix.to_canonical()));
        [interface, peer, prefix].into_iter().flatten().collect()
    }

    /// Returns the limits that are set; a valid table has one.
    pub fn limits(&self) -> Vec<(AlarmKind, u64)> {
        let mut limits = vec![
            (AlarmKind::AbovePackets, self.above_packets),
            (AlarmKind::AboveBits, self.above_bits),
            (AlarmKind::BelowPackets, self.below_packets),
            (AlarmKind::BelowBits, self.below_bits),
        ];
        limits.retain(|(_, limit)| *limit > 0);
        limits
    }
}

impl Guard {
    /// Returns whether an attack may lead to a rule.
    pub fn changes_firewall(&self) -> bool {
        self.mode == GuardMode::Act && self.action != GuardAction::Alert
    }
}
