// SPDX-License-Identifier: AGPL-3.0-only
//! Which routes become blackholes, which are refused and why, and when they end.

use std::io::Write;
use std::time::Duration;

use proptest::prelude::*;
use rfm::config::{Firewall, Machine, parse};
use rfm::enrich::rib::{
    BlackholePolicy, BlackholeRejectReason, ExplainedRoute, HeldRoute, RibConfig, RoutePrefix,
    TableId, View,
};
use rfm::firewall::blackhole::Blackholes;
use rfm::firewall::thread::Blackholes as _;
use rfm::types::rule::{Community, TrustedPeer as Trusted};

use crate::agent::{Agent, wait};
use crate::builders::*;

const BLACKHOLE: u32 = 0xffff_029a;
const OWN: u32 = 64500 << 16 | 666;
const HOST: &str = "198.51.100.7/32";
const OTHER: &str = "198.51.100.8/32";

/// Two communities, local networks of both families, one neighbour by its address and one by its AS.
fn firewall() -> Firewall {
    let text = "[agent]\ninterfaces = [\"*\"]\n";
    let mut firewall = parse("test", text, &Machine::here())
        .unwrap()
        .agent
        .firewall;
    firewall.enabled = true;
    firewall.blackhole_communities = vec![Community(65535, 666), Community(64500, 666)];
    firewall.blackhole_within = ["198.51.0.0/16", "203.0.113.9", "2001:db8::/32"]
        .map(|p| p.parse().unwrap())
        .into();
    firewall.blackhole_peers = vec![Trusted::Address(peer(1).address), Trusted::Asn(65003)];
    firewall
}

fn settings(firewall: &Firewall) -> RibConfig {
    RibConfig {
        blackhole: firewall.into(),
        vrf: vec![("red".into(), "65000:1".parse().unwrap())],
        ..RibConfig::default()
    }
}

fn with(change: impl FnOnce(&mut Firewall)) -> (Lab, usize) {
    let mut firewall = firewall();
    change(&mut firewall);
    let mut lab = Lab::with(settings(&firewall));
    let s = start(&mut lab);
    (lab, s)
}

fn lab() -> (Lab, usize) {
    with(|_| {})
}

/// A router with the peers 1 to 4 and a Loc-RIB.
fn start(lab: &mut Lab) -> usize {
    let s = lab.connect("r1");
    for peer in [peer(1), peer(2), peer(3), peer(4), loc_rib()] {
        lab.send(s, &peer.up());
    }
    s
}

fn post(n: u8) -> Peer {
    peer(n).flags(POST)
}

fn asking(path: &[u32], communities: &[u32]) -> Said {
    Said {
        communities: communities.to_vec(),
        ..Said::new(path)
    }
}

/// A route by which this peer asks for a blackhole.
fn ask(peer: Peer, prefix: &str) -> Vec<u8> {
    let said = asking(&[peer.asn], &[64500 << 16 | 1, BLACKHOLE]);
    peer.announce_with(&[(None, prefix)], &said)
}

fn text(prefix: RoutePrefix) -> String {
    format!("{}/{}", prefix.address(), prefix.length())
}

fn held(lab: &Lab) -> Vec<String> {
    let (_, prefixes) = lab.rib.blackholes();
    prefixes.into_iter().map(text).collect()
}

fn refused(lab: &Lab) -> Vec<(&'static str, u64)> {
    let all = lab.rib.blackholes_refused().into_iter();
    all.filter(|(_, n)| *n > 0)
        .map(|(why, n)| (why.name(), n))
        .collect()
}

/// An IPv6 prefix of IPv4-mapped addresses is not inside an IPv4 network: packets to it are IPv6.
#[test]
fn an_ipv4_network_holds_no_ipv6_prefix() {
    let (mut lab, s) = lab();
    lab.send(s, &ask(post(1), "::ffff:198.51.100.7/128"));
    assert!(held(&lab).is_empty());
    assert_eq!(refused(&lab), [("within", 1)]);
}

#[test]
fn each_community_of_a_trusted_neighbour_is_heard() {
    let (mut lab, s) = lab();
    lab.send(s, &ask(post(1), HOST));
    lab.send(s, &ask(post(3), "2001:db8::7/128"));
    let own = asking(&[65001, 7], &[OWN]);
    lab.send(s, &post(1).announce_with(&[(None, OTHER)], &own));
    lab.send(s, &ask(post(1), "203.0.113.9/32"));
    assert_eq!(
        held(&lab),
        [HOST, OTHER, "203.0.113.9/32", "2001:db8::7/128"]
    );
    assert_eq!(refused(&lab), []);
}

#[test]
fn a_route_that_may_not_ask_is_refused_and_counted() {
    for (message, reason) in [
        (ask(peer(1), HOST), "pre_policy"),
        (ask(post(2), HOST), "peer"),
        (ask(post(1), "0.0.0.0/0"), "length"),
        (ask(post(1), "198.51.100.0/24"), "length"),
        (ask(post(3), "2001:db8::/64"), "length"),
        (ask(post(1), "192.0.2.1/32"), "within"),
        (ask(post(1), "203.0.113.8/32"), "within"),
        (ask(post(3), "2001:db9::1/128"), "within"),
        // the address of a trusted neighbour does not make its AS a trusted one
        (loc_rib_of(&[65001], HOST), "peer"),
        (loc_rib_of(&[], HOST), "peer"),
        (loc_rib_of(&[7, 65003], HOST), "peer"),
    ] {
        let (mut lab, s) = lab();
        lab.send(s, &message);
        assert_eq!(refused(&lab), [(reason, 1)]);
        assert_eq!(held(&lab), [""; 0]);
        assert_eq!(lab.rib.held(), 1, "it is a route all the same");
        assert_eq!(lab.rib.blackhole_generation(), 0);
    }
}

fn loc_rib_of(path: &[u32], prefix: &str) -> Vec<u8> {
    loc_rib().announce_with(&[(None, prefix)], &asking(path, &[BLACKHOLE]))
}

#[test]
fn a_loc_rib_asks_for_the_neighbour_that_begins_the_path() {
    let (mut lab, s) = lab();
    lab.send(s, &loc_rib_of(&[65003, 7], HOST));
    assert_eq!(held(&lab), [HOST]);
    // what the router says by itself is of its own AS
    let (mut lab, s) = with(|firewall| firewall.blackhole_peers = vec![Trusted::Asn(HOME)]);
    lab.send(s, &loc_rib_of(&[], HOST));
    lab.send(s, &loc_rib_of(&[65003], OTHER));
    assert_eq!(held(&lab), [HOST]);
    assert_eq!(refused(&lab), [("peer", 1)]);
}

#[test]
fn the_table_of_a_vrf_has_no_say() {
    let vrf = |number| Peer {
        kind: 1,
        distinguisher: [0, 0, 0xfd, 0xe8, 0, 0, 0, number],
        ..post(1)
    };
    let (mut lab, s) = lab();
    // one whose routes are held, and one whose are not
    for peer in [vrf(1), vrf(2)] {
        lab.send(s, &peer.up());
        lab.send(s, &ask(peer, HOST));
    }
    assert_eq!(lab.rib.held(), 1);
    assert_eq!(held(&lab), [""; 0]);
    assert_eq!(refused(&lab), [("vrf", 2)]);
}

#[test]
fn a_plain_route_is_none_and_no_refusal() {
    let (mut lab, s) = lab();
    lab.send(s, &post(1).announce(HOST, &[65001]));
    let other = asking(&[65001], &[64500 << 16 | 665, 666]);
    lab.send(s, &post(1).announce_with(&[(None, OTHER)], &other));
    assert_eq!((held(&lab), refused(&lab)), (vec![], vec![]));
    // where nothing is configured the community says nothing
    let mut lab = Lab::new();
    let s = start(&mut lab);
    lab.send(s, &ask(post(1), HOST));
    assert_eq!((held(&lab), refused(&lab)), (vec![], vec![]));
}

#[test]
fn it_ends_with_its_route() {
    // what ends it, and whether a route without the community is left
    for (message, left) in [
        (post(1).withdraw(HOST), false),
        (post(1).announce(HOST, &[65001]), true),
        (post(1).down(), false),
        // the session was reset
        (post(1).up(), false),
        // attributes that make no sense count as a withdraw
        (post(1).update(&[], &[], &nlri(None, HOST)), false),
    ] {
        let (mut lab, s) = lab();
        lab.send(s, &ask(post(1), HOST));
        let before = lab.rib.blackhole_generation();
        lab.send(s, &message);
        assert_eq!(held(&lab), [""; 0]);
        lab.pass(0);
        assert_eq!(lab.rib.held() > 0, left);
        assert_ne!(lab.rib.blackhole_generation(), before);
        // and it can come again
        lab.send(s, &post(1).up());
        lab.send(s, &ask(post(1), HOST));
        assert_eq!(held(&lab), [HOST]);
    }
}

#[test]
fn it_stays_as_long_as_one_neighbour_asks() {
    let (mut lab, s) = lab();
    for message in [
        ask(post(1), HOST),
        ask(post(3), HOST),
        loc_rib_of(&[65003], HOST),
    ] {
        lab.send(s, &message);
        assert_eq!(held(&lab), [HOST]);
    }
    let generation = lab.rib.blackhole_generation();
    lab.send(s, &post(1).withdraw(HOST));
    lab.send(s, &post(3).down());
    assert_eq!(held(&lab), [HOST]);
    assert_eq!(lab.rib.blackhole_generation(), generation, "no change");
    lab.send(s, &loc_rib().withdraw(HOST));
    assert_eq!(held(&lab), [""; 0]);
}

#[test]
fn of_several_paths_one_that_asks_is_enough() {
    let (mut lab, s) = lab();
    lab.send(s, &post(1).up_with(&[69, 4, 0, 1, 1, 3]));
    let path = |id, said: &Said| post(1).announce_with(&[(Some(id), HOST)], said);
    let asks = asking(&[65001], &[BLACKHOLE]);
    lab.send(s, &path(1, &Said::new(&[65001])));
    lab.send(s, &path(2, &asks));
    lab.send(s, &path(3, &asks));
    lab.send(s, &post(1).withdraw_with(Some(2), HOST));
    assert_eq!(held(&lab), [HOST]);
    lab.send(s, &path(3, &Said::new(&[65001])));
    assert_eq!(held(&lab), [""; 0]);
}

#[test]
fn a_lost_session_ends_it_when_its_routes_are_stale() {
    let (mut lab, s) = lab();
    lab.send(s, &ask(post(1), HOST));
    lab.send(s, &ask(post(1), OTHER));
    lab.disconnect(s);
    lab.pass(STALE - 1);
    assert_eq!(held(&lab), [HOST, OTHER]);
    // back in time, and it asks for one of them only
    let s = start(&mut lab);
    lab.send(s, &ask(post(1), HOST));
    assert_eq!(held(&lab), [HOST, OTHER]);
    lab.send(s, &post(1).end_of_rib());
    assert_eq!(held(&lab), [HOST]);
    lab.disconnect(s);
    lab.pass(STALE);
    assert_eq!(held(&lab), [""; 0]);
    assert_eq!((lab.rib.held(), lab.rib.attribute_sets()), (0, 0));
}

#[test]
fn a_peer_that_comes_back_as_another_as_is_judged_anew() {
    let (mut lab, s) = lab();
    lab.send(s, &ask(post(3), HOST));
    lab.disconnect(s);
    let s = lab.connect("r1");
    let stranger = Peer {
        asn: 65009,
        ..post(3)
    };
    lab.send(s, &stranger.up());
    assert_eq!(held(&lab), [""; 0], "its stale route is that of a stranger");
}

#[test]
fn the_limit_holds_and_who_was_left_out_comes_when_there_is_room() {
    let (mut lab, s) = with(|firewall| firewall.blackhole_max = 2);
    let hosts: Vec<_> = (0..4).map(|n| format!("198.51.100.{n}/32")).collect();
    for host in &hosts {
        lab.send(s, &ask(post(1), host));
    }
    assert_eq!(held(&lab), hosts[..2]);
    assert_eq!(refused(&lab), [("limit", 2)]);
    // another neighbour may ask for one that is held
    lab.send(s, &ask(post(3), &hosts[0]));
    assert_eq!(refused(&lab), [("limit", 2)]);
    lab.send(s, &post(1).withdraw(&hosts[1]));
    while lab.rib.search_blackholes() {}
    assert_eq!(held(&lab), [&*hosts[0], &*hosts[2]]);
    lab.send(s, &post(1).withdraw(&hosts[2]));
    while lab.rib.search_blackholes() {}
    assert_eq!(held(&lab), [&*hosts[0], &*hosts[3]]);
    assert_eq!(refused(&lab), [("limit", 2)], "a search counts nothing");
}

#[test]
fn memory_is_bounded_where_many_ask_for_the_same() {
    let (mut lab, _) = with(|firewall| firewall.blackhole_max = 1);
    for n in 0..40 {
        let s = lab.connect(&format!("r{n}"));
        lab.send(s, &peer(1).up());
        lab.send(s, &ask(post(1), HOST));
    }
    assert_eq!(held(&lab), [HOST]);
    assert_eq!(refused(&lab), [("limit", 40 - 16)]);
    // those that are remembered go: others take over
    for session in &mut lab.sessions[1..=16] {
        session.flush(&mut lab.rib, 0);
    }
    lab.rib.apply_changes();
    while lab.rib.search_blackholes() {}
    assert_eq!(held(&lab), [HOST]);
}

#[test]
fn another_policy_holds_for_the_routes_that_are_there() {
    let (mut lab, s) = lab();
    lab.send(s, &ask(post(1), HOST));
    lab.send(s, &ask(post(3), OTHER));
    lab.send(s, &ask(post(2), "198.51.100.2/32"));
    lab.send(s, &ask(post(1), "198.51.99.0/24"));
    let mut change = |change: fn(&mut Firewall)| {
        let mut firewall = firewall();
        change(&mut firewall);
        lab.rib.set_limits(&RibConfig {
            max_routes: 1000,
            ..settings(&firewall)
        });
        lab.rib.apply_changes();
        while lab.rib.search_blackholes() {}
        held(&lab)
    };
    assert_eq!(
        change(|f| f.blackhole_peers = vec![Trusted::Asn(65002)]),
        ["198.51.100.2/32"]
    );
    assert_eq!(
        change(|f| f.blackhole_min_length = [24, 128]),
        ["198.51.99.0/24", HOST, OTHER]
    );
    assert_eq!(
        change(|f| f.blackhole_within = vec!["198.51.100.8/31".parse().unwrap()]),
        [OTHER]
    );
    assert_eq!(change(|_| {}), [HOST, OTHER]);
    assert_eq!(change(|f| f.blackhole_max = 1), [HOST]);
    assert_eq!(change(|f| f.blackhole_communities.clear()), [""; 0]);
    assert_eq!(change(|_| {}), [HOST, OTHER]);
    assert_eq!(change(|f| f.enabled = false), [""; 0]);
}

#[test]
fn an_answer_tells_what_became_of_it() {
    let (mut lab, s) = with(|firewall| firewall.blackhole_max = 1);
    lab.send(s, &ask(post(1), HOST));
    lab.send(s, &ask(post(2), HOST));
    lab.send(s, &ask(post(1), OTHER));
    lab.send(s, &post(3).announce(HOST, &[65003]));
    let told = |address: &str| {
        let address = address.parse().unwrap();
        let all = lab.rib.explain(address, TableId::GLOBAL, 10);
        let state = |e: ExplainedRoute| (e.route.peer.address, e.blackhole);
        let mut all: Vec<_> = all.into_iter().map(state).collect();
        all.sort_by_key(|(peer, _)| *peer);
        all
    };
    let host = [
        (peer(1).address, Some(Ok(()))),
        (peer(2).address, Some(Err(BlackholeRejectReason::Peer))),
        (peer(3).address, None),
    ];
    assert_eq!(told("198.51.100.7"), host);
    let other = [(peer(1).address, Some(Err(BlackholeRejectReason::Limit)))];
    assert_eq!(told("198.51.100.8"), other);
}

#[test]
fn the_firewall_hears_of_each_change() {
    const STALE_MS: u64 = 300;
    let agent = Agent::start(STALE_MS, |_| {});
    let policy = |within: &str| {
        let mut firewall = firewall();
        firewall.blackhole_within = vec![within.parse().unwrap()];
        let limits = RibConfig {
            max_routes: 1000,
            stale_ms: STALE_MS,
            ..settings(&firewall)
        };
        agent.rib.write(0, |rib| rib.set_limits(&limits));
    };
    policy("198.51.100.0/24");
    let blackholes = Blackholes::new(agent.rib.clone());
    let changed = blackholes.changed();
    let hears = |expected: &[&str]| {
        let word = changed.recv_timeout(Duration::from_secs(20));
        assert_eq!(word, Ok(()), "{expected:?}");
        let (_, prefixes) = blackholes.snapshot();
        let prefixes: Vec<_> = prefixes.iter().map(|p| p.to_string()).collect();
        assert_eq!(prefixes, expected);
    };
    let begin = [initiation("r"), peer(1).up(), ask(post(1), HOST)].concat();
    let mut router = agent.connect(&begin);
    hears(&[HOST]);
    router
        .write_all(&post(1).announce(OTHER, &[65001]))
        .unwrap();
    wait("a plain route", || agent.routes() == 2);
    assert!(changed.is_empty());
    // another policy, and the previous one
    policy("192.0.2.0/24");
    hears(&[]);
    policy("198.51.100.0/24");
    hears(&[HOST]);
    drop(router);
    hears(&[]);
}

#[test]
fn a_firewall_that_is_off_takes_nothing() {
    let mut firewall = firewall();
    firewall.enabled = false;
    assert_eq!(BlackholePolicy::from(&firewall), BlackholePolicy::default());
}

#[derive(Clone, Debug)]
enum Event {
    /// Peer, or the Loc-RIB in the place of 0; whether after policy; prefix, path identifier, whether it
    /// asks.
    Announce(u8, bool, usize, Option<u32>, bool),
    Withdraw(u8, bool, usize, Option<u32>),
    Reset(u8),
    Reconnect,
    EndOfRib(u8),
    Pass,
}

const PREFIXES: [&str; 4] = [HOST, OTHER, "198.51.100.0/24", "192.0.2.1/32"];

fn events() -> impl Strategy<Value = Vec<Event>> {
    let peer = || 0..4_u8;
    let prefix = || 0..PREFIXES.len();
    let id = || prop::option::of(1..3_u32);
    let event = prop_oneof![
        12 => (peer(), any::<bool>(), prefix(), id(), any::<bool>())
            .prop_map(|(p, post, n, id, asks)| Event::Announce(p, post, n, id, asks)),
        6 => (peer(), any::<bool>(), prefix(), id())
            .prop_map(|(p, post, n, id)| Event::Withdraw(p, post, n, id)),
        1 => peer().prop_map(Event::Reset),
        1 => Just(Event::Reconnect),
        1 => peer().prop_map(Event::EndOfRib),
        1 => Just(Event::Pass),
    ];
    prop::collection::vec(event, 1..80)
}

fn speaker(n: u8, post: bool) -> Peer {
    match n {
        0 => loc_rib(),
        n => peer(n).flags(if post { POST } else { PRE }),
    }
}

fn begin(lab: &mut Lab) -> usize {
    let s = lab.connect("r1");
    for n in 0..4 {
        lab.send(s, &speaker(n, true).up_with(&[69, 4, 0, 1, 1, 3]));
    }
    s
}

/// By the routes that are held, each for itself.
fn expected(lab: &Lab) -> Vec<String> {
    let stands = |route: &HeldRoute| {
        let trusted = match route.view {
            View::LocRib => route.attributes.peer_asn == 65003,
            View::PostPolicy => [peer(1).address, peer(3).address].contains(&route.peer.address),
            View::PrePolicy => false,
        };
        trusted && route.attributes.requests_blackhole
    };
    let routes = lab.rib.routes();
    let prefixes = routes.iter().filter(|r| stands(r)).map(|r| text(r.prefix));
    let mut prefixes: Vec<_> = prefixes.filter(|p| PREFIXES[..2].contains(&&**p)).collect();
    prefixes.sort();
    prefixes.dedup();
    prefixes
}

proptest! {
    #[test]
    fn blackholes_are_those_of_the_routes_that_are_held(events in events()) {
        let mut lab = Lab::with(settings(&firewall()));
        let mut s = begin(&mut lab);
        for event in &events {
            match *event {
                Event::Announce(p, post, n, id, asks) => {
                    let communities = if asks { &[BLACKHOLE][..] } else { &[] };
                    let said = asking(&[65001 + 2 * (n as u32 & 1)], communities);
                    lab.send(s, &speaker(p, post).announce_with(&[(id, PREFIXES[n])], &said));
                }
                Event::Withdraw(p, post, n, id) => {
                    lab.send(s, &speaker(p, post).withdraw_with(id, PREFIXES[n]));
                }
                Event::Reset(p) => {
                    lab.send(s, &speaker(p, true).down());
                    lab.send(s, &speaker(p, true).up());
                }
                Event::Reconnect => {
                    lab.disconnect(s);
                    s = begin(&mut lab);
                }
                Event::EndOfRib(p) => lab.send(s, &speaker(p, true).end_of_rib()),
                Event::Pass => lab.pass(STALE / 3),
            }
            prop_assert_eq!(held(&lab), expected(&lab), "{:?}", event);
        }
        lab.disconnect(s);
        lab.pass(2 * STALE);
        prop_assert_eq!(held(&lab), Vec::<String>::new());
    }
}
