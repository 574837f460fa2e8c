// SPDX-License-Identifier: AGPL-3.0-only
//! The effective configuration.
//!
//! Each key is declared once, in the file of its section, by `section!` ([`section`]): name, type, limits, default,
//! reload class and text. The reader, the reload and all documents are made from it. Keys that are not declared are
//! errors.

mod agent;
mod cgroup;
mod changes;
pub mod control;
pub mod current;
mod document;
mod enrich;
mod firewall;
mod guard;
mod history;
mod ipfix;
mod load;
mod machine;
mod overrides;
mod privacy;
pub mod reference;
mod rule;
mod section;
#[cfg(test)]
mod tests;
mod validate;
mod values;

use std::fmt;

use serde::Serialize;

pub use agent::{Agent, Bpf, Collector, DEFAULT_FLOW_CACHE, Prometheus};
pub use control::Control;
pub use document::{ConfigError, KeyError};
pub use enrich::{Bmp, Enrich, Mmdb, Rib};
pub use firewall::Firewall;
pub use guard::Guard;
pub use history::History;
pub use ipfix::{Ipfix, IpfixBind, IpfixCollector};
pub use load::{MAX_FILE_SIZE, parse};
pub use machine::Machine;
pub use overrides::ConfigSource;
pub use values::MAX_DURATION;

pub const DEFAULT_PATH: &str = "/etc/rfm/rfm.toml";

/// All values of the file and of the overrides, with defaults for the keys that are not set.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Config {
    pub agent: Agent,
}

impl Config {
    /// Returns warnings for the operator, which are no errors; to be logged once.
    pub fn warnings(&self) -> Vec<String> {
        validate::warnings(self)
    }

    /// Returns the configuration as a table of its keys.
    pub fn to_table(&self) -> Result<toml::Table, toml::ser::Error> {
        toml::Table::try_from(self)
    }
}

/// Writes TOML that [`parse`] reads back to the same value.
impl fmt::Display for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let table = self.to_table().map_err(|_| fmt::Error)?;
        f.write_str(&toml::to_string(&table).map_err(|_| fmt::Error)?)
    }
}
