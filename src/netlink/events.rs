// SPDX-License-Identifier: AGPL-3.0-only
//! Receives events of links that appear, change and disappear (the group `RTMGRP_LINK`).

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

use netlink_packet_core::{DecodeError, NLMSG_OVERRUN, NetlinkBuffer};
use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::{Socket, SocketAddr};
use rustix::net::sockopt;

use super::dump::{BUFFER_SIZE, NLMSG_ALIGN, RTM_NEWLINK, Received, receive};
use super::{Link, message};
use crate::sys::error_counters::{ErrorCounters, Subsystem};

// include/uapi/linux/rtnetlink.h
const RTM_DELLINK: u16 = 17;
const RTMGRP_LINK: u32 = 1;

/// Room for about 200 events: as many as arrive while a few interfaces are attached. If more arrive, all
/// links are read again.
const RECEIVE_BUFFER: usize = 1 << 20;

/// Events of one batch; the rest is in the next batch.
const MAX_EVENTS: usize = 1024;

/// A change of a link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A link that is new, or has changed, with its current state.
    New(Link),
    /// A link was deleted, or moved to another network namespace.
    Gone(u32),
}

/// A socket that receives the events of all links of the network namespace.
pub struct LinkEvents {
    socket: Socket,
    buffer: Vec<u8>,
    errors: Arc<ErrorCounters>,
}

/// The result of a read.
pub enum ReadResult {
    Events(Vec<Event>),
    /// Some events were lost; the others were read and discarded.
    Overflow,
}

impl LinkEvents {
    /// Opens a socket for all later events, in the network namespace of the calling thread.
    pub fn open(errors: Arc<ErrorCounters>) -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        // beyond the system's limit only with CAP_NET_ADMIN, which attaching needs as well
        if sockopt::set_socket_recv_buffer_size_force(&socket, RECEIVE_BUFFER).is_err() {
            sockopt::set_socket_recv_buffer_size(&socket, RECEIVE_BUFFER)?;
        }
        socket.set_non_blocking(true)?;
        socket.bind(&SocketAddr::new(0, RTMGRP_LINK))?;
        // connects to the kernel: a connected netlink socket rejects messages of other processes
        socket.connect(&SocketAddr::new(0, 0))?;
        Ok(Self {
            socket,
            buffer: Vec::with_capacity(BUFFER_SIZE),
            errors,
        })
    }

    /// Reads the pending events, in the order in which they happened.
    pub fn read(&mut self) -> ReadResult {
        let mut events = Vec::new();
        let mut overflow = false;
        while events.len() < MAX_EVENTS || overflow {
            match receive(&self.socket, &mut self.buffer) {
                Ok(Received::Datagram) => {
                    let garbled = |error: DecodeError| {
                        self.errors
                            .count_and_log(Subsystem::Netlink, "link event", || error.to_string());
                    };
                    overflow |= decode(&self.buffer, &mut events, garbled).is_err();
                }
                Ok(Received::Nothing) => break,
                // a datagram that does not fit is lost, as are those for which the kernel had no room
                Ok(Received::TooLong { .. }) => overflow = true,
                Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => overflow = true,
                Err(error) => {
                    self.errors
                        .count_and_log(Subsystem::Netlink, "events", || error.to_string());
                    overflow = true;
                    break;
                }
            }
            if overflow {
                events.clear();
            }
        }
        match overflow {
            true => ReadResult::Overflow,
            false => ReadResult::Events(events),
        }
    }
}

impl AsFd for LinkEvents {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// Reads the events of one datagram; returns an error if some were lost.
fn decode(
    datagram: &[u8],
    events: &mut Vec<Event>,
    mut garbled: impl FnMut(DecodeError),
) -> Result<(), ()> {
    let mut rest = datagram;
    while !rest.is_empty() {
        let message = match NetlinkBuffer::new_checked(rest) {
            Ok(message) => message,
            Err(error) => {
                garbled(error);
                return Err(());
            }
        };
        let length = message.length() as usize;
        rest = &rest[length.next_multiple_of(NLMSG_ALIGN).min(rest.len())..];
        let payload = message.payload();
        // bridges report their ports in messages of the same type: for a port that leaves, they send RTM_DELLINK
        if payload.first() != Some(&(libc::AF_UNSPEC as u8)) {
            continue;
        }
        match message.message_type() {
            RTM_NEWLINK => match message::parse(payload) {
                Ok(link) => events.push(Event::New(link)),
                Err(error) => garbled(error),
            },
            RTM_DELLINK => match message::index_of(payload) {
                Ok(ifindex) => events.push(Event::Gone(ifindex)),
                Err(error) => garbled(error),
            },
            NLMSG_OVERRUN => return Err(()),
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::netlink::dump::tests::message;
    use crate::netlink::message::tests::payload;

    fn decoded(datagram: &[u8]) -> (Vec<Event>, usize, bool) {
        let (mut events, mut garbled) = (Vec::new(), 0);
        let lost = decode(datagram, &mut events, |_| garbled += 1).is_err();
        (events, garbled, lost)
    }

    #[test]
    fn links_come_and_go_in_order() {
        let eth0 = payload(7, 1, &[(3, b"eth0\0")]);
        let datagram = [
            message(RTM_NEWLINK, 0, 0, &eth0),
            message(RTM_DELLINK, 0, 0, &eth0),
        ];
        let (events, garbled, lost) = decoded(&datagram.concat());
        assert_eq!((garbled, lost), (0, false));
        let [Event::New(link), Event::Gone(7)] = &events[..] else {
            panic!("{events:?}");
        };
        assert_eq!((link.ifindex, &*link.name), (7, "eth0"));
    }

    #[test]
    fn a_port_that_leaves_its_bridge_is_not_gone() {
        let mut port = payload(7, 1, &[(3, b"eth0\0")]);
        port[0] = libc::AF_BRIDGE as u8;
        let datagram = [
            message(RTM_NEWLINK, 0, 0, &port),
            message(RTM_DELLINK, 0, 0, &port),
        ];
        assert_eq!(decoded(&datagram.concat()), (vec![], 0, false));
    }

    #[test]
    fn what_cannot_be_read_is_told() {
        let nameless = message(RTM_NEWLINK, 0, 0, &payload(7, 1, &[]));
        let short = message(RTM_DELLINK, 0, 0, &[0; 15]);
        assert_eq!(decoded(&[nameless, short].concat()), (vec![], 2, false));
        assert_eq!(
            decoded(&message(NLMSG_OVERRUN, 0, 0, &[0; 16])),
            (vec![], 0, true)
        );
        assert_eq!(decoded(&[0; 15]), (vec![], 1, true));
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            decoded(&bytes);
            let mut led = message(RTM_DELLINK, 0, 0, &payload(7, 1, &[]));
            led.extend(bytes);
            decoded(&led);
        }
    }
}
