// SPDX-License-Identifier: AGPL-3.0-only
//! Interfaces that stand on others: a packet on a VLAN crosses its parent too. Whoever adds up counts
//! it once (pure).

use crate::links::{self, Link};

/// The watched interface below `link` that sees the same packets nearer to the wire: the parent of a
/// VLAN, macvlan or tunnel; a member of a bond, bridge or VRF.
pub fn stacked_on<'a>(link: &Link, watched: impl Iterator<Item = &'a Link>) -> Option<&'a Link> {
    // the other end of a veth is another place on the way, not below
    let parent = link.parent.filter(|_| link.kind != "veth");
    let mut watched = watched.filter(|other| other.ifindex != link.ifindex);
    watched.find(|other| parent == Some(other.ifindex) || other.master == Some(link.ifindex))
}

/// The name of an interface by its number.
pub fn name_of(links: &[Link], ifindex: Option<u32>) -> Option<String> {
    links::find(links, ifindex?).map(|link| link.name.clone())
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
        // nothing below is watched: then it is the one to count
        assert_eq!(below(&vlan, &[vlan.clone(), bond.clone()]), None);
        assert_eq!(below(&bond, std::slice::from_ref(&bond)), None);
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
