// SPDX-License-Identifier: AGPL-3.0-only
//! A request to its reply: which path, which method, who may.

use std::cell::RefCell;

use hyper::body::Bytes;
use hyper::header::{ALLOW, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use serde::Serialize;

use super::access::Access;
use super::rates::RateKeeper;
use super::{Sources, api};
use crate::http::{Peer, respond};

const JSON: &str = "application/json";

/// What is answered in place of what was asked for.
#[derive(Debug)]
pub struct Refusal {
    pub status: StatusCode,
    pub error: String,
}

impl Refusal {
    pub fn new(status: StatusCode, error: impl Into<String>) -> Self {
        let error = error.into();
        Self { status, error }
    }

    pub fn bad_request(error: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, error)
    }
}

pub(super) type Reply = Result<Response<Bytes>, Refusal>;

/// How a path is answered.
#[derive(Clone, Copy)]
enum Route {
    Read(fn(&Routes, &Request<Bytes>) -> Reply),
    Change(fn(&Routes, &Request<Bytes>) -> Reply),
}

const PATHS: [(&str, Route); 16] = [
    ("/v1/status", Route::Read(Routes::status)),
    ("/v1/interfaces", Route::Read(Routes::interfaces)),
    ("/v1/flows", Route::Read(Routes::flows)),
    ("/v1/top", Route::Read(Routes::top)),
    ("/v1/rib", Route::Read(Routes::rib)),
    ("/v1/lookup", Route::Read(Routes::lookup)),
    ("/v1/config", Route::Read(Routes::config)),
    ("/v1/sample_rate", Route::Change(Routes::set_sample_rate)),
    ("/v1/log_level", Route::Change(Routes::set_log_level)),
    ("/v1/reload", Route::Change(Routes::reload)),
    ("/v1/bmp/flush", Route::Change(Routes::flush_bmp)),
    ("/v1/firewall", Route::Read(Routes::firewall)),
    ("/v1/firewall/rules", Route::Read(Routes::firewall_rules)),
    (api::FIREWALL_ADD, Route::Change(Routes::add_to_firewall)),
    ("/v1/firewall/del", Route::Change(Routes::del_from_firewall)),
    ("/v1/firewall/flush", Route::Change(Routes::flush_firewall)),
];

/// The socket's answers.
pub struct Routes {
    pub(super) sources: Sources,
    pub(super) rates: RefCell<RateKeeper>,
    access: Access,
}

impl Routes {
    pub fn new(sources: Sources, access: Access) -> Self {
        Self {
            sources,
            rates: RefCell::default(),
            access,
        }
    }

    pub fn answer(&self, request: &Request<Bytes>, peer: Peer<'_>) -> Response<Bytes> {
        self.find(request, peer).unwrap_or_else(|r| refusal(&r))
    }

    fn find(&self, request: &Request<Bytes>, peer: Peer<'_>) -> Reply {
        let path = request.uri().path();
        if path == "/" || path == api::VERSION {
            return json(&PATHS.map(|(path, _)| path));
        }
        let Some((_, route)) = PATHS.iter().find(|(known, _)| *known == path) else {
            let error = format!(
                "no such path here; there are {}",
                PATHS.map(|(path, _)| path).join(", ")
            );
            return Err(Refusal::new(StatusCode::NOT_FOUND, error));
        };
        let method = request.method();
        match route {
            // hyper leaves out the body of what answers HEAD, and keeps its length
            Route::Read(read) if method == Method::GET || method == Method::HEAD => {
                read(self, request)
            }
            Route::Read(_) => Ok(not_allowed("GET, HEAD")),
            Route::Change(change) if method == Method::POST => {
                self.admit(peer)?;
                change(self, request)
            }
            Route::Change(_) => Ok(not_allowed("POST")),
        }
    }

    fn admit(&self, peer: Peer<'_>) -> Result<(), Refusal> {
        let refused = |error| Refusal::new(StatusCode::FORBIDDEN, error);
        match peer {
            Peer::Unix(connection) => self.access.may_change(connection).map_err(refused),
            Peer::Tcp(_) => Err(refused("not by TCP".to_owned())),
        }
    }
}

pub(super) fn json(reply: &impl Serialize) -> Reply {
    let mut body = serde_json::to_vec(reply)
        .map_err(|error| Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))?;
    body.push(b'\n');
    Ok(respond::content(StatusCode::OK, JSON, body))
}

fn refusal(refusal: &Refusal) -> Response<Bytes> {
    let fault = api::Fault {
        error: refusal.error.clone(),
    };
    let mut body = serde_json::to_vec(&fault).unwrap_or_default();
    body.push(b'\n');
    respond::content(refusal.status, JSON, body)
}

fn not_allowed(methods: &'static str) -> Response<Bytes> {
    let error = format!("this path takes {methods}");
    let mut response = refusal(&Refusal::new(StatusCode::METHOD_NOT_ALLOWED, error));
    let allowed = HeaderValue::from_static(methods);
    response.headers_mut().insert(ALLOW, allowed);
    response
}

/// What the server refuses by itself, in the form of the rest.
pub fn refuse(status: StatusCode) -> Response<Bytes> {
    let words = status.canonical_reason().unwrap_or("error");
    refusal(&Refusal::new(status, words.to_ascii_lowercase()))
}
