// SPDX-License-Identifier: AGPL-3.0-only
//! The content of /v1/status and /v1/interfaces.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use super::{Sources, api, asn_names, rfc3339, rfc3339_seconds};
use crate::enrich::mmdb::Databases;
use crate::enrich::rpki::UsedVrps;
use crate::metrics::{self, Input};
use crate::netlink::{DeviceCounters, Link, stacked_interfaces};
use crate::sys::error_counters::Subsystem;
use crate::types::counters::{Count, HookCounters};
use crate::types::database::DatabaseKind;
use crate::types::flow::Family;
use crate::types::problem::Problem;

/// Returns the monitored interfaces without rates; a caller with an earlier reading sets these.
pub fn interfaces(input: &Input, links: &[Link]) -> Vec<api::InterfaceStatus> {
    let watched = || input.interfaces.iter().map(|i| i.link);
    let interface = |i: &metrics::Interface| {
        let below = stacked_interfaces::stacked_on(i.link, watched());
        api::InterfaceStatus {
            master: stacked_interfaces::name_of(links, i.link.master),
            parent: stacked_interfaces::name_of(links, i.link.parent),
            stacked_on: below.map(|link| link.name.clone()),
            ..counted(i)
        }
    };
    input.interfaces.iter().map(interface).collect()
}

fn counted(interface: &metrics::Interface) -> api::InterfaceStatus {
    let metrics::Interface {
        link,
        attach,
        role,
        ingress,
        egress,
        ..
    } = interface;
    let (rx, tx) = (observed(ingress.as_ref()), observed(egress.as_ref()));
    let both = ingress.iter().chain(egress).flat_map(|hook| hook.families);
    let (sampled, dropped) = both.fold(
        (Count::default(), Count::default()),
        |(sampled, dropped), f| (sampled + f.sampled, dropped + f.dropped),
    );
    api::InterfaceStatus {
        name: link.name.clone(),
        ifindex: link.ifindex,
        alias: link.alias.clone(),
        kind: link.kind.clone(),
        up: link.up,
        speed_bytes: link.speed_bytes,
        attach: (*attach).to_owned(),
        role: role.role_name().to_owned(),
        provider: role.provider.clone(),
        rx_bytes: rx.bytes,
        rx_packets: rx.packets,
        tx_bytes: tx.bytes,
        tx_packets: tx.packets,
        families: Family::ALL
            .map(|family| of_family(family, ingress.as_ref(), egress.as_ref()))
            .into(),
        sampled_packets: sampled.packets,
        sampled_bytes: sampled.bytes,
        lost_packets: dropped.packets,
        lost_bytes: dropped.bytes,
        device: device(link.stats),
        ..api::InterfaceStatus::default()
    }
}

fn observed(hook: Option<&HookCounters>) -> Count {
    let families = hook.into_iter().flat_map(|hook| hook.families);
    families.fold(Count::default(), |sum, family| sum + family.observed)
}

fn of_family(
    family: Family,
    ingress: Option<&HookCounters>,
    egress: Option<&HookCounters>,
) -> api::FamilyTotals {
    let of = |hook: Option<&HookCounters>| {
        hook.map_or_else(Count::default, |hook| {
            hook.families[family as usize].observed
        })
    };
    let (rx, tx) = (of(ingress), of(egress));
    api::FamilyTotals {
        family: family.name().to_owned(),
        rx_bytes: rx.bytes,
        rx_packets: rx.packets,
        tx_bytes: tx.bytes,
        tx_packets: tx.packets,
    }
}

fn device(stats: DeviceCounters) -> api::DeviceTotals {
    api::DeviceTotals {
        rx_bytes: stats.rx_bytes,
        rx_packets: stats.rx_packets,
        tx_bytes: stats.tx_bytes,
        tx_packets: stats.tx_packets,
    }
}

/// Returns the status without the rates.
pub fn status(sources: &Sources, input: &Input, links: &[Link]) -> api::Status {
    let process = input.process.unwrap_or_default();
    let started = SystemTime::UNIX_EPOCH
        + Duration::try_from_secs_f64(process.start_time).unwrap_or_default();
    let now = SystemTime::now();
    let totals = &input.flows.totals;
    api::Status {
        version: input.build.version.to_owned(),
        revision: input.build.revision.to_owned(),
        pid: std::process::id(),
        time: rfc3339(now),
        started: rfc3339(started),
        uptime_seconds: now.duration_since(started).map_or(0, |age| age.as_secs()),
        healthy: input.problems.is_empty(),
        problems: input.problems.iter().map(problem).collect(),
        sample_rate: input.sample_rate,
        overload_rate: input.overload_rate,
        log_level: log::max_level().as_str().to_ascii_lowercase(),
        interfaces: interfaces(input, links),
        flows: api::FlowTotals {
            active: totals.active_flows,
            max: totals.max_flows,
            accounted_packets: totals.accounted_packets,
            accounted_bytes: totals.accounted_bytes,
            forced_evictions: totals.forced_evictions,
            series: totals.series,
            series_limit: totals.series_limit,
            series_folded: totals.series_folded,
        },
        lost: lost(input),
        memory: api::MemoryStatus {
            resident_bytes: process.resident_bytes,
            virtual_bytes: process.virtual_bytes,
        },
        cpu_seconds: process.cpu_seconds,
        threads: threads(sources),
        errors: errors(input),
        parse_errors: parse_errors(input),
        databases: databases(&sources.scrape.databases),
        rpki: sources.scrape.vrps.get().map(|used| rpki(&used)),
        source_check: source_check(sources),
        exporters: exporters(sources, input),
        bmp: sources.bgp.as_ref().map(|bgp| bgp.status()),
        config: config(sources),
    }
}

fn problem(problem: &Problem) -> api::Problem {
    api::Problem {
        kind: problem.kind.name().to_owned(),
        text: problem.text.clone(),
        remedy: problem.kind.remedy().to_owned(),
    }
}

fn exporters(sources: &Sources, input: &Input) -> Vec<api::ExporterStatus> {
    let ipfix = input.ipfix.iter().map(|stats| api::ExporterStatus {
        kind: "ipfix".into(),
        address: stats.collector.clone(),
        records: Some(stats.records()),
        dropped_records: Some(stats.dropped().parts),
    });
    sources.exporters.iter().cloned().chain(ipfix).collect()
}

/// Returns the drops over all present and past hooks.
fn lost(input: &Input) -> api::Dropped {
    let dropped = input.all_hooks.families.iter();
    let dropped = dropped.fold(Count::default(), |sum, family| sum + family.dropped);
    api::Dropped {
        records: input.all_hooks.dropped_records,
        packets: dropped.packets,
        bytes: dropped.bytes,
    }
}

fn threads(sources: &Sources) -> Vec<api::ThreadStatus> {
    let signs = sources.threads.signs_of_life().into_iter();
    let thread = |(name, alive, age): (&str, bool, Duration)| api::ThreadStatus {
        name: name.to_owned(),
        alive,
        heartbeat_age_seconds: age.as_secs_f64(),
    };
    signs.map(thread).collect()
}

fn errors(input: &Input) -> Vec<api::ErrorCount> {
    let count = |subsystem: Subsystem| api::ErrorCount {
        subsystem: subsystem.name().to_owned(),
        count: input.errors.get(subsystem),
    };
    Subsystem::ALL.map(count).into()
}

fn parse_errors(input: &Input) -> Vec<api::ParseErrorCount> {
    let count = |&(reason, count): &(&str, u64)| api::ParseErrorCount {
        reason: reason.to_owned(),
        count,
    };
    input.parse_errors.iter().map(count).collect()
}

fn databases(databases: &Databases) -> Vec<api::DatabaseStatus> {
    let status = |kind: DatabaseKind| {
        Some(api::DatabaseStatus {
            name: kind.name().to_owned(),
            built: rfc3339_seconds(databases.get(kind)?.build_time() as f64),
            file: databases.path(kind)?.display().to_string(),
        })
    };
    DatabaseKind::ALL.into_iter().filter_map(status).collect()
}

fn source_check(sources: &Sources) -> Option<api::SourceCheckStatus> {
    let config = (sources.in_force)().config;
    let check = &config.agent.enrich.source_check;
    let report = sources.scrape.sources.report();
    if !check.enabled() {
        return None;
    }
    let mut status = api::SourceCheckStatus {
        mode: check.mode.name().to_owned(),
        neighbors: report.neighbors as u64,
        without_view: report.without_view,
        asn_names: BTreeMap::new(),
    };
    asn_names::add(&mut status, &sources.scrape.databases);
    Some(status)
}

fn rpki(used: &UsedVrps) -> api::RpkiStatus {
    let [ipv4, ipv6] = used.table.counts();
    api::RpkiStatus {
        ipv4_vrps: ipv4 as u64,
        ipv6_vrps: ipv6 as u64,
        source: used.source.to_string(),
        updated: rfc3339(used.updated),
    }
}

fn config(sources: &Sources) -> api::ConfigStatus {
    let reload = (sources.in_force)().reload;
    api::ConfigStatus {
        file: sources.config_file.display().to_string(),
        last_reload_successful: reload.successful,
        last_reload_success: rfc3339_seconds(reload.success_time),
    }
}
