// SPDX-License-Identifier: AGPL-3.0-only
//! Tests that the shipped file shows every key, its default, and its purpose.

use super::*;
use crate::types::rule::PARTS;

/// Returns the shipped file with every key set.
pub fn uncommented() -> String {
    let lines = SHIPPED.lines().map(|line| {
        let text = line.strip_prefix('#').unwrap_or(line);
        if text.starts_with(' ') { line } else { text }
    });
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn the_shipped_file_loads_and_is_exact() {
    let config = parse("rfm.toml", SHIPPED, &MACHINE).unwrap();
    let mut expected = parse("t", "[agent]\ninterfaces = [\"*\"]", &MACHINE).unwrap();
    expected.agent.require_interface = false;
    expected.agent.bpf.sample_rate = 1;
    expected.agent.history.path = "/var/lib/rfm/history".into();
    assert_eq!(config, expected);
}

#[test]
fn the_shipped_file_shows_every_key_with_its_default() {
    let text = uncommented();
    let minimal = r#"
[agent]
interfaces = ["*"]
require_interface = false
bpf.sample_rate = 1
history.path = "/var/lib/rfm/history"
ipfix.host = "::1"
ipfix.collector = [{}]
enrich.rib.bmp.port = 11019
prometheus.web_config = "/etc/rfm/web.yml"
prometheus.dashboard = "https://grafana.example.net/d/rfm"
enrich.rib.vrf.vrf-red = "0:0"
guard.protect = ["198.51.100.0/24", "2001:db8:1::/48"]
enrich.prefix = [{ prefix = "10.0.0.0/8" }]
interface = [{ interfaces = ["eth0"], role = "transit" }]
enrich.peer = [{ interface = "eth0", mac = "02:00:5e:00:53:01", asn = 64500 }]

[[agent.guard.threshold]]
interface = "wan0"
peer_asn = 64500
prefix = "198.51.100.0/24"
above_bits = 9_000_000_000

[[agent.guard.link]]
interface = "wan0"
speed = 1_000_000_000

[[agent.firewall.rule]]
"#;
    let parts = PARTS.iter().filter(|part| !part.example.is_empty());
    let parts = parts.map(|part| format!("{} = {}\n", part.name, part.example));
    let minimal = parts.fold(minimal.to_owned(), |text, part| text + &part);
    let minimal = Document::parse("t", &minimal, &[]).unwrap();
    let document = Document::parse("t", &text, &[]).unwrap();
    let shown = load::read_document(&document, &MACHINE);
    assert_eq!(shown, load::read_document(&minimal, &MACHINE));
    // Nothing was replaced by its default; a rule with each of its keys contradicts itself.
    let errors = document.result().unwrap_err().errors;
    let keys = errors
        .iter()
        .filter_map(|error| error.key.rsplit('.').next());
    let keys: Vec<_> = keys.collect();
    assert_eq!(
        keys,
        [
            "tcp_flags",
            "icmp_type",
            "icmp_code",
            "flow_label",
            "rate",
            "interface"
        ],
        "{errors:?}"
    );

    let shown = toml::Value::Table(text.parse().unwrap());
    for key in document.known_keys() {
        let found = key.split('.').try_fold(&shown, |value, part| match value {
            toml::Value::Array(items) => items.first()?.get(part),
            _ => value.get(part),
        });
        assert!(found.is_some(), "{key} is missing");
    }
}

#[test]
fn the_shipped_file_explains_each_key() {
    let mut explained = false;
    for line in SHIPPED.lines() {
        let key = line.strip_prefix('#').unwrap_or(line);
        if key.starts_with(' ') {
            explained = true;
            assert!(line.len() <= 100, "{line}");
        } else if key.is_empty() || key.starts_with('[') {
            explained = false;
        } else {
            assert!(explained, "{line}");
            explained = false;
        }
    }
}
