// SPDX-License-Identifier: AGPL-3.0-only
//! `rfm_flow_*` over the series, in the order of the snapshot.

use std::io;

use super::Input;
use super::declarations::{self, Metric};
use super::text_format::TextWriter;
use crate::flow::snapshot::SeriesRow;

type Flows = (&'static Metric<0>, fn(&SeriesRow) -> u64);

const COUNTERS: [Flows; 2] = [
    (&declarations::FLOW_BYTES_TOTAL, |row| row.bytes_total),
    (&declarations::FLOW_PACKETS_TOTAL, |row| row.packets_total),
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

pub(super) fn write(input: &Input, text: &mut TextWriter) -> io::Result<()> {
    for (metric, figure) in COUNTERS {
        let mut samples = text.family(metric);
        for row in &input.flows.series {
            samples.rendered(&row.labels, figure(row))?;
        }
    }
    write_asns(input, text)?;
    if !input.flow_gauges {
        return Ok(());
    }
    // A series outlives its flows by `series_ttl`; without flows it has no gauges.
    for (metric, figure) in GAUGES {
        let mut samples = text.family(metric);
        for row in input.flows.series.iter().filter(|row| row.live_flows > 0) {
            samples.rendered(&row.labels, figure(row))?;
        }
    }
    Ok(())
}

/// Writes the AS names, which a query joins to the series: with a name in each series, a renamed AS
/// would create new series.
fn write_asns(input: &Input, text: &mut TextWriter) -> io::Result<()> {
    let mut samples = text.family(&declarations::ASN_INFO);
    for (asn, name) in &input.flows.asns {
        samples.sample([&asn.to_string(), name], 1)?;
    }
    Ok(())
}
