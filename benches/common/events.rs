// SPDX-License-Identifier: AGPL-3.0-only
//! A reader of ring events that discards them: the minimum cost of every reader.

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle, sleep};
use std::time::Duration;

use libbpf_rs::{MapHandle, RingBufferBuilder};
use rfm::sys::threads::raise_to_real_time;

use super::machine;

/// The same pause as the monitor's in a flood.
const PAUSE: Duration = Duration::from_micros(250);

#[derive(Default)]
struct Shared {
    stop: AtomicBool,
    events: AtomicU64,
    cpu_ns: AtomicU64,
}

/// Reads on the last CPU until it is dropped.
pub struct EventReader {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl EventReader {
    pub fn start(ring: MapHandle) -> Self {
        let shared = Arc::new(Shared::default());
        let theirs = shared.clone();
        let thread = thread::spawn(move || {
            if let Err(error) = read(&ring, &theirs) {
                eprintln!("the reader of events: {error}");
            }
        });
        Self {
            shared,
            thread: Some(thread),
        }
    }

    /// Returns the number of events until now, and their CPU time.
    pub fn so_far(&self) -> (u64, Duration) {
        let load = |value: &AtomicU64| value.load(Ordering::Relaxed);
        let cpu = Duration::from_nanos(load(&self.shared.cpu_ns));
        (load(&self.shared.events), cpu)
    }
}

impl Drop for EventReader {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn read(map: &MapHandle, shared: &Shared) -> Result<(), Box<dyn Error>> {
    machine::pin(machine::last_cpu());
    raise_to_real_time();
    let mut builder = RingBufferBuilder::new();
    builder.add(map, |_| {
        shared.events.fetch_add(1, Ordering::Relaxed);
        0
    })?;
    let ring = builder.build()?;
    while !shared.stop.load(Ordering::Relaxed) {
        sleep(PAUSE);
        ring.consume()?;
        let cpu = machine::thread_time().as_nanos() as u64;
        shared.cpu_ns.store(cpu, Ordering::Relaxed);
    }
    Ok(())
}
