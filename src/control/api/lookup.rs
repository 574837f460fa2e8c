// SPDX-License-Identifier: AGPL-3.0-only
//! The reply about the labels of an address.

use serde::{Deserialize, Serialize};

/// GET /v1/lookup
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LookupReply {
    pub address: String,
    /// "global", or the VRF device.
    pub table: String,
    pub labels: Vec<LookupLabel>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LookupLabel {
    /// A label of the flow series, without `src_` or `dst_`.
    pub label: String,
    pub value: Option<String>,
    /// The origin of the value, or the reason why there is none.
    pub source: String,
}
