// SPDX-License-Identifier: AGPL-3.0-only
//! Named threads with heartbeats.
//!
//! Every long-lived thread is spawned here, so that `/healthz`, the service manager's watchdog and the final
//! join use the same list. If a thread ends before the agent stops, that is an error: [`Threads::failed`]
//! returns it, and the agent exits with a non-zero code.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use super::signals;

/// A thread whose last heartbeat is older than this counts as stuck.
pub const STALL_AFTER: Duration = Duration::from_secs(10);

/// The longest interval between two checks of a thread that is to end.
const LONGEST_NAP: Duration = Duration::from_millis(50);

/// Stack of every thread: the deepest (TLS-free parsers, hyper) stay below 100 kB.
const STACK_SIZE: usize = 512 * 1024;

/// Gives the calling thread priority over the machine's ordinary work, for the thread that fills the flow table:
/// it does little, but behind a busy process the queue before it overflows within 10 ms. Without CAP_SYS_NICE
/// the priority does not change.
pub fn raise_priority() {
    const NICE: i32 = -10;
    if let Err(error) = rustix::process::setpriority_process(None, NICE) {
        log::debug!("priority of a thread: {error}");
    }
}

/// Gives the calling thread less priority than the machine's ordinary work.
pub fn lower_priority() {
    const NICE: i32 = 10;
    if let Err(error) = rustix::process::setpriority_process(None, NICE) {
        log::debug!("priority of a thread: {error}");
    }
}

/// Gives the calling thread priority over all ordinary threads, for the thread that empties the ring: an
/// ordinary thread that wakes up waits up to 3 ms until the running one has used up its time slice, whatever
/// their priorities, and the ring lasts for 2. The thread sleeps between two rounds, and as long as its queue is
/// full, so that it never keeps a CPU. If real-time priority is not permitted, it calls [`raise_priority`].
pub fn raise_to_real_time() {
    let least = libc::sched_param { sched_priority: 1 };
    // SAFETY: the call reads the structure, which lives until it returns; 0 is the calling thread.
    if unsafe { libc::sched_setscheduler(0, libc::SCHED_RR, &least) } != 0 {
        let error = io::Error::last_os_error();
        log::debug!("real-time priority of a thread: {error}");
        raise_priority();
    }
}

/// The heartbeat of one thread; cloned into the thread, which calls [`Heartbeat::beat`] at least once a second.
#[derive(Clone, Debug)]
pub struct Heartbeat {
    epoch: Instant,
    last_ms: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
}

impl Heartbeat {
    /// Records that the thread is alive.
    pub fn beat(&self) {
        let now = self.epoch.elapsed().as_millis() as u64;
        self.last_ms.store(now, Ordering::Relaxed);
    }

    /// Returns true once the agent requests the end of the thread.
    pub fn stopping(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }

    fn age(&self) -> Duration {
        let now = self.epoch.elapsed().as_millis() as u64;
        Duration::from_millis(now.saturating_sub(self.last_ms.load(Ordering::Relaxed)))
    }
}

struct ThreadEntry {
    name: &'static str,
    heartbeat: Heartbeat,
    stop: Arc<AtomicBool>,
    handle: JoinHandle<()>,
}

/// The agent's threads, in the order in which they were started.
#[derive(Default)]
pub struct Threads {
    entries: Mutex<Vec<ThreadEntry>>,
}

impl Threads {
    pub fn new() -> Self {
        Self::default()
    }

    /// Starts a thread under `name` (at most 15 bytes reach the kernel).
    pub fn spawn<F>(&self, name: &'static str, body: F) -> io::Result<()>
    where
        F: FnOnce(Heartbeat) + Send + 'static,
    {
        let stop = Arc::new(AtomicBool::new(false));
        let heartbeat = Heartbeat {
            epoch: Instant::now(),
            last_ms: Arc::new(AtomicU64::new(0)),
            stop: stop.clone(),
        };
        let theirs = heartbeat.clone();
        let handle = Builder::new()
            .name(name.into())
            .stack_size(STACK_SIZE)
            .spawn(move || {
                // the main thread starts some of them when it receives signals itself
                signals::block(&signals::HANDLED);
                body(theirs);
            })?;
        self.lock().push(ThreadEntry {
            name,
            heartbeat,
            stop,
            handle,
        });
        Ok(())
    }

    /// Returns the first thread that ended without a request.
    pub fn failed(&self) -> Option<&'static str> {
        self.lock()
            .iter()
            .find(|e| e.handle.is_finished())
            .map(|e| e.name)
    }

    /// Returns the threads that ended, or had no heartbeat for [`STALL_AFTER`]; empty if there are none.
    pub fn unhealthy(&self) -> Vec<&'static str> {
        self.lock()
            .iter()
            .filter(|e| e.heartbeat.age() > STALL_AFTER || e.handle.is_finished())
            .map(|e| e.name)
            .collect()
    }

    /// Returns of each thread its name, whether it runs, and the age of its last heartbeat.
    pub fn signs_of_life(&self) -> Vec<(&'static str, bool, Duration)> {
        self.lock()
            .iter()
            .map(|e| {
                let runs = !e.handle.is_finished();
                (e.name, runs, e.heartbeat.age())
            })
            .collect()
    }

    /// Requests the end of the thread `name`, waits for it and removes it. A panic is logged, not passed on.
    pub fn stop(&self, name: &str) {
        self.stop_with(name, &mut |_| {});
    }

    /// As [`Threads::stop`]. Calls `waiting` at least every [`LONGEST_NAP`] with the age of the thread's last
    /// heartbeat.
    pub fn stop_with(&self, name: &str, waiting: &mut dyn FnMut(Duration)) {
        let entry = {
            let mut entries = self.lock();
            let Some(at) = entries.iter().position(|e| e.name == name) else {
                return;
            };
            entries.remove(at)
        };
        entry.stop.store(true, Ordering::Release);
        // it may be parked
        entry.handle.thread().unpark();
        let mut nap = Duration::from_millis(1);
        while !entry.handle.is_finished() {
            waiting(entry.heartbeat.age());
            std::thread::sleep(nap);
            nap = (2 * nap).min(LONGEST_NAP);
        }
        if entry.handle.join().is_err() {
            log::error!("thread {name} panicked");
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<ThreadEntry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_ends_unasked_is_reported() {
        let threads = Threads::new();
        threads.spawn("short", |_| {}).unwrap();
        let deadline = Instant::now() + Duration::from_secs(5);
        while threads.failed().is_none() && Instant::now() < deadline {
            std::thread::yield_now();
        }
        assert_eq!(threads.failed(), Some("short"));
        assert_eq!(threads.unhealthy(), ["short"]);
    }

    #[test]
    fn a_thread_that_was_asked_to_end_is_not_a_failure() {
        let threads = Threads::new();
        threads
            .spawn("loop", |hb| {
                while !hb.stopping() {
                    hb.beat();
                    std::thread::sleep(Duration::from_millis(1));
                }
            })
            .unwrap();
        assert_eq!(threads.failed(), None);
        threads.stop("loop");
        assert_eq!(threads.failed(), None);
    }

    #[test]
    fn whoever_waits_for_a_thread_sees_its_signs_of_life() {
        let threads = Threads::new();
        let end = |heartbeat: Heartbeat| {
            while !heartbeat.stopping() {
                std::thread::sleep(Duration::from_millis(1));
            }
            for _ in 0..30 {
                heartbeat.beat();
                std::thread::sleep(Duration::from_millis(10));
            }
        };
        threads.spawn("slow", end).unwrap();
        let mut ages = Vec::new();
        threads.stop_with("slow", &mut |age| ages.push(age));
        assert!(ages.len() >= 3, "{ages:?}");
        assert!(ages.iter().all(|age| *age < STALL_AFTER), "{ages:?}");
    }
}
