// SPDX-License-Identifier: AGPL-3.0-only
//! What the page has a line for: a network, a place, a protocol on one interface and in one direction; with
//! limits on how many there are and how many of them have a curve (pure).

use foldhash::fast::RandomState;
use hashbrown::{HashMap, hash_map};

use super::time_series::{FULL_CURVE_BYTES, TimeSeries};
use super::window_totals::{Sums, Window, WindowTotals};
use crate::types::flow::Direction;

/// Lines from which on no other is begun until those that carried least in a day have gone. Lines of
/// interfaces are begun all the same: with them the table just fills 8,192 places.
pub const MAX_ENTRIES: usize = 6144;
/// Curves in all: 1.5 MB when each of them is a day old.
pub const MAX_CURVES: usize = 512;
/// Of these, at most so many for interfaces; the others are left to networks.
const MAX_INTERFACE_CURVES: usize = MAX_CURVES / 2;
/// Networks with a curve, for each interface, direction and side.
pub const TOP: usize = 10;

/// What curves cost at most, in bytes.
pub const MAX_CURVE_BYTES: usize = MAX_CURVES * FULL_CURVE_BYTES;

/// One direction of one interface, which is known by a small number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Scope {
    pub interface: u16,
    pub direction: Direction,
}

/// The far side is where a packet comes from at ingress and goes to at egress.
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
    /// By the interface's counters, each packet.
    Family,
    /// All flows: of the curves below this is the sum.
    Flows,
    Asn(Side),
    /// Neighbour AS.
    Peer(Side),
    City(Side),
    Country(Side),
    Protocol,
}

impl TopKind {
    /// Always there, with a curve as far as there are any.
    fn is_of_interface(self) -> bool {
        matches!(self, Self::Family | Self::Flows)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopKey {
    pub scope: Scope,
    pub kind: TopKind,
    /// The number itself, or that of a text; 0 for what is unknown, or alone of its kind.
    pub value: u32,
}

#[derive(Debug, Default)]
pub struct TopEntry {
    /// Since the last tick.
    pending: (u64, u64),
    /// Bytes and packets per second in the last tick.
    pub now: (f32, f32),
    pub windows: WindowTotals,
    pub curve: Option<Box<TimeSeries>>,
    /// The neighbour AS that carried most of it when it last moved, 0 if unknown.
    pub peer: u32,
    peer_bytes: u64,
}

impl TopEntry {
    pub fn sums(&self, window: Window) -> Sums {
        self.windows.sums(window)
    }

    /// What `bytes` more came by.
    pub fn seen_by(&mut self, peer: u32, bytes: u64) {
        if bytes > self.peer_bytes {
            (self.peer, self.peer_bytes) = (peer, bytes);
        }
    }

    /// Closes a tick that was `seconds` long.
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

/// All lines.
#[derive(Debug, Default)]
pub struct TopTable {
    map: HashMap<TopKey, TopEntry, RandomState>,
    curves: usize,
    /// New lines for which there was no room since the last tick.
    refused: u64,
    evicted: u64,
}

impl TopTable {
    /// Notes that this much more crossed since the last tick; `None` if there is no room for the line.
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

    /// Those of a scope, in no order.
    pub fn of(&self, scope: Scope) -> impl Iterator<Item = (&TopKey, &TopEntry)> {
        self.map.iter().filter(move |(key, _)| key.scope == scope)
    }

    pub fn keys(&self) -> impl Iterator<Item = &TopKey> {
        self.map.keys()
    }

    /// Closes the ticks up to and with number `tick`; there are `ticks` of them, `seconds` long together.
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
                (tick - ticks + 1..=tick).for_each(|passed| curve.push(passed, entry.now.0));
            }
        }
    }

    /// Begins the pieces of windows that begin with this tick, and lets go of what has been silent in all.
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

    /// Makes room for an eighth of new lines.
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

    /// Gives curves to interfaces and to the first networks of each scope; while there are enough, what had
    /// one keeps it.
    fn grant_curves(&mut self) {
        let mut chosen = self.chosen();
        if chosen.iter().all(|key| self.map[key].curve.is_some()) {
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
    }

    /// What is to have a curve, at most [`MAX_CURVES`].
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

    /// Keeps those for which `keep` is true.
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

    /// How many there are.
    pub fn lines(&self) -> usize {
        self.map.len()
    }

    pub fn curves(&self) -> usize {
        self.curves
    }

    pub fn evicted(&self) -> u64 {
        self.evicted
    }

    /// Memory held.
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
            // ever other networks carry most
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
