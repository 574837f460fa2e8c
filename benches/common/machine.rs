// SPDX-License-Identifier: AGPL-3.0-only
//! The machine of the figures, and CPU time on it.

use std::fs;
use std::time::Duration;

use rustix::thread::{CpuSet, sched_setaffinity};
use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Machine {
    pub cpu: String,
    pub cores: usize,
    pub kernel: String,
    pub memory_mb: u64,
    /// Whether it runs under a hypervisor: then clocks and interrupts cost more.
    pub virtual_machine: bool,
}

impl Machine {
    pub fn here() -> Self {
        let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let meminfo = fs::read_to_string("/proc/meminfo").unwrap_or_default();
        let memory_kb = after(&meminfo, "MemTotal")
            .and_then(|value| value.split(' ').next()?.parse::<u64>().ok());
        Self {
            cpu: after(&cpuinfo, "model name")
                .unwrap_or("unknown")
                .to_owned(),
            // the cores of the machine, not only those that this thread may use
            cores: cpuinfo
                .lines()
                .filter(|line| line.starts_with("processor"))
                .count(),
            kernel: rustix::system::uname()
                .release()
                .to_string_lossy()
                .into_owned(),
            memory_mb: memory_kb.unwrap_or(0) / 1000,
            virtual_machine: after(&cpuinfo, "flags")
                .is_some_and(|flags| flags.split(' ').any(|flag| flag == "hypervisor")),
        }
    }
}

/// Returns the value after a colon in the first line that begins with `name`.
fn after<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let line = text.lines().find(|line| line.starts_with(name))?;
    line.split_once(':').map(|(_, value)| value.trim())
}

/// Returns the CPU time of this thread, without any other work of the machine.
pub fn thread_time() -> Duration {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(now.tv_sec as u64, now.tv_nsec as u32)
}

/// Keeps this thread on one CPU.
pub fn pin(cpu: usize) {
    let mut cpus = CpuSet::new();
    cpus.set(cpu);
    // fails for an offline CPU: the figures then have a wider spread
    let _ = sched_setaffinity(None, &cpus);
}

/// Returns the last CPU: the first one handles most interrupts of devices.
pub fn last_cpu() -> usize {
    std::thread::available_parallelism().map_or(0, |count| count.get() - 1)
}
