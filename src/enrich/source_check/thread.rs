// SPDX-License-Identifier: AGPL-3.0-only
//! THREAD source-check: builds the tables of the source check again after changes.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use super::tables::{NeighborViews, PrefixMap, SourceTables, ViewsDraft};
use super::{SharedSources, ViewReport, rules};
use crate::enrich::neighbors::SharedNeighbors;
use crate::enrich::rib::SharedRib;
use crate::flow::thread::InterfaceNames;
use crate::interfaces::InterfaceRegistry;
use crate::netlink::stacked_interfaces::below;
use crate::netlink::{self, ConnectedNetwork, Link, LinkSocket};
use crate::sys::error_counters::{ErrorCounters, Subsystem};
use crate::sys::threads::Heartbeat;
use crate::types::prefix::Prefix;
use crate::types::role::{InterfaceRole, RoleRule};
use crate::types::rule::Rule;

const POLL_INTERVAL: Duration = Duration::from_millis(250);
/// The age at which links and networks are read again; a new monitored interface does not wait for it.
const LINKS_INTERVAL: Duration = Duration::from_secs(5);
/// The least time between two searches for the origins of the neighbors.
const VIEWS_INTERVAL: Duration = Duration::from_secs(5);
/// Prefixes that are read under one lock of the RIB: about a millisecond.
const CHUNK: usize = 1 << 15;

/// The settings of the configuration: bogons, and the roles of interfaces.
#[derive(Clone, Debug, PartialEq)]
pub struct SourceSettings {
    pub bogons: Vec<Prefix>,
    pub roles: Vec<RoleRule>,
}

/// The sources of the tables, and their place.
pub struct TableSources {
    pub rib: SharedRib,
    pub interfaces: Arc<InterfaceRegistry>,
    pub neighbors: Arc<SharedNeighbors>,
    pub settings: Box<dyn Fn() -> SourceSettings + Send>,
    /// Whether the firewall drops bogons and local prefixes.
    pub enforces: bool,
    pub tables: Arc<SharedSources>,
    pub errors: Arc<ErrorCounters>,
}

/// The body of thread source-check.
pub fn run(sources: TableSources, heartbeat: &Heartbeat) {
    let mut worker = Worker {
        links: LinkSocket::new(sources.errors.clone()),
        sources,
        machine: None,
        views: None,
    };
    while !heartbeat.stopping() {
        heartbeat.beat();
        worker.turn(Instant::now(), &|| heartbeat.beat());
        thread::sleep(POLL_INTERVAL);
    }
}

struct Worker {
    sources: TableSources,
    links: LinkSocket,
    machine: Option<MachineState>,
    views: Option<ViewState>,
}

/// Links, networks and settings, as last read.
struct MachineState {
    read: Instant,
    interfaces: u32,
    links: Vec<Link>,
    connected: Vec<ConnectedNetwork>,
    settings: SourceSettings,
}

impl MachineState {
    /// Returns whether the tables are the same for both. Statistics of links do not count.
    fn is_like(&self, other: &Self) -> bool {
        let same = |(a, b): (&Link, &Link)| {
            (a.ifindex, a.master, a.parent, a.loopback)
                == (b.ifindex, b.master, b.parent, b.loopback)
                && (&a.name, &a.alias, &a.kind) == (&b.name, &b.alias, &b.kind)
        };
        self.interfaces == other.interfaces
            && self.connected == other.connected
            && self.settings == other.settings
            && self.links.len() == other.links.len()
            && self.links.iter().zip(&other.links).all(same)
    }
}

/// The views, and the generations of RIB and neighbors from which they were made.
struct ViewState {
    read: Instant,
    generations: (u32, u32),
    views: NeighborViews,
    report: ViewReport,
}

impl Worker {
    fn turn(&mut self, now: Instant, beat: &dyn Fn()) {
        let machine_changed = self.read_machine(now);
        let views_changed = self.read_views(now, beat);
        if !machine_changed && !views_changed {
            return;
        }
        let (Some(machine), Some(views)) = (&self.machine, &self.views) else {
            return;
        };
        let settings = &machine.settings;
        let monitored = self.sources.interfaces.monitored();
        let monitored: Vec<u32> = monitored.iter().map(|m| m.ifindex).collect();
        let tables = SourceTables {
            internal: internal(&settings.roles, &machine.links),
            bogons: PrefixMap::new(settings.bogons.iter().map(|prefix| (*prefix, ()))),
            local: local_networks(&machine.connected, &machine.links, &monitored),
            views: views.views.clone(),
        };
        let rules = match self.sources.enforces {
            true => self.rules(&tables, &machine.links),
            false => Vec::new(),
        };
        let report = views.report.clone();
        self.sources.tables.set(tables, rules, report);
    }

    fn rules(&self, tables: &SourceTables, links: &[Link]) -> Vec<Rule> {
        rules::rules(tables, links).unwrap_or_else(|count| {
            let errors = &self.sources.errors;
            errors.count_and_log(Subsystem::Firewall, "source check", || {
                format!(
                    "the source check drops nothing: the connected networks, internal interfaces and bogons of this \
                     machine need {count} rules, and at most {} are possible; set mode = \"count\"",
                    rules::MAX_RULES
                )
            });
            Vec::new()
        })
    }

    /// Reads links, networks and settings if they are due, and returns whether they changed; after an error, the previous
    /// ones stay.
    fn read_machine(&mut self, now: Instant) -> bool {
        let interfaces = self.sources.interfaces.generation();
        let is_due = self
            .machine
            .as_ref()
            .is_none_or(|held| held.interfaces != interfaces || now - held.read >= LINKS_INTERVAL);
        if !is_due {
            return false;
        }
        let previous = self.machine.take();
        let (links, connected) = previous
            .as_ref()
            .map(|held| (held.links.clone(), held.connected.clone()))
            .unwrap_or_default();
        // the socket logs its error
        let links = self.links.dump().unwrap_or(links);
        let connected = netlink::connected_networks().unwrap_or_else(|error| {
            let errors = &self.sources.errors;
            errors.count_and_log(Subsystem::Netlink, "addresses", || error.to_string());
            connected
        });
        let current = MachineState {
            read: now,
            interfaces,
            links,
            connected,
            settings: (self.sources.settings)(),
        };
        let is_new = previous.is_none_or(|held| !held.is_like(&current));
        self.machine = Some(current);
        is_new
    }

    /// Reads the origins of the neighbors if RIB or neighbors have changed, and once after a view may have settled.
    fn read_views(&mut self, now: Instant, beat: &dyn Fn()) -> bool {
        let generations = (
            self.sources.rib.generation(),
            self.sources.neighbors.generation(),
        );
        let is_due = self.views.as_ref().is_none_or(|held| {
            let age = now - held.read;
            let waits = !held.report.without_view.is_empty();
            age >= VIEWS_INTERVAL && (held.generations != generations || waits)
        });
        if !is_due {
            return false;
        }
        let asns = self.sources.neighbors.get().asns();
        let views = self.collect_views(&asns, beat);
        let without_view = asns.iter().filter(|asn| !views.has(**asn));
        let report = ViewReport {
            neighbors: asns.len(),
            without_view: without_view.copied().collect(),
        };
        self.views = Some(ViewState {
            read: now,
            generations,
            views,
            report,
        });
        true
    }

    fn collect_views(&self, asns: &BTreeSet<u32>, beat: &dyn Fn()) -> NeighborViews {
        let mut draft = ViewsDraft::default();
        let rib = &self.sources.rib;
        if asns.is_empty() {
            return draft.finish();
        }
        for (session, family) in rib.read(|rib| rib.source_views()) {
            let mut from = 0;
            loop {
                beat();
                let mut pairs = Vec::new();
                let more = rib.read(|rib| {
                    rib.source_origins((session, family), from, CHUNK, |asn, origin| {
                        if asns.contains(&asn) {
                            pairs.push((asn, origin));
                        }
                    })
                });
                pairs.sort_unstable();
                pairs.dedup();
                draft.add(session, family, pairs);
                if !more {
                    break;
                }
                from += CHUNK;
            }
        }
        draft.finish()
    }
}

/// Returns the interfaces with the role internal.
fn internal(roles: &[RoleRule], links: &[Link]) -> Vec<u32> {
    let is_internal = |link: &&Link| {
        InterfaceRole::of(roles, &link.name, link.loopback, &link.alias).is_internal()
    };
    let internal = links.iter().filter(is_internal);
    internal.map(|link| link.ifindex).collect()
}

/// Returns the connected networks with the interfaces on which their addresses are expected: the interface with the
/// address, and those below it, such as the members of a bond.
fn local_networks(
    connected: &[ConnectedNetwork],
    links: &[Link],
    monitored: &[u32],
) -> PrefixMap<Vec<u32>> {
    let mut networks: HashMap<Prefix, Vec<u32>> = HashMap::new();
    for network in connected {
        let address = network.prefix.address();
        let is_link_local = match address {
            std::net::IpAddr::V4(address) => address.is_link_local(),
            std::net::IpAddr::V6(address) => address.is_unicast_link_local(),
        };
        // the networks of a VRF may be others in the global table
        let link = netlink::find(links, network.ifindex);
        let is_in_vrf = link.is_some_and(|link| netlink::vrf(links, link).is_some());
        if address.is_loopback() || is_link_local || is_in_vrf {
            continue;
        }
        let mut interfaces = below(links, network.ifindex);
        interfaces.push(network.ifindex);
        interfaces.sort_unstable();
        interfaces.dedup();
        interfaces.retain(|ifindex| monitored.contains(ifindex) || *ifindex == network.ifindex);
        networks
            .entry(network.prefix)
            .or_default()
            .extend(interfaces);
    }
    PrefixMap::new(networks)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(ifindex: u32, name: &str, alias: &str) -> Link {
        Link {
            ifindex,
            name: name.into(),
            alias: alias.into(),
            ..Link::default()
        }
    }

    #[test]
    fn networks_belong_to_their_interfaces_and_those_below() {
        let links = [
            link(1, "lo", ""),
            link(2, "eth0", "[transit: Example]"),
            Link {
                parent: Some(2),
                kind: "vlan".into(),
                ..link(3, "eth0.7", "[internal]")
            },
            link(4, "eth1", ""),
        ];
        let network = |ifindex, prefix: &str| ConnectedNetwork {
            ifindex,
            prefix: prefix.parse().unwrap(),
        };
        let connected = [
            network(1, "127.0.0.0/8"),
            network(1, "5.5.0.1/32"),
            network(3, "5.5.7.0/24"),
            network(4, "5.5.7.0/24"),
            network(4, "fe80::/64"),
            network(4, "2600:1::/64"),
        ];
        let local = local_networks(&connected, &links, &[2, 3, 4]);
        let at = |address: &str| {
            let mut found = local.get(address.parse().unwrap()).cloned();
            found
                .iter_mut()
                .for_each(|interfaces| interfaces.sort_unstable());
            found.map(|mut interfaces| {
                interfaces.dedup();
                interfaces
            })
        };
        assert_eq!(at("127.0.0.1"), None);
        assert_eq!(at("fe80::1"), None);
        // an address of the machine itself is expected on no other interface
        assert_eq!(at("5.5.0.1"), Some(vec![1]));
        assert_eq!(at("5.5.7.9"), Some(vec![2, 3, 4]));
        assert_eq!(at("2600:1::1"), Some(vec![4]));
        assert_eq!(internal(&[], &links), [3]);
    }
}
