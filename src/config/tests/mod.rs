// SPDX-License-Identifier: AGPL-3.0-only
//! Tests of the configuration as a whole.

mod messages;
mod overrides;
mod readback;
mod shipped;

use std::path::Path;
use std::time::Duration;

use super::document::Document;
use super::*;
use crate::types::flow::Direction;
use crate::types::hook::Position;
use crate::types::label::Label;
use crate::types::prefix::Prefix;

const MACHINE: Machine = Machine {
    page_size: 4096,
    memory: 1 << 30,
    has_ipv6: true,
};

const SHIPPED: &str = include_str!("../../../config/rfm.toml");

fn read(text: &str) -> Result<Config, ConfigError> {
    parse("t", text, &MACHINE)
}

/// Returns a file with `text` below `[agent]`, on line 3.
fn with(text: &str) -> String {
    format!("[agent]\ninterfaces = [\"eth0\"]\n{text}")
}

/// Returns a file with one key and its value below `[agent]`, on line 3, and with the required keys.
fn set(key: &str, value: &str) -> String {
    with(&format!("{key} = {value}"))
}

fn message(result: Result<Config, ConfigError>) -> String {
    result.map_or_else(|e| e.to_string(), |_| "no error".into())
}

#[test]
fn what_is_left_out_has_its_default() {
    let config = read(&with("")).unwrap();
    let agent = &config.agent;
    assert!(agent.require_interface);
    assert_eq!(agent.directions, [Direction::Ingress, Direction::Egress]);
    assert_eq!(agent.bpf.sample_rate, 100);
    assert_eq!(agent.bpf.ring_buf_size, 262_144);
    assert_eq!(agent.bpf.wakeup_batch, 64);
    assert_eq!(agent.bpf.iface_stats_size, 0);
    assert_eq!(agent.bpf.position, Position::Head);
    assert_eq!(agent.bpf.flow_cache, 8192);
    assert_eq!(agent.collector.max_flows, 65_536);
    assert_eq!(agent.collector.eviction_timeout, Duration::from_secs(30));
    assert_eq!(agent.collector.active_timeout, Duration::from_secs(60));
    assert_eq!(agent.prometheus.host, "::1");
    assert_eq!(agent.prometheus.port, 9669);
    assert!(agent.prometheus.allow.is_empty());
    assert!(agent.prometheus.flow_gauges);
    assert_eq!(agent.prometheus.labels, Label::USUAL);
    assert_eq!(agent.prometheus.max_series, 10_000);
    assert_eq!(agent.prometheus.series_ttl, Duration::from_secs(3600));
    assert!(agent.prometheus.page);
    assert!(agent.ipfix.collectors().is_empty());
    assert_eq!(agent.ipfix.template_refresh, Duration::from_secs(60));
    assert!(!agent.enrich.rib.bmp.enabled());
    assert_eq!(agent.control.socket, Path::new("/run/rfm/rfm.sock"));
    assert_eq!(agent.control.mode.to_string(), "0660");
    assert!(!agent.firewall.enabled);
}

#[test]
fn what_depends_on_the_machine_is_worked_out() {
    let text = set("collector.max_flows", "0");
    assert_eq!(read(&text).unwrap().agent.collector.max_flows, 1_677_721);
    let without = Machine {
        has_ipv6: false,
        ..MACHINE
    };
    let agent = |text: &str| parse("t", text, &without).unwrap().agent;
    assert_eq!(agent(&with("")).prometheus.host, "127.0.0.1");
    let set_host = set("prometheus.host", "\"::1\"");
    assert_eq!(agent(&set_host).prometheus.host, "::1");
    // every key that names a host has the same default
    let bmp = agent(&set("enrich.rib.bmp.port", "11019")).enrich.rib.bmp;
    assert_eq!((bmp.host.as_str(), bmp.port), ("127.0.0.1", 11_019));
    let ipfix = "ipfix.port = 4739\nipfix.collector = [{ port = 4740 }]";
    let collectors = agent(&with(ipfix)).ipfix.collectors();
    let hosts: Vec<_> = collectors.iter().map(|c| c.host.as_str()).collect();
    assert_eq!(hosts, ["127.0.0.1"; 2]);
    let large_pages = Machine {
        page_size: 65_536,
        ..MACHINE
    };
    assert_eq!(
        message(parse("t", &set("bpf.ring_buf_size", "32768"), &large_pages)),
        "t:3: agent.bpf.ring_buf_size: expected a power of two from 65536 to 1073741824, got 32768"
    );
}

#[test]
fn a_file_of_the_go_program_works_unchanged() {
    let text = r#"
[agent]
interfaces = ["eth0", "tailscale0"]

[agent.bpf]
sample_rate = 50
ring_buf_size = 131072
wakeup_batch = 64
iface_stats_size = 0

[agent.collector]
max_flows = 1024
eviction_timeout = "1m30s"

[agent.ipfix]
host = "192.0.2.7"
port = 0
template_refresh = "1.5m"
observation_domain_id = 1

[agent.ipfix.bind]
host = ""
port = 0

[agent.prometheus]
host = ""
port = 8080

[agent.enrich.mmdb]
asn_db = "/var/lib/rfm/asn.mmdb"
city_db = ""

[agent.enrich.rib.bmp]
host = ""
port = 11020
"#;
    let agent = read(text).unwrap().agent;
    assert_eq!(agent.collector.eviction_timeout, Duration::from_secs(90));
    assert_eq!(agent.prometheus.host, "::");
    let target = &agent.ipfix.collectors()[0];
    assert_eq!((target.host.as_str(), target.port), ("192.0.2.7", 4739));
    assert_eq!(agent.ipfix.template_refresh, Duration::from_secs(90));
    let bmp = &agent.enrich.rib.bmp;
    assert_eq!((bmp.host.as_str(), bmp.port), ("::1", 11_020));
}

#[test]
fn exported_once_where_everything_is_watched() {
    let directions = |text: &str| read(text).unwrap().agent.ipfix.directions;
    let all = "[agent]\ninterfaces = [\"*\"]\n";
    assert_eq!(directions(all), [Direction::Egress]);
    assert_eq!(directions(&with("")), Direction::ALL);
    let ingress = format!("{all}directions = [\"ingress\"]");
    assert_eq!(directions(&ingress), [Direction::Ingress]);
    let excluded = format!("{all}exclude_interfaces = [\"wg0\"]");
    assert_eq!(directions(&excluded), Direction::ALL);
    let asked = format!("{all}ipfix.directions = [\"egress\", \"ingress\"]");
    assert_eq!(directions(&asked), Direction::ALL);
}

#[test]
fn an_open_listener_is_warned_of() {
    let warnings = |text: &str| read(&with(text)).unwrap().warnings();
    assert_eq!(
        warnings("prometheus.host = \"::\"\nenrich.rib.bmp.host = \"192.0.2.1\""),
        [
            "agent.prometheus listens on [::]:9669 for anyone: set agent.prometheus.allow to limit the clients",
            "agent.enrich.rib.bmp listens on 192.0.2.1:11019 for anyone: set agent.enrich.rib.bmp.allow to limit the clients",
        ]
    );
    for quiet in [
        "",
        "prometheus.host = \"127.0.0.2\"",
        "prometheus.host = \"localhost\"",
        "prometheus.host = \"::\"\nprometheus.allow = [\"10.0.0.0/8\"]",
    ] {
        assert!(warnings(quiet).is_empty(), "{quiet}");
    }
}

#[test]
fn an_open_port_is_a_fact_for_the_status_also() {
    let open = |text: &str| read(&with(text)).unwrap().agent.prometheus.open_port();
    let text = open("prometheus.host = \"0.0.0.0\"").unwrap();
    assert!(
        text.starts_with("agent.prometheus listens on 0.0.0.0:9669 for anyone"),
        "{text}"
    );
    assert_eq!(open("enrich.rib.bmp.host = \"192.0.2.1\""), None);
    assert_eq!(
        open("prometheus.host = \"0.0.0.0\"\nprometheus.allow = [\"10.0.0.0/8\"]"),
        None
    );
}

#[test]
fn ipv4_mapped_prefixes_in_lists_are_the_ipv4_prefixes() {
    const MAPPED: &str = "\"::ffff:10.0.0.0/104\"";
    let text = format!(
        "[agent.prometheus]\nallow = [{MAPPED}]\n[agent.enrich.rib.bmp]\nallow = [{MAPPED}]\n\
         [agent.firewall]\nallow = [{MAPPED}]\nblackhole_within = [{MAPPED}]\n\
         [[agent.firewall.rule]]\nsrc = {MAPPED}\n[[agent.enrich.prefix]]\nprefix = {MAPPED}\n"
    );
    let agent = read(&with(&text)).unwrap().agent;
    let ten: Prefix = "10.0.0.0/8".parse().unwrap();
    for (key, list) in [
        ("prometheus", agent.prometheus.allow),
        ("bmp", agent.enrich.rib.bmp.allow),
        ("firewall", agent.firewall.allow),
        ("within", agent.firewall.blackhole_within),
        ("enrich", vec![agent.enrich.prefix[0].prefix]),
    ] {
        assert_eq!(list, [ten], "{key}");
    }
    // packets with such addresses are IPv6 on the wire, and commonly dropped as bogus
    let rule = agent.firewall.rule[0].src.unwrap();
    assert!(!rule.is_ipv4(), "{rule}");
    let twice = format!(
        "[[agent.enrich.prefix]]\nprefix = {MAPPED}\n[[agent.enrich.prefix]]\nprefix = \"10.0.0.0/8\"\n"
    );
    let message = message(read(&with(&twice)));
    assert!(message.contains("each prefix only once"), "{message}");
}
