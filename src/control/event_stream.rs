// SPDX-License-Identifier: AGPL-3.0-only
//! `GET /v1/events?follow=true`: the events of the guard as they occur, one JSON object in each line.
//!
//! A stream has no queue: it reads the events that the guard keeps. If the client is so slow that some are no
//! longer kept, a line counts them.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use hyper::body::Bytes;
use hyper::header::HeaderValue;
use hyper::{Response, StatusCode};

use super::api;
use super::guard::{JSON_LINES, event_line, json_line};
use super::routes::RequestError;
use crate::config::current::CurrentConfig;
use crate::guard::shared::GuardHandle;
use crate::http::endless::{ChunkSource, Endless};
use crate::http::respond;

/// Streams at once.
pub const MAX_STREAMS: usize = 8;
/// The time without an event after which an empty line is sent: it finds clients that have disappeared.
pub const KEEP_ALIVE: Duration = Duration::from_secs(10);
/// The header field with the number after which the events follow.
pub const AFTER: &str = "rfm-after";

/// The open streams.
#[derive(Default)]
pub struct EventStreams(Arc<AtomicUsize>);

impl EventStreams {
    /// Returns the response with the events after a number, by default with those after now.
    pub fn open(
        &self,
        guard: &GuardHandle,
        live: Arc<CurrentConfig>,
        after: Option<u64>,
    ) -> Result<Response<Bytes>, RequestError> {
        let slot = StreamSlot::take(&self.0)?;
        let after = after.unwrap_or_else(|| guard.lock().last_event);
        let stream = EventStream {
            guard: guard.clone(),
            live,
            position: Mutex::new(StreamPosition {
                after,
                written: Instant::now(),
            }),
            _slot: slot,
        };
        let mut response = respond::content(StatusCode::OK, JSON_LINES, Bytes::new());
        response
            .headers_mut()
            .insert(AFTER, HeaderValue::from(after));
        response.extensions_mut().insert(Endless(Arc::new(stream)));
        Ok(response)
    }
}

/// One of the streams that may be open.
struct StreamSlot(Arc<AtomicUsize>);

impl StreamSlot {
    fn take(open: &Arc<AtomicUsize>) -> Result<Self, RequestError> {
        let more = |open| (open < MAX_STREAMS).then_some(open + 1);
        let taken = open.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
        taken.map_err(|_| {
            let error = format!("{MAX_STREAMS} clients follow the events: end one of them");
            RequestError::new(StatusCode::SERVICE_UNAVAILABLE, error)
        })?;
        Ok(Self(open.clone()))
    }
}

impl Drop for StreamSlot {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

struct EventStream {
    guard: GuardHandle,
    live: Arc<CurrentConfig>,
    position: Mutex<StreamPosition>,
    _slot: StreamSlot,
}

struct StreamPosition {
    /// The number of the last event that was written.
    after: u64,
    written: Instant,
}

impl ChunkSource for EventStream {
    fn next(&self) -> Option<Bytes> {
        let now = Instant::now();
        let position = self.position.lock();
        let mut position = position.unwrap_or_else(PoisonError::into_inner);
        let state = self.guard.lock();
        let mut lines = Vec::new();
        if let Some((event, missed)) = state.next_event(position.after) {
            if missed > 0 {
                lines = json_line(&api::MissedEvents { missed });
            }
            let addresses = self.live.config().agent.privacy.addresses;
            lines.extend(event_line(event, addresses));
            position.after = event.number;
        } else if now.saturating_duration_since(position.written) >= KEEP_ALIVE {
            lines.push(b'\n');
        } else {
            return None;
        }
        position.written = now;
        Some(lines.into())
    }
}
