// SPDX-License-Identifier: AGPL-3.0-only
//! The decision process: each step, and random sets of routes against a process that removes one route
//! after the other, as the RFCs have it.

use std::collections::BTreeMap;
use std::net::IpAddr;

use proptest::prelude::*;

use crate::builders::*;

const PREFIX: &str = "198.51.100.0/24";
const ADDRESS: &str = "198.51.100.1";
const LLGR_STALE: u32 = 0xffff_0006;
const SEQUENCE: u8 = 2;
const CONFED_SEQUENCE: u8 = 3;

/// Where a route is from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum From {
    /// Of a neighbor of the first router, by number.
    External(u8),
    Internal(u8),
    /// Another AS of the router's confederation.
    Member(u8),
    /// The Loc-RIB of another router.
    LocRib(u8),
}

#[derive(Clone, Debug)]
struct Route {
    from: From,
    path_id: u32,
    neighbour: u32,
    /// ASes between neighbour and origin.
    middle: usize,
    local_pref: Option<u32>,
    origin: u8,
    med: Option<u32>,
    llgr_stale: bool,
    originator: Option<u32>,
    clusters: usize,
    /// The router finds itself in the path, ORIGINATOR_ID or CLUSTER_LIST.
    looped: Option<u8>,
}

impl Default for Route {
    fn default() -> Self {
        Self {
            from: From::External(1),
            path_id: 1,
            neighbour: 65001,
            middle: 0,
            local_pref: None,
            origin: 0,
            med: None,
            llgr_stale: false,
            originator: None,
            clusters: 0,
            looped: None,
        }
    }
}

impl From {
    fn number(self) -> u8 {
        match self {
            Self::External(n) => n,
            Self::Internal(n) => 10 + n,
            Self::Member(n) => 20 + n,
            Self::LocRib(n) => n,
        }
    }

    /// Two neighbors of each kind share an identifier, and so do the other routers.
    fn peer(self) -> Peer {
        let asn = match self {
            Self::External(n) => 65000 + u32::from(n),
            Self::Internal(_) => HOME,
            Self::Member(n) => 64600 + u32::from(n),
            Self::LocRib(_) => return Peer { id: 7, ..loc_rib() },
        };
        let id = u32::from(self.number()).div_ceil(2);
        Peer {
            asn,
            id,
            ..peer(self.number())
        }
    }
}

impl Route {
    fn said(&self, origin_asn: u32) -> Said {
        let mut path = vec![self.neighbour];
        path.extend((0..self.middle).map(|n| 65100 + n as u32));
        if self.looped == Some(0) {
            path.push(HOME);
        }
        path.push(origin_asn);
        let mut segments = vec![(SEQUENCE, path)];
        if let From::Member(_) = self.from {
            segments.insert(0, (CONFED_SEQUENCE, vec![self.from.peer().asn]));
        }
        let mut clusters: Vec<_> = (0..self.clusters).map(|n| 50 + n as u32).collect();
        if self.looped == Some(2) {
            clusters.push(HOME_ID);
        }
        Said {
            large_communities: Vec::new(),
            segments,
            local_pref: self.local_pref,
            med: self.med,
            origin: self.origin,
            communities: if self.llgr_stale {
                vec![LLGR_STALE]
            } else {
                Vec::new()
            },
            originator: match self.looped {
                Some(1) => Some(HOME_ID),
                _ => self.originator,
            },
            clusters,
        }
    }
}

/// A route and its place in the list, for the process that takes its time.
#[derive(Clone)]
struct Left {
    route: Route,
    number: usize,
    post: bool,
}

impl Left {
    fn path_length(&self) -> usize {
        2 + self.route.middle + usize::from(self.route.looped == Some(0))
    }

    fn is_external(&self) -> bool {
        matches!(self.route.from, From::External(_) | From::LocRib(_))
    }

    fn is_reflected(&self) -> bool {
        matches!(self.route.from, From::Internal(_) | From::LocRib(_))
    }

    fn view(&self) -> u8 {
        match self.route.from {
            From::LocRib(_) => 0,
            _ if self.post => 1,
            _ => 2,
        }
    }

    fn local_pref(&self) -> u32 {
        let ignored = self.view() == 2 && matches!(self.route.from, From::External(_));
        self.route.local_pref.filter(|_| !ignored).unwrap_or(100)
    }

    fn identifier(&self) -> u32 {
        let own = match self.route.looped {
            Some(1) => Some(HOME_ID),
            _ => self.route.originator,
        };
        own.filter(|_| self.is_reflected())
            .unwrap_or(self.route.from.peer().id)
    }

    fn cluster_list(&self) -> usize {
        let own = usize::from(self.route.looped == Some(2));
        if self.is_reflected() {
            self.route.clusters + own
        } else {
            0
        }
    }

    fn address(&self) -> IpAddr {
        self.route.from.peer().address
    }
}

/// Keeps those with the least key.
fn keep<K: Ord>(left: &mut Vec<Left>, key: impl Fn(&Left) -> K) {
    if let Some(least) = left.iter().map(&key).min() {
        left.retain(|route| key(route) == least);
    }
}

/// The number of the best route.
fn best(mut left: Vec<Left>) -> Option<usize> {
    left.retain(|l| l.view() != 2 || l.route.looped.is_none());
    keep(&mut left, |l| l.route.llgr_stale);
    keep(&mut left, Left::view);
    keep(&mut left, |l| u32::MAX - l.local_pref());
    keep(&mut left, Left::path_length);
    keep(&mut left, |l| l.route.origin);
    // RFC 4271 section 9.1.2.2 c), as it is written there
    let med = |l: &Left| l.route.med.unwrap_or(0);
    let all = left.clone();
    left.retain(|m| {
        let better = |n: &Left| n.route.neighbour == m.route.neighbour && med(n) < med(m);
        !all.iter().any(better)
    });
    keep(&mut left, |l| !l.is_external());
    keep(&mut left, Left::identifier);
    keep(&mut left, Left::cluster_list);
    keep(&mut left, Left::address);
    // the other routers began in the order of their numbers
    keep(&mut left, |l| match l.route.from {
        From::LocRib(n) => 255 - n,
        _ => 255,
    });
    keep(&mut left, |l| l.route.path_id);
    assert!(left.len() < 2);
    left.first().map(|l| l.number)
}

/// All neighbors up on the first router, and two routers with a Loc-RIB.
fn lab() -> Lab {
    let mut lab = Lab::new();
    let add_path = [69, 4, 0, 1, 1, 3];
    let sessions = ["r1", "r2", "r3"].map(|name| lab.connect(name));
    for n in 1..=3 {
        for from in [From::External(n), From::Internal(n), From::Member(n)] {
            lab.send(sessions[0], &from.peer().up_with(&add_path));
        }
    }
    for (n, session) in [(1, sessions[1]), (2, sessions[2])] {
        lab.send(session, &From::LocRib(n).peer().up_with(&add_path));
    }
    lab
}

/// Sends the routes; `post` has a bit for each neighbor whose view is after import policy.
fn check(routes: &[Route], post: u32) {
    let mut lab = lab();
    let mut held = BTreeMap::new();
    for (number, route) in routes.iter().enumerate() {
        let post = post >> route.from.number() & 1 == 1;
        let said = route.said(100_000 + number as u32);
        let (session, peer) = match route.from {
            From::LocRib(n) => (usize::from(n), route.from.peer()),
            _ if post => (0, route.from.peer().flags(POST)),
            _ => (0, route.from.peer()),
        };
        lab.send(
            session,
            &peer.announce_with(&[(Some(route.path_id), PREFIX)], &said),
        );
        let route = route.clone();
        let key = (route.from, route.path_id);
        held.insert(
            key,
            Left {
                route,
                number,
                post,
            },
        );
        let expected = best(held.values().cloned().collect());
        let got = lab
            .route(ADDRESS)
            .map(|route| route.origin_asn as usize - 100_000);
        assert_eq!(got, expected);
        explains(&lab, expected);
    }
    assert_eq!(lab.errors(), []);
}

/// `rfm rib` names the same route.
fn explains(lab: &Lab, expected: Option<usize>) {
    let table = rfm::enrich::rib::TableId::GLOBAL;
    let all = lab.rib.explain(ADDRESS.parse().unwrap(), table, 100);
    let best = all.iter().filter(|e| e.best);
    let best: Vec<_> = best
        .map(|e| e.route.attributes.origin_asn as usize - 100_000)
        .collect();
    assert_eq!(best, Vec::from_iter(expected));
}

fn route() -> impl Strategy<Value = Route> {
    let from = prop_oneof![
        6 => (1..=3_u8).prop_map(From::External),
        6 => (1..=3_u8).prop_map(From::Internal),
        4 => (1..=3_u8).prop_map(From::Member),
        1 => (1..=2_u8).prop_map(From::LocRib),
    ];
    let rare = |n| prop::option::weighted(0.15, n);
    (
        (from, 1..3_u32, 65001..65003_u32),
        prop_oneof![4 => Just(0_usize), 1 => Just(1)],
        prop_oneof![4 => Just(None), 1 => prop::option::of(99..102_u32)],
        prop_oneof![4 => Just(0_u8), 1 => 0..3_u8],
        prop::option::of(0..2_u32),
        prop::bool::weighted(0.2),
        prop::option::of(1..4_u32),
        0..3_usize,
        rare(0..3_u8),
    )
        .prop_map(
            |(
                (from, path_id, neighbour),
                middle,
                local_pref,
                origin,
                med,
                stale,
                originator,
                clusters,
                looped,
            )| {
                Route {
                    from,
                    path_id,
                    neighbour,
                    middle,
                    local_pref,
                    origin,
                    med,
                    llgr_stale: stale,
                    originator,
                    clusters,
                    looped,
                }
            },
        )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]
    #[test]
    fn the_best_of_random_routes_is_that_of_a_naive_process(
        routes in prop::collection::vec(route(), 1..12),
        post in any::<u32>(),
        uniform in prop::option::of(any::<bool>()),
    ) {
        let post = match uniform {
            None => post,
            Some(post) => if post { u32::MAX } else { 0 },
        };
        check(&routes, post);
    }
}

/// The origin of the best of two routes: 1 or 2.
fn best_of(first: Route, second: Route, flags: u8) -> u32 {
    let mut lab = lab();
    for (n, route) in [(1, first), (2, second)] {
        let said = route.said(n);
        let peer = route.from.peer().flags(flags);
        let id = Some(route.path_id);
        lab.send(0, &peer.announce_with(&[(id, PREFIX)], &said));
    }
    lab.origin(ADDRESS)
}

#[test]
fn a_route_that_is_kept_of_a_session_that_ended_is_the_last_choice() {
    let stale = Route {
        llgr_stale: true,
        local_pref: Some(200),
        ..Route::default()
    };
    let other = Route {
        from: From::Internal(1),
        middle: 3,
        local_pref: Some(50),
        ..Route::default()
    };
    for flags in [PRE, POST] {
        assert_eq!(best_of(stale.clone(), other.clone(), flags), 2);
        let both = Route {
            llgr_stale: true,
            ..other.clone()
        };
        assert_eq!(best_of(stale.clone(), both, flags), 1);
    }
}

/// Two internal neighbors: the second has the higher BGP identifier.
#[test]
fn of_reflected_routes_the_originator_counts_and_then_the_cluster_list() {
    let [a, b] = [1, 3].map(|n| Route {
        from: From::Internal(n),
        ..Route::default()
    });
    let with = |route: &Route, originator, clusters| Route {
        originator,
        clusters,
        ..route.clone()
    };
    for (first, second, expected) in [
        (a.clone(), b.clone(), 1),
        (a.clone(), with(&b, Some(1), 1), 2),
        (with(&a, Some(9), 1), b.clone(), 2),
        (with(&a, Some(5), 2), with(&b, Some(5), 1), 2),
        (with(&a, Some(5), 1), with(&b, Some(5), 1), 1),
    ] {
        assert_eq!(best_of(first, second, POST), expected);
    }
}

#[test]
fn a_route_with_the_router_in_it_is_no_candidate_before_import_policy() {
    for from in [From::Internal(1), From::External(1)] {
        for looped in 0..3 {
            let looped = Route {
                from,
                looped: Some(looped),
                local_pref: Some(100),
                ..Route::default()
            };
            let other = Route {
                from: From::Internal(3),
                middle: 4,
                local_pref: Some(99),
                ..Route::default()
            };
            assert_eq!(best_of(looped.clone(), other.clone(), PRE), 2);
            // after it the router has accepted the route
            assert_eq!(best_of(looped.clone(), other, POST), 1);
            let mut lab = lab();
            lab.send(0, &from.peer().announce("198.51.0.0/16", &[65001, 5]));
            let said = looped.said(1);
            let bytes = from.peer().announce_with(&[(Some(1), PREFIX)], &said);
            lab.send(0, &bytes);
            assert_eq!(lab.origin(ADDRESS), 5, "the shorter prefix answers");
            assert_eq!(lab.rib.counts().routes, [2, 0], "it is held all the same");
        }
    }
}

#[test]
fn the_local_preference_of_an_external_peer_counts_after_import_policy_only() {
    let wanted = |from| Route {
        from,
        local_pref: Some(200),
        middle: 1,
        ..Route::default()
    };
    let other = Route {
        from: From::External(3),
        ..Route::default()
    };
    for (from, flags, expected) in [
        (From::External(1), PRE, 2),
        (From::External(1), POST, 1),
        (From::Internal(1), PRE, 1),
        (From::Member(1), PRE, 1),
        (From::Member(1), POST, 1),
    ] {
        let got = best_of(wanted(from), other.clone(), flags);
        assert_eq!(got, expected, "{from:?} {flags:#x}");
    }
}

/// RFC 5065 section 5.3: a route from outside is preferred to one of another member.
#[test]
fn members_of_the_confederation_count_as_internal() {
    let member = Route {
        from: From::Member(1),
        ..Route::default()
    };
    let outside = Route {
        from: From::External(3),
        ..Route::default()
    };
    assert_eq!(best_of(member.clone(), outside, POST), 2);
    let internal = Route {
        from: From::Internal(3),
        ..Route::default()
    };
    // not to an internal one: the lower identifier decides
    assert_eq!(best_of(internal, member, POST), 1);
}
