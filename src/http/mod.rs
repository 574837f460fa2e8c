// SPDX-License-Identifier: AGPL-3.0-only
//! A small HTTP/1.1 server for one thread and few clients: Prometheus, a browser, a command.
//!
//! hyper implements the protocol. An async runtime usually provides the rest; these modules replace
//! it, reduced to the needs of one thread:
//!
//! - `sys::listen`: a host name to listening sockets,
//! - `phase`: the state of a connection and its timeout (pure),
//! - `socket`: a non-blocking socket with hyper's interface,
//! - `stream`, `tls`: the transport of a connection, with or without TLS,
//! - [`gate`]: decides which requests are answered,
//! - `host`: validates the Host field of a request (pure),
//! - `connection`: hyper's state machine and the handler,
//! - [`deferred`]: replies that another thread makes,
//! - `executor`: the loop around poll(2) that drives all connections,
//! - [`endless`]: responses without an end,
//! - [`follow`]: reports to a handler which responses were written, and the end of the connection,
//! - [`accept`]: the format that a client prefers (pure),
//! - [`respond`], [`encoding`]: small responses, and gzip for clients that accept it,
//! - [`percent`]: percent-encoding of query strings.
//!
//! hyper has a timer interface, but its one time limit counts the idle time between two requests as
//! part of the second one's header and does not cover bodies and writes. Therefore `phase` contains
//! all limits, and hyper gets no timer.

pub mod accept;
mod connection;
pub mod deferred;
pub mod encoding;
pub mod endless;
mod executor;
pub mod follow;
pub mod gate;
mod host;
pub mod percent;
mod phase;
pub mod respond;
mod socket;
mod stream;
#[cfg(feature = "tls")]
mod tls;

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
use crate::sys::wake_up::WakeUp;

pub use crate::sys::listen::BindError;
use deferred::{Deferrer, HandlerReply};
use gate::Gate;

/// The limits for clients.
#[derive(Clone, Copy, Debug)]
pub struct HttpLimits {
    /// The maximum number of connections; a further one replaces the one idle longest.
    pub connections: usize,
    /// The maximum size of request line and header fields, in bytes. hyper's minimum is 8 kB.
    pub header_bytes: usize,
    /// The maximum size of a request body, in bytes.
    pub body_bytes: usize,
    /// The timeout of a request, from its first byte (for the first request: from the accept) to
    /// its last.
    pub request: Duration,
    /// The timeout between two requests.
    pub idle: Duration,
    /// The timeout between two requests of a connection with a [`follow::ResponseObserver`].
    pub followed_idle: Duration,
    /// The timeout of a response while the client receives no byte.
    pub stalled_write: Duration,
    /// The timeout of a whole response: a very slow client would never stall and keep its body in
    /// memory for hours.
    pub response: Duration,
    /// The maximum size of response bodies not yet sent, of all connections together, in bytes.
    pub response_memory: usize,
    /// The time after the last response for the client to close first.
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
            followed_idle: Duration::from_secs(360),
            stalled_write: Duration::from_secs(10),
            response: Duration::from_secs(60),
            response_memory: 64 * 1024 * 1024,
            linger: Duration::from_secs(1),
        }
    }
}

/// The client of a request.
#[derive(Clone, Copy, Debug)]
pub enum ClientAddress<'a> {
    /// IPv4 clients of an IPv6 listener appear with their IPv4 address.
    Tcp(SocketAddr),
    /// The connection itself, so that the caller can query the kernel for the peer's credentials.
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
trait Handler: Fn(Request<Bytes>, ClientAddress<'_>) -> HandlerReply + 'static {}

impl<F: Fn(Request<Bytes>, ClientAddress<'_>) -> HandlerReply + 'static> Handler for F {}

/// Listening sockets; [`Server::run`] serves them on the current thread.
pub struct Server {
    listeners: Vec<listen::Listener>,
    allow: Box<dyn Fn(IpAddr) -> bool + Send>,
    limits: HttpLimits,
    errors: Arc<ErrorCounters>,
    subsystem: Subsystem,
    refuse: Refuse,
    gate: Option<Arc<dyn Gate>>,
    wake_ups: Vec<Arc<WakeUp>>,
    large: Option<Large>,
    reserve: Reserve,
}

/// Returns the size limit of a body beyond [`HttpLimits::body_bytes`], from the head of its request
/// and its client.
type Large = Box<dyn Fn(&request::Parts, ClientAddress<'_>) -> Option<usize> + Send>;

/// Returns the response to a request that the server itself rejects.
type Refuse = fn(StatusCode) -> Response<Bytes>;

impl Server {
    /// Listens on every address of `host` (an address or a name).
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
            gate: None,
            wake_ups: Vec::new(),
            large: None,
            reserve: Reserve::default(),
        }
    }

    /// Sets the filter of TCP clients: those for which `allow` is false are dropped before a byte
    /// is read.
    pub fn allow(mut self, allow: impl Fn(IpAddr) -> bool + Send + 'static) -> Self {
        self.allow = Box::new(allow);
        self
    }

    pub fn limits(mut self, limits: HttpLimits) -> Self {
        self.limits = limits;
        self
    }

    /// Sets larger body limits: requests for which `large` returns a limit may have a body of that
    /// size, one at a time.
    pub fn large(
        mut self,
        large: impl Fn(&request::Parts, ClientAddress<'_>) -> Option<usize> + Send + 'static,
    ) -> Self {
        self.large = Some(Box::new(large));
        self
    }

    /// Reserves this number of file descriptors for times when there are no others.
    pub fn reserve(mut self, descriptors: usize) -> Self {
        self.reserve = Reserve::new(descriptors);
        self
    }

    /// Sets the response to requests that are rejected before they reach the handler.
    pub fn refuse(mut self, refuse: fn(StatusCode) -> Response<Bytes>) -> Self {
        self.refuse = refuse;
        self
    }

    /// Sets the access control: TLS, users, and header fields of the responses.
    pub fn gate(mut self, gate: Arc<dyn Gate>) -> Self {
        self.gate = Some(gate);
        self
    }

    /// Accepts the later replies of `deferrer`.
    pub fn deferrer(mut self, deferrer: &Deferrer) -> Self {
        self.wake_ups.push(deferrer.wake_up.clone());
        self
    }

    /// Lets another thread wake the server, so that streams are written at once.
    pub fn wake_up(mut self, wake_up: Arc<WakeUp>) -> Self {
        self.wake_ups.push(wake_up);
        self
    }

    /// Returns the listening addresses, with the actual port if port 0 was requested.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.listeners.iter().filter_map(|l| l.address()).collect()
    }

    /// Serves until `heartbeat` requests a stop. `handler` runs on this thread: while it works, all
    /// other clients wait, unless a [`Deferrer`] makes the reply.
    ///
    /// If a handler panics, its client gets a 500, and the panic counts as an error. It does not
    /// end the thread: otherwise any scraper could restart the agent at will, and reset its
    /// counters, by repeatedly requesting the one page that fails.
    pub fn run<H, R>(self, heartbeat: &Heartbeat, handler: H)
    where
        H: Fn(Request<Bytes>, ClientAddress<'_>) -> R + 'static,
        R: Into<HandlerReply> + 'static,
    {
        let handler =
            move |request: Request<Bytes>, peer: ClientAddress<'_>| handler(request, peer).into();
        executor::Executor::new(self, handler).run(heartbeat);
    }
}
