// SPDX-License-Identifier: AGPL-3.0-only
//! The effective configuration: every key with its type and its default.
//!
//! A key is one field here (or in the file of its section) and one line in the section's reader,
//! which names type, range and default. Whatever the readers ask for is known; every other key in
//! the file is an error. `config/rfm.toml` shows each key with its default; a test compares the two.

mod cgroup;
mod changes;
pub mod control;
pub mod current;
mod document;
mod enrich;
mod firewall;
mod ipfix;
mod load;
mod machine;
#[cfg(test)]
mod tests;
mod validate;
mod values;

use std::fmt;
use std::time::Duration;

use serde::Serialize;

use crate::types::flow::Direction;
use crate::types::hook::Position;
use crate::types::interface_pattern::{Pattern, Patterns};
use crate::types::label::Label;
use crate::types::prefix::Prefix;

pub use control::Control;
pub use document::{Error, Problem};
pub use enrich::{Bmp, Enrich, Mmdb, Rib};
pub use firewall::Firewall;
pub use ipfix::{Bind as IpfixBind, Collector as IpfixCollector, Ipfix};
pub use load::{MAX_FILE_SIZE, load, parse};
pub use machine::Machine;
pub use values::MAX_DURATION;

pub const DEFAULT_PATH: &str = "/etc/rfm/rfm.toml";
pub const DEFAULT_REQUIRE_INTERFACE: bool = true;
pub const DEFAULT_DIRECTIONS: [Direction; 2] = Direction::ALL;
pub const DEFAULT_SAMPLE_RATE: u32 = 100;
pub const DEFAULT_RING_BUF_SIZE: u32 = 262_144;
pub const DEFAULT_WAKEUP_BATCH: u32 = 64;
pub const DEFAULT_IFACE_STATS_SIZE: u32 = 0;
pub const DEFAULT_POSITION: Position = Position::Head;
pub const DEFAULT_FLOW_CACHE: u32 = 8192;
pub const DEFAULT_MAX_FLOWS: u32 = 65_536;
pub const DEFAULT_EVICTION_TIMEOUT: Duration = Duration::from_secs(30);
pub const DEFAULT_ACTIVE_TIMEOUT: Duration = Duration::from_secs(60);
pub const DEFAULT_PROMETHEUS_PORT: u16 = 9669;
pub const DEFAULT_FLOW_GAUGES: bool = true;
pub const DEFAULT_LABELS: [Label; 7] = Label::USUAL;
pub const DEFAULT_MAX_SERIES: u32 = 10_000;
pub const DEFAULT_SERIES_TTL: Duration = Duration::from_secs(3600);
pub const DEFAULT_PAGE: bool = true;

/// Everything the file says, with defaults in place of what it leaves out.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Config {
    pub agent: Agent,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Agent {
    pub interfaces: Vec<Pattern>,
    pub exclude_interfaces: Vec<Pattern>,
    pub require_interface: bool,
    /// In the order of [`Direction::ALL`], each at most once, never empty.
    pub directions: Vec<Direction>,
    pub bpf: Bpf,
    pub collector: Collector,
    pub prometheus: Prometheus,
    pub ipfix: Ipfix,
    pub enrich: Enrich,
    pub control: Control,
    pub firewall: Firewall,
}

impl Agent {
    /// Which interfaces are watched.
    pub fn patterns(&self) -> Patterns {
        Patterns::new(self.interfaces.clone(), self.exclude_interfaces.clone())
    }
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Bpf {
    /// 1 in N; at least 1.
    pub sample_rate: u32,
    /// Bytes; a power of two and a multiple of the page size.
    pub ring_buf_size: u32,
    pub wakeup_batch: u32,
    /// Interface slots; 0 = max(1,024, 4 × found).
    pub iface_stats_size: u32,
    pub position: Position,
    /// Records per CPU, a power of two; 0 = one event per sampled packet.
    pub flow_cache: u32,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Collector {
    /// The effective limit, at least 1: 0 in the file is replaced by what the memory holds.
    pub max_flows: u32,
    #[serde(with = "humantime_serde")]
    pub eviction_timeout: Duration,
    #[serde(with = "humantime_serde")]
    pub active_timeout: Duration,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Prometheus {
    /// An address or a host name.
    pub host: String,
    pub port: u16,
    /// Who may connect; empty = anyone.
    pub allow: Vec<Prefix>,
    pub flow_gauges: bool,
    /// In the order of [`Label::ALL`], each at most once.
    pub labels: Vec<Label>,
    pub max_series: u32,
    #[serde(with = "humantime_serde")]
    pub series_ttl: Duration,
    pub page: bool,
}

impl Config {
    /// What an operator should know although it is no error; to be logged once.
    pub fn warnings(&self) -> Vec<String> {
        validate::warnings(self)
    }

    /// Key by key.
    pub fn to_table(&self) -> Result<toml::Table, toml::ser::Error> {
        toml::Table::try_from(self)
    }
}

/// TOML that [`parse`] reads back to the same value.
impl fmt::Display for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let table = self.to_table().map_err(|_| fmt::Error)?;
        f.write_str(&toml::to_string(&table).map_err(|_| fmt::Error)?)
    }
}
