// SPDX-License-Identifier: AGPL-3.0-only
//! `rfm_flow_*` over the series, in the order of the snapshot.

use super::Input;
use super::declarations::{self, Metric};
use super::exposition::FamilyWriter;
use crate::flow::snapshot::SeriesRow;

type Flows = (&'static Metric<0>, fn(&SeriesRow) -> u64);

const COUNTERS: [Flows; 2] = [
    (&declarations::FLOW_BYTES_TOTAL, |row| row.bytes_total),
    (&declarations::FLOW_PACKETS_TOTAL, |row| row.packets_total),
];

/// Written only if they are not 0.
const ERRORS: [Flows; 2] = [
    (&declarations::FLOW_STANDARD_ERROR_BYTES, |row| {
        row.error_bytes
    }),
    (&declarations::FLOW_STANDARD_ERROR_PACKETS, |row| {
        row.error_packets
    }),
];

const GAUGES: [Flows; 4] = [
    (&declarations::FLOW_BYTES, |row| row.live_bytes),
    (&declarations::FLOW_PACKETS, |row| row.live_packets),
    (&declarations::FLOW_SAMPLED_BYTES, |row| {
        row.live_sampled_bytes
    }),
    (&declarations::FLOW_SAMPLED_PACKETS, |row| {
        row.live_sampled_packets
    }),
];

pub(super) fn write(input: &Input, out: &mut FamilyWriter) {
    let flows = input.flows;
    for (metric, figure) in COUNTERS {
        let mut samples = out.family_of(metric, flows.series.len());
        for (n, row) in flows.series.iter().enumerate() {
            let created = flows.clock.wall_ms(row.created_ms);
            samples.row(n, &row.labels, figure(row), created);
        }
    }
    for (metric, figure) in ERRORS {
        let mut samples = out.family_of(metric, 0);
        let rows = flows.series.iter().enumerate();
        for (n, row) in rows.filter(|(_, row)| figure(row) > 0) {
            samples.row(n, &row.labels, figure(row), None);
        }
    }
    write_asns(input, out);
    if !input.flow_gauges {
        return;
    }
    // A series outlives its flows by `series_ttl`; without flows it has no gauges.
    for (metric, figure) in GAUGES {
        let mut samples = out.family_of(metric, flows.series.len());
        let rows = flows.series.iter().enumerate();
        for (n, row) in rows.filter(|(_, row)| row.live_flows > 0) {
            samples.row(n, &row.labels, figure(row), None);
        }
    }
}

/// Writes the AS names, which a query joins to the series: with a name in each series, a renamed AS
/// would create new series.
fn write_asns(input: &Input, out: &mut FamilyWriter) {
    let mut samples = out.family(&declarations::ASN_INFO);
    for (asn, name) in &input.flows.asns {
        samples.gauge([&asn.to_string(), name], 1);
    }
}
