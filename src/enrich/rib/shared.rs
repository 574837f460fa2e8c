// SPDX-License-Identifier: AGPL-3.0-only
//! A Rib shared between the threads that write it and the thread that looks up routes.

use std::net::IpAddr;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard};
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded};

use super::lookup::Route;
use super::peer::TableId;
use super::{Rib, RibConfig};

/// Minimum time between two generations, in milliseconds.
const GENERATION_INTERVAL: u64 = 500;
/// How long a writer yields, after its turn, to readers that wait or are active.
const READER_TIMEOUT: Duration = Duration::from_millis(1);
/// Steps of a blackhole search per maintenance run: about 2 million prefixes.
const SEARCH_STEPS: usize = 128;

#[derive(Clone, Debug)]
pub struct SharedRib(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    rib: RwLock<Rib>,
    /// Writers queue here, so that at most one at a time competes with the readers for the Rib: the
    /// standard library's lock prefers writers, and a queue of them would starve readers.
    writers: Mutex<PendingChanges>,
    /// Readers that wait or hold a lookup guard.
    waiting_readers: AtomicUsize,
    generation: AtomicU32,
    /// Contains a message if the blackholes changed and the listener has not received it yet.
    blackholes: (Sender<()>, Receiver<()>),
}

/// Changes that no generation covers yet.
#[derive(Debug, Default)]
struct PendingChanges {
    pending: bool,
    last: Option<u64>,
}

impl SharedRib {
    pub fn new(config: RibConfig) -> Self {
        Self(Arc::new(Inner {
            rib: RwLock::new(Rib::new(config)),
            writers: Mutex::default(),
            waiting_readers: AtomicUsize::new(0),
            generation: AtomicU32::new(0),
            blackholes: bounded(1),
        }))
    }

    /// Returns the table for traffic on an interface enslaved to the VRF device `vrf`, or on any other
    /// interface; `None` if its addresses get no label from BGP. The table stays the same for the life of
    /// the handle.
    pub fn table(&self, vrf: Option<&str>) -> Option<TableId> {
        self.read(|rib| rib.table(vrf))
    }

    pub fn lookup(&self, address: IpAddr, table: TableId) -> Option<Route> {
        self.read(|rib| rib.lookup(address, table))
    }

    pub fn lookup_all<const N: usize>(
        &self,
        addresses: [IpAddr; N],
        table: TableId,
    ) -> [Option<Route>; N] {
        self.read(|rib| rib.lookup_all(addresses, table))
    }

    /// Returns the generation. It advances, at most twice a second, when the result of a lookup may have
    /// changed.
    pub fn generation(&self) -> u32 {
        self.0.generation.load(Ordering::Acquire)
    }

    /// Returns a channel that receives a message when the blackholes have changed. There is one listener.
    pub fn blackholes_changed(&self) -> Receiver<()> {
        self.0.blackholes.1.clone()
    }

    /// Prevents writers from starting another turn for a while: a reader with many lookups waits once for
    /// all of them.
    pub fn lookup_guard(&self) -> LookupGuard {
        self.0.waiting_readers.fetch_add(1, Ordering::AcqRel);
        LookupGuard(self.0.clone())
    }

    pub fn read<R>(&self, f: impl FnOnce(&Rib) -> R) -> R {
        f(&self.guard())
    }

    /// Changes the Rib. `f` must be short: readers wait for it.
    pub fn write<R>(&self, now: u64, f: impl FnOnce(&mut Rib) -> R) -> R {
        let mut changes = self
            .0
            .writers
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let result = {
            let mut rib = self.0.rib.write().unwrap_or_else(PoisonError::into_inner);
            let blackholes = rib.blackhole_generation();
            rib.set_now(now);
            let result = f(&mut rib);
            rib.apply_changes();
            changes.pending |= rib.take_changed();
            if rib.blackhole_generation() != blackholes {
                // if the channel is full, the pending message also covers this change
                let _ = self.0.blackholes.0.try_send(());
            }
            result
        };
        if changes.advance(now) {
            self.0.generation.fetch_add(1, Ordering::Release);
        }
        self.yield_to_readers();
        result
    }

    /// Expires stale routes, frees removed ones, continues the search for blackholes, and publishes changes
    /// that had to wait.
    pub fn maintain(&self, now: u64) {
        while self.write(now, |rib| rib.expire(now)) {}
        while self.write(now, Rib::sweep) {}
        let search = |_: &usize| self.write(now, Rib::search_blackholes);
        (0..SEARCH_STEPS).take_while(search).for_each(drop);
        self.write(now, Rib::compact);
    }

    fn guard(&self) -> RwLockReadGuard<'_, Rib> {
        match self.0.rib.try_read() {
            Ok(guard) => guard,
            Err(_) => {
                let _claim = self.lookup_guard();
                self.0.rib.read().unwrap_or_else(PoisonError::into_inner)
            }
        }
    }

    /// Yields to the readers. Otherwise the thread that has just released the lock acquires it again before
    /// a reader wakes up.
    fn yield_to_readers(&self) {
        let start = Instant::now();
        while self.0.waiting_readers.load(Ordering::Acquire) > 0 && start.elapsed() < READER_TIMEOUT
        {
            thread::yield_now();
        }
    }
}

/// See [`SharedRib::lookup_guard`].
#[derive(Debug)]
pub struct LookupGuard(Arc<Inner>);

impl Drop for LookupGuard {
    fn drop(&mut self) {
        self.0.waiting_readers.fetch_sub(1, Ordering::AcqRel);
    }
}

impl PendingChanges {
    /// Returns whether a new generation begins now.
    fn advance(&mut self, now: u64) -> bool {
        let due = self
            .last
            .is_none_or(|last| now.saturating_sub(last) >= GENERATION_INTERVAL);
        let begins = self.pending && due;
        if begins {
            self.pending = false;
            self.last = Some(now);
        }
        begins
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_generation_comes_at_once_but_not_more_than_twice_a_second() {
        let mut changes = PendingChanges::default();
        let mut change = |pending, now| {
            changes.pending |= pending;
            changes.advance(now)
        };
        assert!(!change(false, 1000));
        assert!(change(true, 1000));
        assert!(!change(true, 1100));
        assert!(!change(false, 1499));
        assert!(change(false, 1500), "what waited is told later");
        assert!(!change(false, 9000));
    }

    #[test]
    fn writers_yield_to_a_lookup_guard_without_starving() {
        let rib = SharedRib::new(RibConfig::default());
        let turns = || {
            let start = Instant::now();
            (0..50).for_each(|_| rib.write(0, |_| {}));
            start.elapsed()
        };
        let guard = rib.lookup_guard();
        let claimed = turns();
        assert!(claimed >= 50 * READER_TIMEOUT, "{claimed:?}");
        assert_eq!(rib.read(Rib::held), 0, "readers are not blocked either");
        drop(guard);
        assert_eq!(rib.0.waiting_readers.load(Ordering::Acquire), 0);
        assert!(turns() < claimed);
    }
}
