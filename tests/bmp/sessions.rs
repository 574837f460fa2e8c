// SPDX-License-Identifier: AGPL-3.0-only
//! Sessions over TCP: who is let in, what is told of them, and what becomes of their routes.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use rfm::enrich::rib::Rib;
use rfm::sys::error_counters::Subsystem;
use rustix::net::{AddressFamily, SocketFlags, SocketType};

use crate::agent::{Agent, wait};
use crate::builders::*;
use crate::data::{CAPTURES, capture, messages};
use crate::model::Model;

/// Whether the other side has closed.
fn is_closed(stream: &mut TcpStream) -> bool {
    stream
        .set_read_timeout(Some(Duration::from_millis(20)))
        .unwrap();
    match stream.read(&mut [0]) {
        Ok(n) => n == 0,
        Err(e) => !matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut),
    }
}

fn hello() -> Vec<u8> {
    [initiation("r1"), peer(1).up()].concat()
}

#[test]
fn labels_follow_a_session_from_its_start_to_its_end() {
    let agent = Agent::start(1000, |_| {});
    let generation = agent.rib.generation();
    let mut session = agent.connect(&hello());
    session
        .write_all(&peer(1).announce("198.51.100.0/24", &[65001, 1]))
        .unwrap();
    wait("the route", || agent.origin("198.51.100.1") == 1);
    wait("a generation", || agent.rib.generation() > generation);
    let routers = agent.router_stats.routers();
    let [router] = &routers[..] else {
        panic!("{routers:?}")
    };
    assert_eq!(
        (router.router.as_str(), router.sessions),
        ("127.0.0.1 r1", 1)
    );
    assert_eq!((router.updates, router.withdraws), (1, 0));
    assert!(router.last_message > 1.7e9);
    drop(session);
    wait("the end", || agent.router_stats.routers()[0].sessions == 0);
    assert_eq!(agent.origin("198.51.100.1"), 1, "stale");
    assert_eq!(agent.rib.read(Rib::counts).stale_routes, [1, 0]);
    let generation = agent.rib.generation();
    wait("the stale route to go", || {
        agent.origin("198.51.100.1") == 0
    });
    wait("a generation", || agent.rib.generation() > generation);
    assert_eq!(agent.errors.get(Subsystem::Bmp), 0);
}

#[test]
fn a_generation_comes_at_most_twice_a_second() {
    let agent = Agent::start(1000, |_| {});
    let mut session = agent.connect(&hello());
    let (start, first) = (Instant::now(), agent.rib.generation());
    let mut n = 0;
    while start.elapsed() < Duration::from_millis(1600) {
        n += 1;
        let bytes = peer(1).announce("198.51.100.0/24", &[65001, n]);
        session.write_all(&bytes).unwrap();
        std::thread::sleep(Duration::from_millis(1));
    }
    let generations = agent.rib.generation() - first;
    let most = start.elapsed().as_millis().div_ceil(500) as u32 + 1;
    assert!((2..=most).contains(&generations), "{generations} of {most}");
}

/// The messages up to where the model has the most routes, and how many these are.
fn fullest<'a>(messages: &'a [&'a [u8]]) -> (&'a [&'a [u8]], usize) {
    let mut model = Model::default();
    let counts = messages.chunks(100).enumerate().map(|(n, chunk)| {
        chunk.iter().for_each(|message| drop(model.apply(message)));
        (model.len(), 100 * n + chunk.len())
    });
    let (routes, end) = counts.max().unwrap();
    (&messages[..end], routes)
}

#[test]
fn each_capture_is_taken_in_whole_and_in_small_pieces() {
    for name in CAPTURES {
        let bytes = capture(name);
        let messages = messages(&bytes);
        let (arriving, routes) = fullest(&messages);
        assert!(routes > 5000, "{name}");
        for size in [1 << 20, 1000] {
            let agent = Agent::start(60_000, |_| {});
            let mut session = agent.connect(&[]);
            for piece in arriving.concat().chunks(size) {
                session.write_all(piece).unwrap();
            }
            wait(name, || agent.routes() == routes);
            assert_eq!(agent.errors.get(Subsystem::Bmp), 0, "{name}");
        }
    }
}

#[test]
fn a_source_that_is_not_allowed_is_turned_away() {
    let agent = Agent::start(1000, |bmp| {
        bmp.allow = vec!["192.0.2.0/24".parse().unwrap()]
    });
    let mut session = agent.connect(&[]);
    wait("the end", || is_closed(&mut session));
    assert_eq!(agent.error("not_allowed"), 1);
    assert!(agent.router_stats.routers().is_empty());
    drop(agent);
    let agent = Agent::start(1000, |bmp| bmp.allow = vec!["127.0.0.0/8".parse().unwrap()]);
    let _session = agent.connect(&hello());
    wait("the session", || !agent.router_stats.routers().is_empty());
}

#[test]
fn one_session_too_many_is_turned_away_and_a_free_place_is_taken() {
    let agent = Agent::start(1000, |bmp| bmp.max_sessions = 2);
    let first = agent.connect(&hello());
    let _second = agent.connect(&hello());
    wait("two peers", || agent.rib.read(Rib::counts).peers == 2);
    let mut third = agent.connect(&[]);
    wait("the end", || is_closed(&mut third));
    assert_eq!(agent.error("session_limit"), 1);
    drop(first);
    wait("a free place", || agent.rib.read(Rib::counts).peers == 1);
    let fourth = || agent.connect(&hello());
    let mut held = fourth();
    wait("the fourth", || {
        if is_closed(&mut held) {
            held = fourth();
        }
        agent.rib.read(Rib::counts).peers == 2
    });
}

#[test]
fn a_router_that_may_no_longer_connect_loses_its_session_and_its_routes_age() {
    let agent = Agent::start(60_000, |_| {});
    let announce = |prefix| peer(1).announce(prefix, &[65_001, 3]);
    let mut session = agent.connect(&[hello(), announce("20.1.0.0/24")].concat());
    wait("the route", || agent.routes() == 1);
    agent.change("allow = [\"127.0.0.0/8\", \"192.0.2.1\"]");
    session.write_all(&announce("20.2.0.0/24")).unwrap();
    wait("a second route", || agent.routes() == 2);
    agent.change("allow = [\"192.0.2.1\"]");
    wait("the end", || is_closed(&mut session));
    let _ = session.write_all(&announce("20.3.0.0/24"));
    wait("the routes to be stale", || {
        agent
            .rib
            .read(Rib::counts)
            .stale_routes
            .iter()
            .sum::<usize>()
            == 2
    });
    assert_eq!(agent.origin("20.1.0.9"), 3, "until stale_time has passed");
    assert_eq!(agent.origin("20.3.0.9"), 0);
    assert_eq!(agent.error("not_allowed"), 0, "a reload is no error");
    let mut again = agent.connect(&hello());
    wait("the refusal", || is_closed(&mut again));
    assert_eq!(agent.error("not_allowed"), 1);
}

#[test]
fn a_lower_limit_ends_the_newest_sessions() {
    let agent = Agent::start(60_000, |_| {});
    let mut sessions: Vec<_> = (0..3)
        .map(|n| {
            let session = agent.connect(&hello());
            wait("its peer", || agent.rib.read(Rib::counts).peers == n + 1);
            session
        })
        .collect();
    agent.change("max_sessions = 1");
    for newer in &mut sessions[1..] {
        wait("the end", || is_closed(newer));
    }
    assert!(!is_closed(&mut sessions[0]));
    assert_eq!(agent.error("session_limit"), 0);
    agent.change("max_sessions = 2");
    wait("the threads to end", || {
        agent.router_stats.routers()[0].sessions == 1
    });
    let fourth = || agent.connect(&hello());
    let mut held = fourth();
    wait("a free place", || {
        if is_closed(&mut held) {
            held = fourth();
        }
        agent.rib.read(Rib::counts).peers == 2
    });
}

/// A session from another loopback address, which is a source of its own.
fn connect_from(agent: &Agent, host: u8, bytes: &[u8]) -> TcpStream {
    let flags = SocketFlags::CLOEXEC;
    let socket = rustix::net::socket_with(AddressFamily::INET, SocketType::STREAM, flags, None);
    let socket = socket.unwrap();
    let from = SocketAddr::from(([127, 0, 0, host], 0));
    rustix::net::bind(&socket, &from).unwrap();
    rustix::net::connect(&socket, &agent.address).unwrap();
    let mut stream = TcpStream::from(socket);
    stream.write_all(bytes).unwrap();
    stream
}

#[test]
fn silent_sessions_of_one_address_leave_room_for_others() {
    let agent = Agent::start(1000, |bmp| bmp.max_sessions = 16);
    let mut silent: Vec<_> = (0..16)
        .map(|_| connect_from(&agent, 1, &initiation("silent")))
        .collect();
    wait("the limit of an address", || {
        agent.error("address_limit") == 8
    });
    let _router = connect_from(&agent, 2, &hello());
    wait("the router", || agent.rib.read(Rib::counts).peers == 1);
    assert_eq!(agent.error("session_limit"), 0);
    let open = silent
        .iter_mut()
        .filter_map(|s| (!is_closed(s)).then_some(()));
    assert_eq!(open.count(), 8);
}

#[test]
fn a_known_router_replaces_a_silent_session_and_others_wait() {
    let agent = Agent::start(1000, |bmp| bmp.max_sessions = 4);
    let router = connect_from(&agent, 9, &hello());
    wait("the router", || agent.rib.read(Rib::counts).peers == 1);
    // it is remembered within a tick
    std::thread::sleep(Duration::from_millis(500));
    drop(router);
    wait("its end", || {
        agent.router_stats.routers().iter().all(|r| r.sessions == 0)
    });
    let initiation = initiation("silent");
    let mut silent: Vec<_> = (1..=4)
        .map(|host| connect_from(&agent, host, &initiation))
        .collect();
    let sessions = || -> usize {
        agent
            .router_stats
            .routers()
            .iter()
            .map(|r| r.sessions)
            .sum()
    };
    wait("silent sessions", || sessions() == 4);
    let mut stranger = connect_from(&agent, 8, &hello());
    wait("the end", || is_closed(&mut stranger));
    assert_eq!(agent.error("session_limit"), 1);
    let _router = connect_from(&agent, 9, &hello());
    wait("the router again", || agent.error("idle") == 1);
    wait("its peer", || agent.rib.read(Rib::counts).peers == 1);
    // the oldest made room
    wait("the end", || is_closed(&mut silent[0]));
    assert!(!is_closed(&mut silent[1]));
}

#[test]
fn what_is_no_bmp_ends_the_session() {
    let agent = Agent::start(1000, |_| {});
    for bytes in [
        &b"GET / HTTP/1.1\r\n\r\n"[..],
        &[3, 0, 16, 0, 0, 0],
        &[3, 0, 0, 0, 1, 4],
    ] {
        let mut session = agent.connect(bytes);
        wait("the end", || is_closed(&mut session));
    }
    wait("the count", || agent.error("frame") == 3);
    assert_eq!(agent.errors.get(Subsystem::Bmp), 3);
}

#[test]
fn a_termination_ends_the_session() {
    let agent = Agent::start(1000, |_| {});
    let mut session = agent.connect(&[hello(), message(5, &[0, 1, 0, 2, 0, 0])].concat());
    wait("the end", || is_closed(&mut session));
    assert_eq!(agent.errors.get(Subsystem::Bmp), 0);
}

#[test]
fn a_message_longer_than_a_read_is_taken_in() {
    let agent = Agent::start(1000, |_| {});
    // mirrored messages may be long; what they hold is of no interest
    let long = message(6, &vec![0; 200_000]);
    let route = peer(1).announce("198.51.100.0/24", &[65001, 1]);
    let _session = agent.connect(&[hello(), long.clone(), long, route].concat());
    wait("the route", || agent.origin("198.51.100.1") == 1);
}

#[test]
fn a_router_that_comes_back_takes_its_routes_over() {
    let agent = Agent::start(60_000, |_| {});
    let route = peer(1).announce("198.51.100.0/24", &[65001, 1]);
    let first = agent.connect(&[hello(), route].concat());
    wait("the route", || agent.origin("198.51.100.1") == 1);
    drop(first);
    wait("the end", || {
        agent.rib.read(Rib::counts).stale_routes == [1, 0]
    });
    let mut second = agent.connect(&hello());
    wait("the peer", || agent.rib.read(Rib::counts).peers == 1);
    assert_eq!(agent.origin("198.51.100.1"), 1);
    second.write_all(&peer(1).end_of_rib()).unwrap();
    wait("the route to go", || agent.origin("198.51.100.1") == 0);
}

#[test]
fn lookups_go_on_while_a_table_is_taken_in() {
    let agent = Agent::start(60_000, |bmp| bmp.max_routes = 1_000_000);
    let mut bytes = hello();
    for n in 0..60_000_u32 {
        let prefix = format!("{}.{}.{}.0/24", 20 + (n >> 16), (n >> 8) & 255, n & 255);
        bytes.extend(peer(1).announce(&prefix, &[65001, 1 + n % 1000]));
    }
    let session = agent.connect(&[]);
    let sender = std::thread::spawn(move || {
        let mut session = session;
        session.write_all(&bytes).unwrap();
        session
    });
    let mut longest = Duration::ZERO;
    wait("all routes", || {
        for _ in 0..100 {
            let start = Instant::now();
            agent.origin("20.0.0.1");
            longest = longest.max(start.elapsed());
        }
        agent.routes() == 60_000
    });
    drop(sender.join().unwrap());
    // not optimized, and on a busy machine
    assert!(longest < Duration::from_secs(2), "{longest:?}");
}

#[test]
fn a_flush_ends_the_session_and_leaves_nothing_stale() {
    let agent = Agent::start(60_000, |_| {});
    let hello = || {
        let mut bytes = initiation("edge");
        bytes.extend(peer(1).up());
        bytes.extend(peer(1).announce("198.51.100.0/24", &[65001]));
        bytes
    };
    let mut stream = agent.connect(&hello());
    wait("a route", || agent.routes() == 1);
    assert_eq!(agent.router_stats.flush("127.0.0.1 other"), None);
    assert_eq!(agent.router_stats.flush("127.0.0.1 edge"), Some(1));
    wait("nothing is left", || agent.routes() == 0);
    // the router sees its connection closed, and comes again
    stream
        .set_read_timeout(Some(std::time::Duration::from_secs(5)))
        .unwrap();
    assert_eq!(std::io::Read::read(&mut stream, &mut [0]).unwrap(), 0);
    assert_eq!(
        agent.router_stats.flush("127.0.0.1 edge"),
        None,
        "no session now"
    );
    let _again = agent.connect(&hello());
    wait("a route again", || agent.routes() == 1);
}
