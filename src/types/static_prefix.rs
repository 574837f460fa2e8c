// SPDX-License-Identifier: AGPL-3.0-only
//! Defines a network that the configuration names.

use serde::Serialize;

use super::prefix::Prefix;

/// A network that BGP does not announce.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct StaticPrefix {
    pub prefix: Prefix,
    /// 0 = none.
    pub asn: u32,
    pub name: String,
    /// Whether the history stores its bytes and packets for bills.
    pub bill: bool,
}
