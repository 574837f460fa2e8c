// SPDX-License-Identifier: AGPL-3.0-only
//! The properties that the records of an attack share (pure).
//!
//! The excess of a property is its traffic per second minus that before the traffic rose. Properties are added one after the other, and each
//! must keep at least 80 % of the whole excess.

use std::collections::HashMap;
use std::fmt;
use std::hash::Hash;
use std::net::IpAddr;

use super::sample::Item;
use super::traffic::{is_later_fragment, is_only_syn};
use crate::types::flow::FlowRecord;
use crate::types::guard::Quantity;
use crate::types::prefix::Prefix;
use crate::types::protocol::Protocol;

/// The part of the excess that a signature covers.
const SHARE: f32 = 0.8;
/// A value of a list of n has at least 1/n of this part of the excess: traffic beside the attack has less.
const LEAST_PART: f32 = 0.6;
/// A range covers at least this part of what could be covered.
const NEARLY_ALL: f32 = 0.9;
/// Lengths that are so near to a range belong to it, in bytes.
const GAP: u16 = 16;
const MAX_PORTS: usize = 4;
const MAX_SOURCES: usize = 8;
/// The width of a range of lengths, in bytes or as a part of the upper end.
const MAX_WIDTH: u16 = 64;
const MAX_WIDTH_PART: u16 = 2;
const UDP: u8 = 17;
/// The length of a SYN with the least option, the MSS, which every host sends: headers and 4 bytes.
const SYN_WITH_OPTION: [u16; 2] = [44, 64];

/// The conditions that the packets of an attack meet.
#[derive(Clone, Debug, PartialEq)]
pub struct Signature {
    pub dst: Prefix,
    pub protocol: u8,
    pub only_syn: bool,
    pub later_fragment: bool,
    /// Empty = any.
    pub sport: Vec<u16>,
    pub dport: Vec<u16>,
    pub icmp_type: Option<u8>,
    pub length: Option<(u16, u16)>,
    pub sources: Vec<IpAddr>,
    /// The part of the excess that it covers.
    pub share: f32,
}

/// The replies that a signature permits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Specificity {
    /// Legitimate packets do not have it.
    Specific,
    /// New clients may have it: a limit for each source at most.
    Ambiguous,
    /// Nothing.
    Vague,
}

impl Signature {
    pub fn matches(&self, record: &FlowRecord) -> bool {
        let key = &record.key;
        let one_of = |ports: &[u16], port| ports.is_empty() || ports.contains(&port);
        let length = match self.length {
            Some((from, to)) if record.packets > 0 => {
                (from..=to).contains(&mean_length(record).unwrap_or(from))
            }
            _ => true,
        };
        key.protocol == self.protocol
            && self.dst.contains(key.destination())
            && (!self.only_syn || is_only_syn(record))
            && (!self.later_fragment || is_later_fragment(key))
            && one_of(&self.sport, key.src_port)
            && one_of(&self.dport, key.dst_port)
            && self
                .icmp_type
                .is_none_or(|kind| kind == icmp_type(key.dst_port))
            && length
            && (self.sources.is_empty() || self.sources.contains(&key.source()))
    }

    /// Returns whether a rule with this signature spares legitimate packets.
    pub fn specificity(&self) -> Specificity {
        let protocol = Protocol(self.protocol);
        let few_sources = !self.sources.is_empty();
        if protocol.is_tcp() {
            let without_option = self
                .length
                .is_some_and(|(_, to)| to < SYN_WITH_OPTION[usize::from(!self.dst.is_ipv4())]);
            return match self.only_syn {
                true if few_sources || without_option || !self.sport.is_empty() => {
                    Specificity::Specific
                }
                true => Specificity::Ambiguous,
                false if few_sources || self.later_fragment => Specificity::Specific,
                false => Specificity::Vague,
            };
        }
        if few_sources || self.later_fragment || self.length.is_some() {
            return Specificity::Specific;
        }
        match protocol {
            Protocol(UDP) if !self.sport.is_empty() => Specificity::Specific,
            Protocol(UDP) | Protocol(1) | Protocol(58) => Specificity::Vague,
            // established tunnels are answered, and excepted
            _ => Specificity::Specific,
        }
    }
}

fn icmp_type(dst_port: u16) -> u8 {
    (dst_port >> 8) as u8
}

/// Returns the IP length of the packets of a record, if it can be that of all of them.
fn exact_length(record: &FlowRecord) -> Option<u16> {
    let exact = record.packets > 0 && record.ip_bytes.is_multiple_of(record.packets);
    exact.then(|| mean_length(record)).flatten()
}

fn mean_length(record: &FlowRecord) -> Option<u16> {
    u16::try_from(record.ip_bytes / record.packets.max(1)).ok()
}

/// The records of an attack, and those before it, each with its weight per second.
pub struct Evidence<'a> {
    pub now: &'a [(Item, f32)],
    pub baseline: &'a [(Item, f32)],
    pub quantity: Quantity,
}

/// A condition on a record.
type Condition = Box<dyn Fn(&FlowRecord) -> bool>;

pub(super) struct Search<'a> {
    evidence: &'a Evidence<'a>,
    conditions: Vec<Condition>,
    total: f32,
}

impl<'a> Search<'a> {
    pub fn new(evidence: &'a Evidence<'a>) -> Self {
        let mut search = Self {
            evidence,
            conditions: Vec::new(),
            total: 0.0,
        };
        search.total = search.excess();
        search
    }

    fn weight(&self, (item, scale): &(Item, f32)) -> f32 {
        item.values()[self.evidence.quantity as usize] * scale
    }

    fn is_met(&self, record: &FlowRecord) -> bool {
        self.conditions.iter().all(|condition| condition(record))
    }

    /// Returns the excess of the records that meet all conditions, by a property of theirs; the largest first.
    pub fn excess_by<K: Copy + Eq + Hash + Ord>(
        &self,
        mut property: impl FnMut(&FlowRecord) -> Option<K>,
    ) -> Vec<(K, f32)> {
        let mut sums: HashMap<K, f32> = HashMap::new();
        for (items, sign) in [(self.evidence.now, 1.0), (self.evidence.baseline, -1.0)] {
            for weighted in items.iter().filter(|(item, _)| self.is_met(&item.record)) {
                if let Some(value) = property(&weighted.0.record) {
                    *sums.entry(value).or_default() += sign * self.weight(weighted);
                }
            }
        }
        let mut sums: Vec<_> = sums.into_iter().filter(|(_, sum)| *sum > 0.0).collect();
        sums.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        sums
    }

    fn excess(&self) -> f32 {
        let sum = |items: &[(Item, f32)]| -> f32 {
            let met = items.iter().filter(|(item, _)| self.is_met(&item.record));
            met.map(|weighted| self.weight(weighted)).sum()
        };
        (sum(self.evidence.now) - sum(self.evidence.baseline)).max(0.0)
    }

    /// Returns the values with a large part of the excess, at most `max`, if they cover the share of a signature.
    pub fn few<K: Copy + Eq + Hash + Ord>(
        &self,
        max: usize,
        property: impl FnMut(&FlowRecord) -> Option<K>,
    ) -> Vec<K> {
        let all = self.excess();
        let mut few = Vec::new();
        let mut covered = 0.0;
        let largest = self.excess_by(property).into_iter().take(max);
        let least = LEAST_PART / max as f32 * all;
        for (value, sum) in largest.take_while(|(_, sum)| *sum >= least) {
            few.push(value);
            covered += sum;
        }
        match covered >= SHARE * self.total {
            true => few,
            false => Vec::new(),
        }
    }

    /// Returns the narrowest range of lengths that covers nearly all, with the lengths next to it, if it is narrow.
    fn length(&self) -> Option<(u16, u16)> {
        let mut lengths = self.excess_by(exact_length);
        let covered: f32 = lengths.iter().map(|(_, sum)| sum).sum();
        let all = self.excess();
        // the packets of the other records have several lengths
        if covered < NEARLY_ALL * all || covered < SHARE * self.total {
            return None;
        }
        lengths.sort_unstable_by_key(|(length, _)| *length);
        let mut best: Option<(u16, u16)> = None;
        let (mut from, mut sum) = (0, 0.0);
        for to in 0..lengths.len() {
            sum += lengths[to].1;
            while sum - lengths[from].1 >= NEARLY_ALL * covered {
                sum -= lengths[from].1;
                from += 1;
            }
            let range = (lengths[from].0, lengths[to].0);
            let width = |(from, to): (u16, u16)| to - from;
            if sum >= NEARLY_ALL * covered && best.is_none_or(|best| width(range) < width(best)) {
                best = Some(range);
            }
        }
        let (mut from, mut to) = best?;
        for (length, _) in &lengths {
            if (to..=to.saturating_add(GAP)).contains(length) {
                to = *length;
            }
        }
        for (length, _) in lengths.iter().rev() {
            if (from.saturating_sub(GAP)..=from).contains(length) {
                from = *length;
            }
        }
        // the sample has not all lengths of a range
        let margin = (to - from) / 16;
        let best = Some((from - margin.min(from), to.saturating_add(margin)));
        best.filter(|(from, to)| to - from <= MAX_WIDTH.max(to / MAX_WIDTH_PART))
    }
}

/// Returns the signature of an attack on `target`; `None` if its packets share no protocol.
pub fn derive(target: Prefix, evidence: &Evidence<'_>) -> Option<Signature> {
    let mut search = Search::new(evidence);
    let &(protocol, sum) = search
        .excess_by(|record| Some(record.key.protocol))
        .first()?;
    if sum < SHARE * search.total {
        return None;
    }
    let mut found = Signature {
        dst: target,
        protocol,
        only_syn: false,
        later_fragment: false,
        sport: Vec::new(),
        dport: Vec::new(),
        icmp_type: None,
        length: None,
        sources: Vec::new(),
        share: 0.0,
    };
    search
        .conditions
        .push(Box::new(move |record| record.key.protocol == protocol));
    if search.few(1, |record| Some(is_only_syn(record))) == [true] {
        found.only_syn = true;
        search.conditions.push(Box::new(is_only_syn));
    }
    if search.few(1, |record| Some(is_later_fragment(&record.key))) == [true] {
        found.later_fragment = true;
        search
            .conditions
            .push(Box::new(|record| is_later_fragment(&record.key)));
    } else if Protocol(protocol).has_ports() {
        found.sport = search.few(MAX_PORTS, |record| Some(record.key.src_port));
        let sport = found.sport.clone();
        search.conditions.push(Box::new(move |record| {
            sport.is_empty() || sport.contains(&record.key.src_port)
        }));
        found.dport = search.few(MAX_PORTS, |record| Some(record.key.dst_port));
        let dport = found.dport.clone();
        search.conditions.push(Box::new(move |record| {
            dport.is_empty() || dport.contains(&record.key.dst_port)
        }));
    } else if Protocol(protocol).is_icmp() {
        let kinds = search.few(1, |record| Some(icmp_type(record.key.dst_port)));
        found.icmp_type = kinds.first().copied();
        let kind = found.icmp_type;
        search.conditions.push(Box::new(move |record| {
            kind.is_none_or(|kind| kind == icmp_type(record.key.dst_port))
        }));
    }
    found.length = search.length();
    let length = found.length;
    search.conditions.push(Box::new(move |record| {
        let is_in = |(from, to)| mean_length(record).is_some_and(|n| (from..=to).contains(&n));
        length.is_none_or(is_in)
    }));
    found.sources = search.few(MAX_SOURCES, |record| Some(record.key.source()));
    let sources = found.sources.clone();
    search.conditions.push(Box::new(move |record| {
        sources.is_empty() || sources.contains(&record.key.source())
    }));
    found.share = search.excess() / search.total.max(f32::MIN_POSITIVE);
    let met = evidence.now.iter().map(|(item, _)| &item.record);
    let destinations = met.filter(|record| search.is_met(record));
    found.dst = common_prefix(target, destinations.map(|record| record.key.destination()));
    Some(found)
}

/// Returns the longest prefix of the addresses within `target`.
fn common_prefix(target: Prefix, addresses: impl Iterator<Item = IpAddr>) -> Prefix {
    let mut common: Option<Prefix> = None;
    for address in addresses.filter(|address| target.contains(*address)) {
        let longest = if address.is_ipv4() { 32 } else { 128 };
        let mut prefix = common.unwrap_or(Prefix::new(address, longest));
        while !prefix.contains(address) {
            prefix = Prefix::new(prefix.address(), prefix.length() - 1);
        }
        common = Some(prefix);
    }
    match common {
        Some(common) if common.length() > target.length() => common,
        _ => target,
    }
}

/// Lists the conditions as the options of a rule.
impl fmt::Display for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |ports: &[u16]| {
            let ports: Vec<_> = ports.iter().map(u16::to_string).collect();
            ports.join(",")
        };
        write!(f, "dst {}, protocol {}", self.dst, Protocol(self.protocol))?;
        if self.only_syn {
            f.write_str(", tcp-flags syn/syn,ack")?;
        }
        if self.later_fragment {
            f.write_str(", fragment later")?;
        }
        for (name, ports) in [("sport", &self.sport), ("dport", &self.dport)] {
            if !ports.is_empty() {
                write!(f, ", {name} {}", list(ports))?;
            }
        }
        if let Some(kind) = self.icmp_type {
            write!(f, ", icmp-type {kind}")?;
        }
        match self.length {
            Some((from, to)) if from == to => write!(f, ", length {from}")?,
            Some((from, to)) => write!(f, ", length {from}-{to}")?,
            None => {}
        }
        if !self.sources.is_empty() {
            let sources: Vec<_> = self.sources.iter().map(IpAddr::to_string).collect();
            write!(f, ", src {}", sources.join(","))?;
        }
        Ok(())
    }
}
