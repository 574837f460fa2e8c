// SPDX-License-Identifier: AGPL-3.0-only
//! Puts interfaces under watch and lets go of them: a slot in the kernel's counters, then a program on
//! each hook; and back in the other order.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::time::Instant;

use crate::bpf::attach::{self, Hook};
use crate::bpf::counters::Counters;
use crate::bpf::load::{IngressChecks, LoadedPrograms};
use crate::interfaces::{Hooks, Interfaces, NO_EGRESS};
use crate::netlink::{Link, LinkLayer};
use crate::sys::error_counters::{ErrorCounters, Subsystem};
use crate::sys::threads::Heartbeat;
use crate::types::flow::Direction;
use crate::types::hook::{FrameStart, HookKind, Position};

/// Which hooks, and how.
#[derive(Clone, Debug)]
pub struct Plan {
    pub kind: HookKind,
    pub position: Position,
    pub directions: Vec<Direction>,
}

/// The programs and where they are attached.
pub struct Watcher {
    loaded: LoadedPrograms,
    counters: Counters,
    interfaces: Arc<Interfaces>,
    errors: Arc<ErrorCounters>,
    plan: Plan,
    /// Packets that IPsec decrypts pass ingress hooks twice.
    ipsec: bool,
    /// By ifindex.
    attached: HashMap<u32, Attached>,
}

struct Attached {
    slot: u32,
    name: String,
    start: FrameStart,
    ingress: IngressChecks,
    /// See [`Link::has_ingress`].
    has_ingress: bool,
    /// Index: [`Direction`].
    hooks: [Option<Hook>; Direction::ALL.len()],
    /// Wanted, but the interface cannot have it.
    impossible: [bool; Direction::ALL.len()],
}

/// What became of an attempt to watch an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Watched,
    /// Counted and logged.
    Failed,
    /// It vanished meanwhile.
    Gone,
}

impl Watcher {
    pub fn new(
        loaded: LoadedPrograms,
        interfaces: Arc<Interfaces>,
        errors: Arc<ErrorCounters>,
        plan: Plan,
    ) -> io::Result<Self> {
        Ok(Self {
            counters: loaded.counters()?,
            loaded,
            interfaces,
            errors,
            plan,
            ipsec: false,
            attached: HashMap::new(),
        })
    }

    pub fn interfaces(&self) -> Arc<Interfaces> {
        self.interfaces.clone()
    }

    pub fn set_directions(&mut self, directions: Vec<Direction>) {
        self.plan.directions = directions;
    }

    /// States whether the kernel has IPsec policies; interfaces follow when they are looked at.
    pub fn set_ipsec(&mut self, ipsec: bool) {
        self.ipsec = ipsec;
    }

    pub fn is_watched(&self, ifindex: u32) -> bool {
        self.attached.contains_key(&ifindex)
    }

    /// The ifindexes of all that are watched.
    pub fn watched(&self) -> Vec<u32> {
        self.attached.keys().copied().collect()
    }

    /// How frames of the link begin; `None` where they are not read.
    fn start(link: &Link) -> Option<FrameStart> {
        match link.layer() {
            LinkLayer::Ethernet => Some(FrameStart::Ethernet),
            LinkLayer::Ip => Some(FrameStart::Ip),
            LinkLayer::Gre => Some(FrameStart::Gre),
            LinkLayer::Unsupported => None,
        }
    }

    /// Watches one interface as it is now, whether it was watched before or not. Attaching takes some
    /// 13 ms a hook: the kernel waits until no packet is under way in the old chain. A failure is logged
    /// and counted; the other interfaces go on. The link's type must be one that is read. `vrf_member`: its
    /// master is a VRF.
    pub fn watch(&mut self, link: &Link, vrf_member: bool) -> Outcome {
        let Some(start) = Self::start(link) else {
            return Outcome::Failed;
        };
        let ingress = IngressChecks {
            ipsec: self.ipsec && !link.is_of_ipsec(),
            vrf_member,
        };
        let known = self.is_watched(link.ifindex);
        let result = match known {
            true => self.adjust(link, start, ingress),
            false => self.begin(link, start, ingress),
        };
        let Err(reason) = result else {
            return Outcome::Watched;
        };
        if !known {
            self.let_go(link.ifindex);
        }
        if attach::is_removed(link.ifindex) {
            return Outcome::Gone;
        }
        if !known {
            self.interfaces.refuse(link.ifindex, &link.name, &reason);
        }
        self.errors.count_and_log(Subsystem::Netlink, "attach", || {
            format!(
                "cannot watch {} (ifindex {}): {reason}",
                link.name, link.ifindex
            )
        });
        Outcome::Failed
    }

    fn begin(
        &mut self,
        link: &Link,
        start: FrameStart,
        ingress: IngressChecks,
    ) -> Result<(), String> {
        let slot = self
            .interfaces
            .assign(link.ifindex, &link.name, Instant::now())
            .ok_or_else(|| {
                let slots = self.loaded.slots();
                format!(
                    "all {slots} slots are taken; raise agent.bpf.iface_stats_size and restart rfm"
                )
            })?;
        let attached = Attached {
            slot,
            name: link.name.clone(),
            start,
            ingress,
            has_ingress: link.has_ingress(),
            hooks: Default::default(),
            impossible: Default::default(),
        };
        self.attached.insert(link.ifindex, attached);
        self.assign_slot(link.ifindex, slot, start, ingress)?;
        self.set_hooks(link.ifindex)?;
        log::info!(
            "watching {} (ifindex {}) by {}",
            link.name,
            link.ifindex,
            self.plan.kind.name()
        );
        Ok(())
    }

    /// Follows what has changed in a link, or in the plan, since it is watched.
    fn adjust(
        &mut self,
        link: &Link,
        start: FrameStart,
        ingress: IngressChecks,
    ) -> Result<(), String> {
        self.rename(link);
        let Some(attached) = self.attached.get_mut(&link.ifindex) else {
            return Ok(());
        };
        let before = (attached.start, attached.ingress);
        if before != (start, ingress) {
            let slot = attached.slot;
            (attached.start, attached.ingress) = (start, ingress);
            self.assign_slot(link.ifindex, slot, start, ingress)?;
        }
        if before.0 != start {
            log::info!("{}: its type is {} now", link.name, link.kind);
        }
        self.set_hooks(link.ifindex)
    }

    /// Begins a new series if the link has another name than when it was last looked at. Takes no time.
    pub fn rename(&mut self, link: &Link) {
        let Some(attached) = self.attached.get_mut(&link.ifindex) else {
            return;
        };
        if attached.name == link.name {
            return;
        }
        let before = std::mem::replace(&mut attached.name, link.name.clone());
        let slot = attached.slot;
        let kernel = self.kernel(slot);
        self.interfaces
            .rename(link.ifindex, &link.name, &kernel, Instant::now());
        log::info!("{before} is called {} now", link.name);
    }

    fn assign_slot(
        &self,
        ifindex: u32,
        slot: u32,
        start: FrameStart,
        ingress: IngressChecks,
    ) -> Result<(), String> {
        self.loaded
            .assign_slot(ifindex, slot, start, ingress)
            .map_err(|error| format!("writing its slot: {error}"))
    }

    /// Attaches what the plan asks for, and detaches what it does not.
    fn set_hooks(&mut self, ifindex: u32) -> Result<(), String> {
        let Some(attached) = self.attached.get_mut(&ifindex) else {
            return Ok(());
        };
        let mut result = Ok(());
        for direction in Direction::ALL {
            let hook = &mut attached.hooks[direction as usize];
            let (kind, position) = (self.plan.kind, self.plan.position);
            attached.impossible[direction as usize] = false;
            let exists = direction == Direction::Egress || attached.has_ingress;
            if !exists || !self.plan.directions.contains(&direction) {
                *hook = None;
            } else if hook.is_none() && attach::is_unsupported(kind, ifindex, direction) {
                attached.impossible[direction as usize] = true;
            } else if hook.is_none() {
                match attach::attach(&self.loaded, kind, position, ifindex, direction) {
                    Ok(new) => *hook = Some(new),
                    Err(error) => {
                        self.errors.note_shortage(&error);
                        result = Err(format!("attaching at {}: {error}", direction.name()));
                        break;
                    }
                }
            }
        }
        let hooked = attached.hooks.each_ref().map(Option::is_some);
        let kind = match hooked.contains(&true) {
            true => self.plan.kind.name(),
            false => "none",
        };
        self.interfaces.set_attach(ifindex, kind, hooked);
        let impossible = attached.impossible;
        if self.interfaces.set_impossible(ifindex, impossible) && impossible.contains(&true) {
            log::warn!("{}: {NO_EGRESS}", attached.name);
        }
        result
    }

    /// Whether a hook of a watched interface has to be attached: another program removed ours, which is
    /// counted, or an obstacle no longer exists.
    pub fn has_lost(&mut self, ifindex: u32) -> bool {
        let Some(attached) = self.attached.get_mut(&ifindex) else {
            return false;
        };
        let kind = self.plan.kind;
        let mut changed = false;
        for direction in Direction::ALL {
            let hook = &mut attached.hooks[direction as usize];
            match hook {
                Some(there) if there.is_attached_to(ifindex) => {}
                // the event that reports this is on its way
                Some(_) if attach::is_removed(ifindex) => return false,
                Some(_) => {
                    *hook = None;
                    changed = true;
                    let now = Instant::now();
                    self.interfaces.count_removal(ifindex, direction, now);
                    let (name, direction) = (&attached.name, direction.name());
                    self.errors.count_and_log(Subsystem::Netlink, "hook", || {
                        format!(
                            "{name}: another program removed the {} hook of rfm at {direction}; it is attached again",
                            kind.name()
                        )
                    });
                }
                None => {
                    let was = attached.impossible[direction as usize];
                    changed |= was && !attach::is_unsupported(kind, ifindex, direction);
                }
            }
        }
        changed
    }

    /// An interface has vanished, or is not wanted any more.
    pub fn unwatch(&mut self, ifindex: u32) {
        if let Some(name) = self.let_go(ifindex) {
            log::info!("not watching {name} (ifindex {ifindex}) any more");
        }
    }

    /// Detaches, clears the entry, frees the slot: in this order nothing counts into a slot that is not
    /// the interface's. A device that moved to another network namespace counts until its hooks are gone.
    fn let_go(&mut self, ifindex: u32) -> Option<String> {
        let attached = self.attached.remove(&ifindex)?;
        drop(attached.hooks);
        if let Err(error) = self.loaded.clear_slot(ifindex) {
            self.errors
                .count_and_log(Subsystem::BpfMap, "write", || error.to_string());
        }
        let kernel = self.kernel(attached.slot);
        self.interfaces.release(ifindex, &kernel, Instant::now());
        Some(attached.name)
    }

    /// Whether every hook of a watched interface is still in place: an index may have been given to
    /// another device while nobody listened.
    pub fn is_intact(&self, ifindex: u32) -> bool {
        let attached = self.attached.get(&ifindex);
        attached.is_some_and(|a| {
            a.hooks
                .iter()
                .flatten()
                .all(|hook| hook.is_attached_to(ifindex))
        })
    }

    /// Frees the slots whose time has come.
    pub fn settle(&self, now: Instant) {
        self.interfaces
            .settle(now, |slot| self.counters.hooks(slot).ok());
    }

    /// What cannot be read is taken not to have counted.
    fn kernel(&self, slot: u32) -> Hooks {
        self.counters.hooks(slot).unwrap_or_else(|error| {
            self.errors
                .count_and_log(Subsystem::BpfMap, "read", || error.to_string());
            self.interfaces.base(slot)
        })
    }

    /// Detaches everything. Each hook returns when no packet is in the program any longer; threads would not make it
    /// faster, because the kernel holds rtnl_lock meanwhile (tcx_link_release of kernel/bpf/tcx.c). Gives back the
    /// programs, whose maps may still be read.
    pub fn unwatch_all(self, heartbeat: &Heartbeat) -> LoadedPrograms {
        for (_, attached) in self.attached {
            heartbeat.beat();
            drop(attached.hooks);
        }
        self.loaded
    }
}
