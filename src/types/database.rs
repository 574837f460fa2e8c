// SPDX-License-Identifier: AGPL-3.0-only
//! Names the databases that rfm reads.

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
