// SPDX-License-Identifier: AGPL-3.0-only
//! The lock that an agent holds while it makes its socket: two agents that start at once must not both
//! find the previous socket unused and remove each other's.
//!
//! It is on a file of its own, which only the agent's user can open. A user who may read the folder can
//! open the folder, and flock(2) needs no more than that.

use std::fs::{File, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, Mode, OFlags};
use rustix::io::Errno;

use crate::sys::os_error;

/// The longest wait for another agent's lock: creating a socket takes less than a millisecond.
const TIMEOUT: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(20);

/// Locks the file beside `socket`. If that fails, the agent starts without the lock, and logs the cause.
pub(super) fn acquire(socket: &Path) -> Option<File> {
    let path = beside(socket);
    open(&path)
        .and_then(|file| lock(&file, TIMEOUT).map(|()| file))
        .inspect_err(|error| {
            log::warn!(
                "cannot lock {}: {}; starting without the lock, which matters only if another agent \
                 with the same socket starts now",
                path.display(),
                os_error::reason(error)
            );
        })
        .ok()
}

fn beside(socket: &Path) -> PathBuf {
    let mut name = socket.as_os_str().to_owned();
    name.push(".lock");
    name.into()
}

/// Opens or creates a regular file that only the agent's user and root can open.
fn open(path: &Path) -> io::Result<File> {
    // NONBLOCK: opening a FIFO waits for its other end
    let flags =
        OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let file = File::from(rustix::fs::open(path, flags, Mode::RUSR | Mode::WUSR)?);
    let metadata = file.metadata()?;
    let own = rustix::process::geteuid().as_raw();
    if !metadata.is_file() {
        return Err(io::Error::other("expected a regular file"));
    }
    if metadata.uid() != own {
        let owner = metadata.uid();
        return Err(io::Error::other(format!(
            "expected a file of user {own}, got one of user {owner}"
        )));
    }
    if metadata.mode() & 0o077 != 0 {
        file.set_permissions(Permissions::from_mode(0o600))?;
    }
    Ok(file)
}

fn lock(file: &File, timeout: Duration) -> io::Result<()> {
    let start = Instant::now();
    let mut logged = false;
    loop {
        match rustix::fs::flock(file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(()),
            Err(Errno::WOULDBLOCK) if start.elapsed() < timeout => {
                if !logged {
                    logged = true;
                    log::info!("another agent is making the control socket: waiting for it");
                }
                thread::sleep(PAUSE);
            }
            Err(Errno::WOULDBLOCK) => {
                let held = format!("another process holds it for more than {timeout:?}");
                return Err(io::Error::other(held));
            }
            Err(errno) => return Err(errno.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    struct TempFolder(PathBuf);

    impl TempFolder {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("rfm-lock-{name}-{}", std::process::id()));
            fs::create_dir_all(&path).unwrap();
            Self(path)
        }
    }

    impl Drop for TempFolder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn one_agent_at_a_time_and_no_other_user() {
        let folder = TempFolder::new("one");
        let socket = folder.0.join("rfm.sock");
        fs::write(beside(&socket), "").unwrap();
        fs::set_permissions(beside(&socket), Permissions::from_mode(0o666)).unwrap();
        let held = acquire(&socket).unwrap();
        assert_eq!(held.metadata().unwrap().mode() & 0o777, 0o600);
        let second = open(&beside(&socket)).unwrap();
        let error = lock(&second, Duration::from_millis(50)).unwrap_err();
        assert!(error.to_string().contains("holds it"), "{error}");
        drop(held);
        lock(&second, Duration::ZERO).unwrap();
    }

    #[test]
    fn neither_a_fifo_nor_a_link_is_waited_for() {
        let folder = TempFolder::new("kinds");
        let fifo = folder.0.join("fifo");
        let name = std::ffi::CString::new(fifo.as_os_str().as_encoded_bytes()).unwrap();
        // SAFETY: the path is a string that ends in NUL and outlives the call.
        assert_eq!(unsafe { libc::mkfifo(name.as_ptr(), 0o600) }, 0);
        assert!(open(&fifo).is_err());
        let link = folder.0.join("link");
        std::os::unix::fs::symlink(folder.0.join("target"), &link).unwrap();
        assert!(open(&link).is_err());
        assert!(!folder.0.join("target").exists());
    }
}
