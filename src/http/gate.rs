// SPDX-License-Identifier: AGPL-3.0-only
//! The access control of a server: TLS, users, and header fields of its responses.
//!
//! The server knows only the trait [`Gate`]; `web` implements it from a web configuration file.

use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::task::{Poll, Waker};

use hyper::Response;
use hyper::body::Bytes;
use hyper::http::request;

use crate::sys::wake_up::WakeUp;

/// The reason why a request may be answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admitted {
    /// No user is required.
    Anyone,
    /// The request has the name and the password of a user.
    User,
}

/// Decides which connections are encrypted and which requests are answered.
pub trait Gate: Send + Sync {
    /// Returns the configuration of TLS for a new connection; `None` without TLS.
    #[cfg(feature = "tls")]
    fn tls(&self) -> Option<std::sync::Arc<rustls::ServerConfig>>;

    /// Returns a number that changes when open connections must end, because they would not be accepted any longer.
    fn epoch(&self) -> u64;

    /// Returns whether a request may be answered, or the response that refuses it. If the result is pending, the gate
    /// wakes `waker` and [`Gate::wake_up`] once it is known.
    fn admit(
        &self,
        request: &request::Parts,
        client: Option<IpAddr>,
        waker: &Waker,
    ) -> Poll<Result<Admitted, Response<Bytes>>>;

    /// Sets the header fields that every response has.
    fn decorate(&self, response: &mut Response<Bytes>);

    /// Ends the wait of the server when a pending result is known.
    fn wake_up(&self) -> &WakeUp;
}

/// The state of the access control, for the metrics and the problems.
#[derive(Default)]
pub struct AccessStatus {
    is_enabled: AtomicBool,
    is_protected: AtomicBool,
    failures: AtomicU64,
    problem: Mutex<Option<String>>,
}

impl AccessStatus {
    /// Stores whether a web configuration file is in use, and whether it requires users or verified client
    /// certificates.
    pub fn set(&self, is_enabled: bool, is_protected: bool) {
        self.is_enabled.store(is_enabled, Ordering::Relaxed);
        self.is_protected.store(is_protected, Ordering::Relaxed);
    }

    pub fn is_protected(&self) -> bool {
        self.is_protected.load(Ordering::Relaxed)
    }

    /// Counts a request with a wrong name or password.
    pub fn count_failure(&self) {
        self.failures.fetch_add(1, Ordering::Relaxed);
    }

    /// Returns the number of requests with a wrong name or password; `None` without a web configuration file.
    pub fn failures(&self) -> Option<u64> {
        let is_enabled = self.is_enabled.load(Ordering::Relaxed);
        is_enabled.then(|| self.failures.load(Ordering::Relaxed))
    }

    /// Stores why the files cannot be used; `None` if they can.
    pub fn set_problem(&self, problem: Option<String>) {
        *self.problem.lock().unwrap_or_else(PoisonError::into_inner) = problem;
    }

    pub fn problem(&self) -> Option<String> {
        let problem = self.problem.lock();
        problem.unwrap_or_else(PoisonError::into_inner).clone()
    }
}
