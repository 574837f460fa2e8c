// SPDX-License-Identifier: AGPL-3.0-only
//! `rfm status`

use super::as_name;
use crate::client::format;
use crate::client::table::{Align, TextTable, clean};
use crate::control::api;

/// Width of the names before the first table.
const NAMES: usize = 13;

/// A hint, not a problem: rfm works without databases.
const NO_DATABASE: &str =
    "none, so networks and places have no names; put MMDB files in /var/lib/GeoIP";

/// Maximum number of ASes in a line.
const MAX_ASNS: usize = 8;

fn source_check(check: &api::SourceCheckStatus) -> String {
    let without = &check.without_view;
    let with = check.neighbors.saturating_sub(without.len() as u64);
    let mut text = format!(
        "{}, routes before policy of {with} of {} neighbors",
        check.mode, check.neighbors
    );
    if !without.is_empty() {
        let shown = without.iter().take(MAX_ASNS);
        let shown: Vec<_> = shown.map(|asn| as_name(*asn, &check.asn_names)).collect();
        text += &format!("; unknown: {}", shown.join(", "));
        if without.len() > MAX_ASNS {
            text += &format!(" and {} more", without.len() - MAX_ASNS);
        }
    }
    text
}

pub fn status(status: &api::Status) -> String {
    let mut text = head(status);
    let mut line = |name: &str, value: String| {
        text += clean(&format!("{name:NAMES$}{value}")).trim_end();
        text.push('\n');
    };
    let health = match status.problems.len() {
        0 => "healthy".to_owned(),
        1 => "1 problem".to_owned(),
        n => format!("{n} problems"),
    };
    line("health", health);
    for problem in &status.problems {
        line("problem", problem.text.clone());
        line("", format!("-> {}", problem.remedy));
    }
    line(
        "sampling",
        sampling(status.sample_rate, status.overload_rate),
    );
    line("flows", flows(&status.flows));
    line("lost", lost(&status.lost));
    line("process", process(status));
    line("threads", threads(&status.threads));
    if let Some(errors) = errors(status) {
        line("errors", errors);
    }
    line("config", config(&status.config));
    for exporter in &status.exporters {
        let mut text = format!("{} {}", exporter.kind, exporter.address);
        if let (Some(records), Some(dropped)) = (exporter.records, exporter.dropped_records) {
            text += &format!(", {records} records, {dropped} dropped");
        }
        line("exporter", text);
    }
    for database in &status.databases {
        line(
            "database",
            format!(
                "{}, built {}, {}",
                database.name, database.built, database.file
            ),
        );
    }
    if status.databases.is_empty() {
        line("database", NO_DATABASE.to_owned());
    }
    if let Some(rpki) = &status.rpki {
        line(
            "rpki",
            format!(
                "{} VRPs for IPv4, {} for IPv6, updated {}, {}",
                rpki.ipv4_vrps, rpki.ipv6_vrps, rpki.updated, rpki.source
            ),
        );
    }
    if let Some(check) = &status.source_check {
        line("sources", source_check(check));
    }
    if let Some(bmp) = &status.bmp {
        line("bmp", format::plural(bmp.sessions, "session"));
    }
    text.push('\n');
    text += &interfaces(&status.interfaces);
    if let Some(bmp) = status.bmp.as_ref().filter(|bmp| !bmp.routers.is_empty()) {
        text.push('\n');
        text += &routers(bmp);
    }
    if let Some(bmp) = status.bmp.as_ref().filter(|bmp| !bmp.peers.is_empty()) {
        text.push('\n');
        text += &peers(bmp);
    }
    text
}

fn head(status: &api::Status) -> String {
    let api::Status {
        version,
        revision,
        pid,
        uptime_seconds,
        ..
    } = status;
    let revision = match &revision[..] {
        "" => String::new(),
        revision => format!(" ({revision})"),
    };
    let up = format::duration(*uptime_seconds);
    clean(&format!("rfm {version}{revision}, process {pid}, up {up}")) + "\n"
}

fn sampling(sample_rate: u32, overload_rate: u32) -> String {
    let mut text = match sample_rate {
        1 => "every packet".into(),
        n => format!("1 in {n} packets"),
    };
    if overload_rate > 1 {
        text += &format!("; overload: new flows from 1 in {overload_rate} of these");
    }
    text
}

fn flows(flows: &api::FlowTotals) -> String {
    let api::FlowTotals {
        active,
        max,
        series,
        series_limit,
        forced_evictions,
        ..
    } = flows;
    let mut text = format!("{active} of {max}, in {series} of {series_limit} series");
    if *forced_evictions > 0 {
        text += &format!("; {forced_evictions} had to leave early");
    }
    text
}

fn lost(lost: &api::Dropped) -> String {
    match lost.records {
        0 => "nothing".into(),
        records => format!(
            "{}: {}, {}",
            format::plural(records, "record"),
            format::plural(lost.packets, "packet"),
            format::bytes(lost.bytes)
        ),
    }
}

fn process(status: &api::Status) -> String {
    format!(
        "{} resident, {:.2} s of CPU time, log level {}",
        format::bytes(status.memory.resident_bytes),
        status.cpu_seconds,
        status.log_level
    )
}

fn threads(threads: &[api::ThreadStatus]) -> String {
    let thread = |thread: &api::ThreadStatus| match thread.alive {
        true => thread.name.clone(),
        false => format!("{} (ended)", thread.name),
    };
    threads.iter().map(thread).collect::<Vec<_>>().join(", ")
}

/// Returns the errors that have occurred.
fn errors(status: &api::Status) -> Option<String> {
    let errors = status.errors.iter().filter(|e| e.count > 0);
    let errors = errors.map(|e| format!("{} {}", e.subsystem, e.count));
    let parse = status.parse_errors.iter().filter(|e| e.count > 0);
    let parse = parse.map(|e| format!("frames with a bad {} {}", e.reason, e.count));
    let all: Vec<_> = errors.chain(parse).collect();
    (!all.is_empty()).then(|| all.join(", "))
}

fn config(config: &api::ConfigStatus) -> String {
    let trouble = match config.last_reload_successful {
        true => "",
        false => "; the last reload failed",
    };
    format!(
        "{}, read {}{trouble}",
        config.file, config.last_reload_success
    )
}

fn interfaces(interfaces: &[api::InterfaceStatus]) -> String {
    let mut table = TextTable::new(&[
        ("INTERFACE", Align::Left),
        ("STATE", Align::Left),
        ("ATTACH", Align::Left),
        ("ROLE", Align::Left),
        ("SPEED", Align::Right),
        ("RX RATE", Align::Right),
        ("RX PKT/S", Align::Right),
        ("TX RATE", Align::Right),
        ("TX PKT/S", Align::Right),
        ("RX", Align::Right),
        ("TX", Align::Right),
        ("LOST", Align::Right),
        ("ON", Align::Left),
        ("ALIAS", Align::Left),
    ]);
    for i in interfaces {
        let rate = |of: fn(&api::InterfaceRates) -> String| i.rates.as_ref().map_or("-".into(), of);
        let lost = i.lost_packets;
        table.row([
            i.name.clone(),
            if i.up { "up" } else { "down" }.into(),
            i.attach.clone(),
            role(i),
            i.speed_bytes
                .map_or("-".into(), |speed| format::bits(speed as f64)),
            rate(|r| format::bits(r.rx_bytes_per_second)),
            rate(|r| format::count(r.rx_packets_per_second.round())),
            rate(|r| format::bits(r.tx_bytes_per_second)),
            rate(|r| format::count(r.tx_packets_per_second.round())),
            format::bytes(i.rx_bytes),
            format::bytes(i.tx_bytes),
            if lost > 0 {
                lost.to_string()
            } else {
                String::new()
            },
            i.stacked_on.clone().unwrap_or_default(),
            i.alias.clone(),
        ]);
    }
    match interfaces.is_empty() {
        true => "no interface is watched\n".into(),
        false => table.render(),
    }
}

/// Returns "transit", "transit: Example Net", or nothing.
fn role(interface: &api::InterfaceStatus) -> String {
    match (&interface.role[..], &interface.provider[..]) {
        (role, "") => role.to_owned(),
        ("", provider) => provider.to_owned(),
        (role, provider) => format!("{role}: {provider}"),
    }
}

fn routers(bmp: &api::BmpStatus) -> String {
    let mut table = TextTable::new(&[
        ("ROUTER", Align::Left),
        ("SESSIONS", Align::Right),
        ("UPDATES", Align::Right),
        ("WITHDRAWS", Align::Right),
        ("LAST MESSAGE", Align::Left),
    ]);
    let now = std::time::SystemTime::now();
    for router in &bmp.routers {
        table.row([
            router.router.clone(),
            router.sessions.to_string(),
            router.updates.to_string(),
            router.withdraws.to_string(),
            router
                .last_message
                .as_deref()
                .map_or_else(String::new, |time| format::since(time, now)),
        ]);
    }
    table.render()
}

fn peers(bmp: &api::BmpStatus) -> String {
    let mut table = TextTable::new(&[
        ("PEER", Align::Left),
        ("KIND", Align::Left),
        ("STATE", Align::Left),
        ("IPV4 ROUTES", Align::Right),
        ("IPV6 ROUTES", Align::Right),
        ("ROUTER", Align::Left),
    ]);
    for peer in &bmp.peers {
        table.row([
            peer.address.clone(),
            peer.kind.clone(),
            if peer.up { "up" } else { "stale" }.into(),
            peer.ipv4_routes.to_string(),
            peer.ipv6_routes.to_string(),
            peer.router.clone(),
        ]);
    }
    table.render()
}
