// SPDX-License-Identifier: AGPL-3.0-only
//! `rfm_flow_*` over label sets, in the order of the snapshot.

use std::io;

use super::Input;
use crate::export::text::{Kind, TextWriter};
use crate::flow::snapshot::SeriesRow;

type Flows = (&'static str, &'static str, fn(&SeriesRow) -> u64);

const COUNTERS: [Flows; 2] = [
    (
        "rfm_flow_bytes_total",
        "Estimated bytes: L2 frames without FCS, scaled by the sample rate in force when each packet was taken. Outlives the flows, so rate() is right. src_asn and dst_asn originate the addresses, whoever carried the packet.",
        |row| row.bytes_total,
    ),
    (
        "rfm_flow_packets_total",
        "Estimated packets, scaled by the sample rate in force when each was taken. Outlives the flows, so rate() is right.",
        |row| row.packets_total,
    ),
];

const GAUGES: [Flows; 4] = [
    (
        "rfm_flow_bytes",
        "Estimated bytes of the flows that are live now, scaled by the sample rate. Falls when flows end: not for rate(), prefer rfm_flow_bytes_total.",
        |row| row.live_bytes,
    ),
    (
        "rfm_flow_packets",
        "Estimated packets of the flows that are live now, scaled by the sample rate. Falls when flows end: not for rate(), prefer rfm_flow_packets_total.",
        |row| row.live_packets,
    ),
    (
        "rfm_flow_sampled_bytes",
        "Bytes taken of the flows that are live now, not scaled by the sample rate. Falls when flows end: not for rate(), prefer rfm_flow_bytes_total.",
        |row| row.live_sampled_bytes,
    ),
    (
        "rfm_flow_sampled_packets",
        "Packets taken of the flows that are live now, not scaled by the sample rate. Falls when flows end: not for rate(), prefer rfm_flow_packets_total.",
        |row| row.live_sampled_packets,
    ),
];

pub(super) fn write(input: &Input, text: &mut TextWriter) -> io::Result<()> {
    for (name, help, figure) in COUNTERS {
        let mut samples = text.family(name, Kind::Counter, help);
        for row in &input.flows.series {
            samples.rendered(&row.labels, figure(row))?;
        }
    }
    write_asns(input, text)?;
    if !input.flow_gauges {
        return Ok(());
    }
    // A label set outlives its flows by `series_ttl`; without them it has nothing to gauge.
    for (name, help, figure) in GAUGES {
        let mut samples = text.family(name, Kind::Gauge, help);
        for row in input.flows.series.iter().filter(|row| row.live_flows > 0) {
            samples.rendered(&row.labels, figure(row))?;
        }
    }
    Ok(())
}

/// Joined to the series by a query: a name in each label set would be a new series when an AS is renamed.
fn write_asns(input: &Input, text: &mut TextWriter) -> io::Result<()> {
    let mut samples = text.family(
        "rfm_asn_info",
        Kind::Gauge,
        "Always 1. Who the ASNs in src_asn and dst_asn are, as the ASN database has it.",
    );
    for (asn, name) in &input.flows.asns {
        samples.sample(&[("asn", &asn.to_string()), ("name", name)], 1)?;
    }
    Ok(())
}
