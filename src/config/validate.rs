// SPDX-License-Identifier: AGPL-3.0-only
//! Checks combinations of keys: keys that need or forbid each other.

use std::collections::HashSet;
use std::net::IpAddr;

use super::document::Document;
use super::enrich::MAX_BILLED;
use super::firewall::Firewall;
use super::{Agent, Config, Enrich, Guard, Prometheus};
use crate::types::source::SourceCheckMode;

/// Adds an error to the document for each invalid combination of keys. Each key itself is valid.
pub fn check(config: &Config, document: &Document<'_>) {
    let agent = &config.agent;
    if agent.interfaces.is_empty() {
        document.reject(
            "agent.interfaces",
            "expected at least one pattern, got none",
        );
    }
    if agent.directions.is_empty() {
        document.reject(
            "agent.directions",
            "expected at least one direction, got none",
        );
    } else {
        check_ipfix_directions(agent, document);
    }
    if cfg!(not(feature = "tls")) && agent.prometheus.web_config().is_some() {
        document.reject(
            "agent.prometheus.web_config",
            "this program was built without TLS and users (the cargo feature tls): set it to \"\"",
        );
    }
    check_static_prefixes(&agent.enrich, document);
    check_static_peers(&agent.enrich, document);
    if agent.enrich.rpki.file().is_some() && agent.enrich.rpki.rtr.is_some() {
        document.reject("agent.enrich.rpki.rtr", "expected vrps or rtr, got both");
    }
    if agent.enrich.source_check.mode == SourceCheckMode::Enforce && !agent.firewall.enabled {
        document.reject(
            "agent.enrich.source_check.mode",
            "\"enforce\" needs agent.firewall.enabled",
        );
    }
    if agent.guard.enabled && agent.guard.changes_firewall() && !agent.firewall.enabled {
        document.reject(
            "agent.guard.mode",
            "\"act\" needs agent.firewall.enabled, or action = \"alert\"",
        );
    }
    check_thresholds(&agent.guard, document);
    check_firewall(&agent.firewall, &agent.enrich, document);
}

fn check_thresholds(guard: &Guard, document: &Document<'_>) {
    for (i, threshold) in guard.threshold.iter().enumerate() {
        let key = |name: &str| format!("agent.guard.threshold[{i}].{name}");
        let targets = threshold.targets();
        if targets.len() != 1 {
            document.reject(
                &key("interface"),
                format!(
                    "expected one of interface, peer_asn and prefix, got {}",
                    targets.len()
                ),
            );
        }
        let limits = threshold.limits();
        if limits.len() != 1 {
            document.reject(
                &key("above_bits"),
                format!(
                    "expected one of above_packets, above_bits, below_packets and below_bits, got {}",
                    limits.len()
                ),
            );
        }
    }
}

fn check_ipfix_directions(agent: &Agent, document: &Document<'_>) {
    const KEY: &str = "agent.ipfix.directions";
    if agent.ipfix.directions.is_empty() {
        document.reject(KEY, "expected at least one direction, got none");
    }
    for direction in &agent.ipfix.directions {
        if !agent.directions.contains(direction) {
            document.reject(
                KEY,
                format!(
                    "expected directions of agent.directions, got \"{}\"",
                    direction.name()
                ),
            );
        }
    }
}

fn check_static_prefixes(enrich: &Enrich, document: &Document<'_>) {
    let mut seen = HashSet::new();
    for (i, entry) in enrich.prefix.iter().enumerate() {
        if !seen.insert(entry.prefix) {
            document.reject(
                &format!("agent.enrich.prefix[{i}].prefix"),
                format!("expected each prefix only once, got {} again", entry.prefix),
            );
        }
        if entry.bill && entry.name.is_empty() {
            document.reject(
                &format!("agent.enrich.prefix[{i}].bill"),
                "expected a name for the bill, got none",
            );
        }
    }
    let billed = enrich.prefix.iter().filter(|entry| entry.bill).count();
    if billed > MAX_BILLED {
        document.reject(
            "agent.enrich.prefix",
            format!("expected at most {MAX_BILLED} prefixes with bill = true, got {billed}"),
        );
    }
}

fn check_static_peers(enrich: &Enrich, document: &Document<'_>) {
    for (i, peer) in enrich.peer.iter().enumerate() {
        let key = |name: &str| format!("agent.enrich.peer[{i}].{name}");
        if peer.mac.is_some() && peer.address.is_some() {
            document.reject(&key("address"), "expected mac or address, got both");
        }
        if peer.interface.is_empty() && peer.mac.is_none() && peer.address.is_none() {
            document.reject(&key("interface"), "required without mac and address");
        }
        if peer.asn == 0 && peer.name.is_empty() {
            document.reject(&key("asn"), "expected an AS or a name, got neither");
        }
    }
}

fn check_firewall(firewall: &Firewall, enrich: &Enrich, document: &Document<'_>) {
    let key = |name: &str| format!("agent.firewall.{name}");
    if firewall.enabled && firewall.interfaces.is_empty() {
        document.reject(&key("interfaces"), "required when the firewall is enabled");
    }
    // a router that can send such a route decides which packets are dropped, so all of these keys are required
    if !firewall.blackhole_communities.is_empty() {
        for (missing, name) in [
            (firewall.blackhole_within.is_empty(), "blackhole_within"),
            (firewall.blackhole_peers.is_empty(), "blackhole_peers"),
        ] {
            if missing {
                document.reject(&key(name), "required with blackhole_communities");
            }
        }
        if !enrich.rib.bmp.enabled() || enrich.rib.bmp.allow.is_empty() {
            document.reject(
                &key("blackhole_communities"),
                "needs agent.enrich.rib.bmp with a list of routers in agent.enrich.rib.bmp.allow",
            );
        }
    }
    for (i, rule) in firewall.rule.iter().enumerate() {
        for (name, fault) in rule.faults() {
            document.reject(&key(&format!("rule[{i}].{name}")), fault);
        }
    }
}

/// Returns a warning for each listener that any client may reach: no list of clients, and no loopback address.
pub fn warnings(config: &Config) -> Vec<String> {
    let bmp = &config.agent.enrich.rib.bmp;
    let prometheus = &config.agent.prometheus;
    let mut warnings = Vec::new();
    // the content of the web configuration file decides otherwise
    if prometheus.web_config().is_none() {
        warnings.extend(open_port(prometheus));
    }
    if bmp.enabled() && bmp.allow.is_empty() && !is_loopback(&bmp.host) {
        warnings.push(open("agent.enrich.rib.bmp", &bmp.host, bmp.port));
    }
    if config.agent.collector.paths && !bmp.enabled() {
        let text = "agent.collector.paths counts nothing without routes: set agent.enrich.rib.bmp";
        warnings.push(text.to_owned());
    }
    if config.agent.prometheus.p95_series && config.agent.history.folder().is_none() {
        let text = "agent.prometheus.p95_series shows nothing without agent.history.path";
        warnings.push(text.to_owned());
    }
    if config.agent.prometheus.transit_series > 0 && !config.agent.collector.paths {
        let text = "agent.prometheus.transit_series shows nothing without agent.collector.paths";
        warnings.push(text.to_owned());
    }
    warnings
}

/// Returns a warning if any client may read the metrics and the page.
pub fn open_port(prometheus: &Prometheus) -> Option<String> {
    let is_open = prometheus.allow.is_empty() && !is_loopback(&prometheus.host);
    is_open.then(|| open("agent.prometheus", &prometheus.host, prometheus.port))
}

fn open(section: &str, host: &str, port: u16) -> String {
    let host = if host.contains(':') {
        format!("[{host}]")
    } else {
        host.to_owned()
    };
    format!(
        "{section} listens on {host}:{port} for anyone: set {section}.allow to limit the clients"
    )
}

pub fn is_loopback(host: &str) -> bool {
    match host.parse::<IpAddr>() {
        Ok(address) => address.to_canonical().is_loopback(),
        Err(_) => host == "localhost",
    }
}
