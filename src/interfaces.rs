// SPDX-License-Identifier: AGPL-3.0-only
//! Which interfaces are watched, under which slot the kernel counts them, and to which VRF they belong.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use crate::flow::worker::Names;

/// One watched interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Watched {
    pub slot: u32,
    pub ifindex: u32,
    pub name: Arc<str>,
    /// How it is attached: "tcx", "clsact"; "none" before and when that failed.
    pub attach: &'static str,
}

/// The watched interfaces, shared by the threads.
pub struct Interfaces {
    slots: u32,
    inner: RwLock<Inner>,
    generation: AtomicU32,
}

#[derive(Default)]
struct Inner {
    /// Index: slot.
    watched: Vec<Watched>,
    slot_of: HashMap<u32, u32>,
    /// VRF devices of the interfaces that belong to one, watched or not.
    vrf_of: HashMap<u32, Arc<str>>,
}

impl Interfaces {
    /// With room for `slots` interfaces.
    pub fn new(slots: u32) -> Self {
        Self {
            slots,
            inner: RwLock::default(),
            generation: AtomicU32::new(0),
        }
    }

    /// Gives a new interface its slot; `None` when all are taken.
    pub fn assign(&self, ifindex: u32, name: &str) -> Option<u32> {
        let mut inner = self.write();
        let slot = u32::try_from(inner.watched.len()).ok()?;
        if slot >= self.slots {
            return None;
        }
        inner.slot_of.insert(ifindex, slot);
        inner.watched.push(Watched {
            slot,
            ifindex,
            name: name.into(),
            attach: "none",
        });
        Some(slot)
    }

    pub fn set_attach(&self, ifindex: u32, attach: &'static str) {
        let mut inner = self.write();
        if let Some(&slot) = inner.slot_of.get(&ifindex) {
            inner.watched[slot as usize].attach = attach;
        }
    }

    pub fn ifindex_of(&self, slot: u32) -> Option<u32> {
        let inner = self.read();
        inner.watched.get(slot as usize).map(|w| w.ifindex)
    }

    pub fn name_of(&self, ifindex: u32) -> Option<Arc<str>> {
        let inner = self.read();
        let slot = *inner.slot_of.get(&ifindex)?;
        Some(inner.watched[slot as usize].name.clone())
    }

    /// Says which VRF device an interface belongs to; `None` for no VRF, and when it is gone.
    pub fn set_vrf(&self, ifindex: u32, device: Option<&str>) {
        let mut inner = self.write();
        if inner.vrf_of.get(&ifindex).map(|held| &**held) == device {
            return;
        }
        match device {
            Some(device) => drop(inner.vrf_of.insert(ifindex, device.into())),
            None => drop(inner.vrf_of.remove(&ifindex)),
        }
        self.generation.fetch_add(1, Ordering::Release);
    }

    pub fn vrf_of(&self, ifindex: u32) -> Option<Arc<str>> {
        self.read().vrf_of.get(&ifindex).cloned()
    }

    /// All of them, in the order of their slots.
    pub fn watched(&self) -> Vec<Watched> {
        self.read().watched.clone()
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, Inner> {
        self.inner.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> std::sync::RwLockWriteGuard<'_, Inner> {
        self.inner.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Names for Arc<Interfaces> {
    /// Names do not change while an interface is watched, but what it is enslaved to does.
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

    #[test]
    fn slots_are_given_in_order_until_they_run_out() {
        let interfaces = Interfaces::new(2);
        assert_eq!(interfaces.assign(70_000, "wan"), Some(0));
        assert_eq!(interfaces.assign(3, "lan"), Some(1));
        assert_eq!(interfaces.assign(4, "dmz"), None);
        assert_eq!(interfaces.ifindex_of(0), Some(70_000));
        assert_eq!(interfaces.ifindex_of(2), None);
        assert_eq!(interfaces.name_of(3).as_deref(), Some("lan"));
        assert_eq!(interfaces.name_of(4), None);
        interfaces.set_attach(3, "tcx");
        let attach: Vec<_> = interfaces.watched().iter().map(|w| w.attach).collect();
        assert_eq!(attach, ["none", "tcx"]);
    }

    #[test]
    fn a_new_vrf_begins_a_new_generation_and_the_same_again_does_not() {
        let interfaces = Arc::new(Interfaces::new(1));
        let mut seen = Vec::new();
        for device in [None, Some("red"), Some("red"), Some("blue"), None] {
            interfaces.set_vrf(7, device);
            assert_eq!(interfaces.vrf_of(7).as_deref(), device);
            seen.push(interfaces.generation());
        }
        assert_eq!(seen, [0, 1, 1, 2, 3]);
        assert_eq!(interfaces.vrf_of(8), None);
    }
}
