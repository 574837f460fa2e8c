// SPDX-License-Identifier: AGPL-3.0-only
//! The kernel's statistics of BPF programs: how often each ran, and for how long.

use std::collections::HashMap;
use std::io;
use std::os::fd::{FromRawFd, OwnedFd};

use libbpf_rs::query::ProgInfoIter;

/// Statistics are kept while this lives, whoever else wants them or not.
pub struct RunStats {
    _enabled: OwnedFd,
}

/// By program: runs, nanoseconds.
pub type Runs = HashMap<u32, (u64, u64)>;

impl RunStats {
    pub fn enable() -> io::Result<Self> {
        // SAFETY: the call takes a constant, and answers with a descriptor or a negative error.
        let fd = unsafe { libbpf_sys::bpf_enable_stats(libbpf_sys::BPF_STATS_RUN_TIME) };
        if fd < 0 {
            return Err(io::Error::from_raw_os_error(-fd));
        }
        // SAFETY: it is a new descriptor, and nobody else's.
        let enabled = unsafe { OwnedFd::from_raw_fd(fd) };
        Ok(Self { _enabled: enabled })
    }

    /// Of all TC programs there are.
    pub fn read(&self) -> Runs {
        ProgInfoIter::default()
            .filter(|info| info.ty == libbpf_rs::ProgramType::SchedCls)
            .map(|info| (info.id, (info.run_cnt, info.run_time_ns)))
            .collect()
    }

    /// Nanoseconds for each run, since `before`, of the program that ran for each of these packets.
    pub fn ns_per_run(&self, before: &Runs, packets: u64) -> Option<f64> {
        let grown = self.read().into_iter().filter_map(|(id, (runs, time))| {
            let (runs_before, time_before) = before.get(&id)?;
            Some((runs - runs_before, time - time_before))
        });
        // other programs on this machine see other packets
        let (runs, time) = grown.min_by_key(|(runs, _)| runs.abs_diff(packets))?;
        let ours = runs.abs_diff(packets) < packets / 100;
        ours.then(|| time as f64 / runs as f64)
    }
}
