// SPDX-License-Identifier: AGPL-3.0-only
//! The Prometheus families, from figures gathered for one scrape.
//!
//! Families with a sample per interface or series go straight to the text: a full table is 60,000
//! lines, for which the `prometheus` crate first builds as many protos of ten strings each. Those of the
//! agent itself, a sample or a few each, are that crate's.

pub mod agent;
mod bmp;
pub mod collect;
pub mod declarations;
mod family;
mod firewall;
mod flows;
mod interfaces;
pub mod text_format;

use std::io::{self, Write};
use std::sync::Arc;
use std::time::Duration;

use crate::config::current::Reload;
use crate::firewall::handle::FirewallReport;
use crate::flow::snapshot::Snapshot;
use crate::ipfix::collector_stats::CollectorStats;
use crate::metrics::text_format::TextWriter;
use crate::netlink::Link;
use crate::sys::error_counters::ErrorCounters;
use crate::sys::process::ProcessStats;
use crate::types::counters::HookCounters;
use crate::types::flow::Direction;

pub use crate::metrics::bmp::Bmp;

/// What `/metrics` is made of. To keep promise 3 in every answer, gather in this order: flows, then
/// lost, then taken.
pub struct Input<'a> {
    /// In the order in which they are to appear.
    pub interfaces: &'a [Interface<'a>],
    /// Sum over all hooks that there are or were, so that the totals never fall.
    pub all_hooks: HookCounters,
    /// Each pattern of the configuration, and how many interfaces it matches.
    pub pattern_matches: &'a [(&'a str, u64)],
    pub flows: &'a Snapshot,
    /// Whether to give the four gauges over live flows.
    pub flow_gauges: bool,
    pub sample_rate: u32,
    /// Each database in use, and when it was built: seconds since the Unix epoch.
    pub databases: &'a [(&'a str, u64)],
    /// None where no BMP is configured.
    pub bmp: Option<&'a Bmp>,
    /// By collector, what was exported.
    pub ipfix: &'a [Arc<CollectorStats>],
    /// None where it is not enabled, or does not answer.
    pub firewall: Option<&'a FirewallReport>,
    pub errors: &'a ErrorCounters,
    pub dropped_log_lines: u64,
    /// Reason, times.
    pub parse_errors: &'a [(&'a str, u64)],
    pub build: Build<'a>,
    pub reload: Reload,
    /// None where /proc could not be read.
    pub process: Option<ProcessStats>,
}

/// One watched interface.
pub struct Interface<'a> {
    /// Under which it is counted: in the moment of a rename the link may say another.
    pub name: &'a str,
    pub link: &'a Link,
    /// Name of the link's master, else empty.
    pub master: &'a str,
    /// The hook in use: `tcx`, `clsact` or `none`.
    pub attach: &'a str,
    /// None where that hook is not attached.
    pub ingress: Option<HookCounters>,
    pub egress: Option<HookCounters>,
    /// How often another program removed the hook of a [`Direction`].
    pub removals: [u64; Direction::ALL.len()],
    /// Problems of its hooks, for an operator.
    pub problems: Vec<String>,
}

#[derive(Clone, Copy)]
pub struct Build<'a> {
    pub version: &'a str,
    pub revision: &'a str,
}

/// Writes everything, in an order that depends on `input` alone. `elapsed` is asked last: the time since
/// the scrape began.
pub fn render(
    input: &Input,
    elapsed: impl FnOnce() -> Duration,
    out: &mut dyn Write,
) -> io::Result<()> {
    let mut text = TextWriter::new(out);
    interfaces::write(input, &mut text)?;
    flows::write(input, &mut text)?;
    text.finish()?;
    agent::write(input, elapsed, out)
}
