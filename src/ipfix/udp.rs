// SPDX-License-Identifier: AGPL-3.0-only
//! Messages as UDP packets. A rejection (ICMP) is reported by a later call; then everything sent
//! since the last confirmation counts as dropped.

use std::io::{self, ErrorKind};
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::retry_on_intr;

use super::SendResult;
use super::socket;
use crate::flow::export_queue::RecordCounts;

/// The timeout for room in the send buffer.
const ROOM_TIMEOUT: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 20_000_000,
};
/// After a timeout, a full buffer drops messages immediately for this time.
const NO_WAIT: Duration = Duration::from_secs(1);
/// If there is no rejection for this time, the sent messages count as received.
const CONFIRMED_AFTER: Duration = Duration::from_millis(300);

pub struct Udp {
    socket: UdpSocket,
    pub peer: SocketAddr,
    /// The bytes that a packet can carry without fragmentation.
    pub payload: Option<usize>,
    /// The records sent since the last confirmation.
    unconfirmed: RecordCounts,
    confirmed_at: Instant,
    no_wait_until: Option<Instant>,
}

impl Udp {
    pub fn new(socket: OwnedFd, peer: SocketAddr, now: Instant) -> Self {
        Self {
            payload: socket::payload(&socket, peer),
            socket: socket.into(),
            peer,
            unconfirmed: RecordCounts::default(),
            confirmed_at: now,
            no_wait_until: None,
        }
    }

    pub fn send(
        &mut self,
        bytes: &[u8],
        load: RecordCounts,
        now: Instant,
    ) -> io::Result<SendResult> {
        let mut result = self.socket.send(bytes);
        if matches!(&result, Err(e) if e.kind() == ErrorKind::WouldBlock) && self.wait(now) {
            result = self.socket.send(bytes);
        }
        match result {
            Ok(_) => {
                self.unconfirmed += load;
                Ok(SendResult::Sent)
            }
            Err(error)
                if error.kind() == ErrorKind::WouldBlock
                    || error.raw_os_error() == Some(libc::ENOBUFS) =>
            {
                Ok(SendResult::NoRoom)
            }
            Err(error) => Err(error),
        }
    }

    /// Returns the records confirmed since the last call, as far as known, or the error that the
    /// collector returned.
    pub fn confirm(&mut self, now: Instant) -> io::Result<RecordCounts> {
        if now - self.confirmed_at < CONFIRMED_AFTER {
            return Ok(RecordCounts::default());
        }
        self.confirmed_at = now;
        match self.socket.take_error()? {
            None => Ok(std::mem::take(&mut self.unconfirmed)),
            Some(error) => Err(error),
        }
    }

    pub fn unconfirmed(&self) -> RecordCounts {
        self.unconfirmed
    }

    /// Waits briefly for room in the send buffer.
    fn wait(&mut self, now: Instant) -> bool {
        if self.no_wait_until.is_some_and(|until| now < until) {
            return false;
        }
        let mut sockets = [PollFd::new(&self.socket, PollFlags::OUT)];
        let ready = retry_on_intr(|| poll(&mut sockets, Some(&ROOM_TIMEOUT))).is_ok_and(|n| n > 0);
        self.no_wait_until = (!ready).then_some(now + NO_WAIT);
        ready
    }
}
