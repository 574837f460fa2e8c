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
use crate::sys::os_error;

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
                write!(
                    f,
                    "{} exists and is not a socket: remove it, or set another path",
                    path.display()
                )
            }
            Self::Group(name) => write!(
                f,
                "/etc/group has no group {name:?}: add it (groupadd), or name another one"
            ),
            Self::Io(what, error) => {
                let remedy = match error.kind() {
                    io::ErrorKind::NotFound => "; create the folder above it",
                    io::ErrorKind::PermissionDenied => {
                        "; give the user of rfm write access to the folder, or set another path"
                    }
                    _ => "",
                };
                write!(f, "cannot {what}: {}{remedy}", os_error::reason(error))
            }
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
            log::warn!(
                "cannot remove {}: {}",
                self.path.display(),
                os_error::reason(&error)
            );
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
    let address = SocketAddrUnix::new(path).map_err(|e| failed("create")(e.into()))?;
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let fd = net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)
        .map_err(|e| failed("create")(e.into()))?;
    net::bind(&fd, &address).map_err(|e| failed("create")(e.into()))?;
    let metadata = fs::symlink_metadata(path).map_err(failed("examine"))?;
    let file = SocketFile {
        path: path.clone(),
        device: metadata.dev(),
        inode: metadata.ino(),
    };
    // no client can connect before listen(2)
    if group.is_some() {
        std::os::unix::fs::chown(path, None, group).map_err(failed("set the group of"))?;
    }
    fs::set_permissions(path, fs::Permissions::from_mode(config.mode.0))
        .map_err(failed("set the mode of"))?;
    net::listen(&fd, BACKLOG).map_err(|e| failed("listen on")(e.into()))?;
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
            format!("create the folder {}", folder.display()),
            error,
        )),
    }
}

fn remove_stale(path: &Path) -> Result<(), SocketError> {
    let failed =
        |what: &str, error: io::Error| SocketError::Io(format!("{what} {}", path.display()), error);
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed("examine", error)),
        Ok(metadata) if !metadata.file_type().is_socket() => {
            return Err(SocketError::NotASocket(path.to_owned()));
        }
        Ok(_) => {}
    }
    match connect(path) {
        Err(Errno::CONNREFUSED) => fs::remove_file(path).map_err(|e| failed("remove", e)),
        Err(Errno::NOENT) => Ok(()),
        // EAGAIN: its queue is full, so another process listens
        Ok(()) | Err(Errno::AGAIN) => Err(SocketError::InUse(path.to_owned())),
        Err(errno) => Err(failed("connect to", errno.into())),
    }
}

/// Checks whether a process listens; does not wait.
fn connect(path: &Path) -> Result<(), Errno> {
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let fd = net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    net::connect(&fd, &SocketAddrUnix::new(path)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_error_names_its_remedy() {
        let path = || PathBuf::from("/run/rfm/rfm.sock");
        let error = |what: &str, errno| {
            SocketError::Io(what.to_owned(), io::Error::from_raw_os_error(errno))
        };
        for (error, expected) in [
            (
                SocketError::NotASocket(path()),
                "/run/rfm/rfm.sock exists and is not a socket: remove it, or set another path",
            ),
            (
                SocketError::Group("ops".into()),
                "/etc/group has no group \"ops\": add it (groupadd), or name another one",
            ),
            (
                error("create the folder /a/b", libc::ENOENT),
                "cannot create the folder /a/b: no such file or directory; create the folder above it",
            ),
            (
                error("create /a", libc::EACCES),
                "cannot create /a: permission denied; give the user of rfm write access to the folder, or set \
                 another path",
            ),
            (
                error("set the mode of /a", libc::EROFS),
                "cannot set the mode of /a: read-only file system: choose a writable place",
            ),
        ] {
            assert_eq!(error.to_string(), expected);
        }
    }
}
