// SPDX-License-Identifier: AGPL-3.0-only
//! The families about the agent itself: collector, errors, build, configuration, process, scrape.

use std::io::{self, Write};
use std::ops::Add;
use std::sync::Arc;
use std::time::Duration;

use prometheus::proto::MetricType::{COUNTER, GAUGE};
use prometheus::proto::{Metric, MetricFamily};
use prometheus::{Encoder, TextEncoder};

use super::family::{family, sample, single};
use super::{Build, Input, bmp, firewall};
use crate::bpf::counters::{Count, FamilyCounters, HookCounters};
use crate::errors::{Errors, Subsystem};
use crate::export::ipfix::tally::Tally;
use crate::flow::snapshot::Totals;
use crate::live::Reload;
use crate::process::ProcessStats;

pub(super) fn write(
    input: &Input,
    elapsed: impl FnOnce() -> Duration,
    mut out: &mut dyn Write,
) -> io::Result<()> {
    let mut families = families(input);
    families.push(single(
        GAUGE,
        "rfm_scrape_duration_seconds",
        "Seconds from the beginning of this scrape to this line.",
        elapsed().as_secs_f64(),
    ));
    TextEncoder::new()
        .encode(&families, &mut out)
        .map_err(io::Error::other)
}

/// All but the duration of the scrape.
pub fn families(input: &Input) -> Vec<MetricFamily> {
    let mut families = Vec::new();
    families.extend(collector(&input.flows.totals, input.sample_rate));
    families.extend(taken_and_lost(&input.all_hooks));
    families.extend(flow_series(&input.flows.totals));
    families.push(databases(input.databases));
    families.extend(input.bmp.iter().flat_map(|bmp| bmp::families(bmp)));
    families.extend(ipfix(input.ipfix));
    families.extend(input.firewall.iter().flat_map(|r| firewall::families(r)));
    families.extend(errors(input.errors, input.parse_errors));
    families.push(single(
        COUNTER,
        "rfm_log_dropped_lines_total",
        "Log lines that were dropped because nobody read standard error.",
        input.dropped_log_lines as f64,
    ));
    families.extend(build_and_config(input.build, input.reload));
    families.extend(input.process.iter().flat_map(of_process));
    // The encoder refuses a family without samples.
    families.retain(|family| !family.get_metric().is_empty());
    families
}

/// Of a sample of one of [`families`].
pub fn value(family: &MetricFamily, metric: &Metric) -> f64 {
    if family.get_field_type() == COUNTER {
        metric.get_counter().get_value()
    } else {
        metric.get_gauge().get_value()
    }
}

fn collector(totals: &Totals, sample_rate: u32) -> [MetricFamily; 6] {
    [
        single(
            GAUGE,
            "rfm_sample_rate",
            "One in this many packets is taken.",
            f64::from(sample_rate),
        ),
        single(
            GAUGE,
            "rfm_collector_active_flows",
            "Flows in the table now.",
            totals.active_flows as f64,
        ),
        single(
            GAUGE,
            "rfm_collector_max_flows",
            "Flows that the table can hold; one more evicts the one idle longest.",
            totals.max_flows as f64,
        ),
        single(
            COUNTER,
            "rfm_collector_accounted_packets_total",
            "Packets that reached the flow table, as taken: not scaled by the sample rate.",
            totals.accounted_packets as f64,
        ),
        single(
            COUNTER,
            "rfm_collector_accounted_bytes_total",
            "Bytes that reached the flow table, as taken: L2 frames without FCS, not scaled by the sample rate.",
            totals.accounted_bytes as f64,
        ),
        single(
            COUNTER,
            "rfm_collector_forced_evictions_total",
            "Flows that ended early because the table was full.",
            totals.forced_evictions as f64,
        ),
    ]
}

/// What was taken and lost over all hooks there are or were.
fn taken_and_lost(all_hooks: &HookCounters) -> [MetricFamily; 5] {
    let sum = |count: fn(&FamilyCounters) -> Count| {
        let families = all_hooks.families.iter().map(count);
        families.fold(Count::default(), Count::add)
    };
    let (taken, lost) = (sum(|f| f.taken), sum(|f| f.lost));
    [
        single(
            COUNTER,
            "rfm_collector_sampled_packets_total",
            "Packets that the sampler took on all interfaces there are or were, super-packets as their segments, not scaled by the sample rate: each is accounted, dropped, or on its way.",
            taken.packets as f64,
        ),
        single(
            COUNTER,
            "rfm_collector_sampled_bytes_total",
            "Bytes of the packets that the sampler took on all interfaces there are or were: L2 frames without FCS, not scaled by the sample rate.",
            taken.bytes as f64,
        ),
        single(
            COUNTER,
            "rfm_collector_dropped_events_total",
            "Records lost because the ring buffer was full.",
            all_hooks.lost_records as f64,
        ),
        single(
            COUNTER,
            "rfm_collector_dropped_packets_total",
            "Packets in the lost records, super-packets as their segments, not scaled by the sample rate. The flows lack them, the interface counters do not.",
            lost.packets as f64,
        ),
        single(
            COUNTER,
            "rfm_collector_dropped_bytes_total",
            "Bytes in the lost records: L2 frames without FCS, not scaled by the sample rate. The flows lack them, the interface counters do not.",
            lost.bytes as f64,
        ),
    ]
}

fn flow_series(totals: &Totals) -> [MetricFamily; 3] {
    [
        single(
            GAUGE,
            "rfm_flow_series",
            "Label sets of the flow series held now.",
            totals.series as f64,
        ),
        single(
            GAUGE,
            "rfm_flow_series_limit",
            "Label sets of the flow series that can be held.",
            totals.series_limit as f64,
        ),
        single(
            COUNTER,
            "rfm_flow_series_folded_total",
            "Times that a label set found no room and was counted with other in its labels.",
            totals.series_folded as f64,
        ),
    ]
}

fn databases(built: &[(&str, u64)]) -> MetricFamily {
    family(
        GAUGE,
        "rfm_mmdb_build_timestamp_seconds",
        "When the database in use was built, in seconds since the Unix epoch.",
        built
            .iter()
            .map(|&(name, time)| sample(GAUGE, &[("database", name)], time as f64)),
    )
}

fn ipfix(tallies: &[Arc<Tally>]) -> [MetricFamily; 2] {
    let of = |figure: fn(&Tally) -> u64| {
        tallies
            .iter()
            .map(move |t| sample(COUNTER, &[("collector", &t.collector)], figure(t) as f64))
    };
    [
        family(
            COUNTER,
            "rfm_ipfix_records_total",
            "Flow records sent to the IPFIX collector and, as far as is known, not refused.",
            of(Tally::records),
        ),
        family(
            COUNTER,
            "rfm_ipfix_dropped_records_total",
            "Flow records that the IPFIX collector misses: it was not there, or too slow.",
            of(|tally| tally.lost().parts),
        ),
    ]
}

fn errors(errors: &Errors, parse_errors: &[(&str, u64)]) -> [MetricFamily; 2] {
    [
        family(
            COUNTER,
            "rfm_errors_total",
            "Errors that were survived, by the part that met them; the log tells more.",
            Subsystem::ALL
                .map(|s| sample(COUNTER, &[("subsystem", s.name())], errors.get(s) as f64)),
        ),
        family(
            COUNTER,
            "rfm_parse_errors_total",
            "Frames whose IP header is not what their type announces; their interface counts them as family other.",
            parse_errors
                .iter()
                .map(|&(reason, times)| sample(COUNTER, &[("reason", reason)], times as f64)),
        ),
    ]
}

fn build_and_config(build: Build, reload: Reload) -> [MetricFamily; 3] {
    let labels = [("version", build.version), ("revision", build.revision)];
    [
        family(
            GAUGE,
            "rfm_build_info",
            "Always 1. What is running.",
            [sample(GAUGE, &labels, 1.0)],
        ),
        single(
            GAUGE,
            "rfm_config_last_reload_successful",
            "1 if the configuration was in order when it was last read; 0 if not, and the one before stays in force.",
            f64::from(u8::from(reload.successful)),
        ),
        single(
            GAUGE,
            "rfm_config_last_reload_success_timestamp_seconds",
            "When the configuration in force was read, in seconds since the Unix epoch.",
            reload.success_time,
        ),
    ]
}

/// Names and meanings as in the Prometheus client libraries.
fn of_process(process: &ProcessStats) -> Vec<MetricFamily> {
    let mut families = vec![
        single(
            COUNTER,
            "process_cpu_seconds_total",
            "CPU time that the process spent, user and system, in seconds.",
            process.cpu_seconds,
        ),
        single(
            GAUGE,
            "process_resident_memory_bytes",
            "Resident memory of the process in bytes.",
            process.resident_bytes as f64,
        ),
        single(
            GAUGE,
            "process_virtual_memory_bytes",
            "Virtual memory of the process in bytes.",
            process.virtual_bytes as f64,
        ),
        single(
            GAUGE,
            "process_start_time_seconds",
            "When the process began, in seconds since the Unix epoch.",
            process.start_time,
        ),
        single(
            GAUGE,
            "process_open_fds",
            "File descriptors that are open.",
            process.open_fds as f64,
        ),
        single(
            GAUGE,
            "process_threads",
            "Threads of the process.",
            process.threads as f64,
        ),
    ];
    families.extend(process.max_fds.map(|max| {
        single(
            GAUGE,
            "process_max_fds",
            "File descriptors that may be open.",
            max as f64,
        )
    }));
    families
}
