// SPDX-License-Identifier: AGPL-3.0-only
//! The control socket: HTTP/1.1 with JSON for the client commands and whoever else may open it.
//!
//! - [`socket`]: the file, its permissions, and who is there already; `lock`: one agent makes it at a time,
//! - [`access`]: who may change something,
//! - [`params`]: query strings to typed parameters (pure),
//! - [`api`]: what goes over the socket, for both ends,
//! - [`routes`]: a request to its reply; `get`, `post` and [`firewall`] have the paths,
//! - `status`, `flows`, [`lookup`]: what the replies are made of; `rates`: a pure helper of theirs.
//!
//! docs/CONTROL.md is the page for those who speak to it.

pub mod access;
pub mod api;
pub mod bgp;
pub mod firewall;
mod flows;
mod get;
mod lock;
pub mod lookup;
pub mod params;
mod post;
mod rates;
pub mod routes;
pub mod socket;
mod status;

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use humantime_serde::re::humantime::{format_rfc3339_millis, format_rfc3339_nanos};
use log::LevelFilter;

use crate::config::current::ConfigSnapshot;
use crate::firewall::handle::Handle;
use crate::http::HttpLimits;
use crate::metrics::collect::Scrape;
use crate::sys::clock;
use crate::sys::threads::Threads;
use crate::types::prefix::Prefix;

/// What clients of the socket may take: less than those of the exporter, since they are nearer.
pub const LIMITS: HttpLimits = HttpLimits {
    connections: 64,
    header_bytes: 16 * 1024,
    body_bytes: 4 * 1024,
    request: Duration::from_secs(5),
    idle: Duration::from_secs(60),
    stalled_write: Duration::from_secs(10),
    response: Duration::from_secs(30),
    response_memory: 16 * 1024 * 1024,
    linger: Duration::from_secs(1),
};

/// What the socket may change. Each says why it did not.
pub trait AgentCommands: Send {
    fn set_sample_rate(&self, sample_rate: u32) -> Result<(), String>;
    fn set_log_level(&self, level: LevelFilter) -> Result<(), String>;
    fn reload(&self) -> Result<api::ReloadReply, String>;
}

/// What the socket tells of BGP.
pub trait Bgp: Send {
    fn status(&self) -> api::BmpStatus;
    /// Every route for an address or a prefix; of the VRF device, or the global table. `None` if there is
    /// no such table.
    fn explain(&self, asked: Prefix, vrf: Option<&str>) -> Option<api::RibReply>;
    /// Ends the sessions of a router and forgets its routes; how many there were, `None` if the name is
    /// not known.
    fn flush(&self, router: &str) -> Option<u64>;
}

/// Labels of addresses.
pub trait Lookup: Send {
    /// As in the VRF device, or elsewhere; `None` if there is no such table.
    fn lookup(&self, address: IpAddr, vrf: Option<&str>) -> Option<api::LookupReply>;
}

/// What the replies are made of.
pub struct Sources {
    pub scrape: Scrape,
    pub threads: Arc<Threads>,
    /// What is wrong, if something is.
    pub health: Box<dyn Fn() -> Result<(), Vec<String>> + Send>,
    pub config_file: PathBuf,
    /// The configuration, and what became of the last reload.
    pub in_force: Box<dyn Fn() -> ConfigSnapshot + Send>,
    pub exporters: Vec<api::ExporterStatus>,
    pub commands: Box<dyn AgentCommands>,
    pub lookup: Box<dyn Lookup>,
    /// Where BMP is configured.
    pub bgp: Option<Box<dyn Bgp>>,
    /// Where it is enabled.
    pub firewall: Option<Handle>,
}

fn rfc3339(time: SystemTime) -> String {
    format_rfc3339_millis(clock::printable(time)).to_string()
}

/// Nanoseconds since the Unix epoch.
fn rfc3339_ns(ns: u64) -> String {
    let time = clock::printable_since_epoch(Duration::from_nanos(ns));
    format_rfc3339_nanos(time).to_string()
}

/// Seconds since the Unix epoch.
fn rfc3339_seconds(seconds: f64) -> String {
    let since = match Duration::try_from_secs_f64(seconds) {
        Ok(since) => since,
        Err(_) if seconds > 0.0 => Duration::MAX,
        Err(_) => Duration::ZERO,
    };
    rfc3339(clock::printable_since_epoch(since))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_from_outside_are_shown_whatever_they_are() {
        assert_eq!(rfc3339_seconds(1_700_000_000.0), "2023-11-14T22:13:20.000Z");
        for late in [253_402_300_800.0, 1e12, u64::MAX as f64, f64::INFINITY] {
            assert_eq!(rfc3339_seconds(late), "9999-12-31T23:59:59.999Z");
        }
        for early in [-1.0, f64::NAN] {
            assert_eq!(rfc3339_seconds(early), "1970-01-01T00:00:00.000Z");
        }
        assert!(rfc3339_ns(u64::MAX).starts_with("2554-07-21T"));
    }
}
