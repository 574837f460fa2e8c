// SPDX-License-Identifier: AGPL-3.0-only
//! The socket file: it is created with its permissions before a client can connect, and removed at the end.

use std::fmt;
use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use rustix::net::{self, AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

use super::access::find_group;
use super::lock;
use crate::config::Control;

/// Connections that the kernel completes before they are accepted.
const BACKLOG: i32 = 1024;

/// An error that prevents the creation of the socket.
#[derive(Debug)]
pub enum SocketError {
    /// Another process listens on it.
    InUse(PathBuf),
    /// The path exists and is not a socket.
    NotASocket(PathBuf),
    Group(String),
    /// The step that failed, and its error.
    Io(String, io::Error),
}

impl fmt::Display for SocketError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InUse(path) => write!(
                f,
                "another agent answers on {}: stop it, or give each its own agent.control.socket",
                path.display()
            ),
            Self::NotASocket(path) => {
                write!(f, "{} is there and is no socket", path.display())
            }
            Self::Group(name) => write!(f, "no group {name:?} in /etc/group"),
            Self::Io(what, error) => write!(f, "{what}: {error}"),
        }
    }
}

impl std::error::Error for SocketError {}

/// The file of the socket; removed when dropped, unless another file has replaced it.
#[derive(Debug)]
pub struct SocketFile {
    path: PathBuf,
    device: u64,
    inode: u64,
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let is_ours = fs::symlink_metadata(&self.path)
            .is_ok_and(|m| (m.dev(), m.ino()) == (self.device, self.inode));
        if is_ours && let Err(error) = fs::remove_file(&self.path) {
            log::warn!("removing {}: {error}", self.path.display());
        }
    }
}

/// Listens on the configured socket. Replaces a socket file without a listening process.
pub fn bind(config: &Control) -> Result<(UnixListener, SocketFile), SocketError> {
    let path = &config.socket;
    let failed = |what: &str| {
        let what = format!("{what} {}", path.display());
        move |error: io::Error| SocketError::Io(what, error)
    };
    let group = match &config.group[..] {
        "" => None,
        name => Some(find_group(name).ok_or_else(|| SocketError::Group(name.to_owned()))?),
    };
    make_folder(path)?;
    let _lock = lock::acquire(path);
    remove_stale(path)?;
    let address = SocketAddrUnix::new(path).map_err(|e| failed("binding")(e.into()))?;
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let fd = net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)
        .map_err(|e| failed("binding")(e.into()))?;
    net::bind(&fd, &address).map_err(|e| failed("binding")(e.into()))?;
    let metadata = fs::symlink_metadata(path).map_err(failed("reading"))?;
    let file = SocketFile {
        path: path.clone(),
        device: metadata.dev(),
        inode: metadata.ino(),
    };
    // no client can connect before listen(2)
    if group.is_some() {
        std::os::unix::fs::chown(path, None, group).map_err(failed("giving a group to"))?;
    }
    fs::set_permissions(path, fs::Permissions::from_mode(config.mode.0))
        .map_err(failed("setting the mode of"))?;
    net::listen(&fd, BACKLOG).map_err(|e| failed("listening on")(e.into()))?;
    Ok((fd.into(), file))
}

/// Creates the folder of the socket if only the last component is missing.
fn make_folder(path: &Path) -> Result<(), SocketError> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder.to_owned(),
        _ => PathBuf::from("."),
    };
    match fs::create_dir(&folder) {
        Ok(()) => Ok(()),
        Err(_) if folder.is_dir() => Ok(()),
        Err(error) => Err(SocketError::Io(
            format!("making the folder {}", folder.display()),
            error,
        )),
    }
}

fn remove_stale(path: &Path) -> Result<(), SocketError> {
    let failed =
        |what: &str, error: io::Error| SocketError::Io(format!("{what} {}", path.display()), error);
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed("reading", error)),
        Ok(metadata) if !metadata.file_type().is_socket() => {
            return Err(SocketError::NotASocket(path.to_owned()));
        }
        Ok(_) => {}
    }
    match connect(path) {
        Err(Errno::CONNREFUSED) => fs::remove_file(path).map_err(|e| failed("removing", e)),
        Err(Errno::NOENT) => Ok(()),
        // EAGAIN: its queue is full, so another process listens
        Ok(()) | Err(Errno::AGAIN) => Err(SocketError::InUse(path.to_owned())),
        Err(errno) => Err(failed("trying", errno.into())),
    }
}

/// Checks whether a process listens; does not wait.
fn connect(path: &Path) -> Result<(), Errno> {
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let fd = net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    net::connect(&fd, &SocketAddrUnix::new(path)?)
}
