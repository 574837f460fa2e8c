// SPDX-License-Identifier: AGPL-3.0-only
//! Reads the machine's network interfaces from the kernel over rtnetlink.

mod addresses;
mod default_route;
mod dump;
mod events;

pub(crate) mod ipsec;
mod link_type;
mod message;
mod neighbors;
mod next_hop;
pub mod qdisc;
mod route_query;
mod speed;
pub mod stacked_interfaces;

pub use crate::netlink::addresses::{
    AddressEvents, ConnectedNetwork, addresses, connected_networks,
};
pub use crate::netlink::default_route::DefaultRoute;
pub use crate::netlink::dump::LinkSocket;
pub use crate::netlink::events::{Event, LinkEvents, ReadResult};
pub use crate::netlink::link_type::LinkType;
pub use crate::netlink::neighbors::{NeighborEntry, NeighborEvents, NeighborRead, neighbors};
pub use crate::netlink::next_hop::NextHops;

/// The device's own counters (`IFLA_STATS64`), for comparison with rfm's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DeviceCounters {
    pub rx_packets: u64,
    pub rx_bytes: u64,
    pub tx_packets: u64,
    pub tx_bytes: u64,
}

/// One network interface.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Link {
    pub ifindex: u32,
    /// Bytes that are not UTF-8 (the kernel allows them) appear as `\xNN`.
    pub name: String,
    /// The text that the operator set with `ip link set … alias`; often empty.
    pub alias: String,
    /// The kernel's name of the driver family (`vlan`, `bridge`, `tun`, …); if there is none, a name of the
    /// ARPHRD type.
    pub kind: String,
    /// ARPHRD type; see [`LinkType::of`].
    pub arphrd: u16,
    /// Bridge, bond or VRF that the interface is enslaved to.
    pub master: Option<u32>,
    /// The interface below a VLAN or macvlan, or the other end of a veth, if it is in this network namespace.
    pub parent: Option<u32>,
    /// The administrative state (`IFF_UP`), with or without a carrier.
    pub up: bool,
    pub loopback: bool,
    /// The number of times that the carrier appeared or disappeared.
    pub carrier_changes: u32,
    /// Bytes per second, if the driver reports it.
    pub speed_bytes: Option<u64>,
    pub stats: DeviceCounters,
}

impl Link {
    pub fn link_type(&self) -> LinkType {
        LinkType::of(self.arphrd)
    }

    /// Returns whether received packets pass an ingress hook. A VRF receives the packets of its members after
    /// that hook, and ifb returns packets to their original interface; but both count them as received.
    pub fn has_ingress(&self) -> bool {
        !matches!(&self.kind[..], "vrf" | "ifb")
    }

    /// Returns whether the interface receives packets that IPsec decrypted: this is not a second pass, but the
    /// first one of this interface.
    pub fn is_of_ipsec(&self) -> bool {
        matches!(&self.kind[..], "vti" | "vti6" | "xfrm")
    }
}

/// Returns the VRF device that a link is, or to which it is enslaved, directly or by the bridge or bond above
/// it.
pub fn vrf<'a>(links: &'a [Link], link: &'a Link) -> Option<&'a Link> {
    vrf_among(|ifindex| find(links, ifindex), link)
}

/// As [`vrf`], for any container of links.
pub(crate) fn vrf_among<'a>(
    find: impl Fn(u32) -> Option<&'a Link>,
    link: &'a Link,
) -> Option<&'a Link> {
    // the kernel stacks at most this number of devices (MAX_NEST_DEV of linux/netdevice.h)
    const DEEPEST: usize = 8;
    let master = |link: &&'a Link| find(link.master?);
    std::iter::successors(Some(link), master)
        .take(DEEPEST)
        .find(|link| link.kind == "vrf")
}

/// Returns the link of this index in the result of [`LinkSocket::dump`], which is in order of ifindex.
pub fn find(links: &[Link], ifindex: u32) -> Option<&Link> {
    links
        .binary_search_by_key(&ifindex, |l| l.ifindex)
        .ok()
        .map(|at| &links[at])
}

/// Returns the name of the link's master; empty if there is none.
pub fn master_of<'a>(link: &Link, links: &'a [Link]) -> &'a str {
    let master = link.master.and_then(|master| find(links, master));
    master.map_or("", |master| &master.name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vrf_is_found_through_bridges_and_loops_end() {
        let link = |ifindex, kind: &str, master| Link {
            ifindex,
            kind: kind.into(),
            master,
            ..Link::default()
        };
        let links = [
            link(1, "ethernet", None),
            link(2, "ethernet", Some(4)),
            link(3, "ethernet", Some(5)),
            link(4, "vrf", None),
            link(5, "bridge", Some(4)),
            link(6, "bond", Some(7)),
            link(7, "bridge", Some(6)),
            link(8, "ethernet", Some(99)),
        ];
        let found: Vec<_> = links
            .iter()
            .map(|link| vrf(&links, link).map(|vrf| vrf.ifindex))
            .collect();
        let expected = [None, Some(4), Some(4), Some(4), Some(4), None, None, None];
        assert_eq!(found, expected);
    }
}
