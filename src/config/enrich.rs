// SPDX-License-Identifier: AGPL-3.0-only
//! `[agent.enrich]`: what turns addresses into networks and places.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Serialize;

use super::document::Section;
use super::ipfix::either;
use super::load::{SECOND, canonical_prefix, prefixes};
use super::machine::Machine;
use super::values::{Complaint, Parsed, Value, duration, number, path, text, word};
use crate::types::database::Kind;
use crate::types::distinguisher::Distinguisher;
use crate::types::prefix::Prefix;
use crate::types::static_prefix::StaticPrefix;

/// If only the host is set.
pub const DEFAULT_BMP_PORT: u16 = 11_019;
pub const DEFAULT_MAX_SESSIONS: u32 = 16;
pub const DEFAULT_MAX_ROUTES: u32 = 4_000_000;
pub const DEFAULT_STALE_TIME: Duration = Duration::from_secs(300);

const MAX_MAX_SESSIONS: u32 = 1024;
const MAX_MAX_ROUTES: u32 = 1_000_000_000;
const MAX_STATIC_PREFIXES: usize = 10_000;
const MAX_NAME: usize = 256;
const MAX_PATH: usize = 4095;

/// IFNAMSIZ of linux/if.h, less the final zero.
const MAX_IFNAME: usize = 15;

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Enrich {
    pub mmdb: Mmdb,
    pub rib: Rib,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub prefix: Vec<StaticPrefix>,
}

/// Databases; an empty path is none.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Mmdb {
    pub asn_db: PathBuf,
    pub city_db: PathBuf,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Rib {
    /// Overrides the own AS; 0 = what the sessions say.
    pub local_asn: u32,
    pub bmp: Bmp,
    /// By the name of the VRF device.
    pub vrf: BTreeMap<String, Distinguisher>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Bmp {
    /// "" together with port 0: no listener.
    pub host: String,
    pub port: u16,
    /// Who may connect; empty = anyone.
    pub allow: Vec<Prefix>,
    pub max_sessions: u32,
    pub max_routes: u32,
    #[serde(with = "humantime_serde")]
    pub stale_time: Duration,
}

impl Enrich {
    pub(super) fn read(section: &Section<'_>, machine: &Machine) -> Self {
        let mmdb = section.section("mmdb");
        let rib = section.section("rib");
        Self {
            mmdb: Mmdb {
                asn_db: mmdb.read("asn_db", path(MAX_PATH), PathBuf::new()),
                city_db: mmdb.read("city_db", path(MAX_PATH), PathBuf::new()),
            },
            rib: Rib {
                local_asn: rib.read("local_asn", number(0..=u32::MAX), 0),
                bmp: Bmp::read(&rib.section("bmp"), machine),
                vrf: rib.entries("vrf", vrf),
            },
            prefix: section
                .sections("prefix", MAX_STATIC_PREFIXES)
                .iter()
                .filter_map(StaticPrefix::read)
                .collect(),
        }
    }
}

impl Mmdb {
    /// Those that are configured.
    pub fn files(&self) -> impl Iterator<Item = (Kind, &Path)> {
        [(Kind::Asn, &self.asn_db), (Kind::City, &self.city_db)]
            .into_iter()
            .filter(|(_, path)| !path.as_os_str().is_empty())
            .map(|(kind, path)| (kind, path.as_path()))
    }
}

impl Bmp {
    fn read(section: &Section<'_>, machine: &Machine) -> Self {
        let (host, port) = either(section, machine, DEFAULT_BMP_PORT);
        Self {
            host,
            port,
            allow: prefixes(section, "allow"),
            max_sessions: section.read(
                "max_sessions",
                number(1..=MAX_MAX_SESSIONS),
                DEFAULT_MAX_SESSIONS,
            ),
            max_routes: section.read("max_routes", number(1..=MAX_MAX_ROUTES), DEFAULT_MAX_ROUTES),
            stale_time: section.read("stale_time", duration(SECOND), DEFAULT_STALE_TIME),
        }
    }

    pub fn enabled(&self) -> bool {
        self.port != 0
    }
}

impl StaticPrefix {
    fn read(section: &Section<'_>) -> Option<Self> {
        let asn = section.read("asn", number(0..=u32::MAX), 0);
        let name = section.read("name", text(MAX_NAME), String::new());
        let prefix = section.required("prefix", canonical_prefix, "prefix = \"10.0.0.0/8\"")?;
        Some(Self { prefix, asn, name })
    }
}

fn vrf(device: &str, value: &Value<'_>) -> Parsed<Distinguisher> {
    if !(1..=MAX_IFNAME).contains(&device.len()) {
        return Err(vec![Complaint {
            span: value.span(),
            expected: format!("the name of a device, of 1 to {MAX_IFNAME} bytes"),
            reason: None,
        }]);
    }
    word("a distinguisher such as \"65000:1\"")(value)
}
