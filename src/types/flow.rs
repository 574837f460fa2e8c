// SPDX-License-Identifier: AGPL-3.0-only
//! Defines the key of a flow, and the record of its packets in one period.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::mac::MacAddress;
use super::named::{Named, serialize_by_name};
use super::weights::Weights;

/// The hook at which a packet was seen. `bpf` asserts that the numbers are those of the programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Direction {
    Ingress,
    Egress,
}

impl Direction {
    pub const ALL: [Self; 2] = [Self::Ingress, Self::Egress];

    pub fn name(self) -> &'static str {
        match self {
            Self::Ingress => "ingress",
            Self::Egress => "egress",
        }
    }
}

impl Named for Direction {
    const ALL: &'static [Self] = &Self::ALL;
    // as tables show them
    const ALIASES: &'static [(&'static str, Self)] =
        &[("in", Self::Ingress), ("out", Self::Egress)];

    fn name(self) -> &'static str {
        Direction::name(self)
    }
}

serialize_by_name!(Direction);

/// Address family of a counter or a flow; flows are never `Other`. `bpf` asserts the numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Family {
    Ipv4,
    Ipv6,
    Other,
}

impl Family {
    pub const ALL: [Self; 3] = [Self::Ipv4, Self::Ipv6, Self::Other];

    pub fn name(self) -> &'static str {
        match self {
            Self::Ipv4 => "ipv4",
            Self::Ipv6 => "ipv6",
            Self::Other => "other",
        }
    }
}

/// The key of a flow. Addresses are in wire order; IPv4 is in the first four bytes, the rest is zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FlowKey {
    pub src: [u8; 16],
    pub dst: [u8; 16],
    pub ifindex: u32,
    /// Host order; 0 if the protocol has no ports. ICMP: 0.
    pub src_port: u16,
    /// Host order; 0 if the protocol has no ports. ICMP: type × 256 + code, as NetFlow carries it.
    pub dst_port: u16,
    /// Outer VLAN id; 0 if untagged.
    pub vlan_outer: u16,
    /// Inner (customer) VLAN id; 0 if there is no second tag.
    pub vlan_inner: u16,
    pub protocol: u8,
    pub direction: Direction,
    pub family: Family,
}

impl FlowKey {
    pub fn source(&self) -> IpAddr {
        address(&self.src, self.family)
    }

    pub fn destination(&self) -> IpAddr {
        address(&self.dst, self.family)
    }
}

fn address(bytes: &[u8; 16], family: Family) -> IpAddr {
    match family {
        Family::Ipv4 => Ipv4Addr::new(bytes[0], bytes[1], bytes[2], bytes[3]).into(),
        Family::Ipv6 | Family::Other => Ipv6Addr::from(*bytes).into(),
    }
}

impl FlowRecord {
    /// Returns a record of no packets, between unspecified addresses.
    pub fn empty(family: Family) -> Self {
        Self {
            key: FlowKey {
                src: [0; 16],
                dst: [0; 16],
                ifindex: 0,
                src_port: 0,
                dst_port: 0,
                vlan_outer: 0,
                vlan_inner: 0,
                protocol: 0,
                direction: Direction::Ingress,
                family,
            },
            packets: 0,
            frame_bytes: 0,
            ip_bytes: 0,
            first: 0,
            last: 0,
            sample_rate: 1,
            ingress_ifindex: 0,
            src_mac: [0; 6],
            dst_mac: [0; 6],
            tcp_flags: 0,
            tos: 0,
            weights: Weights::ONE,
        }
    }

    /// Returns the MAC address of the neighbor on the segment: the source at ingress, the destination at egress.
    pub fn neighbor_mac(&self) -> MacAddress {
        MacAddress(match self.key.direction {
            Direction::Ingress => self.src_mac,
            Direction::Egress => self.dst_mac,
        })
    }
}

/// A record of the packets that the kernel saw of a flow since its previous record. The counts are not scaled by
/// `sample_rate`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlowRecord {
    pub key: FlowKey,
    /// Packets on the wire (segments of GSO packets).
    pub packets: u64,
    /// L2 frames without FCS, bytes.
    pub frame_bytes: u64,
    /// IP headers and payloads, bytes (RFC 7012 octetDeltaCount).
    pub ip_bytes: u64,
    /// CLOCK_BOOTTIME of the first and last packet, nanoseconds; [`crate::sys::clock::Clock`] converts it.
    pub first: u64,
    pub last: u64,
    /// N of the sampling rate 1 in N; at least 1.
    pub sample_rate: u32,
    /// The input interface of a packet seen at egress; 0 if it was generated locally.
    pub ingress_ifindex: u32,
    /// Of the first packet; zero on devices without Ethernet.
    pub src_mac: [u8; 6],
    pub dst_mac: [u8; 6],
    /// All TCP flags seen, OR-ed.
    pub tcp_flags: u8,
    /// IPv4 ToS or IPv6 traffic class of the first packet.
    pub tos: u8,
    /// Adaptive sampling counted the first packet so many times, more than once only if the ring was more than half
    /// full. The other packets are counted once.
    pub weights: Weights,
}
