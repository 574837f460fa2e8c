// SPDX-License-Identifier: AGPL-3.0-only
//! MMDB files: ASN and city databases.

mod as_index;
mod attribution;
mod inspect;
mod private_copy;
mod record;
pub mod search;
mod thread;

use std::net::IpAddr;
use std::path::Path;
use std::sync::OnceLock;
use std::{fmt, io};

use maxminddb::{LookupResult, MaxMindDbError, Reader, WithinOptions};

use as_index::AsIndex;
pub use attribution::Attribution;
pub use inspect::Inspection;
pub use private_copy::FileIdentity;
use private_copy::PrivateCopy;
use record::{AsnRecord, LocationRecord};
pub use thread::{DatabaseFile, DatabasePlace, Databases, run};

use crate::sys::os_error;
use crate::types::database::DatabaseKind;

/// Stands before the metadata, within this many bytes of the end (MaxMind DB file format, "Database Metadata").
const MARKER: &[u8] = b"\xab\xcd\xefMaxMind.com";
const METADATA_SIZE: usize = 128 << 10;

/// Why a file is not used.
#[derive(Debug)]
pub enum MmdbError {
    Read(io::Error),
    /// A part of a file, or a file of another format, such as a web page that was stored as a database.
    NoMetadata,
    Broken(MaxMindDbError),
    /// None of the examined records has the data that the database is for.
    NoUsableRecords(DatabaseKind),
    /// None of the examined records has data for any kind of database.
    Useless,
    Empty,
}

impl fmt::Display for MmdbError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read(error) => f.write_str(&os_error::of_file(error)),
            Self::NoMetadata => {
                f.write_str("it is incomplete, or no MMDB database: download it again")
            }
            Self::Broken(MaxMindDbError::Io(error)) => f.write_str(&os_error::of_file(error)),
            Self::Broken(_) => f.write_str("it is damaged: download it again"),
            Self::NoUsableRecords(DatabaseKind::Asn) => {
                f.write_str("its records have no AS number: use an ASN database")
            }
            Self::NoUsableRecords(DatabaseKind::City) => f.write_str(
                "its records have neither city nor country: use a city or country database",
            ),
            Self::Useless => {
                f.write_str("its records have no AS number, city or country: use another database")
            }
            Self::Empty => f.write_str("it has no records: download it again"),
        }
    }
}

impl From<MaxMindDbError> for MmdbError {
    fn from(error: MaxMindDbError) -> Self {
        Self::Broken(error)
    }
}

/// An AS and its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asn<'a> {
    /// 0 = unknown.
    pub number: u32,
    pub name: Option<&'a str>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Location<'a> {
    pub city: Option<&'a str>,
    pub country: Option<&'a str>,
}

/// One database file, in the state in which it was opened.
pub struct Database {
    reader: Reader<PrivateCopy>,
    copy: PrivateCopy,
    identity: FileIdentity,
    index: OnceLock<AsIndex>,
}

impl Database {
    /// Copies the file, maps the copy and checks a part of its records. `beat` is called from time to time.
    pub fn open(path: &Path, kind: DatabaseKind, beat: &dyn Fn()) -> Result<Self, MmdbError> {
        let database = Self::read(path, beat)?;
        database.check(kind)?;
        Ok(database)
    }

    fn read(path: &Path, beat: &dyn Fn()) -> Result<Self, MmdbError> {
        let (copy, identity) = PrivateCopy::of(path, beat).map_err(MmdbError::Read)?;
        let end = &copy.as_ref()[copy.as_ref().len().saturating_sub(METADATA_SIZE)..];
        if !end.windows(MARKER.len()).any(|bytes| bytes == MARKER) {
            return Err(MmdbError::NoMetadata);
        }
        let reader = Reader::from_source(copy.clone())?;
        Ok(Self {
            reader,
            copy,
            identity,
            index: OnceLock::new(),
        })
    }

    pub fn identity(&self) -> FileIdentity {
        self.identity
    }

    /// Returns the build time in seconds since the Unix epoch.
    pub fn build_time(&self) -> u64 {
        self.reader.metadata().build_epoch
    }

    /// Returns the type that the metadata names, such as "GeoLite2-ASN".
    pub fn database_type(&self) -> &str {
        &self.reader.metadata().database_type
    }

    /// Returns the AS of an address, or `None` if the database does not contain the address.
    pub fn asn(&self, address: IpAddr) -> Result<Option<Asn<'_>>, MaxMindDbError> {
        self.find(address)?.map_or(Ok(None), |found| asn(&found))
    }

    /// Reads all networks, for [`Database::asn_name`]; takes tenths of a second. Returns the number of ASNs with a name.
    pub fn index(&self, beat: &dyn Fn()) -> Result<usize, MaxMindDbError> {
        let built = AsIndex::build(self, beat);
        // the whole file was read, and lookups need little of it
        self.copy.release_pages();
        let found = built.as_ref().map(AsIndex::len);
        let found = found.map_err(|error| MaxMindDbError::invalid_database(error.to_string()));
        // a broken part is not read again and again
        self.index.get_or_init(|| built.unwrap_or_default());
        found
    }

    /// Returns the memory of the index.
    pub fn index_bytes(&self) -> usize {
        self.index.get().map_or(0, AsIndex::bytes)
    }

    pub fn is_indexed(&self) -> bool {
        self.index.get().is_some()
    }

    /// Returns the name of an AS, also of one whose networks are not looked up; `None` before [`Database::index`].
    pub fn asn_name(&self, asn: u32) -> Option<&str> {
        let address = self.index.get()?.address(asn)?;
        let found = self.asn(address).ok().flatten()?;
        found.name.filter(|_| found.number == asn)
    }

    /// Returns the location of an address, or `None` if the database does not contain the address.
    pub fn location(&self, address: IpAddr) -> Result<Option<Location<'_>>, MaxMindDbError> {
        self.find(address)?
            .map_or(Ok(None), |found| location(&found))
    }

    fn find(
        &self,
        address: IpAddr,
    ) -> Result<Option<LookupResult<'_, PrivateCopy>>, MaxMindDbError> {
        let address = address.to_canonical();
        if address.is_ipv6() && self.reader.metadata().ip_version == 4 {
            return Ok(None);
        }
        self.reader.lookup(address).map(Some)
    }

    /// Reads some records of each part of the address space: reading all of them takes seconds if the
    /// database is large, and a start waits for this.
    fn check(&self, kind: DatabaseKind) -> Result<(), MmdbError> {
        const NETWORKS: usize = 64;
        // Networks without data also count: a maliciously built tree can have more of them than there is
        // time to visit.
        let options = WithinOptions::default().include_networks_without_data();
        let families = match self.reader.metadata().ip_version {
            4 => 1,
            _ => 2,
        };
        let (mut records, mut useful) = (0, 0);
        for part in 0..256 * families {
            let network = match part {
                // Only 2000::/3 is allocated (RFC 4291 section 2.4).
                256.. => format!("{:x}::/11", 0x2000 + (part - 256) * 0x20),
                _ => format!("{part}.0.0.0/8"),
            };
            let network = network.parse().map_err(MaxMindDbError::InvalidNetwork)?;
            for found in self.reader.within(network, options)?.take(NETWORKS) {
                let found = found?;
                records += usize::from(found.has_data());
                useful += usize::from(match kind {
                    DatabaseKind::Asn => asn(&found)?.is_some_and(|asn| asn.number > 0),
                    DatabaseKind::City => location(&found)?.is_some_and(|location| {
                        location.city.is_some() || location.country.is_some()
                    }),
                });
            }
        }
        match records > 0 && useful == 0 {
            true => Err(MmdbError::NoUsableRecords(kind)),
            false => Ok(()),
        }
    }
}

fn asn<'a>(found: &LookupResult<'a, PrivateCopy>) -> Result<Option<Asn<'a>>, MaxMindDbError> {
    let record: Option<AsnRecord<'a>> = found.decode()?;
    Ok(record.map(|record| Asn {
        number: record.number(),
        name: record.name(),
    }))
}

fn location<'a>(
    found: &LookupResult<'a, PrivateCopy>,
) -> Result<Option<Location<'a>>, MaxMindDbError> {
    let record: Option<LocationRecord<'a>> = found.decode()?;
    Ok(record.map(|record| Location {
        city: record.city(),
        country: record.country(),
    }))
}
