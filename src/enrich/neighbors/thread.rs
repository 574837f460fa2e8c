// SPDX-License-Identifier: AGPL-3.0-only
//! THREAD neighbors: follows the neighbor tables of the kernel, and builds the map again after changes.

use std::collections::HashSet;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::SharedNeighbors;
use super::build::Sources;
use super::table::NeighborTable;
use crate::enrich::rib::SharedRib;
use crate::flow::thread::InterfaceNames;
use crate::interfaces::InterfaceRegistry;
use crate::netlink::{
    self, ConnectedNetwork, Link, LinkSocket, NeighborEntry, NeighborEvents, NeighborRead,
};
use crate::sys::error_counters::{ErrorCounters, Subsystem};
use crate::sys::threads::Heartbeat;
use crate::types::mac::MacAddress;
use crate::types::static_peer::StaticPeer;

/// The sleep time of the idle thread.
const IDLE: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 500_000_000,
};
/// The pause after an event, in which further events arrive.
const EVENT_PAUSE: Duration = Duration::from_millis(100);
/// The least time between two builds.
const BUILD_INTERVAL: Duration = Duration::from_secs(2);
/// The age at which links and networks are read again; a new monitored interface does not wait for it.
const LINKS_INTERVAL: Duration = Duration::from_secs(10);
/// The interval at which old entries expire, and all are read again after an error.
const EXPIRY_INTERVAL: Duration = Duration::from_secs(60);

/// The sources of the map, and its place.
pub struct NeighborSources {
    pub rib: SharedRib,
    pub interfaces: Arc<InterfaceRegistry>,
    /// Returns the configured peers.
    pub peers: Box<dyn Fn() -> Vec<StaticPeer> + Send>,
    pub neighbors: Arc<SharedNeighbors>,
    pub errors: Arc<ErrorCounters>,
}

/// The body of thread neighbors.
pub fn run(sources: NeighborSources, heartbeat: &Heartbeat) {
    let mut worker = Worker {
        links: LinkSocket::new(sources.errors.clone()),
        sources,
        epoch: Instant::now(),
        events: None,
        table: NeighborTable::default(),
        known: Known::default(),
        changed: true,
        built: None,
        expired: Instant::now(),
        refused: 0,
    };
    while !heartbeat.stopping() {
        heartbeat.beat();
        worker.turn(Instant::now());
        worker.wait();
    }
}

/// The state of the sources at the last build.
#[derive(Default)]
struct Known {
    links: Vec<Link>,
    /// The interfaces whose neighbors count: the monitored ones, and those above them, such as VLANs.
    watched: HashSet<u32>,
    connected: Vec<ConnectedNetwork>,
    read: Option<Instant>,
    peers: Vec<StaticPeer>,
    /// The generations of the RIB and of the monitored interfaces.
    generations: (u32, u32),
}

struct Worker {
    sources: NeighborSources,
    links: LinkSocket,
    epoch: Instant,
    /// None at the start, and after an error.
    events: Option<NeighborEvents>,
    table: NeighborTable,
    known: Known,
    changed: bool,
    built: Option<Instant>,
    expired: Instant,
    refused: u64,
}

impl Worker {
    fn turn(&mut self, now: Instant) {
        let result = match self.events.as_mut().map(NeighborEvents::read) {
            Some(NeighborRead::Events(events)) => {
                for event in &events {
                    self.update(event, now);
                }
                Ok(())
            }
            Some(NeighborRead::Overflow) => self.read_all(now),
            None if self.built.is_none() || now - self.expired >= EXPIRY_INTERVAL => {
                self.read_all(now)
            }
            None => Ok(()),
        };
        if let Err(error) = result {
            self.events = None;
            self.sources
                .errors
                .count_and_log(Subsystem::Netlink, "neighbors", || {
                    format!("cannot read the neighbor tables: {error}; rfm tries again in 60 s")
                });
        }
        if now - self.expired >= EXPIRY_INTERVAL {
            self.expired = now;
            self.changed |= self.table.expire(self.now_ms(now));
        }
        if self.built.is_none_or(|built| now - built >= BUILD_INTERVAL) {
            self.build_if_changed(now);
        }
    }

    fn update(&mut self, entry: &NeighborEntry, now: Instant) {
        if !self.known.watched.contains(&entry.ifindex) {
            return;
        }
        let now_ms = self.now_ms(now);
        let mac = entry.mac.map(MacAddress);
        self.changed |= self.table.update(entry.ifindex, entry.address, mac, now_ms);
        if self.table.refused() > self.refused {
            self.refused = self.table.refused();
            self.sources
                .errors
                .count_and_log(Subsystem::Netlink, "neighbor limit", || {
                    "more neighbors than rfm stores; monitor fewer interfaces with many hosts"
                        .into()
                });
        }
    }

    /// Opens the socket for changes, then reads the tables.
    fn read_all(&mut self, now: Instant) -> io::Result<()> {
        self.events = Some(NeighborEvents::open()?);
        self.refresh_links(now);
        let mut entries = netlink::neighbors()?;
        entries.retain(|entry| self.known.watched.contains(&entry.ifindex));
        let now_ms = self.now_ms(now);
        let states = entries
            .iter()
            .map(|entry| (entry.ifindex, entry.address, entry.mac.map(MacAddress)));
        self.changed |= self.table.replace(states, now_ms);
        Ok(())
    }

    /// See [`Known::watched`].
    fn watched(&self) -> HashSet<u32> {
        let monitored: HashSet<u32> = self.monitored().into_iter().collect();
        let links = self.known.links.iter();
        // only interfaces that may stand on others: the rest has nothing below
        let above = links.filter(|link| link.parent.is_some() || link.kind != "ethernet");
        let above = above.map(|link| link.ifindex).filter(|ifindex| {
            let below = netlink::stacked_interfaces::below(&self.known.links, *ifindex);
            below.iter().any(|below| monitored.contains(below))
        });
        above.chain(monitored.iter().copied()).collect()
    }

    fn monitored(&self) -> Vec<u32> {
        let monitored = self.sources.interfaces.monitored();
        monitored
            .iter()
            .map(|monitored| monitored.ifindex)
            .collect()
    }

    fn build_if_changed(&mut self, now: Instant) {
        let generations = (
            self.sources.rib.generation(),
            self.sources.interfaces.generation(),
        );
        let peers = (self.sources.peers)();
        let mut new_interfaces = generations.1 != self.known.generations.1;
        let read = self.known.read;
        if !new_interfaces && read.is_none_or(|read| now - read >= LINKS_INTERVAL) {
            let watched = self.known.watched.clone();
            self.refresh_links(now);
            // such as a new VLAN
            new_interfaces = !self.known.watched.is_subset(&watched);
        }
        if new_interfaces {
            // the neighbors of an interface that did not count have been skipped
            if let Err(error) = self.read_all(now) {
                self.sources
                    .errors
                    .count_and_log(Subsystem::Netlink, "neighbors", || error.to_string());
            }
        }
        if generations != self.known.generations || peers != self.known.peers {
            self.known.generations = generations;
            self.known.peers = peers;
            self.changed = true;
        }
        if !std::mem::take(&mut self.changed) {
            return;
        }
        self.built = Some(now);
        let addresses: HashSet<_> = self.table.entries().map(|(_, a, ..)| a).collect();
        let bgp = self
            .sources
            .rib
            .read(|rib| rib.bgp_neighbors(|next_hop| addresses.contains(&next_hop)));
        let map = Sources {
            links: &self.known.links,
            monitored: &self.monitored(),
            connected: &self.known.connected,
            bgp: &bgp,
            peers: &self.known.peers,
        }
        .build(self.table.entries());
        self.sources.neighbors.set(map);
    }

    /// Reads links and networks; after an error, the previous ones stay.
    fn refresh_links(&mut self, now: Instant) {
        self.known.read = Some(now);
        // the socket logs its error
        if let Ok(links) = self.links.dump() {
            let same = |(a, b): (&Link, &Link)| {
                (a.ifindex, &a.name, a.master, a.parent) == (b.ifindex, &b.name, b.master, b.parent)
            };
            let old = &self.known.links;
            self.changed |= old.len() != links.len() || !old.iter().zip(&links).all(same);
            self.known.links = links;
        }
        self.known.watched = self.watched();
        match netlink::connected_networks() {
            Ok(connected) => {
                self.changed |= connected != self.known.connected;
                self.known.connected = connected;
            }
            Err(error) => {
                self.sources
                    .errors
                    .count_and_log(Subsystem::Netlink, "addresses", || error.to_string());
            }
        }
    }

    /// Waits for a change of a neighbor table, and for those that follow at once.
    fn wait(&self) {
        let mut fds: Vec<_> = self
            .events
            .iter()
            .map(|e| PollFd::new(e, PollFlags::IN))
            .collect();
        match poll(&mut fds, Some(&IDLE)) {
            Ok(0) => {}
            // also after an error: the loop must not spin
            _ => std::thread::sleep(EVENT_PAUSE),
        }
    }

    fn now_ms(&self, now: Instant) -> u64 {
        (now - self.epoch).as_millis() as u64
    }
}
