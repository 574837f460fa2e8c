// SPDX-License-Identifier: AGPL-3.0-only
//! The families about the firewall. They are there only where it is enabled.

use prometheus::proto::MetricFamily;
use prometheus::proto::MetricType::{COUNTER, GAUGE};

use super::family::{family, sample};
use crate::firewall::Origin;
use crate::firewall::handle::Report;
use crate::firewall::kernel::Mode;

pub(super) fn families(report: &Report) -> [MetricFamily; 5] {
    let of = |figure: fn(u64, u64) -> u64| {
        report.series.iter().map(move |series| {
            let labels = [("rule", &*series.rule), ("action", series.action)];
            sample(
                COUNTER,
                &labels,
                figure(series.packets, series.bytes) as f64,
            )
        })
    };
    let rules = Origin::ALL.into_iter().zip(report.rules);
    let modes = [Some(Mode::Native), Some(Mode::Generic), None];
    [
        family(
            COUNTER,
            "rfm_firewall_packets_total",
            "Packets that a rule of the firewall matched, by what became of them; those dropped are in no other series.",
            of(|packets, _| packets),
        ),
        family(
            COUNTER,
            "rfm_firewall_bytes_total",
            "Bytes that a rule of the firewall matched, by what became of them; those dropped are in no other series.",
            of(|_, bytes| bytes),
        ),
        family(
            COUNTER,
            "rfm_firewall_new_sources_total",
            "Sources that a limit per source had no bucket for, or none any more: they began with a full one.",
            [sample(COUNTER, &[], report.tally.new_sources as f64)],
        ),
        family(
            GAUGE,
            "rfm_firewall_rules",
            "Rules of the firewall, by whence they come.",
            rules.map(|(origin, n)| sample(GAUGE, &[("origin", origin.name())], n as f64)),
        ),
        family(
            GAUGE,
            "rfm_firewall_interfaces",
            "Interfaces on which the firewall is to be, by how it is attached; none where it could not be.",
            modes.map(|mode| {
                let is = |state: &Result<Mode, String>| state.as_ref().ok() == mode.as_ref();
                let count = report.ports.iter().filter(|port| is(&port.state)).count();
                let label = mode.map_or("none", Mode::name);
                sample(GAUGE, &[("mode", label)], count as f64)
            }),
        ),
    ]
}
