// SPDX-License-Identifier: AGPL-3.0-only
//! Messages in a TCP stream, through a bounded buffer. Neither the connection nor the collector can
//! block the thread.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::retry_on_intr;

use super::message::Sealed;
use super::{SendResult, SentCounts};
use crate::flow::export_queue::RecordCounts;

/// The size of the buffer in bytes; messages that do not fit are dropped.
const BUFFER: usize = 256 * 1024;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// A collector that receives nothing for this time counts as disconnected.
const STALL_TIMEOUT: Duration = Duration::from_secs(10);

const AT_ONCE: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 0,
};

pub struct Tcp {
    stream: TcpStream,
    pub peer: SocketAddr,
    connected: bool,
    buffer: VecDeque<u8>,
    /// Messages that are not completely written: the remaining bytes and the record counts of each.
    waiting: VecDeque<(usize, RecordCounts)>,
    /// The time of the last progress.
    moved: Instant,
    /// The message that is being appended to the buffer.
    scratch: Vec<u8>,
}

impl Tcp {
    pub fn new(socket: OwnedFd, peer: SocketAddr, now: Instant) -> Self {
        Self {
            stream: socket.into(),
            peer,
            connected: false,
            buffer: VecDeque::new(),
            waiting: VecDeque::new(),
            moved: now,
            scratch: Vec::new(),
        }
    }

    /// Returns true once the connection is established.
    pub fn connect(&mut self, now: Instant) -> io::Result<bool> {
        if self.connected {
            return Ok(true);
        }
        let mut sockets = [PollFd::new(&self.stream, PollFlags::OUT)];
        if retry_on_intr(|| poll(&mut sockets, Some(&AT_ONCE)))? == 0 {
            return match now - self.moved < CONNECT_TIMEOUT {
                true => Ok(false),
                false => Err(ErrorKind::TimedOut.into()),
            };
        }
        if let Some(error) = self.stream.take_error()? {
            return Err(error);
        }
        self.moved = now;
        self.connected = true;
        Ok(true)
    }

    pub fn send(&mut self, message: &Sealed, sent: &mut SentCounts, now: Instant) -> SendResult {
        message.write(sent.sequence, &mut self.scratch);
        let length = self.scratch.len();
        if self.buffer.len() + length > BUFFER {
            return SendResult::NoRoom;
        }
        if self.buffer.is_empty() {
            self.moved = now;
        }
        self.buffer.extend(&self.scratch);
        self.waiting.push_back((length, message.load));
        sent.add(message.records, length);
        SendResult::Sent
    }

    /// Writes as much as possible. Returns the counts of the messages that are now completely
    /// written.
    pub fn write(&mut self, now: Instant) -> io::Result<RecordCounts> {
        self.listen()?;
        let mut done = RecordCounts::default();
        while !self.buffer.is_empty() {
            match self.stream.write(self.buffer.as_slices().0) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(written) => {
                    self.buffer.drain(..written);
                    self.moved = now;
                    self.account(written, &mut done);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        if !self.buffer.is_empty() && now - self.moved >= STALL_TIMEOUT {
            return Err(ErrorKind::TimedOut.into());
        }
        Ok(done)
    }

    pub fn is_waiting(&self) -> bool {
        !self.connected || !self.buffer.is_empty()
    }

    /// Returns the counts of the messages that are not completely written.
    pub fn unsent(&self) -> RecordCounts {
        let mut load = RecordCounts::default();
        self.waiting.iter().for_each(|(_, l)| load += *l);
        load
    }

    fn account(&mut self, mut written: usize, done: &mut RecordCounts) {
        while let Some((left, load)) = self.waiting.front_mut() {
            if *left > written {
                *left -= written;
                return;
            }
            written -= *left;
            *done += *load;
            self.waiting.pop_front();
        }
    }

    /// Reads and ignores data from the collector, which has nothing to send. If it closes its side,
    /// the connection is lost.
    fn listen(&mut self) -> io::Result<()> {
        let mut ignored = [0; 512];
        match self.stream.read(&mut ignored) {
            Ok(0) => Err(ErrorKind::ConnectionReset.into()),
            Ok(_) => Ok(()),
            Err(error)
                if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) =>
            {
                Ok(())
            }
            Err(error) => Err(error),
        }
    }
}
