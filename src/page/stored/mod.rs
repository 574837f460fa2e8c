// SPDX-License-Identifier: AGPL-3.0-only
//! `page/v2.json`: curves and tables of any period, from the history on disk.
//!
//! - [`query`]: the options;
//! - [`resolution`]: the length of points;
//! - [`curves`]: stored curves in points of that length; [`conversations`]: the same for stored conversations;
//! - [`answer`]: the JSON.
//!
//! The answers are made from the same curves, conversations, samples and events as those of the control socket.

pub mod answer;
mod conversations;
mod curves;
pub mod query;
mod resolution;

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use hyper::body::Bytes;
use hyper::{Response, StatusCode};

use crate::http::deferred::{Deferrer, HandlerReply};
use crate::store::reader::HistoryReader;
use crate::sys::threads::Heartbeat;
use crate::types::address_detail::AddressDetail;
use crate::types::label::Endpoint;
use query::StoredQuery;

/// The number of answers that are stored, and the time for which they are current.
const ANSWERS: usize = 8;
const CURRENT: Duration = Duration::from_secs(20);

/// Looks up the labels of an address.
pub type AddressLookup = Box<dyn Fn(IpAddr) -> Endpoint>;

/// The history on disk, and the names for it.
pub struct StoredHistory {
    reader: HistoryReader,
    names: StoredNames,
    answers: Mutex<Vec<CachedAnswer>>,
    pub(super) reads: Deferrer,
}

/// The sources of names, and of the detail of stored addresses.
pub struct StoredNames {
    /// Returns the lookup of labels in the sources of this moment.
    pub lookup: Box<dyn Fn() -> AddressLookup + Send + Sync>,
    pub asn_name: Box<dyn Fn(u32) -> Option<String> + Send + Sync>,
    /// The detail of addresses on disk.
    pub addresses: AddressDetail,
}

/// The options as text, and the detail of addresses.
type AnswerKey = (String, AddressDetail);

struct CachedAnswer {
    key: AnswerKey,
    made: Instant,
    body: Bytes,
}

impl StoredHistory {
    /// `reads` hands the questions to the thread that reads the files: other clients do not wait for it.
    pub fn new(reader: HistoryReader, names: StoredNames, reads: Deferrer) -> Self {
        Self {
            reader,
            names,
            answers: Mutex::default(),
            reads,
        }
    }

    /// Answers a query string at the Unix time `now`; several readers of one view cost as much as one reader.
    pub fn answer(
        self: &Arc<Self>,
        text: &str,
        now: u64,
        shown: AddressDetail,
        respond: impl Fn(StatusCode, Bytes) -> Response<Bytes> + Clone + Send + 'static,
    ) -> HandlerReply {
        let addresses = stricter(shown, self.names.addresses);
        let key = (text.to_owned(), addresses);
        if let Some(body) = self.known(&key) {
            return respond(StatusCode::OK, body).into();
        }
        let query = match StoredQuery::parse(text, now, addresses) {
            Ok(query) => query,
            Err(reason) => return respond(StatusCode::BAD_REQUEST, error(&reason)).into(),
        };
        let (history, later) = (self.clone(), respond.clone());
        let reply = self.reads.defer(move |heartbeat| {
            // the answer to the same query before may have it
            let body = history.known(&key);
            let body = body.unwrap_or_else(|| history.read(key, &query, now, heartbeat));
            later(StatusCode::OK, body)
        });
        reply.unwrap_or_else(|| {
            let reason = "too many queries of the history wait: try again";
            respond(StatusCode::SERVICE_UNAVAILABLE, error(reason)).into()
        })
    }

    fn known(&self, key: &AnswerKey) -> Option<Bytes> {
        let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        answers.retain(|answer| answer.made.elapsed() < CURRENT);
        let known = answers.iter().find(|answer| answer.key == *key);
        known.map(|answer| answer.body.clone())
    }

    fn read(&self, key: AnswerKey, query: &StoredQuery, now: u64, heartbeat: &Heartbeat) -> Bytes {
        let reader = self.reader.clone().with_heartbeat(heartbeat);
        let body = answer::render(&reader, &self.names, query, now, key.1);
        let body = Bytes::from(body);
        let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        if answers.len() >= ANSWERS {
            answers.remove(0);
        }
        answers.push(CachedAnswer {
            key,
            made: Instant::now(),
            body: body.clone(),
        });
        body
    }
}

/// Returns an error as JSON.
pub fn error(reason: &str) -> Bytes {
    Bytes::from(serde_json::json!({ "error": reason }).to_string())
}

fn stricter(a: AddressDetail, b: AddressDetail) -> AddressDetail {
    match (a, b) {
        (AddressDetail::Absent, _) | (_, AddressDetail::Absent) => AddressDetail::Absent,
        (AddressDetail::Prefix, _) | (_, AddressDetail::Prefix) => AddressDetail::Prefix,
        _ => AddressDetail::Full,
    }
}
