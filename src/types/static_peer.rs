// SPDX-License-Identifier: AGPL-3.0-only
//! Defines a neighbor that the configuration names.

use std::net::IpAddr;

use serde::Serialize;

use super::mac::MacAddress;

/// A neighbor on a segment. Without MAC and address it stands for all neighbors of the interface.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct StaticPeer {
    /// The name of the interface; empty = any.
    pub interface: String,
    #[serde(serialize_with = "or_empty")]
    pub mac: Option<MacAddress>,
    #[serde(serialize_with = "or_empty")]
    pub address: Option<IpAddr>,
    /// 0 = as BGP reports.
    pub asn: u32,
    pub name: String,
}

pub(crate) fn or_empty<T: ToString, S: serde::Serializer>(
    value: &Option<T>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let text = value.as_ref().map(ToString::to_string);
    serializer.serialize_str(&text.unwrap_or_default())
}
