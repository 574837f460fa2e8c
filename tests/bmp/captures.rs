// SPDX-License-Identifier: AGPL-3.0-only
//! Recorded sessions of BIRD, FRR and GoBGP leave exactly the routes that the model has.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};

use rfm::enrich::bmp::{BmpError, Session, SessionStats};
use rfm::enrich::rib::{Family, HeldRoute, Rib, RibConfig, RoutePrefix, View};

use crate::data::{capture, messages};
use crate::model::{Held, Model, Name, Place, Said, Step};

/// Routes held at most, prefixes announced and withdrawn.
const FIGURES: [(&str, usize, u64, u64); 4] = [
    ("bird3-trixie", 5685, 5685, 5685),
    ("bird3-trixie-ap", 5779, 5779, 5779),
    ("frr84", 5464, 5565, 2540),
    ("gobgp310-late", 8142, 8142, 2718),
];

pub const OWN_AS: u32 = 65001;

fn place(route: &HeldRoute) -> Place {
    let mut peer = [0; 25];
    peer[0] = route.peer.kind as u8;
    peer[1..9].copy_from_slice(&route.peer.distinguisher);
    match route.peer.address {
        IpAddr::V4(a) => peer[21..].copy_from_slice(&a.octets()),
        IpAddr::V6(a) => peer[9..].copy_from_slice(&a.octets()),
    }
    let view = match route.view {
        View::PrePolicy => 0,
        View::PostPolicy => 1,
        View::LocRib => 2,
    };
    (peer, view)
}

fn check_route(route: &HeldRoute, said: &Said) {
    let a = &route.attributes;
    assert_eq!(
        (
            a.next_hop,
            a.preference().med(),
            a.preference().local_pref(),
            a.origin,
            a.path_length
        ),
        (
            said.next_hop,
            said.med,
            said.local_pref,
            said.origin,
            said.length
        ),
        "{route:?}"
    );
    let origin = match (said.set, said.path.last()) {
        (true, _) => 0,
        (false, last) => last.copied().unwrap_or(OWN_AS),
    };
    assert_eq!(a.origin_asn, origin, "{route:?}");
    let neighbour = said.path.first().copied().unwrap_or(OWN_AS);
    assert_eq!(a.peer_asn, neighbour, "{route:?}");
    assert!(!route.stale);
}

/// The routes of one prefix, one by one.
fn check_routes(mut routes: Vec<HeldRoute>, expected: &[Held]) {
    routes.sort_by_key(|route| (place(route), route.path_id));
    assert_eq!(routes.len(), expected.len(), "{routes:?}");
    for (route, (at, id, said)) in routes.iter().zip(expected) {
        assert_eq!((place(route), route.path_id), (*at, *id));
        check_route(route, said);
    }
}

fn check_all(rib: &Rib, model: &Model) {
    let mut routes: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for route in rib.routes() {
        let prefix = (route.prefix.address(), route.prefix.length());
        routes.entry(prefix).or_default().push(route);
    }
    let prefixes = routes.keys().collect::<Vec<_>>();
    assert_eq!(prefixes, model.routes.keys().collect::<Vec<_>>());
    let ipv4 = prefixes.iter().filter(|p| p.0.is_ipv4()).count();
    let counts = rib.counts();
    assert_eq!(counts.prefixes, [ipv4, prefixes.len() - ipv4]);
    assert_eq!(counts.routes.iter().sum::<usize>(), model.len());
    for (prefix, routes) in routes {
        check_routes(routes, &model.of(prefix));
    }
}

fn check_prefix(rib: &Rib, model: &Model, (address, length, _): Name) {
    let (family, bits) = match address {
        IpAddr::V4(a) => (Family::Ipv4, u128::from(a.to_bits()) << 96),
        IpAddr::V6(a) => (Family::Ipv6, a.to_bits()),
    };
    let routes = rib.routes_of(RoutePrefix::new(family, bits, length));
    check_routes(routes, &model.of((address, length)));
}

pub fn settings() -> RibConfig {
    RibConfig {
        max_routes: 4_000_000,
        stale_ms: 300_000,
        ..RibConfig::default()
    }
}

fn replay(name: &str) -> (SessionStats, usize) {
    let bytes = capture(name);
    let mut rib = Rib::new(settings());
    let mut model = Model::default();
    model.prepended = name.starts_with("frr").then_some(OWN_AS);
    let mut session = Session::new(Ipv6Addr::LOCALHOST.into(), true, 0);
    let mut stats = SessionStats::default();
    let (mut most, mut withdraws) = (0, 0);
    for message in messages(&bytes) {
        let fed = session.feed(&mut rib, message, 0, &mut stats).unwrap();
        assert_eq!(fed.0, message.len());
        // in steps, as the threads do it
        rib.sweep();
        rib.apply_changes();
        match model.apply(message) {
            Step::PeerUp | Step::PeerDown => {
                while rib.sweep() {}
                check_all(&rib, &model);
            }
            Step::Withdraw(gone) => {
                for prefix in gone {
                    check_prefix(&rib, &model, prefix);
                    withdraws += 1;
                    if withdraws % 200 == 0 {
                        while rib.sweep() {}
                        check_all(&rib, &model);
                    }
                }
            }
            Step::Other => most = most.max(rib.counts().routes.iter().sum()),
        }
    }
    while rib.sweep() {}
    check_all(&rib, &model);
    (stats, most)
}

#[test]
fn each_capture_leaves_the_routes_of_the_model() {
    for (name, held, updates, withdraws) in FIGURES {
        let (stats, most) = replay(name);
        let got = (most, stats.updates, stats.withdraws);
        assert_eq!(got, (held, updates, withdraws), "{name}");
        for error in BmpError::ALL {
            assert_eq!(stats.error_count(error), 0, "{name}: {}", error.name());
        }
    }
}
