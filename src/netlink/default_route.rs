// SPDX-License-Identifier: AGPL-3.0-only
//! Finds the interface of the default route, with one query per address family.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use netlink_packet_route::route::RouteFlags;

use super::route_query::{Route, RouteSocket};
use crate::sys::error_counters::{ErrorCounters, Subsystem};

/// Addresses for documentation (RFC 5737, RFC 3849): only a default route should lead to them.
const SOMEWHERE: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)),
    IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1)),
];

// include/uapi/linux/rtnetlink.h
const RTA_OIF: u16 = 4;
const RTA_MULTIPATH: u16 = 9;
/// The position of `rtnh_ifindex` in struct rtnexthop.
const NEXT_HOP_IFINDEX_AT: usize = 4;

pub struct DefaultRoute {
    socket: RouteSocket,
    errors: Arc<ErrorCounters>,
}

impl DefaultRoute {
    /// Opens no socket yet: the first query does, in the network namespace of the thread that calls it.
    pub fn new(errors: Arc<ErrorCounters>) -> Self {
        Self {
            socket: RouteSocket::default(),
            errors,
        }
    }

    /// Returns the ifindex of the default route of IPv4, otherwise that of IPv6; `None` if there is neither.
    pub fn ifindex(&mut self) -> Option<u32> {
        SOMEWHERE.into_iter().find_map(|address| {
            let route = self.socket.query(address, RouteFlags::FibMatch);
            let ifindex = route.and_then(|route| route.map_or(Ok(None), |route| of(&route)));
            ifindex.unwrap_or_else(|error| {
                self.errors
                    .count_and_log(Subsystem::Netlink, "default route", || {
                        format!("cannot read the default route: {error}")
                    });
                None
            })
        })
    }
}

/// Returns the ifindex of a default route, or of its first next hop if it has several.
fn of(route: &Route) -> io::Result<Option<u32>> {
    if route.prefix_length != 0 {
        return Ok(None);
    }
    route.find(|kind, value| {
        let value = match kind {
            RTA_OIF => value,
            RTA_MULTIPATH => value.get(NEXT_HOP_IFINDEX_AT..)?,
            _ => return None,
        };
        Some(u32::from_ne_bytes(*value.first_chunk()?))
    })
}

#[cfg(test)]
mod tests {
    use super::super::route_query::{tests::payload, unicast};
    use super::*;

    fn ifindex(prefix_length: u8, attributes: &[(u16, &[u8])]) -> Option<u32> {
        let payload = payload(prefix_length, 1, attributes);
        of(&unicast(&payload).unwrap().unwrap()).unwrap()
    }

    #[test]
    fn one_next_hop_several_and_another_route() {
        let seven = 7u32.to_ne_bytes();
        assert_eq!(ifindex(0, &[(RTA_OIF, &seven)]), Some(7));
        let several = [
            &[16, 0, 0, 1][..],
            &seven,
            &[0; 8],
            &[16, 0, 0, 1],
            &[9; 12],
        ]
        .concat();
        assert_eq!(
            ifindex(0, &[(15, &[0; 4]), (RTA_MULTIPATH, &several)]),
            Some(7)
        );
        assert_eq!(ifindex(0, &[(RTA_MULTIPATH, &[16, 0])]), None);
        assert_eq!(ifindex(24, &[(RTA_OIF, &seven)]), None);
        assert_eq!(ifindex(0, &[]), None);
    }
}
