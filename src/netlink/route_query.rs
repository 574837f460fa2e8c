// SPDX-License-Identifier: AGPL-3.0-only
//! Queries the route that the kernel uses for an address (`RTM_GETROUTE`).

use std::io;
use std::net::IpAddr;

use netlink_packet_core::{
    NLM_F_REQUEST, NLMSG_ERROR, NetlinkBuffer, NetlinkMessage, NlasIterator,
};
use netlink_packet_route::route::{RouteAddress, RouteAttribute, RouteFlags, RouteMessage};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use netlink_sys::Socket;

use super::dump::{Received, invalid, open, receive};

/// A limit on datagrams that do not answer the last request.
const MAX_STRAY: usize = 16;

const BUFFER_SIZE: usize = 8 * 1024;

// include/uapi/linux/rtnetlink.h
const RTM_NEWROUTE: u16 = 24;
/// struct rtmsg.
const HEADER_LEN: usize = 12;
const PREFIX_LENGTH_AT: usize = 1;
const TYPE_AT: usize = 7;
const RTN_UNICAST: u8 = 1;

/// A route netlink socket, opened by the first query and kept between queries.
#[derive(Default)]
pub(super) struct RouteSocket {
    /// Closed after an error, which discards the rest of the answer.
    socket: Option<Socket>,
    buffer: Vec<u8>,
    sequence: u32,
}

/// A unicast route, as the kernel describes it.
#[derive(Debug)]
pub(super) struct Route<'a> {
    pub prefix_length: u8,
    attributes: &'a [u8],
}

impl Route<'_> {
    /// Returns the value of the first attribute for which `pick` returns one.
    pub(super) fn find<T>(&self, pick: impl Fn(u16, &[u8]) -> Option<T>) -> io::Result<Option<T>> {
        for nla in NlasIterator::new(self.attributes) {
            let nla = nla.map_err(|e| invalid(e.to_string()))?;
            if let Some(value) = pick(nla.kind(), nla.value()) {
                return Ok(Some(value));
            }
        }
        Ok(None)
    }
}

impl RouteSocket {
    /// Returns the route to `to`, `None` if there is none or if it is not unicast. With
    /// [`RouteFlags::FibMatch`], it is the route of the table instead of that of this one address.
    pub(super) fn query(&mut self, to: IpAddr, flags: RouteFlags) -> io::Result<Option<Route<'_>>> {
        self.sequence = self.sequence.wrapping_add(1).max(1);
        // an error leaves no socket behind
        let socket = match self.socket.take() {
            Some(socket) => socket,
            None => open()?,
        };
        self.buffer.clear();
        self.buffer.reserve_exact(BUFFER_SIZE);
        socket.send(&request(to, flags, self.sequence), 0)?;
        for _ in 0..MAX_STRAY {
            match receive(&socket, &mut self.buffer)? {
                Received::Datagram => {}
                Received::Nothing => return Err(io::ErrorKind::TimedOut.into()),
                Received::TooLong { .. } => continue,
            }
            if is_answer(&self.buffer, self.sequence)? {
                self.socket = Some(socket);
                return answer(&self.buffer);
            }
        }
        Err(invalid("no answer among the answers".into()))
    }
}

fn request(to: IpAddr, flags: RouteFlags, sequence: u32) -> Vec<u8> {
    let mut route = RouteMessage::default();
    (
        route.header.address_family,
        route.header.destination_prefix_length,
    ) = match to {
        IpAddr::V4(_) => (AddressFamily::Inet, 32),
        IpAddr::V6(_) => (AddressFamily::Inet6, 128),
    };
    route.header.flags = flags;
    let destination = RouteAttribute::Destination(RouteAddress::from(to));
    route.attributes.push(destination);
    let mut message = NetlinkMessage::from(RouteNetlinkMessage::GetRoute(route));
    message.header.flags = NLM_F_REQUEST;
    message.header.sequence_number = sequence;
    message.finalize();
    let mut bytes = vec![0; message.buffer_len()];
    message.serialize(&mut bytes);
    bytes
}

fn is_answer(datagram: &[u8], sequence: u32) -> io::Result<bool> {
    let message = NetlinkBuffer::new_checked(datagram).map_err(|e| invalid(e.to_string()))?;
    Ok(message.sequence_number() == sequence)
}

fn answer(datagram: &[u8]) -> io::Result<Option<Route<'_>>> {
    let message = NetlinkBuffer::new_checked(datagram).map_err(|e| invalid(e.to_string()))?;
    match message.message_type() {
        RTM_NEWROUTE => unicast(message.payload()),
        // there is no route
        NLMSG_ERROR => Ok(None),
        other => Err(invalid(format!("an answer of type {other}"))),
    }
}

/// Reads a route; returns `None` if it is not unicast.
pub(super) fn unicast(payload: &[u8]) -> io::Result<Option<Route<'_>>> {
    let Some((header, attributes)) = payload.split_at_checked(HEADER_LEN) else {
        return Err(invalid(format!("a route of {} bytes", payload.len())));
    };
    let route = Route {
        prefix_length: header[PREFIX_LENGTH_AT],
        attributes,
    };
    Ok((header[TYPE_AT] == RTN_UNICAST).then_some(route))
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Returns the payload of a route message: its prefix length, its type, and its attributes.
    pub fn payload(prefix_length: u8, kind: u8, attributes: &[(u16, &[u8])]) -> Vec<u8> {
        let mut out = vec![0; HEADER_LEN];
        (out[PREFIX_LENGTH_AT], out[TYPE_AT]) = (prefix_length, kind);
        for (kind, value) in attributes {
            out.extend((value.len() as u16 + 4).to_ne_bytes());
            out.extend(kind.to_ne_bytes());
            out.extend(*value);
            out.resize(out.len().next_multiple_of(4), 0);
        }
        out
    }

    #[test]
    fn only_unicast_routes_are_returned() {
        assert!(unicast(&payload(0, RTN_UNICAST, &[])).unwrap().is_some());
        // RTN_LOCAL, RTN_BLACKHOLE
        assert!(unicast(&payload(32, 2, &[])).unwrap().is_none());
        assert!(unicast(&payload(24, 6, &[])).unwrap().is_none());
        assert!(unicast(&[0; HEADER_LEN - 1]).is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = is_answer(&bytes, 5);
            if let Ok(Some(route)) = answer(&bytes) {
                let _ = route.find(|_, _| None::<()>);
            }
            if let Ok(Some(route)) = unicast(&bytes) {
                let _ = route.find(|_, _| None::<()>);
            }
        }
    }
}
