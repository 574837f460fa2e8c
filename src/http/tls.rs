// SPDX-License-Identifier: AGPL-3.0-only
//! TLS on a non-blocking socket, with hyper's interface. rustls implements the protocol.

use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};

use hyper::rt::ReadBufCursor;
use rustls::{Connection, ServerConfig, ServerConnection};

use super::socket::{CHUNK, Socket};

/// The maximum size of encrypted data that waits for the socket.
const WRITE_BUFFER: usize = 64 * 1024;

/// Reads of the socket in one turn that need not produce a byte of a request: a client that sends only records without
/// content does not keep the others waiting.
const READS_PER_TURN: usize = 16;

/// The answer to a client that sends HTTP without TLS, as Go's server gives it.
const PLAIN_HTTP: &[u8] =
    b"HTTP/1.0 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\n\
    Connection: close\r\n\r\nClient sent an HTTP request to an HTTPS server: use https://\n";

pub(super) struct TlsStream {
    socket: Rc<Socket>,
    /// Its methods are compiled once, in rustls: those of `ServerConnection` are generic.
    session: Connection,
    /// True once a byte has arrived.
    has_begun: bool,
    close_notified: bool,
}

impl TlsStream {
    pub fn new(socket: Rc<Socket>, config: Arc<ServerConfig>) -> io::Result<Self> {
        let session = ServerConnection::new(config);
        let session = session.map_err(|error| io::Error::other(error.to_string()))?;
        let mut session = Connection::Server(session);
        session.set_buffer_limit(Some(WRITE_BUFFER));
        socket.set_phase(socket.phase().handshaking(false));
        Ok(Self {
            socket,
            session,
            has_begun: false,
            close_notified: false,
        })
    }

    /// Receives encrypted data once, and processes it. Returns false at the end of the stream.
    fn receive(&mut self) -> Poll<io::Result<bool>> {
        let mut raw = RawSocket {
            socket: &self.socket,
            is_first: !self.has_begun,
        };
        match self.session.read_tls(&mut raw) {
            Ok(0) => return Poll::Ready(Ok(false)),
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Poll::Pending,
            Err(error) => return Poll::Ready(Err(error)),
        }
        let was_handshaking = self.session.is_handshaking();
        if !self.has_begun {
            self.has_begun = true;
            self.socket.set_phase(self.socket.phase().handshaking(true));
        }
        if let Err(error) = self.session.process_new_packets() {
            // the alert that names the reason; the connection ends in any case
            let _ = self.send_pending();
            self.socket.set_fault(format!("TLS: {error}"));
            return Poll::Ready(Err(ErrorKind::InvalidData.into()));
        }
        if was_handshaking && !self.session.is_handshaking() {
            self.socket.set_phase(self.socket.phase().secured());
        }
        Poll::Ready(Ok(true))
    }

    /// Sends the encrypted data that waits.
    fn send_pending(&mut self) -> Poll<io::Result<()>> {
        while self.session.wants_write() {
            let mut raw = RawSocket {
                socket: &self.socket,
                is_first: false,
            };
            match self.session.write_tls(&mut raw) {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Poll::Pending,
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Encrypts what has room, and sends what the socket takes.
    fn send(&mut self, buffers: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        if let Poll::Ready(Err(error)) = self.send_pending() {
            return Poll::Ready(Err(error));
        }
        let taken = self.session.writer().write_vectored(buffers)?;
        match self.send_pending() {
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending if taken == 0 => Poll::Pending,
            _ => Poll::Ready(Ok(taken)),
        }
    }
}

impl hyper::rt::Read for TlsStream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        mut buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let mut chunk = [0; CHUNK];
        let room = buffer.remaining().min(CHUNK);
        for _ in 0..READS_PER_TURN {
            match this.session.reader().read(&mut chunk[..room]) {
                Ok(0) => return Poll::Ready(Ok(())),
                Ok(n) => {
                    this.socket.note_received();
                    buffer.put_slice(&chunk[..n]);
                    return Poll::Ready(Ok(()));
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                // Many clients close without close_notify. HTTP knows where a request ends.
                Err(error) if error.kind() == ErrorKind::UnexpectedEof => {
                    return Poll::Ready(Ok(()));
                }
                Err(error) => return Poll::Ready(Err(error)),
            }
            match this.receive() {
                Poll::Ready(Ok(true)) => {}
                // before the end of the handshake, rustls reports no end of the stream
                Poll::Ready(Ok(false)) if this.session.is_handshaking() => {
                    return Poll::Ready(Ok(()));
                }
                Poll::Ready(Ok(false)) => continue,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => return Poll::Pending,
            }
            // parts of the handshake; if the socket is full, poll(2) waits for room
            if let Poll::Ready(Err(error)) = this.send_pending() {
                return Poll::Ready(Err(error));
            }
        }
        context.waker().wake_by_ref();
        Poll::Pending
    }
}

impl hyper::rt::Write for TlsStream {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.get_mut().send(&[IoSlice::new(buffer)])
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().send_pending()
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if !std::mem::replace(&mut this.close_notified, true) {
            this.session.send_close_notify();
        }
        match this.send_pending() {
            Poll::Ready(Ok(())) => Poll::Ready(this.socket.shut_down()),
            other => other,
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffers: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.get_mut().send(buffers)
    }
}

/// The socket as rustls reads and writes it.
struct RawSocket<'a> {
    socket: &'a Socket,
    /// True for the first bytes of a connection.
    is_first: bool,
}

impl Read for RawSocket<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = unblocked(self.socket.receive_encrypted(buffer))?;
        // A TLS record begins with a byte below 32, a request with the name of its method.
        if self.is_first && n > 0 && buffer[0].is_ascii_uppercase() {
            let _ = self.socket.send(&[IoSlice::new(PLAIN_HTTP)]);
            self.socket.set_fault("an HTTP request without TLS".into());
            return Err(ErrorKind::InvalidData.into());
        }
        Ok(n)
    }
}

impl Write for RawSocket<'_> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        unblocked(self.socket.send(&[IoSlice::new(buffer)]))
    }

    fn write_vectored(&mut self, buffers: &[IoSlice<'_>]) -> io::Result<usize> {
        unblocked(self.socket.send(buffers))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn unblocked(result: Poll<io::Result<usize>>) -> io::Result<usize> {
    match result {
        Poll::Ready(result) => result,
        Poll::Pending => Err(ErrorKind::WouldBlock.into()),
    }
}
