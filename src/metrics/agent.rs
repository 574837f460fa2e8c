// SPDX-License-Identifier: AGPL-3.0-only
//! The families about the agent itself: collector, errors, build, configuration, process, scrape.

use std::ops::Add;
use std::sync::Arc;
use std::time::Duration;

use prometheus::proto::MetricType::COUNTER;
use prometheus::proto::{Metric, MetricFamily};

use super::declarations::Kind;
use super::exposition::{Created, FamilyWriter, Head};
use super::family::{family, single};
use super::{Build, Input, bmp, declarations, firewall, guard, history, rpki};
use crate::config::current::Reload;
use crate::flow::snapshot::Totals;
use crate::ipfix::collector_stats::CollectorStats;
use crate::sys::error_counters::{ErrorCounters, Subsystem};
use crate::sys::process::ProcessStats;
use crate::types::counters::{Count, FamilyCounters, HookCounters};
use crate::types::problem::{Problem, ProblemKind};

pub(super) fn write(input: &Input, elapsed: impl FnOnce() -> Duration, out: &mut FamilyWriter) {
    for family in families(input) {
        write_family(&family, input.started_ms, out);
    }
    let duration = elapsed().as_secs_f64();
    out.family(&declarations::SCRAPE_DURATION)
        .sample([], duration, None);
}

fn write_family(family: &MetricFamily, created: Created, out: &mut FamilyWriter) {
    let head = Head {
        name: family.name(),
        kind: match family.get_field_type() {
            COUNTER => Kind::Counter,
            _ => Kind::Gauge,
        },
        help: family.help(),
    };
    let samples = family.get_metric().iter().map(|metric| {
        let labels = metric.get_label().iter();
        let labels = labels.map(|label| (label.name(), label.value()));
        (labels, value(family, metric), created)
    });
    out.write(head, samples);
}

/// Returns all families except the duration of the scrape.
pub fn families(input: &Input) -> Vec<MetricFamily> {
    let mut families = Vec::new();
    families.extend(collector(&input.flows.totals, input.sample_rate));
    families.extend(sampled_and_dropped(&input.all_hooks));
    families.push(single(
        &declarations::COLLECTOR_OVERLOAD_RATE,
        input.overload_rate.into(),
    ));
    families.extend(flow_series(&input.flows.totals));
    families.push(databases(input.databases));
    families.extend(input.rpki.iter().flat_map(rpki::families));
    families.extend(input.bmp.iter().flat_map(|bmp| bmp::families(bmp)));
    families.extend(ipfix(input.ipfix));
    families.extend(input.firewall.iter().flat_map(|r| firewall::families(r)));
    families.extend(input.guard.iter().flat_map(|g| guard::families(g)));
    families.extend(input.history.iter().flat_map(|h| history::families(h)));
    families.extend(errors(input.errors, input.parse_errors));
    let failures = input.http_auth_failures.iter();
    families.extend(failures.map(|&n| single(&declarations::HTTP_AUTH_FAILURES, n as f64)));
    families.push(single(
        &declarations::LOG_DROPPED_LINES,
        input.dropped_log_lines as f64,
    ));
    families.push(single(
        &declarations::HTTP_SCRAPERS_EVICTED,
        input.evicted_scrapers as f64,
    ));
    families.push(problems(input.problems));
    families.extend(build_and_config(input.build, input.reload));
    families.extend(input.process.iter().flat_map(of_process));
    families.retain(|family| !family.get_metric().is_empty());
    families
}

/// Returns the value of a sample of one of [`families`].
pub fn value(family: &MetricFamily, metric: &Metric) -> f64 {
    if family.get_field_type() == COUNTER {
        metric.get_counter().get_value()
    } else {
        metric.get_gauge().get_value()
    }
}

fn collector(totals: &Totals, sample_rate: u32) -> [MetricFamily; 6] {
    [
        single(&declarations::SAMPLE_RATE, f64::from(sample_rate)),
        single(
            &declarations::COLLECTOR_ACTIVE_FLOWS,
            totals.active_flows as f64,
        ),
        single(&declarations::COLLECTOR_MAX_FLOWS, totals.max_flows as f64),
        single(
            &declarations::COLLECTOR_ACCOUNTED_PACKETS,
            totals.accounted_packets as f64,
        ),
        single(
            &declarations::COLLECTOR_ACCOUNTED_BYTES,
            totals.accounted_bytes as f64,
        ),
        single(
            &declarations::COLLECTOR_FORCED_EVICTIONS,
            totals.forced_evictions as f64,
        ),
    ]
}

/// Returns what became of the sampled packets, summed over all current and former hooks.
fn sampled_and_dropped(all_hooks: &HookCounters) -> [MetricFamily; 9] {
    let sum = |count: fn(&FamilyCounters) -> Count| {
        let families = all_hooks.families.iter().map(count);
        families.fold(Count::default(), Count::add)
    };
    let (sampled, dropped) = (sum(|f| f.sampled), sum(|f| f.dropped));
    let (thinned, added) = (sum(|f| f.thinned), sum(|f| f.added));
    [
        single(
            &declarations::COLLECTOR_SAMPLED_PACKETS,
            sampled.packets as f64,
        ),
        single(&declarations::COLLECTOR_SAMPLED_BYTES, sampled.bytes as f64),
        single(
            &declarations::COLLECTOR_DROPPED_EVENTS,
            all_hooks.dropped_records as f64,
        ),
        single(
            &declarations::COLLECTOR_DROPPED_PACKETS,
            dropped.packets as f64,
        ),
        single(&declarations::COLLECTOR_DROPPED_BYTES, dropped.bytes as f64),
        single(
            &declarations::COLLECTOR_THINNED_PACKETS,
            thinned.packets as f64,
        ),
        single(&declarations::COLLECTOR_THINNED_BYTES, thinned.bytes as f64),
        single(&declarations::COLLECTOR_ADDED_PACKETS, added.packets as f64),
        single(&declarations::COLLECTOR_ADDED_BYTES, added.bytes as f64),
    ]
}

fn flow_series(totals: &Totals) -> [MetricFamily; 3] {
    [
        single(&declarations::FLOW_SERIES, totals.series as f64),
        single(&declarations::FLOW_SERIES_LIMIT, totals.series_limit as f64),
        single(
            &declarations::FLOW_SERIES_FOLDED,
            totals.series_folded as f64,
        ),
    ]
}

fn databases(built: &[(&str, u64)]) -> MetricFamily {
    family(
        &declarations::MMDB_BUILD_TIMESTAMP,
        built.iter().map(|&(name, time)| ([name], time as f64)),
    )
}

fn ipfix(stats: &[Arc<CollectorStats>]) -> [MetricFamily; 3] {
    let of = |figure: fn(&CollectorStats) -> u64| {
        stats
            .iter()
            .map(move |t| ([&*t.collector], figure(t) as f64))
    };
    [
        family(&declarations::IPFIX_RECORDS, of(CollectorStats::records)),
        family(
            &declarations::IPFIX_DROPPED_RECORDS,
            of(|stats| stats.dropped().parts),
        ),
        family(
            &declarations::IPFIX_QUEUE_RECORDS,
            of(CollectorStats::queued),
        ),
    ]
}

fn errors(errors: &ErrorCounters, parse_errors: &[(&str, u64)]) -> [MetricFamily; 2] {
    [
        family(
            &declarations::ERRORS,
            Subsystem::ALL.map(|s| ([s.name()], errors.get(s) as f64)),
        ),
        family(
            &declarations::PARSE_ERRORS,
            parse_errors
                .iter()
                .map(|&(reason, times)| ([reason], times as f64)),
        ),
    ]
}

fn problems(problems: &[Problem]) -> MetricFamily {
    family(
        &declarations::PROBLEMS,
        ProblemKind::ALL.iter().map(|kind| {
            let exists = problems.iter().any(|problem| problem.kind == *kind);
            ([kind.name()], f64::from(u8::from(exists)))
        }),
    )
}

fn build_and_config(build: Build, reload: Reload) -> [MetricFamily; 3] {
    [
        family(
            &declarations::BUILD_INFO,
            [([build.version, build.revision], 1.0)],
        ),
        single(
            &declarations::CONFIG_RELOAD_SUCCESSFUL,
            f64::from(u8::from(reload.successful)),
        ),
        single(&declarations::CONFIG_RELOAD_TIMESTAMP, reload.success_time),
    ]
}

/// Names and meanings as in the Prometheus client libraries.
fn of_process(process: &ProcessStats) -> Vec<MetricFamily> {
    let mut families = vec![
        single(&declarations::PROCESS_CPU, process.cpu_seconds),
        single(
            &declarations::PROCESS_RESIDENT_MEMORY,
            process.resident_bytes as f64,
        ),
        single(
            &declarations::PROCESS_VIRTUAL_MEMORY,
            process.virtual_bytes as f64,
        ),
        single(&declarations::PROCESS_START_TIME, process.start_time),
        single(&declarations::PROCESS_OPEN_FDS, process.open_fds as f64),
        single(&declarations::PROCESS_THREADS, process.threads as f64),
    ];
    families.extend(
        process
            .max_fds
            .map(|max| single(&declarations::PROCESS_MAX_FDS, max as f64)),
    );
    families
}
