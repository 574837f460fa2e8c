// SPDX-License-Identifier: AGPL-3.0-only
//! The BGP replies of the socket, from the RIB and the statistics of the BMP sessions.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::Arc;

use super::{Bgp, api, rfc3339_seconds};
use crate::enrich::bmp::{RouterStats, label};
use crate::enrich::rib::{
    ExplainedRoute, PeerKey, PeerKind, PeerStatus, Rib, RoutePrefix, SharedRib, View,
};
use crate::enrich::rpki::{SharedVrps, VrpTable};

/// Routes in one answer.
const MAX_ROUTES: usize = 1000;
/// Peers in one answer.
const MAX_PEERS: usize = 1000;

pub struct RibAndSessions {
    pub rib: SharedRib,
    pub router_stats: Arc<RouterStats>,
    pub vrps: Arc<SharedVrps>,
}

impl Bgp for RibAndSessions {
    fn status(&self) -> api::BmpStatus {
        let routers = self.router_stats.routers();
        let (peers, count) = self.rib.read(|rib| rib.peers(MAX_PEERS));
        api::BmpStatus {
            sessions: routers.iter().map(|r| r.sessions as u64).sum(),
            peer_count: count as u64,
            routers: routers
                .into_iter()
                .map(|router| api::BmpRouterStatus {
                    sessions: router.sessions as u64,
                    last_message: (router.last_message > 0.0)
                        .then(|| rfc3339_seconds(router.last_message)),
                    updates: router.updates,
                    withdraws: router.withdraws,
                    router: router.router,
                })
                .collect(),
            peers: peers.into_iter().map(peer).collect(),
        }
    }

    fn explain(
        &self,
        asked: crate::types::prefix::Prefix,
        vrf: Option<&str>,
    ) -> Option<api::RibReply> {
        let table = self.rib.table(vrf)?;
        let of_rib = RoutePrefix::of(asked.address(), asked.length());
        let explain = |rib: &Rib| rib.explain_prefix(of_rib, table, MAX_ROUTES);
        let routes = self.rib.read(explain);
        let best = routes.iter().find(|route| route.best);
        let none_chosen = match (best, routes.first()) {
            (Some(_), _) => None,
            (None, Some(first)) => Some(first.reason.clone()),
            (None, None) => Some("no router has sent a route for it".to_owned()),
        };
        let vrps = self.vrps.get();
        let is_address = asked.length() == of_rib.family().bits();
        Some(api::RibReply {
            address: match is_address {
                true => asked.address().to_string(),
                false => asked.to_string(),
            },
            table: vrf.unwrap_or("global").to_owned(),
            prefix: best.map(prefix),
            none_chosen,
            routes: routes
                .iter()
                .map(|explained| api::RibRoute {
                    rpki: vrps.as_ref().map(|used| validity(&used.table, explained)),
                    ..route(explained)
                })
                .collect(),
            asn_names: BTreeMap::new(),
        })
    }

    fn flush(&self, router: &str) -> Option<u64> {
        self.router_stats.flush(router)
    }
}

fn validity(table: &VrpTable, explained: &ExplainedRoute) -> String {
    let route = &explained.route;
    let (prefix, origin) = (route.prefix, route.attributes.origin_asn);
    let validity = table.validate(prefix.address(), prefix.length(), origin);
    validity.name().to_owned()
}

/// Describes a route in a few words.
pub(super) fn describe(explained: &ExplainedRoute) -> String {
    let route = &explained.route;
    let asn = match (explained.session_asn, &explained.peer_name) {
        (0, _) => String::new(),
        (asn, None) => format!(" (AS{asn})"),
        (asn, Some(name)) => format!(" (AS{asn}, {name})"),
    };
    format!(
        "BGP route {} of {}{asn}, {} of {}",
        prefix(explained),
        peer_name(&route.peer),
        view(route.view),
        label(route.router, &explained.sys_name)
    )
}

fn peer(status: PeerStatus) -> api::BgpPeerStatus {
    let [ipv4_routes, ipv6_routes] = status.routes.map(|n| n as u64);
    api::BgpPeerStatus {
        router: label(status.router.address, &status.router.sys_name),
        address: peer_name(&status.key),
        kind: kind(status.key.kind).to_owned(),
        distinguisher: hex(status.key.distinguisher),
        up: status.up,
        ipv4_routes,
        ipv6_routes,
    }
}

fn prefix(explained: &ExplainedRoute) -> String {
    let prefix = explained.route.prefix;
    format!("{}/{}", prefix.address(), prefix.length())
}

fn route(explained: &ExplainedRoute) -> api::RibRoute {
    let route = &explained.route;
    let attributes = &route.attributes;
    let number = |n: u32| (n > 0).then_some(n);
    let identifier = |id: &u32| Ipv4Addr::from(*id).to_string();
    api::RibRoute {
        prefix: prefix(explained),
        best: explained.best,
        reason: explained.reason.clone(),
        step: explained.step.map(|step| step.name().to_owned()),
        unknown_steps: explained.unknown.iter().map(|s| (*s).to_owned()).collect(),
        router: label(route.router, &explained.sys_name),
        peer: peer_name(&route.peer),
        peer_asn: number(explained.session_asn),
        peer_name: explained.peer_name.clone(),
        view: view(route.view).to_owned(),
        path_id: route.path_id,
        stale: route.stale,
        age_min: explained.age.least / 1000,
        age_max: explained.age.most / 1000,
        origin_asn: number(attributes.origin_asn),
        neighbour_asn: number(attributes.peer_asn),
        rpki: None,
        next_hop: attributes.next_hop.map(|hop| hop.to_string()),
        local_pref: attributes.preference().local_pref(),
        local_pref_sent: attributes.local_pref.is_some(),
        as_path: attributes.path.to_string(),
        as_path_length: attributes.path_length,
        origin: match attributes.origin {
            0 => "igp".to_owned(),
            1 => "egp".to_owned(),
            _ => "incomplete".to_owned(),
        },
        med: attributes.preference().med(),
        med_sent: attributes.med.is_some(),
        communities: attributes.communities.iter().map(community).collect(),
        large_communities: attributes.large_communities.iter().map(large).collect(),
        originator_id: attributes.originator_id.as_ref().map(identifier),
        cluster_list: attributes.cluster_list.iter().map(identifier).collect(),
        cut: attributes.cut,
        blackhole: attributes.blackhole || attributes.requests_blackhole,
        blackhole_state: explained.blackhole.map(|state| match state {
            Ok(()) => "taken".to_owned(),
            Err(refused) => refused.name().to_owned(),
        }),
    }
}

fn community(community: &u32) -> String {
    format!("{}:{}", community >> 16, community & 0xffff)
}

fn large([a, b, c]: &[u32; 3]) -> String {
    format!("{a}:{b}:{c}")
}

/// Returns the name of a peer. A Loc-RIB has no address (RFC 9069 section 4.1), and neither has the router
/// as the origin of routes.
fn peer_name(key: &PeerKey) -> String {
    match key.kind {
        PeerKind::LocRib => "loc-rib".to_owned(),
        PeerKind::Originated => "originated".to_owned(),
        _ => key.address.to_string(),
    }
}

fn kind(kind: PeerKind) -> &'static str {
    match kind {
        PeerKind::Global => "global",
        PeerKind::Distinguished => "distinguished",
        PeerKind::Local => "local",
        PeerKind::LocRib => "loc-rib",
        PeerKind::Originated => "originated",
    }
}

fn view(view: View) -> &'static str {
    match view {
        View::LocRib => "loc-rib",
        View::PostPolicy => "post-policy",
        View::PrePolicy => "pre-policy",
    }
}

fn hex(bytes: [u8; 8]) -> String {
    bytes.map(|byte| format!("{byte:02x}")).concat()
}
