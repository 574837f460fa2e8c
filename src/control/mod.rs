// SPDX-License-Identifier: AGPL-3.0-only
//! The control socket: HTTP/1.1 with JSON for the client commands and other clients.
//!
//! - [`socket`]: the file, its permissions, and the check for another agent; `lock`: one agent makes the
//!   socket at a time,
//! - [`access`]: the clients that may change something,
//! - [`params`]: query strings to typed parameters (pure),
//! - [`api`]: the types of requests and replies, for agent and client,
//! - [`routes`]: a request to its reply; `get`, `post` and [`firewall`] have the paths,
//! - [`event_stream`]: the events of the guard as they occur,
//! - `status`, `flows`, `paths`, `what_if`, `history`, `bill`, [`lookup`]: the content of the replies; `rates`: their pure helper.
//!
//! docs/reference/control.md documents the API for client authors.

pub mod access;
pub mod api;
mod asn_names;
pub mod bgp;
pub mod bill;
pub mod event_stream;
pub mod firewall;
mod flows;
mod get;
mod guard;
pub mod history;
mod lock;
pub mod lookup;
pub mod params;
mod paths;
mod post;
mod rates;
pub mod routes;
pub mod socket;
mod status;
mod what_if;

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use humantime_serde::re::humantime::{format_rfc3339_millis, format_rfc3339_nanos};
use log::LevelFilter;

use crate::config::current::ConfigSnapshot;
use crate::firewall::handle::Handle;
use crate::http::HttpLimits;
use crate::http::deferred::Deferrer;
use crate::metrics::collect::Scrape;
use crate::store::reader::HistoryReader;
use crate::sys::clock;
use crate::sys::threads::Threads;
use crate::types::prefix::Prefix;

/// The limits for clients of the socket: lower than those of the exporter, because the clients are local.
pub const LIMITS: HttpLimits = HttpLimits {
    connections: 64,
    header_bytes: 16 * 1024,
    body_bytes: 4 * 1024,
    request: Duration::from_secs(5),
    idle: Duration::from_secs(60),
    followed_idle: Duration::from_secs(60),
    stalled_write: Duration::from_secs(10),
    response: Duration::from_secs(30),
    response_memory: 16 * 1024 * 1024,
    linger: Duration::from_secs(1),
};

/// The changes that the socket can make. Each method returns the reason if it fails.
pub trait AgentCommands: Send {
    fn set_sample_rate(&self, sample_rate: u32) -> Result<(), String>;
    fn set_log_level(&self, level: LevelFilter) -> Result<(), String>;
    fn reload(&self) -> Result<api::ReloadReply, String>;
}

/// The source of the BGP replies.
pub trait Bgp: Send {
    fn status(&self) -> api::BmpStatus;
    /// Returns every route for an address or a prefix, from the table of the VRF device or from the global
    /// table. `None` if there is no such table.
    fn explain(&self, asked: Prefix, vrf: Option<&str>) -> Option<api::RibReply>;
    /// Ends the sessions of a router and removes its routes. Returns the number of sessions, or `None` if the
    /// name is unknown.
    fn flush(&self, router: &str) -> Option<u64>;
}

/// The source of the labels of an address.
pub trait Lookup: Send {
    /// Returns the labels in the table of the VRF device, or without one in the global table; `None` if there
    /// is no such table.
    fn lookup(&self, address: IpAddr, vrf: Option<&str>) -> Option<api::LookupReply>;
}

/// All sources of the replies.
pub struct Sources {
    pub scrape: Scrape,
    pub threads: Arc<Threads>,
    pub config_file: PathBuf,
    /// Returns the configuration, and the result of the last reload.
    pub in_force: Box<dyn Fn() -> ConfigSnapshot + Send>,
    pub exporters: Vec<api::ExporterStatus>,
    pub commands: Box<dyn AgentCommands>,
    pub lookup: Box<dyn Lookup>,
    /// Set if BMP is configured.
    pub bgp: Option<Box<dyn Bgp>>,
    /// Set if the firewall is enabled.
    pub firewall: Option<Handle>,
    /// Set if there is a history on disk.
    pub history: Option<HistorySource>,
}

/// The history on disk, and the thread that reads it.
pub struct HistorySource {
    pub reader: HistoryReader,
    pub deferrer: Deferrer,
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
