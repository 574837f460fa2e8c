// SPDX-License-Identifier: AGPL-3.0-only
//! A running HTTP server, and a client that does nothing it is not told to.
#![allow(dead_code, reason = "each test program uses a part of it")]

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use hyper::body::Bytes;
use hyper::{Request, Response, StatusCode};
use rfm::http::deferred::HandlerReply;
use rfm::http::{ClientAddress, HttpLimits, Server, respond};
use rfm::page::routes::Routes;
use rfm::sys::error_counters::{ErrorCounters, Subsystem};
use rfm::sys::threads::Threads;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Time in which whatever is due must have happened, on a machine that does other things, too.
pub const SOON: Duration = Duration::from_secs(5);

pub fn text(body: impl Into<Bytes>) -> Response<Bytes> {
    respond::content(StatusCode::OK, respond::TEXT, body)
}

/// Answers "/<n>" with n bytes, and panics when n is no number.
pub fn sized(request: Request<Bytes>, _: ClientAddress<'_>) -> Response<Bytes> {
    let n = request.uri().path()[1..].parse().unwrap();
    text(vec![b'x'; n])
}

/// The exporter, with `metrics` at /metrics and in good health.
pub fn exporter(metrics: &'static str) -> Running {
    let routes = Routes::new(
        move |request, out| {
            out.extend_from_slice(metrics.as_bytes());
            Ok((request.format)(true))
        },
        || Ok(()),
        || Ok(Vec::new()),
    );
    start(HttpLimits::default(), move |request, _| {
        routes.answer(&request)
    })
}

/// A server on a thread of its own, which ends with it.
pub struct Running {
    pub address: SocketAddr,
    pub errors: Arc<ErrorCounters>,
    threads: Threads,
}

impl Running {
    pub fn new<H, R>(server: Server, errors: Arc<ErrorCounters>, handler: H) -> Self
    where
        H: Fn(Request<Bytes>, ClientAddress<'_>) -> R + Send + 'static,
        R: Into<HandlerReply> + 'static,
    {
        let address = server.addresses()[0];
        let threads = Threads::new();
        threads
            .spawn("http", move |heartbeat| server.run(&heartbeat, handler))
            .unwrap();
        Self {
            address,
            errors,
            threads,
        }
    }

    pub fn client(&self) -> Client {
        Client::new(TcpStream::connect(self.address).unwrap())
    }

    pub fn errors(&self) -> u64 {
        self.errors.get(Subsystem::Http)
    }

    pub fn stop(&self) {
        self.threads.stop("http");
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop();
    }
}

pub fn start<H, R>(limits: HttpLimits, handler: H) -> Running
where
    H: Fn(Request<Bytes>, ClientAddress<'_>) -> R + Send + 'static,
    R: Into<HandlerReply> + 'static,
{
    let errors = Arc::new(ErrorCounters::default());
    let server = Server::bind("127.0.0.1", 0, errors.clone())
        .unwrap()
        .limits(limits);
    Running::new(server, errors, handler)
}

pub struct Client {
    pub stream: TcpStream,
    reader: BufReader<TcpStream>,
}

pub struct Reply {
    pub status: u16,
    /// Status line and fields, names in lower case.
    pub head: String,
    pub body: Vec<u8>,
}

impl Reply {
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut fields = self.head.lines().filter_map(|line| line.split_once(": "));
        fields.find(|(n, _)| *n == name).map(|(_, value)| value)
    }
}

impl Client {
    pub fn new(stream: TcpStream) -> Self {
        // No test waits for ever.
        stream
            .set_read_timeout(Some(Duration::from_secs(20)))
            .unwrap();
        let reader = BufReader::new(stream.try_clone().unwrap());
        Self { stream, reader }
    }

    /// Sends what the server takes: it may close in the midst of it.
    pub fn send(&mut self, text: &str) {
        if let Err(e) = self.stream.write_all(text.as_bytes()) {
            assert!(
                matches!(e.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset),
                "{e}"
            );
        }
    }

    pub fn get(&mut self, path: &str) -> Reply {
        self.get_with(path, "")
    }

    pub fn get_with(&mut self, path: &str, fields: &str) -> Reply {
        self.send(&format!("GET {path} HTTP/1.1\r\nHost: x\r\n{fields}\r\n"));
        self.reply()
    }

    /// Whether an answer begins; false if the server closes without one.
    pub fn is_answered(&mut self) -> bool {
        match self.reader.fill_buf() {
            Ok(bytes) => !bytes.is_empty(),
            Err(e) => {
                assert_eq!(e.kind(), ErrorKind::ConnectionReset, "{e}");
                false
            }
        }
    }

    pub fn head_reply(&mut self) -> Reply {
        let mut head = String::new();
        let mut line = String::new();
        loop {
            line.clear();
            assert_ne!(
                self.reader.read_line(&mut line).unwrap(),
                0,
                "closed: {head}"
            );
            if line == "\r\n" {
                break;
            }
            match line.split_once(": ") {
                Some((name, value)) => head += &format!("{}: {value}", name.to_lowercase()),
                None => head += &line,
            }
        }
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Reply {
            status,
            head,
            body: Vec::new(),
        }
    }

    pub fn reply(&mut self) -> Reply {
        let mut reply = self.head_reply();
        let length: usize = reply.header("content-length").unwrap().parse().unwrap();
        reply.body.resize(length, 0);
        self.reader.read_exact(&mut reply.body).unwrap();
        reply
    }
}

/// Whether the server closes within `time`; what it sends until then is thrown away.
pub fn is_closed(mut stream: &TcpStream, time: Duration) -> bool {
    let end = Instant::now() + time;
    let mut rest = [0; 4096];
    loop {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return false;
        }
        stream.set_read_timeout(Some(left)).unwrap();
        match stream.read(&mut rest) {
            Ok(0) => return true,
            Ok(_) => {}
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                stream
                    .set_read_timeout(Some(Duration::from_secs(20)))
                    .unwrap();
                return false;
            }
            Err(_) => return true,
        }
    }
}

/// Waits until `condition` holds; fails when it does not within `time`.
pub fn eventually(time: Duration, condition: impl Fn() -> bool) {
    let end = Instant::now() + time;
    while !condition() {
        assert!(Instant::now() < end, "did not happen within {time:?}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Lets this process open `n` descriptors.
pub fn raise_descriptor_limit(n: u64) {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current.is_some_and(|current| current < n) {
        let wanted = Rlimit {
            current: Some(n),
            maximum,
        };
        setrlimit(Resource::Nofile, wanted).unwrap();
    }
}
