// SPDX-License-Identifier: AGPL-3.0-only
//! Bits or bytes a second.

use crate::client::format;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RateUnit {
    #[default]
    Bits,
    Bytes,
}

impl RateUnit {
    /// Formats bytes a second: "1.23 Mbit/s" or "154 kB/s".
    pub fn rate(self, bytes_per_second: f64) -> String {
        match self {
            Self::Bits => format::bits(bytes_per_second),
            Self::Bytes => format::byte_rate(bytes_per_second),
        }
    }

    /// Formats bytes a second for a narrow column: "1.23Mb" or "154kB".
    pub fn short(self, bytes_per_second: f64) -> String {
        match self {
            Self::Bits => format::short(bytes_per_second * 8.0, "b"),
            Self::Bytes => format::short(bytes_per_second, "B"),
        }
    }

    pub fn other(self) -> Self {
        match self {
            Self::Bits => Self::Bytes,
            Self::Bytes => Self::Bits,
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Bits => "bits",
            Self::Bytes => "bytes",
        }
    }
}
