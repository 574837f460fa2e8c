// SPDX-License-Identifier: AGPL-3.0-only
//! A small HTTP/1.1 server for one thread and few clients: Prometheus, a browser, a command.
//!
//! hyper speaks the protocol. What it usually gets from an async runtime is here, reduced to what
//! one thread needs:
//!
//! - `listen`: a host name to listening sockets,
//! - `phase`: what a connection is doing and how long it may (pure),
//! - `socket`: a non-blocking socket as hyper wants to see it,
//! - `host`: whether the Host field of a request is valid (pure),
//! - `connection`: hyper's state machine with the handler at its end,
//! - `executor`: the loop around poll(2) that drives them all,
//! - [`respond`], [`encoding`]: small responses, and gzip for whoever asks.
//!
//! hyper has a timer interface, but its one time limit counts the idle time between two requests
//! as part of the second one's header and does not cover bodies and writes. All limits are
//! therefore kept in `phase`, and hyper is given no timer.

mod connection;
pub mod encoding;
mod executor;
mod host;
mod phase;
pub mod respond;
mod socket;

use std::net::{IpAddr, SocketAddr};
use std::os::fd::BorrowedFd;
use std::os::unix::net::UnixListener;
use std::sync::Arc;
use std::time::Duration;
use std::{fmt, io};

use hyper::body::Bytes;
use hyper::http::request;
use hyper::{Request, Response, StatusCode};

use crate::sys::descriptors::Reserve;
use crate::sys::error_counters::{ErrorCounters, Subsystem};
use crate::sys::listen;
use crate::sys::threads::Heartbeat;

pub use crate::sys::listen::BindError;

/// What clients may take.
#[derive(Clone, Copy, Debug)]
pub struct HttpLimits {
    /// Connections at once; one more takes the place of the one idle longest.
    pub connections: usize,
    /// Request line and header fields, in bytes. hyper's floor is 8 kB.
    pub header_bytes: usize,
    /// Body of a request, in bytes.
    pub body_bytes: usize,
    /// From the first byte of a request (of the first: from the accept) to its last.
    pub request: Duration,
    /// Between two requests.
    pub idle: Duration,
    /// Without any byte of a response being taken.
    pub stalled_write: Duration,
    /// For a whole response: a client that sips would never stall and hold its body for hours.
    pub response: Duration,
    /// Response bodies not yet taken, of all connections together, in bytes.
    pub response_memory: usize,
    /// After the last response, for the client to close first.
    pub linger: Duration,
}

impl Default for HttpLimits {
    fn default() -> Self {
        Self {
            connections: 64,
            header_bytes: 16 * 1024,
            body_bytes: 64 * 1024,
            request: Duration::from_secs(10),
            idle: Duration::from_secs(60),
            stalled_write: Duration::from_secs(10),
            response: Duration::from_secs(60),
            response_memory: 64 * 1024 * 1024,
            linger: Duration::from_secs(1),
        }
    }
}

/// Who asks.
#[derive(Clone, Copy, Debug)]
pub enum ClientAddress<'a> {
    /// IPv4 clients of an IPv6 listener appear with their IPv4 address.
    Tcp(SocketAddr),
    /// The connection itself, to ask the kernel who is at its other end.
    Unix(BorrowedFd<'a>),
}

impl fmt::Display for ClientAddress<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(_) => f.write_str("local client"),
        }
    }
}

/// Turns a request into its response.
trait Handler: Fn(Request<Bytes>, ClientAddress<'_>) -> Response<Bytes> + 'static {}

impl<F: Fn(Request<Bytes>, ClientAddress<'_>) -> Response<Bytes> + 'static> Handler for F {}

/// Sockets that listen; [`Server::run`] makes a thread of them.
pub struct Server {
    listeners: Vec<listen::Listener>,
    allow: Box<dyn Fn(IpAddr) -> bool + Send>,
    limits: HttpLimits,
    errors: Arc<ErrorCounters>,
    subsystem: Subsystem,
    refuse: Refuse,
    large: Option<Large>,
    reserve: Reserve,
}

/// How large a body may be beyond [`HttpLimits::body_bytes`], by the head of its request and who asks.
type Large = Box<dyn Fn(&request::Parts, ClientAddress<'_>) -> Option<usize> + Send>;

/// Writes what the server itself refuses.
type Refuse = fn(StatusCode) -> Response<Bytes>;

impl Server {
    /// Listens on every address that `host` (an address or a name) stands for.
    pub fn bind(host: &str, port: u16, errors: Arc<ErrorCounters>) -> Result<Self, BindError> {
        Ok(Self::new(
            listen::bind(host, port)?,
            errors,
            Subsystem::Http,
        ))
    }

    /// Serves a Unix socket that the caller has bound.
    pub fn unix(listener: UnixListener, errors: Arc<ErrorCounters>) -> io::Result<Self> {
        let listener = listen::Listener::unix(listener)?;
        Ok(Self::new(vec![listener], errors, Subsystem::Control))
    }

    fn new(
        listeners: Vec<listen::Listener>,
        errors: Arc<ErrorCounters>,
        subsystem: Subsystem,
    ) -> Self {
        Self {
            listeners,
            allow: Box::new(|_| true),
            limits: HttpLimits::default(),
            errors,
            subsystem,
            refuse: respond::status,
            large: None,
            reserve: Reserve::default(),
        }
    }

    /// TCP clients for which `allow` is false are dropped before a byte is read.
    pub fn allow(mut self, allow: impl Fn(IpAddr) -> bool + Send + 'static) -> Self {
        self.allow = Box::new(allow);
        self
    }

    pub fn limits(mut self, limits: HttpLimits) -> Self {
        self.limits = limits;
        self
    }

    /// Requests for which `large` names a limit may have a body as long as that, one at a time.
    pub fn large(
        mut self,
        large: impl Fn(&request::Parts, ClientAddress<'_>) -> Option<usize> + Send + 'static,
    ) -> Self {
        self.large = Some(Box::new(large));
        self
    }

    /// Keeps so many file descriptors for a time when there are no others.
    pub fn reserve(mut self, descriptors: usize) -> Self {
        self.reserve = Reserve::new(descriptors);
        self
    }

    /// How a request is refused that never reaches the handler.
    pub fn refuse(mut self, refuse: fn(StatusCode) -> Response<Bytes>) -> Self {
        self.refuse = refuse;
        self
    }

    /// Where it listens; tells the port when 0 was asked for.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.listeners.iter().filter_map(|l| l.address()).collect()
    }

    /// Serves until `heartbeat` says stop. `handler` runs on this thread: while it works, all other
    /// clients wait.
    ///
    /// A handler that panics costs its client a 500 and counts as an error. It does not end the
    /// thread: whoever may scrape could otherwise restart the agent at will, and take the counters
    /// with it, by asking again for the one page that fails.
    pub fn run<H>(self, heartbeat: &Heartbeat, handler: H)
    where
        H: Fn(Request<Bytes>, ClientAddress<'_>) -> Response<Bytes> + 'static,
    {
        executor::Executor::new(self, handler).run(heartbeat);
    }
}
