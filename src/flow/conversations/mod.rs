// SPDX-License-Identifier: AGPL-3.0-only
//! The largest conversations, services and named prefixes of each minute, for the history on disk. Pure.
//!
//! A conversation has a source, a destination, a protocol and a service port. [`CONVERSATIONS`], [`SERVICES`] and
//! [`NAMED_PREFIXES`] counters find the largest ones of all interfaces ("space saving", see [`super::space_saving`]). They begin with each minute. If
//! there are not more keys than counters, all values are exact sums of the records. Otherwise the bytes of a key may be
//! too low by at most one part in the number of counters of all bytes of the minute, and a key with more than that part
//! is never missing. What a listed key lacks is in the rest of its interface and direction.

mod prefix_names;
mod sketch;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use self::prefix_names::PrefixNames;
use self::sketch::{Counted, Lists, Scope, Sketch, SketchKey};
use super::talkers::filter::service;
use super::volume::Volume;
use crate::store::types::{
    ConversationList, ConversationRow, MinuteLists, Part, PartRow, PrefixRow, ScopeRow, TotalRow,
};
use crate::types::address_detail::AddressDetail;
use crate::types::flow::{Direction, Family, FlowRecord};
use crate::types::prefix::Prefix;
use crate::types::static_prefix::StaticPrefix;

/// The number of counters of conversations.
pub const CONVERSATIONS: usize = 6656;
/// The number of counters of services.
pub const SERVICES: usize = 1024;
/// The number of counters of named prefixes.
pub const NAMED_PREFIXES: usize = 512;
/// The number of conversations, of services, and of named prefixes that are stored by minute, interface and direction.
pub const LISTED: usize = 50;
/// The time between two ticks, whose highest rate is stored.
const TICK_MS: u64 = 5_000;
const MINUTE_MS: u64 = 60_000;

/// What is counted for the history.
#[derive(Clone, Debug)]
pub struct ConversationSettings {
    /// The detail of stored addresses; absent: no conversations.
    pub addresses: AddressDetail,
    /// The prefixes with `bill = true`.
    pub billed: Vec<StaticPrefix>,
}

/// A conversation of an interface and direction, packed for a fast hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct PackedConversation {
    source: u128,
    destination: u128,
    service: ServiceKey,
}

/// A service of an interface and direction, and the family of its packets: ifindex, direction, family, protocol, port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct ServiceKey(u64);

impl ServiceKey {
    fn new(scope: Scope, family: Family, (protocol, port): (u8, u16)) -> Self {
        let (ifindex, direction) = scope;
        let is_ipv6 = u64::from(family == Family::Ipv6);
        Self(
            u64::from(ifindex) << 32
                | (direction as u64) << 25
                | is_ipv6 << 24
                | u64::from(protocol) << 16
                | u64::from(port),
        )
    }

    fn is_ipv6(self) -> bool {
        self.0 >> 24 & 1 == 1
    }

    fn service(self) -> (u8, u16) {
        ((self.0 >> 16) as u8, self.0 as u16)
    }
}

impl SketchKey for ServiceKey {
    fn scope(&self) -> Scope {
        let direction = Direction::ALL[(self.0 >> 25 & 1) as usize];
        ((self.0 >> 32) as u32, direction)
    }
}

impl SketchKey for PackedConversation {
    fn scope(&self) -> Scope {
        self.service.scope()
    }
}

/// A named prefix at an interface and direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct PrefixKey {
    scope: Scope,
    /// Its number in [`PrefixNames`].
    name: u32,
}

impl SketchKey for PrefixKey {
    fn scope(&self) -> Scope {
        self.scope
    }
}

#[derive(Debug)]
struct BilledPrefix {
    name: Arc<str>,
    prefix: Prefix,
    /// By [`Direction`].
    volumes: [Volume; Direction::ALL.len()],
}

#[derive(Debug)]
pub struct ConversationCounters {
    /// The mask of IPv4 and of IPv6 addresses; `None`: conversations are not counted.
    masks: Option<[u128; 2]>,
    conversations: Sketch<PackedConversation>,
    services: Sketch<ServiceKey>,
    prefixes: Sketch<PrefixKey>,
    names: PrefixNames,
    billed: Vec<BilledPrefix>,
    /// The current minute in Unix seconds.
    minute: Option<u64>,
    /// The time from which on the current minute was counted.
    since_ms: u64,
    ticked_ms: u64,
    due_ms: u64,
}

impl ConversationCounters {
    pub fn new(settings: &ConversationSettings) -> Self {
        let mut counters = Self {
            masks: None,
            conversations: Sketch::new(CONVERSATIONS),
            services: Sketch::new(SERVICES),
            prefixes: Sketch::new(NAMED_PREFIXES),
            names: PrefixNames::default(),
            billed: Vec::new(),
            minute: None,
            since_ms: 0,
            ticked_ms: 0,
            due_ms: 0,
        };
        counters.change(settings);
        counters
    }

    /// Applies new settings; the counts of the current minute stay.
    pub fn change(&mut self, settings: &ConversationSettings) {
        self.masks = match settings.addresses {
            AddressDetail::Full => Some([u128::MAX; 2]),
            AddressDetail::Prefix => Some([u128::MAX << 104, u128::MAX << 80]),
            AddressDetail::Absent => None,
        };
        let old = std::mem::take(&mut self.billed);
        let same = |new: &StaticPrefix| {
            let kept = old
                .iter()
                .find(|o| o.prefix == new.prefix && *o.name == *new.name);
            kept.map(|old| old.volumes).unwrap_or_default()
        };
        self.billed = (settings.billed.iter())
            .map(|new| BilledPrefix {
                name: new.name.as_str().into(),
                prefix: new.prefix,
                volumes: same(new),
            })
            .collect();
    }

    /// Adds a record. `prefix` is the name of the configured prefix of its remote side, if there is one. `is_summed`
    /// returns whether the packets of an interface cross no other one that is summed.
    pub fn count(
        &mut self,
        record: &FlowRecord,
        prefix: Option<&Arc<str>>,
        is_summed: impl Fn(u32) -> bool,
    ) {
        let key = &record.key;
        let scope = (key.ifindex, key.direction);
        let Volume { bytes, packets, .. } = Volume::from(record);
        if key.family == Family::Other {
            self.conversations.add_rest(scope, bytes, packets);
            return;
        }
        let service = ServiceKey::new(scope, key.family, service(key));
        self.services.add(service, bytes, packets);
        if let Some(name) = prefix.and_then(|name| self.names.number(name)) {
            self.prefixes.add(PrefixKey { scope, name }, bytes, packets);
        }
        if let Some(masks) = self.masks {
            let mask = masks[usize::from(key.family == Family::Ipv6)];
            let conversation = PackedConversation {
                source: u128::from_be_bytes(key.src) & mask,
                destination: u128::from_be_bytes(key.dst) & mask,
                service,
            };
            self.conversations.add(conversation, bytes, packets);
        }
        if !self.billed.is_empty() {
            self.bill(record, is_summed);
        }
    }

    /// Counts traffic from a billed prefix where it leaves the router, and traffic to it where it enters: each packet
    /// once.
    fn bill(&mut self, record: &FlowRecord, is_summed: impl Fn(u32) -> bool) {
        let key = &record.key;
        let address = match key.direction {
            Direction::Ingress => key.destination(),
            Direction::Egress => key.source(),
        };
        for billed in &mut self.billed {
            if billed.prefix.contains(address) && is_summed(key.ifindex) {
                billed.volumes[key.direction as usize] += Volume::from(record);
            }
        }
    }

    /// Completes ticks and minutes. Returns the lists of the minute that has ended. `now_ms` is monotonic; `unix_ms`
    /// returns the wall clock, and is called only if it is needed.
    pub fn advance(
        &mut self,
        now_ms: u64,
        unix_ms: impl FnOnce() -> u64,
        name: impl Fn(u32) -> Option<Arc<str>>,
    ) -> Option<MinuteLists> {
        if now_ms < self.due_ms {
            return None;
        }
        let elapsed = now_ms.saturating_sub(self.ticked_ms);
        if elapsed >= TICK_MS {
            self.services.tick(elapsed as f32 / 1000.0);
            self.prefixes.tick(elapsed as f32 / 1000.0);
            self.ticked_ms = now_ms;
        }
        let unix_ms = unix_ms();
        let minute = unix_ms / MINUTE_MS * 60;
        let to_minute = MINUTE_MS - unix_ms % MINUTE_MS;
        self.due_ms = now_ms + to_minute.min(TICK_MS);
        // also if the clock was set back: the counts belong to the minute in which they began
        match self.minute.replace(minute) {
            Some(ended) if ended != minute => Some(self.take(ended, now_ms, name)),
            Some(_) => None,
            None => {
                self.since_ms = now_ms;
                None
            }
        }
    }

    /// Returns the lists of the current minute, at the end of the thread.
    pub fn finish(
        &mut self,
        now_ms: u64,
        name: impl Fn(u32) -> Option<Arc<str>>,
    ) -> Option<MinuteLists> {
        let minute = self.minute.take()?;
        Some(self.take(minute, now_ms, name))
    }

    fn take(
        &mut self,
        minute: u64,
        now_ms: u64,
        name: impl Fn(u32) -> Option<Arc<str>>,
    ) -> MinuteLists {
        let covered = now_ms.saturating_sub(std::mem::replace(&mut self.since_ms, now_ms));
        let covered_ms = u32::try_from(covered).unwrap_or(u32::MAX);
        let services = by_name(self.services.take(LISTED), &name);
        let named = by_name(self.prefixes.take(LISTED), &name);
        let service = |key: &ServiceKey| {
            let (protocol, port) = key.service();
            Some(Part::Service(protocol, port))
        };
        let names = std::mem::take(&mut self.names);
        let prefix = |key: &PrefixKey| names.name(key.name).map(Part::Prefix);
        let parts = services.into_iter().map(|list| parts_row(list, service));
        let parts = parts.chain(named.into_iter().map(|list| parts_row(list, prefix)));
        let conversations = by_name(self.conversations.take(LISTED), &name);
        let billed = self.billed.iter_mut().flat_map(|billed| {
            let volumes = std::mem::take(&mut billed.volumes);
            let rows = Direction::ALL.into_iter().zip(volumes);
            rows.map(|(direction, volume)| PrefixRow {
                name: billed.name.clone(),
                direction,
                covered_ms,
                bytes: volume.bytes,
                packets: volume.packets,
            })
        });
        let mut prefixes: Vec<PrefixRow> = Vec::new();
        for row in billed {
            let same =
                |other: &&mut PrefixRow| other.name == row.name && other.direction == row.direction;
            // several prefixes may have one name
            match prefixes.iter_mut().find(same) {
                Some(other) => {
                    other.bytes = other.bytes.saturating_add(row.bytes);
                    other.packets = other.packets.saturating_add(row.packets);
                }
                None => prefixes.push(row),
            }
        }
        MinuteLists {
            minute,
            parts: parts.collect(),
            prefixes,
            conversations: conversations.into_iter().map(conversation_list).collect(),
        }
    }

    /// Returns the number of conversations, services and prefixes that were evicted since the start.
    pub fn evicted(&self) -> u64 {
        self.conversations.evicted() + self.services.evicted() + self.prefixes.evicted()
    }

    /// Returns the memory of the counters.
    pub fn bytes(&self) -> usize {
        self.conversations.bytes() + self.services.bytes() + self.prefixes.bytes()
    }
}

type NamedScope = (Arc<str>, Direction);
type NamedLists<K> = BTreeMap<NamedScope, (Vec<Counted<K>>, sketch::Sums)>;

/// Adds up the lists of interfaces of one name: one may have replaced the other within the minute.
fn by_name<K: SketchKey>(lists: Lists<K>, name: impl Fn(u32) -> Option<Arc<str>>) -> NamedLists<K> {
    let mut named: NamedLists<K> = BTreeMap::new();
    for ((ifindex, direction), (list, rest)) in lists {
        let Some(name) = name(ifindex) else {
            continue;
        };
        let (rows, sum) = named.entry((name, direction)).or_default();
        rows.extend(list);
        *sum = (sum.0.saturating_add(rest.0), sum.1.saturating_add(rest.1));
        sketch::shorten(rows, sum, LISTED);
    }
    named
}

fn parts_row<K>(
    ((interface, direction), (list, _)): (NamedScope, (Vec<Counted<K>>, sketch::Sums)),
    part: impl Fn(&K) -> Option<Part>,
) -> ScopeRow {
    // the two families of a service, and several prefixes of one name, are one part
    let mut parts: BTreeMap<Part, PartRow> = BTreeMap::new();
    for counted in list {
        let Some(part) = part(&counted.key) else {
            continue;
        };
        let row = parts.entry(part.clone()).or_insert(PartRow {
            part,
            bytes: 0,
            max_rate: 0.0,
        });
        row.bytes = row.bytes.saturating_add(counted.bytes);
        row.max_rate += counted.max_rate;
    }
    ScopeRow {
        interface,
        direction,
        covered_ms: 0,
        totals: [TotalRow::default(); Family::ALL.len()],
        parts: parts.into_values().collect(),
    }
}

fn conversation_list(
    ((interface, direction), (list, rest)): (
        NamedScope,
        (Vec<Counted<PackedConversation>>, sketch::Sums),
    ),
) -> ConversationList {
    let row = |counted: Counted<PackedConversation>| {
        let PackedConversation {
            source,
            destination,
            service,
        } = counted.key;
        let (protocol, service_port) = service.service();
        ConversationRow {
            source: address(source, service.is_ipv6()),
            destination: address(destination, service.is_ipv6()),
            protocol,
            service_port,
            bytes: counted.bytes,
            packets: counted.packets,
        }
    };
    ConversationList {
        interface,
        direction,
        rows: list.into_iter().map(row).collect(),
        rest,
    }
}

fn address(bits: u128, is_ipv6: bool) -> IpAddr {
    match is_ipv6 {
        true => Ipv6Addr::from(bits).into(),
        false => Ipv4Addr::from((bits >> 96) as u32).into(),
    }
}
