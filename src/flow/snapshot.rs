// SPDX-License-Identifier: AGPL-3.0-only
//! The snapshot of the flow thread for other threads: values copied at one moment, cheap to make
//! and to store.

use std::sync::Arc;

use super::paths::TransitRow;
use super::peers::PeerSnapshot;
use super::sources::SourceSnapshot;
use crate::sys::clock::WallTimes;

/// One series and its values.
#[derive(Clone, Debug)]
pub struct SeriesRow {
    /// Rendered once when the set was created, escaped for the text format, without braces:
    /// `ifname="eth0",direction="ingress",…`.
    pub labels: Arc<str>,
    /// The time at which the series was created, on the clock of [`Snapshot::at_ms`].
    pub created_ms: u64,
    /// Monotonic, scaled by the sample rate in force when each packet was sampled.
    pub bytes_total: u64,
    pub packets_total: u64,
    /// The standard errors of these that adaptive sampling causes; 0 without overload.
    pub error_bytes: u64,
    pub error_packets: u64,
    /// Over the flows that are live now: scaled, and as sampled.
    pub live_bytes: u64,
    pub live_packets: u64,
    pub live_sampled_bytes: u64,
    pub live_sampled_packets: u64,
    pub live_flows: u64,
}

/// The flow thread's own totals, independent of any series. Promise 3 is stated over these.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Raw counts of every record that reached the table.
    pub accounted_packets: u64,
    pub accounted_bytes: u64,
    pub active_flows: u64,
    pub max_flows: u64,
    pub forced_evictions: u64,
    pub series: u64,
    pub series_limit: u64,
    /// The number of times that a new series exceeded the limit and was counted under `other`.
    pub series_folded: u64,
}

/// All data that `/metrics` needs from the flow thread.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// The time of the snapshot, in milliseconds, monotonic, from any origin.
    pub at_ms: u64,
    /// Converts times of that clock.
    pub clock: WallTimes,
    pub series: Vec<SeriesRow>,
    /// The ASNs of the series that have a name, in ascending order.
    pub asns: Vec<(u32, Arc<str>)>,
    pub totals: Totals,
    pub peers: PeerSnapshot,
    /// Bytes by AS on the path, in ascending order.
    pub transit: Vec<TransitRow>,
    pub sources: SourceSnapshot,
}

impl Snapshot {
    /// Sets the counters of the series that were created at this time or later to 0.
    pub fn start_at_zero(&mut self, since_ms: u64) {
        let new = self.series.iter_mut();
        for row in new.filter(|row| row.created_ms >= since_ms) {
            row.bytes_total = 0;
            row.packets_total = 0;
        }
    }
}
