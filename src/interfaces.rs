// SPDX-License-Identifier: AGPL-3.0-only
//! The registry of interfaces: the monitored ones, their slots in the kernel's counters, the counters of
//! previous interfaces of the same name, and the VRF of each.
//!
//! The kernel's counters of a slot are never zeroed. The registry stores the counter values at assignment and
//! subtracts them. After an interface is removed it keeps the counters by name, for the next of that name.

mod failed;

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use crate::flow::thread::InterfaceNames;
use crate::types::counters::HookCounters;
use crate::types::flow::Direction;
use crate::types::problem::{Problem, ProblemKind};
use failed::FailedInterfaces;
pub use failed::UnmonitoredInterface;

/// A slot is not assigned again for this time after its interface was removed: its records may be in the flow
/// cache for a sweep, or for two if the ring was full, before they reach ring and channel.
const QUARANTINE: Duration = Duration::from_secs(3);

/// The status reports the removal of a hook as a problem for this time.
const REMOVAL_REPORTED: Duration = Duration::from_secs(3600);

/// The reason why an interface has no hook at egress, and the remedy.
pub const NO_EGRESS: &str = "egress is not counted: an ingress qdisc has no hook there; \
    use a clsact qdisc in its place, which takes the same filters, or Linux 6.6";

/// Maximum number of names whose counters are kept although no interface currently has them.
const MAX_PREVIOUS: usize = 1024;

/// The counters of both hooks; index: [`Direction`].
pub type Hooks = [HookCounters; Direction::ALL.len()];

/// A monitored interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MonitoredInterface {
    pub slot: u32,
    pub ifindex: u32,
    pub name: Arc<str>,
    /// How it is attached: "tcx", "clsact"; "none" before it is attached, and if that failed.
    pub attach: &'static str,
    /// Whether the hook of a [`Direction`] is attached.
    pub has_hook: [bool; Direction::ALL.len()],
    /// Configured hooks that the interface cannot have.
    unsupported: [bool; Direction::ALL.len()],
    /// How often another program removed the hook of a [`Direction`].
    pub removals: [u64; Direction::ALL.len()],
    last_removal: Option<Instant>,
    /// The time at which it was assigned its slot.
    pub assigned: Instant,
    /// The time at which the counters of its name began.
    pub created: Instant,
    /// The counters of the slot when it was assigned to this interface with this name.
    baseline: Hooks,
    /// The counters of previous interfaces of this name.
    previous: Hooks,
}

impl MonitoredInterface {
    /// Returns the values of its series, from the counters of the kernel.
    pub fn total(&self, direction: Direction, kernel: HookCounters) -> HookCounters {
        let mut total = self.own(direction, kernel);
        total += self.previous[direction as usize];
        total
    }

    /// Returns the problems of its hooks, for an operator.
    pub fn problems(&self, now: Instant) -> Vec<Problem> {
        let mut problems = Vec::new();
        if self.unsupported[Direction::Egress as usize] {
            let text = format!("{}: {NO_EGRESS}", self.name);
            problems.push(Problem::new(ProblemKind::InterfaceNotAttached, text));
        }
        let age = self
            .last_removal
            .map(|at| now.saturating_duration_since(at));
        if let Some(age) = age.filter(|age| *age < REMOVAL_REPORTED) {
            let [ingress, egress] = self.removals;
            let text = format!(
                "{}: another program removed hooks of rfm (ingress {ingress} times, egress {egress} times, \
                 last {} s ago), which are attached again",
                self.name,
                age.as_secs()
            );
            problems.push(Problem::new(ProblemKind::HookRemoved, text));
        }
        problems
    }

    /// Returns the counters of this interface, without those of previous interfaces.
    pub fn own(&self, direction: Direction, kernel: HookCounters) -> HookCounters {
        kernel - self.baseline[direction as usize]
    }
}

/// All interfaces whose counters are read, at one moment.
#[derive(Clone, Debug, Default)]
pub struct CounterSnapshot {
    /// In the order of their slots.
    pub monitored: Vec<MonitoredInterface>,
    /// Removed interfaces whose slots still count, or whose records are not all read.
    pub quarantined: Vec<MonitoredInterface>,
    /// In the order of their ifindexes.
    pub unmonitored: Vec<UnmonitoredInterface>,
    /// The sum of the counters of removed interfaces, without those in quarantine.
    pub removed: HookCounters,
}

impl CounterSnapshot {
    /// Returns the sum over the removed interfaces; `kernel` reads a slot.
    pub fn removed_hooks(
        &self,
        kernel: impl Fn(u32, Direction) -> Option<HookCounters>,
    ) -> HookCounters {
        let mut sum = self.removed;
        add_own(&mut sum, &self.quarantined, kernel);
        sum
    }

    /// Returns the sum over all current and previous interfaces.
    pub fn all_hooks(
        &self,
        kernel: impl Fn(u32, Direction) -> Option<HookCounters>,
    ) -> HookCounters {
        let mut sum = self.removed_hooks(&kernel);
        add_own(&mut sum, &self.monitored, kernel);
        sum
    }
}

fn add_own(
    sum: &mut HookCounters,
    interfaces: &[MonitoredInterface],
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

/// The registry, which the threads share.
pub struct InterfaceRegistry {
    slots: u32,
    state: RwLock<State>,
    generation: AtomicU32,
}

#[derive(Default)]
struct State {
    /// Index: slot. A free slot has its last interface.
    slots: Vec<MonitoredInterface>,
    /// The slots of the monitored interfaces, by ifindex.
    slot_of: HashMap<u32, u32>,
    /// Slots in quarantine, and the start of the quarantine; the oldest first.
    quarantined: VecDeque<(u32, Instant)>,
    /// Slots to assign again; the one that has been free longest is first.
    free: VecDeque<u32>,
    previous: HashMap<Arc<str>, PreviousCounters>,
    previous_ttl: Duration,
    removed: HookCounters,
    failed: FailedInterfaces,
    /// VRF devices of the interfaces that belong to one, monitored or not.
    vrf_of: HashMap<u32, Arc<str>>,
    /// Monitored interfaces that sums leave out.
    unsummed: HashSet<u32>,
}

struct PreviousCounters {
    hooks: Hooks,
    created: Instant,
    since: Instant,
}

impl InterfaceRegistry {
    /// Returns a registry of at most `slots` interfaces. The counters of a name continue if an interface of that
    /// name appears again within `previous_ttl`.
    pub fn new(slots: u32, previous_ttl: Duration) -> Self {
        let state = State {
            previous_ttl,
            ..State::default()
        };
        Self {
            slots,
            state: RwLock::new(state),
            generation: AtomicU32::new(0),
        }
    }

    pub fn set_previous_ttl(&self, previous_ttl: Duration) {
        self.write().previous_ttl = previous_ttl;
    }

    /// Assigns a slot to a new interface; `None` if no slot is free.
    pub fn assign(&self, ifindex: u32, name: &str, now: Instant) -> Option<u32> {
        let slot = self.write().assign(ifindex, name, now, self.slots);
        // the index may have belonged to an interface of another name
        self.generation.fetch_add(1, Ordering::Release);
        slot
    }

    /// Lists an interface as one that could not be attached.
    pub fn add_failure(&self, ifindex: u32, name: &str, reason: &str) {
        self.write().failed.insert(ifindex, name, reason);
    }

    /// Removes an interface from that list: it is attached, no longer configured, or removed.
    pub fn clear_failure(&self, ifindex: u32) {
        if self.read().failed.contains(ifindex) {
            self.write().failed.remove(ifindex);
        }
    }

    /// Returns the names of the interfaces that could not be attached, and the reason of the first.
    pub fn problem(&self) -> Option<String> {
        self.read().failed.problem()
    }

    /// Sets which hooks are attached, and how.
    pub fn set_attach(
        &self,
        ifindex: u32,
        attach: &'static str,
        has_hook: [bool; Direction::ALL.len()],
    ) {
        let mut state = self.write();
        if let Some(&slot) = state.slot_of.get(&ifindex) {
            let monitored = &mut state.slots[slot as usize];
            monitored.attach = attach;
            monitored.has_hook = has_hook;
        }
    }

    /// Sets the configured hooks that the interface cannot have. Returns whether this is a change.
    pub fn set_unsupported(&self, ifindex: u32, unsupported: [bool; Direction::ALL.len()]) -> bool {
        let mut state = self.write();
        let Some(&slot) = state.slot_of.get(&ifindex) else {
            return false;
        };
        let monitored = &mut state.slots[slot as usize];
        std::mem::replace(&mut monitored.unsupported, unsupported) != unsupported
    }

    /// Counts a hook that another program removed.
    pub fn count_removal(&self, ifindex: u32, direction: Direction, now: Instant) {
        let mut state = self.write();
        if let Some(&slot) = state.slot_of.get(&ifindex) {
            let monitored = &mut state.slots[slot as usize];
            monitored.removals[direction as usize] += 1;
            monitored.last_removal = Some(now);
        }
    }

    /// Changes the name of an interface. `kernel` are the current counters of its slot.
    pub fn rename(&self, ifindex: u32, name: &str, kernel: &Hooks, now: Instant) {
        let mut state = self.write();
        let Some(&slot) = state.slot_of.get(&ifindex) else {
            return;
        };
        state.fold(slot, kernel, now);
        let (previous, created) = state.take_previous(name, now);
        let monitored = &mut state.slots[slot as usize];
        monitored.name = name.into();
        monitored.previous = previous;
        monitored.created = created;
        self.generation.fetch_add(1, Ordering::Release);
    }

    /// Removes an interface whose hooks are detached. `kernel` are the current counters of its slot.
    pub fn release(&self, ifindex: u32, kernel: &Hooks, now: Instant) {
        let mut state = self.write();
        let Some(slot) = state.slot_of.remove(&ifindex) else {
            return;
        };
        state.fold(slot, kernel, now);
        state.slots[slot as usize].attach = "none";
        state.quarantined.push_back((slot, now));
    }

    /// Frees the slots whose quarantine is over, and expires old names. `kernel` reads the counters of a slot.
    pub fn free_slots(&self, now: Instant, kernel: impl Fn(u32) -> Option<Hooks>) {
        let mut state = self.write();
        while let Some(&(slot, since)) = state.quarantined.front()
            && now.saturating_duration_since(since) >= QUARANTINE
        {
            state.quarantined.pop_front();
            if let Some(kernel) = kernel(slot) {
                state.add_removed(slot, &kernel);
            }
            state.free.push_back(slot);
        }
        let ttl = state.previous_ttl;
        state
            .previous
            .retain(|_, previous| now.saturating_duration_since(previous.since) < ttl);
    }

    /// Returns the counters of the slot when it was assigned to its interface.
    pub fn baseline(&self, slot: u32) -> Hooks {
        let state = self.read();
        state
            .slots
            .get(slot as usize)
            .map_or_else(Hooks::default, |w| w.baseline)
    }

    pub fn ifindex_of(&self, slot: u32) -> Option<u32> {
        let state = self.read();
        state.slots.get(slot as usize).map(|w| w.ifindex)
    }

    /// Returns the name of an interface; for a removed one until its slot is assigned again.
    pub fn name_of(&self, ifindex: u32) -> Option<Arc<str>> {
        let state = self.read();
        let of_removed = || {
            let quarantined = state.quarantined.iter().map(|(slot, _)| slot);
            let mut slots = state.free.iter().chain(quarantined).rev();
            slots.find(|&&slot| state.slots[slot as usize].ifindex == ifindex)
        };
        let slot = *state.slot_of.get(&ifindex).or_else(of_removed)?;
        Some(state.slots[slot as usize].name.clone())
    }

    /// Sets the VRF device of each existing interface.
    pub fn set_vrfs(&self, vrfs: &[(u32, Option<&str>)]) {
        let mut state = self.write();
        let members = vrfs
            .iter()
            .filter_map(|&(ifindex, vrf)| Some((ifindex, vrf?)));
        let same = members.clone().count() == state.vrf_of.len()
            && members.clone().all(|(ifindex, vrf)| {
                state
                    .vrf_of
                    .get(&ifindex)
                    .is_some_and(|held| **held == *vrf)
            });
        if !same {
            state.vrf_of = members
                .map(|(ifindex, vrf)| (ifindex, vrf.into()))
                .collect();
            self.generation.fetch_add(1, Ordering::Release);
        }
    }

    /// Sets the interfaces that sums leave out: internal ones, and those stacked on other monitored ones.
    pub fn set_unsummed(&self, unsummed: HashSet<u32>) {
        if self.read().unsummed != unsummed {
            self.write().unsummed = unsummed;
        }
    }

    pub fn vrf_of(&self, ifindex: u32) -> Option<Arc<str>> {
        self.read().vrf_of.get(&ifindex).cloned()
    }

    /// Returns all monitored interfaces, in the order of their slots.
    pub fn monitored(&self) -> Vec<MonitoredInterface> {
        self.read().monitored()
    }

    /// Returns the number of attached interfaces.
    pub fn attached(&self) -> usize {
        let state = self.read();
        let slots = state.slot_of.values();
        slots
            .filter(|&&slot| state.slots[slot as usize].attach != "none")
            .count()
    }

    pub fn snapshot(&self) -> CounterSnapshot {
        let state = self.read();
        let quarantined = state.quarantined.iter();
        CounterSnapshot {
            monitored: state.monitored(),
            quarantined: quarantined
                .map(|&(slot, _)| state.slots[slot as usize].clone())
                .collect(),
            unmonitored: state.failed.all().cloned().collect(),
            removed: state.removed,
        }
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> std::sync::RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn assign(&mut self, ifindex: u32, name: &str, now: Instant, slots: u32) -> Option<u32> {
        let (slot, baseline) = match self.free.pop_front() {
            Some(slot) => (slot, self.slots[slot as usize].baseline),
            None => (u32::try_from(self.slots.len()).ok()?, Hooks::default()),
        };
        if slot >= slots {
            return None;
        }
        let (previous, created) = self.take_previous(name, now);
        let monitored = MonitoredInterface {
            slot,
            ifindex,
            name: name.into(),
            attach: "none",
            has_hook: Default::default(),
            unsupported: Default::default(),
            removals: Default::default(),
            last_removal: None,
            assigned: now,
            created,
            baseline,
            previous,
        };
        match self.slots.get_mut(slot as usize) {
            Some(before) => *before = monitored,
            None => self.slots.push(monitored),
        }
        self.slot_of.insert(ifindex, slot);
        Some(slot)
    }

    fn monitored(&self) -> Vec<MonitoredInterface> {
        let mut slots: Vec<_> = self.slot_of.values().collect();
        slots.sort_unstable();
        slots
            .into_iter()
            .map(|&slot| self.slots[slot as usize].clone())
            .collect()
    }

    /// Keeps the counters of the slot under its current name.
    fn fold(&mut self, slot: u32, kernel: &Hooks, now: Instant) {
        let monitored = &self.slots[slot as usize];
        let hooks = Direction::ALL.map(|d| monitored.total(d, kernel[d as usize]));
        let (name, created) = (monitored.name.clone(), monitored.created);
        if self.previous.len() >= MAX_PREVIOUS && !self.previous.contains_key(&name) {
            let oldest = self
                .previous
                .iter()
                .min_by_key(|(_, previous)| previous.since);
            if let Some(oldest) = oldest.map(|(name, _)| name.clone()) {
                self.previous.remove(&oldest);
            }
        }
        let counters = PreviousCounters {
            hooks,
            created,
            since: now,
        };
        self.previous.insert(name, counters);
        self.add_removed(slot, kernel);
    }

    /// Adds the counters of the slot since its baseline to those of removed interfaces.
    fn add_removed(&mut self, slot: u32, kernel: &Hooks) {
        let monitored = &mut self.slots[slot as usize];
        for direction in Direction::ALL {
            self.removed += monitored.own(direction, kernel[direction as usize]);
        }
        monitored.baseline = *kernel;
    }

    /// Returns the counters of a name, and the time at which they began.
    fn take_previous(&mut self, name: &str, now: Instant) -> (Hooks, Instant) {
        match self.previous.remove(name) {
            Some(previous) if now.saturating_duration_since(previous.since) < self.previous_ttl => {
                (previous.hooks, previous.created)
            }
            _ => (Hooks::default(), now),
        }
    }
}

impl InterfaceNames for Arc<InterfaceRegistry> {
    fn generation(&self) -> u32 {
        self.generation.load(Ordering::Acquire)
    }

    fn name(&self, ifindex: u32) -> Option<Arc<str>> {
        self.name_of(ifindex)
    }

    fn is_summed(&self, ifindex: u32) -> bool {
        !self.read().unsummed.contains(&ifindex)
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

    fn total(interfaces: &InterfaceRegistry, name: &str, kernel: &Hooks) -> u64 {
        let monitored = interfaces.monitored();
        let of_name = monitored.iter().find(|w| &*w.name == name).unwrap();
        packets(of_name.total(Direction::Ingress, kernel[0]))
    }

    #[test]
    fn slots_are_given_in_order_until_they_run_out() {
        let (interfaces, now) = (InterfaceRegistry::new(2, TTL), Instant::now());
        assert_eq!(interfaces.assign(70_000, "wan", now), Some(0));
        assert_eq!(interfaces.assign(3, "lan", now), Some(1));
        assert_eq!(interfaces.assign(4, "dmz", now), None);
        assert_eq!(interfaces.ifindex_of(0), Some(70_000));
        assert_eq!(interfaces.ifindex_of(2), None);
        assert_eq!(interfaces.name_of(3).as_deref(), Some("lan"));
        assert_eq!(interfaces.name_of(4), None);
        interfaces.set_attach(3, "tcx", [true, false]);
        let attach: Vec<_> = interfaces.monitored().iter().map(|w| w.attach).collect();
        assert_eq!(attach, ["none", "tcx"]);
    }

    #[test]
    fn a_slot_rests_before_it_is_given_again_the_oldest_first() {
        let (interfaces, now) = (InterfaceRegistry::new(3, TTL), Instant::now());
        for (ifindex, name) in [(1, "a"), (2, "b"), (3, "c")] {
            interfaces.assign(ifindex, name, now);
        }
        interfaces.release(2, &counted(5), now);
        interfaces.release(1, &counted(7), now);
        interfaces.free_slots(now + QUARANTINE / 2, |_| Some(counted(0)));
        assert_eq!(interfaces.assign(4, "d", now), None);
        // pending records still find their interface
        assert_eq!(interfaces.ifindex_of(1), Some(2));
        assert_eq!(interfaces.name_of(2).as_deref(), Some("b"));
        let later = now + QUARANTINE;
        interfaces.free_slots(later, |slot| Some(counted([7, 5][slot as usize])));
        assert_eq!(interfaces.name_of(2).as_deref(), Some("b"));
        assert_eq!(interfaces.assign(4, "d", later), Some(1));
        assert_eq!(interfaces.assign(5, "e", later), Some(0));
        assert_eq!(interfaces.name_of(2), None);
        assert_eq!(total(&interfaces, "d", &counted(6)), 1);
    }

    #[test]
    fn the_counters_of_a_name_go_on_when_it_comes_back_in_time() {
        let (interfaces, now) = (InterfaceRegistry::new(9, TTL), Instant::now());
        interfaces.assign(1, "ppp0", now);
        interfaces.release(1, &counted(100), now);
        interfaces.assign(2, "ppp0", now + TTL / 2);
        assert_eq!(total(&interfaces, "ppp0", &counted(0)), 100);
        assert_eq!(total(&interfaces, "ppp0", &counted(11)), 111);
        interfaces.release(2, &counted(11), now + TTL);
        assert_eq!(packets(interfaces.snapshot().removed), 2 * 111);
        // and expire if it does not
        interfaces.assign(3, "ppp0", now + 3 * TTL);
        assert_eq!(total(&interfaces, "ppp0", &counted(0)), 0);
    }

    #[test]
    fn a_rename_begins_a_new_series_and_advances_the_generation() {
        let (interfaces, now) = (Arc::new(InterfaceRegistry::new(9, TTL)), Instant::now());
        interfaces.assign(1, "eth0", now);
        let before = InterfaceNames::generation(&interfaces);
        interfaces.rename(1, "wan", &counted(40), now);
        assert_ne!(InterfaceNames::generation(&interfaces), before);
        assert_eq!(interfaces.name_of(1).as_deref(), Some("wan"));
        assert_eq!(total(&interfaces, "wan", &counted(42)), 2);
        // the old name is free for another interface, which continues its counters
        interfaces.assign(2, "eth0", now);
        assert_eq!(total(&interfaces, "eth0", &counted(3)), 43);
        assert_eq!(packets(interfaces.snapshot().removed), 2 * 40);
    }

    #[test]
    fn counters_that_continue_keep_the_time_at_which_they_began() {
        let (interfaces, now) = (InterfaceRegistry::new(9, TTL), Instant::now());
        let at = |seconds| now + Duration::from_secs(seconds);
        let created = |name: &str| {
            let monitored = interfaces.monitored();
            monitored.iter().find(|m| *m.name == *name).unwrap().created
        };
        interfaces.assign(1, "eth0", at(0));
        interfaces.rename(1, "wan", &counted(40), at(10));
        assert_eq!(created("wan"), at(10));
        interfaces.assign(2, "eth0", at(20));
        assert_eq!(created("eth0"), at(0), "it continues the counters");
        assert_eq!(interfaces.monitored()[1].assigned, at(20));
        interfaces.release(2, &counted(50), at(30));
        let late = at(30) + TTL;
        interfaces.free_slots(late, |_| Some(counted(50)));
        interfaces.assign(3, "eth0", late);
        assert_eq!(created("eth0"), late, "the counters have expired");
    }

    #[test]
    fn what_is_lost_late_is_in_the_totals_once() {
        let (interfaces, now) = (InterfaceRegistry::new(9, TTL), Instant::now());
        interfaces.assign(1, "a", now);
        interfaces.release(1, &counted(10), now);
        let snapshot = interfaces.snapshot();
        let late = snapshot.quarantined[0].own(Direction::Ingress, counted(12)[0]);
        assert_eq!((packets(late), packets(snapshot.removed)), (2, 20));
        interfaces.free_slots(now + QUARANTINE, |_| Some(counted(12)));
        let snapshot = interfaces.snapshot();
        assert_eq!(
            (snapshot.quarantined.len(), packets(snapshot.removed)),
            (0, 24)
        );
    }

    #[test]
    fn names_that_do_not_come_back_are_bounded() {
        let (interfaces, now) = (InterfaceRegistry::new(9, TTL), Instant::now());
        for n in 0..2 * MAX_PREVIOUS as u32 {
            let at = now + Duration::from_micros(n.into());
            interfaces.assign(n, &format!("veth{n}"), at);
            interfaces.release(n, &counted(1), at);
            interfaces.free_slots(at + QUARANTINE, |_| Some(counted(1)));
        }
        assert_eq!(interfaces.read().previous.len(), MAX_PREVIOUS);
        assert!(interfaces.read().previous.contains_key("veth2047"));
        assert_eq!(interfaces.read().slots.len(), 1);
        interfaces.free_slots(now + 2 * TTL, |_| None);
        assert!(interfaces.read().previous.is_empty());
    }

    #[test]
    fn a_new_vrf_begins_a_new_generation_and_the_same_again_does_not() {
        let interfaces = Arc::new(InterfaceRegistry::new(1, TTL));
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
