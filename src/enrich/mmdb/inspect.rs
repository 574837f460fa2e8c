// SPDX-License-Identifier: AGPL-3.0-only
//! `rfm --check-database`: opens a file as the agent does, and reads all of it.

use std::collections::HashSet;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use humantime_serde::re::humantime::format_rfc3339_seconds;
use maxminddb::{MaxMindDbError, WithinOptions};

use super::attribution::Attribution;
use super::{Database, MmdbError, asn, location};
use crate::sys::clock;
use crate::types::database::DatabaseKind;

/// Maximum number of networks that are read. A maliciously built tree can have more of them than there is time to
/// visit; the largest known databases have a quarter of it.
const MAX_NETWORKS: u64 = 1 << 26;
const DAY: Duration = Duration::from_secs(86_400);

/// The content of a database.
#[derive(Debug)]
pub struct Inspection {
    database_type: String,
    built: SystemTime,
    /// Networks that have a record.
    networks: u64,
    usable_as: Vec<DatabaseKind>,
    /// The first network, and its record.
    sample: Option<(IpAddr, u8, String)>,
    attribution: Option<Attribution>,
}

impl Inspection {
    /// Reads the file at `path`.
    pub fn of(path: &Path) -> Result<Self, MmdbError> {
        let database = Database::read(path, &|| {})?;
        let mut usable_as = Vec::new();
        let mut unusable = None;
        for kind in DatabaseKind::ALL {
            match database.check(kind) {
                Ok(()) => usable_as.push(kind),
                Err(error @ MmdbError::Broken(_)) => return Err(error),
                Err(error) => unusable = Some(error),
            }
        }
        let mut inspection = Self {
            database_type: database.database_type().to_owned(),
            built: clock::printable(
                UNIX_EPOCH + Duration::from_secs(database.build_time().min(u32::MAX.into())),
            ),
            networks: 0,
            usable_as,
            sample: None,
            attribution: Attribution::of(database.database_type()),
        };
        inspection.read_all(&database)?;
        if inspection.networks == 0 {
            return Err(MmdbError::Empty);
        }
        match unusable {
            Some(error) if inspection.usable_as.is_empty() => Err(match error {
                MmdbError::NoUsableRecords(_) => MmdbError::Useless,
                error => error,
            }),
            _ => Ok(inspection),
        }
    }

    fn read_all(&mut self, database: &Database) -> Result<(), MaxMindDbError> {
        let mut known = HashSet::new();
        let options = WithinOptions::default().include_networks_without_data();
        let mut visited = 0;
        for found in database.reader.networks(options)? {
            let found = found?;
            visited += 1;
            if visited > MAX_NETWORKS {
                let text = format!("more than {MAX_NETWORKS} networks");
                return Err(MaxMindDbError::invalid_database(text));
            }
            let Some(offset) = found.offset() else {
                continue;
            };
            self.networks += 1;
            if !known.insert(offset) {
                continue;
            }
            let (asn, location) = (asn(&found)?, location(&found)?);
            if self.sample.is_none() {
                let asn = asn.filter(|asn| asn.number > 0);
                let number = asn.map(|asn| format!("AS{}", asn.number));
                let name = asn.and_then(|asn| asn.name).map(str::to_owned);
                let place = location.map(|l| [l.city, l.country]).unwrap_or_default();
                let place = place.into_iter().flatten().map(str::to_owned);
                let words: Vec<_> = number.into_iter().chain(name).chain(place).collect();
                if !words.is_empty() {
                    let network = found.network()?;
                    let (address, length) = plain(network.ip(), network.prefix());
                    self.sample = Some((address, length, words.join(" ")));
                }
            }
        }
        Ok(())
    }
}

/// Returns an IPv4 network that stands in a tree of IPv6 addresses as one of IPv4.
fn plain(address: IpAddr, length: u8) -> (IpAddr, u8) {
    match address {
        IpAddr::V6(v6) if length >= 96 && v6.to_bits() >> 32 == 0 => {
            let v4 = Ipv4Addr::from_bits(v6.to_bits() as u32);
            (v4.into(), length - 96)
        }
        IpAddr::V6(v6) => (Ipv6Addr::from_bits(v6.to_bits()).into(), length),
        v4 => (v4, length),
    }
}

impl fmt::Display for Inspection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let built = format_rfc3339_seconds(self.built).to_string();
        let age = SystemTime::now().duration_since(self.built);
        let days = age.unwrap_or_default().as_secs() / DAY.as_secs();
        let plural = if days == 1 { "" } else { "s" };
        writeln!(f, "type: {}", self.database_type)?;
        writeln!(f, "built: {} ({days} day{plural} ago)", &built[..10])?;
        writeln!(f, "networks: {}", self.networks)?;
        let keys: Vec<_> = self.usable_as.iter().map(|kind| kind.key()).collect();
        writeln!(f, "usable as: {}", keys.join(", "))?;
        if let Some((address, length, words)) = &self.sample {
            writeln!(f, "sample: {address}/{length} {}", printable(words))?;
        }
        if let Some(attribution) = &self.attribution {
            let Attribution { text, url } = attribution;
            writeln!(f, "attribution: {text}, {url}")?;
        }
        Ok(())
    }
}

/// Removes control characters, which a terminal would interpret.
fn printable(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).collect()
}
