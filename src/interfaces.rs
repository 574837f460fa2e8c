// SPDX-License-Identifier: AGPL-3.0-only
//! The book of interfaces: which are watched, under which slot the kernel counts them, what those of
//! the same name counted before, and to which VRF they belong.
//!
//! The kernel's counters of a slot are never zeroed. What a slot showed when an interface got it is taken
//! off; what it showed when the interface left is kept under the name, for the next of that name.

mod refused;

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use crate::flow::thread::InterfaceNames;
use crate::types::counters::HookCounters;
use crate::types::flow::Direction;
use refused::Refused;
pub use refused::Unwatched;

/// A slot is not given away for so long after its interface left: records of it may be in the flow cache
/// for a sweep, and then for another where the ring was full, before they reach ring and channel.
const QUARANTINE: Duration = Duration::from_secs(3);

/// For so long the removal of a hook is a problem that the status reports.
const REMOVAL_SHOWN: Duration = Duration::from_secs(3600);

/// Why an interface has no hook at egress, and the remedy.
pub const NO_EGRESS: &str = "egress is not counted: an ingress qdisc has no hook there; \
    use a clsact qdisc in its place, which takes the same filters, or Linux 6.6";

/// Names whose counters are kept although no interface has them now.
const MAX_PAST: usize = 1024;

/// Of both hooks; index: [`Direction`].
pub type Hooks = [HookCounters; Direction::ALL.len()];

/// One watched interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Watched {
    pub slot: u32,
    pub ifindex: u32,
    pub name: Arc<str>,
    /// How it is attached: "tcx", "clsact"; "none" before and when that failed.
    pub attach: &'static str,
    /// Whether the hook of a [`Direction`] is attached.
    pub hooked: [bool; Direction::ALL.len()],
    /// Hooks that are wanted and that the interface cannot have.
    unsupported: [bool; Direction::ALL.len()],
    /// How often another program removed the hook of a [`Direction`].
    pub removals: [u64; Direction::ALL.len()],
    last_removal: Option<Instant>,
    /// What the slot had counted when it was given to this interface under this name.
    base: Hooks,
    /// What earlier interfaces of this name counted.
    past: Hooks,
}

impl Watched {
    /// What its series say, given what the kernel says.
    pub fn shown(&self, direction: Direction, kernel: HookCounters) -> HookCounters {
        let mut shown = self.own(direction, kernel);
        shown += self.past[direction as usize];
        shown
    }

    /// Problems of its hooks, for an operator.
    pub fn problems(&self, now: Instant) -> Vec<String> {
        let mut problems = Vec::new();
        if self.unsupported[Direction::Egress as usize] {
            problems.push(format!("{}: {NO_EGRESS}", self.name));
        }
        let age = self
            .last_removal
            .map(|at| now.saturating_duration_since(at));
        if let Some(age) = age.filter(|age| *age < REMOVAL_SHOWN) {
            let [ingress, egress] = self.removals;
            problems.push(format!(
                "{}: another program removed hooks of rfm (ingress {ingress} times, egress {egress} times, \
                 last {} s ago), which are attached again; find it with bpftool link or tc monitor",
                self.name,
                age.as_secs()
            ));
        }
        problems
    }

    /// What this interface alone counted.
    pub fn own(&self, direction: Direction, kernel: HookCounters) -> HookCounters {
        kernel - self.base[direction as usize]
    }
}

/// Everything that the kernel's counters must be read for, at one moment.
#[derive(Clone, Debug, Default)]
pub struct Books {
    /// In the order of their slots.
    pub watched: Vec<Watched>,
    /// Interfaces that have left, of which records may still be on their way or be lost.
    pub leaving: Vec<Watched>,
    /// In the order of their ifindexes.
    pub unwatched: Vec<Unwatched>,
    /// Sum over all that has been counted by interfaces that have left.
    pub gone: HookCounters,
}

impl Books {
    /// Sum over the interfaces that have left; `kernel` reads a slot.
    pub fn departed(
        &self,
        kernel: impl Fn(u32, Direction) -> Option<HookCounters>,
    ) -> HookCounters {
        let mut sum = self.gone;
        add_own(&mut sum, &self.leaving, kernel);
        sum
    }

    /// Sum over the interfaces that are or were watched.
    pub fn all_hooks(
        &self,
        kernel: impl Fn(u32, Direction) -> Option<HookCounters>,
    ) -> HookCounters {
        let mut sum = self.departed(&kernel);
        add_own(&mut sum, &self.watched, kernel);
        sum
    }
}

fn add_own(
    sum: &mut HookCounters,
    interfaces: &[Watched],
    kernel: impl Fn(u32, Direction) -> Option<HookCounters>,
) {
    for interface in interfaces {
        for direction in Direction::ALL {
            if let Some(counters) = kernel(interface.slot, direction) {
                *sum += interface.own(direction, counters);
            }
        }
    }
}

/// The watched interfaces, shared by the threads.
pub struct Interfaces {
    slots: u32,
    inner: RwLock<Inner>,
    generation: AtomicU32,
}

#[derive(Default)]
struct Inner {
    /// Index: slot. One that is free tells who had it last.
    slots: Vec<Watched>,
    /// Of those watched.
    slot_of: HashMap<u32, u32>,
    /// Slots in quarantine, and since when; the oldest first.
    leaving: VecDeque<(u32, Instant)>,
    /// Slots to be given again; the one free longest first.
    free: VecDeque<u32>,
    past: HashMap<Arc<str>, Past>,
    past_ttl: Duration,
    gone: HookCounters,
    refused: Refused,
    /// VRF devices of the interfaces that belong to one, watched or not.
    vrf_of: HashMap<u32, Arc<str>>,
}

struct Past {
    hooks: Hooks,
    since: Instant,
}

impl Interfaces {
    /// With room for `slots` interfaces. The counters of a name go on if an interface of that name is
    /// there again within `past_ttl`.
    pub fn new(slots: u32, past_ttl: Duration) -> Self {
        let inner = Inner {
            past_ttl,
            ..Inner::default()
        };
        Self {
            slots,
            inner: RwLock::new(inner),
            generation: AtomicU32::new(0),
        }
    }

    pub fn set_past_ttl(&self, past_ttl: Duration) {
        self.write().past_ttl = past_ttl;
    }

    /// Gives a new interface its slot; `None` when all are taken.
    pub fn assign(&self, ifindex: u32, name: &str, now: Instant) -> Option<u32> {
        let slot = self.write().assign(ifindex, name, now, self.slots);
        // an index may be given again, to an interface of another name
        self.generation.fetch_add(1, Ordering::Release);
        slot
    }

    /// Lists an interface as one that could not be attached.
    pub fn refuse(&self, ifindex: u32, name: &str, reason: &str) {
        self.write().refused.insert(ifindex, name, reason);
    }

    /// Removes it from that list: it is attached, unwanted or gone.
    pub fn settle_refused(&self, ifindex: u32) {
        if self.read().refused.contains(ifindex) {
            self.write().refused.remove(ifindex);
        }
    }

    /// Names the interfaces that could not be attached, and the reason of the first.
    pub fn problem(&self) -> Option<String> {
        self.read().refused.problem()
    }

    /// Says which hooks are attached, and how.
    pub fn set_attach(
        &self,
        ifindex: u32,
        attach: &'static str,
        hooked: [bool; Direction::ALL.len()],
    ) {
        let mut inner = self.write();
        if let Some(&slot) = inner.slot_of.get(&ifindex) {
            let watched = &mut inner.slots[slot as usize];
            watched.attach = attach;
            watched.hooked = hooked;
        }
    }

    /// States which wanted hooks the interface cannot have. Whether this is new.
    pub fn set_unsupported(&self, ifindex: u32, unsupported: [bool; Direction::ALL.len()]) -> bool {
        let mut inner = self.write();
        let Some(&slot) = inner.slot_of.get(&ifindex) else {
            return false;
        };
        let watched = &mut inner.slots[slot as usize];
        std::mem::replace(&mut watched.unsupported, unsupported) != unsupported
    }

    /// Counts a hook that another program removed.
    pub fn count_removal(&self, ifindex: u32, direction: Direction, now: Instant) {
        let mut inner = self.write();
        if let Some(&slot) = inner.slot_of.get(&ifindex) {
            let watched = &mut inner.slots[slot as usize];
            watched.removals[direction as usize] += 1;
            watched.last_removal = Some(now);
        }
    }

    /// From now on an interface counts under another name. `kernel` is what its slot shows now.
    pub fn rename(&self, ifindex: u32, name: &str, kernel: &Hooks, now: Instant) {
        let mut inner = self.write();
        let Some(&slot) = inner.slot_of.get(&ifindex) else {
            return;
        };
        inner.fold(slot, kernel, now);
        let past = inner.take_past(name, now);
        let watched = &mut inner.slots[slot as usize];
        watched.name = name.into();
        watched.past = past;
        self.generation.fetch_add(1, Ordering::Release);
    }

    /// An interface is not watched any more: its hooks are detached. `kernel` is what its slot shows now.
    pub fn release(&self, ifindex: u32, kernel: &Hooks, now: Instant) {
        let mut inner = self.write();
        let Some(slot) = inner.slot_of.remove(&ifindex) else {
            return;
        };
        inner.fold(slot, kernel, now);
        inner.slots[slot as usize].attach = "none";
        inner.leaving.push_back((slot, now));
    }

    /// Frees the slots whose quarantine is over, and forgets old names. `kernel` reads a slot's counters.
    pub fn settle(&self, now: Instant, kernel: impl Fn(u32) -> Option<Hooks>) {
        let mut inner = self.write();
        while let Some(&(slot, since)) = inner.leaving.front()
            && now.saturating_duration_since(since) >= QUARANTINE
        {
            inner.leaving.pop_front();
            if let Some(kernel) = kernel(slot) {
                inner.add_gone(slot, &kernel);
            }
            inner.free.push_back(slot);
        }
        let ttl = inner.past_ttl;
        inner
            .past
            .retain(|_, past| now.saturating_duration_since(past.since) < ttl);
    }

    /// What the slot had counted when it was given to the interface that has it.
    pub fn base(&self, slot: u32) -> Hooks {
        let inner = self.read();
        inner
            .slots
            .get(slot as usize)
            .map_or_else(Hooks::default, |w| w.base)
    }

    pub fn ifindex_of(&self, slot: u32) -> Option<u32> {
        let inner = self.read();
        inner.slots.get(slot as usize).map(|w| w.ifindex)
    }

    /// Also of one that has left, until its slot is given again.
    pub fn name_of(&self, ifindex: u32) -> Option<Arc<str>> {
        let inner = self.read();
        let left = || {
            let leaving = inner.leaving.iter().map(|(slot, _)| slot);
            let mut slots = inner.free.iter().chain(leaving).rev();
            slots.find(|&&slot| inner.slots[slot as usize].ifindex == ifindex)
        };
        let slot = *inner.slot_of.get(&ifindex).or_else(left)?;
        Some(inner.slots[slot as usize].name.clone())
    }

    /// Says for all interfaces there are which VRF device each belongs to.
    pub fn set_vrfs(&self, vrfs: &[(u32, Option<&str>)]) {
        let mut inner = self.write();
        let members = vrfs
            .iter()
            .filter_map(|&(ifindex, vrf)| Some((ifindex, vrf?)));
        let same = members.clone().count() == inner.vrf_of.len()
            && members.clone().all(|(ifindex, vrf)| {
                inner
                    .vrf_of
                    .get(&ifindex)
                    .is_some_and(|held| **held == *vrf)
            });
        if !same {
            inner.vrf_of = members
                .map(|(ifindex, vrf)| (ifindex, vrf.into()))
                .collect();
            self.generation.fetch_add(1, Ordering::Release);
        }
    }

    pub fn vrf_of(&self, ifindex: u32) -> Option<Arc<str>> {
        self.read().vrf_of.get(&ifindex).cloned()
    }

    /// All that are watched now, in the order of their slots.
    pub fn watched(&self) -> Vec<Watched> {
        self.read().watched()
    }

    /// How many are attached now.
    pub fn attached(&self) -> usize {
        let inner = self.read();
        let slots = inner.slot_of.values();
        slots
            .filter(|&&slot| inner.slots[slot as usize].attach != "none")
            .count()
    }

    pub fn books(&self) -> Books {
        let inner = self.read();
        let leaving = inner.leaving.iter();
        Books {
            watched: inner.watched(),
            leaving: leaving
                .map(|&(slot, _)| inner.slots[slot as usize].clone())
                .collect(),
            unwatched: inner.refused.all().cloned().collect(),
            gone: inner.gone,
        }
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, Inner> {
        self.inner.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> std::sync::RwLockWriteGuard<'_, Inner> {
        self.inner.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn assign(&mut self, ifindex: u32, name: &str, now: Instant, slots: u32) -> Option<u32> {
        let (slot, base) = match self.free.pop_front() {
            Some(slot) => (slot, self.slots[slot as usize].base),
            None => (u32::try_from(self.slots.len()).ok()?, Hooks::default()),
        };
        if slot >= slots {
            return None;
        }
        let watched = Watched {
            slot,
            ifindex,
            name: name.into(),
            attach: "none",
            hooked: Default::default(),
            unsupported: Default::default(),
            removals: Default::default(),
            last_removal: None,
            base,
            past: self.take_past(name, now),
        };
        match self.slots.get_mut(slot as usize) {
            Some(before) => *before = watched,
            None => self.slots.push(watched),
        }
        self.slot_of.insert(ifindex, slot);
        Some(slot)
    }

    fn watched(&self) -> Vec<Watched> {
        let mut slots: Vec<_> = self.slot_of.values().collect();
        slots.sort_unstable();
        slots
            .into_iter()
            .map(|&slot| self.slots[slot as usize].clone())
            .collect()
    }

    /// Keeps what was counted under the name that the slot has now.
    fn fold(&mut self, slot: u32, kernel: &Hooks, now: Instant) {
        let watched = &self.slots[slot as usize];
        let hooks = Direction::ALL.map(|d| watched.shown(d, kernel[d as usize]));
        let name = watched.name.clone();
        if self.past.len() >= MAX_PAST && !self.past.contains_key(&name) {
            let oldest = self.past.iter().min_by_key(|(_, past)| past.since);
            if let Some(oldest) = oldest.map(|(name, _)| name.clone()) {
                self.past.remove(&oldest);
            }
        }
        self.past.insert(name, Past { hooks, since: now });
        self.add_gone(slot, kernel);
    }

    /// Moves what the slot counted since its base to what has gone.
    fn add_gone(&mut self, slot: u32, kernel: &Hooks) {
        let watched = &mut self.slots[slot as usize];
        for direction in Direction::ALL {
            self.gone += watched.own(direction, kernel[direction as usize]);
        }
        watched.base = *kernel;
    }

    fn take_past(&mut self, name: &str, now: Instant) -> Hooks {
        match self.past.remove(name) {
            Some(past) if now.saturating_duration_since(past.since) < self.past_ttl => past.hooks,
            _ => Hooks::default(),
        }
    }
}

impl InterfaceNames for Arc<Interfaces> {
    fn generation(&self) -> u32 {
        self.generation.load(Ordering::Acquire)
    }

    fn name(&self, ifindex: u32) -> Option<Arc<str>> {
        self.name_of(ifindex)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::counters::Count;

    const TTL: Duration = Duration::from_secs(60);

    fn counted(packets: u64) -> Hooks {
        let mut hook = HookCounters::default();
        hook.families[0].observed = Count {
            packets,
            bytes: 100 * packets,
        };
        [hook; 2]
    }

    fn packets(hook: HookCounters) -> u64 {
        hook.families[0].observed.packets
    }

    fn shown(interfaces: &Interfaces, name: &str, kernel: &Hooks) -> u64 {
        let watched = interfaces.watched();
        let of_name = watched.iter().find(|w| &*w.name == name).unwrap();
        packets(of_name.shown(Direction::Ingress, kernel[0]))
    }

    #[test]
    fn slots_are_given_in_order_until_they_run_out() {
        let (interfaces, now) = (Interfaces::new(2, TTL), Instant::now());
        assert_eq!(interfaces.assign(70_000, "wan", now), Some(0));
        assert_eq!(interfaces.assign(3, "lan", now), Some(1));
        assert_eq!(interfaces.assign(4, "dmz", now), None);
        assert_eq!(interfaces.ifindex_of(0), Some(70_000));
        assert_eq!(interfaces.ifindex_of(2), None);
        assert_eq!(interfaces.name_of(3).as_deref(), Some("lan"));
        assert_eq!(interfaces.name_of(4), None);
        interfaces.set_attach(3, "tcx", [true, false]);
        let attach: Vec<_> = interfaces.watched().iter().map(|w| w.attach).collect();
        assert_eq!(attach, ["none", "tcx"]);
    }

    #[test]
    fn a_slot_rests_before_it_is_given_again_the_oldest_first() {
        let (interfaces, now) = (Interfaces::new(3, TTL), Instant::now());
        for (ifindex, name) in [(1, "a"), (2, "b"), (3, "c")] {
            interfaces.assign(ifindex, name, now);
        }
        interfaces.release(2, &counted(5), now);
        interfaces.release(1, &counted(7), now);
        interfaces.settle(now + QUARANTINE / 2, |_| Some(counted(0)));
        assert_eq!(interfaces.assign(4, "d", now), None);
        // records that were on their way still find their interface
        assert_eq!(interfaces.ifindex_of(1), Some(2));
        assert_eq!(interfaces.name_of(2).as_deref(), Some("b"));
        let later = now + QUARANTINE;
        interfaces.settle(later, |slot| Some(counted([7, 5][slot as usize])));
        assert_eq!(interfaces.name_of(2).as_deref(), Some("b"));
        assert_eq!(interfaces.assign(4, "d", later), Some(1));
        assert_eq!(interfaces.assign(5, "e", later), Some(0));
        assert_eq!(interfaces.name_of(2), None);
        assert_eq!(shown(&interfaces, "d", &counted(6)), 1);
    }

    #[test]
    fn the_counters_of_a_name_go_on_when_it_comes_back_in_time() {
        let (interfaces, now) = (Interfaces::new(9, TTL), Instant::now());
        interfaces.assign(1, "ppp0", now);
        interfaces.release(1, &counted(100), now);
        interfaces.assign(2, "ppp0", now + TTL / 2);
        assert_eq!(shown(&interfaces, "ppp0", &counted(0)), 100);
        assert_eq!(shown(&interfaces, "ppp0", &counted(11)), 111);
        interfaces.release(2, &counted(11), now + TTL);
        assert_eq!(packets(interfaces.books().gone), 2 * 111);
        // and are forgotten when it does not
        interfaces.assign(3, "ppp0", now + 3 * TTL);
        assert_eq!(shown(&interfaces, "ppp0", &counted(0)), 0);
    }

    #[test]
    fn a_rename_begins_a_new_series_and_advances_the_generation() {
        let (interfaces, now) = (Arc::new(Interfaces::new(9, TTL)), Instant::now());
        interfaces.assign(1, "eth0", now);
        let before = InterfaceNames::generation(&interfaces);
        interfaces.rename(1, "wan", &counted(40), now);
        assert_ne!(InterfaceNames::generation(&interfaces), before);
        assert_eq!(interfaces.name_of(1).as_deref(), Some("wan"));
        assert_eq!(shown(&interfaces, "wan", &counted(42)), 2);
        // the old name is free for another interface, and its counters go on there
        interfaces.assign(2, "eth0", now);
        assert_eq!(shown(&interfaces, "eth0", &counted(3)), 43);
        assert_eq!(packets(interfaces.books().gone), 2 * 40);
    }

    #[test]
    fn what_is_lost_late_is_in_the_totals_once() {
        let (interfaces, now) = (Interfaces::new(9, TTL), Instant::now());
        interfaces.assign(1, "a", now);
        interfaces.release(1, &counted(10), now);
        let books = interfaces.books();
        let late = books.leaving[0].own(Direction::Ingress, counted(12)[0]);
        assert_eq!((packets(late), packets(books.gone)), (2, 20));
        interfaces.settle(now + QUARANTINE, |_| Some(counted(12)));
        let books = interfaces.books();
        assert_eq!((books.leaving.len(), packets(books.gone)), (0, 24));
    }

    #[test]
    fn names_that_do_not_come_back_are_bounded() {
        let (interfaces, now) = (Interfaces::new(9, TTL), Instant::now());
        for n in 0..2 * MAX_PAST as u32 {
            let at = now + Duration::from_micros(n.into());
            interfaces.assign(n, &format!("veth{n}"), at);
            interfaces.release(n, &counted(1), at);
            interfaces.settle(at + QUARANTINE, |_| Some(counted(1)));
        }
        assert_eq!(interfaces.read().past.len(), MAX_PAST);
        assert!(interfaces.read().past.contains_key("veth2047"));
        assert_eq!(interfaces.read().slots.len(), 1);
        interfaces.settle(now + 2 * TTL, |_| None);
        assert!(interfaces.read().past.is_empty());
    }

    #[test]
    fn a_new_vrf_begins_a_new_generation_and_the_same_again_does_not() {
        let interfaces = Arc::new(Interfaces::new(1, TTL));
        let mut seen = Vec::new();
        for device in [None, Some("red"), Some("red"), Some("blue"), None] {
            interfaces.set_vrfs(&[(7, device), (8, None)]);
            assert_eq!(interfaces.vrf_of(7).as_deref(), device);
            seen.push(interfaces.generation());
        }
        assert_eq!(seen, [0, 1, 1, 2, 3]);
        assert_eq!(interfaces.vrf_of(8), None);
    }
}
