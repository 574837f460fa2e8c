// SPDX-License-Identifier: AGPL-3.0-only
//! The HTTP server when the process has no file descriptor left. A program of its own: the limit
//! holds for all tests of a program.

mod common;

use std::net::TcpStream;
use std::time::{Duration, Instant};

use common::http::{Client, eventually, start};
use rfm::export::http::{Limits, respond};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

#[test]
fn out_of_descriptors_it_waits_and_goes_on() {
    let server = start(Limits::default(), |_, _| {
        respond::status(hyper::StatusCode::OK)
    });
    let mut before = server.client();
    assert_eq!(before.get("/").status, 200);

    // The last descriptors go to a client, so that the server cannot accept it.
    let limit = getrlimit(Resource::Nofile);
    let low = Rlimit {
        current: Some(40),
        maximum: limit.maximum,
    };
    setrlimit(Resource::Nofile, low).unwrap();
    let mut files = Vec::new();
    while let Ok(file) = std::fs::File::open("/dev/null") {
        files.push(file);
    }
    files.pop();
    let waiting = TcpStream::connect(server.address).unwrap();
    let begin = Instant::now();
    eventually(Duration::from_secs(5), || server.errors() >= 3);
    let errors = server.errors();
    assert_eq!(before.get("/").status, 200, "those who are in are served");
    // Two a second would be idle, thousands would be a spinning loop.
    let most = 2 + begin.elapsed().as_millis() as u64 / 150;
    assert!(errors <= most, "{errors} errors in {:?}", begin.elapsed());

    drop(files);
    setrlimit(Resource::Nofile, limit).unwrap();
    assert_eq!(Client::new(waiting).get("/").status, 200);
}
