// SPDX-License-Identifier: AGPL-3.0-only
//! `[agent.firewall]`: the packets that the XDP program drops.

use std::path::PathBuf;

use super::reference::ReloadClass::{self, Applied, Conditional, Restart};
use super::section::section;
use super::values::{
    KeyType, MAX_LIST, Parsed, Value, boolean, canonical_prefix, list, number, one_of, path, word,
};
use crate::types::interface_pattern::Pattern;
use crate::types::prefix::Prefix;
use crate::types::rule::{Action, Community, DEFAULT_ACTION, Rule, TrustedPeer};

/// The longest IPv4 and IPv6 prefix lengths.
const MAX_LENGTHS: [u8; 2] = [32, 128];

/// The reload class of the keys that are used only with communities.
const BLACKHOLING: ReloadClass = Conditional("if blackhole_communities is set and stays so");

const MAX_BLACKHOLE_MAX: u32 = 100_000;
const MAX_RULES: usize = 10_000;
const MAX_PATH: usize = 4095;

section! {
    pub struct Firewall() {
        enabled: bool = key {
            reload: Restart,
            type: boolean(),
            default: false,
            text: "Whether to load the XDP program.",
        }
        interfaces: Vec<Pattern> = key {
            reload: Applied,
            type: list(MAX_LIST, word("a regular expression or \"*\"")),
            default: Vec::new(),
            text: "Where: patterns as in agent.interfaces; required when enabled. Attaching may reset a network card, which loses \
                   its carrier.",
        }
        /// All packets from or to these prefixes pass.
        allow: Vec<Prefix> = key {
            reload: Applied,
            type: list(MAX_LIST, canonical_prefix()),
            default: Vec::new(),
            text: "Prefixes from which and to which everything passes, whatever a rule drops.",
        }
        /// Whether the same holds for the local addresses and the BMP peers.
        allow_own: bool = key {
            reload: Applied,
            type: boolean(),
            default: true,
            text: "Whether the same holds for the addresses of this machine, BMP routers and their BGP peers. With false \
                   they can be shielded too; BGP between this machine and such a peer still passes.",
        }
        /// Whether the programs stay when the agent has ended.
        pin: bool = key {
            reload: Restart,
            type: boolean(),
            default: false,
            text: "Whether it stays when the agent has ended, with the rules of that moment: it continues to drop until the \
                   next start or rfm --detach.",
            details: "Danger: this also holds for an agent that was killed. It needs a /sys/fs/bpf that the agent may write, \
                      which the packaged unit does not give: User=root, ReadWritePaths=/sys/fs/bpf and an empty \
                      ExecStopPost= do. A restart of the service needs no pin: systemd keeps the program attached.",
        }
        /// Keeps runtime rules over a restart; empty = none.
        state_file: PathBuf = key {
            reload: Restart,
            type: path(MAX_PATH),
            default: PathBuf::new(),
            text: "Keeps runtime rules over a restart, such as \"/var/lib/rfm/firewall\"; \"\" = they end with the agent.",
            details: "A failed save is tried again every 2 s and is a problem in rfm status. Lines that cannot be read stay \
                      in FILE.bad.",
        }
        blackhole_communities: Vec<Community> = key {
            reload: Conditional("only to none"),
            type: list(MAX_LIST, word("a community such as \"65535:666\"")),
            default: Vec::new(),
            text: "Routes with one of these communities become rules that drop by destination, such as [\"65535:666\"].",
            details: "agent.enrich.rib.bmp.allow may not be empty then.",
        }
        blackhole_within: Vec<Prefix> = key {
            reload: BLACKHOLING,
            type: list(MAX_LIST, canonical_prefix()),
            default: Vec::new(),
            text: "Local and customer prefixes: nothing outside becomes a rule. Required with communities.",
        }
        blackhole_peers: Vec<TrustedPeer> = key {
            reload: BLACKHOLING,
            type: list(MAX_LIST, word("an address or an AS such as \"AS65000\"")),
            default: Vec::new(),
            text: "Neighbors, addresses or \"AS65000\", that may request it. Required with communities.",
        }
        /// Shortest valid prefix, IPv4 and IPv6.
        blackhole_min_length: [u8; 2] = key {
            reload: BLACKHOLING,
            type: PrefixLengths { max: MAX_LENGTHS },
            default: MAX_LENGTHS,
            text: "Shortest prefix that becomes a rule, IPv4 and IPv6.",
        }
        blackhole_max: u32 = key {
            reload: BLACKHOLING,
            type: number(1..=MAX_BLACKHOLE_MAX),
            unit: "rules",
            default: 1000,
            text: "Most rules made this way.",
        }
        blackhole_action: Action = key {
            reload: Applied,
            type: one_of(&[Action::Drop, Action::Count]),
            default: DEFAULT_ACTION,
            text: "\"drop\", or \"count\" to look first.",
        }
        #[serde(skip_serializing_if = "Vec::is_empty")]
        rule: Vec<Rule> = tables {
            reload: Applied,
            of: Rule,
            max: MAX_RULES,
            with: (),
            text: "Rules, one table each; a part that is not set matches everything. The first rule that matches decides; \
                   \"count\" only counts. Runtime rules (rfm firewall add) are evaluated before them.",
        }
    }
    // Received routes were checked only for the old communities: a reload may clear these, but not change them.
    reload(old, new) {
        if new.blackhole_communities.is_empty() {
            old.blackhole_communities.clear();
        }
        if !old.blackhole_communities.is_empty() {
            old.blackhole_within.clone_from(&new.blackhole_within);
            old.blackhole_peers.clone_from(&new.blackhole_peers);
            old.blackhole_min_length = new.blackhole_min_length;
            old.blackhole_max = new.blackhole_max;
        }
    }
}

/// The lengths of an IPv4 and an IPv6 prefix.
struct PrefixLengths {
    max: [u8; 2],
}

impl KeyType for PrefixLengths {
    type Value = [u8; 2];

    /// Reads two lengths. They may be equal, so this is not a list in which each item occurs once.
    fn parse(&self, value: &Value<'_>) -> Parsed<[u8; 2]> {
        let items = value.get_ref().as_array().map_or(&[][..], |items| items);
        let lengths: Vec<_> = items
            .iter()
            .zip(self.max)
            .filter_map(|(item, max)| number(0..=max).parse(item).ok())
            .collect();
        match lengths[..] {
            [v4, v6] if items.len() == 2 => Ok([v4, v6]),
            _ => self.refuse(value, None),
        }
    }

    fn expected(&self) -> String {
        let [v4, v6] = self.max;
        format!("two lengths, IPv4 up to {v4} and IPv6 up to {v6}")
    }

    fn nix(&self) -> String {
        format!("listOf (ints.between 0 {})", self.max[1])
    }

    fn to_toml(&self, [v4, v6]: &[u8; 2]) -> String {
        format!("[{v4}, {v6}]")
    }
}
