// SPDX-License-Identifier: AGPL-3.0-only
//! One connection: hyper's state machine and the handler.

use std::cell::Cell;
use std::convert::Infallible;
use std::error::Error;
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::{Body, Bytes, Incoming};
use hyper::header::{CONNECTION, HeaderValue};
use hyper::http::request;
use hyper::server::conn::http1;
use hyper::{Method, Request, Response, StatusCode};
use rustix::event::PollFlags;

use super::deferred::{HandlerReply, LaterReply};
use super::endless::{Endless, ReplyBody};
use super::follow::{End, Followed};
use super::gate::{Admitted, Gate};
use super::phase::Phase;
use super::socket::Socket;
use super::stream::Stream;
use super::{ClientAddress, Handler, HttpLimits, Large, Refuse, host};
use crate::sys::error_counters::{ErrorCounters, Subsystem};

/// The bytes read from a client that continues sending after the last response. If unread bytes are
/// in the socket, close(2) sends a reset, which can overtake that response.
const LINGER_BYTES: usize = 256 * 1024;

/// A client that closes later than this after a response has used it.
const EARLY_END: Duration = Duration::from_secs(1);

/// hyper panics if the buffer is smaller.
const HEADER_FLOOR: usize = 8 * 1024;

/// The state that all connections share.
pub(super) struct Shared<H> {
    pub handler: H,
    pub allow: Box<dyn Fn(IpAddr) -> bool + Send>,
    pub limits: HttpLimits,
    pub errors: Arc<ErrorCounters>,
    pub subsystem: Subsystem,
    pub refuse: Refuse,
    pub gate: Option<Arc<dyn Gate>>,
    pub large: Option<Large>,
    pub large_under_way: Cell<bool>,
    /// Bytes of response bodies that are still in memory.
    pub held: Arc<AtomicUsize>,
}

impl<H> Shared<H> {
    /// Returns whether a client is allowed; reports a rejection.
    pub fn allows(&self, address: Option<SocketAddr>) -> bool {
        let Some(ip) = address.map(|a| a.ip()) else {
            return true;
        };
        let allowed = (self.allow)(ip);
        if !allowed {
            self.report("allow", || format!("{ip}: not allowed"));
        }
        allowed
    }

    pub fn report(&self, kind: &'static str, message: impl FnOnce() -> String) {
        self.errors.count_and_log(self.subsystem, kind, message);
    }
}

/// Set by hyper when it must be polled again without waiting for the socket.
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Release);
    }
}

/// hyper's part of a connection.
type Task<H> = http1::Connection<Stream, Service<H>>;

pub(super) struct Connection<H: Handler> {
    inner: Rc<Inner<H>>,
    /// `None` when hyper is done and the connection lingers.
    task: Option<Pin<Box<Task<H>>>>,
    woken: Arc<Woken>,
    waker: Waker,
    events: PollFlags,
    lingered: usize,
}

impl<H: Handler> Connection<H> {
    pub fn new(
        fd: OwnedFd,
        address: Option<SocketAddr>,
        shared: Rc<Shared<H>>,
        now: Instant,
    ) -> io::Result<Self> {
        let socket = Rc::new(Socket::new(fd, now));
        let header_bytes = shared.limits.header_bytes;
        let stream = Stream::new(socket.clone(), shared.gate.as_deref())?;
        let inner = Rc::new(Inner {
            socket,
            address,
            shared,
            answered: Cell::new(false),
            is_user: Cell::new(false),
            followed: Followed::new(address),
        });
        let task = http1::Builder::new()
            .max_buf_size(header_bytes.max(HEADER_FLOOR))
            // A client may close its sending side and still wait for its answer.
            .half_close(true)
            .serve_connection(stream, Service(inner.clone()));
        // A new connection is polled once without an event, because its request has often already
        // arrived.
        let woken = Arc::new(Woken(AtomicBool::new(true)));
        Ok(Self {
            inner,
            task: Some(Box::pin(task)),
            waker: woken.clone().into(),
            woken,
            events: PollFlags::empty(),
            lingered: 0,
        })
    }

    pub fn socket(&self) -> &Socket {
        &self.inner.socket
    }

    pub fn peer(&self) -> ClientAddress<'_> {
        self.inner.peer()
    }

    pub fn is_woken(&self) -> bool {
        self.woken.0.load(Ordering::Acquire)
    }

    /// Returns the rank; the connection with the lowest rank is closed first.
    pub fn rank(&self) -> (u8, Instant) {
        self.socket().phase().rank(self.inner.is_user.get())
    }

    pub fn is_responding(&self) -> bool {
        let phase = self.socket().phase();
        matches!(phase, Phase::Waiting { .. } | Phase::Responding { .. })
    }

    pub fn deadline(&self) -> Instant {
        let limits = &self.inner.shared.limits;
        match self.socket().phase() {
            Phase::Idle { since } if self.inner.followed.is_active() => {
                since + limits.followed_idle
            }
            phase => phase.deadline(limits),
        }
    }

    /// Stores the events of poll(2) for the next turn.
    pub fn note(&mut self, events: PollFlags) {
        self.events |= events;
    }

    /// Closes the connection after the current response.
    pub fn finish(&mut self) {
        if let Some(task) = &mut self.task {
            task.as_mut().graceful_shutdown();
            self.woken.0.store(true, Ordering::Release);
        }
    }

    /// Makes progress as far as possible without blocking. Returns false if the connection has
    /// ended.
    pub fn turn(&mut self) -> bool {
        let events = std::mem::replace(&mut self.events, PollFlags::empty());
        let fired = self.socket().fired(events);
        let woken = self.woken.0.swap(false, Ordering::AcqRel);
        let broken = events.intersects(PollFlags::ERR | PollFlags::HUP | PollFlags::NVAL);
        // a stream may have more, which wakes only the server
        let ready = self.socket().phase().is_streaming();
        if !(fired || woken || broken || ready) {
            return true;
        }
        let open = match self.task {
            Some(_) => self.poll_task(),
            None => self.linger(),
        };
        // poll(2) reports a broken connection repeatedly: a connection that waits for nothing would
        // keep the loop spinning.
        open && !(broken && self.socket().waits_for().is_empty() && !self.is_woken())
    }

    fn poll_task(&mut self) -> bool {
        let Some(task) = &mut self.task else {
            return false;
        };
        self.inner.answered.set(false);
        let result = task.as_mut().poll(&mut Context::from_waker(&self.waker));
        let socket = &self.inner.socket;
        match result {
            Poll::Pending => {
                if !self.is_woken() && !socket.waits_for().contains(PollFlags::OUT) {
                    self.inner.followed.written();
                    socket.set_phase(socket.phase().flushed(Instant::now()));
                }
                true
            }
            Poll::Ready(result) => {
                let end = match &result {
                    Ok(()) => self.inner.end(),
                    Err(_) => End::Failed,
                };
                if result.is_ok() {
                    self.inner.followed.written();
                }
                self.inner.followed.close(end);
                if let Some(fault) = socket.take_fault() {
                    let peer = self.peer();
                    let report = || format!("{peer}: {fault}");
                    self.inner.shared.report("tls", report);
                } else if let Err(e) = result {
                    let kind = if e.is_parse() {
                        "request"
                    } else {
                        "connection"
                    };
                    self.inner.shared.report(kind, || match e.source() {
                        Some(cause) => format!("{}: {e}: {cause}", self.peer()),
                        None => format!("{}: {e}", self.peer()),
                    });
                }
                self.task = None;
                socket.set_phase(Phase::Lingering {
                    since: Instant::now(),
                });
                !socket.ended() && socket.shut_down().is_ok() && self.linger()
            }
        }
    }

    /// Reads and discards data until the client closes.
    fn linger(&mut self) -> bool {
        let mut rest = [0; 8 * 1024];
        loop {
            match self.inner.socket.receive(&mut rest) {
                Poll::Pending => return true,
                Poll::Ready(Ok(0) | Err(_)) => return false,
                Poll::Ready(Ok(n)) => {
                    self.lingered += n;
                    if self.lingered > LINGER_BYTES {
                        return false;
                    }
                }
            }
        }
    }
}

struct Inner<H> {
    socket: Rc<Socket>,
    address: Option<SocketAddr>,
    shared: Rc<Shared<H>>,
    /// True if the handler has run in this turn.
    answered: Cell<bool>,
    /// True after a request with the name and the password of a user.
    is_user: Cell<bool>,
    followed: Followed,
}

impl<H> Inner<H> {
    /// Returns how the connection ended, if not by an error of a call.
    fn end(&self) -> End {
        match self.socket.phase() {
            // the request announced it
            _ if self.followed.is_unwritten() => End::Complete,
            // the reset for bytes that the client did not read followed the end of its side
            _ if self.socket.condition().contains(PollFlags::ERR) => End::Failed,
            Phase::Idle { since } if since.elapsed() >= EARLY_END => End::Complete,
            _ => End::Early,
        }
    }

    fn peer(&self) -> ClientAddress<'_> {
        match self.address {
            Some(address) => ClientAddress::Tcp(address),
            None => ClientAddress::Unix(self.socket.as_fd()),
        }
    }
}

impl<H: Handler> Inner<H> {
    async fn answer(self: Rc<Self>, request: Request<Incoming>) -> Response<ReplyBody> {
        let (mut parts, body) = request.into_parts();
        parts.extensions.insert(self.followed.connection);
        let is_head = parts.method == Method::HEAD;
        let request = self.accept(parts, body).await;
        // Answers one request per turn, so that a client that pipelines does not delay the others.
        if self.answered.get() {
            yield_now().await;
        }
        self.answered.set(true);
        let mut response = match request {
            Ok(request) => match self.call(request) {
                HandlerReply::Ready(response) => response,
                HandlerReply::Later(reply) => self.later(reply).await,
            },
            Err(response) => response,
        };
        if let Some(gate) = &self.shared.gate {
            gate.decorate(&mut response);
        }
        let is_closed = || self.socket.condition().contains(PollFlags::RDHUP);
        self.followed.follow(&mut response, is_closed);
        match response.extensions_mut().remove::<Endless>() {
            Some(source) if !is_head => {
                self.socket.set_phase(Phase::Streaming { blocked: None });
                response.map(|_| ReplyBody::Endless(source))
            }
            _ => {
                self.socket.set_phase(Phase::responding(Instant::now()));
                response.map(|body| ReplyBody::Full(Full::new(hold(body, &self.shared.held))))
            }
        }
    }

    /// Returns the complete request, or the response that refuses it.
    async fn accept(
        &self,
        parts: request::Parts,
        body: Incoming,
    ) -> Result<Request<Bytes>, Response<Bytes>> {
        self.check(&parts).map_err(|status| self.refuse(status))?;
        self.admit(&parts).await?;
        match self.read_body(&parts, body).await {
            Ok(body) => Ok(Request::from_parts(parts, body)),
            Err(status) => Err(self.refuse(status)),
        }
    }

    /// Returns the response to a request that is refused; the connection ends with it.
    fn refuse(&self, status: StatusCode) -> Response<Bytes> {
        let mut response = (self.shared.refuse)(status);
        let close = HeaderValue::from_static("close");
        response.headers_mut().insert(CONNECTION, close);
        response
    }

    /// Waits until the gate has decided.
    async fn admit(&self, parts: &request::Parts) -> Result<(), Response<Bytes>> {
        let Some(gate) = &self.shared.gate else {
            return Ok(());
        };
        let client = self.address.map(|address| address.ip());
        let admit = |cx: &mut Context<'_>| gate.admit(parts, client, cx.waker());
        let admission = std::future::poll_fn(admit).await?;
        self.is_user.set(admission == Admitted::User);
        Ok(())
    }

    /// Checks whether the head of a request allows an answer. The list of allowed clients can
    /// change while a connection is open.
    fn check(&self, parts: &request::Parts) -> Result<(), StatusCode> {
        if !self.shared.allows(self.address) {
            return Err(StatusCode::FORBIDDEN);
        }
        host::check(parts).map_err(|reason| {
            self.shared
                .report("host", || format!("{}: {reason}", self.peer()));
            StatusCode::BAD_REQUEST
        })
    }

    async fn read_body(&self, parts: &request::Parts, body: Incoming) -> Result<Bytes, StatusCode> {
        let body = self.read_bounded(parts, body).await;
        body.inspect_err(|status| {
            self.shared.report("body", || {
                format!("{}: body refused: {status}", self.peer())
            });
        })
    }

    async fn read_bounded(
        &self,
        parts: &request::Parts,
        body: Incoming,
    ) -> Result<Bytes, StatusCode> {
        let limit = self.shared.limits.body_bytes;
        if body.size_hint().lower() <= limit as u64 {
            return read_body(body, limit).await;
        }
        let large = self.shared.large.as_ref();
        let Some(limit) = large.and_then(|large| large(parts, self.peer())) else {
            return Err(StatusCode::PAYLOAD_TOO_LARGE);
        };
        // released also if the connection ends during the body
        let Some(_turn) = Turn::take(&self.shared.large_under_way) else {
            return Err(StatusCode::SERVICE_UNAVAILABLE);
        };
        read_body(body, limit).await
    }

    /// Waits until another thread has made the response.
    async fn later(&self, reply: LaterReply) -> Response<Bytes> {
        let since = Instant::now();
        self.socket.set_phase(Phase::Waiting { since });
        let response = std::future::poll_fn(|cx| reply.poll(cx.waker())).await;
        self.answered.set(true);
        response.unwrap_or_else(|| self.failed())
    }

    fn call(&self, request: Request<Bytes>) -> HandlerReply {
        let handler = || (self.shared.handler)(request, self.peer());
        // Unwind safety: the closure touches only the handler, and everything behind it is shared
        // with other threads and therefore made to survive the end of one of them.
        catch_unwind(AssertUnwindSafe(handler)).unwrap_or_else(|_| self.failed().into())
    }

    fn failed(&self) -> Response<Bytes> {
        self.shared
            .report("panic", || "a request made the handler panic".into());
        (self.shared.refuse)(StatusCode::INTERNAL_SERVER_ERROR)
    }
}

/// Held by the connection whose large body is being read.
struct Turn<'a>(&'a Cell<bool>);

impl<'a> Turn<'a> {
    fn take(taken: &'a Cell<bool>) -> Option<Self> {
        (!taken.replace(true)).then_some(Self(taken))
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.0.set(false);
    }
}

struct Service<H>(Rc<Inner<H>>);

impl<H: Handler> hyper::service::Service<Request<Incoming>> for Service<H> {
    type Response = Response<ReplyBody>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>>>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let inner = self.0.clone();
        let socket = &inner.socket;
        // The client sent this request so soon that hyper reads it in the turn of the previous
        // response. hyper has flushed that response, or waits for the socket.
        if inner.answered.get() && !socket.waits_for().contains(PollFlags::OUT) {
            inner.followed.written();
        }
        socket.set_phase(socket.phase().requested(Instant::now()));
        Box::pin(async move { Ok(inner.answer(request).await) })
    }
}

async fn read_body(body: Incoming, limit: usize) -> Result<Bytes, StatusCode> {
    // Rejected before hyper sends 100 Continue to a client that waits for it.
    if body.size_hint().lower() > limit as u64 {
        return Err(StatusCode::PAYLOAD_TOO_LARGE);
    }
    match Limited::new(body, limit).collect().await {
        Ok(body) => Ok(body.to_bytes()),
        Err(e) if e.is::<LengthLimitError>() => Err(StatusCode::PAYLOAD_TOO_LARGE),
        Err(_) => Err(StatusCode::BAD_REQUEST),
    }
}

async fn yield_now() {
    let mut yielded = false;
    std::future::poll_fn(|cx| {
        if std::mem::replace(&mut yielded, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// A body that is counted while it is in memory.
struct Held {
    body: Bytes,
    total: Arc<AtomicUsize>,
}

fn hold(body: Bytes, total: &Arc<AtomicUsize>) -> Bytes {
    total.fetch_add(body.len(), Ordering::Relaxed);
    Bytes::from_owner(Held {
        body,
        total: total.clone(),
    })
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.body
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.total.fetch_sub(self.body.len(), Ordering::Relaxed);
    }
}
