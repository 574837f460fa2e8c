// SPDX-License-Identifier: AGPL-3.0-only
//! Counts flow records by protected host and prefix, and raises alarms (pure).
//!
//! A record counts unless it belongs to an established TCP connection or to a flow with answers. If the record precedes
//! the answer, its values are subtracted again.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;

use foldhash::fast::RandomState;

use super::DetectorSettings;
use super::Thresholds;
use super::baseline::{Baselines, HourValues, LearnedTraffic};
use super::exclusions::{exceptions, is_excluded};
use super::host_table::{HostKey, HostTable};
use super::origins::{crossed, origins};
use super::report::{AttackId, AttackReport, DetectorEvent};
use super::sample::RecordSample;
use super::signature::{Evidence, derive};
use super::slots::{Exceeding, SLOT_SHIFT, TrafficSlots};
use super::traffic::{self, Values, has_ack, is_answer, is_connection, is_only_syn, reversed};
use crate::enrich::source_check::PrefixMap;
use crate::flow::table::FlowTable;
use crate::flow::thread::RecordLookup;
use crate::types::flow::{Direction, Family, FlowKey, FlowRecord};
use crate::types::guard::{AlarmKind, AlarmTarget, Heading, Quantity};
use crate::types::named::Named;
use crate::types::prefix::Prefix;

/// Hosts that are watched in slots.
const MAX_WATCHED: usize = 256;
/// Hosts and prefixes whose records are sampled.
const MAX_SAMPLES: usize = 32;
/// A host is watched from this part of a threshold in a second on, and sampled from this part on.
const WATCH_PART: f32 = 1.0 / 32.0;
const SAMPLE_PART: f32 = 1.0 / 8.0;
/// After the start, all flows are new.
const GRACE_NS: u64 = 3_000_000_000;
/// An attack is over if its traffic stays below this part of the threshold for this time.
const CALM_PART: f32 = 0.7;
const CALM_NS: u64 = 5_000_000_000;
/// The time between two reports of an attack.
const UPDATE_NS: u64 = 500_000_000;
/// Flows in a report.
const REPORTED_FLOWS: usize = 5;

/// A host or a protected prefix with its traffic.
struct Watched {
    target: Prefix,
    key: Option<HostKey>,
    slots: TrafficSlots,
    samples: [Option<Box<RecordSample>>; Heading::ALL.len()],
    /// Updated while it has traffic near a threshold.
    busy_ns: u64,
    attack: Option<OngoingAttack>,
}

struct OngoingAttack {
    id: AttackId,
    heading: Heading,
    quantity: Quantity,
    since_ns: u64,
    /// The last time at which the traffic was above the lower threshold.
    loud_ns: u64,
    reported_ns: u64,
}

/// Lookups of a report.
#[derive(Clone, Copy)]
pub struct ReportLookups<'a> {
    pub flows: &'a FlowTable,
    pub lookup: &'a dyn RecordLookup,
}

/// The thresholds of one host or prefix, by heading.
type Limits = [Thresholds; Heading::ALL.len()];

pub struct Detector {
    settings: DetectorSettings,
    baselines: Baselines,
    /// The wall clock in seconds.
    unix_s: u64,
    protected: PrefixMap<usize>,
    hosts: HostTable,
    /// The protected prefixes first, in the order of the settings.
    watched: Vec<Watched>,
    by_host: HashMap<HostKey, usize, RandomState>,
    started_ns: u64,
    now_ns: u64,
    last_id: u64,
    random: u64,
    /// The number of samples that may still begin.
    sample_room: usize,
    /// Events that the owner has not taken yet.
    events: Vec<DetectorEvent>,
}

fn host_key(address: &[u8; 16], family: Family) -> HostKey {
    let mut key = *address;
    if family == Family::Ipv4 {
        key = [0; 16];
        (key[10], key[11]) = (0xff, 0xff);
        key[12..].copy_from_slice(&address[..4]);
    }
    key
}

fn host_prefix(address: IpAddr) -> Prefix {
    Prefix::new(address, if address.is_ipv4() { 32 } else { 128 })
}

impl Detector {
    /// `random` seeds the sample.
    pub fn new(mut settings: DetectorSettings, random: u64, now_ns: u64) -> Self {
        let baseline = std::mem::take(&mut settings.baseline);
        let prefixes = settings.protect.iter().enumerate();
        let protected = PrefixMap::new(prefixes.map(|(at, prefix)| (*prefix, at)));
        let watched = settings
            .protect
            .iter()
            .map(|prefix| Watched::new(*prefix, None, now_ns));
        Self {
            watched: watched.collect(),
            baselines: Baselines::new(&settings.protect, baseline),
            unix_s: 0,
            protected,
            hosts: HostTable::default(),
            by_host: HashMap::default(),
            started_ns: now_ns,
            now_ns,
            last_id: 0,
            random: random | 1,
            sample_room: MAX_SAMPLES,
            events: Vec::new(),
            settings,
        }
    }

    /// Counts a record, before the flow table does.
    pub fn count(&mut self, record: &FlowRecord, flows: &FlowTable) {
        let key = &record.key;
        let (address, heading) = match key.direction {
            Direction::Ingress => (&key.dst, Heading::In),
            Direction::Egress => (&key.src, Heading::Out),
        };
        let shown = match heading {
            Heading::In => key.destination(),
            Heading::Out => key.source(),
        };
        let Some(&prefix) = self.protected.get(shown) else {
            return;
        };
        let host_key = host_key(address, key.family);
        let begun = flows.find(key);
        let reverse = flows.find(&reversed(key));
        self.subtract_answered(record, (begun, reverse), (heading, prefix, &host_key));
        if is_excluded(record, begun, reverse) {
            return;
        }
        let is_new = begun.is_none();
        let values = traffic::values(record, is_new);
        let random = self.random();
        let host = match self.by_host.get(&host_key) {
            Some(&at) => Some(at),
            None => self.find_busy(&host_key, shown, heading, &values),
        };
        if let Some(at) = host {
            let weight = weight(&values, &self.settings.host);
            let room = &mut self.sample_room;
            self.watched[at].add(record, heading, is_new, (&values, weight, random), room);
        }
        let weight = weight(&values, &self.settings.prefix);
        let room = &mut self.sample_room;
        self.watched[prefix].add(record, heading, is_new, (&values, weight, random), room);
    }

    /// Subtracts what was counted of a flow whose answer, or whose acknowledgement, this record is.
    fn subtract_answered(
        &mut self,
        record: &FlowRecord,
        (begun, reverse): (Option<&FlowRecord>, Option<&FlowRecord>),
        (heading, prefix, host): (Heading, usize, &HostKey),
    ) {
        let other = match heading {
            Heading::In => Heading::Out,
            Heading::Out => Heading::In,
        };
        let counted = match (begun, reverse) {
            // the client follows its SYN with an ACK
            (Some(begun), _) if is_only_syn(begun) && has_ack(record) => Some((begun, heading)),
            // the first answer; a SYN stays until the client has acknowledged
            (None, Some(reverse)) if !is_only_syn(reverse) && is_answer(record) => {
                let established = is_connection(reverse);
                (!established).then_some((reverse, other))
            }
            _ => None,
        };
        let Some((counted, heading)) = counted.filter(|(counted, _)| counted.packets > 0) else {
            return;
        };
        let values = traffic::values(counted, true);
        let times = (counted.first, counted.last);
        let host = self.by_host.get(host).copied();
        for at in host.into_iter().chain([prefix]) {
            self.watched[at].slots.add(heading, times, &values, -1.0);
        }
    }

    /// Counts a host that is not watched, and watches it from now on if it nears a threshold.
    fn find_busy(
        &mut self,
        key: &HostKey,
        address: IpAddr,
        heading: Heading,
        values: &Values,
    ) -> Option<usize> {
        let sums = self.hosts.count(key, heading, values, self.now_ns);
        let near = sums.iter().zip(&self.settings.host.0);
        let is_near = near.into_iter().any(|(sum, most)| *sum > most * WATCH_PART);
        let prefixes = self.settings.protect.len();
        if !is_near || self.watched.len() - prefixes >= MAX_WATCHED {
            return None;
        }
        let at = self.watched.len();
        let mut watched = Watched::new(host_prefix(address), Some(*key), self.now_ns);
        watched.busy_ns = self.now_ns;
        self.watched.push(watched);
        self.by_host.insert(*key, at);
        Some(at)
    }

    /// Returns a number in (0, 1] (xorshift64*, Vigna 2016).
    fn random(&mut self) -> f32 {
        self.random ^= self.random >> 12;
        self.random ^= self.random << 25;
        self.random ^= self.random >> 27;
        let bits = self.random.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 40;
        (bits + 1) as f32 / (1 << 24) as f32
    }

    /// Moves the clock, and evaluates everything that is watched once in each slot. Returns whether it did.
    pub fn advance(&mut self, now_ns: u64, unix_s: u64, known: ReportLookups<'_>) -> bool {
        let is_same = now_ns >> SLOT_SHIFT == self.now_ns >> SLOT_SHIFT;
        self.now_ns = now_ns;
        if is_same {
            return false;
        }
        let sampled = self.watched.iter().flat_map(|one| &one.samples);
        let is_new_second = unix_s != self.unix_s;
        self.unix_s = unix_s;
        self.sample_room = MAX_SAMPLES.saturating_sub(sampled.flatten().count());
        let prefixes = self.settings.protect.len();
        // hosts first: a prefix leaves out what an attacked host gets
        for at in (prefixes..self.watched.len()).chain(0..prefixes) {
            self.evaluate(at, known);
        }
        for at in (prefixes..self.watched.len()).rev() {
            self.release(at);
        }
        if is_new_second && !self.is_starting() {
            self.learn();
        }
        true
    }

    /// Returns whether the agent has only started: all flows are new.
    fn is_starting(&self) -> bool {
        self.now_ns.saturating_sub(self.started_ns) < GRACE_NS
    }

    /// Adds the last second of each protected prefix to its baseline.
    fn learn(&mut self) {
        let (prefixes, hosts) = self.watched.split_at(self.settings.protect.len());
        let attacked = hosts.iter().filter(|host| host.attack.is_some());
        let attacked: HashSet<usize> = attacked
            .filter_map(|host| self.protected.get(host.target.address()).copied())
            .collect();
        for (at, prefix) in prefixes.iter().enumerate() {
            let mut traffic = HourValues::default();
            for &heading in Heading::ALL {
                for &quantity in Quantity::ALL {
                    traffic[heading as usize][quantity as usize] =
                        prefix.slots.complete(heading, quantity);
                }
            }
            let is_attacked = prefix.attack.is_some() || attacked.contains(&at);
            self.baselines
                .observe(at, &traffic, is_attacked, self.unix_s);
        }
    }

    /// Returns what was learned if it has changed since the last call.
    pub fn take_learned(&mut self) -> Option<LearnedTraffic> {
        self.baselines.take_changed()
    }

    fn limits(&self, at: usize) -> Limits {
        if self.watched[at].key.is_some() {
            return [self.settings.host; Heading::ALL.len()];
        }
        [Heading::In, Heading::Out].map(|heading| {
            self.baselines
                .thresholds(at, heading, &self.settings.prefix, self.unix_s)
        })
    }

    fn evaluate(&mut self, at: usize, known: ReportLookups<'_>) {
        let now = self.now_ns;
        let limits = self.limits(at);
        let watched = &mut self.watched[at];
        watched.slots.advance(now);
        for &heading in Heading::ALL {
            watched.sample(
                heading,
                &limits[heading as usize],
                now,
                &mut self.sample_room,
            );
        }
        if watched.attack.is_some() {
            self.follow(at, &limits, known);
        } else if !self.is_starting() {
            self.search(at, &limits, known);
        }
    }

    /// Returns a number for an attack or another alarm.
    pub fn next_id(&mut self) -> AttackId {
        self.last_id += 1;
        AttackId(self.last_id)
    }

    /// Raises an alarm if a threshold is exceeded.
    fn search(&mut self, at: usize, limits: &Limits, known: ReportLookups<'_>) {
        let watched = &self.watched[at];
        for &heading in Heading::ALL {
            for &quantity in Quantity::ALL {
                let threshold = limits[heading as usize].0[quantity as usize];
                let Some(exceeding) = watched.slots.exceeding(heading, quantity, threshold) else {
                    continue;
                };
                if !self.is_attack(at, heading, quantity, exceeding, threshold) {
                    continue;
                }
                let id = self.next_id();
                let attack = OngoingAttack {
                    id,
                    heading,
                    quantity,
                    since_ns: exceeding.since_ns,
                    loud_ns: self.now_ns,
                    reported_ns: self.now_ns,
                };
                let report = self.report(at, &attack, threshold, known);
                self.events.push(DetectorEvent::Alarm(Box::new(report)));
                self.watched[at].attack = Some(attack);
                return;
            }
        }
    }

    /// Returns whether the traffic exceeds the threshold without its largest flow and, in a prefix, without the
    /// hosts that are attacked.
    fn is_attack(
        &self,
        at: usize,
        heading: Heading,
        quantity: Quantity,
        exceeding: Exceeding,
        threshold: f32,
    ) -> bool {
        let watched = &self.watched[at];
        let mut rest = watched.slots.clone();
        if watched.key.is_none() {
            let hosts = self.watched.iter().filter(|one| one.key.is_some());
            let attacked = hosts.filter(|host| host.attack.is_some());
            let within = attacked.filter(|host| self.is_of_prefix(host, at));
            within.for_each(|host| rest.subtract(&host.slots));
        }
        let Some(sample) = &watched.samples[heading as usize] else {
            return rest.exceeding(heading, quantity, threshold).is_some();
        };
        let items = sample.since(exceeding.since_ns, self.now_ns);
        let mut flows: HashMap<FlowKey, f32, RandomState> = HashMap::default();
        for (item, _) in &items {
            *flows.entry(item.record.key).or_default() += item.values()[quantity as usize];
        }
        // it is in the sample with all its records, since records with much traffic are always kept
        let largest = flows.into_iter().max_by(|a, b| a.1.total_cmp(&b.1));
        let of_largest = items
            .iter()
            .filter(|(item, _)| largest.is_some_and(|(key, _)| item.record.key == key));
        for (item, _) in of_largest {
            let times = (item.record.first, item.record.last);
            rest.add(heading, times, &item.values(), -1.0);
        }
        rest.exceeding(heading, quantity, threshold).is_some()
    }

    /// Returns whether a host is counted in the protected prefix at `at`.
    fn is_of_prefix(&self, host: &Watched, at: usize) -> bool {
        self.protected.get(host.target.address()) == Some(&at)
    }

    /// Reports an attack in progress again, or its end.
    fn follow(&mut self, at: usize, limits: &Limits, known: ReportLookups<'_>) {
        let now = self.now_ns;
        let watched = &mut self.watched[at];
        let Some(mut attack) = watched.attack.take() else {
            return;
        };
        let (heading, quantity) = (attack.heading, attack.quantity);
        let threshold = limits[heading as usize].0[quantity as usize];
        if watched.slots.complete(heading, quantity) > threshold * CALM_PART {
            attack.loud_ns = now;
        }
        if now.saturating_sub(attack.loud_ns) >= CALM_NS {
            self.events.push(DetectorEvent::Calm(attack.id));
            return;
        }
        let exceeding = watched.slots.exceeding(heading, quantity, threshold);
        if exceeding.is_some() && now.saturating_sub(attack.reported_ns) >= UPDATE_NS {
            attack.reported_ns = now;
            let report = self.report(at, &attack, threshold, known);
            self.events.push(DetectorEvent::Update(Box::new(report)));
        }
        self.watched[at].attack = Some(attack);
    }

    fn report(
        &self,
        at: usize,
        attack: &OngoingAttack,
        threshold: f32,
        known: ReportLookups<'_>,
    ) -> AttackReport {
        let watched = &self.watched[at];
        let (heading, quantity) = (attack.heading, attack.quantity);
        let sample = watched.samples[heading as usize].as_ref();
        let recent = self
            .now_ns
            .saturating_sub(2_000_000_000)
            .max(attack.since_ns);
        let now = sample.map_or_else(Vec::new, |sample| sample.since(recent, self.now_ns));
        let baseline = sample.map_or_else(Vec::new, |sample| sample.baseline());
        let evidence = Evidence {
            now: &now,
            baseline: &baseline,
            quantity,
        };
        // a rule at ingress cannot stop what a protected host sends
        let signature = match heading {
            Heading::In => derive(watched.target, &evidence),
            Heading::Out => None,
        };
        let (exceptions, has_more_exceptions) = match &signature {
            Some(signature) => exceptions(signature, known.flows),
            None => Default::default(),
        };
        let mut largest: Vec<_> = now
            .iter()
            .map(|(item, scale)| (item.values()[quantity as usize] * scale, &item.record))
            .collect();
        largest.sort_by(|a, b| b.0.total_cmp(&a.0));
        let sources: HashSet<[u8; 16]> = now.iter().map(|(item, _)| item.record.key.src).collect();
        let mut values = Values::default();
        for &quantity in Quantity::ALL {
            values[quantity as usize] = watched.slots.peak(heading, quantity);
        }
        AttackReport {
            id: attack.id,
            target: AlarmTarget::Prefix(watched.target),
            heading,
            kind: AlarmKind::Attack(quantity),
            threshold,
            values,
            since_ns: attack.since_ns,
            now_ns: self.now_ns,
            signature,
            exceptions,
            has_more_exceptions,
            flows: largest
                .iter()
                .take(REPORTED_FLOWS)
                .map(|(_, record)| **record)
                .collect(),
            sources: sources.len(),
            origins: origins(&evidence, known.lookup),
            interface: crossed(&evidence).and_then(|ifindex| known.lookup.name(ifindex)),
        }
    }

    /// Stops watching a host that is idle.
    fn release(&mut self, at: usize) {
        const IDLE_NS: u64 = 3_000_000_000;
        let watched = &self.watched[at];
        let is_idle = self.now_ns.saturating_sub(watched.busy_ns) >= IDLE_NS;
        if !is_idle || watched.attack.is_some() {
            return;
        }
        let removed = self.watched.swap_remove(at);
        if let Some(key) = removed.key {
            self.by_host.remove(&key);
        }
        if let Some(key) = self.watched.get(at).and_then(|moved| moved.key) {
            self.by_host.insert(key, at);
        }
    }

    /// Returns the events since the last call.
    pub fn take_events(&mut self) -> Vec<DetectorEvent> {
        std::mem::take(&mut self.events)
    }

    pub fn hosts(&self) -> &HostTable {
        &self.hosts
    }

    /// Returns the number of hosts that are watched in slots.
    pub fn watched(&self) -> usize {
        self.watched.len() - self.settings.protect.len()
    }
}

impl Watched {
    fn new(target: Prefix, key: Option<HostKey>, now_ns: u64) -> Self {
        Self {
            target,
            key,
            slots: TrafficSlots::new(now_ns),
            samples: Default::default(),
            busy_ns: 0,
            attack: None,
        }
    }

    fn add(
        &mut self,
        record: &FlowRecord,
        heading: Heading,
        is_new: bool,
        (values, weight, random): (&Values, f32, f32),
        room: &mut usize,
    ) {
        self.slots
            .add(heading, (record.first, record.last), values, 1.0);
        let sample = &mut self.samples[heading as usize];
        // a connection begins with a large record, which must not be missing in the sample
        if sample.is_none() && weight > WATCH_PART && *room > 0 {
            *room -= 1;
            *sample = Some(Box::new(RecordSample::new(record.first)));
        }
        if let Some(sample) = sample {
            sample.add(record, is_new, weight, random);
        }
    }

    /// Begins, continues or ends the sample of one direction.
    fn sample(&mut self, heading: Heading, thresholds: &Thresholds, now: u64, room: &mut usize) {
        const QUIET_NS: u64 = 10_000_000_000;
        let is_near = |part: f32| {
            let mut all = Quantity::ALL.iter();
            all.any(|&quantity| {
                let threshold = thresholds.0[quantity as usize] * part;
                self.slots.is_near(heading, quantity, threshold)
            })
        };
        let is_busy = is_near(WATCH_PART);
        let (is_sampled, is_calm) = (is_near(SAMPLE_PART), !is_near(1.0));
        if is_busy {
            self.busy_ns = now;
        }
        match &mut self.samples[heading as usize] {
            Some(sample) => sample.rotate(now, is_calm),
            empty if is_sampled && *room > 0 => {
                *room -= 1;
                *empty = Some(Box::new(RecordSample::new(now)));
            }
            _ => {}
        }
        if now.saturating_sub(self.busy_ns) >= QUIET_NS && self.attack.is_none() {
            self.samples[heading as usize] = None;
        }
    }
}

/// Returns the weight of a record in the sample: the largest part of a threshold that it fills.
fn weight(values: &Values, thresholds: &Thresholds) -> f32 {
    let parts = values
        .iter()
        .zip(&thresholds.0)
        .map(|(value, most)| value / most);
    parts.fold(f32::MIN_POSITIVE, f32::max)
}
