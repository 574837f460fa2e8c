// SPDX-License-Identifier: AGPL-3.0-only
//! The flow cache, seen from userspace: how large it may be, and how it is emptied at the stop.

use std::io;
use std::time::{Duration, Instant};

use libbpf_rs::{MapCore, MapFlags, MapHandle};

use super::types;

/// The cache takes at most this share of the machine's memory.
const MEMORY_SHARE: u64 = 64;

/// A sweep goes by sixteenths, of sets of two.
pub const MIN_RECORDS: u32 = 32;

/// A timer that is armed runs within a sixteenth of a second; one that does not is given up.
const STOP_TIMEOUT: Duration = Duration::from_secs(2);
const STOP_POLL: Duration = Duration::from_millis(5);

/// Halves the records per CPU until the whole cache fits; 0 if not even the least does. A virtual
/// machine may have 240 possible CPUs and two real ones.
pub fn fit(records: u32, possible_cpus: u64, memory_bytes: u64) -> u32 {
    let entry = size_of::<types::rfm_cache_entry>() as u64;
    let mut records = records;
    while records >= MIN_RECORDS
        && u64::from(records) * entry * possible_cpus > memory_bytes / MEMORY_SHARE
    {
        records /= 2;
    }
    if records < MIN_RECORDS { 0 } else { records }
}

/// What remains in the cache when no program runs any more.
pub struct FlowCache {
    cache: MapHandle,
    cpus: MapHandle,
}

impl FlowCache {
    pub(super) fn new(cache: MapHandle, cpus: MapHandle) -> Self {
        Self { cache, cpus }
    }

    /// Waits until the timers have seen `stopping` and have swept. Call it after the last program
    /// was detached, since a packet would arm a timer again. False if one did not run in time.
    pub fn wait_swept(&self) -> io::Result<bool> {
        let deadline = Instant::now() + STOP_TIMEOUT;
        while self.any_armed()? {
            if Instant::now() >= deadline {
                return Ok(false);
            }
            std::thread::sleep(STOP_POLL);
        }
        Ok(true)
    }

    fn any_armed(&self) -> io::Result<bool> {
        let values = self
            .cpus
            .lookup_percpu(&0_u32.to_ne_bytes(), MapFlags::ANY)
            .map_err(io::Error::other)?
            .unwrap_or_default();
        Ok(values.iter().any(|value| {
            let mut cpu = types::rfm_cpu::default();
            plain::copy_from_bytes(&mut cpu, value).is_ok() && cpu.armed != 0
        }))
    }

    /// Hands over the bytes of every record that the sweep had to leave: the ring was full, or the
    /// CPU is offline.
    pub fn leftovers(&self, mut take: impl FnMut(&[u8])) -> io::Result<()> {
        for index in 0..self.cache.max_entries() {
            let value = self
                .cache
                .lookup(&index.to_ne_bytes(), MapFlags::ANY)
                .map_err(io::Error::other)?
                .unwrap_or_default();
            let mut entry = types::rfm_cache_entry::default();
            if plain::copy_from_bytes(&mut entry, &value).is_ok() && entry.record.sample_rate != 0 {
                take(&value[..size_of::<types::rfm_flow_record>()]);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GB: u64 = 1 << 30;

    #[test]
    fn the_cache_is_halved_until_it_fits_a_64th_of_memory() {
        assert_eq!(fit(8192, 2, GB), 8192);
        assert_eq!(fit(8192, 240, 16 * GB), 8192);
        assert_eq!(fit(8192, 240, GB), 512);
        assert_eq!(fit(8192, 8, GB / 8), 2048);
        assert_eq!(fit(8192, 240, GB / 1024), 0);
        assert_eq!(fit(0, 2, GB), 0);
    }
}
