// SPDX-License-Identifier: AGPL-3.0-only
//! Requests all links at once from the kernel (`RTM_GETLINK` with `NLM_F_DUMP`).

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use netlink_packet_core::{
    DecodeError, NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST, NLMSG_DONE, NLMSG_ERROR,
    NLMSG_OVERRUN, NetlinkBuffer, NetlinkMessage,
};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::LinkMessage;
use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::{Socket, SocketAddr};
use rustix::net::RecvFlags;
use rustix::net::sockopt::{self, Timeout};

use super::speed::Speeds;
use super::{Link, message};
use crate::sys::error_counters::{ErrorCounters, Subsystem};

/// include/uapi/linux/rtnetlink.h.
pub(super) const RTM_NEWLINK: u16 = 16;

/// NLMSG_ALIGNTO, include/uapi/linux/netlink.h.
pub(super) const NLMSG_ALIGN: usize = 4;

/// The kernel fills at most this much per read of a dump (net/netlink/af_netlink.c, `netlink_recvmsg`).
pub(super) const BUFFER_SIZE: usize = 32 * 1024;

/// The buffer grows up to this size if one link does not fit.
const MAX_BUFFER_SIZE: usize = 1024 * 1024;

/// A limit that no machine can be expected to reach.
const MAX_LINKS: usize = 1 << 17;

/// The number of attempts if interfaces appeared or disappeared during a dump.
const MAX_ATTEMPTS: u32 = 4;

/// The timeout of the whole dump, with its repetitions.
const DEADLINE: Duration = Duration::from_secs(5);
pub(super) const RECEIVE_TIMEOUT: Duration = Duration::from_secs(1);

/// A route netlink socket, kept between dumps.
pub struct LinkSocket {
    /// Closed after an error, which discards the rest of the answer.
    socket: Option<Socket>,
    buffer: Vec<u8>,
    sequence: u32,
    speeds: Speeds,
    errors: Arc<ErrorCounters>,
}

impl LinkSocket {
    /// Opens no socket yet: the first dump does, in the network namespace of the thread that calls it.
    pub fn new(errors: Arc<ErrorCounters>) -> Self {
        Self {
            socket: None,
            buffer: Vec::with_capacity(BUFFER_SIZE),
            sequence: 0,
            speeds: Speeds::new(Path::new("/sys/class/net")),
            errors,
        }
    }

    /// Returns all interfaces of the network namespace, in order of ifindex, with their current counters.
    pub fn dump(&mut self) -> io::Result<Vec<Link>> {
        let now = Instant::now();
        match self.attempt(now + DEADLINE) {
            Ok(mut links) => {
                self.speeds.fill(&mut links, now);
                Ok(links)
            }
            Err(error) => {
                self.socket = None;
                self.errors
                    .count_and_log(Subsystem::Netlink, "link dump", || {
                        format!("cannot read the interfaces: {error}")
                    });
                Err(error)
            }
        }
    }

    /// Repeats a dump that was interrupted: a link that disappears or appears while the kernel walks its list
    /// may hide another. If every attempt was interrupted, the last one is as good as any.
    fn attempt(&mut self, deadline: Instant) -> io::Result<Vec<Link>> {
        let mut answer = self.ask(deadline)?;
        for _ in 1..MAX_ATTEMPTS {
            if !answer.interrupted {
                break;
            }
            answer = self.ask(deadline)?;
        }
        if answer.interrupted {
            self.errors
                .count_and_log(Subsystem::Netlink, "interrupted", || {
                    format!("interfaces changed during each of {MAX_ATTEMPTS} dumps")
                });
        }
        Ok(answer.in_order())
    }

    /// Sends one request and receives its whole answer.
    fn ask(&mut self, deadline: Instant) -> io::Result<Answer> {
        self.sequence = self.sequence.wrapping_add(1).max(1);
        let mut answer = Answer::new(self.sequence);
        let socket = match self.socket.take() {
            Some(socket) => socket,
            None => open()?,
        };
        let request = request(self.sequence);
        let sent = socket.send(&request, 0)?;
        if sent != request.len() {
            return Err(io::Error::other(format!(
                "sent {sent} of the {} bytes of the request",
                request.len()
            )));
        }
        while !answer.done {
            if Instant::now() > deadline {
                return Err(timed_out());
            }
            match receive(&socket, &mut self.buffer)? {
                Received::Datagram => {}
                Received::Nothing => return Err(timed_out()),
                Received::TooLong { length, room } => {
                    return Err(invalid(format!(
                        "a datagram of {length} bytes in a buffer of {room}"
                    )));
                }
            }
            answer.take(&self.buffer, |garbled| {
                self.errors
                    .count_and_log(Subsystem::Netlink, "link message", || garbled.to_string());
            })?;
        }
        self.socket = Some(socket);
        Ok(answer)
    }
}

pub(super) fn open() -> io::Result<Socket> {
    let mut socket = Socket::new(NETLINK_ROUTE)?;
    sockopt::set_socket_timeout(&socket, Timeout::Recv, Some(RECEIVE_TIMEOUT))?;
    socket.bind_auto()?;
    // Connects to the kernel: a connected netlink socket rejects messages of other processes.
    socket.connect(&SocketAddr::new(0, 0))?;
    Ok(socket)
}

fn request(sequence: u32) -> Vec<u8> {
    let payload = RouteNetlinkMessage::GetLink(LinkMessage::default());
    let mut message = NetlinkMessage::from(payload);
    message.header.flags = NLM_F_REQUEST | NLM_F_DUMP;
    message.header.sequence_number = sequence;
    message.finalize();
    let mut bytes = vec![0; message.buffer_len()];
    message.serialize(&mut bytes);
    bytes
}

/// The result of an attempt to read.
pub(super) enum Received {
    Datagram,
    /// There was no datagram before the timeout, or there is none yet.
    Nothing,
    /// The datagram is lost; the buffer was enlarged for the next.
    TooLong {
        length: usize,
        room: usize,
    },
}

/// Reads one datagram into `buffer`.
pub(super) fn receive(socket: &Socket, buffer: &mut Vec<u8>) -> io::Result<Received> {
    // With this flag the kernel returns the length of the datagram, even if it does not fit.
    let flags = RecvFlags::TRUNC.bits() as i32;
    buffer.clear();
    let length = loop {
        match socket.recv(buffer, flags) {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(Received::Nothing),
            other => break other?,
        }
    };
    if length <= buffer.len() {
        return Ok(Received::Datagram);
    }
    let room = buffer.len();
    buffer.clear();
    buffer.reserve_exact(length.next_power_of_two().min(MAX_BUFFER_SIZE));
    Ok(Received::TooLong { length, room })
}

/// Sends a request for a dump, and passes each datagram of the answer to `take`, which adds to the number of messages
/// and returns whether the answer is complete. `most` messages and `timeout` limit an answer without end.
pub(super) fn dump(
    request: &[u8],
    (most, timeout): (usize, Duration),
    mut take: impl FnMut(&[u8], &mut usize) -> io::Result<bool>,
) -> io::Result<()> {
    let socket = open()?;
    let deadline = Instant::now() + timeout;
    socket.send(request, 0)?;
    let mut buffer = Vec::with_capacity(BUFFER_SIZE);
    let mut messages = 0;
    loop {
        match receive(&socket, &mut buffer)? {
            Received::Datagram => {}
            Received::Nothing => return Err(io::ErrorKind::TimedOut.into()),
            Received::TooLong { length, room } => {
                return Err(invalid(format!(
                    "a datagram of {length} bytes in a buffer of {room}"
                )));
            }
        }
        if take(&buffer, &mut messages)? {
            return Ok(());
        }
        if messages > most || Instant::now() > deadline {
            return Err(invalid(format!(
                "an answer without end, {messages} messages so far"
            )));
        }
    }
}

fn timed_out() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, "the kernel's answer does not end")
}

pub(super) fn invalid(message: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, message)
}

/// The part of the answer to one dump request that was received so far.
struct Answer {
    sequence: u32,
    links: Vec<Link>,
    interrupted: bool,
    done: bool,
}

impl Answer {
    fn new(sequence: u32) -> Self {
        Self {
            sequence,
            links: Vec::new(),
            interrupted: false,
            done: false,
        }
    }

    /// Adds one datagram. Skips links that cannot be parsed, and passes their errors to `garbled`.
    fn take(&mut self, datagram: &[u8], mut garbled: impl FnMut(DecodeError)) -> io::Result<()> {
        let mut rest = datagram;
        while !rest.is_empty() && !self.done {
            let message = NetlinkBuffer::new_checked(rest).map_err(|e| invalid(e.to_string()))?;
            let length = message.length() as usize;
            rest = &rest[length.next_multiple_of(NLMSG_ALIGN).min(rest.len())..];
            if message.sequence_number() != self.sequence {
                continue; // an event, or the rest of an abandoned answer
            }
            self.interrupted |= message.flags() & NLM_F_DUMP_INTR != 0;
            let payload = message.payload();
            match message.message_type() {
                RTM_NEWLINK if self.links.len() == MAX_LINKS => {
                    return Err(invalid(format!("more than {MAX_LINKS} interfaces")));
                }
                RTM_NEWLINK => match message::parse(payload) {
                    Ok(link) => self.links.push(link),
                    Err(error) => garbled(error),
                },
                NLMSG_DONE => {
                    status(payload)?;
                    self.done = true;
                }
                NLMSG_ERROR => {
                    status(payload)?;
                    return Err(invalid("an acknowledgement nobody asked for".into()));
                }
                NLMSG_OVERRUN => return Err(invalid("overrun".into())),
                _ => {}
            }
        }
        Ok(())
    }

    /// Returns the links in order of ifindex, each once, as last received.
    fn in_order(mut self) -> Vec<Link> {
        self.links.reverse();
        self.links.sort_by_key(|l| l.ifindex);
        self.links.dedup_by_key(|l| l.ifindex);
        self.links
    }
}

/// NLMSG_DONE and NLMSG_ERROR begin with 0 or a negative errno.
fn status(payload: &[u8]) -> io::Result<()> {
    let code = payload
        .first_chunk()
        .map(|b| i32::from_ne_bytes(*b))
        .ok_or_else(|| invalid(format!("a status of {} bytes", payload.len())))?;
    match code {
        0 => Ok(()),
        code => Err(io::Error::from_raw_os_error(code.saturating_abs())),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::netlink::message::tests::payload;

    const SEQUENCE: u32 = 5;
    const EVENT: u32 = 0;

    pub fn message(kind: u16, flags: u16, sequence: u32, payload: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        out.extend(((payload.len() + 16) as u32).to_ne_bytes());
        out.extend(kind.to_ne_bytes());
        out.extend(flags.to_ne_bytes());
        out.extend(sequence.to_ne_bytes());
        out.extend(0u32.to_ne_bytes());
        out.extend(payload);
        out.resize(out.len().next_multiple_of(4), 0);
        out
    }

    fn link(sequence: u32, flags: u16, ifindex: u32, name: &str) -> Vec<u8> {
        let payload = payload(ifindex, 1, &[(3, name.as_bytes())]);
        message(RTM_NEWLINK, flags, sequence, &payload)
    }

    fn done(errno: i32) -> Vec<u8> {
        message(NLMSG_DONE, 2, SEQUENCE, &errno.to_ne_bytes())
    }

    fn take(answer: &mut Answer, datagram: &[u8]) -> (io::Result<()>, usize) {
        let mut garbled = 0;
        let result = answer.take(datagram, |_| garbled += 1);
        (result, garbled)
    }

    fn names(answer: Answer) -> Vec<String> {
        answer.in_order().into_iter().map(|l| l.name).collect()
    }

    #[test]
    fn events_between_the_answers_are_passed_over() {
        let mut answer = Answer::new(SEQUENCE);
        let first = [
            link(SEQUENCE, 2, 2, "b"),
            link(EVENT, 0, 9, "event"),
            link(SEQUENCE - 1, 2, 8, "old"),
            link(SEQUENCE, 2, 1, "a"),
        ]
        .concat();
        take(&mut answer, &first).0.unwrap();
        assert!(!answer.done);
        take(&mut answer, &link(EVENT, 0, 9, "event")).0.unwrap();
        take(&mut answer, &done(0)).0.unwrap();
        assert!(answer.done && !answer.interrupted);
        assert_eq!(names(answer), ["a", "b"]);
    }

    #[test]
    fn an_interrupted_dump_is_told_and_its_last_word_on_a_link_holds() {
        let mut answer = Answer::new(SEQUENCE);
        let datagram = [
            link(SEQUENCE, 2, 1, "a"),
            link(SEQUENCE, 2, 2, "b"),
            link(SEQUENCE, 2 | NLM_F_DUMP_INTR, 2, "renamed"),
            done(0),
        ];
        take(&mut answer, &datagram.concat()).0.unwrap();
        assert!(answer.interrupted);
        assert_eq!(names(answer), ["a", "renamed"]);
    }

    #[test]
    fn a_garbled_link_does_not_hide_the_others() {
        let mut answer = Answer::new(SEQUENCE);
        let datagram = [
            message(RTM_NEWLINK, 2, SEQUENCE, &[0; 16]),
            link(SEQUENCE, 2, 1, "a"),
            done(0),
        ];
        let (result, garbled) = take(&mut answer, &datagram.concat());
        result.unwrap();
        assert_eq!((names(answer), garbled), (vec!["a".to_owned()], 1));
    }

    #[test]
    fn the_kernels_errors_are_ours() {
        for kind in [NLMSG_DONE, NLMSG_ERROR] {
            let mut answer = Answer::new(SEQUENCE);
            let refused = message(kind, 0, SEQUENCE, &(-16i32).to_ne_bytes());
            let error = take(&mut answer, &refused).0.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::ResourceBusy);
        }
        let mut answer = Answer::new(SEQUENCE);
        let short = message(NLMSG_DONE, 0, SEQUENCE, &[0; 3]);
        assert!(take(&mut answer, &short).0.is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut answer = Answer::new(SEQUENCE);
            let _ = answer.take(&bytes, |_| {});
            let mut led = link(SEQUENCE, 2, 1, "a");
            led.extend(bytes);
            let _ = answer.take(&led, |_| {});
        }
    }
}
