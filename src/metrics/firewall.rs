// SPDX-License-Identifier: AGPL-3.0-only
//! The families about the firewall. They exist only if it is enabled.

use prometheus::proto::MetricFamily;

use super::declarations;
use super::family::{family, single};
use crate::firewall::backend::Mode;
use crate::firewall::handle::FirewallReport;
use crate::types::rule::RuleSource;

pub(super) fn families(report: &FirewallReport) -> [MetricFamily; 5] {
    let of = |figure: fn(u64, u64) -> u64| {
        report.series.iter().map(move |series| {
            let value = figure(series.packets, series.bytes);
            ([&*series.rule, series.action], value as f64)
        })
    };
    let rules = RuleSource::ALL.into_iter().zip(report.rules);
    let modes = [Some(Mode::Native), Some(Mode::Generic), None];
    [
        family(&declarations::FIREWALL_PACKETS, of(|packets, _| packets)),
        family(&declarations::FIREWALL_BYTES, of(|_, bytes| bytes)),
        single(
            &declarations::FIREWALL_NEW_SOURCES,
            report.stats.new_sources as f64,
        ),
        family(
            &declarations::FIREWALL_RULES,
            rules.map(|(source, n)| ([source.name()], n as f64)),
        ),
        family(
            &declarations::FIREWALL_INTERFACES,
            modes.map(|mode| {
                let is = |state: &Result<Mode, String>| state.as_ref().ok() == mode.as_ref();
                let count = report
                    .attachments
                    .iter()
                    .filter(|attachment| is(&attachment.state))
                    .count();
                let label = mode.map_or("none", Mode::name);
                ([label], count as f64)
            }),
        ),
    ]
}
