// SPDX-License-Identifier: AGPL-3.0-only
//! Puts interfaces under watch: a slot in the kernel's counters, then a program on each hook.

use std::sync::Arc;

use super::{Link, LinkLayer};
use crate::bpf::attach::{self, Hook, HookKind, Position};
use crate::bpf::load::{FrameStart, Loaded};
use crate::errors::{Errors, Subsystem};
use crate::flow::key::Direction;
use crate::interfaces::Interfaces;

/// Which hooks, and how.
#[derive(Clone, Debug)]
pub struct Plan {
    pub kind: HookKind,
    pub position: Position,
    pub directions: Vec<Direction>,
}

/// The programs and where they are attached.
pub struct Watcher {
    loaded: Loaded,
    interfaces: Arc<Interfaces>,
    errors: Arc<Errors>,
    plan: Plan,
    hooks: Vec<Hook>,
}

impl Watcher {
    pub fn new(
        loaded: Loaded,
        interfaces: Arc<Interfaces>,
        errors: Arc<Errors>,
        plan: Plan,
    ) -> Self {
        Self {
            loaded,
            interfaces,
            errors,
            plan,
            hooks: Vec::new(),
        }
    }

    /// Watches one interface. Attaching takes some 13 ms a hook: the kernel waits until no packet is
    /// under way in the old chain. A failure is logged and counted; the other interfaces go on.
    pub fn watch(&mut self, link: &Link) -> bool {
        match self.try_watch(link) {
            Ok(()) => {
                log::info!(
                    "watching {} (ifindex {}) by {}",
                    link.name,
                    link.ifindex,
                    self.plan.kind.name()
                );
                true
            }
            Err(reason) => {
                self.errors.report(Subsystem::Netlink, "attach", || {
                    format!(
                        "cannot watch {} (ifindex {}): {reason}",
                        link.name, link.ifindex
                    )
                });
                false
            }
        }
    }

    fn try_watch(&mut self, link: &Link) -> Result<(), String> {
        let start = match link.layer() {
            LinkLayer::Ethernet => FrameStart::Ethernet,
            LinkLayer::Ip => FrameStart::Ip,
            LinkLayer::Gre => FrameStart::Gre,
            LinkLayer::Unsupported => {
                return Err(format!("links of ARPHRD type {} are not read", link.arphrd));
            }
        };
        let slot = self
            .interfaces
            .assign(link.ifindex, &link.name)
            .ok_or("all slots are taken: agent.bpf.iface_stats_size is too small")?;
        self.loaded
            .assign_slot(link.ifindex, slot, start)
            .map_err(|error| format!("writing its slot: {error}"))?;
        let mut hooks = Vec::with_capacity(self.plan.directions.len());
        for &direction in &self.plan.directions {
            let hook = attach::attach(
                &self.loaded,
                self.plan.kind,
                self.plan.position,
                link.ifindex,
                direction,
            )
            .map_err(|error| format!("attaching at {}: {error}", direction.name()))?;
            hooks.push(hook);
        }
        self.hooks.append(&mut hooks);
        self.interfaces
            .set_attach(link.ifindex, self.plan.kind.name());
        Ok(())
    }

    /// Detaches everything. Each hook returns when no packet is in the program any more. Gives back
    /// the programs, whose maps may still be read.
    pub fn unwatch_all(self) -> Loaded {
        drop(self.hooks);
        self.loaded
    }
}
