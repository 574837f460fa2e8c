// SPDX-License-Identifier: AGPL-3.0-only
//! The page at `/`: one document, and its data as JSON.
//!
//! - [`query`]: the options of a reader;
//! - [`view`]: the [`history`](crate::history) as JSON, with the figures of interfaces (`viewer`), the lines that a reader
//!   shows (`order`), curves (`points`) and the top talkers (`talkers`);
//! - [`local`]: names of connected networks;
//! - [`thread`]: THREAD page, which makes a reading in each tick;
//! - [`paths`]: networks on AS paths;
//! - [`source_check`]: bytes of invalid sources;
//! - [`attacks`]: the alarms of the guard;
//! - [`stored`]: any period, from the history on disk;
//! - `page.html`, `page.css`, `script/`: combined into one document by build/page.rs.
//!
//! The page uses the same data as /metrics, and the flow table for the lists of hosts and services.

pub mod attacks;
pub mod local;
mod order;
pub mod paths;
mod points;
pub mod query;
pub mod routes;
mod shown;
pub mod source_check;
pub mod stored;
mod talkers;
pub mod thread;
pub mod view;
mod viewer;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use hyper::body::Bytes;
use hyper::header::{
    CACHE_CONTROL, CONTENT_ENCODING, CONTENT_SECURITY_POLICY, ETAG, HeaderValue, IF_NONE_MATCH,
    VARY,
};
use hyper::{Request, Response, StatusCode};

use crate::flow::talkers::filter::TrafficFilter;
use crate::flow::talkers::{TalkerAnswer, TalkerQuery};
use crate::history::recorder::Recorder;
use crate::history::{History, HistoryReading};
use crate::http::deferred::{Deferrer, HandlerReply};
use crate::http::{encoding, respond};
use crate::page::query::Query;
use crate::page::stored::StoredHistory;
use crate::page::view::AgentState;
use crate::types::address_detail::AddressDetail;

/// The path of the JSON data, below the page.
pub const FIGURES_PATH: &str = "/page/v1.json";
/// The path of the JSON data from the history on disk.
pub const STORED_PATH: &str = "/page/v2.json";

/// The number of rendered views stored until the next tick: several readers of one view cost as
/// much as one reader.
const VIEWS: usize = 8;

/// The page has readers for this long after a request for its data.
const READER_TIME: Duration = Duration::from_secs(60);

include!(concat!(env!("OUT_DIR"), "/page.rs"));

/// The state of the page. Thread page writes it, thread http reads it.
#[derive(Default)]
pub struct Page {
    state: Mutex<State>,
    talkers: Option<TalkerSource>,
    stored: Option<Arc<StoredHistory>>,
}

/// The source of the lists of hosts and services.
pub struct TalkerSource {
    /// Asks thread flow; `None` if it does not answer.
    pub ask: Box<dyn Fn(TalkerQuery) -> Option<TalkerAnswer> + Send + Sync>,
    /// Returns the detail of addresses.
    pub addresses: Box<dyn Fn() -> AddressDetail + Send + Sync>,
}

#[derive(Default)]
struct State {
    history: History,
    /// Stores the history on disk as well.
    recorder: Option<Recorder>,
    agent: AgentState,
    views: Vec<Rendered>,
    /// The time of the last request for the data.
    last_request: Option<Instant>,
}

#[derive(Clone)]
struct Rendered {
    query: Query,
    plain: Bytes,
    packed: Option<Bytes>,
}

impl Page {
    pub fn with_talkers(talkers: TalkerSource) -> Self {
        Self {
            state: Mutex::default(),
            talkers: Some(talkers),
            stored: None,
        }
    }

    /// Adds the history on disk.
    pub fn with_stored(mut self, stored: StoredHistory) -> Self {
        self.stored = Some(Arc::new(stored));
        self
    }

    /// Returns the way to the thread that reads the history on disk, for the server of the page.
    pub fn deferrer(&self) -> Option<&Deferrer> {
        self.stored.as_ref().map(|stored| &stored.reads)
    }

    /// Stores the readings on disk as well.
    pub fn record(&self, recorder: Recorder) {
        self.lock().recorder = Some(recorder);
    }

    pub fn is_recorded(&self) -> bool {
        self.lock().recorder.is_some()
    }

    /// Sends the rows of the current minute to thread history, after the last reading.
    pub fn end(&self) {
        if let Some(recorder) = &mut self.lock().recorder {
            recorder.flush();
        }
    }

    /// Stores a reading, and the state of the agent itself.
    pub fn feed(&self, reading: &HistoryReading, agent: AgentState) {
        let state = &mut *self.lock();
        state.history.feed(reading);
        if let Some(recorder) = &mut state.recorder {
            recorder.read(&state.history, reading.now_ms, reading.wall);
        }
        state.agent = agent;
        state.views.clear();
    }

    /// Returns whether somebody has looked at the page lately.
    pub fn has_readers(&self, now: Instant) -> bool {
        let last = self.lock().last_request;
        last.is_some_and(|last| now.saturating_duration_since(last) < READER_TIME)
    }

    /// Returns the memory of the history, in bytes.
    pub fn bytes(&self) -> usize {
        self.lock().history.bytes()
    }

    /// Returns the HTML document.
    pub fn document(&self, request: &Request<Bytes>) -> Response<Bytes> {
        let known = request.headers().get(IF_NONE_MATCH);
        let is_known = known.is_some_and(|tags| tags.as_bytes() == DOCUMENT_TAG.as_bytes());
        let mut response = if is_known {
            let mut response = respond::content(StatusCode::NOT_MODIFIED, HTML, Bytes::new());
            response.headers_mut().remove(hyper::header::CONTENT_TYPE);
            response
        } else if encoding::wants_gzip(request.headers()) {
            let packed = respond::content(StatusCode::OK, HTML, DOCUMENT_PACKED);
            with(packed, CONTENT_ENCODING, encoding::GZIP)
        } else {
            respond::content(StatusCode::OK, HTML, DOCUMENT)
        };
        // cached, but revalidated each time: the document must match the agent's JSON data
        for (name, value) in [
            (CACHE_CONTROL, "no-cache"),
            (ETAG, DOCUMENT_TAG),
            (VARY, "Accept-Encoding"),
            (CONTENT_SECURITY_POLICY, DOCUMENT_POLICY),
        ] {
            response = with(response, name, HeaderValue::from_static(value));
        }
        response
    }

    /// Returns the JSON data.
    pub fn figures(&self, request: &Request<Bytes>) -> Response<Bytes> {
        self.lock().last_request = Some(Instant::now());
        let text = request.uri().query().unwrap_or_default();
        let query = Query::parse(text, self.addresses());
        let view = self.view(query, encoding::wants_gzip(request.headers()));
        json(StatusCode::OK, view.plain, view.packed)
    }

    /// Returns the JSON data of a period, from the history on disk. `finish` completes each response.
    pub fn stored(
        &self,
        request: &Request<Bytes>,
        finish: fn(Response<Bytes>) -> Response<Bytes>,
    ) -> HandlerReply {
        let packed = encoding::wants_gzip(request.headers());
        let respond = move |status: StatusCode, plain: Bytes| {
            let packed = packed.then(|| encoding::gzip(&plain, encoding::Level::Small));
            finish(json(status, plain, packed.flatten().map(Bytes::from)))
        };
        let Some(stored) = &self.stored else {
            let reason = "there is no history on disk: set agent.history.path, and restart rfm";
            return respond(StatusCode::NOT_FOUND, stored::error(reason)).into();
        };
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = now.map_or(0, |since| since.as_secs());
        let text = request.uri().query().unwrap_or_default();
        stored.answer(text, now, self.addresses(), respond)
    }

    fn view(&self, query: Query, packed: bool) -> Rendered {
        let known = |state: &State| state.views.iter().position(|view| view.query == query);
        let mut state = self.lock();
        let at = match known(&state) {
            Some(at) => at,
            None => {
                let question = self.question(&state.history, &query);
                // thread flow is asked without the lock
                drop(state);
                let answer = question.and_then(|question| self.ask(question));
                state = self.lock();
                if state.views.len() == VIEWS {
                    state.views.remove(0);
                }
                let addresses = self.addresses();
                let plain = view::render(
                    &state.history,
                    &query,
                    answer.as_ref(),
                    addresses,
                    &state.agent,
                    self.stored.is_some(),
                );
                let rendered = Rendered {
                    query,
                    plain: plain.into(),
                    packed: None,
                };
                // the next answer has more
                if answer.is_some_and(|answer| !answer.is_complete) {
                    return rendered;
                }
                state.views.push(rendered);
                state.views.len() - 1
            }
        };
        let view = &mut state.views[at];
        if packed && view.packed.is_none() {
            view.packed = encoding::gzip(&view.plain, encoding::Level::Small).map(Bytes::from);
        }
        let mut view = view.clone();
        view.packed = view.packed.filter(|_| packed);
        view
    }

    fn addresses(&self) -> AddressDetail {
        let talkers = self.talkers.as_ref();
        talkers.map_or(AddressDetail::default(), |talkers| (talkers.addresses)())
    }

    fn ask(&self, question: TalkerQuery) -> Option<TalkerAnswer> {
        (self.talkers.as_ref()?.ask)(question)
    }

    /// Returns the question to thread flow that a view needs.
    fn question(&self, history: &History, query: &Query) -> Option<TalkerQuery> {
        if query.list.is_none() && query.filters.is_empty() {
            return None;
        }
        let mut interfaces: Vec<_> = shown::shown(history, query)
            .iter()
            .map(|(_, port)| port.ifindex)
            .collect();
        interfaces.sort_unstable();
        Some(TalkerQuery {
            filter: TrafficFilter {
                interfaces,
                conditions: query.filters.clone(),
            },
            list: talkers::list(query),
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

const HTML: &str = "text/html; charset=utf-8";
const JSON: &str = "application/json";

fn json(status: StatusCode, plain: Bytes, packed: Option<Bytes>) -> Response<Bytes> {
    let response = match packed {
        Some(packed) => {
            let response = respond::content(status, JSON, packed);
            with(response, CONTENT_ENCODING, encoding::GZIP)
        }
        None => respond::content(status, JSON, plain),
    };
    with(response, VARY, HeaderValue::from_static("Accept-Encoding"))
}

fn with(
    mut response: Response<Bytes>,
    name: hyper::header::HeaderName,
    value: HeaderValue,
) -> Response<Bytes> {
    response.headers_mut().insert(name, value);
    response
}
