// SPDX-License-Identifier: AGPL-3.0-only
//! THREAD rpki: reads the file with the VRPs, and reads it again when it was replaced.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::fs::OFlags;

use super::{SharedVrps, UsedVrps, VrpTable, json};
use crate::enrich::mmdb::FileIdentity;
use crate::sys::error_counters::{ErrorCounters, Subsystem};
use crate::sys::os_error;
use crate::sys::threads::Heartbeat;

/// The key of the configuration that names the file.
pub const KEY: &str = "agent.enrich.rpki.vrps";
/// Maximum size in bytes; the files of 2026 have less than a tenth of it.
const MAX_SIZE: u64 = 1 << 30;
const BUFFER: usize = 1 << 16;
/// How often the file is checked. A changed file is read when two checks in a row find the same state.
const INTERVAL: Duration = Duration::from_secs(1);
const POLL_INTERVAL: Duration = Duration::from_millis(250);

/// Reads a file. `beat` is called from time to time.
pub fn open(path: &Path, beat: &dyn Fn()) -> Result<(UsedVrps, FileIdentity), String> {
    let (file, identity, updated) =
        open_regular(path).map_err(|error| os_error::of_file(&error))?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let source = BeatingReader {
        file: &file,
        left: MAX_SIZE,
        beat,
    };
    let reader = BufReader::with_capacity(BUFFER, source);
    let list = json::read(reader, now.map_or(0, |now| now.as_secs()))?;
    beat();
    let table = VrpTable::build(list).map_err(|error| error.to_string())?;
    beat();
    let after = file.metadata().map_err(|error| os_error::of_file(&error))?;
    if FileIdentity::from(&after) != identity {
        return Err("it changed while it was read".to_owned());
    }
    let used = UsedVrps {
        table: Arc::new(table),
        source: path.display().to_string().into(),
        updated,
    };
    Ok((used, identity))
}

fn open_regular(path: &Path) -> io::Result<(File, FileIdentity, SystemTime)> {
    // Non-blocking: otherwise opening a FIFO waits for a writer.
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(OFlags::NONBLOCK.bits() as i32)
        .open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(io::Error::other("expected a regular file"));
    }
    if metadata.len() > MAX_SIZE {
        let text = format!("expected at most {MAX_SIZE} bytes, got {}", metadata.len());
        return Err(io::Error::other(text));
    }
    Ok((file, FileIdentity::from(&metadata), metadata.modified()?))
}

/// Reads a file that may grow meanwhile, and reports that the thread runs.
struct BeatingReader<'a> {
    file: &'a File,
    left: u64,
    beat: &'a dyn Fn(),
}

impl Read for BeatingReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        (self.beat)();
        let length = buffer.len().min(self.left as usize);
        let read = self.file.read(&mut buffer[..length])?;
        self.left -= read as u64;
        Ok(read)
    }
}

/// The body of thread rpki.
pub fn run(path: &Path, vrps: &SharedVrps, errors: &ErrorCounters, heartbeat: &Heartbeat) {
    let mut file = WatchedVrps::default();
    let mut idle = INTERVAL;
    while !heartbeat.stopping() {
        heartbeat.beat();
        if idle >= INTERVAL {
            idle = Duration::ZERO;
            file.check(path, vrps, errors, &|| heartbeat.beat());
        }
        thread::sleep(POLL_INTERVAL);
        idle += POLL_INTERVAL;
    }
}

/// The known states of the file. Without an identity there is no file, or its metadata cannot be read.
#[derive(Default)]
struct WatchedVrps {
    checked: bool,
    /// The state when the file was last read, successfully or not.
    read: Option<FileIdentity>,
    /// The state at the last check.
    seen: Option<FileIdentity>,
}

impl WatchedVrps {
    /// Reads the file at the start, and later if it changed and has settled. If it cannot be used, the previous VRPs
    /// stay in use.
    fn check(&mut self, path: &Path, vrps: &SharedVrps, errors: &ErrorCounters, beat: &dyn Fn()) {
        let metadata = fs::metadata(path).ok();
        let now = metadata.map(|metadata| FileIdentity::from(&metadata));
        let settled = now == self.seen || !self.checked;
        self.seen = now;
        if !settled || (now == self.read && self.checked) {
            return;
        }
        self.checked = true;
        self.read = now;
        let shown = path.display();
        match open(path, beat) {
            Ok((used, _)) => {
                let [ipv4, ipv6] = used.table.counts();
                log::info!("{shown}: {ipv4} VRPs for IPv4, {ipv6} for IPv6");
                vrps.set(Some(used));
            }
            Err(error) => {
                vrps.set_problem(Some(format!("{shown}: {error}")));
                errors.count_and_log(Subsystem::Rpki, "file", || {
                    format!("{shown}: {error}; the previous VRPs stay in use")
                });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::IpAddr;
    use std::path::PathBuf;
    use std::process;

    use crate::types::validity::RouteValidity::{self, Invalid, NotFound, Valid};

    struct TemporaryFile(PathBuf);

    impl TemporaryFile {
        fn new(name: &str) -> Self {
            let name = format!("rfm-rpki-{name}-{}", process::id());
            Self(std::env::temp_dir().join(name))
        }

        /// Replaces the file, as the programs do.
        fn replace(&self, text: &str) {
            let new = self.0.with_extension("new");
            fs::write(&new, text).unwrap();
            fs::rename(&new, &self.0).unwrap();
        }
    }

    impl Drop for TemporaryFile {
        fn drop(&mut self) {
            let _ = fs::remove_file(&self.0);
        }
    }

    #[test]
    fn a_replaced_file_is_read_and_a_broken_one_keeps_the_previous_vrps() {
        let file = TemporaryFile::new("watched");
        let (vrps, errors) = (SharedVrps::default(), ErrorCounters::default());
        let mut watched = WatchedVrps::default();
        let mut check = || watched.check(&file.0, &vrps, &errors, &|| {});
        let state = || -> Option<RouteValidity> {
            let address = IpAddr::from([10, 0, 0, 1]);
            Some(vrps.get()?.table.validate(address, 8, 64500))
        };
        check();
        assert_eq!(state(), None);
        let problem = vrps.problem().unwrap();
        assert!(
            problem.ends_with("no such file or directory; check the path"),
            "{problem}"
        );
        file.replace(r#"{"roas":[{"asn":64500,"prefix":"10.0.0.0/8"}]}"#);
        check();
        check();
        assert_eq!((state(), vrps.problem()), (Some(Valid), None));
        let before = vrps.generation();
        check();
        assert_eq!(vrps.generation(), before, "the file is read once");
        file.replace(r#"{"roas":[{"asn":64500,"prefix":"10.0.0.0/8"}"#);
        check();
        check();
        assert_eq!(state(), Some(Valid));
        assert!(vrps.problem().unwrap().contains("EOF while parsing a list"));
        assert_eq!(vrps.generation(), before);
        file.replace(r#"{"roas":[{"asn":64501,"prefix":"10.0.0.0/8"}]}"#);
        check();
        assert_eq!(state(), Some(Valid), "it may still change");
        check();
        assert_eq!((state(), vrps.problem()), (Some(Invalid), None));
        assert_ne!(vrps.generation(), before);
        file.replace(r#"{"roas":[{"asn":64501,"prefix":"11.0.0.0/8"}]}"#);
        check();
        check();
        assert_eq!(state(), Some(NotFound));
        fs::remove_file(&file.0).unwrap();
        check();
        check();
        assert_eq!(state(), Some(NotFound));
        assert!(vrps.problem().is_some());
        assert_eq!(errors.get(Subsystem::Rpki), 3);
    }

    #[test]
    fn only_regular_files_are_read() {
        for path in ["/dev/zero", "/tmp"] {
            let error = open(Path::new(path), &|| {}).unwrap_err();
            assert_eq!(error, "expected a regular file", "{path}");
        }
    }
}
