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
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use hyper::StatusCode;
use hyper::body::Bytes;

use crate::store::reader::HistoryReader;
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
}

/// The sources of names, and of the detail of stored addresses.
pub struct StoredNames {
    /// Returns the lookup of labels in the sources of this moment.
    pub lookup: Box<dyn Fn() -> AddressLookup + Send + Sync>,
    pub asn_name: Box<dyn Fn(u32) -> Option<String> + Send + Sync>,
    /// The detail of addresses on disk.
    pub addresses: AddressDetail,
}

#[derive(Clone)]
struct CachedAnswer {
    /// The options as text, and the detail of addresses.
    key: (String, AddressDetail),
    made: Instant,
    body: Bytes,
}

impl StoredHistory {
    pub fn new(reader: HistoryReader, names: StoredNames) -> Self {
        Self {
            reader,
            names,
            answers: Mutex::default(),
        }
    }

    /// Answers a query string at the Unix time `now`; several readers of one view cost as much as one reader.
    pub fn answer(&self, text: &str, now: u64, shown: AddressDetail) -> (StatusCode, Bytes) {
        let addresses = stricter(shown, self.names.addresses);
        let key = (text.to_owned(), addresses);
        let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        answers.retain(|answer| answer.made.elapsed() < CURRENT);
        if let Some(known) = answers.iter().find(|answer| answer.key == key) {
            return (StatusCode::OK, known.body.clone());
        }
        let query = match StoredQuery::parse(text, now, addresses) {
            Ok(query) => query,
            Err(reason) => return (StatusCode::BAD_REQUEST, error(&reason)),
        };
        let body = Bytes::from(answer::render(
            &self.reader,
            &self.names,
            &query,
            now,
            addresses,
        ));
        if answers.len() == ANSWERS {
            answers.remove(0);
        }
        answers.push(CachedAnswer {
            key,
            made: Instant::now(),
            body: body.clone(),
        });
        (StatusCode::OK, body)
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
