// SPDX-License-Identifier: AGPL-3.0-only
//! Reads the addresses of this machine (`RTM_GETADDR`), and receives events of their changes.

use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use netlink_packet_core::{
    NLM_F_DUMP, NLM_F_REQUEST, NLMSG_DONE, NLMSG_ERROR, NetlinkBuffer, NetlinkMessage, NlasIterator,
};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::address::AddressMessage;
use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::{Socket, SocketAddr};

use super::dump::{BUFFER_SIZE, NLMSG_ALIGN, Received, invalid, open, receive};

// include/uapi/linux/rtnetlink.h, if_addr.h
const RTM_NEWADDR: u16 = 20;
const RTMGRP_IPV4_IFADDR: u32 = 0x10;
const RTMGRP_IPV6_IFADDR: u32 = 0x100;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
/// struct ifaddrmsg.
const HEADER_LEN: usize = 8;

/// A limit that no router can be expected to reach.
const MAX_ADDRESSES: usize = 1 << 16;
/// The timeout of the whole answer.
const DEADLINE: Duration = Duration::from_secs(2);

/// A socket that receives an event when an address is added or removed.
pub struct AddressEvents {
    socket: Socket,
    buffer: Vec<u8>,
}

impl AddressEvents {
    /// Opens a socket for all later events, in the network namespace of the calling thread.
    pub fn open() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.set_non_blocking(true)?;
        socket.bind(&SocketAddr::new(0, RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR))?;
        // connects to the kernel: a connected netlink socket rejects messages of other processes
        socket.connect(&SocketAddr::new(0, 0))?;
        Ok(Self {
            socket,
            buffer: Vec::with_capacity(BUFFER_SIZE),
        })
    }

    /// Returns whether an address has changed since the last call. [`addresses`] returns the current addresses.
    pub fn happened(&mut self) -> bool {
        const MOST: usize = 256;
        for n in 0..MOST {
            match receive(&self.socket, &mut self.buffer) {
                Ok(Received::Nothing) => return n > 0,
                Ok(Received::Datagram | Received::TooLong { .. }) => {}
                // the buffer of the socket has overflowed
                Err(_) => return true,
            }
        }
        true
    }
}

impl AsFd for AddressEvents {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// Returns all addresses by which others reach this network namespace: not loopback, not link-local.
pub fn addresses() -> io::Result<BTreeSet<IpAddr>> {
    let socket = open()?;
    let deadline = Instant::now() + DEADLINE;
    let request = request();
    socket.send(&request, 0)?;
    let mut buffer = Vec::with_capacity(BUFFER_SIZE);
    let mut found = BTreeSet::new();
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
        if take(&buffer, &mut found)? {
            return Ok(found);
        }
        if found.len() > MAX_ADDRESSES || Instant::now() > deadline {
            return Err(invalid(format!(
                "an answer without end, {} so far",
                found.len()
            )));
        }
    }
}

fn request() -> Vec<u8> {
    let payload = RouteNetlinkMessage::GetAddress(AddressMessage::default());
    let mut message = NetlinkMessage::from(payload);
    message.header.flags = NLM_F_REQUEST | NLM_F_DUMP;
    message.header.sequence_number = 1;
    message.finalize();
    let mut bytes = vec![0; message.buffer_len()];
    message.serialize(&mut bytes);
    bytes
}

/// Reads the addresses of one datagram; returns whether it was the last.
fn take(datagram: &[u8], found: &mut BTreeSet<IpAddr>) -> io::Result<bool> {
    let mut rest = datagram;
    while !rest.is_empty() {
        let message = NetlinkBuffer::new_checked(rest).map_err(|e| invalid(e.to_string()))?;
        let length = message.length() as usize;
        rest = &rest[length.next_multiple_of(NLMSG_ALIGN).min(rest.len())..];
        match message.message_type() {
            NLMSG_DONE => return Ok(true),
            NLMSG_ERROR => return Err(invalid("the kernel refuses to tell".into())),
            RTM_NEWADDR => found.extend(address(message.payload()).filter(is_reached)),
            _ => {}
        }
    }
    Ok(false)
}

/// Returns the local address: on a link with two ends `IFA_ADDRESS` is that of the other end.
fn address(payload: &[u8]) -> Option<IpAddr> {
    let attributes = payload.get(HEADER_LEN..)?;
    let mut found = None;
    for attribute in NlasIterator::new(attributes) {
        let attribute = attribute.ok()?;
        let address = match *attribute.value() {
            [a, b, c, d] => IpAddr::from(Ipv4Addr::new(a, b, c, d)),
            ref bytes => match <[u8; 16]>::try_from(bytes) {
                Ok(bytes) => IpAddr::from(Ipv6Addr::from(bytes)),
                Err(_) => continue,
            },
        };
        match attribute.kind() {
            IFA_LOCAL => return Some(address),
            IFA_ADDRESS => found = Some(address),
            _ => {}
        }
    }
    found
}

fn is_reached(address: &IpAddr) -> bool {
    !address.is_loopback()
        && match address {
            IpAddr::V4(_) => true,
            IpAddr::V6(v6) => !v6.is_unicast_link_local(),
        }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::netlink::dump::tests::message;

    fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
        let mut bytes = ((4 + value.len()) as u16).to_ne_bytes().to_vec();
        bytes.extend(kind.to_ne_bytes());
        bytes.extend(value);
        bytes
    }

    fn told(attributes: &[Vec<u8>]) -> Vec<u8> {
        let payload = [vec![0; HEADER_LEN], attributes.concat()].concat();
        message(RTM_NEWADDR, 0, 1, &payload)
    }

    #[test]
    fn the_own_end_of_a_link_is_the_own_address() {
        let datagram = [
            told(&[
                attribute(IFA_ADDRESS, &[192, 0, 2, 2]),
                attribute(IFA_LOCAL, &[192, 0, 2, 1]),
            ]),
            told(&[attribute(IFA_ADDRESS, &[0x20; 16])]),
            told(&[attribute(IFA_LOCAL, &[127, 0, 0, 1])]),
            told(&[attribute(
                IFA_ADDRESS,
                &[0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1],
            )]),
        ]
        .concat();
        let mut found = BTreeSet::new();
        assert!(!take(&datagram, &mut found).unwrap());
        let expected = ["192.0.2.1", "2020:2020:2020:2020:2020:2020:2020:2020"];
        assert_eq!(found, expected.map(|a| a.parse().unwrap()).into());
        assert!(take(&message(NLMSG_DONE, 0, 1, &[0; 4]), &mut found).unwrap());
        assert!(take(&[0; 15], &mut found).is_err());
    }

    #[test]
    fn the_kernel_answers() {
        addresses().unwrap();
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = take(&bytes, &mut BTreeSet::new());
            address(&bytes);
        }
    }
}
