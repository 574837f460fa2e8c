// SPDX-License-Identifier: AGPL-3.0-only
//! The lines of the page: a network, a place or a protocol on one interface and in one direction,
//! with limits for the number of lines and of curves (pure).

use foldhash::fast::RandomState;
use hashbrown::{HashMap, hash_map};

use super::time_series::{FULL_CURVE_BYTES, TimeSeries};
use super::window_totals::{Sums, Window, WindowTotals};
use crate::types::flow::Direction;

/// The number of lines at which no new line is created until those with the least traffic in a day
/// were evicted. Lines of interfaces are still created: with them the table just fills 8,192 slots.
pub const MAX_ENTRIES: usize = 6144;
/// The maximum number of curves: 1.6 MB when each of them is a day old.
pub const MAX_CURVES: usize = 352;
/// The maximum number of curves for interfaces; the rest is reserved for networks.
const MAX_INTERFACE_CURVES: usize = MAX_CURVES / 2;
/// The number of networks with a curve, for each interface, direction and side.
pub const TOP: usize = 10;

/// The maximum size of all curves, in bytes.
pub const MAX_CURVE_BYTES: usize = MAX_CURVES * FULL_CURVE_BYTES;

/// One direction of one interface, which a small number identifies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Scope {
    pub interface: u16,
    pub direction: Direction,
}

/// A side of the interface. The remote side contains the source at ingress and the destination at
/// egress.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Side {
    #[default]
    Far,
    Near,
}

impl Side {
    pub const ALL: [Self; 2] = [Self::Far, Self::Near];
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TopKind {
    /// From the interface's counters, which count every packet.
    Family,
    /// All flows: the sum of the curves below.
    Flows,
    Asn(Side),
    /// The peer AS.
    Peer(Side),
    City(Side),
    Country(Side),
    Protocol,
}

impl TopKind {
    /// Returns true for lines that always exist, with a curve as far as curves are available.
    fn is_of_interface(self) -> bool {
        matches!(self, Self::Family | Self::Flows)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopKey {
    pub scope: Scope,
    pub kind: TopKind,
    /// The number itself, or that of a text; 0 if it is unknown or the only one of its kind.
    pub value: u32,
}

#[derive(Debug, Default)]
pub struct TopEntry {
    /// Bytes and packets since the last tick.
    pending: (u64, u64),
    /// Bytes and packets per second in the last tick.
    pub now: (f32, f32),
    pub windows: WindowTotals,
    pub curve: Option<Box<TimeSeries>>,
    /// The peer AS with most of the traffic in the last tick with traffic, 0 if unknown.
    pub peer: u32,
    peer_bytes: u64,
}

impl TopEntry {
    pub fn sums(&self, window: Window) -> Sums {
        self.windows.sums(window)
    }

    /// Stores the peer AS if its `bytes` are the most in this tick.
    pub fn seen_by(&mut self, peer: u32, bytes: u64) {
        if bytes > self.peer_bytes {
            (self.peer, self.peer_bytes) = (peer, bytes);
        }
    }

    /// Completes a tick of `seconds`.
    fn tick(&mut self, tick: u64, seconds: f32) {
        let (bytes, packets) = std::mem::take(&mut self.pending);
        self.peer_bytes = 0;
        self.now = (bytes as f32 / seconds, packets as f32 / seconds);
        self.windows
            .add(tick, bytes as f32, packets as f32, self.now.0);
    }

    fn is_silent(&self) -> bool {
        Window::ALL.iter().all(|&w| self.sums(w).bytes == 0.0)
    }
}

/// All lines of the page.
#[derive(Debug, Default)]
pub struct TopTable {
    map: HashMap<TopKey, TopEntry, RandomState>,
    curves: usize,
    /// The number of new lines since the last tick that exceeded the limit.
    refused: u64,
    evicted: u64,
}

impl TopTable {
    /// Adds traffic since the last tick; returns `None` if the limit allows no new line.
    pub fn add(&mut self, key: TopKey, bytes: u64, packets: u64) -> Option<&mut TopEntry> {
        let is_full = self.map.len() >= MAX_ENTRIES && !key.kind.is_of_interface();
        let entry = match self.map.entry(key) {
            hash_map::Entry::Vacant(_) if is_full => {
                self.refused += 1;
                return None;
            }
            entry => entry.or_default(),
        };
        entry.pending.0 = entry.pending.0.saturating_add(bytes);
        entry.pending.1 = entry.pending.1.saturating_add(packets);
        Some(entry)
    }

    pub fn get(&self, key: &TopKey) -> Option<&TopEntry> {
        self.map.get(key)
    }

    /// Returns the lines of a scope, in no particular order.
    pub fn of(&self, scope: Scope) -> impl Iterator<Item = (&TopKey, &TopEntry)> {
        self.map.iter().filter(move |(key, _)| key.scope == scope)
    }

    pub fn iter(&self) -> impl Iterator<Item = (&TopKey, &TopEntry)> {
        self.map.iter()
    }

    pub fn keys(&self) -> impl Iterator<Item = &TopKey> {
        self.map.keys()
    }

    /// Completes `ticks` ticks up to and including number `tick`, with a total length of `seconds`.
    pub fn tick(&mut self, tick: u64, ticks: u64, seconds: f32) {
        for passed in tick - ticks + 1..=tick {
            self.turn(passed);
        }
        for entry in self.map.values_mut() {
            entry.tick(tick, seconds);
        }
        if std::mem::take(&mut self.refused) > 0 {
            self.evict();
        }
        self.grant_curves();
        for entry in self.map.values_mut() {
            if let Some(curve) = &mut entry.curve {
                (tick - ticks + 1..=tick).for_each(|passed| curve.push(passed, entry.now));
            }
        }
    }

    /// Starts the window pieces that start with this tick, and removes lines without traffic in all
    /// windows.
    fn turn(&mut self, tick: u64) {
        for window in Window::ALL.into_iter().filter(|w| w.turns(tick)) {
            for entry in self.map.values_mut() {
                entry.windows.turn(window, tick);
            }
            self.retain(|key, entry| {
                key.kind.is_of_interface() || entry.pending.0 > 0 || !entry.is_silent()
            });
        }
    }

    /// Evicts lines, so that an eighth of the limit is free.
    fn evict(&mut self) {
        let weigh = |entry: &TopEntry| entry.sums(Window::Day).bytes;
        let ordinary = |(key, _): &(&TopKey, &TopEntry)| !key.kind.is_of_interface();
        let mut weights: Vec<_> = self
            .map
            .iter()
            .filter(ordinary)
            .map(|(key, entry)| (weigh(entry), *key))
            .collect();
        weights.sort_unstable_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        let of_interfaces = self.map.len() - weights.len();
        let room = (MAX_ENTRIES - MAX_ENTRIES / 8).saturating_sub(of_interfaces);
        for (_, key) in weights.drain(room.min(weights.len())..) {
            self.remove(&key);
            self.evicted += 1;
        }
    }

    /// Assigns curves to interfaces and to the top networks of each scope. Other lines get those that are
    /// left, and keep them as long as there are enough.
    fn grant_curves(&mut self) {
        let mut chosen = self.chosen();
        if chosen.iter().all(|key| self.map[key].curve.is_some()) {
            self.grant_free_curves();
            return;
        }
        chosen.sort_unstable();
        let others = |(key, entry): (&TopKey, &TopEntry)| {
            let idle = entry.curve.is_some() && chosen.binary_search(key).is_err();
            idle.then(|| (entry.sums(Window::Day).bytes, *key))
        };
        let mut keepers: Vec<_> = self.map.iter().filter_map(others).collect();
        keepers.sort_unstable_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        let room = MAX_CURVES - chosen.len();
        for (_, key) in keepers.iter().skip(room) {
            self.map.get_mut(key).and_then(|e| e.curve.take());
        }
        for key in &chosen {
            if let Some(entry) = self.map.get_mut(key) {
                entry.curve.get_or_insert_default();
            }
        }
        self.curves = chosen.len() + keepers.len().min(room);
        self.grant_free_curves();
    }

    /// Assigns the free curves to the lines with the most traffic, so that a filter for one of them has a past.
    fn grant_free_curves(&mut self) {
        let free = MAX_CURVES.saturating_sub(self.curves);
        if free == 0 {
            return;
        }
        let without = self.map.iter().filter(|(_, entry)| entry.curve.is_none());
        let weigh = |(key, entry): (&TopKey, &TopEntry)| (entry.sums(Window::Hour).bytes, *key);
        let mut lines: Vec<_> = without.map(weigh).filter(|line| line.0 > 0.0).collect();
        lines.sort_unstable_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        lines.truncate(free);
        self.curves += lines.len();
        for (_, key) in lines {
            if let Some(entry) = self.map.get_mut(&key) {
                entry.curve = Some(Box::default());
            }
        }
    }

    /// Returns the lines that get a curve, at most [`MAX_CURVES`].
    fn chosen(&self) -> Vec<TopKey> {
        let mut interfaces = Vec::new();
        let mut networks: Vec<(TopKey, f32)> = Vec::new();
        for (key, entry) in &self.map {
            let weight = entry.sums(Window::Hour).bytes;
            match key.kind {
                TopKind::Family | TopKind::Flows => interfaces.push((*key, weight)),
                TopKind::Asn(_) if weight > 0.0 => networks.push((*key, weight)),
                _ => {}
            }
        }
        let heaviest =
            |a: &(TopKey, f32), b: &(TopKey, f32)| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0));
        interfaces.sort_unstable_by(heaviest);
        interfaces.truncate(MAX_INTERFACE_CURVES);
        networks.sort_unstable_by(heaviest);
        let mut ranks: HashMap<(Scope, TopKind), usize, RandomState> = HashMap::default();
        networks.retain(|(key, _)| {
            let rank = ranks.entry((key.scope, key.kind)).or_default();
            *rank += 1;
            *rank <= TOP
        });
        networks.truncate(MAX_CURVES - interfaces.len());
        let both = interfaces.into_iter().chain(networks);
        both.map(|(key, _)| key).collect()
    }

    /// Keeps the lines for which `keep` returns true.
    pub fn retain(&mut self, keep: impl Fn(&TopKey, &TopEntry) -> bool) {
        let curves = &mut self.curves;
        self.map.retain(|key, entry| {
            let stays = keep(key, entry);
            *curves -= usize::from(!stays && entry.curve.is_some());
            stays
        });
    }

    fn remove(&mut self, key: &TopKey) {
        if let Some(TopEntry { curve: Some(_), .. }) = self.map.remove(key) {
            self.curves -= 1;
        }
    }

    /// Returns the number of lines.
    pub fn lines(&self) -> usize {
        self.map.len()
    }

    pub fn curves(&self) -> usize {
        self.curves
    }

    pub fn evicted(&self) -> u64 {
        self.evicted
    }

    /// Returns the memory in use.
    pub fn bytes(&self) -> usize {
        let curves = self.map.values().filter_map(|e| e.curve.as_ref());
        self.map.allocation_size() + curves.map(|c| c.bytes()).sum::<usize>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(kind: TopKind, value: u32) -> TopKey {
        let scope = Scope {
            interface: 0,
            direction: Direction::Ingress,
        };
        TopKey { scope, kind, value }
    }

    #[test]
    fn a_line_costs_what_the_readme_says() {
        assert_eq!(size_of::<(TopKey, TopEntry)>(), 208);
    }

    #[test]
    fn the_first_networks_have_curves_and_keep_them_while_there_is_room() {
        let mut entries = TopTable::default();
        let far = TopKind::Asn(Side::Far);
        for tick in 1..=200u32 {
            // other networks have the most traffic in each tick
            for network in 0..20 {
                entries.add(
                    key(far, tick * 100 + network),
                    1000 * u64::from(20 - network),
                    1,
                );
            }
            entries.add(key(TopKind::Flows, 0), 1000, 1);
            entries.tick(tick.into(), 1, 5.0);
            let held = entries.map.values().filter(|e| e.curve.is_some()).count();
            assert_eq!(held, entries.curves());
            assert!(held <= MAX_CURVES);
        }
        assert!(
            entries
                .get(&key(TopKind::Flows, 0))
                .is_some_and(|e| e.curve.is_some())
        );
        assert!(entries.curves() > TOP);
    }

    #[test]
    fn what_is_silent_for_a_day_goes() {
        let mut entries = TopTable::default();
        entries.add(key(TopKind::Protocol, 6), 1000, 1);
        entries.add(key(TopKind::Family, 0), 1000, 1);
        entries.tick(1, 1, 5.0);
        entries.tick(10_000, 9_999, 49_995.0);
        assert_eq!(entries.lines(), 2);
        entries.tick(20_000, 10_000, 50_000.0);
        assert_eq!(entries.lines(), 1);
    }
}
