// SPDX-License-Identifier: AGPL-3.0-only
//! Any order of events leaves the routes and the lookups of a list that is searched from end to end.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use proptest::prelude::*;

use crate::builders::*;

/// Prefixes that nest, below and above the length from which the table goes another way.
const PREFIXES: [&str; 8] = [
    "0.0.0.0/0",
    "10.0.0.0/8",
    "10.1.0.0/16",
    "10.1.128.0/17",
    "10.1.200.0/24",
    "10.1.200.128/25",
    "10.1.200.200/32",
    "10.2.0.0/15",
];

const ADDRESSES: [[u8; 4]; 5] = [
    [10, 1, 200, 200],
    [10, 1, 200, 1],
    [10, 1, 1, 1],
    [10, 3, 0, 1],
    [192, 0, 2, 1],
];

#[derive(Clone, Debug)]
enum Event {
    Announce(u8, usize, Option<u32>, u32, u32),
    Withdraw(u8, usize, Option<u32>),
    PeerDown(u8),
    Reconnect,
    EndOfRib(u8),
    Pass,
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let peer = || 1..4_u8;
    let prefix = || 0..PREFIXES.len();
    // peer 1 sends plain, the others with identifiers, as their OPENs say
    let id = || prop::option::of(1..4_u32);
    let event = prop_oneof![
        12 => (peer(), prefix(), id(), 1..9_u32, 99..102_u32)
            .prop_map(|(p, n, id, origin, pref)| Event::Announce(p, n, id, origin, pref)),
        8 => (peer(), prefix(), id()).prop_map(|(p, n, id)| Event::Withdraw(p, n, id)),
        1 => peer().prop_map(Event::PeerDown),
        1 => Just(Event::Reconnect),
        1 => peer().prop_map(Event::EndOfRib),
        1 => Just(Event::Pass),
    ];
    prop::collection::vec(event, 1..80)
}

#[derive(Clone, Debug, PartialEq)]
struct Held {
    origin: u32,
    local_pref: u32,
    /// Until when, if stale.
    until: Option<u64>,
}

#[derive(Default)]
struct List {
    routes: BTreeMap<(u8, usize, Option<u32>), Held>,
}

impl List {
    fn apply(&mut self, event: &Event, now: u64) {
        match *event {
            Event::Announce(peer, prefix, id, origin, local_pref) => {
                self.routes.retain(|(p, n, held), route| {
                    let replaced = route.until.is_some() || id.is_none() || held.is_none();
                    (*p, *n) != (peer, prefix) || !replaced
                });
                let held = Held {
                    origin,
                    local_pref,
                    until: None,
                };
                self.routes.insert((peer, prefix, id), held);
            }
            Event::Withdraw(peer, prefix, id) => self.routes.retain(|(p, n, held), _| {
                let meant = id.is_none() || held.is_none() || *held == id;
                (*p, *n) != (peer, prefix) || !meant
            }),
            Event::PeerDown(peer) => self.routes.retain(|(p, ..), _| *p != peer),
            Event::Reconnect => {
                for route in self.routes.values_mut() {
                    route.until.get_or_insert(now + STALE);
                }
            }
            Event::EndOfRib(peer) => self
                .routes
                .retain(|(p, ..), route| *p != peer || route.until.is_none()),
            Event::Pass => self
                .routes
                .retain(|_, route| route.until.is_none_or(|until| until > now)),
        }
    }

    /// Origin and length of what answers.
    fn lookup(&self, address: [u8; 4]) -> Option<(u32, u8)> {
        let bits = u32::from_be_bytes(address);
        let covers = |prefix: &str| {
            let (network, length) = prefix.split_once('/').unwrap();
            let network: Ipv4Addr = network.parse().unwrap();
            let length: u32 = length.parse().unwrap();
            let same = (bits ^ network.to_bits()).checked_shr(32 - length);
            (length == 0 || same == Some(0)).then_some(length as u8)
        };
        let routes = self.routes.iter();
        let best = routes.filter_map(|((peer, n, id), route)| {
            let length = covers(PREFIXES[*n])?;
            let key = (
                length,
                route.local_pref,
                255 - peer,
                u32::MAX - id.unwrap_or(0),
            );
            Some((key, route.origin))
        });
        let ((length, ..), origin) = best.max()?;
        Some((if length < 8 { 0 } else { origin }, length))
    }
}

/// IPv4 unicast, both ways.
const ADD_PATH: [u8; 6] = [69, 4, 0, 1, 1, 3];

/// A view whose LOCAL_PREF counts, also that of an external peer.
fn post(n: u8) -> Peer {
    peer(n).flags(POST)
}

fn start(lab: &mut Lab) -> usize {
    let s = lab.connect("r1");
    for n in 1..4 {
        lab.send(s, &peer(n).up_with(&ADD_PATH));
    }
    s
}

fn check(events: &[Event]) {
    let mut lab = Lab::new();
    let mut list = List::default();
    let mut s = start(&mut lab);
    for event in events {
        match *event {
            Event::Announce(p, n, id, origin, local_pref) => {
                let said = Said {
                    local_pref: Some(local_pref),
                    ..Said::new(&[65001, origin])
                };
                lab.send(s, &post(p).announce_with(&[(id, PREFIXES[n])], &said));
            }
            Event::Withdraw(p, n, id) => lab.send(s, &post(p).withdraw_with(id, PREFIXES[n])),
            Event::PeerDown(p) => {
                lab.send(s, &peer(p).down());
                lab.send(s, &peer(p).up_with(&ADD_PATH));
            }
            Event::Reconnect => {
                lab.disconnect(s);
                s = start(&mut lab);
            }
            Event::EndOfRib(p) => lab.send(s, &post(p).end_of_rib()),
            Event::Pass => lab.pass(STALE / 3),
        }
        list.apply(event, lab.now);
        assert_eq!(lab.rib.counts().routes[0], list.routes.len(), "{event:?}");
        for address in ADDRESSES {
            let route = lab
                .rib
                .lookup(address.into(), rfm::enrich::rib::TableId::GLOBAL);
            let got = route.map(|r| (r.origin_asn, r.prefix_len));
            assert_eq!(got, list.lookup(address), "{address:?} after {event:?}");
        }
    }
    let mut routes: Vec<_> = lab.rib.routes();
    routes.sort_unstable();
    let expected = list.routes.iter().map(|((p, n, id), route)| {
        let prefix = PREFIXES[*n].to_owned();
        (*p, prefix, *id, route.origin, route.until.is_some())
    });
    let mut expected: Vec<_> = expected.collect();
    let got = routes.iter().map(|r| {
        let prefix = format!("{}/{}", r.prefix.address(), r.prefix.length());
        let std::net::IpAddr::V4(address) = r.peer.address else {
            panic!("{r:?}")
        };
        (
            address.octets()[3],
            prefix,
            r.path_id,
            r.attributes.origin_asn,
            r.stale,
        )
    });
    let mut got: Vec<_> = got.collect();
    expected.sort();
    got.sort();
    assert_eq!(got, expected);
    lab.disconnect(s);
    lab.pass(2 * STALE);
    assert_eq!((lab.rib.held(), lab.rib.attribute_sets()), (0, 0));
    assert_eq!(lab.rib.counts(), Default::default());
}

proptest! {
    #[test]
    fn routes_and_lookups_are_those_of_a_list(events in events()) {
        check(&events);
    }
}
