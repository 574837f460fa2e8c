// SPDX-License-Identifier: AGPL-3.0-only
//! The families about BMP sessions and the RIB. They exist only if BMP is configured.

use prometheus::proto::MetricFamily;

use super::declarations::{self, Metric};
use super::family::{family, single};
use crate::enrich::bmp::{IgnoredFamily, RouterStatus};
use crate::enrich::rib::{BlackholeRejectReason, Family, RibCounts};

/// The state of the collector and the RIB.
#[derive(Clone, Debug, Default)]
pub struct Bmp {
    /// The routers of the last day.
    pub routers: Vec<RouterStatus>,
    /// The kind and the count.
    pub errors: Vec<(&'static str, u64)>,
    pub counts: RibCounts,
    /// Empty if blackholing is not configured.
    pub blackholes_refused: Vec<(BlackholeRejectReason, u64)>,
}

pub(super) fn families(bmp: &Bmp) -> [MetricFamily; 13] {
    let sessions: usize = bmp.routers.iter().map(|router| router.sessions).sum();
    let heard = bmp.routers.iter().filter(|r| r.last_message > 0.0);
    [
        single(&declarations::BMP_SESSIONS, sessions as f64),
        single(&declarations::BMP_PEERS, bmp.counts.peers as f64),
        family(
            &declarations::BMP_SESSION_UP,
            bmp.routers.iter().map(|router| {
                let up = f64::from(u8::from(router.sessions > 0));
                ([&*router.router], up)
            }),
        ),
        family(
            &declarations::BMP_LAST_MESSAGE,
            heard.map(|r| ([&*r.router], r.last_message)),
        ),
        of_routers(bmp, &declarations::BMP_UPDATES, |router| router.updates),
        of_routers(bmp, &declarations::BMP_WITHDRAWS, |router| router.withdraws),
        family(
            &declarations::BMP_IGNORED_ROUTES,
            bmp.routers.iter().flat_map(ignored),
        ),
        of_routers(bmp, &declarations::BMP_TRAILING_BYTES, |router| {
            router.trailing
        }),
        family(
            &declarations::BMP_ERRORS,
            bmp.errors
                .iter()
                .map(|&(kind, times)| ([kind], times as f64)),
        ),
        of_rib(&declarations::RIB_ROUTES, bmp.counts.routes),
        of_rib(&declarations::RIB_PREFIXES, bmp.counts.prefixes),
        of_rib(&declarations::RIB_STALE_ROUTES, bmp.counts.stale_routes),
        family(
            &declarations::FIREWALL_BLACKHOLE_REFUSED,
            bmp.blackholes_refused
                .iter()
                .map(|&(why, times)| ([why.name()], times as f64)),
        ),
    ]
}

fn of_routers(bmp: &Bmp, metric: &Metric<1>, value: fn(&RouterStatus) -> u64) -> MetricFamily {
    let routers = bmp.routers.iter();
    family(metric, routers.map(|r| ([&*r.router], value(r) as f64)))
}

/// Returns one series for each family that the router has announced.
fn ignored(router: &RouterStatus) -> impl Iterator<Item = ([&str; 2], f64)> {
    let counts = IgnoredFamily::ALL.into_iter().zip(router.ignored);
    let counts = counts.filter(|(_, routes)| *routes > 0);
    counts.map(|(family, routes)| ([&*router.router, family.name()], routes as f64))
}

fn of_rib(metric: &Metric<1>, values: [usize; 2]) -> MetricFamily {
    let samples = Family::ALL.into_iter().zip(values);
    family(
        metric,
        samples.map(|(family, n)| ([family.name()], n as f64)),
    )
}
