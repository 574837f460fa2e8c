// SPDX-License-Identifier: AGPL-3.0-only
//! Many peers, several sessions and ranks, and peers that flap: each lookup agrees with a list that is
//! searched from end to end, and the cost of lookups and messages does not depend on the number of peers.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use proptest::prelude::*;
use rfm::enrich::rib::TableId;

use crate::builders::*;

const PREFIXES: [&str; 6] = [
    "0.0.0.0/0",
    "10.0.0.0/8",
    "10.1.0.0/16",
    "10.1.128.0/17",
    "10.1.200.0/24",
    "10.1.200.200/32",
];
const ADDRESSES: [[u8; 4]; 4] = [
    [10, 1, 200, 200],
    [10, 1, 200, 1],
    [10, 2, 1, 1],
    [192, 0, 2, 1],
];

/// Address, whether it is the machine's own, and name: the last two are sessions of one router.
const SESSIONS: [(&str, bool, &str); 5] = [
    ("127.0.0.1", true, "local"),
    ("127.0.0.1", true, "local"),
    ("192.0.2.8", false, "other"),
    ("192.0.2.9", false, "twice"),
    ("192.0.2.9", false, "twice"),
];
const PEERS: u8 = 30;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Seen {
    LocRib,
    Post,
    Pre,
}

/// Session, peer (0 for the Loc-RIB), view.
type Place = (usize, u8, Seen);

#[derive(Clone, Debug)]
enum Event {
    /// Prefix, origin, ASes of the path.
    Announce(Place, usize, u32, usize),
    Withdraw(Place, usize),
    Flap(usize, u8),
    /// A session begins, or ends and is forgotten.
    Toggle(usize),
}

fn places() -> impl Strategy<Value = Place> {
    let view = prop_oneof![1 => Just(Seen::LocRib), 5 => Just(Seen::Post), 14 => Just(Seen::Pre)];
    (0..SESSIONS.len(), 1..=PEERS, view).prop_map(|(session, peer, view)| {
        let peer = if view == Seen::LocRib { 0 } else { peer };
        (session, peer, view)
    })
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let prefix = || 0..PREFIXES.len();
    let event = prop_oneof![
        30 => (places(), prefix(), 1..1000_u32, 1..4_usize)
            .prop_map(|(place, n, origin, length)| Event::Announce(place, n, origin, length)),
        10 => (places(), prefix()).prop_map(|(place, n)| Event::Withdraw(place, n)),
        4 => (0..SESSIONS.len(), 0..=PEERS).prop_map(|(s, p)| Event::Flap(s, p)),
        1 => (0..SESSIONS.len()).prop_map(Event::Toggle),
    ];
    prop::collection::vec(event, 1..150)
}

fn speaker(place: Place) -> Peer {
    match place.2 {
        Seen::LocRib => loc_rib(),
        Seen::Post => peer(place.1).flags(POST),
        Seen::Pre => peer(place.1),
    }
}

#[derive(Default)]
struct List {
    /// Origin and ASes of the path.
    routes: BTreeMap<(Place, usize), (u32, usize)>,
    /// Number in the lab, and which began when.
    sessions: [Option<usize>; SESSIONS.len()],
}

impl List {
    fn answers(&self, (session, peer, view): Place) -> bool {
        let has = |seen: Seen, of: Option<u8>| {
            let mut places = self.routes.keys().map(|(place, _)| *place);
            places.any(|(s, p, v)| s == session && v == seen && of.is_none_or(|of| of == p))
        };
        match view {
            Seen::LocRib => true,
            _ if has(Seen::LocRib, None) => false,
            Seen::Post => true,
            Seen::Pre => !has(Seen::Post, Some(peer)),
        }
    }

    /// Local before others, and of one router the newer session.
    fn rank(&self, session: usize) -> (bool, bool) {
        let (_, local, name) = SESSIONS[session];
        let newer = |other: usize| {
            SESSIONS[other].2 == name && self.sessions[other] > self.sessions[session]
        };
        (!local, (0..SESSIONS.len()).any(newer))
    }

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
        let candidates = routes.filter_map(|(&(place, n), &(origin, length))| {
            let covered = covers(PREFIXES[n]).filter(|_| self.answers(place))?;
            let (session, peer, view) = place;
            let newest_first = usize::MAX - self.sessions[session].unwrap();
            let order = (view, length, peer, newest_first);
            Some((self.rank(session), 255 - covered, order, origin))
        });
        let mut best: BTreeMap<_, _> = BTreeMap::new();
        for (rank, uncovered, order, origin) in candidates {
            let found = best.entry(rank).or_insert((uncovered, order, origin));
            *found = (uncovered, order, origin).min(*found);
        }
        let mut networks = best.values().filter(|(uncovered, ..)| 255 - uncovered >= 8);
        let (uncovered, _, origin) = networks.next().or_else(|| best.values().next())?;
        let length = 255 - uncovered;
        Some((if length < 8 { 0 } else { *origin }, length))
    }
}

/// A session with all its peers up.
fn start(lab: &mut Lab, session: usize) -> usize {
    let (address, local, name) = SESSIONS[session];
    let s = lab.connect_from(address, local, name);
    for n in 1..=PEERS {
        lab.send(s, &peer(n).up());
    }
    lab.send(s, &loc_rib().up());
    s
}

fn check(events: &[Event]) {
    let mut lab = Lab::new();
    let mut list = List::default();
    for session in [0, 2, 3] {
        list.sessions[session] = Some(start(&mut lab, session));
    }
    for event in events {
        match *event {
            Event::Announce(place, n, origin, length) => {
                let Some(s) = list.sessions[place.0] else {
                    continue;
                };
                let mut path = vec![65001; length];
                path.push(origin);
                lab.send(s, &speaker(place).announce(PREFIXES[n], &path));
                list.routes.insert((place, n), (origin, length));
            }
            Event::Withdraw(place, n) => {
                let Some(s) = list.sessions[place.0] else {
                    continue;
                };
                lab.send(s, &speaker(place).withdraw(PREFIXES[n]));
                list.routes.remove(&(place, n));
            }
            Event::Flap(session, p) => {
                let Some(s) = list.sessions[session] else {
                    continue;
                };
                let speaker = if p == 0 { loc_rib() } else { peer(p) };
                lab.send(s, &speaker.down());
                lab.send(s, &speaker.up());
                list.routes
                    .retain(|((s, held, _), _), _| (*s, *held) != (session, p));
            }
            Event::Toggle(session) => match list.sessions[session].take() {
                Some(s) => {
                    lab.disconnect(s);
                    lab.pass(STALE);
                    list.routes.retain(|((s, ..), _), _| *s != session);
                }
                None => list.sessions[session] = Some(start(&mut lab, session)),
            },
        }
        assert_eq!(lab.rib.counts().routes[0], list.routes.len(), "{event:?}");
        for address in ADDRESSES {
            let route = lab.rib.lookup(address.into(), TableId::GLOBAL);
            let got = route.map(|r| (r.origin_asn, r.prefix_len));
            assert_eq!(got, list.lookup(address), "{address:?} after {event:?}");
        }
        let explained = lab.rib.explain(ADDRESSES[0].into(), TableId::GLOBAL, 1000);
        let best = explained.iter().find(|e| e.best);
        let best = best.map(|e| (e.route.attributes.origin_asn, e.route.prefix.length()));
        let looked_up = list.lookup(ADDRESSES[0]);
        assert_eq!(best.map(|b| b.1), looked_up.map(|l| l.1));
    }
    for s in list.sessions.into_iter().flatten() {
        lab.disconnect(s);
    }
    lab.pass(STALE);
    assert_eq!((lab.rib.held(), lab.rib.attribute_sets()), (0, 0));
    assert_eq!(lab.rib.counts(), Default::default());
}

proptest! {
    #[test]
    fn lookups_in_all_ranks_are_those_of_a_list(events in events()) {
        check(&events);
    }
}

/// Peer number `n` of thousands, with a prefix of its own.
fn one_of_many(n: u16) -> (Peer, String) {
    let [high, low] = n.to_be_bytes();
    let address = Ipv4Addr::new(10, 1, high, low);
    let speaker = Peer {
        address: address.into(),
        asn: 65000,
        id: address.to_bits(),
        ..peer(1)
    };
    (speaker, format!("20.{high}.{low}.0/24"))
}

/// The median time of a flap of a peer with the lookup after it, with so many peers that all announce a
/// prefix of their own, and two that announce the one that is looked up.
fn flap_and_lookup(peers: u16) -> Duration {
    const SHARED: &str = "30.0.0.0/24";
    let mut lab = Lab::new();
    let s = lab.connect("r");
    for n in 0..peers {
        let (speaker, prefix) = one_of_many(n);
        lab.send(s, &speaker.up());
        lab.send(s, &speaker.announce(&prefix, &[65000, 7]));
    }
    let (first, second) = (one_of_many(0).0, one_of_many(1).0);
    lab.send(s, &first.announce(SHARED, &[65000, 1]));
    lab.send(s, &second.announce(SHARED, &[65000, 2]));
    let mut times = Vec::new();
    for _ in 0..200 {
        let start = Instant::now();
        assert_eq!(lab.origin("30.0.0.1"), 1);
        lab.send(s, &first.down());
        assert_eq!(lab.origin("30.0.0.1"), 2);
        lab.send(s, &first.up());
        lab.send(s, &first.announce(SHARED, &[65000, 1]));
        times.push(start.elapsed());
    }
    times.sort_unstable();
    times[times.len() / 2]
}

#[test]
fn neither_a_flap_nor_the_lookup_after_it_costs_more_with_more_peers() {
    let ratio = || flap_and_lookup(4096).as_secs_f64() / flap_and_lookup(2).as_secs_f64();
    // other work on the machine may fall into one of the two
    let ratios: Vec<_> = (0..5).map(|_| ratio()).collect();
    assert!(ratios.iter().any(|ratio| *ratio < 4.0), "{ratios:?}");
}

#[test]
fn peers_of_a_full_collector_come_up_and_go_as_fast_as_the_first() {
    let mut lab = Lab::new();
    let (mut up, mut counts) = (Vec::new(), Vec::new());
    let sessions: Vec<_> = (0..16)
        .map(|n| lab.connect_from("192.0.2.9", false, &format!("r{n}")))
        .collect();
    for &s in &sessions {
        let start = Instant::now();
        for n in 0..4096 {
            lab.send(s, &one_of_many(n).0.up());
        }
        up.push(start.elapsed());
        let start = Instant::now();
        let counted = (0..100).map(|_| lab.rib.counts().peers).max();
        assert_eq!(counted, Some(lab.rib.counts().peers));
        counts.push(start.elapsed());
    }
    assert_eq!(lab.rib.counts().peers, 16 * 4096);
    let first = up[..4].iter().min().unwrap();
    let last = up[12..].iter().min().unwrap();
    assert!(*last < 5 * *first, "{up:?}");
    assert!(counts[15] < Duration::from_millis(5), "{counts:?}");
    // an hour of nothing costs nothing
    let start = Instant::now();
    (0..100).for_each(|_| lab.pass(10));
    assert!(
        start.elapsed() < Duration::from_millis(100),
        "{:?}",
        start.elapsed()
    );
    for s in sessions {
        lab.disconnect(s);
    }
    assert_eq!(lab.rib.counts(), Default::default());
}
