// SPDX-License-Identifier: AGPL-3.0-only
//! Attaches the programs to interfaces: assigns a slot of the kernel's counters, then attaches a program to each
//! hook. Detaches in the reverse order.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::time::Instant;

use crate::bpf::attach::{self, Hook};
use crate::bpf::counters::Counters;
use crate::bpf::load::{IngressChecks, LoadedPrograms};
use crate::interfaces::{Hooks, InterfaceRegistry, NO_EGRESS};
use crate::netlink::{Link, LinkType};
use crate::store::event_log;
use crate::sys::error_counters::{ErrorCounters, Subsystem};
use crate::sys::os_error;
use crate::sys::threads::Heartbeat;
use crate::types::event::EventKind;
use crate::types::flow::Direction;
use crate::types::hook::{FrameStart, HookKind, Position};

/// The hooks to attach, and how.
#[derive(Clone, Debug)]
pub struct Plan {
    pub kind: HookKind,
    pub position: Position,
    pub directions: Vec<Direction>,
}

/// The programs, and the interfaces to which they are attached.
pub struct Attacher {
    loaded: LoadedPrograms,
    counters: Counters,
    interfaces: Arc<InterfaceRegistry>,
    errors: Arc<ErrorCounters>,
    plan: Plan,
    /// Packets that IPsec decrypts pass ingress hooks twice.
    ipsec: bool,
    /// By ifindex.
    attached: HashMap<u32, AttachedInterface>,
}

struct AttachedInterface {
    slot: u32,
    name: String,
    start: FrameStart,
    ingress: IngressChecks,
    /// See [`Link::has_ingress`].
    has_ingress: bool,
    /// Index: [`Direction`].
    hooks: [Option<Hook>; Direction::ALL.len()],
    /// Configured, but the interface cannot have it.
    unsupported: [bool; Direction::ALL.len()],
}

/// The result of an attempt to attach to an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttachOutcome {
    Attached,
    /// The error was counted and logged.
    Failed,
    /// The interface was removed meanwhile.
    Removed,
}

impl Attacher {
    pub fn new(
        loaded: LoadedPrograms,
        interfaces: Arc<InterfaceRegistry>,
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

    pub fn interfaces(&self) -> Arc<InterfaceRegistry> {
        self.interfaces.clone()
    }

    pub fn set_directions(&mut self, directions: Vec<Direction>) {
        self.plan.directions = directions;
    }

    /// Sets whether the kernel has IPsec policies; interfaces are updated when they are reconciled.
    pub fn set_ipsec(&mut self, ipsec: bool) {
        self.ipsec = ipsec;
    }

    pub fn is_attached(&self, ifindex: u32) -> bool {
        self.attached.contains_key(&ifindex)
    }

    /// Returns the ifindexes of all attached interfaces.
    pub fn ifindexes(&self) -> Vec<u32> {
        self.attached.keys().copied().collect()
    }

    /// Returns the first header of the link's frames; `None` if rfm does not read them.
    fn start(link: &Link) -> Option<FrameStart> {
        match link.link_type() {
            LinkType::Ethernet => Some(FrameStart::Ethernet),
            LinkType::Ip => Some(FrameStart::Ip),
            LinkType::Gre => Some(FrameStart::Gre),
            LinkType::Unsupported => None,
        }
    }

    /// Attaches to an interface, or updates its hooks and its name. Attaching takes about 13 ms per hook: the
    /// kernel waits until no packet is in the old chain. A failure is logged and counted; other interfaces are
    /// not affected. The link's type must be one that rfm reads. `vrf_member`: its master is a VRF.
    pub fn attach(&mut self, link: &Link, vrf_member: bool) -> AttachOutcome {
        let Some(start) = Self::start(link) else {
            return AttachOutcome::Failed;
        };
        let ingress = IngressChecks {
            ipsec: self.ipsec && !link.is_of_ipsec(),
            vrf_member,
        };
        let known = self.is_attached(link.ifindex);
        let result = match known {
            true => self.update(link, start, ingress),
            false => self.attach_new(link, start, ingress),
        };
        let Err(reason) = result else {
            return AttachOutcome::Attached;
        };
        if !known {
            self.release(link.ifindex);
        }
        if attach::is_removed(link.ifindex) {
            return AttachOutcome::Removed;
        }
        if !known {
            self.interfaces
                .add_failure(link.ifindex, &link.name, &reason);
        }
        self.errors.count_and_log(Subsystem::Netlink, "attach", || {
            format!(
                "cannot monitor {} (ifindex {}): {reason}",
                link.name, link.ifindex
            )
        });
        AttachOutcome::Failed
    }

    fn attach_new(
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
        let attached = AttachedInterface {
            slot,
            name: link.name.clone(),
            start,
            ingress,
            has_ingress: link.has_ingress(),
            hooks: Default::default(),
            unsupported: Default::default(),
        };
        self.attached.insert(link.ifindex, attached);
        self.assign_slot(link.ifindex, slot, start, ingress)?;
        self.set_hooks(link.ifindex)?;
        event_log::record(EventKind::InterfaceUp, &link.name);
        log::info!(
            "watching {} (ifindex {}) by {}",
            link.name,
            link.ifindex,
            self.plan.kind.name()
        );
        Ok(())
    }

    /// Applies changes of a link, or of the plan, since it was attached.
    fn update(
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

    /// Starts new series if the link has a new name. Takes no time.
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
            .map_err(|error| format!("cannot write its entry: {}", os_error::reason(&error)))
    }

    /// Attaches the hooks of the plan, and detaches all others.
    fn set_hooks(&mut self, ifindex: u32) -> Result<(), String> {
        let Some(attached) = self.attached.get_mut(&ifindex) else {
            return Ok(());
        };
        let mut result = Ok(());
        for direction in Direction::ALL {
            let hook = &mut attached.hooks[direction as usize];
            let (kind, position) = (self.plan.kind, self.plan.position);
            attached.unsupported[direction as usize] = false;
            let exists = direction == Direction::Egress || attached.has_ingress;
            if !exists || !self.plan.directions.contains(&direction) {
                *hook = None;
            } else if hook.is_none() && attach::is_unsupported(kind, ifindex, direction) {
                attached.unsupported[direction as usize] = true;
            } else if hook.is_none() {
                match attach::attach(&self.loaded, kind, position, ifindex, direction) {
                    Ok(new) => *hook = Some(new),
                    Err(error) => {
                        self.errors.note_shortage(&error);
                        result = Err(format!(
                            "cannot attach at {} by {}: {}{}",
                            direction.name(),
                            kind.name(),
                            os_error::reason(&error),
                            attach::remedy(&error)
                        ));
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
        let unsupported = attached.unsupported;
        if self.interfaces.set_unsupported(ifindex, unsupported) && unsupported.contains(&true) {
            log::warn!("{}: {NO_EGRESS}", attached.name);
        }
        result
    }

    /// Returns whether a hook of an attached interface has to be attached again: another program removed rfm's
    /// hook, which is counted, or an obstacle no longer exists.
    pub fn has_missing_hooks(&mut self, ifindex: u32) -> bool {
        let Some(attached) = self.attached.get_mut(&ifindex) else {
            return false;
        };
        let kind = self.plan.kind;
        let mut changed = false;
        for direction in Direction::ALL {
            let hook = &mut attached.hooks[direction as usize];
            match hook {
                Some(hook) if hook.is_attached_to(ifindex) => {}
                // the event of the removal will follow
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
                    let was = attached.unsupported[direction as usize];
                    changed |= was && !attach::is_unsupported(kind, ifindex, direction);
                }
            }
        }
        changed
    }

    /// Detaches from an interface that was removed, or that no longer matches the configuration.
    pub fn detach(&mut self, ifindex: u32) {
        if let Some(name) = self.release(ifindex) {
            event_log::record(EventKind::InterfaceGone, &name);
            log::info!("no longer watching {name} (ifindex {ifindex})");
        }
    }

    /// Detaches, clears the entry, frees the slot: in this order nothing counts into the slot of another
    /// interface. A device that moved to another network namespace counts until its hooks are detached.
    fn release(&mut self, ifindex: u32) -> Option<String> {
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

    /// Returns whether every hook of an interface is still attached: while events were lost, another device may
    /// have received the index.
    pub fn is_intact(&self, ifindex: u32) -> bool {
        let attached = self.attached.get(&ifindex);
        attached.is_some_and(|a| {
            a.hooks
                .iter()
                .flatten()
                .all(|hook| hook.is_attached_to(ifindex))
        })
    }

    /// Frees the slots whose quarantine is over.
    pub fn free_slots(&self, now: Instant) {
        self.interfaces
            .free_slots(now, |slot| self.counters.hooks(slot).ok());
    }

    /// Returns the counters of a slot; after an error, those at its assignment.
    fn kernel(&self, slot: u32) -> Hooks {
        self.counters.hooks(slot).unwrap_or_else(|error| {
            self.errors
                .count_and_log(Subsystem::BpfMap, "read", || error.to_string());
            self.interfaces.baseline(slot)
        })
    }

    /// Detaches everything. Each hook returns when no packet is in the program any longer; threads would not make it
    /// faster, because the kernel holds rtnl_lock meanwhile (tcx_link_release of kernel/bpf/tcx.c). Returns the
    /// programs, whose maps may still be read.
    pub fn detach_all(self, heartbeat: &Heartbeat) -> LoadedPrograms {
        for (_, attached) in self.attached {
            heartbeat.beat();
            drop(attached.hooks);
        }
        self.loaded
    }
}
