// SPDX-License-Identifier: AGPL-3.0-only
//! Descriptors that the service manager keeps while the service restarts (FDSTORE of sd_notify(3)): this process receives
//! those of the previous one at its start, and hands over its own. The manager closes them when the service is stopped.

use std::os::fd::{BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::{env, io};

use rustix::io::{FdFlags, fcntl_setfd};
use rustix::net::{
    AddressFamily, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketAddrUnix,
    SocketFlags, SocketType, sendmsg_addr, socket_with,
};

use super::systemd::NOTIFY_SOCKET;
use crate::sys::os_error;

/// The first descriptor that a service manager passes (sd_listen_fds(3)).
const FIRST: RawFd = 3;

/// More descriptors are not accepted: a service manager passes at most FileDescriptorStoreMax.
const MAX: RawFd = 65_536;

/// Whether the descriptors were received: each has one owner.
static RECEIVED: AtomicBool = AtomicBool::new(false);

/// The store of the service manager; without one, nothing is handed over.
#[derive(Debug, Default)]
pub struct FdStore {
    address: Option<SocketAddrUnix>,
}

impl FdStore {
    pub fn from_environment() -> Self {
        let path = env::var_os(NOTIFY_SOCKET);
        let address = path.and_then(|path| address(path.as_encoded_bytes()));
        Self { address }
    }

    /// Hands over a descriptor under a name. If the manager has no room or no store, it closes its copy.
    pub fn keep(&self, name: &str, fd: BorrowedFd<'_>) {
        self.send(&format!("FDSTORE=1\nFDPOLL=0\nFDNAME={name}"), &[fd]);
    }

    /// Makes the manager close the descriptors of this name.
    pub fn remove(&self, name: &str) {
        self.send(&format!("FDSTOREREMOVE=1\nFDNAME={name}"), &[]);
    }

    fn send(&self, message: &str, fds: &[BorrowedFd<'_>]) {
        let Some(address) = &self.address else { return };
        if let Err(error) = send(address, message.as_bytes(), fds) {
            log::warn!(
                "cannot reach the descriptor store of the service manager: {}; a restart detaches the firewall for a \
                 moment",
                os_error::reason(&error)
            );
        }
    }
}

/// Does not wait for a manager that does not read.
fn send(address: &SocketAddrUnix, message: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<()> {
    let socket = socket_with(
        AddressFamily::UNIX,
        SocketType::DGRAM,
        SocketFlags::CLOEXEC,
        None,
    )?;
    let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() {
        control.push(SendAncillaryMessage::ScmRights(fds));
    }
    let data = [io::IoSlice::new(message)];
    sendmsg_addr(
        &socket,
        address,
        &data,
        &mut control,
        SendFlags::NOSIGNAL | SendFlags::DONTWAIT,
    )?;
    Ok(())
}

fn address(path: &[u8]) -> Option<SocketAddrUnix> {
    match path {
        [b'@', name @ ..] => SocketAddrUnix::new_abstract_name(name).ok(),
        [b'/', ..] => SocketAddrUnix::new(path).ok(),
        _ => None,
    }
}

/// Returns the descriptors that the service manager has passed to this process, with their names; nothing at a second
/// call.
pub fn received() -> Vec<(String, OwnedFd)> {
    if RECEIVED.swap(true, Ordering::Relaxed) {
        return Vec::new();
    }
    let variable = |name: &str| env::var(name).unwrap_or_default();
    if variable("LISTEN_PID") != std::process::id().to_string() {
        return Vec::new();
    }
    let count = variable("LISTEN_FDS").parse().unwrap_or(0).clamp(0, MAX);
    let names = variable("LISTEN_FDNAMES");
    let names = names.split(':').chain(std::iter::repeat(""));
    let fds = (FIRST..FIRST + count).map(|fd| {
        // SAFETY: the service manager passes these descriptors to this process, whose number LISTEN_PID names; they are
        // taken once, before any other code could own or close them.
        unsafe { OwnedFd::from_raw_fd(fd) }
    });
    names
        .zip(fds)
        // fails only for a descriptor that is not open, which then cannot be used either
        .filter(|(_, fd)| fcntl_setfd(fd, FdFlags::CLOEXEC).is_ok())
        .map(|(name, fd)| (name.to_owned(), fd))
        .collect()
}
