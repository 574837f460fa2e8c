// SPDX-License-Identifier: AGPL-3.0-only
//! Routes a request to its reply: path, method, access.

use std::cell::RefCell;

use hyper::body::Bytes;
use hyper::header::{ALLOW, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use serde::Serialize;

use super::access::Access;
use super::event_stream::EventStreams;
use super::rates::RateKeeper;
use super::{Sources, api};
use crate::http::deferred::HandlerReply;
use crate::http::{ClientAddress, respond};

const JSON: &str = "application/json";

/// An error reply: its status and its text.
#[derive(Debug)]
pub struct RequestError {
    pub status: StatusCode,
    pub error: String,
}

impl RequestError {
    pub fn new(status: StatusCode, error: impl Into<String>) -> Self {
        let error = error.into();
        Self { status, error }
    }

    pub fn bad_request(error: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, error)
    }
}

pub(super) type Reply = Result<HandlerReply, RequestError>;

/// The function that answers a path, by the method that it accepts.
#[derive(Clone, Copy)]
enum RouteHandler {
    Get(fn(&ControlRoutes, &Request<Bytes>) -> Reply),
    Post(fn(&ControlRoutes, &Request<Bytes>) -> Reply),
}

const PATHS: [(&str, RouteHandler); 25] = [
    ("/v1/status", RouteHandler::Get(ControlRoutes::status)),
    (
        "/v1/interfaces",
        RouteHandler::Get(ControlRoutes::interfaces),
    ),
    ("/v1/flows", RouteHandler::Get(ControlRoutes::flows)),
    ("/v1/top", RouteHandler::Get(ControlRoutes::top)),
    ("/v1/paths", RouteHandler::Get(ControlRoutes::paths)),
    (
        "/v1/paths/what_if",
        RouteHandler::Get(ControlRoutes::what_if),
    ),
    ("/v1/history", RouteHandler::Get(ControlRoutes::history)),
    ("/v1/bill", RouteHandler::Get(ControlRoutes::bill)),
    (
        "/v1/bill/samples",
        RouteHandler::Get(ControlRoutes::bill_samples),
    ),
    ("/v1/rib", RouteHandler::Get(ControlRoutes::rib)),
    ("/v1/lookup", RouteHandler::Get(ControlRoutes::lookup)),
    ("/v1/config", RouteHandler::Get(ControlRoutes::config)),
    (
        "/v1/sample_rate",
        RouteHandler::Post(ControlRoutes::set_sample_rate),
    ),
    (
        "/v1/log_level",
        RouteHandler::Post(ControlRoutes::set_log_level),
    ),
    ("/v1/reload", RouteHandler::Post(ControlRoutes::reload)),
    (
        "/v1/bmp/flush",
        RouteHandler::Post(ControlRoutes::flush_bmp),
    ),
    ("/v1/firewall", RouteHandler::Get(ControlRoutes::firewall)),
    ("/v1/guard", RouteHandler::Get(ControlRoutes::guard)),
    ("/v1/events", RouteHandler::Get(ControlRoutes::events)),
    (
        "/v1/guard/stop",
        RouteHandler::Post(ControlRoutes::stop_guard),
    ),
    (
        "/v1/guard/allow",
        RouteHandler::Post(ControlRoutes::allow_in_guard),
    ),
    (
        "/v1/firewall/rules",
        RouteHandler::Get(ControlRoutes::firewall_rules),
    ),
    (
        api::FIREWALL_ADD,
        RouteHandler::Post(ControlRoutes::add_to_firewall),
    ),
    (
        "/v1/firewall/del",
        RouteHandler::Post(ControlRoutes::del_from_firewall),
    ),
    (
        "/v1/firewall/flush",
        RouteHandler::Post(ControlRoutes::flush_firewall),
    ),
];

/// Answers the requests of the socket.
pub struct ControlRoutes {
    pub(super) sources: Sources,
    pub(super) rates: RefCell<RateKeeper>,
    access: Access,
    pub(super) streams: EventStreams,
}

impl ControlRoutes {
    pub fn new(sources: Sources, access: Access) -> Self {
        Self {
            sources,
            rates: RefCell::default(),
            access,
            streams: EventStreams::default(),
        }
    }

    pub fn answer(&self, request: &Request<Bytes>, peer: ClientAddress<'_>) -> HandlerReply {
        self.find(request, peer)
            .unwrap_or_else(|r| error_response(&r).into())
    }

    fn find(&self, request: &Request<Bytes>, peer: ClientAddress<'_>) -> Reply {
        let path = request.uri().path();
        if path == "/" || path == api::VERSION {
            return json(&PATHS.map(|(path, _)| path));
        }
        let Some((_, route)) = PATHS.iter().find(|(known, _)| *known == path) else {
            let error = format!(
                "no such path here; there are {}",
                PATHS.map(|(path, _)| path).join(", ")
            );
            return Err(RequestError::new(StatusCode::NOT_FOUND, error));
        };
        let method = request.method();
        match route {
            // hyper leaves out the body of a reply to HEAD, and keeps its length
            RouteHandler::Get(get) if method == Method::GET || method == Method::HEAD => {
                get(self, request)
            }
            RouteHandler::Get(_) => Ok(not_allowed("GET, HEAD").into()),
            RouteHandler::Post(post) if method == Method::POST => {
                self.check_access(peer)?;
                post(self, request)
            }
            RouteHandler::Post(_) => Ok(not_allowed("POST").into()),
        }
    }

    fn check_access(&self, peer: ClientAddress<'_>) -> Result<(), RequestError> {
        let refused = |error| RequestError::new(StatusCode::FORBIDDEN, error);
        match peer {
            ClientAddress::Unix(connection) => self.access.may_change(connection).map_err(refused),
            ClientAddress::Tcp(_) => Err(refused("not by TCP".to_owned())),
        }
    }
}

pub(super) fn json(reply: &impl Serialize) -> Reply {
    Ok(encode(reply)?.into())
}

/// Returns the response of a reply that another thread makes.
pub(super) fn later_json(reply: &impl Serialize) -> Response<Bytes> {
    encode(reply).unwrap_or_else(|r| error_response(&r))
}

fn encode(reply: &impl Serialize) -> Result<Response<Bytes>, RequestError> {
    let mut body = serde_json::to_vec(reply)
        .map_err(|error| RequestError::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))?;
    body.push(b'\n');
    Ok(respond::content(StatusCode::OK, JSON, body))
}

fn error_response(error: &RequestError) -> Response<Bytes> {
    let reply = api::ErrorReply {
        error: error.error.clone(),
    };
    let mut body = serde_json::to_vec(&reply).unwrap_or_default();
    body.push(b'\n');
    respond::content(error.status, JSON, body)
}

fn not_allowed(methods: &'static str) -> Response<Bytes> {
    let error = format!("this path takes {methods}");
    let mut response = error_response(&RequestError::new(StatusCode::METHOD_NOT_ALLOWED, error));
    let allowed = HeaderValue::from_static(methods);
    response.headers_mut().insert(ALLOW, allowed);
    response
}

/// Returns an error of the HTTP server itself in the form of the other errors.
pub fn server_error(status: StatusCode) -> Response<Bytes> {
    let words = status.canonical_reason().unwrap_or("error");
    error_response(&RequestError::new(status, words.to_ascii_lowercase()))
}
