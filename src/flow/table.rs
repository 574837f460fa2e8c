// SPDX-License-Identifier: AGPL-3.0-only
//! The flow table: adds records to flows, exports partial records of long flows, ends idle flows.
//! Pure.
//!
//! One dense array holds the flows; a hash table of indices finds them. Linked lists connect them:
//! one by last arrival, with the longest idle flow in front, and one by the start of the partial
//! record or, after the end of the flow was seen, by the time of that. First partial records may have
//! lists of their own ([`FirstRecords`]). Every operation is O(1), and expiry touches only flows that
//! expire.

use std::hash::{BuildHasher, Hasher};

use foldhash::fast::RandomState;
use hashbrown::HashTable;

use super::first_records::FirstRecords;
use super::labels::SetId;
use super::list::{self, Linked, Links, List};
use super::mark::{Mark, PartList};
use super::rate::Rate;
use crate::types::flow::{FlowKey, FlowRecord};

/// The unit of the table's clock: tenths of a second, which last 13 years in 32 bits.
const TICK_MS: u64 = 100;
/// Below this number of flows, the table frees no memory.
const KEEP: usize = 1024;

const BY_ARRIVAL: usize = 0;
/// The lists by start and the list by end: a partial record is in one of them.
const BY_PART: usize = 1;

const TCP: u8 = 6;
const FIN_OR_RST: u8 = 0x05;

/// The reason why a flow record was completed (RFC 5102, flowEndReason).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum EndReason {
    IdleTimeout = 1,
    ActiveTimeout = 2,
    /// The end was seen: FIN or RST of TCP.
    EndOfFlow = 3,
    /// The sample rate changed (a flow record has one rate), or the program ends.
    ForcedEnd = 4,
    LackOfResources = 5,
}

/// A completed flow record. The records of a flow add up to the flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CompletedRecord {
    pub record: FlowRecord,
    pub reason: EndReason,
    /// True if the firewall dropped the packets: they passed no interface.
    pub dropped: bool,
}

/// Observes the life of the flows.
pub trait FlowObserver {
    /// Advances when the labels of flows may have changed.
    fn generation(&self) -> u32;
    /// Returns whether a flow belongs to another set when another neighbor hands over its packets.
    fn follows_neighbors(&self) -> bool {
        false
    }
    /// Called when a flow starts, with its first record.
    fn started(&mut self, record: &FlowRecord) -> SetId;
    /// Called when the labels of a flow may have changed. `part` is the current partial record; its
    /// counts are 0 if there is none.
    fn relabelled(&mut self, set: SetId, part: &FlowRecord) -> SetId;
    /// Called when a record is added to a flow.
    fn updated(&mut self, set: SetId, record: &FlowRecord);
    /// Called when a flow record is complete; the flow may continue.
    fn exported(&mut self, set: SetId, part: &CompletedRecord);
    /// Called when a flow ended and its last record is complete.
    fn ended(&mut self, set: SetId);
}

#[derive(Clone, Copy, Debug)]
pub struct TableLimits {
    /// At least 1.
    pub max_flows: usize,
    pub idle_timeout_ms: u64,
    pub active_timeout_ms: u64,
    /// The delay between the FIN or RST of a TCP flow and its end, so that late packets are still
    /// counted in it. `None`: the flow ends by the idle timeout, like any other.
    pub tcp_close_delay_ms: Option<u64>,
    /// Whether a hash of the flow makes its first partial record shorter than the active timeout, so that flows
    /// that start together are not completed together.
    pub spread: bool,
}

#[derive(Debug)]
struct Flow {
    /// The current partial record; its counts are 0 if there is none.
    part: FlowRecord,
    set: SetId,
    mark: Mark,
    /// The second links are used only while there is a partial record.
    links: [Links; 2],
    seen: u32,
    /// The time at which the partial record started or, in the list by end, at which the end was
    /// seen.
    since: u32,
}

impl<const L: usize> Linked<L> for Flow {
    fn links(&mut self) -> &mut Links {
        &mut self.links[L]
    }
}

#[derive(Debug)]
pub struct FlowTable {
    flows: Vec<Flow>,
    index: HashTable<u32>,
    hasher: RandomState,
    by_arrival: List<BY_ARRIVAL>,
    by_start: List<BY_PART>,
    by_end: List<BY_PART>,
    first: FirstRecords<BY_PART>,
    limits: TableLimits,
    rate: Rate,
    forced_evictions: u64,
}

impl FlowTable {
    pub fn new(limits: TableLimits) -> Self {
        let mut table = Self {
            flows: Vec::new(),
            index: HashTable::new(),
            // The seed is random, because remote hosts choose the keys.
            hasher: RandomState::default(),
            by_arrival: List::new(),
            by_start: List::new(),
            by_end: List::new(),
            first: FirstRecords::new(),
            limits,
            rate: Rate::default(),
            forced_evictions: 0,
        };
        table.set_limits(limits);
        table
    }

    /// Applies new limits. [`FlowTable::expire`] evicts excess flows.
    pub fn set_limits(&mut self, limits: TableLimits) {
        self.limits = TableLimits {
            max_flows: limits.max_flows.clamp(1, list::MAX_LEN),
            tcp_close_delay_ms: limits
                .tcp_close_delay_ms
                .map(|ms| ms.min(limits.idle_timeout_ms)),
            ..limits
        };
    }

    pub fn len(&self) -> usize {
        self.flows.len()
    }

    pub fn is_empty(&self) -> bool {
        self.flows.is_empty()
    }

    pub fn max_flows(&self) -> usize {
        self.limits.max_flows
    }

    /// Returns the number of flows that were evicted before their timeout because the table was
    /// full.
    pub fn forced_evictions(&self) -> u64 {
        self.forced_evictions
    }

    /// Returns the partial record of every live flow; its counts are 0 if there is none.
    pub fn parts(&self) -> impl Iterator<Item = &FlowRecord> {
        self.flows.iter().map(|f| &f.part)
    }

    /// Returns the current partial record of a flow; its counts are 0 if there is none.
    pub fn find(&self, key: &FlowKey) -> Option<&FlowRecord> {
        let part = |i: &u32| &self.flows[*i as usize].part;
        let found = self
            .index
            .find(hash(&self.hasher, key), |i| part(i).key == *key);
        found.map(part)
    }

    /// Returns the flow at index `i`, below [`FlowTable::len`]: its partial record and its series.
    pub fn at(&self, i: usize) -> Option<(&FlowRecord, SetId)> {
        self.flows.get(i).map(|flow| (&flow.part, flow.set))
    }

    /// Adds a record to its flow; starts the flow if necessary. `now_ms` is monotonic, any origin.
    pub fn update(&mut self, record: &FlowRecord, now_ms: u64, observer: &mut impl FlowObserver) {
        let late = self.rate.is_late(record.sample_rate, now_ms);
        let hash = hash(&self.hasher, &record.key);
        let same_key = |&i: &u32| self.flows[i as usize].part.key == record.key;
        let i = match self.index.find(hash, same_key) {
            Some(&i) => {
                self.by_arrival.move_to_back(&mut self.flows, i);
                self.refresh(i, record, observer);
                i
            }
            None => self.insert(hash, record, observer),
        };
        // Rounded up here and down in `expire`, so that no flow ends before its timeout.
        let now = now_ms.div_ceil(TICK_MS).try_into().unwrap_or(u32::MAX);
        let flow = &mut self.flows[i as usize];
        flow.seen = now;
        if late {
            // A separate flow record, because the partial record has another rate.
            observer.updated(flow.set, record);
            let part = CompletedRecord {
                record: *record,
                reason: EndReason::ForcedEnd,
                dropped: false,
            };
            observer.exported(flow.set, &part);
        } else {
            self.add(i, record, now, observer);
        }
    }

    /// Completes due flow records, at most `limit`. Returns true if more are due. Partial records
    /// with a previous sample rate are completed first, after excess flows.
    pub fn expire(&mut self, now_ms: u64, limit: usize, observer: &mut impl FlowObserver) -> bool {
        let now = now_ms / TICK_MS;
        let due = |since: u32, timeout_ms: u64| {
            now.saturating_sub(since.into()) >= timeout_ms.div_ceil(TICK_MS)
        };
        for _ in 0..limit {
            if self.flows.len() > self.limits.max_flows {
                self.evict(observer);
            } else if let Some(i) = self.under_previous_rate() {
                self.complete(i, EndReason::ForcedEnd, observer);
            } else if let Some(i) = self.by_end.front()
                && due(
                    self.flows[i as usize].since,
                    self.limits.tcp_close_delay_ms.unwrap_or(0),
                )
            {
                self.remove(i, EndReason::EndOfFlow, observer);
            } else if let Some(i) = self.by_arrival.front()
                && due(self.flows[i as usize].seen, self.limits.idle_timeout_ms)
            {
                self.remove(i, EndReason::IdleTimeout, observer);
            } else if let Some(i) = self.by_start.front()
                && due(self.flows[i as usize].since, self.limits.active_timeout_ms)
            {
                self.complete(i, EndReason::ActiveTimeout, observer);
            } else if let Some(i) = self.first_record_due(now) {
                self.complete(i, EndReason::ActiveTimeout, observer);
            } else {
                self.give_back_memory();
                return false;
            }
        }
        true
    }

    /// Ends at most `limit` flows. Returns true if there are more.
    pub fn end(&mut self, limit: usize, observer: &mut impl FlowObserver) -> bool {
        for _ in 0..limit {
            let Some(i) = self.by_arrival.front() else {
                return false;
            };
            self.remove(i, EndReason::ForcedEnd, observer);
        }
        !self.is_empty()
    }

    /// Returns a partial record whose rate is no longer the current one. No partial record starts
    /// with a previous rate, so such records are at the front of the lists.
    fn under_previous_rate(&mut self) -> Option<u32> {
        let (flows, rate) = (&self.flows, &self.rate);
        let is_outdated = |i: u32| flows[i as usize].part.sample_rate != rate.now;
        let fronts = [self.by_start.front(), self.by_end.front()];
        let mut fronts = fronts.into_iter().flatten();
        fronts
            .find(|&i| is_outdated(i))
            .or_else(|| self.first.under_previous_rate(rate.changes, is_outdated))
    }

    /// Returns a first partial record that is due at tick `now`.
    fn first_record_due(&mut self, now: u64) -> Option<u32> {
        let active_timeout = self.limits.active_timeout_ms.div_ceil(TICK_MS);
        let flows = &self.flows;
        self.first
            .due(now, active_timeout, |i| flows[i as usize].since)
    }

    fn insert(&mut self, hash: u64, record: &FlowRecord, observer: &mut impl FlowObserver) -> u32 {
        if self.flows.len() >= self.limits.max_flows {
            self.evict(observer);
        }
        let i = self.flows.len() as u32;
        let mut part = *record;
        clear(&mut part);
        self.flows.push(Flow {
            part,
            set: observer.started(record),
            mark: Mark::new(observer.generation(), hash),
            links: [Links::LOOSE; 2],
            seen: 0,
            since: 0,
        });
        self.by_arrival.push_back(&mut self.flows, i);
        let (flows, hasher) = (&self.flows, &self.hasher);
        self.index
            .insert_unique(hash, i, |&i| rehash(flows, hasher, i));
        i
    }

    /// Ends the longest idle flow, because the table is full.
    fn evict(&mut self, observer: &mut impl FlowObserver) {
        if let Some(idlest) = self.by_arrival.front() {
            self.forced_evictions += 1;
            self.remove(idlest, EndReason::LackOfResources, observer);
        }
    }

    /// Lets the observer choose the set of the flow again, if the observer's generation has
    /// changed, or if the record is of another neighbor than the partial record.
    fn refresh(&mut self, i: u32, record: &FlowRecord, observer: &mut impl FlowObserver) {
        let moved = observer.follows_neighbors()
            && self.flows[i as usize].part.neighbor_mac() != record.neighbor_mac();
        if moved {
            self.complete(i, EndReason::ForcedEnd, observer);
        }
        let flow = &mut self.flows[i as usize];
        if moved {
            (flow.part.src_mac, flow.part.dst_mac) = (record.src_mac, record.dst_mac);
        }
        if moved || !flow.mark.is_of(observer.generation()) {
            flow.mark.set_generation(observer.generation());
            flow.set = observer.relabelled(flow.set, &flow.part);
        }
    }

    /// Adds a record to the partial record, or starts one with it.
    fn add(&mut self, i: u32, record: &FlowRecord, now: u32, observer: &mut impl FlowObserver) {
        let flow = &self.flows[i as usize];
        if flow.in_progress() && flow.part.sample_rate != record.sample_rate {
            self.complete(i, EndReason::ForcedEnd, observer);
        }
        let flow = &mut self.flows[i as usize];
        observer.updated(flow.set, record);
        if !flow.in_progress() {
            flow.part = *record;
            flow.since = now;
            self.list_part(i);
            return;
        }
        merge(&mut flow.part, record);
        // includes a partial record whose end was seen under limits that did not use it
        if flow.mark.list() != PartList::End && self.limits.ends(&flow.part) {
            flow.since = now;
            self.unlist_part(i);
            self.list_part(i);
        }
    }

    /// Completes the partial record, if there is one.
    fn complete(&mut self, i: u32, reason: EndReason, observer: &mut impl FlowObserver) {
        let flow = &mut self.flows[i as usize];
        if !flow.in_progress() {
            return;
        }
        let record = flow.part;
        clear(&mut flow.part);
        let set = flow.set;
        self.unlist_part(i);
        // any other reason completes many partial records at once
        let next = match reason {
            EndReason::ActiveTimeout => PartList::Start,
            _ => PartList::First,
        };
        self.flows[i as usize].mark.set_list(next);
        let part = CompletedRecord {
            record,
            reason,
            dropped: false,
        };
        observer.exported(set, &part);
    }

    fn list_part(&mut self, i: u32) {
        let flow = &mut self.flows[i as usize];
        let list = if self.limits.ends(&flow.part) {
            PartList::End
        } else if self.limits.spread && flow.mark.list() == PartList::First {
            PartList::First
        } else {
            PartList::Start
        };
        flow.mark.set_list(list);
        let class = flow.mark.class();
        match list {
            PartList::Start => self.by_start.push_back(&mut self.flows, i),
            PartList::End => self.by_end.push_back(&mut self.flows, i),
            PartList::First => self.first.push_back(&mut self.flows, i, class),
        }
    }

    fn unlist_part(&mut self, i: u32) {
        let mark = self.flows[i as usize].mark;
        match mark.list() {
            PartList::Start => self.by_start.unlink(&mut self.flows, i),
            PartList::End => self.by_end.unlink(&mut self.flows, i),
            PartList::First => self.first.unlink(&mut self.flows, i, mark.class()),
        }
    }

    fn relocated_part(&mut self, i: u32) {
        let mark = self.flows[i as usize].mark;
        match mark.list() {
            PartList::Start => self.by_start.relocated(&mut self.flows, i),
            PartList::End => self.by_end.relocated(&mut self.flows, i),
            PartList::First => self.first.relocated(&mut self.flows, i, mark.class()),
        }
    }

    /// Ends a flow; the last flow of the array moves to its index.
    fn remove(&mut self, i: u32, reason: EndReason, observer: &mut impl FlowObserver) {
        self.complete(i, reason, observer);
        self.by_arrival.unlink(&mut self.flows, i);
        let last = (self.flows.len() - 1) as u32;
        let flow = self.flows.swap_remove(i as usize);
        observer.ended(flow.set);
        let hash_of_gone = hash(&self.hasher, &flow.part.key);
        if let Ok(entry) = self.index.find_entry(hash_of_gone, |&e| e == i) {
            entry.remove();
        }
        if i != last {
            self.by_arrival.relocated(&mut self.flows, i);
            self.relocated_part(i);
            let hash_of_moved = rehash(&self.flows, &self.hasher, i);
            if let Some(entry) = self.index.find_mut(hash_of_moved, |&e| e == last) {
                *entry = i;
            }
        }
    }

    /// Halves arrays that are at most a quarter full. Growth and shrinking pay for each other, so
    /// that the cost per flow stays constant.
    fn give_back_memory(&mut self) {
        let (flows, hasher) = (&mut self.flows, &self.hasher);
        if flows.capacity() > KEEP.max(4 * flows.len()) {
            flows.shrink_to(KEEP.max(flows.capacity() / 2));
        }
        // A hash table with many changes also doubles in order to clear the traces of removed
        // entries.
        if self.index.capacity() > KEEP.max(4 * flows.len())
            || self.index.capacity() > 4 * flows.capacity()
        {
            self.index
                .shrink_to(flows.capacity(), |&i| rehash(flows, hasher, i));
        }
    }
}

impl Flow {
    fn in_progress(&self) -> bool {
        self.links[BY_PART].is_linked()
    }
}

impl TableLimits {
    /// Returns whether a partial record belongs in the list by end from now on.
    fn ends(&self, part: &FlowRecord) -> bool {
        self.tcp_close_delay_ms.is_some()
            && part.key.protocol == TCP
            && part.tcp_flags & FIN_OR_RST != 0
    }
}

fn clear(part: &mut FlowRecord) {
    (part.packets, part.frame_bytes, part.ip_bytes) = (0, 0, 0);
}

/// Adds a record to the partial record of its flow. Records of two CPUs may arrive out of order;
/// the fields of the first packet are those of the earlier record.
fn merge(part: &mut FlowRecord, record: &FlowRecord) {
    if record.first < part.first {
        part.first = record.first;
        part.src_mac = record.src_mac;
        part.dst_mac = record.dst_mac;
        part.tos = record.tos;
        part.ingress_ifindex = record.ingress_ifindex;
    }
    part.last = part.last.max(record.last);
    part.packets = part.packets.wrapping_add(record.packets);
    part.frame_bytes = part.frame_bytes.wrapping_add(record.frame_bytes);
    part.ip_bytes = part.ip_bytes.wrapping_add(record.ip_bytes);
    part.tcp_flags |= record.tcp_flags;
    part.weights.add(record.weights);
}

fn rehash(flows: &[Flow], hasher: &RandomState, i: u32) -> u64 {
    hash(hasher, &flows[i as usize].part.key)
}

/// Hashes a key in four wide steps; the derived `Hash` would need a dozen.
fn hash(hasher: &RandomState, key: &FlowKey) -> u64 {
    let mut state = hasher.build_hasher();
    state.write_u128(u128::from_ne_bytes(key.src));
    state.write_u128(u128::from_ne_bytes(key.dst));
    let [ports, vlans] = [
        [key.src_port, key.dst_port],
        [key.vlan_outer, key.vlan_inner],
    ]
    .map(|[a, b]| u64::from(a) << 16 | u64::from(b));
    let kind = [key.protocol, key.direction as u8, key.family as u8, 0];
    let kind = u64::from(u32::from_ne_bytes(kind));
    state.write_u128(
        u128::from(ports << 32 | u64::from(key.ifindex)) << 64 | u128::from(vlans << 32 | kind),
    );
    state.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::flow::{Direction, Family};

    struct Nobody;

    impl FlowObserver for Nobody {
        fn generation(&self) -> u32 {
            0
        }
        fn started(&mut self, _: &FlowRecord) -> SetId {
            SetId(0)
        }
        fn relabelled(&mut self, set: SetId, _: &FlowRecord) -> SetId {
            set
        }
        fn updated(&mut self, _: SetId, _: &FlowRecord) {}
        fn exported(&mut self, _: SetId, _: &CompletedRecord) {}
        fn ended(&mut self, _: SetId) {}
    }

    fn record(n: u32) -> FlowRecord {
        FlowRecord {
            key: FlowKey {
                src: [0; 16],
                dst: [0; 16],
                ifindex: n,
                src_port: 0,
                dst_port: 0,
                vlan_outer: 0,
                vlan_inner: 0,
                protocol: 6,
                direction: Direction::Ingress,
                family: Family::Ipv4,
            },
            packets: 1,
            frame_bytes: 60,
            ip_bytes: 46,
            first: 0,
            last: 0,
            sample_rate: 1,
            ingress_ifindex: 0,
            src_mac: [0; 6],
            dst_mac: [0; 6],
            tcp_flags: 0,
            tos: 0,
            weights: Default::default(),
        }
    }

    fn table(max_flows: usize) -> FlowTable {
        FlowTable::new(TableLimits {
            max_flows,
            idle_timeout_ms: 30_000,
            active_timeout_ms: 60_000,
            tcp_close_delay_ms: Some(2_000),
            spread: true,
        })
    }

    #[test]
    fn a_flow_takes_what_was_promised() {
        assert!(size_of::<Flow>() <= 144);
    }

    #[test]
    fn a_burst_leaves_no_memory_behind() {
        let mut table = table(1 << 20);
        // the class of a first record is random, and half of the classes are due when the burst ends
        table.set_limits(TableLimits {
            spread: false,
            ..table.limits
        });
        for n in 0..100_000 {
            table.update(&record(n), 0, &mut Nobody);
        }
        table.update(&record(7), 29_000, &mut Nobody);
        for _ in 0..100 {
            table.expire(30_000, 1 << 12, &mut Nobody);
        }
        assert_eq!(table.len(), 1);
        assert!(table.flows.capacity() <= KEEP);
        assert!(table.index.capacity() <= 2 * KEEP);
        table.update(&record(7), 30_000, &mut Nobody);
        assert_eq!(table.parts().next().map(|p| p.packets), Some(3));
    }

    #[test]
    fn a_full_table_in_constant_change_does_not_grow() {
        let mut table = table(1 << 12);
        for n in 0..1_000_000 {
            table.update(&record(n), 0, &mut Nobody);
            if n % 1024 == 0 {
                table.expire(0, 64, &mut Nobody);
            }
        }
        assert_eq!(table.forced_evictions(), 1_000_000 - (1 << 12));
        assert_eq!(table.flows.capacity(), 1 << 12);
        assert!(table.index.capacity() <= 1 << 14);
    }
}
