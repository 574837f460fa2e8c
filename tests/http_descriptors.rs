// SPDX-License-Identifier: AGPL-3.0-only
//! The HTTP server when the process has no file descriptor left. A program of its own: the limit
//! holds for all tests of a program.

mod common;

use std::fs::File;
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use common::http::{Client, eventually, is_closed, start};
use rfm::http::{HttpLimits, respond};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Uses up all descriptors, the last one for a connection, so that the server cannot accept it.
fn connect_with_the_last(files: &mut Vec<File>, address: SocketAddr) -> TcpStream {
    while let Ok(file) = File::open("/dev/null") {
        files.push(file);
    }
    files.pop();
    TcpStream::connect(address).unwrap()
}

#[test]
fn out_of_descriptors_it_waits_and_goes_on() {
    let server = start(HttpLimits::default(), |_, _| {
        respond::status(hyper::StatusCode::OK)
    });
    let mut before = server.client();
    assert_eq!(before.get("/").status, 200);

    let limit = getrlimit(Resource::Nofile);
    let low = Rlimit {
        current: Some(40),
        maximum: limit.maximum,
    };
    setrlimit(Resource::Nofile, low).unwrap();
    let mut files = Vec::new();
    // a client that waits for nothing makes room
    let next = connect_with_the_last(&mut files, server.address);
    assert!(is_closed(&before.stream, Duration::from_secs(5)));
    files.pop();
    let mut next = Client::new(next);
    assert_eq!(next.get("/").status, 200);
    // one with a request under way does not
    std::thread::sleep(Duration::from_millis(100));
    next.send("GET / HTTP/1.1\r\n");
    std::thread::sleep(Duration::from_millis(100));
    let waiting = connect_with_the_last(&mut files, server.address);
    let begin = Instant::now();
    let already = server.errors();
    eventually(Duration::from_secs(5), || server.errors() >= already + 3);
    let errors = server.errors() - already;
    next.send("Host: x\r\n\r\n");
    assert_eq!(next.reply().status, 200, "those who are in are served");
    // Two a second would be idle, thousands would be a spinning loop.
    let most = 2 + begin.elapsed().as_millis() as u64 / 150;
    assert!(errors <= most, "{errors} errors in {:?}", begin.elapsed());

    drop(files);
    setrlimit(Resource::Nofile, limit).unwrap();
    assert_eq!(Client::new(waiting).get("/").status, 200);
}
