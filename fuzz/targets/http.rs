// SPDX-License-Identifier: AGPL-3.0-only
//! Bytes of an HTTP client: every answer is one, and the server answers the next client.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use hyper::body::Bytes;
use hyper::{Request, Response};
use rfm::http::{ClientAddress, Server};
use rfm::sys::error_counters::ErrorCounters;
use rfm::sys::threads::Threads;

/// A server of this process, which runs until it ends.
struct Running {
    address: SocketAddr,
    _threads: Threads,
}

static SERVER: OnceLock<Running> = OnceLock::new();

fn start() -> Running {
    let server = Server::bind("127.0.0.1", 0, Arc::new(ErrorCounters::default())).expect("a port");
    let address = server.addresses()[0];
    let threads = Threads::new();
    let spawned = threads.spawn("http", move |heartbeat| server.run(&heartbeat, echo));
    spawned.expect("a thread");
    Running {
        address,
        _threads: threads,
    }
}

fn echo(request: Request<Bytes>, _: ClientAddress<'_>) -> Response<Bytes> {
    let body = format!("{} {}", request.uri(), request.body().len());
    Response::new(body.into())
}

/// Sends all of `bytes` and returns all that came back.
fn exchange(address: SocketAddr, bytes: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(address).expect("the server accepts");
    let timeout = Some(Duration::from_secs(20));
    stream.set_read_timeout(timeout).expect("a timeout");
    // the server may have closed it already
    let _ = stream.write_all(bytes);
    let _ = stream.shutdown(Shutdown::Write);
    let mut answer = Vec::new();
    if let Err(error) = stream.read_to_end(&mut answer) {
        assert_ne!(error.kind(), std::io::ErrorKind::WouldBlock, "no end");
    }
    answer
}

pub fn run(input: &[u8]) {
    let address = SERVER.get_or_init(start).address;
    let answer = exchange(address, input);
    assert!(
        answer.is_empty() || answer.starts_with(b"HTTP/1."),
        "not an answer"
    );
    let good = exchange(address, b"GET /ok HTTP/1.1\r\nHost: x\r\n\r\n");
    assert!(good.starts_with(b"HTTP/1.1 200 "), "the next client");
}
