// SPDX-License-Identifier: AGPL-3.0-only
//! The replies about AS paths.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// GET /v1/paths
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PathsReply {
    pub time: String,
    /// When counting began, at most a day ago.
    pub since: String,
    pub interval_seconds: u64,
    /// All traffic of the interfaces that sums include.
    pub total: PathSums,
    /// Traffic on the paths that match, those beyond `limit` included.
    pub matched: PathSums,
    /// Traffic without a route.
    pub unknown: PathSums,
    /// Traffic whose paths were not kept; part of `total`, and of nothing else.
    pub rest: PathSums,
    /// The number of paths that match.
    pub count: u64,
    /// The largest of them.
    pub paths: Vec<PathEntry>,
    /// The names of the ASNs on these paths, if the ASN database has them.
    #[serde(default)]
    pub asn_names: BTreeMap<u32, String>,
    /// The matched traffic of each interval; only on request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub history: Option<Vec<PathHistory>>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PathSum {
    pub bytes: u64,
    pub packets: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PathSums {
    /// By the path to the source.
    pub ingress: PathSum,
    /// By the path to the destination.
    pub egress: PathSum,
}

impl PathSums {
    pub fn bytes(&self) -> u64 {
        self.ingress.bytes.saturating_add(self.egress.bytes)
    }

    pub fn packets(&self) -> u64 {
        self.ingress.packets.saturating_add(self.egress.packets)
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PathEntry {
    /// The ASes from the neighbor on, each prepended one once; empty for networks of the router's own AS.
    pub path: String,
    pub origin_asn: Option<u32>,
    #[serde(flatten)]
    pub sums: PathSums,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PathHistory {
    pub start: String,
    /// The part of the interval that was counted.
    pub seconds: u64,
    #[serde(flatten)]
    pub sums: PathSums,
}

/// GET /v1/paths/what_if
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct WhatIfReply {
    pub time: String,
    pub since: String,
    pub interval_seconds: u64,
    pub asn: u32,
    /// Traffic of the paths on which `asn` is behind the neighbor, by neighbor, the largest first.
    pub neighbors: Vec<WhatIfNeighbor>,
    /// The same over all neighbors.
    pub total: WhatIfNeighbor,
    /// Traffic of the paths on which `asn` is the neighbor already.
    pub direct: PathSums,
    /// The ASes seen behind `asn`, in ascending order.
    pub cone: Vec<u32>,
    /// The names of `asn`, of the neighbors and of the cone, if the ASN database has them.
    #[serde(default)]
    pub asn_names: BTreeMap<u32, String>,
    /// Why the traffic is an upper bound.
    pub upper_bound: String,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct WhatIfNeighbor {
    /// `None` in the total, and if the path begins with an AS_SET.
    pub peer_asn: Option<u32>,
    /// Traffic of `asn` and of the ASes behind it.
    pub with_cone: WhatIfLoads,
    /// Traffic of which `asn` is the origin.
    pub without_cone: WhatIfLoads,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct WhatIfLoads {
    pub ingress: WhatIfLoad,
    pub egress: WhatIfLoad,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct WhatIfLoad {
    pub bytes: u64,
    /// The 95th percentile of the intervals.
    pub p95_bytes_per_second: u64,
    /// The hour with the most bytes.
    pub peak_hour: Option<PeakHour>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PeakHour {
    pub start: String,
    pub bytes: u64,
    pub bytes_per_second: u64,
}
