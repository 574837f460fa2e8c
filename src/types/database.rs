// SPDX-License-Identifier: AGPL-3.0-only
//! Names the databases that rfm reads, and their choice in the configuration.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use super::named::serialize_as_text;

/// PATH_MAX of linux/limits.h, less the final zero.
const MAX_PATH: usize = 4095;

/// The purpose of a database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum DatabaseKind {
    Asn,
    City,
}

impl DatabaseKind {
    pub const ALL: [Self; 2] = [Self::Asn, Self::City];

    /// The value of the label `database`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Asn => "asn",
            Self::City => "city",
        }
    }

    /// The key of the configuration that names the file.
    pub fn key(self) -> &'static str {
        match self {
            Self::Asn => "agent.enrich.mmdb.asn_db",
            Self::City => "agent.enrich.mmdb.city_db",
        }
    }
}

/// The choice of a database in the configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum DatabaseChoice {
    /// The first database that exists in the usual folders.
    #[default]
    Auto,
    None,
    File(PathBuf),
}

impl FromStr for DatabaseChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "" => Ok(Self::None),
            "auto" => Ok(Self::Auto),
            path if path.len() > MAX_PATH => Err(format!("longer than {MAX_PATH} bytes")),
            path if path.starts_with('/') => Ok(Self::File(path.into())),
            _ => Err("the path is not absolute".to_owned()),
        }
    }
}

impl fmt::Display for DatabaseChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::None => Ok(()),
            Self::File(path) => path.display().fmt(f),
        }
    }
}

serialize_as_text!(DatabaseChoice);
