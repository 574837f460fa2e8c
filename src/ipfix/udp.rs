// SPDX-License-Identifier: AGPL-3.0-only
//! Messages as UDP packets. A refusal (ICMP) comes late, with a later call: what was sent since the last
//! look is then taken for lost.

use std::io::{self, ErrorKind};
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::retry_on_intr;

use super::Sent;
use super::socket;
use crate::flow::outlet::Load;

/// How long a full send buffer is waited for.
const ROOM_TIMEOUT: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 20_000_000,
};
/// After it was waited for in vain, it is not waited for again for so long.
const NO_PATIENCE: Duration = Duration::from_secs(1);
/// Without a refusal for so long, what was sent has arrived.
const CONFIRMED_AFTER: Duration = Duration::from_millis(300);

pub struct Udp {
    socket: UdpSocket,
    pub own: SocketAddr,
    pub peer: SocketAddr,
    /// Bytes that go through in one piece.
    pub payload: Option<usize>,
    /// Sent since the last look.
    unconfirmed: Load,
    looked: Instant,
    impatient_until: Option<Instant>,
}

impl Udp {
    pub fn new(socket: OwnedFd, peer: SocketAddr, now: Instant) -> io::Result<Self> {
        Ok(Self {
            own: socket::own_address(&socket)?,
            payload: socket::payload(&socket, peer),
            socket: socket.into(),
            peer,
            unconfirmed: Load::default(),
            looked: now,
            impatient_until: None,
        })
    }

    pub fn send(&mut self, bytes: &[u8], load: Load, now: Instant) -> io::Result<Sent> {
        let mut result = self.socket.send(bytes);
        if matches!(&result, Err(e) if e.kind() == ErrorKind::WouldBlock) && self.wait(now) {
            result = self.socket.send(bytes);
        }
        match result {
            Ok(_) => {
                self.unconfirmed += load;
                Ok(Sent::Yes)
            }
            Err(error)
                if error.kind() == ErrorKind::WouldBlock
                    || error.raw_os_error() == Some(libc::ENOBUFS) =>
            {
                Ok(Sent::NoRoom)
            }
            Err(error) => Err(error),
        }
    }

    /// What has arrived, as far as is known, since this was last asked; or why the collector is not there.
    pub fn look(&mut self, now: Instant) -> io::Result<Load> {
        if now - self.looked < CONFIRMED_AFTER {
            return Ok(Load::default());
        }
        self.looked = now;
        match self.socket.take_error()? {
            None => Ok(std::mem::take(&mut self.unconfirmed)),
            Some(error) => Err(error),
        }
    }

    pub fn unconfirmed(&self) -> Load {
        self.unconfirmed
    }

    /// For room in the send buffer, a moment.
    fn wait(&mut self, now: Instant) -> bool {
        if self.impatient_until.is_some_and(|until| now < until) {
            return false;
        }
        let mut sockets = [PollFd::new(&self.socket, PollFlags::OUT)];
        let ready = retry_on_intr(|| poll(&mut sockets, Some(&ROOM_TIMEOUT))).is_ok_and(|n| n > 0);
        self.impatient_until = (!ready).then_some(now + NO_PATIENCE);
        ready
    }
}
