// SPDX-License-Identifier: AGPL-3.0-only
//! The history of the page: rates of interfaces and of flow series, tick by tick (pure).
//!
//! - `time_series`, `window_totals`: a rate over time, and its mean and maximum;
//! - `top_table`: the lines of the page, bounded, some of them with a curve;
//! - [`recorder`]: rows of a minute for the history on disk;
//! - `increments`, `series_key`, `string_refs`: from the flow series to lines.

mod increments;
pub mod recorder;
mod series_key;
pub(crate) mod string_refs;
pub mod time_series;
pub mod top_table;
pub mod window_totals;

use std::sync::Arc;

use foldhash::fast::RandomState;
use hashbrown::HashMap;

use self::increments::Increments;
use self::series_key::SeriesKey;
use self::string_refs::StringRefs;
use self::time_series::TICK_SECONDS;
use self::top_table::{Scope, TopKey, TopKind, TopTable};
use crate::flow::snapshot::SeriesRow;
use crate::netlink::Link;
use crate::types::counters::{Count, HookCounters};
use crate::types::flow::{Direction, Family};
use crate::types::role::Role;

/// The maximum number of stored interfaces; further ones are counted and left out.
pub const MAX_INTERFACES: usize = 256;
/// The number of ticks after which a removed interface is evicted: a day.
const FORGET_AFTER: u64 = 86_400 / TICK_SECONDS;
/// The maximum number of ticks for one pause; a longer pause counts as a day without traffic.
const MAX_TICKS: u64 = 86_400 / TICK_SECONDS;
/// The input of one tick.
pub struct HistoryReading<'a> {
    /// Monotonic, any origin.
    pub now_ms: u64,
    /// Seconds since the Unix epoch.
    pub wall: f64,
    pub interfaces: &'a [InterfaceReading<'a>],
    /// The ifindex of the default route.
    pub uplink: Option<u32>,
    pub series: &'a [SeriesRow],
    /// Names of the ASNs in `series`.
    pub asns: &'a [(u32, Arc<str>)],
    pub sample_rate: u32,
}

/// The counters of one interface at one tick.
pub struct InterfaceReading<'a> {
    pub link: &'a Link,
    /// The name of the link's master; empty if there is none.
    pub master: &'a str,
    /// The hook in use: `tcx`, `clsact` or `none`.
    pub attach: &'a str,
    pub role: Option<Role>,
    /// Empty if it is unknown.
    pub provider: &'a str,
    /// Whether sums over interfaces include it.
    pub is_summed: bool,
    /// By [`Direction`]; `None` if that hook is not attached.
    pub hooks: [Option<&'a HookCounters>; Direction::ALL.len()],
}

/// An interface at its last reading.
#[derive(Debug)]
pub struct InterfaceHistory {
    pub name: Arc<str>,
    pub alias: String,
    pub kind: String,
    pub master: String,
    pub attach: String,
    pub role: Option<Role>,
    pub provider: String,
    pub is_summed: bool,
    pub ifindex: u32,
    pub speed_bytes: Option<u64>,
    /// Observed packets and bytes by direction and family; `None` if that hook is not attached.
    pub observed: [Option<[Count; Family::ALL.len()]>; Direction::ALL.len()],
    /// The growth of `observed` since the previous reading.
    pub(super) grown: [[Count; Family::ALL.len()]; Direction::ALL.len()],
    /// The number of the last reading that included the interface.
    seen: u64,
}

#[derive(Debug, Default)]
pub struct History {
    pub(super) entries: TopTable,
    pub(super) names: StringRefs,
    /// Index: number of the interface in a [`Scope`].
    interfaces: Vec<Option<InterfaceHistory>>,
    numbers: HashMap<Arc<str>, u16, RandomState>,
    increments: Increments,
    /// The time of the last reading.
    now_ms: u64,
    /// The number of readings so far.
    readings: u64,
    /// The number of the last tick. The first reading is 0 and gives no rate.
    pub(super) tick: u64,
    pub(super) sample_rate: u32,
    /// The ifindex of the default route.
    pub(super) uplink: Option<u32>,
    /// The number of interfaces in the last reading that exceeded the limit.
    pub(super) left_out: usize,
    /// The start of counting and the time of the last tick, in seconds since the Unix epoch.
    pub(super) since: f64,
    pub(super) wall: f64,
}

impl History {
    /// Processes one reading. Readings are [`TICK_SECONDS`] apart; after a pause each tick gets the
    /// mean rate.
    pub fn feed(&mut self, reading: &HistoryReading) {
        let first = self.readings == 0;
        self.readings += 1;
        let elapsed_ms = reading.now_ms.saturating_sub(self.now_ms);
        self.now_ms = reading.now_ms;
        (self.wall, self.sample_rate) = (reading.wall, reading.sample_rate);
        self.uplink = reading.uplink;
        self.read_interfaces(reading.interfaces, first);
        self.read_flows(reading.series);
        self.names.learn(reading.asns);
        if first {
            self.since = reading.wall;
            return;
        }
        let tick_ms = TICK_SECONDS * 1000;
        let ticks = ((elapsed_ms + tick_ms / 2) / tick_ms).clamp(1, MAX_TICKS);
        self.tick += ticks;
        let seconds = elapsed_ms.max(1) as f32 / 1000.0;
        self.entries.tick(self.tick, ticks, seconds);
        self.tidy();
    }

    /// Returns the interfaces of the last reading, with their numbers.
    pub fn interfaces(&self) -> impl Iterator<Item = (u16, &InterfaceHistory)> {
        let numbered = (0u16..).zip(&self.interfaces);
        numbered
            .filter_map(|(number, port)| Some((number, port.as_ref()?)))
            .filter(|(_, port)| port.seen == self.readings)
    }

    /// Returns the interface with this number.
    pub(super) fn interface(&self, number: u16) -> Option<&InterfaceHistory> {
        self.interfaces.get(usize::from(number))?.as_ref()
    }

    /// Returns the memory in use, as far as it grows with the history.
    pub fn bytes(&self) -> usize {
        self.entries.bytes() + self.increments.bytes() + self.names.bytes()
    }

    fn read_interfaces(&mut self, interfaces: &[InterfaceReading], first: bool) {
        self.left_out = 0;
        for interface in interfaces {
            let Some(number) = self.slot_of(interface) else {
                self.left_out += 1;
                continue;
            };
            for direction in Direction::ALL {
                let hook = interface.hooks[direction as usize];
                self.read_hook(number, direction, hook, first);
            }
        }
    }

    fn read_hook(
        &mut self,
        number: u16,
        direction: Direction,
        hook: Option<&HookCounters>,
        first: bool,
    ) {
        let Some(port) = &mut self.interfaces[usize::from(number)] else {
            return;
        };
        let observed = hook.map(|hook| hook.families.map(|family| family.observed));
        port.grown[direction as usize] = Default::default();
        let before = std::mem::replace(&mut port.observed[direction as usize], observed);
        let Some(observed) = observed else {
            return;
        };
        // a hook that is new since the previous reading started at 0
        let before = before.unwrap_or_else(|| if first { observed } else { Default::default() });
        let scope = Scope {
            interface: number,
            direction,
        };
        for family in Family::ALL {
            let (old, new) = (before[family as usize], observed[family as usize]);
            let key = TopKey {
                scope,
                kind: TopKind::Family,
                value: family as u32,
            };
            let (bytes, packets) = (grown(old.bytes, new.bytes), grown(old.packets, new.packets));
            port.grown[direction as usize][family as usize] = Count { packets, bytes };
            self.entries.add(key, bytes, packets);
        }
        let flows = TopKey {
            scope,
            kind: TopKind::Flows,
            value: 0,
        };
        self.entries.add(flows, 0, 0);
    }

    /// Returns the number of an interface: its previous number, a free one, or that of a removed
    /// interface.
    fn slot_of(&mut self, interface: &InterfaceReading) -> Option<u16> {
        let link = interface.link;
        let number = match self.numbers.get(&*link.name) {
            Some(&number) => number,
            None => self.free_number()?,
        };
        let port = self.interfaces[usize::from(number)].get_or_insert_with(|| InterfaceHistory {
            name: link.name.as_str().into(),
            alias: String::new(),
            kind: String::new(),
            master: String::new(),
            attach: String::new(),
            role: None,
            provider: String::new(),
            is_summed: true,
            ifindex: 0,
            speed_bytes: None,
            observed: [None; 2],
            grown: Default::default(),
            seen: 0,
        });
        port.ifindex = link.ifindex;
        port.speed_bytes = link.speed_bytes;
        port.seen = self.readings;
        port.role = interface.role;
        port.is_summed = interface.is_summed;
        self.numbers.insert(port.name.clone(), number);
        for (text, now) in [
            (&mut port.alias, &*link.alias),
            (&mut port.kind, &*link.kind),
            (&mut port.master, interface.master),
            (&mut port.attach, interface.attach),
            (&mut port.provider, interface.provider),
        ] {
            if text != now {
                now.clone_into(text);
            }
        }
        Some(number)
    }

    fn free_number(&mut self) -> Option<u16> {
        let free = self.interfaces.iter().position(Option::is_none);
        let number = match free {
            Some(free) => free,
            None if self.interfaces.len() < MAX_INTERFACES => {
                self.interfaces.push(None);
                self.interfaces.len() - 1
            }
            None => self.longest_gone()?,
        };
        let number = u16::try_from(number).ok()?;
        self.forget(number);
        Some(number)
    }

    /// Returns the interface that has been missing longest, among those that the previous reading
    /// did not include either.
    fn longest_gone(&self) -> Option<usize> {
        let kept = self.interfaces.iter().enumerate();
        let seen = kept.filter_map(|(number, port)| Some((number, port.as_ref()?.seen)));
        seen.filter(|(_, seen)| seen + 1 < self.readings)
            .min_by_key(|(_, seen)| *seen)
            .map(|(number, _)| number)
    }

    fn forget(&mut self, number: u16) {
        if let Some(port) = self.interfaces[usize::from(number)].take() {
            self.numbers.remove(&port.name);
            self.entries.retain(|key, _| key.scope.interface != number);
        }
    }

    fn read_flows(&mut self, series: &[SeriesRow]) {
        let Self {
            increments,
            entries,
            numbers,
            names,
            ..
        } = self;
        increments.take(series, |text, bytes, packets| {
            let set = SeriesKey::read(text, |ifname| numbers.get(ifname).copied(), names);
            if let Some(set) = set {
                set.add_to(entries, bytes, packets);
            }
        });
    }

    /// Evicts interfaces that have been missing for a day, and names that no line uses.
    fn tidy(&mut self) {
        let readings = self.readings;
        let gone = |port: &InterfaceHistory| port.seen + FORGET_AFTER < readings;
        for number in 0..self.interfaces.len() {
            if self.interfaces[number].as_ref().is_some_and(gone) {
                self.forget(number as u16);
            }
        }
        if self.names.is_grown() {
            self.names.retain_used(self.entries.keys());
        }
    }
}

/// Returns the growth of a counter; a counter that fell was reset to 0.
fn grown(old: u64, new: u64) -> u64 {
    new.checked_sub(old).unwrap_or(new)
}
