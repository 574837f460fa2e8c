// SPDX-License-Identifier: AGPL-3.0-only
//! The exporter's own connections, so that it does not export itself (pure).

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};

use crate::types::flow::FlowKey;
use crate::types::transport::Transport;

/// Connections remembered: those of all collectors, and the last that have ended, whose flows end later.
const REMEMBERED: usize = 64;

#[derive(Debug, Default)]
pub struct OwnConnections(VecDeque<Connection>);

#[derive(Debug, PartialEq, Eq)]
struct Connection {
    protocol: u8,
    own: (u16, IpAddr),
    peer: (u16, IpAddr),
}

impl OwnConnections {
    pub fn add(&mut self, transport: Transport, own: SocketAddr, peer: SocketAddr) {
        let new = Connection {
            protocol: match transport {
                Transport::Tcp => 6,
                Transport::Udp => 17,
            },
            own: (own.port(), own.ip().to_canonical()),
            peer: (peer.port(), peer.ip().to_canonical()),
        };
        self.0.retain(|connection| *connection != new);
        if self.0.len() >= REMEMBERED {
            self.0.pop_front();
        }
        self.0.push_back(new);
    }

    /// In either direction.
    pub fn contain(&self, key: &FlowKey) -> bool {
        let is = |(port, address): (u16, IpAddr), key_port: u16, key_address: IpAddr| {
            port == key_port && address == key_address
        };
        self.0.iter().any(|c| {
            c.protocol == key.protocol
                && (is(c.own, key.src_port, key.source())
                    && is(c.peer, key.dst_port, key.destination())
                    || is(c.peer, key.src_port, key.source())
                        && is(c.own, key.dst_port, key.destination()))
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
        let mut own = OwnConnections::default();
        let address = |text: &str| text.parse().unwrap();
        own.add(
            Transport::Udp,
            address("192.0.2.1:40000"),
            address("192.0.2.9:4739"),
        );
        assert!(own.contain(&key(17, 40_000, 4739)));
        assert!(own.contain(&key(17, 4739, 40_000)));
        assert!(!own.contain(&key(6, 40_000, 4739)));
        assert!(!own.contain(&key(17, 40_001, 4739)));
        assert!(!own.contain(&key(17, 40_000, 4740)));
    }

    #[test]
    fn the_oldest_are_forgotten() {
        let mut own = OwnConnections::default();
        let peer = "192.0.2.9:4739".parse().unwrap();
        for port in 1..=100 {
            let address = SocketAddr::new("192.0.2.1".parse().unwrap(), port);
            own.add(Transport::Udp, address, peer);
            own.add(Transport::Udp, address, peer);
        }
        assert_eq!(own.0.len(), REMEMBERED);
        assert!(own.contain(&key(17, 100, 4739)) && !own.contain(&key(17, 1, 4739)));
    }
}
