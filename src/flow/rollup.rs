// SPDX-License-Identifier: AGPL-3.0-only
//! Sets of label values, with monotonic counters and gauges over live flows, bounded.
//!
//! A *set* is one combination of label values. It is stored while it has live flows, a series, or a
//! slot among the candidates. A *series* is a set that is exported. When the limit of series is
//! reached, a new set is counted in its `other` set, which keeps interface, direction and protocol.
//! A set replaces the series with the least traffic once it has more traffic in the last five
//! minutes. An evicted series is removed with its counters. Its gauges are a sum over live flows;
//! they continue under `other`.

use std::hash::BuildHasher;
use std::sync::Arc;

use foldhash::fast::RandomState;
use hashbrown::HashTable;

use super::asn_names::AsnNames;
use super::labels::{SetId, SetKey};
use super::lazy_min_heap::{HeapEntry, LazyMinHeap};
use super::sliding_window::{self, SlidingWindow};
use super::snapshot::SeriesRow;
use super::space_saving::SpaceSaving;
use super::string_interner::StringInterner;
use super::volume::{Variance, Volume};
use crate::types::flow::FlowKey;
use crate::types::label::{Enrichment, Label, Labels};
use crate::types::slab::Slab;

/// The number of sets without a series whose traffic is stored.
const CANDIDATES: usize = 4096;
/// At least this many `other` sets may exist, regardless of the limit of series.
const MIN_OTHERS: usize = 1024;
/// The number of series evicted for age in one call.
const EVICT_PER_CALL: usize = 1024;
/// The delay until a series that is due but has live flows is checked again.
const LIVE_RETRY_MS: u64 = 1000;

#[derive(Clone, Copy, Debug)]
pub struct RollupLimits {
    pub max_series: usize,
    pub series_ttl_ms: u64,
}

#[derive(Debug)]
struct Set {
    key: SetKey,
    counted_in: CountedIn,
    candidate: Option<u32>,
    /// Live flows and their traffic; in an `other` set also those of the sets counted there.
    flows: u32,
    live: Volume,
}

/// The place in which a set is counted.
#[derive(Clone, Copy, Debug)]
enum CountedIn {
    Series(u32),
    Overflow(u32),
    /// The set has no live flow and no series; it is only a candidate.
    None,
}

/// A set without a series.
#[derive(Debug)]
struct SeriesCandidate {
    set: SetId,
    /// The traffic of the set itself; only that counts when it competes for a series.
    own: SlidingWindow,
}

#[derive(Debug)]
struct Series {
    set: u32,
    serial: u64,
    text: Arc<str>,
    bytes: u64,
    packets: u64,
    variance: Variance,
    recent: SlidingWindow,
    touched_ms: u64,
    created_ms: u64,
}

#[derive(Debug)]
pub struct Rollup {
    labels: Labels,
    limits: RollupLimits,
    symbols: StringInterner,
    asn_names: AsnNames,
    sets: Slab<Set>,
    index: HashTable<u32>,
    hasher: RandomState,
    series: Slab<Series>,
    /// The number of series with the value `other`; the limit applies to the rest.
    others: usize,
    /// Sets without a series, with the traffic of the set itself in the last minutes.
    candidates: SpaceSaving<SeriesCandidate, SlidingWindow>,
    /// Series by recent traffic, then by age, without the `other` series.
    by_traffic: LazyMinHeap<(u64, u64)>,
    by_age: LazyMinHeap<u64>,
    serial: u64,
    folded: u64,
    now_ms: u64,
    minute: u32,
}

impl Rollup {
    pub fn new(labels: Labels, limits: RollupLimits) -> Self {
        Self {
            labels,
            limits,
            symbols: StringInterner::default(),
            asn_names: AsnNames::default(),
            sets: Slab::default(),
            index: HashTable::new(),
            hasher: RandomState::default(),
            series: Slab::default(),
            others: 0,
            candidates: SpaceSaving::new(CANDIDATES),
            by_traffic: LazyMinHeap::new(),
            by_age: LazyMinHeap::new(),
            serial: 0,
            folded: 0,
            now_ms: 0,
            minute: 0,
        }
    }

    /// Applies new limits. If there are too many series, evicts those with the least traffic.
    pub fn set_limits(&mut self, limits: RollupLimits) {
        self.limits = limits;
        while self.series.len() - self.others > limits.max_series {
            let traffic = |t| traffic(&self.series, t, self.minute);
            let Some(least) = self.by_traffic.least(traffic) else {
                break;
            };
            self.evict_series(least.slot);
        }
    }

    /// Advances the clock (monotonic, any origin) and evicts what is due, a bounded number per
    /// call.
    pub fn advance(&mut self, now_ms: u64) {
        self.now_ms = now_ms;
        let minute = sliding_window::minute(now_ms);
        if minute != self.minute {
            self.minute = minute;
            let is_silent = |candidate: &SeriesCandidate, _| candidate.own.sum(minute) == 0;
            for candidate in self.candidates.advance(minute, is_silent) {
                self.remove_candidate(candidate.set);
            }
            self.by_traffic
                .rebuild(|t| traffic(&self.series, t, minute));
        }
        let Some(due) = now_ms.checked_sub(self.limits.series_ttl_ms) else {
            return;
        };
        for _ in 0..EVICT_PER_CALL {
            let age = |t| age(&self.series, &self.sets, t, due);
            let Some(old) = self.by_age.below(due + 1, age) else {
                break;
            };
            self.evict_series(old.slot);
        }
    }

    /// Counts the start of a flow and returns its set.
    pub fn open(&mut self, key: &FlowKey, ifname: &str, known: &Enrichment) -> SetId {
        let key = SetKey::new(self.labels, key, ifname, known, &mut self.symbols);
        let set = self.set(key);
        key.release(&mut self.symbols);
        for end in [&known.src, &known.dst] {
            self.asn_names.learn(end.asn, end.asn_name.as_ref());
        }
        self.sets[set].flows += 1;
        match self.sets[set].counted_in {
            CountedIn::Series(_) => {}
            CountedIn::Overflow(other) => self.sets[other].flows += 1,
            CountedIn::None if self.has_room_for(&key) => self.admit(set),
            CountedIn::None => self.join_other(set),
        }
        SetId(set)
    }

    /// Adds traffic of a flow of the set.
    pub fn count(&mut self, SetId(set): SetId, volume: Volume) {
        let mut counted_in = set;
        if let CountedIn::Overflow(other) = self.sets[set].counted_in
            && !self.promote(set, volume.bytes)
        {
            self.folded += 1;
            self.sets[other].live += volume;
            counted_in = other;
        }
        self.sets[set].live += volume;
        // A set with a live flow is a series or is counted in one.
        if let CountedIn::Series(series) = self.sets[counted_in].counted_in {
            let series = &mut self.series[series];
            series.bytes = series.bytes.wrapping_add(volume.bytes);
            series.packets = series.packets.wrapping_add(volume.packets);
            series.recent.add(self.minute, volume.bytes);
            series.touched_ms = self.now_ms;
        }
    }

    /// Adds the variance of traffic that was counted for the set.
    pub fn add_variance(&mut self, SetId(set): SetId, variance: Variance) {
        let counted_in = match self.sets[set].counted_in {
            CountedIn::Overflow(other) => self.sets[other].counted_in,
            own => own,
        };
        if let CountedIn::Series(series) = counted_in {
            self.series[series].variance += variance;
        }
    }

    /// Subtracts a flow record from the live traffic of the set; the counters keep it.
    pub fn remove_live(&mut self, SetId(set): SetId, volume: Volume) {
        self.sets[set].live -= volume;
        if let CountedIn::Overflow(other) = self.sets[set].counted_in {
            self.sets[other].live -= volume;
        }
    }

    /// Moves a live flow and its live traffic to another set; the counters stay unchanged.
    pub fn relabel(&mut self, from: SetId, to: SetId, volume: Volume) {
        self.remove_live(from, volume);
        self.sets[to.0].live += volume;
        if let CountedIn::Overflow(other) = self.sets[to.0].counted_in {
            self.sets[other].live += volume;
        }
        self.close(from);
    }

    /// Counts the end of a flow of the set, after its live traffic was removed.
    pub fn close(&mut self, SetId(set): SetId) {
        self.sets[set].flows -= 1;
        if let CountedIn::Overflow(other) = self.sets[set].counted_in {
            self.sets[other].flows -= 1;
            if self.sets[set].flows == 0 {
                self.sets[set].counted_in = CountedIn::None;
                self.drop_if_unused(set);
            }
        }
    }

    /// Returns all series.
    pub fn rows(&self) -> Vec<SeriesRow> {
        let row = |(_, series): (u32, &Series)| {
            let Set { live, flows, .. } = &self.sets[series.set];
            SeriesRow {
                labels: series.text.clone(),
                created_ms: series.created_ms,
                bytes_total: series.bytes,
                packets_total: series.packets,
                error_bytes: series.variance.error_bytes(),
                error_packets: series.variance.error_packets(),
                live_bytes: live.bytes,
                live_packets: live.packets,
                live_sampled_bytes: live.sampled_bytes,
                live_sampled_packets: live.sampled_packets,
                live_flows: u64::from(*flows),
            }
        };
        self.series.iter().map(row).collect()
    }

    /// Returns the ASNs of the series whose names are known, in ascending order. `name` returns the name of an AS from
    /// which or to which no flow was seen.
    pub fn asns(&mut self, name: impl Fn(u32) -> Option<Arc<str>>) -> Vec<(u32, Arc<str>)> {
        let sets = self.series.iter().map(|(_, series)| &self.sets[series.set]);
        let mut asns: Vec<_> = sets.flat_map(|set| set.key.all_asns()).collect();
        asns.sort_unstable();
        asns.dedup();
        for &asn in asns.iter().filter(|asn| **asn > 0) {
            if self.asn_names.get(asn).is_none() {
                self.asn_names.learn(asn, name(asn).as_ref());
            }
        }
        let named = |asn| Some((asn, self.asn_names.get(asn)?.clone()));
        asns.into_iter().filter_map(named).collect()
    }

    /// Returns the ASNs of a set, 0 if one is unknown; `None` if they are not among the labels.
    pub fn asns_of(&self, SetId(set): SetId) -> Option<[u32; 2]> {
        let labelled = self.labels.has(Label::SrcAsn) && self.labels.has(Label::DstAsn);
        labelled.then(|| self.sets[set].key.asns())
    }

    /// Returns the number of series that the limit applies to: those without `other`, or the `other`
    /// series if there are only those.
    pub fn series(&self) -> usize {
        match self.series.len() - self.others {
            0 => self.others,
            own => own,
        }
    }

    pub fn labels(&self) -> Labels {
        self.labels
    }

    pub fn max_series(&self) -> usize {
        self.limits.max_series
    }

    /// Returns how often traffic was counted under `other` because of the limit.
    pub fn folded(&self) -> u64 {
        self.folded
    }

    /// Returns the set of a key; creates it if necessary.
    fn set(&mut self, key: SetKey) -> u32 {
        let hash = self.hasher.hash_one(key);
        if let Some(&set) = self.index.find(hash, |&i| self.sets[i].key == key) {
            return set;
        }
        key.retain(&mut self.symbols);
        self.asn_names.retain(key.all_asns());
        let set = self.sets.insert(Set {
            key,
            counted_in: CountedIn::None,
            candidate: None,
            flows: 0,
            live: Volume::default(),
        });
        let (sets, hasher) = (&self.sets, &self.hasher);
        self.index
            .insert_unique(hash, set, |&i| hasher.hash_one(sets[i].key));
        set
    }

    fn has_room_for(&self, key: &SetKey) -> bool {
        let max = self.limits.max_series;
        match key.is_other() {
            true => self.others < max.max(MIN_OTHERS),
            false => self.series.len() - self.others < max,
        }
    }

    /// Tries to get a series for a set that is counted elsewhere and has `bytes` more traffic.
    fn promote(&mut self, set: u32, bytes: u64) -> bool {
        let Set { key, candidate, .. } = &self.sets[set];
        if self.has_room_for(key) {
            self.admit(set);
            return true;
        }
        if key.is_other() {
            return false;
        }
        let before = candidate.map_or(0, |c| self.candidates.get(c).own.sum(self.minute));
        let carried = before.saturating_add(bytes);
        // Requires an eighth more; otherwise two sets of equal traffic would replace each other
        // forever.
        let bound = (carried - carried / 8, 0);
        let traffic = |t| traffic(&self.series, t, self.minute);
        match self.by_traffic.below(bound, traffic) {
            Some(least) => {
                self.admit(set);
                self.evict_series(least.slot);
                true
            }
            None => {
                self.remember(set, bytes);
                false
            }
        }
    }

    /// Makes a set a series.
    fn admit(&mut self, set: u32) {
        self.leave_other(set);
        let Set { key, candidate, .. } = &mut self.sets[set];
        let recent = match candidate.take() {
            Some(place) => self.candidates.remove(place).map(|c| c.own),
            None => None,
        };
        let recent = recent.unwrap_or_default();
        self.serial += 1;
        let serial = self.serial;
        let slot = self.series.insert(Series {
            set,
            serial,
            text: key.render(self.labels, &self.symbols),
            bytes: 0,
            packets: 0,
            variance: Variance::default(),
            recent,
            touched_ms: self.now_ms,
            created_ms: self.now_ms,
        });
        let is_other = key.is_other();
        let (entry, live) = (HeapEntry { slot, serial }, self.series.len());
        self.sets[set].counted_in = CountedIn::Series(slot);
        let age = |t| age(&self.series, &self.sets, t, 0);
        self.by_age.push(entry, live, age);
        if is_other {
            self.others += 1;
        } else {
            let traffic = |t| traffic(&self.series, t, self.minute);
            self.by_traffic.push(entry, live, traffic);
        }
    }

    /// Removes a series with its counts. A set with recent traffic becomes a candidate.
    fn evict_series(&mut self, slot: u32) {
        let Some(Series { set, recent, .. }) = self.series.remove(slot) else {
            return;
        };
        self.sets[set].counted_in = CountedIn::None;
        if self.sets[set].key.is_other() {
            self.others -= 1;
        } else {
            if self.sets[set].flows > 0 {
                self.join_other(set);
            }
            if recent.sum(self.minute) > 0 {
                self.place_candidate(set, recent);
            }
        }
        self.drop_if_unused(set);
    }

    /// Counts a set that has no series, with its flows, in its `other` set from now on.
    fn join_other(&mut self, set: u32) {
        let other = self.other_of(set);
        if let CountedIn::None = self.sets[other].counted_in {
            self.admit(other);
        }
        if other != set {
            let Set { flows, live, .. } = self.sets[set];
            self.sets[set].counted_in = CountedIn::Overflow(other);
            self.sets[other].flows += flows;
            self.sets[other].live += live;
        }
    }

    /// Returns the set in which a set without a series is counted. That set has a series or gets
    /// one.
    fn other_of(&mut self, set: u32) -> u32 {
        let own = self.sets[set].key;
        let other = self.set(own.other());
        match self.sets[other].counted_in {
            CountedIn::Series(_) => other,
            CountedIn::Overflow(last_resort) => last_resort,
            CountedIn::None if self.has_room_for(&own.other()) => other,
            CountedIn::None => {
                if other != set {
                    self.drop_if_unused(other);
                }
                self.set(own.last_resort(self.labels))
            }
        }
    }

    fn leave_other(&mut self, set: u32) {
        let Set {
            counted_in,
            flows,
            live,
            ..
        } = self.sets[set];
        if let CountedIn::Overflow(other) = counted_in {
            self.sets[other].flows -= flows;
            self.sets[other].live -= live;
            self.sets[set].counted_in = CountedIn::None;
        }
    }

    /// Stores the traffic of a set without a series.
    fn remember(&mut self, set: u32, bytes: u64) {
        match self.sets[set].candidate {
            Some(place) => {
                let (candidate, all) = self.candidates.get_mut(place);
                candidate.own.add(self.minute, bytes);
                all.add(self.minute, bytes);
            }
            None => {
                let mut recent = SlidingWindow::default();
                recent.add(self.minute, bytes);
                self.place_candidate(set, recent);
            }
        }
    }

    fn place_candidate(&mut self, set: u32, recent: SlidingWindow) {
        let candidate = SeriesCandidate {
            set: SetId(set),
            own: recent,
        };
        let (place, evicted) = self.candidates.insert(candidate, recent, self.minute);
        self.sets[set].candidate = Some(place);
        if let Some(evicted) = evicted {
            self.remove_candidate(evicted.set);
        }
    }

    fn remove_candidate(&mut self, SetId(set): SetId) {
        self.sets[set].candidate = None;
        self.drop_if_unused(set);
    }

    fn drop_if_unused(&mut self, set: u32) {
        let Set {
            key,
            counted_in,
            candidate,
            ..
        } = self.sets[set];
        if let (CountedIn::None, None) = (counted_in, candidate) {
            let hash = self.hasher.hash_one(key);
            if let Ok(found) = self.index.find_entry(hash, |&i| i == set) {
                found.remove();
            }
            self.sets.remove(set);
            key.release(&mut self.symbols);
            self.asn_names.release(key.all_asns());
        }
    }
}

fn entry(series: &Slab<Series>, entry: HeapEntry) -> Option<&Series> {
    series.get(entry.slot).filter(|s| s.serial == entry.serial)
}

fn traffic(series: &Slab<Series>, t: HeapEntry, minute: u32) -> Option<(u64, u64)> {
    let series = entry(series, t)?;
    Some((series.recent.sum(minute), series.touched_ms))
}

/// Returns the time of the last traffic of a series. One with live flows stays and is checked again
/// soon.
fn age(series: &Slab<Series>, sets: &Slab<Set>, t: HeapEntry, due: u64) -> Option<u64> {
    let series = entry(series, t)?;
    Some(match sets[series.set].flows {
        0 => series.touched_ms,
        _ => series.touched_ms.max(due + LIVE_RETRY_MS),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::flow::{Direction, Family};
    use crate::types::label::Endpoint;

    /// Bounds the memory of a long sequence of sets; the memory is freed in time.
    #[test]
    fn sets_that_have_gone_leave_nothing_behind() {
        let limits = RollupLimits {
            max_series: 100,
            series_ttl_ms: 3_600_000,
        };
        let mut rollup = Rollup::new(Labels::default(), limits);
        let key = FlowKey {
            src: [0; 16],
            dst: [0; 16],
            ifindex: 1,
            src_port: 0,
            dst_port: 0,
            vlan_outer: 0,
            vlan_inner: 0,
            protocol: 6,
            direction: Direction::Ingress,
            family: Family::Ipv4,
        };
        for n in 0..200_000 {
            let src = Endpoint {
                asn: n,
                asn_name: Some(format!("AS {n}").into()),
                city: Some(format!("city {n}").into()),
                ..Endpoint::default()
            };
            let known = Enrichment {
                src,
                ..Enrichment::default()
            };
            let set = rollup.open(&key, "eth0", &known);
            let volume = Volume {
                bytes: u64::from(n % 1500),
                ..Volume::default()
            };
            rollup.count(set, volume);
            rollup.remove_live(set, volume);
            rollup.close(set);
            let bound = CANDIDATES + limits.max_series + 1;
            assert!(rollup.sets.len() <= bound && rollup.index.len() == rollup.sets.len());
            assert!(rollup.symbols.len() <= bound + 3);
            assert!(rollup.asn_names.len() <= bound);
        }
        rollup.advance(10 * 60_000);
        assert_eq!(rollup.sets.len(), limits.max_series + 1);
        rollup.advance(limits.series_ttl_ms + 1000);
        assert_eq!((rollup.sets.len(), rollup.series.len()), (0, 0));
        assert_eq!(rollup.symbols.len(), 2, "the constants");
        assert_eq!(rollup.asn_names.len(), 0);
    }
}
