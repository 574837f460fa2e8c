// SPDX-License-Identifier: AGPL-3.0-only
//! `[agent.enrich]`: what turns addresses into networks and places.

use std::collections::BTreeMap;
use std::fmt;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use serde::Serialize;

use super::document::Section;
use super::ipfix::either;
use super::load::{SECOND, canonical_prefix, prefixes};
use super::machine::Machine;
use super::values::{Complaint, Parsed, Value, duration, number, path, text, word};
use crate::enrich::mmdb::Kind;
use crate::types::named::serialize_as_text;
use crate::types::prefix::Prefix;

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

/// A network that BGP does not tell.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct StaticPrefix {
    pub prefix: Prefix,
    /// 0 = none.
    pub asn: u32,
    pub name: String,
}

/// A route distinguisher (RFC 4364 section 4.2) in wire order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Distinguisher(pub [u8; 8]);

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

impl FromStr for Distinguisher {
    type Err = &'static str;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        let (administrator, number) = s.split_once(':').ok_or("without a colon")?;
        let mut bytes = [0; 8];
        let wide = if let Ok(asn) = administrator.parse::<u16>() {
            bytes[2..4].copy_from_slice(&asn.to_be_bytes());
            true
        } else if let Ok(address) = administrator.parse::<Ipv4Addr>() {
            bytes[1] = 1;
            bytes[2..6].copy_from_slice(&address.octets());
            false
        } else {
            let asn: u32 = administrator
                .parse()
                .map_err(|_| "neither AS nor IPv4 address before the colon")?;
            bytes[1] = 2;
            bytes[2..6].copy_from_slice(&asn.to_be_bytes());
            false
        };
        if wide {
            let number: u32 = number
                .parse()
                .map_err(|_| "no number of 32 bits after the colon")?;
            bytes[4..].copy_from_slice(&number.to_be_bytes());
        } else {
            let number: u16 = number
                .parse()
                .map_err(|_| "no number of 16 bits after the colon")?;
            bytes[6..].copy_from_slice(&number.to_be_bytes());
        }
        Ok(Self(bytes))
    }
}

impl fmt::Display for Distinguisher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [_, kind, a, b, c, d, e, g] = self.0;
        let short = u16::from_be_bytes([e, g]);
        match kind {
            0 => write!(
                f,
                "{}:{}",
                u16::from_be_bytes([a, b]),
                u32::from_be_bytes([c, d, e, g])
            ),
            1 => write!(f, "{}:{short}", Ipv4Addr::new(a, b, c, d)),
            _ => write!(f, "{}:{short}", u32::from_be_bytes([a, b, c, d])),
        }
    }
}

serialize_as_text!(Distinguisher);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distinguishers_are_read_as_rfc_4364_writes_them() {
        for (text, bytes) in [
            ("0:0", [0, 0, 0, 0, 0, 0, 0, 0]),
            ("65000:1", [0, 0, 0xfd, 0xe8, 0, 0, 0, 1]),
            ("192.0.2.1:7", [0, 1, 192, 0, 2, 1, 0, 7]),
            ("65536:7", [0, 2, 0, 1, 0, 0, 0, 7]),
        ] {
            let read: Distinguisher = text.parse().unwrap();
            assert_eq!(read.0, bytes, "{text}");
            assert_eq!(read.to_string(), text);
        }
        for text in ["", "1", ":", "x:1", "1:x", "65536:65536", "192.0.2.1:65536"] {
            assert!(text.parse::<Distinguisher>().is_err(), "{text}");
        }
    }
}
