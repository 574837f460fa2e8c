// SPDX-License-Identifier: AGPL-3.0-only
//! The access control of the HTTP port, with the web configuration file in effect.

use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, PoisonError, RwLock};
use std::task::{Poll, Waker};
use std::time::Duration;
use std::{fmt, io};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use hyper::body::Bytes;
use hyper::header::{AUTHORIZATION, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use hyper::http::request;
use hyper::{Response, StatusCode};
use rustls::ServerConfig;

use super::load::Loaded;
use super::passwords::{Credentials, Passwords, Verdict};
use crate::http::gate::{AccessStatus, Admitted, Gate};
use crate::http::respond;
use crate::sys::error_counters::{ErrorCounters, Subsystem};
use crate::sys::wake_up::WakeUp;

/// The path that `agent.prometheus.open_health` leaves open.
const HEALTH: &str = "/healthz";

pub struct WebGate {
    current: RwLock<Arc<Loaded>>,
    epoch: AtomicU64,
    open_health: AtomicBool,
    /// Made with the first users.
    passwords: OnceLock<Passwords>,
    wake_up: WakeUp,
    pub(super) status: Arc<AccessStatus>,
    errors: Arc<ErrorCounters>,
}

impl WebGate {
    /// Creates the access control, which admits everybody until [`WebGate::replace`].
    pub fn new(status: Arc<AccessStatus>, errors: Arc<ErrorCounters>) -> io::Result<Self> {
        Ok(Self {
            current: RwLock::default(),
            epoch: AtomicU64::new(0),
            open_health: AtomicBool::new(false),
            passwords: OnceLock::new(),
            wake_up: WakeUp::new()?,
            status,
            errors,
        })
    }

    /// Puts a file into effect; `None` if none is configured.
    pub fn replace(&self, loaded: Option<Loaded>) {
        self.status.set(
            loaded.is_some(),
            loaded.as_ref().is_some_and(Loaded::is_protected),
        );
        self.status.set_problem(None);
        let new = Arc::new(loaded.unwrap_or_default());
        let old = {
            let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
            std::mem::replace(&mut *current, new.clone())
        };
        let differs =
            old.client_policy != new.client_policy || old.tls.is_some() != new.tls.is_some();
        if differs {
            self.epoch.fetch_add(1, Ordering::Release);
            self.wake_up.wake();
        }
    }

    /// Sets whether `/healthz` needs no user.
    pub fn set_open_health(&self, open: bool) {
        self.open_health.store(open, Ordering::Relaxed);
    }

    /// Verifies a password if one waits, and otherwise waits for `timeout`.
    pub(super) fn work(&self, timeout: Duration) {
        match self.current().users.is_empty() {
            true => std::thread::park_timeout(timeout),
            false => self.passwords().work(timeout, &self.wake_up),
        }
    }

    fn passwords(&self) -> &Passwords {
        self.passwords.get_or_init(Passwords::with_random_key)
    }

    fn current(&self) -> Arc<Loaded> {
        let current = self.current.read();
        current.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Returns whether the request is one that needs no user: `/healthz` without the texts of problems.
    fn is_open(&self, request: &request::Parts) -> bool {
        self.open_health.load(Ordering::Relaxed)
            && request.uri.path() == HEALTH
            && request.uri.query().is_none()
    }

    fn failed(&self, client: Option<IpAddr>, reason: impl fmt::Display) -> Response<Bytes> {
        self.status.count_failure();
        self.errors
            .count_and_log(Subsystem::Http, "login", || match client {
                Some(client) => format!("{client}: {reason}"),
                None => format!("local client: {reason}"),
            });
        unauthorized()
    }
}

impl Gate for WebGate {
    fn tls(&self) -> Option<Arc<ServerConfig>> {
        self.current().tls.clone()
    }

    fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::Acquire)
    }

    fn admit(
        &self,
        request: &request::Parts,
        client: Option<IpAddr>,
        waker: &Waker,
    ) -> Poll<Result<Admitted, Response<Bytes>>> {
        let current = self.current();
        if current.users.is_empty() || self.is_open(request) {
            return Poll::Ready(Ok(Admitted::Anyone));
        }
        let Some(field) = request.headers.get(AUTHORIZATION) else {
            // no failure: a browser sends its first request without a name
            return Poll::Ready(Err(unauthorized()));
        };
        let Some(credentials) = credentials(field) else {
            let response = self.failed(client, "the field Authorization is not of type Basic");
            return Poll::Ready(Err(response));
        };
        match self
            .passwords()
            .verify(&current.users, &credentials, client, waker)
        {
            Verdict::Accepted => Poll::Ready(Ok(Admitted::User)),
            Verdict::Refused => {
                Poll::Ready(Err(self.failed(client, "wrong user name or password")))
            }
            Verdict::Waiting => Poll::Pending,
            Verdict::Busy => {
                let mut response = respond::status(StatusCode::SERVICE_UNAVAILABLE);
                let soon = HeaderValue::from_static("1");
                response.headers_mut().insert(RETRY_AFTER, soon);
                self.errors.count_and_log(Subsystem::Http, "passwords", || {
                    "too many passwords wait to be verified: answered 503".into()
                });
                Poll::Ready(Err(response))
            }
        }
    }

    fn decorate(&self, response: &mut Response<Bytes>) {
        for (name, value) in &self.current().headers {
            response.headers_mut().insert(name, value.clone());
        }
    }

    fn wake_up(&self) -> &WakeUp {
        &self.wake_up
    }
}

fn unauthorized() -> Response<Bytes> {
    let mut response = respond::status(StatusCode::UNAUTHORIZED);
    let challenge = HeaderValue::from_static("Basic realm=\"rfm\", charset=\"UTF-8\"");
    response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
    response
}

/// Reads name and password of a field (RFC 7617).
fn credentials(field: &HeaderValue) -> Option<Credentials> {
    let (scheme, encoded) = field.to_str().ok()?.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = BASE64_STANDARD.decode(encoded.trim()).ok()?;
    let colon = decoded.iter().position(|&byte| byte == b':')?;
    Some(Credentials {
        name: decoded[..colon].to_vec(),
        password: decoded[colon + 1..].to_vec(),
    })
}
