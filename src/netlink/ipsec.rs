// SPDX-License-Identifier: AGPL-3.0-only
//! Detects whether the kernel has IPsec policies or states: then packets that it decrypts pass the ingress hook
//! of their interface twice.

use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::{fs, io};

use netlink_packet_core::{NLM_F_REQUEST, NLMSG_ERROR, NetlinkBuffer};
use netlink_sys::protocols::NETLINK_XFRM;
use netlink_sys::{Socket, SocketAddr};
use rustix::net::sockopt::{self, Timeout};

use super::dump::{BUFFER_SIZE, RECEIVE_TIMEOUT, Received, invalid, receive};

// include/uapi/linux/xfrm.h
const XFRM_MSG_GETSADINFO: u16 = 0x23;
const XFRM_MSG_GETSPDINFO: u16 = 0x25;
/// XFRMA_SAD_CNT, and XFRMA_SPD_INFO of counts that begin with those of the main policies.
const FIRST_ATTRIBUTE: u16 = 1;
const MAIN_POLICY_COUNTS: usize = 3;
/// XFRMNLGRP_SA and XFRMNLGRP_POLICY, as a mask.
const GROUPS: u32 = 1 << 2 | 1 << 3;

const NLMSG_HEADER: usize = 16;

/// The IPsec state of the network namespace of the thread that calls [`Ipsec::check`].
#[derive(Default)]
pub struct Ipsec {
    /// Receives an event for each change.
    events: Option<Socket>,
    active: bool,
}

impl Ipsec {
    /// Returns whether decrypted packets currently pass twice.
    pub fn is_active(&self) -> bool {
        self.active
    }

    /// Queries the kernel. Returns true if the answer has changed.
    pub fn check(&mut self) -> bool {
        if self.events.is_none() && is_loaded() {
            self.events = listen().ok();
        }
        self.drain();
        let active = self.events.is_some() && !takes_before_hooks() && count().unwrap_or(0) > 0;
        std::mem::replace(&mut self.active, active) != active
    }

    /// Returns the socket that becomes readable at a change, if there is one.
    pub fn events(&self) -> Option<BorrowedFd<'_>> {
        self.events.as_ref().map(AsFd::as_fd)
    }

    /// Discards the events: they are only a reason to query the kernel.
    fn drain(&mut self) {
        let mut buffer = Vec::with_capacity(BUFFER_SIZE);
        if let Some(socket) = &self.events {
            // an overflow is an error of one read, and also a reason to query
            for _ in 0..1024 {
                if matches!(receive(socket, &mut buffer), Ok(Received::Nothing)) {
                    break;
                }
            }
        }
    }
}

/// Returns whether the kernel has loaded this protocol. Opening a socket would load it.
fn is_loaded() -> bool {
    let is_xfrm = |line: &str| {
        let protocol = line.split_whitespace().nth(1);
        protocol.and_then(|p| p.parse().ok()) == Some(NETLINK_XFRM)
    };
    let sockets = fs::read_to_string("/proc/thread-self/net/netlink");
    sockets.is_ok_and(|text| text.lines().any(is_xfrm))
}

/// Returns whether GRO decrypts before the hooks, which these modules cause: there is only one pass, of the
/// inner packet.
fn takes_before_hooks() -> bool {
    ["esp4_offload", "esp6_offload"]
        .iter()
        .any(|module| Path::new("/sys/module").join(module).exists())
}

fn listen() -> io::Result<Socket> {
    let mut socket = Socket::new(NETLINK_XFRM)?;
    socket.set_non_blocking(true)?;
    socket.bind(&SocketAddr::new(0, GROUPS))?;
    Ok(socket)
}

/// Returns the number of policies and states.
fn count() -> io::Result<u32> {
    let policies = ask(XFRM_MSG_GETSPDINFO, MAIN_POLICY_COUNTS)?;
    Ok(policies.saturating_add(ask(XFRM_MSG_GETSADINFO, 1)?))
}

/// Returns the sum of the first numbers of the first attribute of the reply.
fn ask(kind: u16, numbers: usize) -> io::Result<u32> {
    let mut socket = Socket::new(NETLINK_XFRM)?;
    sockopt::set_socket_timeout(&socket, Timeout::Recv, Some(RECEIVE_TIMEOUT))?;
    socket.bind_auto()?;
    socket.connect(&SocketAddr::new(0, 0))?;
    let mut request = Vec::with_capacity(NLMSG_HEADER + 4);
    request.extend((NLMSG_HEADER as u32 + 4).to_ne_bytes());
    request.extend(kind.to_ne_bytes());
    request.extend(NLM_F_REQUEST.to_ne_bytes());
    request.extend([0; 8]); // sequence, port
    request.extend(u32::MAX.to_ne_bytes()); // flags
    socket.send(&request, 0)?;
    let mut buffer = Vec::with_capacity(BUFFER_SIZE);
    match receive(&socket, &mut buffer)? {
        Received::Datagram => sum_in(&buffer, numbers),
        _ => Err(io::ErrorKind::TimedOut.into()),
    }
}

fn sum_in(datagram: &[u8], numbers: usize) -> io::Result<u32> {
    let message = NetlinkBuffer::new_checked(datagram).map_err(|e| invalid(e.to_string()))?;
    if message.message_type() == NLMSG_ERROR {
        return Err(io::Error::other(
            "the kernel refuses to count IPsec policies",
        ));
    }
    let mut rest = message.payload().get(4..).unwrap_or_default();
    while let Some((header, _)) = rest.split_first_chunk::<4>() {
        let length = usize::from(u16::from_ne_bytes([header[0], header[1]]));
        let Some(value) = rest.get(4..length) else {
            break;
        };
        if u16::from_ne_bytes([header[2], header[3]]) == FIRST_ATTRIBUTE {
            let (words, _) = value.as_chunks::<4>();
            let words = words.iter().take(numbers).map(|w| u32::from_ne_bytes(*w));
            return Ok(words.fold(0, u32::saturating_add));
        }
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    Err(invalid("a reply without a count".into()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::netlink::dump::tests::message;

    #[test]
    fn the_counts_of_the_main_policies_are_added_up() {
        let mut payload = vec![0xff; 4];
        payload.extend([28, 0, 1, 0]);
        for count in [1_u32, 2, 4, 100, 100, 100] {
            payload.extend(count.to_ne_bytes());
        }
        let reply = message(0x24, 0, 0, &payload);
        assert_eq!(sum_in(&reply, MAIN_POLICY_COUNTS).expect("a sum"), 7);
        let other = message(
            0x24,
            0,
            0,
            &[0xff, 0xff, 0xff, 0xff, 8, 0, 2, 0, 1, 0, 0, 0],
        );
        assert!(sum_in(&other, 1).is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = sum_in(&bytes, 3);
            let _ = sum_in(&message(0x24, 0, 0, &bytes), 3);
        }
    }
}
