// SPDX-License-Identifier: AGPL-3.0-only
//! The guard: detects attacks in the flow records, and adds the narrowest rule that stops each.
//!
//! - [`detector`]: counts records and raises alarms; thread flow owns it,
//! - [`feed`]: the detector in that thread,
//! - [`host_table`]: all protected hosts that have traffic, in bounded memory,
//! - [`slots`]: the traffic of one watched host or prefix by the times in the records,
//! - [`sample`]: the records that stand for this traffic,
//! - [`exclusions`]: the traffic that is no part of an attack,
//! - [`baseline`]: the usual traffic of the prefixes, which [`baseline_file`] keeps over a restart,
//! - [`signature`]: the properties that the records of an attack share,
//! - [`origins`]: the countries and neighbor ASes of its sources,
//! - [`rules`]: the firewall rules of a signature,
//! - [`thresholds`]: the plain thresholds of interfaces, neighbors and prefixes,
//! - [`thread`]: the attacks in progress and their rules, in the firewall by [`backend`],
//! - [`links`]: whether the link of an attack is full,
//! - [`recorder`]: the first packets of attacks, in files of the format of [`pcapng`],
//! - [`shared`]: what other threads read.
//!
//! All but `feed`, `thread`, `backend`, `baseline_file`, `links`, `recorder` and `shared` are pure.

pub mod backend;
pub mod baseline;
pub mod baseline_file;
pub mod detector;
pub mod exclusions;
pub mod feed;
pub mod host_table;
pub mod links;
pub mod origins;
pub mod pcapng;
pub mod recorder;
pub mod report;
pub mod rules;
pub mod sample;
pub mod shared;
pub mod signature;
pub mod slots;
pub mod thread;
pub mod thresholds;
pub mod traffic;

#[cfg(test)]
mod tests;

use std::time::Duration;

use crate::types::guard::{GuardAction, GuardMode};
use crate::types::prefix::Prefix;
use baseline::BaselineSettings;
use traffic::Values;

/// Values per second; a quantity without a threshold has infinity.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Thresholds(pub Values);

/// The settings of the detector.
#[derive(Clone, Debug)]
pub struct DetectorSettings {
    pub protect: Vec<Prefix>,
    pub host: Thresholds,
    /// The floor of what is learned.
    pub prefix: Thresholds,
    pub baseline: BaselineSettings,
}

/// The settings of thread guard.
#[derive(Clone, Copy, Debug)]
pub struct ActionSettings {
    pub mode: GuardMode,
    pub action: GuardAction,
    pub ttl: Duration,
    pub max_rules: usize,
}
