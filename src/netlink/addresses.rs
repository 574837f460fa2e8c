// SPDX-License-Identifier: AGPL-3.0-only
//! Reads the addresses of this machine (`RTM_GETADDR`), and receives events of their changes.

use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use netlink_packet_core::{
    NLM_F_DUMP, NLM_F_REQUEST, NLMSG_DONE, NLMSG_ERROR, NetlinkBuffer, NetlinkMessage, NlasIterator,
};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::address::AddressMessage;
use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::{Socket, SocketAddr};

use super::dump::{BUFFER_SIZE, NLMSG_ALIGN, Received, invalid, receive};
use crate::types::prefix::Prefix;

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

/// A network that is reached through an interface without a router.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectedNetwork {
    pub ifindex: u32,
    /// The network of the address, or the address of the other end of the link.
    pub prefix: Prefix,
}

/// Returns all addresses by which others reach this network namespace: not loopback, not link-local.
pub fn addresses() -> io::Result<BTreeSet<IpAddr>> {
    let mut found = BTreeSet::new();
    dump(|payload| found.extend(address(payload).filter(is_reached)))?;
    Ok(found)
}

/// Returns the networks to which the interfaces are connected.
pub fn connected_networks() -> io::Result<Vec<ConnectedNetwork>> {
    let mut found = Vec::new();
    dump(|payload| found.extend(connected_network(payload)))?;
    Ok(found)
}

/// Calls `found` with each address message of the kernel.
fn dump(mut found: impl FnMut(&[u8])) -> io::Result<()> {
    super::dump::dump(
        &request(),
        (MAX_ADDRESSES, DEADLINE),
        |datagram, messages| {
            take(datagram, |payload| {
                *messages += 1;
                found(payload);
            })
        },
    )
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
fn take(datagram: &[u8], mut found: impl FnMut(&[u8])) -> io::Result<bool> {
    let mut rest = datagram;
    while !rest.is_empty() {
        let message = NetlinkBuffer::new_checked(rest).map_err(|e| invalid(e.to_string()))?;
        let length = message.length() as usize;
        rest = &rest[length.next_multiple_of(NLMSG_ALIGN).min(rest.len())..];
        match message.message_type() {
            NLMSG_DONE => return Ok(true),
            NLMSG_ERROR => return Err(invalid("the kernel refuses to tell".into())),
            RTM_NEWADDR => found(message.payload()),
            _ => {}
        }
    }
    Ok(false)
}

/// `IFA_ADDRESS` is the other end of a link with two ends, otherwise the local address.
fn connected_network(payload: &[u8]) -> Option<ConnectedNetwork> {
    let (header, attributes) = payload.split_at_checked(HEADER_LEN)?;
    let length = header[1];
    let ifindex = u32::from_ne_bytes([header[4], header[5], header[6], header[7]]);
    let attributes = NlasIterator::new(attributes).filter_map(Result::ok);
    let mut addresses = attributes.filter(|attribute| attribute.kind() == IFA_ADDRESS);
    let address = ip_address(addresses.next()?.value())?;
    let valid = length <= if address.is_ipv4() { 32 } else { 128 };
    valid.then(|| ConnectedNetwork {
        ifindex,
        prefix: Prefix::new(address, length),
    })
}

fn ip_address(bytes: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(bytes).map(|b| IpAddr::from(Ipv4Addr::from(b)));
    let v6 = <[u8; 16]>::try_from(bytes).map(|b| IpAddr::from(Ipv6Addr::from(b)));
    v4.or(v6).ok()
}

/// Returns the local address: on a link with two ends `IFA_ADDRESS` is that of the other end.
fn address(payload: &[u8]) -> Option<IpAddr> {
    let attributes = payload.get(HEADER_LEN..)?;
    let mut found = None;
    for attribute in NlasIterator::new(attributes) {
        let attribute = attribute.ok()?;
        let Some(address) = ip_address(attribute.value()) else {
            continue;
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
        let mut add = |payload: &[u8]| found.extend(address(payload).filter(is_reached));
        assert!(!take(&datagram, &mut add).unwrap());
        assert!(take(&message(NLMSG_DONE, 0, 1, &[0; 4]), &mut add).unwrap());
        assert!(take(&[0; 15], &mut add).is_err());
        let expected = ["192.0.2.1", "2020:2020:2020:2020:2020:2020:2020:2020"];
        assert_eq!(found, expected.map(|a| a.parse().unwrap()).into());
    }

    #[test]
    fn a_connected_network_is_that_of_the_other_end() {
        let mut payload = vec![libc::AF_INET as u8, 31, 0, 0, 7, 0, 0, 0];
        payload.extend(attribute(IFA_ADDRESS, &[192, 0, 2, 3]));
        payload.extend(attribute(IFA_LOCAL, &[192, 0, 2, 1]));
        let network = connected_network(&payload).unwrap();
        assert_eq!(
            (network.ifindex, &*network.prefix.to_string()),
            (7, "192.0.2.2/31")
        );
        payload[1] = 33;
        assert_eq!(connected_network(&payload), None);
    }

    #[test]
    fn the_kernel_answers() {
        addresses().unwrap();
        connected_networks().unwrap();
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = take(&bytes, |_| {});
            address(&bytes);
            connected_network(&bytes);
        }
    }
}
