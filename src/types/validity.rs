// SPDX-License-Identifier: AGPL-3.0-only
//! The result of route origin validation.

/// The validation state of a route (RFC 6811 section 2). The numbers are those of the label; 0 = none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum RouteValidity {
    Valid = 1,
    Invalid = 2,
    NotFound = 3,
}

impl RouteValidity {
    pub const ALL: [Self; 3] = [Self::Valid, Self::Invalid, Self::NotFound];

    /// Returns the value of the labels.
    pub fn name(self) -> &'static str {
        match self {
            Self::Valid => "valid",
            Self::Invalid => "invalid",
            Self::NotFound => "not-found",
        }
    }

    /// Returns the name of a number of the label; empty for 0.
    pub fn name_of(number: u32) -> &'static str {
        let mut all = Self::ALL.into_iter();
        all.find(|validity| *validity as u32 == number)
            .map_or("", Self::name)
    }
}
