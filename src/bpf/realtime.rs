// SPDX-License-Identifier: AGPL-3.0-only
//! Detects whether this is a PREEMPT_RT kernel, on which BPF programs may preempt each other.
//!
//! `/sys/kernel/realtime` exists only with the RT patches; a kernel built from mainline with PREEMPT_RT lacks
//! it, as Debian's -rt kernels do. The version string and the configuration of the build state it as well.

use std::fs;
use std::io::Read;

use flate2::read::GzDecoder;

/// The limit of a configuration, which usually has about 300 kB.
const MAX_CONFIG: u64 = 4 << 20;

/// The descriptions that a kernel has of itself; empty if it has none.
#[derive(Default)]
struct KernelDescription {
    /// /sys/kernel/realtime
    realtime: String,
    /// `uname -v`
    version: String,
    /// The options of its build.
    config: String,
}

pub fn is_preemptible() -> bool {
    KernelDescription::here().is_realtime()
}

impl KernelDescription {
    fn here() -> Self {
        let uname = rustix::system::uname();
        Self {
            realtime: fs::read_to_string("/sys/kernel/realtime").unwrap_or_default(),
            version: uname.version().to_string_lossy().into_owned(),
            config: config(&uname.release().to_string_lossy()).unwrap_or_default(),
        }
    }

    fn is_realtime(&self) -> bool {
        // kernels before 5.4 wrote a space and had the option FULL
        let named = ["PREEMPT_RT", "PREEMPT RT"].iter();
        let mut options = self.config.lines().map(str::trim);
        self.realtime.trim() == "1"
            || named.clone().any(|name| self.version.contains(name))
            || options.any(|o| matches!(o, "CONFIG_PREEMPT_RT=y" | "CONFIG_PREEMPT_RT_FULL=y"))
    }
}

fn config(release: &str) -> Option<String> {
    if let Ok(packed) = fs::File::open("/proc/config.gz") {
        let mut text = String::new();
        let mut unpacked = GzDecoder::new(packed).take(MAX_CONFIG);
        return unpacked.read_to_string(&mut text).ok().map(|_| text);
    }
    let paths = [
        format!("/boot/config-{release}"),
        format!("/lib/modules/{release}/config"),
    ];
    paths.iter().find_map(|path| fs::read_to_string(path).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kernel(realtime: &str, version: &str, config: &str) -> bool {
        let kernel = KernelDescription {
            realtime: realtime.into(),
            version: version.into(),
            config: config.into(),
        };
        kernel.is_realtime()
    }

    #[test]
    fn each_description_is_enough() {
        assert!(kernel("1\n", "", ""));
        // Debian 12's and 11's
        let version = "#1 SMP PREEMPT_RT Debian 6.1.170-1 (2026-04-30)";
        assert!(kernel("", version, ""));
        assert!(kernel("", "#1 SMP PREEMPT RT Debian 5.3.9-1", ""));
        assert!(kernel(
            "",
            "",
            "CONFIG_PREEMPT_COUNT=y\nCONFIG_PREEMPT_RT=y\n"
        ));
    }

    #[test]
    fn other_kernels_are_not_realtime() {
        let config = "# CONFIG_PREEMPT_RT is not set\nCONFIG_HAVE_PREEMPT_RT=y\nCONFIG_PREEMPT=y\n";
        let version = "#1 SMP PREEMPT_DYNAMIC Debian 6.12.43-1 (2025-08-27)";
        assert!(!kernel("", version, config));
        assert!(!kernel("0\n", "", ""));
    }
}
