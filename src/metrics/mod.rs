// SPDX-License-Identifier: AGPL-3.0-only
//! The Prometheus families, from the data collected for one scrape.
//!
//! Families with a sample per interface or series are written directly in the format of the answer: a
//! full table has 60,000 samples, and the `prometheus` crate would first build as many protos of ten
//! strings each. The families of the agent itself have one or a few samples each and are first built
//! as protos of that crate, which the page reads as well.

pub mod agent;
mod bmp;
pub mod collect;
pub mod declarations;
pub mod exposition;
mod family;
mod firewall;
mod flows;
mod guard;
mod history;
mod interfaces;
mod peers;
pub mod problems;
mod protobuf_format;
mod rpki;
pub mod scrapers;
mod sources;
pub mod text_format;
mod transit;

use std::sync::Arc;
use std::time::Duration;

use crate::bill::current_month::MonthPercentile;
use crate::config::current::Reload;
use crate::firewall::handle::FirewallReport;
use crate::flow::snapshot::Snapshot;
use crate::ipfix::collector_stats::CollectorStats;
use crate::metrics::exposition::{Created, FamilyWriter, Format};
use crate::netlink::Link;
use crate::store::shared::HistoryCounters;
use crate::sys::error_counters::ErrorCounters;
use crate::sys::process::ProcessStats;
use crate::types::counters::HookCounters;
use crate::types::flow::Direction;
use crate::types::problem::Problem;
use crate::types::role::InterfaceRole;

pub use crate::metrics::bmp::Bmp;
pub use crate::metrics::guard::GuardCounts;
pub use crate::metrics::rpki::Rpki;

/// The data of `/metrics`. To keep promise 3 in every answer, collect it in this order: flows, then
/// dropped, then sampled.
pub struct Input<'a> {
    /// In the order of the output.
    pub interfaces: &'a [Interface<'a>],
    /// The sum over all current and former hooks, so that the totals never fall.
    pub all_hooks: HookCounters,
    /// Each pattern of the configuration, and the number of interfaces that it matches.
    pub pattern_matches: &'a [(&'a str, u64)],
    pub flows: &'a Snapshot,
    /// True if the four gauges over live flows are included.
    pub flow_gauges: bool,
    /// True if bytes are counted by neighbor.
    pub peer_series: bool,
    /// True if source addresses are checked.
    pub source_check: bool,
    pub sample_rate: u32,
    /// One in so many packets without a record starts one: 1 unless the ring is more than half full.
    pub overload_rate: u32,
    /// Each database in use, and its build time: seconds since the Unix epoch.
    pub databases: &'a [(&'a str, u64)],
    /// `None` if no VRPs are configured.
    pub rpki: Option<Rpki>,
    /// `None` if no BMP is configured.
    pub bmp: Option<&'a Bmp>,
    /// The export counters of each collector.
    pub ipfix: &'a [Arc<CollectorStats>],
    /// `None` if the firewall is not enabled, or does not answer.
    pub firewall: Option<&'a FirewallReport>,
    /// `None` if the guard is disabled.
    pub guard: Option<&'a GuardCounts>,
    /// `None` without a history on disk.
    pub history: Option<&'a HistoryCounters>,
    /// Empty unless they are requested.
    pub month_percentiles: &'a [MonthPercentile],
    pub errors: &'a ErrorCounters,
    /// `None` without a web configuration file.
    pub http_auth_failures: Option<u64>,
    pub dropped_log_lines: u64,
    /// The reason and the count.
    pub parse_errors: &'a [(&'a str, u64)],
    pub build: Build<'a>,
    pub reload: Reload,
    /// The current problems, the most urgent first.
    pub problems: &'a [Problem],
    /// `None` if /proc could not be read.
    pub process: Option<ProcessStats>,
    /// The number of scrapers whose state was evicted.
    pub evicted_scrapers: u64,
    /// The time at which the counters began that exist from the start of the agent.
    pub started_ms: Created,
}

impl Input<'_> {
    /// Returns whether OpenMetrics can represent all families: the gauge `rfm_flow_bytes` and the
    /// counter `rfm_flow_bytes_total` would be two families of the name `rfm_flow_bytes`.
    pub fn fits_openmetrics(&self) -> bool {
        !self.flow_gauges
    }
}

/// One monitored interface.
pub struct Interface<'a> {
    /// The name under which it is counted; during a rename, the link may have another one.
    pub name: &'a str,
    pub link: &'a Link,
    /// The name of the link's master; empty if there is none.
    pub master: &'a str,
    /// The hook in use: `tcx`, `clsact` or `none`.
    pub attach: &'a str,
    pub role: InterfaceRole,
    /// Whether sums over interfaces include it: it is not internal, and not stacked on another monitored interface.
    pub is_summed: bool,
    /// `None` if that hook is not attached.
    pub ingress: Option<HookCounters>,
    pub egress: Option<HookCounters>,
    /// The time at which the counters of this name began.
    pub created_ms: Created,
    /// The time from which on the interface has been monitored.
    pub assigned_ms: Created,
    /// The number of times that another program removed the hook of a [`Direction`].
    pub removals: [u64; Direction::ALL.len()],
    /// Problems of its hooks, for an operator.
    pub problems: Vec<Problem>,
}

#[derive(Clone, Copy)]
pub struct Build<'a> {
    pub version: &'a str,
    pub revision: &'a str,
}

/// Appends all families in `format`, in an order that depends only on `input`. `elapsed` returns the
/// time since the start of the scrape and is called last.
pub fn render(
    format: Format,
    input: &Input,
    elapsed: impl FnOnce() -> Duration,
    out: &mut Vec<u8>,
) {
    let mut writer = FamilyWriter::new(format, out);
    interfaces::write(input, &mut writer);
    flows::write(input, &mut writer);
    peers::write(input, &mut writer);
    transit::write(input, &mut writer);
    sources::write(input, &mut writer);
    agent::write(input, elapsed, &mut writer);
    writer.finish();
}
