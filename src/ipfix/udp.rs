// SPDX-License-Identifier: AGPL-3.0-only
//! Messages as UDP packets, from a bounded queue at a limited rate. A rejection (ICMP) is reported by a later call;
//! then everything sent since the last confirmation counts as dropped.

use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use super::message::Sealed;
use super::pacer::{MAX_QUEUED, Pacer};
use super::socket;
use super::{SendResult, SentCounts};
use crate::flow::export_queue::RecordCounts;

/// Further messages in the queue that only templates and options may use: without them, a collector
/// cannot read or scale the records that follow.
const RESERVE: usize = 1_024;
/// If there is no rejection for this time, the sent messages count as received.
const CONFIRMED_AFTER: Duration = Duration::from_millis(300);

pub struct Udp {
    socket: UdpSocket,
    pub peer: SocketAddr,
    /// The bytes that a packet can carry without fragmentation.
    pub payload: Option<usize>,
    queue: VecDeque<Sealed>,
    /// The records in the queue.
    queued: RecordCounts,
    pacer: Pacer,
    /// The records sent since the last confirmation.
    unconfirmed: RecordCounts,
    confirmed_at: Instant,
    /// The message that is being sent.
    scratch: Vec<u8>,
}

impl Udp {
    pub fn new(socket: OwnedFd, peer: SocketAddr, now: Instant) -> Self {
        Self {
            payload: socket::payload(&socket, peer),
            socket: socket.into(),
            peer,
            queue: VecDeque::new(),
            queued: RecordCounts::default(),
            pacer: Pacer::new(now),
            unconfirmed: RecordCounts::default(),
            confirmed_at: now,
            scratch: Vec::new(),
        }
    }

    /// Appends a message to the queue.
    pub fn push(&mut self, message: &Sealed) -> SendResult {
        let reserve = if message.is_announcement() {
            RESERVE
        } else {
            0
        };
        if self.queue.len() >= MAX_QUEUED + reserve {
            return SendResult::NoRoom;
        }
        self.queued += message.load;
        self.queue.push_back(message.clone());
        SendResult::Sent
    }

    /// Sends messages from the queue: as many as the pacer allows, with at least `minimum` messages a second, and as
    /// the send buffer has room for. Messages without room wait in the queue.
    pub fn send_queued(
        &mut self,
        sent: &mut SentCounts,
        minimum: f64,
        now: Instant,
    ) -> io::Result<()> {
        for _ in 0..self.pacer.allowed(self.queue.len(), minimum, now) {
            let Some(message) = self.queue.front() else {
                break;
            };
            message.write(sent.sequence, &mut self.scratch);
            match self.socket.send(&self.scratch) {
                Ok(_) => {}
                Err(error) if is_full(&error) => break,
                Err(error) => return Err(error),
            }
            sent.add(message.records, self.scratch.len());
            self.unconfirmed += message.load;
            self.queued -= message.load;
            self.queue.pop_front();
            self.pacer.spend();
        }
        if self.queue.is_empty() && self.queue.capacity() > 0 {
            self.queue = VecDeque::new();
        }
        Ok(())
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

    /// Returns the records that wait in the queue.
    pub fn queued(&self) -> RecordCounts {
        self.queued
    }

    pub fn queued_messages(&self) -> usize {
        self.queue.len()
    }

    pub fn unconfirmed(&self) -> RecordCounts {
        self.unconfirmed
    }
}

fn is_full(error: &io::Error) -> bool {
    error.kind() == ErrorKind::WouldBlock || error.raw_os_error() == Some(libc::ENOBUFS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ipfix::message::Message;

    #[test]
    fn the_queue_is_bounded_and_keeps_room_for_announcements() {
        let listener = UdpSocket::bind("127.0.0.1:0").unwrap();
        let peer = listener.local_addr().unwrap();
        let (socket, _) = socket::open(
            crate::types::transport::Transport::Udp,
            peer,
            socket::any(peer, 0),
        )
        .unwrap();
        let now = Instant::now();
        let mut udp = Udp::new(socket, peer, now);
        let mut message = Message::default();
        message.record(256).push(0);
        let announcement = message.seal(0, 1);
        message.carries(RecordCounts {
            parts: 3,
            packets: 30,
            octets: 300,
        });
        let data = message.seal(0, 1);
        let pushed = |udp: &mut Udp, message: &Sealed| {
            (0..2 * MAX_QUEUED)
                .filter(|_| matches!(udp.push(message), SendResult::Sent))
                .count()
        };
        assert_eq!(pushed(&mut udp, &data), MAX_QUEUED);
        assert_eq!(pushed(&mut udp, &announcement), RESERVE);
        assert_eq!(udp.queued().parts, 3 * MAX_QUEUED as u64);
        // everything leaves, and the memory with it
        let mut sent = SentCounts::default();
        for second in 1..=10 {
            let now = now + Duration::from_secs(second);
            udp.send_queued(&mut sent, 1e6, now).unwrap();
        }
        assert_eq!(sent.messages as usize, MAX_QUEUED + RESERVE);
        assert_eq!((udp.queued(), udp.queue.capacity()), Default::default());
        assert_eq!(udp.unconfirmed().octets, 300 * MAX_QUEUED as u64);
    }
}
