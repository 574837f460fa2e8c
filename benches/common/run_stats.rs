// SPDX-License-Identifier: AGPL-3.0-only
//! The kernel's statistics of BPF programs: the number of runs and their time.

use std::collections::HashMap;
use std::io;
use std::os::fd::{FromRawFd, OwnedFd};

use libbpf_rs::query::ProgInfoIter;

/// Enables the statistics while it exists, independently of other users.
pub struct RunStats {
    _enabled: OwnedFd,
}

/// Runs and nanoseconds, by program.
pub type Runs = HashMap<u32, (u64, u64)>;

impl RunStats {
    pub fn enable() -> io::Result<Self> {
        // SAFETY: the call takes a constant, and returns a descriptor or a negative error.
        let fd = unsafe { libbpf_sys::bpf_enable_stats(libbpf_sys::BPF_STATS_RUN_TIME) };
        if fd < 0 {
            return Err(io::Error::from_raw_os_error(-fd));
        }
        // SAFETY: it is a new descriptor, and nothing else owns it.
        let enabled = unsafe { OwnedFd::from_raw_fd(fd) };
        Ok(Self { _enabled: enabled })
    }

    /// Returns the statistics of all TC programs.
    pub fn read(&self) -> Runs {
        ProgInfoIter::default()
            .filter(|info| info.ty == libbpf_rs::ProgramType::SchedCls)
            .map(|info| (info.id, (info.run_cnt, info.run_time_ns)))
            .collect()
    }

    /// Returns the nanoseconds for each run since `before` of the program that ran once for each of these packets.
    pub fn ns_per_run(&self, before: &Runs, packets: u64) -> Option<f64> {
        let grown = self.read().into_iter().filter_map(|(id, (runs, time))| {
            let (runs_before, time_before) = before.get(&id)?;
            Some((runs - runs_before, time - time_before))
        });
        // other programs on this machine receive other packets
        let (runs, time) = grown.min_by_key(|(runs, _)| runs.abs_diff(packets))?;
        let ours = runs.abs_diff(packets) < packets / 100;
        ours.then(|| time as f64 / runs as f64)
    }
}
