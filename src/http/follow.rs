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
    /// Called when everything has been written to the socket.
    fn written(&self, connection: u64);
    /// Called once, when the connection has ended.
    fn closed(&self, connection: u64);
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

    pub fn follow(&self, response: &mut Response<Bytes>) {
        if let Some(Follow(follower)) = response.extensions_mut().remove() {
            self.follower.replace(Some(follower));
            self.unwritten.set(true);
        }
    }

    pub fn written(&self) {
        if self.unwritten.replace(false)
            && let Some(follower) = &*self.follower.borrow()
        {
            follower.written(self.connection.id);
        }
    }

    pub fn close(&self) {
        if let Some(follower) = self.follower.take() {
            follower.closed(self.connection.id);
        }
    }
}

impl Drop for Followed {
    fn drop(&mut self) {
        self.close();
    }
}
