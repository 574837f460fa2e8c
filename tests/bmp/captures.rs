// SPDX-License-Identifier: AGPL-3.0-only
//! Recorded sessions of BIRD, FRR and GoBGP leave exactly the routes that the model has.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};

use rfm::enrich::bmp::{Fault, Session, Tally};
use rfm::enrich::rib::{Family, HeldRoute, Prefix, Rib, Settings, View};

use crate::model::{Model, Name, Place, Said, Step};
use crate::{capture, messages};

/// Routes held at most, prefixes announced and withdrawn.
const FIGURES: [(&str, usize, u64, u64); 4] = [
    ("bird3-trixie", 5685, 5685, 5685),
    ("bird3-trixie-ap", 5779, 5779, 5779),
    ("frr84", 5464, 5565, 2540),
    ("gobgp310-late", 8142, 8142, 2718),
];

pub const OWN_AS: u32 = 65001;

fn key(route: &HeldRoute) -> (Place, Name) {
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
    let name = (route.prefix.address(), route.prefix.length(), route.path_id);
    ((peer, view), name)
}

fn check_route(route: &HeldRoute, said: &Said) {
    let a = &route.attributes;
    assert_eq!(
        (a.next_hop, a.med, a.local_pref, a.origin, a.path_length),
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
    assert_eq!(a.neighbour_asn, neighbour, "{route:?}");
    assert!(!route.stale);
}

/// All routes, one by one.
fn check_all(rib: &Rib, model: &Model) {
    let routes: BTreeMap<_, _> = rib.routes().into_iter().map(|r| (key(&r), r)).collect();
    let expected: Vec<_> = model.routes.keys().collect();
    assert_eq!(routes.keys().collect::<Vec<_>>(), expected);
    for (route, said) in routes.values().zip(model.routes.values()) {
        check_route(route, said);
    }
    let counts = rib.counts();
    assert_eq!(counts.routes.iter().sum::<usize>(), model.routes.len());
    for family in Family::ALL {
        let is_of = |n: &Name| n.0.is_ipv4() == (family == Family::Ipv4);
        let mut prefixes: Vec<_> = model
            .routes
            .keys()
            .filter(|(_, n)| is_of(n))
            .map(|(_, n)| (n.0, n.1))
            .collect();
        prefixes.sort_unstable();
        prefixes.dedup();
        assert_eq!(counts.prefixes[family as usize], prefixes.len());
    }
}

/// All routes of one prefix, and how many there are in all.
fn check_prefix(rib: &Rib, model: &Model, (address, length, _): Name) {
    let (family, bits) = match address {
        IpAddr::V4(a) => (Family::Ipv4, u128::from(a.to_bits()) << 96),
        IpAddr::V6(a) => (Family::Ipv6, a.to_bits()),
    };
    let routes = rib.routes_of(Prefix::new(family, bits, length));
    let routes: BTreeMap<_, _> = routes.into_iter().map(|r| (key(&r), r)).collect();
    let mut found = 0;
    for ((place, name), said) in &model.routes {
        if (name.0, name.1) == (address, length) {
            check_route(&routes[&(*place, *name)], said);
            found += 1;
        }
    }
    assert_eq!(routes.len(), found, "{address}/{length}");
    let counts = rib.counts();
    assert_eq!(counts.routes.iter().sum::<usize>(), model.routes.len());
}

pub fn settings() -> Settings {
    Settings {
        max_routes: 4_000_000,
        stale_ms: 300_000,
        ..Settings::default()
    }
}

fn replay(name: &str) -> (Rib, Tally, usize) {
    let bytes = capture(name);
    let mut rib = Rib::new(settings());
    let mut model = Model::default();
    let mut session = Session::new(Ipv6Addr::LOCALHOST.into(), true, 0);
    let mut tally = Tally::default();
    let (mut most, mut withdraws) = (0, 0);
    for message in messages(&bytes) {
        let fed = session.feed(&mut rib, message, 0, &mut tally).unwrap();
        assert_eq!(fed.0, message.len());
        // in steps, as the threads do it
        rib.sweep();
        rib.settle();
        match model.apply(message) {
            Step::PeerUp | Step::PeerDown => check_all(&rib, &model),
            Step::Withdraw(gone) => {
                for (_, prefix) in gone {
                    check_prefix(&rib, &model, prefix);
                    withdraws += 1;
                    if withdraws % 200 == 0 {
                        check_all(&rib, &model);
                    }
                }
            }
            Step::Other => most = most.max(model.routes.len()),
        }
    }
    check_all(&rib, &model);
    (rib, tally, most)
}

#[test]
fn each_capture_leaves_the_routes_of_the_model() {
    for (name, held, updates, withdraws) in FIGURES {
        let (rib, tally, most) = replay(name);
        let got = (most, tally.updates, tally.withdraws);
        assert_eq!(got, (held, updates, withdraws), "{name}");
        for fault in Fault::ALL {
            assert_eq!(tally.count(fault), 0, "{name}: {}", fault.name());
        }
    }
}
