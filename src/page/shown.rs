// SPDX-License-Identifier: AGPL-3.0-only
//! Selects the interfaces that the page shows in detail (pure).

use std::collections::BTreeMap;

use super::query::Query;
use crate::history::string_refs::OTHER;
use crate::history::top_table::{Scope, Side, TopKey, TopKind};
use crate::history::window_totals::Window;
use crate::history::{History, InterfaceHistory};
use crate::types::flow::Direction;
use crate::types::role::Role;

/// Returns the uplinks: the interfaces with the role of an external network, otherwise that of the default route.
pub(super) fn uplinks(history: &History) -> Vec<(u16, &InterfaceHistory)> {
    let external = |port: &InterfaceHistory| {
        matches!(port.role, Some(Role::Transit | Role::Ix | Role::Pni)) && port.is_summed
    };
    let with_role: Vec<_> = history
        .interfaces()
        .filter(|(_, port)| external(port))
        .collect();
    match with_role.is_empty() {
        true => history
            .interfaces()
            .filter(|(_, port)| Some(port.ifindex) == history.uplink)
            .collect(),
        false => with_role,
    }
}

/// Returns the interfaces to show: all uplinks, or the one with the index of the query; otherwise that of the default
/// route, the one with the most remote networks, or the one with the most traffic.
pub(super) fn shown<'a>(history: &'a History, query: &Query) -> Vec<(u16, &'a InterfaceHistory)> {
    if query.uplinks {
        return uplinks(history);
    }
    let of = |ifindex: u32| {
        let mut interfaces = history.interfaces();
        interfaces.find(|(_, port)| port.ifindex == ifindex)
    };
    let wanted = of(query.ifindex).or_else(|| of(history.uplink?));
    let wanted = wanted.or_else(|| {
        let networks = remote_networks(history);
        let weight = |number: u16| -> (usize, f32) {
            let keys = Direction::ALL.map(|direction| TopKey {
                scope: Scope {
                    interface: number,
                    direction,
                },
                kind: TopKind::Flows,
                value: 0,
            });
            let entries = keys.iter().filter_map(|key| history.entries.get(key));
            let bytes = entries.map(|e| e.sums(Window::Hour).bytes).sum();
            (networks.get(&number).copied().unwrap_or_default(), bytes)
        };
        let interfaces = history.interfaces().map(|port| (weight(port.0), port));
        interfaces
            .min_by(|(a, (_, first)), (b, (_, second))| {
                let by_networks = b.0.cmp(&a.0).then(b.1.total_cmp(&a.1));
                by_networks.then(first.ifindex.cmp(&second.ifindex))
            })
            .map(|(_, port)| port)
    });
    wanted.into_iter().collect()
}

/// Returns the number of known remote networks of each interface, both directions together.
fn remote_networks(history: &History) -> BTreeMap<u16, usize> {
    let mut counts = BTreeMap::new();
    for key in history.entries.keys() {
        if key.kind == TopKind::Asn(Side::Far) && key.value != 0 && key.value != OTHER {
            *counts.entry(key.scope.interface).or_default() += 1;
        }
    }
    counts
}
