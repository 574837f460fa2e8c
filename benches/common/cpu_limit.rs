// SPDX-License-Identifier: AGPL-3.0-only
//! A control group that limits the CPU time of a process: `cpu.max`, or its equivalent in version 1.

use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{fs, io};

/// The group; the limit ends with it.
pub struct CpuLimit {
    folder: PathBuf,
    /// The file that has the processes of the group above.
    above: PathBuf,
    pid: u32,
}

impl CpuLimit {
    /// Limits a process to `run` in each `period`. Real-time threads are not limited.
    pub fn new(pid: u32, run: Duration, period: Duration) -> io::Result<Self> {
        let root = Path::new("/sys/fs/cgroup");
        let is_unified = root.join("cgroup.controllers").exists();
        let root = if is_unified {
            root.into()
        } else {
            root.join("cpu")
        };
        let folder = root.join(format!("rfm-bench-{pid}"));
        let write = |name: &str, value: String| fs::write(folder.join(name), value);
        if is_unified {
            fs::write(root.join("cgroup.subtree_control"), "+cpu")?;
        }
        fs::create_dir(&folder)?;
        let limit = Self {
            above: root.join("cgroup.procs"),
            folder: folder.clone(),
            pid,
        };
        let (run, period) = (run.as_micros(), period.as_micros());
        if is_unified {
            write("cpu.max", format!("{run} {period}"))?;
        } else {
            // a group without time for real-time threads accepts none; some kernels have no such limit
            let time = "cpu.rt_runtime_us";
            if folder.join(time).exists() {
                write(time, "900000".into())?;
            }
            write("cpu.cfs_period_us", period.to_string())?;
            write("cpu.cfs_quota_us", run.to_string())?;
        }
        write("cgroup.procs", pid.to_string())?;
        Ok(limit)
    }
}

impl Drop for CpuLimit {
    fn drop(&mut self) {
        // fails if the process has ended
        let _ = fs::write(&self.above, self.pid.to_string());
        let _ = fs::remove_dir(&self.folder);
    }
}
