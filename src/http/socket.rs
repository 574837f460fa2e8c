// SPDX-License-Identifier: AGPL-3.0-only
//! A non-blocking socket with hyper's interface.
//!
//! No waker is stored: a call that would block stores the event that it waits for, the executor
//! passes these events to poll(2), and when one occurs, the connection is polled again.

use std::cell::Cell;
use std::io::{self, IoSlice};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Instant;

use hyper::rt::ReadBufCursor;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{self, RecvFlags, SendAncillaryBuffer, SendFlags, Shutdown};

use super::phase::Phase;

/// The size of one read through the stack; hyper's buffers also start with this size.
pub(super) const CHUNK: usize = 8 * 1024;

pub(super) struct Socket {
    fd: OwnedFd,
    phase: Cell<Phase>,
    waits_for: Cell<PollFlags>,
    ended: Cell<bool>,
    fault: Cell<Option<String>>,
}

impl Socket {
    pub fn new(fd: OwnedFd, now: Instant) -> Self {
        Self {
            fd,
            phase: Cell::new(Phase::Fresh { since: now }),
            waits_for: Cell::new(PollFlags::empty()),
            ended: Cell::new(false),
            fault: Cell::new(None),
        }
    }

    pub fn phase(&self) -> Phase {
        self.phase.get()
    }

    pub fn set_phase(&self, phase: Phase) {
        self.phase.set(phase);
    }

    /// Returns the events for which poll(2) should wait.
    pub fn waits_for(&self) -> PollFlags {
        self.waits_for.get()
    }

    /// Stores the events of poll(2). Returns true if the socket waited for one of them.
    pub fn fired(&self, events: PollFlags) -> bool {
        let waits_for = self.waits_for.get();
        // The next call returns an error or a hang-up.
        let fired = if events.intersects(PollFlags::ERR | PollFlags::HUP | PollFlags::NVAL) {
            waits_for
        } else {
            waits_for & events
        };
        self.waits_for.set(waits_for - fired);
        !fired.is_empty()
    }

    /// Returns true if the client will send no more.
    pub fn ended(&self) -> bool {
        self.ended.get()
    }

    /// Returns `RDHUP` if the client has closed its side, also if that was not received yet, and
    /// `ERR` after a reset.
    pub fn condition(&self) -> PollFlags {
        let mut fds = [PollFd::new(&self.fd, PollFlags::RDHUP)];
        match poll(&mut fds, Some(&Timespec::default())) {
            Ok(_) => fds[0].revents(),
            Err(_) => PollFlags::empty(),
        }
    }

    /// Stores why TLS ended the connection. hyper does not pass on an error that precedes a request.
    #[cfg(feature = "tls")]
    pub fn set_fault(&self, fault: String) {
        self.fault.set(Some(fault));
    }

    pub fn take_fault(&self) -> Option<String> {
        self.fault.take()
    }

    pub fn receive(&self, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        let received = self.receive_encrypted(buffer);
        if matches!(received, Poll::Ready(Ok(1..))) {
            self.note_received();
        }
        received
    }

    /// As [`Socket::receive`]; the bytes may contain no part of a request.
    pub fn receive_encrypted(&self, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        match rustix::io::retry_on_intr(|| net::recv(&self.fd, &mut *buffer, RecvFlags::empty())) {
            Ok((n, _)) => {
                if n == 0 {
                    self.ended.set(true);
                }
                Poll::Ready(Ok(n))
            }
            Err(errno) => self.blocked(errno, PollFlags::IN),
        }
    }

    /// Notes that a part of a request was received.
    pub fn note_received(&self) {
        self.phase.set(self.phase.get().received(Instant::now()));
    }

    pub fn send(&self, buffers: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let mut control = SendAncillaryBuffer::default();
        // A disconnected client is an error of this call, not a signal to the process.
        let flags = SendFlags::NOSIGNAL;
        match rustix::io::retry_on_intr(|| net::sendmsg(&self.fd, buffers, &mut control, flags)) {
            Ok(n) => {
                self.phase.set(self.phase.get().sent(Instant::now()));
                Poll::Ready(Ok(n))
            }
            Err(errno) => self.blocked(errno, PollFlags::OUT),
        }
    }

    pub fn shut_down(&self) -> io::Result<()> {
        match net::shutdown(&self.fd, Shutdown::Write) {
            // The client was faster.
            Ok(()) | Err(Errno::NOTCONN) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }

    fn blocked(&self, errno: Errno, flag: PollFlags) -> Poll<io::Result<usize>> {
        if errno == Errno::AGAIN {
            if flag == PollFlags::OUT {
                self.phase.set(self.phase.get().blocked(Instant::now()));
            }
            self.waits_for.set(self.waits_for.get() | flag);
            Poll::Pending
        } else {
            Poll::Ready(Err(errno.into()))
        }
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// A socket without TLS.
pub(super) struct Io(pub Rc<Socket>);

impl hyper::rt::Read for Io {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        mut buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let mut chunk = [0; CHUNK];
        let room = buffer.remaining().min(CHUNK);
        self.0
            .receive(&mut chunk[..room])
            .map_ok(|n| buffer.put_slice(&chunk[..n]))
    }
}

impl hyper::rt::Write for Io {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.0.send(&[IoSlice::new(buffer)])
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.0.shut_down())
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffers: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.0.send(buffers)
    }
}
