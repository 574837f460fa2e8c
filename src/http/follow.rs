// SPDX-License-Identifier: AGPL-3.0-only
//! Reports to a handler whether its responses were written, and the end of their connection.

use std::cell::{Cell, RefCell};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use hyper::Response;
use hyper::body::Bytes;

static NEXT_ID: AtomicU64 = AtomicU64::new(0);

/// The connection of a request, in the extensions of that request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectionInfo {
    /// No other connection of this process has it.
    pub id: u64,
    /// `None` for Unix sockets.
    pub address: Option<IpAddr>,
}

/// Follows the responses of connections.
pub trait ResponseObserver: Send + Sync {
    /// Called when everything has been written to the socket, unless the client has closed it before.
    fn written(&self, connection: u64);
    /// Called once, when the connection has ended.
    fn closed(&self, connection: u64, end: End);
}

/// How a connection ended: it shows whether the client has used the last response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// After the client had time to use it, or announced the end in its request.
    Complete,
    /// At once: a client that stops, or that opens a connection for each request.
    Early,
    /// By an error, for example because the client left bytes unread.
    Failed,
}

/// An extension of a response: from this response on, the follower follows the connection.
#[derive(Clone)]
pub struct Follow(pub Arc<dyn ResponseObserver>);

/// The follower of one connection, if there is one.
pub(super) struct Followed {
    pub connection: ConnectionInfo,
    follower: RefCell<Option<Arc<dyn ResponseObserver>>>,
    /// True while a followed response is not completely written.
    unwritten: Cell<bool>,
}

impl Followed {
    pub fn new(address: Option<SocketAddr>) -> Self {
        Self {
            connection: ConnectionInfo {
                id: NEXT_ID.fetch_add(1, Ordering::Relaxed),
                address: address.map(|address| address.ip()),
            },
            follower: RefCell::new(None),
            unwritten: Cell::new(false),
        }
    }

    pub fn is_active(&self) -> bool {
        self.follower.borrow().is_some()
    }

    /// `is_closed` returns whether the client has closed the connection before its response: it
    /// will not read it.
    pub fn follow(&self, response: &mut Response<Bytes>, is_closed: impl FnOnce() -> bool) {
        if let Some(Follow(follower)) = response.extensions_mut().remove() {
            self.follower.replace(Some(follower));
            self.unwritten.set(!is_closed());
        }
    }

    pub fn is_unwritten(&self) -> bool {
        self.unwritten.get()
    }

    pub fn written(&self) {
        if self.unwritten.replace(false)
            && let Some(follower) = &*self.follower.borrow()
        {
            follower.written(self.connection.id);
        }
    }

    pub fn close(&self, end: End) {
        if let Some(follower) = self.follower.take() {
            follower.closed(self.connection.id, end);
        }
    }
}

impl Drop for Followed {
    fn drop(&mut self) {
        self.close(End::Complete);
    }
}
