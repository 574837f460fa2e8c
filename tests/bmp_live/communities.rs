// SPDX-License-Identifier: AGPL-3.0-only
//! The labels of communities: they equal a calculation over all flows and the answers of `rfm rib`.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::Path;

use serde_json::Value as Json;

use crate::common::metrics::Metrics;
use crate::paths::{Sums, add, get};

/// TOML of the agent: communities of one operator, and large communities of all.
pub const SECTION: &str = "[agent.enrich.rib]\ncommunities = [\"65002:*\", \"*:*:*\"]\n";

/// Compares the series with the communities of the best route of each address. `sent` are the bytes from and to it.
pub fn check(metrics: &Metrics, socket: &Path, sent: &BTreeMap<IpAddr, Sums>) {
    let mut wanted = BTreeMap::<String, Sums>::new();
    for (address, sums) in sent {
        add(wanted.entry(value(socket, *address)).or_default(), sums);
    }
    let several = wanted.keys().filter(|value| value.contains(','));
    assert!(several.count() > 50, "{wanted:?}");
    for (value, sums) in &wanted {
        // other traffic has no communities either
        if value.is_empty() {
            continue;
        }
        let of = |direction: &str, label: &str, name: &str| {
            metrics.sum(name, &[("direction", direction), (label, value)])
        };
        let found = [
            of("ingress", "src_community", "rfm_flow_bytes_total"),
            of("ingress", "src_community", "rfm_flow_packets_total"),
            of("egress", "dst_community", "rfm_flow_bytes_total"),
            of("egress", "dst_community", "rfm_flow_packets_total"),
        ];
        assert_eq!(found, *sums, "{value}");
    }
    for label in ["src_community", "dst_community"] {
        let series = metrics.each("rfm_flow_bytes_total");
        let mut values = series.filter_map(|(labels, _)| labels.get(label));
        let other = values.find(|value| !value.is_empty() && !wanted.contains_key(*value));
        assert_eq!(other, None, "{label}");
    }
}

/// The value of the label by `rfm rib`: the communities that match, in ascending order.
fn value(socket: &Path, address: IpAddr) -> String {
    let reply = get(socket, &format!("rib?address={address}"));
    let routes = reply["routes"].as_array().expect("a list");
    let Some(best) = routes.iter().find(|route| route["best"] == true) else {
        return String::new();
    };
    let numbers = |field: &str| -> Vec<Vec<u32>> {
        let texts = best[field].as_array().expect("a list").iter();
        let numbers = |text: &Json| {
            let parts = text.as_str().expect("a text").split(':');
            parts.map(|part| part.parse().expect("a number")).collect()
        };
        let mut all: Vec<_> = texts.map(numbers).collect();
        all.sort();
        all
    };
    let mut plain = numbers("communities");
    plain.retain(|community| community[0] == 65002);
    let all = plain.into_iter().chain(numbers("large_communities"));
    let texts = all.map(|community| {
        let parts: Vec<_> = community.iter().map(u32::to_string).collect();
        parts.join(":")
    });
    texts.collect::<Vec<_>>().join(",")
}
