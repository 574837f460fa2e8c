// SPDX-License-Identifier: AGPL-3.0-only
//! Clients that misuse TLS and passwords, while a scraper goes on.

use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::certs::{Authority, P256};
use crate::common::http::{SOON, eventually, raise_descriptor_limit};
use crate::common::lab::{Lab, can_run, wait_for};
use crate::harness::{Folder, SECRET, Secured, Trust, login};
use crate::live::Guarded;

const TLS: &str = "tls_server_config: {cert_file: server.crt, key_file: server.key}\n";

/// The first bytes of a ClientHello: a record of 512 bytes is announced, and the rest does not follow.
const CUT_SHORT: &[u8] = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03";

fn folder() -> Folder {
    let folder = Folder::new();
    Authority::new(folder.path(), "ca").issue("server", P256);
    folder
}

#[test]
fn a_thousand_slow_handshakes_do_not_stop_a_scrape() {
    if !can_run(&["openssl"]) {
        return;
    }
    raise_descriptor_limit(4_096);
    let folder = folder();
    let secured = Secured::start(&folder, TLS);
    let trust = Trust::new(&folder, "ca.crt", None);
    let address = secured.address();
    let mut scraper = trust.connect(address).unwrap();
    assert_eq!(scraper.get("/metrics", "").unwrap().0, 200);
    let slow: Vec<TcpStream> = (0..1_000)
        .map(|i| {
            let mut stream = TcpStream::connect(address).unwrap();
            stream.write_all(&CUT_SHORT[..i % CUT_SHORT.len()]).unwrap();
            stream
        })
        .collect();
    // the connection from before is still there, and new ones find room
    assert_eq!(scraper.get("/metrics", "").unwrap().0, 200);
    for _ in 0..20 {
        let start = Instant::now();
        assert_eq!(trust.status(address, "/metrics", "").unwrap(), 200);
        assert!(
            start.elapsed() < Duration::from_secs(2),
            "{:?}",
            start.elapsed()
        );
    }
    drop(slow);
    assert_eq!(scraper.get("/metrics", "").unwrap().0, 200);
}

#[test]
fn a_thousand_slow_handshakes_with_an_agent_leave_it_bounded() {
    /// The agent serves at most so many connections.
    const CONNECTIONS: usize = 64;
    /// In kB: 64 sessions of TLS, each with its buffers.
    const ROOM: u64 = 16_384;
    if !can_run(&["ip", "sysctl", "openssl", "curl"]) {
        return;
    }
    raise_descriptor_limit(4_096);
    let lab = Lab::among_others();
    let (a, _b) = lab.pair();
    Authority::new(&lab.path(""), "ca").issue("server", P256);
    lab.file("web.yml", TLS);
    let agent = Guarded::start(&lab, &a, "", &["--cacert", "ca.crt"]);
    let (trust, address) = (Trust::new(lab.path(""), "ca.crt", None), agent.address());
    a.inside(|| {
        let mut scraper = trust.connect(address).unwrap();
        assert_eq!(scraper.get("/metrics", "").unwrap().0, 200);
        let (descriptors, memory) = (agent.descriptors(), agent.memory());
        let slow: Vec<TcpStream> = (0..1_000)
            .map(|i| {
                let mut stream = TcpStream::connect(address).unwrap();
                // fails if the agent has closed it already
                let _ = stream.write_all(&CUT_SHORT[..i % CUT_SHORT.len()]);
                stream
            })
            .collect();
        for _ in 0..20 {
            let (status, body) = scraper.get("/metrics", "").unwrap();
            assert_eq!(status, 200, "{body}");
            assert_eq!(trust.status(address, "/metrics", "").unwrap(), 200);
            let grown = agent.memory().saturating_sub(memory);
            assert!(grown < ROOM, "{grown} kB");
            let opened = agent.descriptors().saturating_sub(descriptors);
            assert!(opened <= CONNECTIONS + 2, "{opened}");
        }
        drop(slow);
        // also of the descriptors that a scrape opens for a moment
        let freed = || agent.descriptors() <= descriptors + 1;
        assert!(wait_for(SOON, freed), "{}", agent.descriptors());
        assert_eq!(scraper.get("/metrics", "").unwrap().0, 200);
    });
}

#[test]
fn a_handshake_that_is_not_completed_in_time_is_counted() {
    if !can_run(&["openssl"]) {
        return;
    }
    let folder = folder();
    let secured = Secured::start(&folder, TLS);
    let mut slow = TcpStream::connect(secured.address()).unwrap();
    slow.write_all(CUT_SHORT).unwrap();
    let silent = TcpStream::connect(secured.address()).unwrap();
    let limit = Duration::from_secs(10);
    assert!(!crate::common::http::is_closed(&slow, limit / 2));
    assert!(crate::common::http::is_closed(&slow, limit));
    assert!(crate::common::http::is_closed(&silent, SOON));
    // a client that has sent nothing is no error
    assert_eq!(secured.server.errors(), 1);
}

#[test]
fn http_on_the_port_of_https_is_answered_in_http() {
    if !can_run(&["openssl"]) {
        return;
    }
    let folder = folder();
    let secured = Secured::start(&folder, TLS);
    let mut client = secured.server.client();
    client.send("GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n");
    let reply = client.head_reply();
    assert_eq!(reply.status, 400);
    assert!(crate::common::http::is_closed(&client.stream, SOON));
    eventually(SOON, || secured.server.errors() == 1);
}

/// Sends a wrong password on each connection until told to stop, each time another one.
fn guess(address: SocketAddr, trust: &Trust, from: usize, stop: &AtomicBool, done: &AtomicUsize) {
    for n in (from..).step_by(8) {
        if stop.load(Ordering::Relaxed) {
            return;
        }
        let name = ["prometheus", "nobody"][n % 2];
        let status = trust.status(address, "/metrics", &login(name, &format!("wrong {n}")));
        // a connection that made room for another one is an error
        if let Ok(status) = status {
            assert!([401, 503].contains(&status), "{status}");
            done.fetch_add(1, Ordering::Relaxed);
        }
    }
}

#[test]
fn a_flood_of_wrong_passwords_does_not_stop_a_scrape() {
    if !can_run(&["openssl"]) {
        return;
    }
    let folder = folder();
    // without optimization as slow as the usual cost of 10
    let hash = bcrypt::hash("secret", 6).unwrap();
    let users = format!("{TLS}basic_auth_users:\n  prometheus: {hash}\n");
    let secured = Secured::start(&folder, &users);
    let trust = Trust::new(&folder, "ca.crt", None);
    let address = secured.address();
    let right = login("prometheus", "secret");
    assert_eq!(trust.status(address, "/metrics", &right).unwrap(), 200);
    let (stop, guesses) = (AtomicBool::new(false), AtomicUsize::new(0));
    let (mut slowest, mut scrapes) = (Duration::ZERO, 0);
    thread::scope(|scope| {
        for from in 0..8 {
            let (trust, stop, guesses) = (&trust, &stop, &guesses);
            scope.spawn(move || guess(address, trust, from, stop, guesses));
        }
        let end = Instant::now() + Duration::from_secs(5);
        let mut failure = None;
        while Instant::now() < end && failure.is_none() {
            let start = Instant::now();
            match trust.status(address, "/metrics", &right) {
                Ok(200) => scrapes += 1,
                other => failure = Some(other),
            }
            slowest = slowest.max(start.elapsed());
            thread::sleep(Duration::from_millis(50));
        }
        stop.store(true, Ordering::Relaxed);
        assert!(failure.is_none(), "{failure:?} after {scrapes} scrapes");
    });
    let guesses = guesses.load(Ordering::Relaxed);
    println!("{scrapes} scrapes beside {guesses} guesses, the slowest took {slowest:?}");
    assert!(guesses > 20, "{guesses} guesses: no test");
    assert!(slowest < Duration::from_secs(1), "{slowest:?}");
    let failures = secured.status.failures().unwrap();
    assert!(failures > 0 && failures <= guesses as u64 + 8, "{failures}");
}

#[test]
fn a_user_who_comes_first_in_a_flood_gets_in() {
    if !can_run(&["openssl"]) {
        return;
    }
    let folder = folder();
    let users = format!("{TLS}basic_auth_users:\n  prometheus: {SECRET}\n");
    let secured = Secured::start(&folder, &users);
    let trust = Trust::new(&folder, "ca.crt", None);
    let address = secured.address();
    let (stop, guesses) = (AtomicBool::new(false), AtomicUsize::new(0));
    thread::scope(|scope| {
        for from in 0..8 {
            let (trust, stop, guesses) = (&trust, &stop, &guesses);
            scope.spawn(move || guess(address, trust, from, stop, guesses));
        }
        // the attempts of one address share its places: 503 until the password has been verified
        let right = login("prometheus", "secret");
        let end = Instant::now() + Duration::from_secs(10);
        let mut last = trust.status(address, "/metrics", &right);
        while Instant::now() < end && !matches!(last, Ok(200)) {
            last = trust.status(address, "/metrics", &right);
        }
        stop.store(true, Ordering::Relaxed);
        assert_eq!(last.unwrap(), 200);
    });
}
