// SPDX-License-Identifier: AGPL-3.0-only
//! Compares two configurations, and selects the changes that need no restart.

use toml::{Table, Value};

use super::Config;
use super::document::join;

impl Config {
    /// Returns this configuration with the values of `read` that a reload applies: their keys are declared so, and
    /// `agent/reload.rs` applies them. All other keys keep their value.
    pub fn merged(&self, read: &Self) -> Self {
        let mut merged = self.clone();
        merged.agent.reload(&read.agent);
        merged
    }

    /// Returns the keys, with their sections, whose values differ in `other`.
    pub fn differences(&self, other: &Self) -> Vec<String> {
        let mut keys = Vec::new();
        // serde writes every key, so the conversion to a table cannot fail
        let ours = self.to_table().unwrap_or_default();
        let theirs = other.to_table().unwrap_or_default();
        compare("", &ours, &theirs, &mut keys);
        keys
    }
}

fn compare(path: &str, ours: &Table, theirs: &Table, keys: &mut Vec<String>) {
    for (key, value) in ours {
        let path = join(path, key);
        match (value, theirs.get(key)) {
            (Value::Table(a), Some(Value::Table(b))) => compare(&path, a, b, keys),
            (a, Some(b)) if a == b => {}
            _ => keys.push(path),
        }
    }
    let new = theirs.keys().filter(|key| !ours.contains_key(*key));
    keys.extend(new.map(|key| join(path, key)));
}

#[cfg(test)]
mod tests {
    use crate::config::{Machine, parse};

    fn config(text: &str) -> super::Config {
        let machine = Machine {
            memory: 1 << 30,
            page_size: 4096,
            has_ipv6: true,
        };
        let text = format!("[agent]\ninterfaces = [\"a\"]\n{text}");
        parse("test", &text, &machine).unwrap()
    }

    #[test]
    fn differences_are_named_by_their_keys() {
        let old = config("[agent.bpf]\nsample_rate = 1\n");
        let new = config(
            "exclude_interfaces = [\"x\"]\n[agent.bpf]\nsample_rate = 2\nflow_cache = 0\n\
             [agent.enrich.mmdb]\nasn_db = \"/x\"\n",
        );
        let mut keys = old.differences(&new);
        keys.sort_unstable();
        let expected = [
            "agent.bpf.flow_cache",
            "agent.bpf.sample_rate",
            "agent.enrich.mmdb.asn_db",
            "agent.exclude_interfaces",
        ];
        assert_eq!(keys, expected);
        assert!(old.differences(&old).is_empty());
    }

    #[test]
    fn what_cannot_change_keeps_its_value() {
        let old = config("");
        let new = config(
            "[agent.bpf]\nsample_rate = 7\nring_buf_size = 8192\n[agent.prometheus]\nport = 1\n",
        );
        let merged = old.merged(&new);
        assert_eq!(old.differences(&merged), ["agent.bpf.sample_rate"]);
        let mut kept = merged.differences(&new);
        kept.sort_unstable();
        assert_eq!(kept, ["agent.bpf.ring_buf_size", "agent.prometheus.port"]);
    }

    #[test]
    fn blackholes_change_but_for_their_communities_and_can_be_left() {
        let with = |communities: &str, within: &str| {
            config(&format!(
                "[agent.enrich.rib.bmp]\nport = 1\nallow = [\"::1\"]\n\
                 [agent.firewall]\nenabled = true\ninterfaces = [\"a\"]\n\
                 blackhole_communities = [\"{communities}\"]\nblackhole_peers = [\"AS1\"]\n\
                 blackhole_within = [\"{within}\"]\n"
            ))
        };
        let old = with("65535:666", "192.0.2.0/24");
        let new = with("1:2", "198.51.100.0/24");
        let merged = old.merged(&new);
        let key = |name| vec![format!("agent.firewall.blackhole_{name}")];
        assert_eq!(old.differences(&merged), key("within"));
        assert_eq!(merged.differences(&new), key("communities"));
        // also if no other key of the section, and no list of routers, is left
        let off = "[agent.enrich.rib.bmp]\nport = 1\n[agent.firewall]\nenabled = true\n\
                   interfaces = [\"a\"]\n";
        let merged = old.merged(&config(off));
        assert!(merged.agent.firewall.blackhole_communities.is_empty());
        assert!(merged.agent.enrich.rib.bmp.allow.is_empty());
    }
}
