// SPDX-License-Identifier: AGPL-3.0-only
//! Responses without an end: a source has more from time to time.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http_body_util::Full;
use hyper::body::{Body, Bytes, Frame, SizeHint};

/// The source of a response without an end. It is dropped when the connection ends.
pub trait ChunkSource: Send + Sync {
    /// Returns what can be written now. The server asks at each turn, which is at least twice a second, or when its
    /// `wake_up` is used; while the client is slow, it does not ask.
    fn next(&self) -> Option<Bytes>;
}

/// An extension of a response: the source of its body.
#[derive(Clone)]
pub struct Endless(pub Arc<dyn ChunkSource>);

/// The body of a response.
pub(super) enum ReplyBody {
    Full(Full<Bytes>),
    Endless(Endless),
}

impl Body for ReplyBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match self.get_mut() {
            Self::Full(body) => Pin::new(body).poll_frame(context),
            Self::Endless(Endless(source)) => match source.next() {
                Some(chunk) => Poll::Ready(Some(Ok(Frame::data(chunk)))),
                // the server polls streams without a waker
                None => Poll::Pending,
            },
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Full(body) => body.is_end_stream(),
            Self::Endless(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Full(body) => body.size_hint(),
            Self::Endless(_) => SizeHint::default(),
        }
    }
}
