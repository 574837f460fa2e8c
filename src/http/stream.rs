// SPDX-License-Identifier: AGPL-3.0-only
//! The transport of a connection: a socket, with or without TLS.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use hyper::rt::ReadBufCursor;

use super::gate::Gate;
use super::socket::{Io, Socket};
#[cfg(feature = "tls")]
use super::tls::TlsStream;

/// hyper's handle of a connection.
pub(super) enum Stream {
    Plain(Io),
    #[cfg(feature = "tls")]
    Tls(Box<TlsStream>),
}

impl Stream {
    /// Returns the transport of a new connection, as the gate requires it.
    #[cfg(feature = "tls")]
    pub fn new(socket: Rc<Socket>, gate: Option<&dyn Gate>) -> io::Result<Self> {
        Ok(match gate.and_then(Gate::tls) {
            Some(config) => Self::Tls(Box::new(TlsStream::new(socket, config)?)),
            None => Self::Plain(Io(socket)),
        })
    }

    #[cfg(not(feature = "tls"))]
    pub fn new(socket: Rc<Socket>, _: Option<&dyn Gate>) -> io::Result<Self> {
        Ok(Self::Plain(Io(socket)))
    }
}

/// Calls a method of the transport.
macro_rules! delegate {
    ($stream:expr, $io:ident => $call:expr) => {
        match $stream {
            Stream::Plain(io) => {
                let $io = Pin::new(io);
                $call
            }
            #[cfg(feature = "tls")]
            Stream::Tls(io) => {
                let $io = Pin::new(&mut **io);
                $call
            }
        }
    };
}

impl hyper::rt::Read for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        delegate!(self.get_mut(), io => io.poll_read(context, buffer))
    }
}

impl hyper::rt::Write for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &[u8],
    ) -> Poll<io::Result<usize>> {
        delegate!(self.get_mut(), io => io.poll_write(context, buffer))
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        delegate!(self.get_mut(), io => io.poll_flush(context))
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        delegate!(self.get_mut(), io => io.poll_shutdown(context))
    }

    /// Without this, hyper would copy every body behind its header.
    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffers: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        delegate!(self.get_mut(), io => io.poll_write_vectored(context, buffers))
    }
}
