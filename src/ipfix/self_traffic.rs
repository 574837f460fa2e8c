// SPDX-License-Identifier: AGPL-3.0-only
//! The exporter's own connections, so that it does not export its own traffic (pure).

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};

use crate::types::flow::FlowKey;
use crate::types::transport::Transport;

/// The maximum number of stored connections: those of all collectors, and the last closed ones,
/// whose flows end later.
const MAX_CONNECTIONS: usize = 64;

#[derive(Debug, Default)]
pub struct SelfTraffic(VecDeque<Connection>);

#[derive(Debug, PartialEq, Eq)]
struct Connection {
    protocol: u8,
    local: (u16, IpAddr),
    remote: (u16, IpAddr),
}

impl SelfTraffic {
    pub fn add(&mut self, transport: Transport, local: SocketAddr, remote: SocketAddr) {
        let new = Connection {
            protocol: match transport {
                Transport::Tcp => 6,
                Transport::Udp => 17,
            },
            local: (local.port(), local.ip().to_canonical()),
            remote: (remote.port(), remote.ip().to_canonical()),
        };
        self.0.retain(|connection| *connection != new);
        if self.0.len() >= MAX_CONNECTIONS {
            self.0.pop_front();
        }
        self.0.push_back(new);
    }

    /// Returns whether a flow belongs to one of the connections, in either direction.
    pub fn contains(&self, key: &FlowKey) -> bool {
        let is = |(port, address): (u16, IpAddr), key_port: u16, key_address: IpAddr| {
            port == key_port && address == key_address
        };
        self.0.iter().any(|c| {
            c.protocol == key.protocol
                && (is(c.local, key.src_port, key.source())
                    && is(c.remote, key.dst_port, key.destination())
                    || is(c.remote, key.src_port, key.source())
                        && is(c.local, key.dst_port, key.destination()))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::flow::{Direction, Family};

    fn key(protocol: u8, src_port: u16, dst_port: u16) -> FlowKey {
        let mut key = FlowKey {
            src: [0; 16],
            dst: [0; 16],
            ifindex: 1,
            src_port,
            dst_port,
            vlan_outer: 0,
            vlan_inner: 0,
            protocol,
            direction: Direction::Ingress,
            family: Family::Ipv4,
        };
        key.src[..4].copy_from_slice(&[192, 0, 2, if src_port == 4739 { 9 } else { 1 }]);
        key.dst[..4].copy_from_slice(&[192, 0, 2, if dst_port == 4739 { 9 } else { 1 }]);
        key
    }

    #[test]
    fn both_directions_and_nothing_else() {
        let mut traffic = SelfTraffic::default();
        let address = |text: &str| text.parse().unwrap();
        traffic.add(
            Transport::Udp,
            address("192.0.2.1:40000"),
            address("192.0.2.9:4739"),
        );
        assert!(traffic.contains(&key(17, 40_000, 4739)));
        assert!(traffic.contains(&key(17, 4739, 40_000)));
        assert!(!traffic.contains(&key(6, 40_000, 4739)));
        assert!(!traffic.contains(&key(17, 40_001, 4739)));
        assert!(!traffic.contains(&key(17, 40_000, 4740)));
    }

    #[test]
    fn the_oldest_are_evicted() {
        let mut traffic = SelfTraffic::default();
        let peer = "192.0.2.9:4739".parse().unwrap();
        for port in 1..=100 {
            let address = SocketAddr::new("192.0.2.1".parse().unwrap(), port);
            traffic.add(Transport::Udp, address, peer);
            traffic.add(Transport::Udp, address, peer);
        }
        assert_eq!(traffic.0.len(), MAX_CONNECTIONS);
        assert!(traffic.contains(&key(17, 100, 4739)) && !traffic.contains(&key(17, 1, 4739)));
    }
}
