// SPDX-License-Identifier: AGPL-3.0-only
//! Builds a [`NeighborMap`] from its sources (pure).

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use super::{MAX_MACS, Neighbor, NeighborMap, PeerAs};
use crate::enrich::rib::BgpNeighbors;
use crate::netlink::stacked_interfaces::below;
use crate::netlink::{ConnectedNetwork, Link, LinkType, find};
use crate::types::mac::MacAddress;
use crate::types::static_peer::StaticPeer;

/// Addresses stored of one neighbor.
const MAX_ADDRESSES: usize = 16;

/// The sources of a map at one moment.
pub(super) struct Sources<'a> {
    /// In the order of ifindex.
    pub links: &'a [Link],
    /// The monitored interfaces.
    pub monitored: &'a [u32],
    pub connected: &'a [ConnectedNetwork],
    pub bgp: &'a BgpNeighbors,
    pub peers: &'a [StaticPeer],
}

/// The map while it is built.
#[derive(Default)]
struct Draft {
    by_mac: BTreeMap<(u32, MacAddress), Neighbor>,
    by_interface: BTreeMap<u32, Neighbor>,
}

/// An address of a neighbor, and what BGP knows of it.
struct KnownAddress {
    address: IpAddr,
    asn: PeerAs,
    /// The kernel has the entry now.
    valid: bool,
}

impl Sources<'_> {
    /// Returns the map for the entries of the neighbor tables: interface, address, MAC address, and whether the
    /// kernel still has the entry.
    pub fn build(
        &self,
        entries: impl Iterator<Item = (u32, IpAddr, MacAddress, bool)>,
    ) -> NeighborMap {
        let mut found: BTreeMap<(u32, MacAddress), Vec<KnownAddress>> = BTreeMap::new();
        for (ifindex, address, mac, valid) in entries.chain(self.unnumbered()) {
            let known = KnownAddress {
                address,
                asn: self.bgp.asn(address),
                valid,
            };
            found.entry((ifindex, mac)).or_default().push(known);
        }
        let mut map = Draft::default();
        // if there are more, those that BGP knows stay
        let mut found: Vec<_> = found.into_iter().collect();
        if found.len() > MAX_MACS {
            found.sort_by_key(|(_, known)| known.iter().all(|k| k.asn == PeerAs::Unknown));
        }
        let mut targets: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
        for ((ifindex, mac), known) in found {
            let neighbor = self.neighbor(known);
            let targets = targets.entry(ifindex);
            for target in targets.or_insert_with(|| self.monitored_below(ifindex)) {
                insert(&mut map, (*target, mac), &neighbor);
            }
        }
        let apply = |peer| self.apply(&mut map, peer);
        self.peers.iter().for_each(apply);
        let by_mac = map.by_mac.into_iter().map(|(key, mut neighbor)| {
            let known = |address: &IpAddr| self.bgp.asn(*address) != PeerAs::Unknown;
            let addresses = neighbor.addresses.into_iter().filter(known);
            neighbor.addresses = addresses.collect();
            (key, neighbor)
        });
        NeighborMap {
            by_interface: map.by_interface.into_iter().collect(),
            ..NeighborMap::of(by_mac)
        }
    }

    /// Returns the BGP peers on networks of interfaces without Ethernet, whose neighbors have no MAC address.
    fn unnumbered(&self) -> impl Iterator<Item = (u32, IpAddr, MacAddress, bool)> {
        let networks = self.connected.iter().filter(|network| {
            find(self.links, network.ifindex)
                .is_some_and(|link| link.link_type() != LinkType::Ethernet)
        });
        networks.flat_map(|network| {
            let peers = self.bgp.peers().map(|(address, _)| address);
            let peers = peers.filter(|peer| network.prefix.contains(*peer));
            peers.map(|peer| (network.ifindex, peer, MacAddress::ZERO, true))
        })
    }

    fn neighbor(&self, mut known: Vec<KnownAddress>) -> Neighbor {
        let merged = |valid| {
            let known = known.iter().filter(|k| k.valid == valid).map(|k| k.asn);
            known.fold(PeerAs::Unknown, PeerAs::merge)
        };
        // an expired entry counts only if no valid one knows better: the MAC address may have a new owner
        let asn = match merged(true) {
            PeerAs::Unknown => merged(false),
            asn => asn,
        };
        let name = known.iter().find_map(|k| self.bgp.name(k.address));
        let name = name.map(|name| name.replace(char::is_control, "").into());
        known.sort_by_key(|k| (k.asn == PeerAs::Unknown, !k.valid));
        known.dedup_by_key(|k| k.address);
        known.truncate(MAX_ADDRESSES);
        Neighbor {
            asn,
            name: name.unwrap_or_default(),
            addresses: known.into_iter().map(|k| k.address).collect(),
        }
    }

    /// Returns the monitored interfaces that see the packets of an interface: itself, and those below it, such as the
    /// members of a bond.
    fn monitored_below(&self, ifindex: u32) -> Vec<u32> {
        let mut below = below(self.links, ifindex);
        below.retain(|ifindex| self.monitored.contains(ifindex));
        below
    }

    /// Applies an entry of the configuration. A MAC or an address is more specific than an interface.
    fn apply(&self, map: &mut Draft, peer: &StaticPeer) {
        let name: Arc<str> = peer.name.as_str().into();
        let links = self.links.iter();
        let links = links.filter(|link| peer.interface.is_empty() || link.name == peer.interface);
        let monitored: Vec<u32> = links
            .flat_map(|link| self.monitored_below(link.ifindex))
            .collect();
        let assign = |neighbor: &mut Neighbor| {
            if peer.asn > 0 {
                neighbor.asn = PeerAs::One(peer.asn);
            }
            if !name.is_empty() {
                neighbor.name = name.clone();
            }
        };
        let specific = |other: &&StaticPeer| other.mac.is_some() || other.address.is_some();
        for ifindex in monitored {
            match (peer.mac, peer.address) {
                (Some(mac), _) => assign(map.by_mac.entry((ifindex, mac)).or_default()),
                (None, Some(address)) => {
                    let on_interface = map.by_mac.iter_mut();
                    on_interface
                        .filter(|((at, _), held)| {
                            *at == ifindex && held.addresses.contains(&address)
                        })
                        .for_each(|(_, neighbor)| assign(neighbor));
                }
                (None, None) => {
                    assign(map.by_interface.entry(ifindex).or_default());
                    let named = |mac: MacAddress, held: &Neighbor| {
                        self.peers.iter().filter(specific).any(|other| {
                            other.mac == Some(mac)
                                || other.address.is_some_and(|a| held.addresses.contains(&a))
                        })
                    };
                    for ((at, mac), neighbor) in &mut map.by_mac {
                        if *at == ifindex && !named(*mac, neighbor) {
                            assign(neighbor);
                        }
                    }
                }
            }
        }
    }
}

/// Inserts a neighbor. If the router is known, it is on two VLANs of one interface.
fn insert(map: &mut Draft, key: (u32, MacAddress), neighbor: &Neighbor) {
    if map.by_mac.len() >= MAX_MACS && !map.by_mac.contains_key(&key) {
        return;
    }
    let known = map.by_mac.entry(key).or_default();
    let addresses = known.addresses.iter().chain(&neighbor.addresses).copied();
    *known = Neighbor {
        asn: known.asn.merge(neighbor.asn),
        name: match known.name.is_empty() {
            true => neighbor.name.clone(),
            false => known.name.clone(),
        },
        addresses: addresses.take(MAX_ADDRESSES).collect(),
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: MacAddress = MacAddress([2, 0, 0, 0, 0, 1]);
    const B: MacAddress = MacAddress([2, 0, 0, 0, 0, 2]);

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn link(ifindex: u32, name: &str, master: Option<u32>) -> Link {
        Link {
            ifindex,
            name: name.into(),
            arphrd: if name.starts_with("wg") { 0xfffe } else { 1 },
            kind: if name.starts_with("bond") {
                "bond"
            } else {
                "ethernet"
            }
            .into(),
            master,
            ..Link::default()
        }
    }

    fn bgp() -> BgpNeighbors {
        let mut bgp = BgpNeighbors::default();
        bgp.add_peer(ip("10.0.0.1"), 64501, Some("one"));
        bgp.add_peer(ip("10.0.0.9"), 64999, Some("rs"));
        bgp.add_peer(ip("10.9.0.1"), 64509, None);
        bgp.add_next_hop(ip("10.0.0.1"), 64777);
        bgp.add_next_hop(ip("10.0.0.2"), 64502);
        bgp.add_next_hop(ip("10.0.0.3"), 64503);
        bgp.add_next_hop(ip("10.0.0.3"), 64504);
        bgp
    }

    fn build(entries: &[(u32, &str, MacAddress, bool)], peers: &[StaticPeer]) -> NeighborMap {
        let links = [
            link(1, "eth0", None),
            link(2, "bond0", None),
            link(3, "eth1", Some(2)),
            link(4, "wg0", None),
        ];
        let connected = [ConnectedNetwork {
            ifindex: 4,
            prefix: "10.9.0.0/31".parse().unwrap(),
        }];
        let sources = Sources {
            links: &links,
            monitored: &[1, 3, 4],
            connected: &connected,
            bgp: &bgp(),
            peers,
        };
        let entries = entries.iter();
        sources.build(
            entries.map(|(ifindex, address, mac, valid)| (*ifindex, ip(address), *mac, *valid)),
        )
    }

    fn asn(map: &NeighborMap, ifindex: u32, mac: MacAddress) -> PeerAs {
        map.get(ifindex, mac).map_or(PeerAs::Unknown, |n| n.asn)
    }

    #[test]
    fn sessions_and_next_hops_give_the_as() {
        let map = build(
            &[
                (1, "10.0.0.1", A, true),
                (1, "10.0.0.2", B, true),
                (1, "10.0.0.77", MacAddress([2; 6]), true),
                (2, "10.0.0.2", B, true),
                (5, "10.0.0.2", B, true),
            ],
            &[],
        );
        assert_eq!(asn(&map, 1, A), PeerAs::One(64501), "the session wins");
        assert_eq!(asn(&map, 1, B), PeerAs::One(64502));
        assert_eq!(asn(&map, 1, MacAddress([2; 6])), PeerAs::Unknown);
        assert_eq!(asn(&map, 3, B), PeerAs::One(64502), "below the bond");
        assert_eq!(map.get(2, B), None, "not monitored");
        assert_eq!(&*map.get(1, A).unwrap().name, "one");
        assert_eq!(asn(&map, 4, MacAddress::ZERO), PeerAs::One(64509), "tunnel");
    }

    #[test]
    fn a_mac_of_several_ases_needs_a_route() {
        let several = build(&[(1, "10.0.0.1", A, true), (1, "10.0.0.2", A, true)], &[]);
        let neighbor = several.get(1, A).unwrap();
        assert_eq!(neighbor.asn, PeerAs::Several);
        assert_eq!(neighbor.asn_for(|| None), 0);
        assert_eq!(neighbor.asn_for(|| Some((ip("10.0.0.2"), 64502))), 64502);
        assert_eq!(neighbor.asn_for(|| Some((ip("10.0.0.3"), 64503))), 0);
        let one_address = build(&[(1, "10.0.0.3", A, true)], &[]);
        assert_eq!(asn(&one_address, 1, A), PeerAs::Several);
    }

    #[test]
    fn only_a_neighbor_of_several_ases_has_its_addresses() {
        let map = build(
            &[
                (1, "10.0.0.1", A, true),
                (1, "fe80::1", A, true),
                (1, "10.0.0.2", B, true),
                (1, "10.0.0.3", B, true),
            ],
            &[],
        );
        assert!(map.get(1, A).unwrap().addresses.is_empty());
        let several = &map.get(1, B).unwrap().addresses;
        assert_eq!(several[..], [ip("10.0.0.2"), ip("10.0.0.3")]);
    }

    #[test]
    fn expired_entries_count_if_no_valid_one_knows_better() {
        let map = build(&[(1, "10.0.0.1", A, false), (1, "fe80::1", A, true)], &[]);
        assert_eq!(asn(&map, 1, A), PeerAs::One(64501));
        let map = build(&[(1, "10.0.0.1", A, false), (1, "10.0.0.2", A, true)], &[]);
        assert_eq!(asn(&map, 1, A), PeerAs::One(64502));
    }

    #[test]
    fn the_configuration_decides() {
        let peer = |interface: &str, mac, address: &str, asn, name: &str| StaticPeer {
            interface: interface.into(),
            mac,
            address: address.parse().ok(),
            asn,
            name: name.into(),
        };
        let entries = [
            (1, "10.0.0.1", A, true),
            (1, "10.0.0.2", B, true),
            (1, "10.0.0.4", MacAddress([4; 6]), true),
        ];
        let map = build(
            &entries,
            &[
                peer("eth0", Some(A), "", 65001, "by mac"),
                peer("", None, "10.0.0.2", 0, "by address"),
                peer("eth0", None, "", 65003, "whole"),
                peer("eth1", Some(B), "", 65004, ""),
            ],
        );
        let known = |mac| {
            let neighbor = map.get(1, mac).unwrap();
            (neighbor.asn, neighbor.name.to_string())
        };
        assert_eq!(known(A), (PeerAs::One(65001), "by mac".into()));
        assert_eq!(known(B), (PeerAs::One(64502), "by address".into()));
        assert_eq!(
            known(MacAddress([4; 6])),
            (PeerAs::One(65003), "whole".into())
        );
        assert_eq!(
            known(MacAddress([5; 6])),
            (PeerAs::One(65003), "whole".into())
        );
        assert_eq!(
            asn(&map, 3, B),
            PeerAs::One(65004),
            "without an entry of the kernel"
        );
    }

    #[test]
    fn the_map_is_bounded_and_keeps_peers_of_bgp() {
        let others = (0..3000u16).map(|n| {
            let [high, low] = n.to_be_bytes();
            let mac = MacAddress([2, 1, 0, 0, high, low]);
            (1, IpAddr::from([172, 16, high, low]), mac, true)
        });
        let links = [link(1, "eth0", None)];
        let sources = Sources {
            links: &links,
            monitored: &[1],
            connected: &[],
            bgp: &bgp(),
            peers: &[],
        };
        let last = MacAddress([0xfe, 0, 0, 0, 0, 1]);
        let map = sources.build(others.chain([(1, ip("10.0.0.1"), last, true)]));
        assert_eq!(map.len(), MAX_MACS);
        assert_eq!(asn(&map, 1, last), PeerAs::One(64501));
    }
}
