// SPDX-License-Identifier: AGPL-3.0-only
//! Reads the neighbor tables of the kernel, ARP and NDP (`RTM_GETNEIGH`), and receives their changes.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use netlink_packet_core::{
    DecodeError, NLM_F_DUMP, NLM_F_REQUEST, NLMSG_DONE, NLMSG_ERROR, NLMSG_OVERRUN, NetlinkBuffer,
    NetlinkMessage, NlasIterator,
};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::neighbour::NeighbourMessage;
use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::{Socket, SocketAddr};

use super::dump::{BUFFER_SIZE, NLMSG_ALIGN, Received, dump, invalid, receive};

// include/uapi/linux/rtnetlink.h, neighbour.h
const RTM_NEWNEIGH: u16 = 28;
const RTM_DELNEIGH: u16 = 29;
const RTMGRP_NEIGH: u32 = 4;
const NDA_DST: u16 = 1;
const NDA_LLADDR: u16 = 2;
const NUD_INCOMPLETE: u16 = 0x01;
const NUD_FAILED: u16 = 0x20;
/// struct ndmsg: family, 3 bytes of padding, ifindex, state, flags, type.
const HEADER_LEN: usize = 12;

/// Datagrams of one batch; the rest is in the next batch.
const MAX_DATAGRAMS: usize = 256;
/// Larger tables than the kernel keeps by default (`gc_thresh3` is 1,024) by a wide margin.
const MAX_NEIGHBORS: usize = 1 << 17;
/// The timeout of the whole answer.
const DEADLINE: Duration = Duration::from_secs(2);

/// The state of an entry of a neighbor table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NeighborEntry {
    pub ifindex: u32,
    pub address: IpAddr,
    /// All zero on devices without Ethernet; `None` if the entry was deleted, or the neighbor does not answer.
    pub mac: Option<[u8; 6]>,
}

/// The result of a read.
pub enum NeighborRead {
    Events(Vec<NeighborEntry>),
    /// Some events were lost: read the whole tables.
    Overflow,
}

/// A socket that receives the changes of the neighbor tables of the network namespace.
pub struct NeighborEvents {
    socket: Socket,
    buffer: Vec<u8>,
}

impl NeighborEvents {
    /// Opens a socket for all later changes, in the network namespace of the calling thread.
    pub fn open() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.set_non_blocking(true)?;
        socket.bind(&SocketAddr::new(0, RTMGRP_NEIGH))?;
        // connects to the kernel: a connected netlink socket rejects messages of other processes
        socket.connect(&SocketAddr::new(0, 0))?;
        Ok(Self {
            socket,
            buffer: Vec::with_capacity(BUFFER_SIZE),
        })
    }

    /// Reads the pending changes, in the order in which they happened.
    pub fn read(&mut self) -> NeighborRead {
        let mut events = Vec::new();
        for _ in 0..MAX_DATAGRAMS {
            match receive(&self.socket, &mut self.buffer) {
                Ok(Received::Nothing) => break,
                Ok(Received::Datagram) => match take(&self.buffer, |entry| events.push(entry)) {
                    Ok(_) => {}
                    Err(_) => return NeighborRead::Overflow,
                },
                Ok(Received::TooLong { .. }) | Err(_) => return NeighborRead::Overflow,
            }
        }
        NeighborRead::Events(events)
    }
}

impl AsFd for NeighborEvents {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// Returns all entries of the neighbor tables, IPv4 and IPv6.
pub fn neighbors() -> io::Result<Vec<NeighborEntry>> {
    let mut found = Vec::new();
    dump(
        &request(),
        (MAX_NEIGHBORS, DEADLINE),
        |datagram, messages| {
            let is_last = take(datagram, |entry| found.push(entry))?;
            *messages = found.len();
            Ok(is_last)
        },
    )?;
    Ok(found)
}

fn request() -> Vec<u8> {
    let payload = RouteNetlinkMessage::GetNeighbour(NeighbourMessage::default());
    let mut message = NetlinkMessage::from(payload);
    message.header.flags = NLM_F_REQUEST | NLM_F_DUMP;
    message.header.sequence_number = 1;
    message.finalize();
    let mut bytes = vec![0; message.buffer_len()];
    message.serialize(&mut bytes);
    bytes
}

/// Reads the entries of one datagram; returns whether it was the last of a dump.
fn take(datagram: &[u8], mut found: impl FnMut(NeighborEntry)) -> io::Result<bool> {
    let mut rest = datagram;
    while !rest.is_empty() {
        let message = NetlinkBuffer::new_checked(rest).map_err(|e| invalid(e.to_string()))?;
        let length = message.length() as usize;
        rest = &rest[length.next_multiple_of(NLMSG_ALIGN).min(rest.len())..];
        let kind = message.message_type();
        match kind {
            NLMSG_DONE => return Ok(true),
            NLMSG_ERROR => return Err(invalid("the kernel rejects the request".into())),
            NLMSG_OVERRUN => return Err(invalid("messages were lost".into())),
            RTM_NEWNEIGH | RTM_DELNEIGH => {
                let entry = parse(message.payload()).map_err(|error| invalid(error.to_string()))?;
                if let Some(mut entry) = entry {
                    entry.mac = entry.mac.filter(|_| kind == RTM_NEWNEIGH);
                    found(entry);
                }
            }
            _ => {}
        }
    }
    Ok(false)
}

/// Parses an entry; `None` if it is not of IPv4 or IPv6 (bridges send their forwarding tables), or has no address.
fn parse(payload: &[u8]) -> Result<Option<NeighborEntry>, DecodeError> {
    let Some((header, attributes)) = payload.split_at_checked(HEADER_LEN) else {
        return Err(format!("a neighbor of {} bytes", payload.len()).into());
    };
    let family = i32::from(header[0]);
    if family != libc::AF_INET && family != libc::AF_INET6 {
        return Ok(None);
    }
    let ifindex = u32::from_ne_bytes([header[4], header[5], header[6], header[7]]);
    let state = u16::from_ne_bytes([header[8], header[9]]);
    let (mut address, mut mac) = (None, Some([0; 6]));
    for attribute in NlasIterator::new(attributes) {
        let attribute = attribute?;
        let value = attribute.value();
        match attribute.kind() {
            NDA_DST => {
                let v4 = <[u8; 4]>::try_from(value).map(|b| IpAddr::from(Ipv4Addr::from(b)));
                let v6 = <[u8; 16]>::try_from(value).map(|b| IpAddr::from(Ipv6Addr::from(b)));
                address = v4.or(v6).ok();
            }
            // tunnels have addresses of other lengths
            NDA_LLADDR => mac = Some(<[u8; 6]>::try_from(value).unwrap_or_default()),
            _ => {}
        }
    }
    if state & (NUD_INCOMPLETE | NUD_FAILED) != 0 || state == 0 {
        mac = None;
    }
    Ok(address.map(|address| NeighborEntry {
        ifindex,
        address,
        mac,
    }))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::netlink::dump::tests::message;
    use crate::netlink::message::tests::attribute;

    const MAC: [u8; 6] = [2, 0, 0, 0, 0, 7];

    fn neighbor(family: i32, ifindex: u32, state: u16, attributes: &[(u16, &[u8])]) -> Vec<u8> {
        let mut out = vec![family as u8, 0, 0, 0];
        out.extend(ifindex.to_ne_bytes());
        out.extend(state.to_ne_bytes());
        out.extend([0, 1]);
        for (kind, value) in attributes {
            out.extend(attribute(*kind, value));
        }
        out
    }

    fn decoded(datagram: &[u8]) -> Vec<(u32, String, Option<u8>)> {
        let mut found = Vec::new();
        take(datagram, |entry| {
            found.push((
                entry.ifindex,
                entry.address.to_string(),
                entry.mac.map(|mac| mac[5]),
            ));
        })
        .unwrap();
        found
    }

    #[test]
    fn entries_have_a_mac_while_they_are_valid() {
        let both: [(u16, &[u8]); 2] = [(NDA_DST, &[192, 0, 2, 1]), (NDA_LLADDR, &MAC)];
        let stale = neighbor(libc::AF_INET, 3, 0x04, &both);
        let failed = neighbor(libc::AF_INET, 3, NUD_FAILED, &both);
        let six = Ipv6Addr::LOCALHOST.octets();
        let no_arp = neighbor(libc::AF_INET6, 4, 0x40, &[(NDA_DST, &six)]);
        let bridge = neighbor(libc::AF_BRIDGE, 3, 0x80, &[(NDA_LLADDR, &MAC)]);
        let datagram = [
            message(RTM_NEWNEIGH, 0, 0, &stale),
            message(RTM_NEWNEIGH, 0, 0, &failed),
            message(RTM_DELNEIGH, 0, 0, &stale),
            message(RTM_NEWNEIGH, 0, 0, &no_arp),
            message(RTM_NEWNEIGH, 0, 0, &bridge),
        ];
        let v4 = || "192.0.2.1".to_owned();
        let expected = vec![
            (3, v4(), Some(7)),
            (3, v4(), None),
            (3, v4(), None),
            (4, "::1".to_owned(), Some(0)),
        ];
        assert_eq!(decoded(&datagram.concat()), expected);
    }

    #[test]
    fn errors_are_reported() {
        for (kind, payload) in [
            (RTM_NEWNEIGH, vec![libc::AF_INET as u8; 11]),
            (NLMSG_OVERRUN, vec![]),
            (NLMSG_ERROR, vec![0; 4]),
        ] {
            assert!(take(&message(kind, 0, 0, &payload), |_| {}).is_err());
        }
        let done = message(NLMSG_DONE, 0, 0, &[]);
        assert!(take(&done, |_| {}).unwrap());
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = take(&bytes, |_| {});
            let _ = parse(&bytes);
            let mut led = neighbor(libc::AF_INET, 3, 2, &[]);
            led.extend(bytes);
            let _ = parse(&led);
        }
    }
}
