// SPDX-License-Identifier: AGPL-3.0-only
//! Finds interfaces that are stacked on others: a packet on a VLAN also passes its parent, and a sum must count
//! it once. Pure functions.

use std::collections::HashSet;

use super::Link;

/// Kinds of interfaces whose packets also pass the parent, with their IP headers.
const SAME_PACKETS: [&str; 5] = ["vlan", "macvlan", "macvtap", "ipvlan", "ipvtap"];

/// The number of devices that the kernel stacks at most (MAX_NEST_DEV of linux/netdevice.h).
const MAX_DEPTH: usize = 8;

/// Returns the monitored interface below `link` that sees the same packets closer to the wire: the parent of a
/// VLAN, macvlan or tunnel; a member of a bond, bridge or VRF.
pub fn stacked_on<'a>(link: &Link, watched: impl Iterator<Item = &'a Link>) -> Option<&'a Link> {
    // the other end of a veth is not below it: it is another point on the path of the packet
    let parent = link.parent.filter(|_| link.kind != "veth");
    let mut watched = watched.filter(|other| other.ifindex != link.ifindex);
    watched.find(|other| parent == Some(other.ifindex) || other.master == Some(link.ifindex))
}

/// Returns all monitored interfaces that are stacked on another one, as [`stacked_on`] finds them.
pub fn all_stacked<'a>(watched: impl Iterator<Item = &'a Link> + Clone) -> HashSet<u32> {
    let indices: HashSet<u32> = watched.clone().map(|link| link.ifindex).collect();
    let masters: HashSet<u32> = watched.clone().filter_map(|link| link.master).collect();
    let is_stacked = |link: &&Link| {
        let parent = link.parent.filter(|_| link.kind != "veth");
        let below = parent.is_some_and(|p| p != link.ifindex && indices.contains(&p));
        below || masters.contains(&link.ifindex)
    };
    watched
        .filter(is_stacked)
        .map(|link| link.ifindex)
        .collect()
}

/// Returns the monitored interfaces whose flows an interface closer to the wire also has. Tunnels are not among
/// them: below a tunnel its packets are flows between its two ends. Nor are MACsec and DSA devices, whose frames
/// hide IP.
pub fn repeating_flows<'a>(watched: impl Iterator<Item = &'a Link> + Clone) -> HashSet<u32> {
    let indices: HashSet<u32> = watched.clone().map(|link| link.ifindex).collect();
    let masters: HashSet<u32> = watched.clone().filter_map(|link| link.master).collect();
    let repeats = |link: &&Link| {
        let below = link.parent.is_some_and(|parent| indices.contains(&parent));
        masters.contains(&link.ifindex) || below && SAME_PACKETS.contains(&&*link.kind)
    };
    watched.filter(repeats).map(|link| link.ifindex).collect()
}

/// Returns the interfaces that see the packets of `ifindex` closer to the wire, and itself: the parents of a VLAN, the
/// members of a bond or bridge, and theirs.
pub fn below(links: &[Link], ifindex: u32) -> Vec<u32> {
    let mut found = vec![ifindex];
    let mut next = 0;
    for _ in 0..MAX_DEPTH {
        let level = next..found.len();
        next = found.len();
        for at in level {
            let above = found[at];
            let parent = super::find(links, above)
                .filter(|link| SAME_PACKETS.contains(&&*link.kind))
                .and_then(|link| link.parent);
            // the members of a VRF are separate networks
            let is_vrf = super::find(links, above).is_some_and(|link| link.kind == "vrf");
            let members = links
                .iter()
                .filter(|link| link.master == Some(above) && !is_vrf);
            let below: Vec<_> = parent
                .into_iter()
                .chain(members.map(|link| link.ifindex))
                .collect();
            found.extend(below.into_iter().filter(|below| *below != ifindex));
        }
    }
    found
}

/// Returns the name of an interface by its ifindex.
pub fn name_of(links: &[Link], ifindex: Option<u32>) -> Option<String> {
    super::find(links, ifindex?).map(|link| link.name.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(ifindex: u32, kind: &str, parent: Option<u32>, master: Option<u32>) -> Link {
        Link {
            ifindex,
            name: format!("if{ifindex}"),
            kind: kind.into(),
            parent,
            master,
            ..Link::default()
        }
    }

    fn below(link: &Link, watched: &[Link]) -> Option<u32> {
        stacked_on(link, watched.iter()).map(|l| l.ifindex)
    }

    #[test]
    fn what_stands_on_a_watched_interface_is_told() {
        let eth = link(2, "ether", None, Some(9));
        let vlan = link(3, "vlan", Some(2), None);
        let bond = link(9, "bond", None, None);
        let all = [eth.clone(), vlan.clone(), bond.clone()];
        assert_eq!(below(&vlan, &all), Some(2));
        assert_eq!(below(&bond, &all), Some(2));
        assert_eq!(below(&eth, &all), None);
        assert_eq!(all_stacked(all.iter()), HashSet::from([3, 9]));
        // the interface below is not monitored: then this one is to be counted
        assert_eq!(below(&vlan, &[vlan.clone(), bond.clone()]), None);
        assert_eq!(below(&bond, std::slice::from_ref(&bond)), None);
    }

    #[test]
    fn interfaces_below_are_found_through_vlans_and_bonds() {
        let links = [
            link(2, "ether", None, Some(9)),
            link(3, "ether", None, Some(9)),
            link(4, "vlan", Some(9), None),
            link(5, "veth", Some(2), None),
            link(6, "vrf", None, None),
            link(7, "ether", None, Some(6)),
            link(9, "bond", None, None),
        ];
        assert_eq!(super::below(&links, 4), [4, 9, 2, 3]);
        assert_eq!(super::below(&links, 5), [5]);
        assert_eq!(super::below(&links, 6), [6]);
        assert_eq!(super::below(&links, 99), [99]);
    }

    fn repeating(watched: &[Link]) -> Vec<u32> {
        repeating_flows(watched.iter()).into_iter().collect()
    }

    #[test]
    fn a_tunnel_has_flows_of_its_own() {
        let eth = link(2, "ether", None, Some(9));
        for (kind, repeats) in [
            ("vlan", true),
            ("macvlan", true),
            ("gre", false),
            ("macsec", false),
        ] {
            let upper = link(3, kind, Some(2), None);
            let all = [eth.clone(), upper.clone()];
            let expected = if repeats { vec![3] } else { vec![] };
            assert_eq!(repeating(&all), expected, "{kind}");
            assert!(repeating(&[upper]).is_empty());
        }
        let bridge = link(9, "bridge", None, None);
        assert_eq!(repeating(&[eth, bridge]), [9]);
    }

    #[test]
    fn the_ends_of_a_veth_stand_beside_each_other() {
        let ends = [
            link(2, "veth", Some(3), None),
            link(3, "veth", Some(2), None),
        ];
        assert_eq!(below(&ends[0], &ends), None);
        assert_eq!(below(&ends[1], &ends), None);
    }
}
