// SPDX-License-Identifier: AGPL-3.0-only
//! Finds the router on the link to which the kernel forwards packets for an address, by its routes
//! (`RTM_GETROUTE`). Used for BGP next hops, of which there are few.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use netlink_packet_core::{
    NLM_F_REQUEST, NLMSG_ERROR, NetlinkBuffer, NetlinkMessage, NlasIterator,
};
use netlink_packet_route::route::{RouteAddress, RouteAttribute, RouteMessage};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use netlink_sys::Socket;

use super::dump::{Received, invalid, open, receive};
use crate::sys::error_counters::{ErrorCounters, Subsystem};

/// Answers are valid for this time. After an error there is no request for the same time.
const GOOD_FOR: Duration = Duration::from_secs(10);
/// A limit: more next hops than this indicate some other problem.
const MAX_KNOWN: usize = 4096;
/// A limit on datagrams that do not answer the last request.
const MAX_STRAY: usize = 16;

const BUFFER_SIZE: usize = 8 * 1024;

// include/uapi/linux/rtnetlink.h
const RTM_NEWROUTE: u16 = 24;
/// struct rtmsg.
const HEADER_LEN: usize = 12;
const TYPE_AT: usize = 7;
const RTN_UNICAST: u8 = 1;
const RTA_GATEWAY: u16 = 5;
const RTA_VIA: u16 = 18;

pub struct NextHops {
    socket: Option<Socket>,
    buffer: Vec<u8>,
    sequence: u32,
    known: HashMap<IpAddr, Option<IpAddr>>,
    /// The time of the oldest answer, or of the last error.
    since: Option<Instant>,
    failed: bool,
    errors: Arc<ErrorCounters>,
}

impl NextHops {
    /// Opens no socket yet: the first request does, in the network namespace of the thread that calls it.
    pub fn new(errors: Arc<ErrorCounters>) -> Self {
        Self {
            socket: None,
            buffer: Vec::new(),
            sequence: 0,
            known: HashMap::new(),
            since: None,
            failed: false,
            errors,
        }
    }

    /// Returns the router for `hop`: `hop` itself if it is on a link, `None` if the kernel has no route to it.
    pub fn of(&mut self, hop: IpAddr, now: Instant) -> Option<IpAddr> {
        if self.since.is_none_or(|since| now - since >= GOOD_FOR) {
            self.known.clear();
            self.failed = false;
            self.since = Some(now);
        }
        if let Some(&known) = self.known.get(&hop) {
            return known;
        }
        if self.failed || self.known.len() >= MAX_KNOWN {
            return None;
        }
        let gateway = self.ask(hop).unwrap_or_else(|error| {
            self.socket = None;
            (self.failed, self.since) = (true, Some(now));
            self.errors
                .count_and_log(Subsystem::Netlink, "gateway", || {
                    format!("cannot ask for the way to {hop}: {error}")
                });
            None
        });
        self.known.insert(hop, gateway);
        gateway
    }

    fn ask(&mut self, hop: IpAddr) -> io::Result<Option<IpAddr>> {
        self.sequence = self.sequence.wrapping_add(1).max(1);
        let socket = match self.socket.take() {
            Some(socket) => socket,
            None => open()?,
        };
        self.buffer.clear();
        self.buffer.reserve_exact(BUFFER_SIZE);
        socket.send(&request(hop, self.sequence), 0)?;
        for _ in 0..MAX_STRAY {
            match receive(&socket, &mut self.buffer)? {
                Received::Datagram => {}
                Received::Nothing => return Err(io::ErrorKind::TimedOut.into()),
                Received::TooLong { .. } => continue,
            }
            if let Some(gateway) = answer(&self.buffer, self.sequence, hop)? {
                self.socket = Some(socket);
                return Ok(gateway);
            }
        }
        Err(invalid("no answer among the answers".into()))
    }
}

fn request(hop: IpAddr, sequence: u32) -> Vec<u8> {
    let mut route = RouteMessage::default();
    (
        route.header.address_family,
        route.header.destination_prefix_length,
    ) = match hop {
        IpAddr::V4(_) => (AddressFamily::Inet, 32),
        IpAddr::V6(_) => (AddressFamily::Inet6, 128),
    };
    let destination = RouteAttribute::Destination(RouteAddress::from(hop));
    route.attributes.push(destination);
    let mut message = NetlinkMessage::from(RouteNetlinkMessage::GetRoute(route));
    message.header.flags = NLM_F_REQUEST;
    message.header.sequence_number = sequence;
    message.finalize();
    let mut bytes = vec![0; message.buffer_len()];
    message.serialize(&mut bytes);
    bytes
}

/// Reads the route to `hop` from a datagram; returns `None` if it does not answer this request.
fn answer(datagram: &[u8], sequence: u32, hop: IpAddr) -> io::Result<Option<Option<IpAddr>>> {
    let message = NetlinkBuffer::new_checked(datagram).map_err(|e| invalid(e.to_string()))?;
    if message.sequence_number() != sequence {
        return Ok(None);
    }
    match message.message_type() {
        RTM_NEWROUTE => Ok(Some(gateway(message.payload(), hop)?)),
        // there is no route
        NLMSG_ERROR => Ok(Some(None)),
        other => Err(invalid(format!("an answer of type {other}"))),
    }
}

fn gateway(payload: &[u8], hop: IpAddr) -> io::Result<Option<IpAddr>> {
    let Some((header, attributes)) = payload.split_at_checked(HEADER_LEN) else {
        return Err(invalid(format!("a route of {} bytes", payload.len())));
    };
    if header[TYPE_AT] != RTN_UNICAST {
        return Ok(None);
    }
    for nla in NlasIterator::new(attributes) {
        let nla = nla.map_err(|e| invalid(e.to_string()))?;
        match nla.kind() {
            RTA_GATEWAY => return Ok(address(nla.value())),
            // struct rtvia: the family, in two bytes, and an address of it
            RTA_VIA => return Ok(nla.value().get(2..).and_then(address)),
            _ => {}
        }
    }
    Ok(Some(hop))
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(bytes).map(|b| Ipv4Addr::from(b).into());
    let v6 = <[u8; 16]>::try_from(bytes).map(|b| Ipv6Addr::from(b).into());
    v4.or(v6).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn route(kind: u8, attributes: &[(u16, &[u8])]) -> Vec<u8> {
        let mut out = vec![0; HEADER_LEN];
        out[TYPE_AT] = kind;
        for (kind, value) in attributes {
            out.extend((value.len() as u16 + 4).to_ne_bytes());
            out.extend(kind.to_ne_bytes());
            out.extend(*value);
            out.resize(out.len().next_multiple_of(4), 0);
        }
        out
    }

    #[test]
    fn a_gateway_a_neighbour_and_no_way() {
        let hop: IpAddr = [192, 0, 2, 1].into();
        let via = |payload: &[u8]| gateway(payload, hop).unwrap();
        let router = route(RTN_UNICAST, &[(4, &[0; 4]), (RTA_GATEWAY, &[10, 0, 0, 1])]);
        assert_eq!(via(&router), Some([10, 0, 0, 1].into()));
        let six = [&[10, 0][..], &Ipv6Addr::LOCALHOST.octets()].concat();
        let other = route(RTN_UNICAST, &[(RTA_VIA, &six)]);
        assert_eq!(via(&other), Some(Ipv6Addr::LOCALHOST.into()));
        assert_eq!(via(&route(RTN_UNICAST, &[])), Some(hop));
        // RTN_LOCAL
        assert_eq!(via(&route(2, &[])), None);
        assert!(gateway(&[0; 11], hop).is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = answer(&bytes, 5, [192, 0, 2, 1].into());
            let _ = gateway(&bytes, [192, 0, 2, 1].into());
        }
    }
}
