// SPDX-License-Identifier: AGPL-3.0-only
//! Clients that are slow, send garbage, or come a thousand at a time stop nothing.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use crate::common::http::raise_descriptor_limit;
use crate::common::lab::can_run;
use crate::harness::{Fixture, ask};

/// The agent answers on the socket and by HTTP, soon.
fn answers(fixture: &Fixture) {
    let start = Instant::now();
    let (status, body) = fixture.get("/v1/status");
    assert_eq!((status, &body["healthy"]), (200, &true.into()));
    fixture.agent.scrape();
    let took = start.elapsed();
    assert!(took < Duration::from_secs(3), "{took:?}");
}

fn connect(fixture: &Fixture) -> UnixStream {
    let stream = UnixStream::connect(fixture.socket()).expect("the socket is open");
    let timeout = Some(Duration::from_secs(20));
    stream.set_read_timeout(timeout).expect("set");
    stream
}

#[test]
fn garbage_is_answered_or_dropped() {
    if !can_run(&["ip", "sysctl"]) {
        return;
    }
    let fixture = Fixture::new("");
    let long = format!("GET /{} HTTP/1.1\r\n\r\n", "a".repeat(100_000));
    let header = format!("GET / HTTP/1.1\r\nX: {}\r\n\r\n", "a".repeat(100_000));
    let body = "x".repeat(5000);
    let large = format!(
        "POST /v1/sample_rate HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let requests: [(&[u8], &[u16]); 8] = [
        (b"\x00\xff\x16\x03\x01 not at all\r\n\r\n", &[400]),
        (b"SSH-2.0-x\r\n\r\n", &[400]),
        (b"GET  HTTP/9.9\r\n\r\n", &[400]),
        (long.as_bytes(), &[400, 414, 431]),
        (header.as_bytes(), &[431]),
        (large.as_bytes(), &[413]),
        (
            b"BREW /v1/status HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
            &[405],
        ),
        (
            b"GET /v1/flows?%ff=%zz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
            &[400],
        ),
    ];
    for (request, expected) in requests {
        let mut stream = connect(&fixture);
        // it may close before all is sent
        let _ = stream.write_all(request);
        let mut reply = Vec::new();
        let _ = stream.read_to_end(&mut reply);
        let text = String::from_utf8_lossy(&reply);
        let status = text.get(9..12).and_then(|code| code.parse::<u16>().ok());
        let shown = String::from_utf8_lossy(&request[..request.len().min(40)]);
        assert!(
            status.is_some_and(|s| expected.contains(&s)),
            "{shown}: {text}"
        );
    }
    let (status, reply) = ask(&fixture.socket(), &large).expect("an answer");
    assert_eq!(
        (status, reply["error"].as_str()),
        (413, Some("payload too large"))
    );
    answers(&fixture);
    let errors = fixture.agent.scrape();
    assert!(errors.sum("rfm_errors_total", &[("subsystem", "control")]) > 0);
}

#[test]
fn the_slow_are_cut_and_stop_nobody() {
    if !can_run(&["ip", "sysctl"]) {
        return;
    }
    let fixture = Fixture::new("");
    let start = Instant::now();
    let mut silent: Vec<_> = (0..20).map(|_| connect(&fixture)).collect();
    let mut dripping = connect(&fixture);
    // asks for much and takes nothing
    let mut greedy = connect(&fixture);
    for _ in 0..200 {
        greedy
            .write_all(b"GET /v1/status HTTP/1.1\r\nHost: x\r\n\r\n")
            .expect("sent");
    }
    let mut cut = None;
    for byte in b"GET /v1/status HTTP/1.1\r\n".iter().cycle() {
        answers(&fixture);
        std::thread::sleep(Duration::from_millis(300));
        if dripping.write_all(&[*byte]).is_err() {
            cut = Some(start.elapsed());
            break;
        }
        assert!(start.elapsed() < Duration::from_secs(15), "drips for ever");
    }
    let cut = cut.expect("was cut");
    assert!(cut >= Duration::from_secs(4), "{cut:?}");
    for stream in &mut silent {
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).expect("closed");
        assert!(rest.is_empty());
    }
    answers(&fixture);
}

#[test]
fn a_thousand_at_a_time_are_too_many_and_do_no_harm() {
    if !can_run(&["ip", "sysctl"]) {
        return;
    }
    raise_descriptor_limit(4096);
    let fixture = Fixture::new("");
    answers(&fixture);
    let before = fixture.agent.resident_memory();
    let request = b"GET /v1/status HTTP/1.1\r\nHost: x\r\n\r\n";
    let mut crowd = Vec::new();
    for _ in 0..1000 {
        let mut stream = connect(&fixture);
        // one that had to make room is gone already
        let _ = stream.write_all(request);
        crowd.push(stream);
    }
    answers(&fixture);
    let served = crowd
        .iter()
        .filter(|stream| {
            let mut stream: &UnixStream = stream;
            let mut start = [0; 15];
            stream.read_exact(&mut start).is_ok() && start == *b"HTTP/1.1 200 OK"
        })
        .count();
    assert!(served >= 64, "{served} were served");
    let grown = fixture.agent.resident_memory().saturating_sub(before);
    println!("{served} of 1000 served; {} kB more", grown / 1024);
    assert!(grown < 16 << 20, "{grown}");
    drop(crowd);
    answers(&fixture);
}
