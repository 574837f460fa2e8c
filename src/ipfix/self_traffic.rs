// SPDX-License-Identifier: AGPL-3.0-only
//! The exporter's own connections, so that it does not export its own traffic (pure).

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};

use crate::types::flow::FlowKey;
use crate::types::transport::Transport;

/// The maximum number of stored closed connections: their flows end later.
const MAX_CLOSED: usize = 64;

#[derive(Debug, Default)]
pub struct SelfTraffic(VecDeque<Connection>);

#[derive(Debug)]
struct Connection {
    /// The number of the collector that uses the connection; `None`: it is closed.
    owner: Option<usize>,
    protocol: u8,
    local: (u16, IpAddr),
    remote: (u16, IpAddr),
}

impl SelfTraffic {
    /// Adds a connection of the collector with number `owner`, also one that is not established yet: a collector may
    /// refuse it. The previous connection of the collector counts as closed.
    pub fn add(
        &mut self,
        owner: usize,
        transport: Transport,
        local: SocketAddr,
        remote: SocketAddr,
    ) {
        let new = Connection {
            owner: Some(owner),
            protocol: match transport {
                Transport::Tcp => 6,
                Transport::Udp => 17,
            },
            local: (local.port(), local.ip().to_canonical()),
            remote: (remote.port(), remote.ip().to_canonical()),
        };
        self.0.retain(|connection| !connection.is_same(&new));
        for connection in &mut self.0 {
            connection.owner.take_if(|o| *o == owner);
        }
        let closed = |connection: &Connection| connection.owner.is_none();
        if self.0.iter().filter(|c| closed(c)).count() > MAX_CLOSED
            && let Some(oldest) = self.0.iter().position(closed)
        {
            self.0.remove(oldest);
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

impl Connection {
    fn is_same(&self, other: &Self) -> bool {
        (self.protocol, self.local, self.remote) == (other.protocol, other.local, other.remote)
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
            0,
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
    fn the_oldest_closed_ones_are_evicted() {
        let mut traffic = SelfTraffic::default();
        let peer = "192.0.2.9:4739".parse().unwrap();
        let local = |port| SocketAddr::new("192.0.2.1".parse().unwrap(), port);
        traffic.add(0, Transport::Udp, local(1000), peer);
        // another collector refuses every connection
        for port in 1..=100 {
            traffic.add(1, Transport::Tcp, local(port), peer);
            traffic.add(1, Transport::Tcp, local(port), peer);
        }
        assert_eq!(traffic.0.len(), MAX_CLOSED + 2);
        assert!(traffic.contains(&key(6, 100, 4739)) && !traffic.contains(&key(6, 1, 4739)));
        assert!(traffic.contains(&key(17, 1000, 4739)), "it is in use");
    }
}
