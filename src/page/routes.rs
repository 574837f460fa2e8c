// SPDX-License-Identifier: AGPL-3.0-only
//! Answers the HTTP requests to the exporter: /metrics, /healthz, and the page, or one that links
//! to the others.
//!
//! No response repeats any part of a request.

use std::cell::Cell;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hyper::body::Bytes;
use hyper::header::{
    ALLOW, CONTENT_ENCODING, CONTENT_SECURITY_POLICY, HeaderValue, REFERRER_POLICY, USER_AGENT,
    VARY,
};
use hyper::{Method, Request, Response, StatusCode};

use super::Page;
use crate::http::deferred::HandlerReply;
use crate::http::follow::{ConnectionInfo, End, Follow, ResponseObserver};
use crate::http::{encoding, respond};
use crate::metrics::collect::ScrapeRequest;
use crate::metrics::exposition::Format;
use crate::metrics::scrapers::{Scraper, Scrapers};
use crate::page;
use crate::types::problem::Problem;

/// The default policy: no script, no style, no frame. A response that has any sets its own policy.
const POLICY: &str = "default-src 'none'; frame-ancestors 'none'; base-uri 'none'";

const LINKS: &str = concat!(
    "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>rfm</title></head>\n",
    "<body><h1>Router Flow Monitor ",
    env!("RFM_VERSION"),
    "</h1>\n<p>Interface counters and flows of this router: ",
    "<a href=\"metrics\">metrics</a> for Prometheus, ",
    "<a href=\"healthz\">health</a>.</p></body></html>\n"
);

/// A header field that scrapers send: Prometheus, vmagent, OpenTelemetry collectors.
const SCRAPER_HEADER: &str = "x-prometheus-scrape-timeout-seconds";

type Metrics = dyn Fn(&ScrapeRequest, &mut Vec<u8>) -> Result<Format, String> + Send;
type Health = dyn Fn() -> Result<(), Vec<String>> + Send;
type Problems = dyn Fn() -> Result<Vec<Problem>, String> + Send;

/// The routes of the exporter.
pub struct Routes {
    metrics: Box<Metrics>,
    health: Box<Health>,
    problems: Box<Problems>,
    page: Option<Arc<Page>>,
    scrapers: Arc<FollowedScrapers>,
    /// The size of the last body, so that the next one is not reallocated while it grows.
    last: Cell<usize>,
}

impl Routes {
    /// Creates the routes. `metrics` appends all families and returns their format, or the reason why it cannot;
    /// `health` returns the reasons why the agent does not work; `problems` returns everything that needs attention.
    pub fn new(
        metrics: impl Fn(&ScrapeRequest, &mut Vec<u8>) -> Result<Format, String> + Send + 'static,
        health: impl Fn() -> Result<(), Vec<String>> + Send + 'static,
        problems: impl Fn() -> Result<Vec<Problem>, String> + Send + 'static,
    ) -> Self {
        Self {
            metrics: Box::new(metrics),
            health: Box::new(health),
            problems: Box::new(problems),
            page: None,
            scrapers: Arc::default(),
            last: Cell::new(0),
        }
    }

    /// Adds the built-in page at `/`, if there is one.
    pub fn with_page(mut self, page: Option<Arc<Page>>) -> Self {
        self.page = page;
        self
    }

    pub fn answer(&self, request: &Request<Bytes>) -> HandlerReply {
        match &self.page {
            Some(page) if request.uri().path() == page::STORED_PATH && is_read(request) => {
                page.stored(request, secure)
            }
            _ => self.respond(request).into(),
        }
    }

    fn respond(&self, request: &Request<Bytes>) -> Response<Bytes> {
        let route = match request.uri().path() {
            "/metrics" => Self::metrics,
            "/healthz" => Self::healthz,
            "/" => Self::root,
            // `answer` handles the methods that read the history
            page::FIGURES_PATH | page::STORED_PATH if self.page.is_some() => Self::figures,
            _ => return secure(respond::status(StatusCode::NOT_FOUND)),
        };
        // hyper omits the body of a response to HEAD, and keeps its length.
        if !is_read(request) {
            let mut response = respond::status(StatusCode::METHOD_NOT_ALLOWED);
            let allowed = HeaderValue::from_static("GET, HEAD");
            response.headers_mut().insert(ALLOW, allowed);
            return secure(response);
        }
        secure(route(self, request))
    }

    fn metrics(&self, request: &Request<Bytes>) -> Response<Bytes> {
        let last = self.last.get();
        let mut families = Vec::with_capacity(last + last / 8);
        let scraper = scraper(request);
        let scrape = ScrapeRequest {
            format: &|openmetrics| format(request, openmetrics),
            zero_since: &|now_ms| Some(self.scrapers.lock().read(scraper?, now_ms)),
            evicted_scrapers: self.scrapers.lock().evicted(),
        };
        let format = match (self.metrics)(&scrape, &mut families) {
            Ok(format) => format,
            Err(reason) => return unavailable(&[reason]),
        };
        self.last.set(families.len());
        let packed = encoding::wants_gzip(request.headers())
            .then(|| encoding::gzip(&families, encoding::Level::Fast))
            .flatten();
        let is_packed = packed.is_some();
        let body = packed.unwrap_or(families);
        let mut response = respond::content(StatusCode::OK, format.content_type(), body);
        let headers = response.headers_mut();
        headers.insert(VARY, HeaderValue::from_static("Accept, Accept-Encoding"));
        if is_packed {
            headers.insert(CONTENT_ENCODING, encoding::GZIP);
        }
        if scraper.is_some() {
            let follower = Follow(self.scrapers.clone());
            response.extensions_mut().insert(follower);
        }
        response
    }

    fn healthz(&self, request: &Request<Bytes>) -> Response<Bytes> {
        let health = (self.health)();
        if request.uri().query() == Some("verbose") {
            return self.verbose_health(health.is_ok());
        }
        match health {
            Ok(()) => respond::content(StatusCode::OK, respond::TEXT, "ok\n"),
            Err(reasons) => unavailable(&reasons),
        }
    }

    /// Returns the status code of `/healthz`, and the text and remedy of each problem.
    fn verbose_health(&self, is_alive: bool) -> Response<Bytes> {
        let problems = match (self.problems)() {
            Ok(problems) => problems,
            Err(reason) => return unavailable(&[reason]),
        };
        let mut text = match problems.len() {
            0 => "healthy\n".to_owned(),
            1 => "1 problem\n".to_owned(),
            n => format!("{n} problems\n"),
        };
        for problem in problems {
            let shown = problem.text.escape_debug();
            text += &format!(
                "{}: {shown}\n    {}\n",
                problem.kind.name(),
                problem.kind.remedy()
            );
        }
        let status = match is_alive {
            true => StatusCode::OK,
            false => StatusCode::SERVICE_UNAVAILABLE,
        };
        respond::content(status, respond::TEXT, text)
    }

    fn root(&self, request: &Request<Bytes>) -> Response<Bytes> {
        match &self.page {
            Some(page) => page.document(request),
            None => respond::content(StatusCode::OK, "text/html; charset=utf-8", LINKS),
        }
    }

    fn figures(&self, request: &Request<Bytes>) -> Response<Bytes> {
        match &self.page {
            Some(page) => page.figures(request),
            None => respond::status(StatusCode::NOT_FOUND),
        }
    }
}

fn is_read(request: &Request<Bytes>) -> bool {
    request.method() == Method::GET || request.method() == Method::HEAD
}

/// Returns a 503 with one reason per line. Reasons may contain names from outside, so they are
/// escaped.
fn unavailable(reasons: &[String]) -> Response<Bytes> {
    let mut text = String::new();
    for reason in reasons {
        text.extend(reason.escape_debug());
        text.push('\n');
    }
    respond::content(StatusCode::SERVICE_UNAVAILABLE, respond::TEXT, text)
}

/// The scrapers, informed of each response by the server.
#[derive(Default)]
struct FollowedScrapers(Mutex<Scrapers>);

impl FollowedScrapers {
    fn lock(&self) -> MutexGuard<'_, Scrapers> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ResponseObserver for FollowedScrapers {
    fn written(&self, connection: u64) {
        self.lock().written(connection);
    }

    fn closed(&self, connection: u64, end: End) {
        self.lock().closed(connection, end);
    }
}

/// Returns the format that a request for /metrics prefers; `?created=1` requests the times of creation.
fn format(request: &Request<Bytes>, openmetrics: bool) -> Format {
    let format = Format::preferred(request.headers(), openmetrics);
    let mut parameters = request.uri().query().unwrap_or_default().split('&');
    match parameters.any(|parameter| parameter == "created=1") {
        true => format.with_created(),
        false => format,
    }
}

/// Returns the scraper that sent the request; `None` if the client is not one.
fn scraper(request: &Request<Bytes>) -> Option<Scraper> {
    let headers = request.headers();
    if request.method() != Method::GET || !headers.contains_key(SCRAPER_HEADER) {
        return None;
    }
    let connection = request.extensions().get::<ConnectionInfo>()?;
    let mut hasher = DefaultHasher::new();
    headers.get(USER_AGENT).hash(&mut hasher);
    Some(Scraper {
        connection: connection.id,
        address: connection.address?,
        agent: hasher.finish(),
    })
}

fn secure(mut response: Response<Bytes>) -> Response<Bytes> {
    let headers = response.headers_mut();
    headers
        .entry(CONTENT_SECURITY_POLICY)
        .or_insert(HeaderValue::from_static(POLICY));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    response
}
