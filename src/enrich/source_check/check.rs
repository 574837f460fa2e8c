// SPDX-License-Identifier: AGPL-3.0-only
//! The check of one source (pure).

use std::net::IpAddr;

use super::tables::SourceTables;
use crate::enrich::rib::{SourceRoutes, TableId};
use crate::types::source::SourceState;

/// Returns the state of a source address that a neighbor handed over on an interface, or `None` if the sources of the
/// interface are not checked. `routes` looks up the routes to the source.
pub fn check(
    tables: &SourceTables,
    (ifindex, peer_asn): (u32, u32),
    address: IpAddr,
    table: Option<TableId>,
    routes: impl FnOnce(TableId) -> SourceRoutes,
) -> Option<SourceState> {
    if tables.internal.contains(&ifindex) {
        return None;
    }
    if is_for_the_segment(address) {
        return Some(SourceState::Feasible);
    }
    // the connected networks are those of the global table
    if table == Some(TableId::GLOBAL)
        && let Some(interfaces) = tables.local.get(address)
    {
        return Some(match interfaces.contains(&ifindex) {
            true => SourceState::Feasible,
            false => SourceState::Local,
        });
    }
    if tables.bogons.get(address).is_some() {
        return Some(SourceState::Bogon);
    }
    let Some(table) = table.filter(|_| peer_asn > 0) else {
        return Some(SourceState::Unknown);
    };
    Some(match routes(table) {
        SourceRoutes::Announced => SourceState::Feasible,
        SourceRoutes::NoView => SourceState::Unknown,
        SourceRoutes::None => SourceState::Unrouted,
        SourceRoutes::OfOthers(origins) => {
            let announces = |origin: &u32| tables.views.announces(peer_asn, *origin);
            match origins.iter().any(announces) {
                true => SourceState::Feasible,
                false => SourceState::Infeasible,
            }
        }
    })
}

/// Returns whether hosts use an address on their segment before they have another one: DHCP, duplicate address
/// detection, neighbor discovery.
fn is_for_the_segment(address: IpAddr) -> bool {
    address.is_unspecified()
        || match address {
            IpAddr::V4(address) => address.is_link_local(),
            IpAddr::V6(address) => address.is_unicast_link_local(),
        }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::enrich::rib::{Family, PeerId};
    use crate::enrich::source_check::{PrefixMap, ViewsDraft};
    use crate::types::source::bogons;

    use SourceState::{Bogon, Feasible, Infeasible, Local, Unknown, Unrouted};

    const OUTSIDE: u32 = 2;
    const INSIDE: u32 = 3;
    const INTERNAL: u32 = 4;
    const PEER: u32 = 64501;

    fn tables() -> SourceTables {
        let mut views = ViewsDraft::default();
        views.add(
            PeerId::default(),
            Family::Ipv4,
            [(PEER, 64601), (PEER, 64602)],
        );
        SourceTables {
            internal: vec![INTERNAL],
            bogons: PrefixMap::new(bogons().into_iter().map(|prefix| (prefix, ()))),
            local: PrefixMap::new([
                ("10.1.0.0/16".parse().unwrap(), vec![INSIDE]),
                ("10.1.2.0/24".parse().unwrap(), vec![OUTSIDE]),
                ("5.5.5.0/24".parse().unwrap(), vec![INSIDE]),
            ]),
            views: views.finish(),
        }
    }

    fn state(ifindex: u32, peer: u32, address: &str, routes: SourceRoutes) -> Option<SourceState> {
        let address = address.parse().unwrap();
        let table = Some(TableId::GLOBAL);
        check(&tables(), (ifindex, peer), address, table, |_| routes)
    }

    #[test]
    fn each_source_has_one_state() {
        let of_others = |origins: &[u32]| SourceRoutes::OfOthers(origins.into());
        for (peer, address, routes, expected) in [
            (PEER, "8.8.8.8", SourceRoutes::Announced, Feasible),
            (PEER, "8.8.8.8", SourceRoutes::None, Unrouted),
            (PEER, "8.8.8.8", SourceRoutes::NoView, Unknown),
            (PEER, "8.8.8.8", of_others(&[64700]), Infeasible),
            (PEER, "8.8.8.8", of_others(&[]), Infeasible),
            // algorithm A: a customer that announces some of its prefixes to another provider
            (PEER, "8.8.8.8", of_others(&[64700, 64602]), Feasible),
            // without a known neighbor, nothing depends on BGP
            (0, "8.8.8.8", SourceRoutes::None, Unknown),
            (0, "192.168.1.1", SourceRoutes::None, Bogon),
            (PEER, "192.168.1.1", SourceRoutes::Announced, Bogon),
            (PEER, "224.0.0.5", SourceRoutes::Announced, Bogon),
            (PEER, "5.5.5.5", SourceRoutes::Announced, Local),
            (PEER, "10.1.1.1", SourceRoutes::Announced, Local),
            // its own segment, although it is private
            (PEER, "10.1.2.9", SourceRoutes::None, Feasible),
            // DHCP, duplicate address detection, neighbor discovery
            (0, "0.0.0.0", SourceRoutes::None, Feasible),
            (0, "0.0.0.1", SourceRoutes::None, Bogon),
            (0, "169.254.1.1", SourceRoutes::None, Feasible),
            (0, "::", SourceRoutes::None, Feasible),
            (0, "fe80::1", SourceRoutes::None, Feasible),
            (0, "fd00::1", SourceRoutes::None, Bogon),
            (0, "ff02::5", SourceRoutes::None, Bogon),
        ] {
            let found = state(OUTSIDE, peer, address, routes.clone());
            assert_eq!(found, Some(expected), "{address} {routes:?}");
        }
        assert_eq!(
            state(INTERNAL, PEER, "192.168.1.1", SourceRoutes::None),
            None
        );
    }

    #[test]
    fn the_table_of_a_vrf_has_no_connected_networks_here() {
        let check = |table| {
            let address = "5.5.5.5".parse().unwrap();
            check(&tables(), (OUTSIDE, PEER), address, table, |_| {
                SourceRoutes::Announced
            })
        };
        assert_eq!(check(None), Some(Unknown));
        assert_eq!(check(Some(TableId::GLOBAL)), Some(Local));
    }
}
