// SPDX-License-Identifier: AGPL-3.0-only
//! Small responses.

use hyper::body::Bytes;
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue, X_CONTENT_TYPE_OPTIONS};
use hyper::{Response, StatusCode};

pub const TEXT: &str = "text/plain; charset=utf-8";

/// Returns a response that caches do not store and whose content type clients do not guess.
pub fn content(
    status: StatusCode,
    content_type: &'static str,
    body: impl Into<Bytes>,
) -> Response<Bytes> {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// Returns a response with the name of the status as its text.
pub fn status(status: StatusCode) -> Response<Bytes> {
    let words = status.canonical_reason().unwrap_or("error");
    content(status, TEXT, format!("{words}\n"))
}
