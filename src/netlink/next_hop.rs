// SPDX-License-Identifier: AGPL-3.0-only
//! Finds the router on the link to which the kernel forwards packets for an address, by its routes
//! (`RTM_GETROUTE`). Used for BGP next hops, of which there are few.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use netlink_packet_route::route::RouteFlags;

use super::route_query::{Route, RouteSocket};
use crate::sys::error_counters::{ErrorCounters, Subsystem};

/// Answers are valid for this time. After an error there is no request for the same time.
const GOOD_FOR: Duration = Duration::from_secs(10);
/// A limit: more next hops than this indicate some other problem.
const MAX_KNOWN: usize = 4096;
// include/uapi/linux/rtnetlink.h
const RTA_GATEWAY: u16 = 5;
const RTA_VIA: u16 = 18;

pub struct NextHops {
    socket: RouteSocket,
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
            socket: RouteSocket::default(),
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
        let route = self.socket.query(hop, RouteFlags::empty())?;
        route.map(|route| gateway(&route, hop)).transpose()
    }
}

/// Returns the gateway of the route to `hop`, or `hop` if the route has none.
fn gateway(route: &Route, hop: IpAddr) -> io::Result<IpAddr> {
    let gateway = route.find(|kind, value| match kind {
        RTA_GATEWAY => address(value),
        // struct rtvia: the family, in two bytes, and an address of it
        RTA_VIA => value.get(2..).and_then(address),
        _ => None,
    });
    gateway.map(|gateway| gateway.unwrap_or(hop))
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(bytes).map(|b| Ipv4Addr::from(b).into());
    let v6 = <[u8; 16]>::try_from(bytes).map(|b| Ipv6Addr::from(b).into());
    v4.or(v6).ok()
}

#[cfg(test)]
mod tests {
    use super::super::route_query::{tests::payload, unicast};
    use super::*;

    #[test]
    fn a_gateway_a_neighbor_and_none() {
        let hop: IpAddr = [192, 0, 2, 1].into();
        let via = |attributes: &[(u16, &[u8])]| {
            let payload = payload(0, 1, attributes);
            gateway(&unicast(&payload).unwrap().unwrap(), hop).unwrap()
        };
        let router: IpAddr = [10, 0, 0, 1].into();
        assert_eq!(via(&[(4, &[0; 4]), (RTA_GATEWAY, &[10, 0, 0, 1])]), router);
        let six = [&[10, 0][..], &Ipv6Addr::LOCALHOST.octets()].concat();
        assert_eq!(via(&[(RTA_VIA, &six)]), Ipv6Addr::LOCALHOST);
        assert_eq!(via(&[]), hop);
    }
}
