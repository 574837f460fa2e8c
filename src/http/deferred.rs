// SPDX-License-Identifier: AGPL-3.0-only
//! Replies that another thread makes, so that a long computation delays no other client.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};
use hyper::Response;
use hyper::body::Bytes;

use crate::sys::malloc;
use crate::sys::threads::Heartbeat;
use crate::sys::wake_up::WakeUp;

/// The maximum number of requests that wait for the thread.
const WAITING: usize = 16;
/// The time between two heartbeats without a request.
const BEAT: Duration = Duration::from_millis(500);

/// The result of a handler.
pub enum HandlerReply {
    Ready(Response<Bytes>),
    /// The thread of a [`Deferrer`] makes it.
    Later(LaterReply),
}

impl From<Response<Bytes>> for HandlerReply {
    fn from(response: Response<Bytes>) -> Self {
        Self::Ready(response)
    }
}

/// A reply that is not known yet.
pub struct LaterReply(Arc<ReplySlot>);

impl LaterReply {
    /// Returns the response, or `None` if the thread failed to make one. A pending result wakes
    /// `waker` once it is known.
    pub(super) fn poll(&self, waker: &Waker) -> Poll<Option<Response<Bytes>>> {
        let mut state = self.0.lock();
        if state.is_done {
            return Poll::Ready(state.response.take());
        }
        state.waker = Some(waker.clone());
        Poll::Pending
    }
}

#[derive(Default)]
struct ReplySlot(Mutex<SlotState>);

#[derive(Default)]
struct SlotState {
    is_done: bool,
    response: Option<Response<Bytes>>,
    waker: Option<Waker>,
}

impl ReplySlot {
    fn lock(&self) -> MutexGuard<'_, SlotState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

type MakeReply = Box<dyn FnOnce(&Heartbeat) -> Response<Bytes> + Send>;

struct DeferredRequest {
    make: Option<MakeReply>,
    slot: Arc<ReplySlot>,
    server: Arc<WakeUp>,
}

impl DeferredRequest {
    fn answer(mut self, heartbeat: &Heartbeat) {
        // the client has left
        if Arc::strong_count(&self.slot) == 1 {
            return;
        }
        if let Some(make) = self.make.take() {
            // Unwind safety: as for handlers, everything behind `make` is shared with other threads.
            let made = catch_unwind(AssertUnwindSafe(|| make(heartbeat)));
            self.slot.lock().response = made.ok();
        }
    }
}

impl Drop for DeferredRequest {
    /// Ends the wait of the connection, with a response or without.
    fn drop(&mut self) {
        let mut state = self.slot.lock();
        state.is_done = true;
        if let Some(waker) = state.waker.take() {
            waker.wake();
        }
        drop(state);
        self.server.wake();
    }
}

/// Hands requests to the thread that runs [`DeferredRequests::run`].
#[derive(Clone)]
pub struct Deferrer {
    requests: Sender<DeferredRequest>,
    pub(super) wake_up: Arc<WakeUp>,
}

impl Deferrer {
    pub fn new() -> io::Result<(Self, DeferredRequests)> {
        let (requests, received) = bounded(WAITING);
        let wake_up = Arc::new(WakeUp::new()?);
        Ok((Self { requests, wake_up }, DeferredRequests(received)))
    }

    /// Returns the sender of another server to the same thread.
    pub fn for_another_server(&self) -> io::Result<Self> {
        Ok(Self {
            requests: self.requests.clone(),
            wake_up: Arc::new(WakeUp::new()?),
        })
    }

    /// Lets the thread make the reply. Returns `None` if too many requests wait.
    pub fn defer(
        &self,
        make: impl FnOnce(&Heartbeat) -> Response<Bytes> + Send + 'static,
    ) -> Option<HandlerReply> {
        let slot = Arc::<ReplySlot>::default();
        let request = DeferredRequest {
            make: Some(Box::new(make)),
            slot: slot.clone(),
            server: self.wake_up.clone(),
        };
        self.requests.try_send(request).ok()?;
        Some(HandlerReply::Later(LaterReply(slot)))
    }
}

/// The requests that wait for the thread.
pub struct DeferredRequests(Receiver<DeferredRequest>);

impl DeferredRequests {
    /// Makes replies until `heartbeat` requests a stop.
    pub fn run(&self, heartbeat: &Heartbeat) {
        while !heartbeat.stopping() {
            heartbeat.beat();
            match self.0.recv_timeout(BEAT) {
                Ok(request) => {
                    request.answer(heartbeat);
                    // what a long computation took is not needed until the next one
                    malloc::return_free_blocks();
                }
                Err(error) if error.is_disconnected() => std::thread::park_timeout(BEAT),
                Err(_) => {}
            }
        }
    }
}
