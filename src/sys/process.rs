// SPDX-License-Identifier: AGPL-3.0-only
//! Reads the kernel's statistics of this process, for the `process_*` series.

use std::{fs, io};

use rustix::param;
use rustix::process::{self, Resource};
use rustix::time::{self, ClockId};

use crate::sys::os_error;

/// The process at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ProcessStats {
    pub cpu_seconds: f64,
    pub resident_bytes: u64,
    pub virtual_bytes: u64,
    /// Seconds since the Unix epoch.
    pub start_time: f64,
    pub open_fds: u64,
    /// `None` if there is no limit.
    pub max_fds: Option<u64>,
    pub threads: u64,
}

/// Reads [`ProcessStats`]. It reads the start time only once, since that never changes.
pub struct ProcessReader {
    start_time: f64,
}

impl ProcessReader {
    pub fn new() -> io::Result<Self> {
        let ticks = Stat::read()?.start_ticks;
        Ok(Self {
            start_time: boot_time() + ticks as f64 / param::clock_ticks_per_second() as f64,
        })
    }

    /// Returns the start time of the process: seconds since the Unix epoch.
    pub fn start_time(&self) -> f64 {
        self.start_time
    }

    pub fn read(&self) -> io::Result<ProcessStats> {
        let stat = Stat::read()?;
        let cpu = time::clock_gettime(ClockId::ProcessCPUTime);
        Ok(ProcessStats {
            cpu_seconds: cpu.tv_sec as f64 + cpu.tv_nsec as f64 / 1e9,
            resident_bytes: stat.resident_pages * param::page_size() as u64,
            virtual_bytes: stat.virtual_bytes,
            start_time: self.start_time,
            open_fds: open_fds()?,
            max_fds: process::getrlimit(Resource::Nofile).current,
            threads: stat.threads,
        })
    }
}

/// Returns the number of open descriptors. Since Linux 6.2 it is the size of the directory; older kernels report
/// 0.
fn open_fds() -> io::Result<u64> {
    match fs::metadata("/proc/self/fd")?.len() {
        // One of the entries is the descriptor that reads them.
        0 => Ok((fs::read_dir("/proc/self/fd")?.count() as u64).saturating_sub(1)),
        open => Ok(open),
    }
}

/// Fields of /proc/self/stat (Documentation/filesystems/proc.rst, table 1-4).
#[derive(Debug, PartialEq, Eq)]
struct Stat {
    threads: u64,
    start_ticks: u64,
    virtual_bytes: u64,
    resident_pages: u64,
}

impl Stat {
    fn read() -> io::Result<Self> {
        const PATH: &str = "/proc/self/stat";
        let text = fs::read_to_string(PATH).map_err(|error| {
            let mounted = fs::exists("/proc/self").unwrap_or(false);
            let remedy = if mounted {
                ""
            } else {
                "; /proc is not mounted: mount -t proc proc /proc"
            };
            io::Error::new(
                error.kind(),
                format!("{PATH}: {}{remedy}", os_error::reason(&error)),
            )
        })?;
        Self::parse(&text)
    }

    fn parse(text: &str) -> io::Result<Self> {
        // The second field is the program's name in parentheses, and may contain any character.
        let after_name = text.rfind(')').map_or("", |at| &text[at + 1..]);
        let fields: Vec<&str> = after_name.split_ascii_whitespace().collect();
        // Numbered as in proc(5), where the name is field 2.
        let field = |number: usize| {
            fields
                .get(number - 3)
                .and_then(|f| f.parse().ok())
                .ok_or_else(|| invalid(format!("/proc/self/stat has no number in field {number}")))
        };
        Ok(Self {
            threads: field(20)?,
            start_ticks: field(22)?,
            virtual_bytes: field(23)?,
            resident_pages: field(24)?,
        })
    }
}

/// Returns the time at which the system booted. /proc/stat has it as well, but a service may be unable to read
/// that file.
fn boot_time() -> f64 {
    let seconds = |clock| {
        let time = time::clock_gettime(clock);
        time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
    };
    seconds(ClockId::Realtime) - seconds(ClockId::Boottime)
}

fn invalid(message: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, message)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant, SystemTime};

    use super::*;

    #[test]
    fn a_name_with_parentheses_and_spaces_shifts_no_field() {
        let text = "7 (a) b (c) S 1 7 7 0 -1 4194560 100 0 0 0 5 6 0 0 20 0 3 0 \
                    4200 1048576 256 18446744073709551615 1 1 0\n";
        let expected = Stat {
            threads: 3,
            start_ticks: 4200,
            virtual_bytes: 1_048_576,
            resident_pages: 256,
        };
        assert_eq!(Stat::parse(text).unwrap(), expected);
        for broken in [
            "",
            ")",
            "7 (a) S 1 2",
            "7 (a) S x x x x x x x x x x x x x x x x x x x x x x",
        ] {
            assert!(Stat::parse(broken).is_err(), "{broken:?}");
        }
    }

    #[test]
    fn the_boot_time_is_that_of_the_kernel() {
        let stat = fs::read_to_string("/proc/stat").unwrap();
        let line = stat.lines().find_map(|line| line.strip_prefix("btime "));
        let kernel: f64 = line.unwrap().parse().unwrap();
        assert!((boot_time() - kernel).abs() < 2.0, "{}", boot_time());
    }

    #[test]
    fn the_figures_follow_what_the_process_does() {
        let reader = ProcessReader::new().unwrap();
        let before = reader.read().unwrap();
        let now = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap()
            .as_secs_f64();
        assert!(
            (now - before.start_time).abs() < 600.0,
            "{}",
            before.start_time
        );
        assert!(before.max_fds.is_none_or(|max| max >= before.open_fds));

        let files: Vec<_> = (0..50)
            .map(|_| fs::File::open("/dev/null").unwrap())
            .collect();
        let (stop, stopped) = std::sync::mpsc::channel::<()>();
        let thread = std::thread::spawn(move || stopped.recv());
        let spin = Instant::now();
        while spin.elapsed() < Duration::from_millis(50) {}
        let after = reader.read().unwrap();
        drop(stop);
        let _ = thread.join();

        // Other tests run at the same time, and also open and close files.
        assert!(after.open_fds >= before.open_fds + 40, "{after:?}");
        assert!(after.virtual_bytes >= after.resident_bytes);
        assert!(after.cpu_seconds > before.cpu_seconds + 0.005);
        assert!(after.threads >= 2);
        drop(files);
    }

    #[test]
    fn resident_memory_grows_with_what_is_written() {
        let reader = ProcessReader::new().unwrap();
        let resident = || reader.read().unwrap().resident_bytes;
        // other tests run at the same time, and free memory
        let grows = (0..20).any(|_| {
            let before = resident();
            let memory = std::hint::black_box(vec![1u8; 64 << 20]);
            resident() >= before + memory.len() as u64 / 2
        });
        assert!(grows);
    }
}
