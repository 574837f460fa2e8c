// SPDX-License-Identifier: AGPL-3.0-only
//! `rfm_rpki_*`: the VRPs in use. The families exist only if VRPs are configured.

use prometheus::proto::MetricFamily;

use super::declarations;
use super::family::{family, single};
use crate::types::flow::Family;

/// The VRPs in use.
#[derive(Clone, Copy, Debug, Default)]
pub struct Rpki {
    /// For IPv4 and IPv6.
    pub vrps: [usize; 2],
    /// When they were written or received, in seconds since the Unix epoch; 0 = there are none.
    pub updated: u64,
}

pub(super) fn families(rpki: &Rpki) -> [MetricFamily; 2] {
    let counts = [Family::Ipv4, Family::Ipv6].into_iter().zip(rpki.vrps);
    [
        family(
            &declarations::RPKI_VRPS,
            counts.map(|(family, vrps)| ([family.name()], vrps as f64)),
        ),
        single(&declarations::RPKI_UPDATE_TIMESTAMP, rpki.updated as f64),
    ]
}
