// SPDX-License-Identifier: AGPL-3.0-only
//! The families about BMP sessions and the RIB. They are there only where BMP is configured.

use prometheus::proto::MetricType::{COUNTER, GAUGE};
use prometheus::proto::{Metric, MetricFamily};

use super::family::{family, sample, single};
use crate::enrich::bmp::{RouterStatus, Unread};
use crate::enrich::rib::{BlackholeRefusal, Counts, Family};

/// What the collector and the RIB say of themselves.
#[derive(Clone, Debug, Default)]
pub struct Bmp {
    /// Those of the last day.
    pub routers: Vec<RouterStatus>,
    /// Kind, times.
    pub faults: Vec<(&'static str, u64)>,
    pub counts: Counts,
    /// Empty where blackholing is not configured.
    pub blackholes_refused: Vec<(BlackholeRefusal, u64)>,
}

pub(super) fn families(bmp: &Bmp) -> [MetricFamily; 13] {
    let sessions: usize = bmp.routers.iter().map(|router| router.sessions).sum();
    let heard = bmp.routers.iter().filter(|r| r.last_message > 0.0);
    [
        single(
            GAUGE,
            "rfm_bmp_sessions",
            "BMP sessions that are up.",
            sessions as f64,
        ),
        single(
            GAUGE,
            "rfm_bmp_peers",
            "BGP peers that are up in a session that is up, as the routers say.",
            bmp.counts.peers as f64,
        ),
        family(
            GAUGE,
            "rfm_bmp_session_up",
            "1 while the router has a session, 0 for a day after it lost its last.",
            bmp.routers.iter().map(|router| {
                let up = f64::from(u8::from(router.sessions > 0));
                sample(GAUGE, &[("router", &router.router)], up)
            }),
        ),
        family(
            GAUGE,
            "rfm_bmp_last_message_timestamp_seconds",
            "When the last message of the router came, in seconds since the Unix epoch.",
            heard.map(|r| sample(GAUGE, &[("router", &r.router)], r.last_message)),
        ),
        of_routers(
            bmp,
            "rfm_bmp_updates_total",
            "Prefixes that the router announced.",
            |router| router.updates,
        ),
        of_routers(
            bmp,
            "rfm_bmp_withdraws_total",
            "Prefixes that the router withdrew.",
            |router| router.withdraws,
        ),
        family(
            COUNTER,
            "rfm_bmp_ignored_routes_total",
            "Routes that the router announced of families that are not read.",
            bmp.routers.iter().flat_map(ignored),
        ),
        of_routers(
            bmp,
            "rfm_bmp_sessions_with_trailing_bytes_total",
            "Sessions in which bytes followed an UPDATE in its message; rfm ignores the bytes.",
            |router| router.trailing,
        ),
        family(
            COUNTER,
            "rfm_bmp_errors_total",
            "Faults of BMP sessions that were survived, by kind; the log tells more.",
            bmp.faults
                .iter()
                .map(|&(kind, times)| sample(COUNTER, &[("kind", kind)], times as f64)),
        ),
        of_rib(
            "rfm_rib_routes",
            "Routes held for lookup, stale ones included.",
            bmp.counts.routes,
        ),
        of_rib(
            "rfm_rib_prefixes",
            "Distinct prefixes of the routes held.",
            bmp.counts.prefixes,
        ),
        of_rib(
            "rfm_rib_stale_routes",
            "Routes of ended sessions that still answer.",
            bmp.counts.stale_routes,
        ),
        family(
            COUNTER,
            "rfm_firewall_blackhole_refused_total",
            "Announced routes that ask for a blackhole and get none, by reason.",
            bmp.blackholes_refused
                .iter()
                .map(|&(why, times)| sample(COUNTER, &[("reason", why.name())], times as f64)),
        ),
    ]
}

fn of_routers(bmp: &Bmp, name: &str, help: &str, value: fn(&RouterStatus) -> u64) -> MetricFamily {
    let routers = bmp.routers.iter();
    let samples = routers.map(|r| sample(COUNTER, &[("router", &r.router)], value(r) as f64));
    family(COUNTER, name, help, samples)
}

/// One series for each family that the router has announced.
fn ignored(router: &RouterStatus) -> impl Iterator<Item = Metric> {
    let counts = Unread::ALL.into_iter().zip(router.ignored);
    let counts = counts.filter(|(_, routes)| *routes > 0);
    counts.map(|(family, routes)| {
        let labels = [("router", &router.router[..]), ("family", family.name())];
        sample(COUNTER, &labels, routes as f64)
    })
}

fn of_rib(name: &str, help: &str, values: [usize; 2]) -> MetricFamily {
    let samples = Family::ALL.into_iter().zip(values);
    let samples = samples.map(|(family, n)| sample(GAUGE, &[("family", family.name())], n as f64));
    family(GAUGE, name, help, samples)
}
