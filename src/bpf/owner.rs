// SPDX-License-Identifier: AGPL-3.0-only
//! Detects whether the agent that loaded a program still runs.
//!
//! libbpf maps the global variables of an object writable into the process that loads it, as long as the process
//! lives. The kernel refuses to freeze a map with such a mapping (EBUSY, `bpf_map_freeze` in
//! kernel/bpf/syscall.c). So the result is correct in all namespaces, even if the agent is stopped or slow: no
//! process number, no file and no clock is needed. The check freezes a map of a process that has ended, which
//! has no effect on its programs.

use std::ffi::CStr;
use std::fs;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use rustix::io::Errno;

use crate::sys::os_error;

/// Maximum number of maps of one program; the monitor has nine.
const MAX_MAPS: usize = 64;

/// A loaded program.
pub(super) struct Program {
    fd: OwnedFd,
    info: libbpf_sys::bpf_prog_info,
}

impl Program {
    /// Returns the program with this id; `None` if it is no longer loaded, or if the caller lacks CAP_SYS_ADMIN.
    pub fn find(id: u32) -> Option<Self> {
        let fd = libbpf_rs::Program::fd_from_id(id).ok()?;
        let mut info = libbpf_sys::bpf_prog_info::default();
        read_info(&fd, &mut info).ok()?;
        Some(Self { fd, info })
    }

    /// Returns the name, of which the kernel stores the first 15 bytes.
    pub fn name(&self) -> Option<String> {
        let name = self.info.name.map(|c| c as u8);
        let name = CStr::from_bytes_until_nul(&name).ok()?.to_string_lossy();
        (!name.is_empty()).then(|| name.into_owned())
    }

    /// Returns whether the process that loaded it has ended. An error counts as running: a stale program can
    /// still be removed later, but a running one must not be removed.
    pub fn is_orphan(&self) -> bool {
        self.maps()
            .and_then(|maps| {
                for map in maps {
                    if is_global(&map)? && !can_be_frozen(&map)? {
                        return Ok(false);
                    }
                }
                Ok(true)
            })
            .unwrap_or_else(|error| {
                log::warn!(
                    "cannot find out whether the agent of a BPF program still runs: {}; \
                     the program stays (rfm --detach removes it later)",
                    os_error::reason(&error)
                );
                false
            })
    }

    fn maps(&self) -> io::Result<Vec<OwnedFd>> {
        let mut ids = [0_u32; MAX_MAPS];
        let mut info = libbpf_sys::bpf_prog_info {
            nr_map_ids: MAX_MAPS as u32,
            map_ids: ids.as_mut_ptr() as u64,
            ..Default::default()
        };
        read_info(&self.fd, &mut info)?;
        let count = (info.nr_map_ids as usize).min(MAX_MAPS);
        ids[..count].iter().map(|&id| map_with(id)).collect()
    }
}

/// Reads the information of a program. `info` may point to an array, whose length is set in it.
fn read_info(fd: &OwnedFd, info: &mut libbpf_sys::bpf_prog_info) -> io::Result<()> {
    let mut size = size_of::<libbpf_sys::bpf_prog_info>() as u32;
    // SAFETY: the kernel writes at most `size` bytes to `info`, and to the only array that a caller sets, of
    // map numbers, no more than its length, which is set with it.
    let result = unsafe { libbpf_sys::bpf_prog_get_info_by_fd(fd.as_raw_fd(), info, &mut size) };
    checked(result).map(drop)
}

/// Returns the id of a loaded program.
pub(super) fn id_of(program: impl AsRawFd) -> io::Result<u32> {
    let mut info = libbpf_sys::bpf_prog_info::default();
    let mut size = size_of::<libbpf_sys::bpf_prog_info>() as u32;
    // SAFETY: the kernel writes at most `size` bytes to `info`, whose array pointers are null.
    let result =
        unsafe { libbpf_sys::bpf_prog_get_info_by_fd(program.as_raw_fd(), &mut info, &mut size) };
    checked(result).map(|_| info.id)
}

/// Adds a map with global variables to those of a program that does not use it.
pub(super) fn bind(program: BorrowedFd<'_>, map: BorrowedFd<'_>) -> libbpf_rs::Result<()> {
    // SAFETY: both descriptors are open; no options are passed.
    match unsafe {
        libbpf_sys::bpf_prog_bind_map(program.as_raw_fd(), map.as_raw_fd(), std::ptr::null())
    } {
        0 => Ok(()),
        errno => Err(libbpf_rs::Error::from_raw_os_error(-errno)),
    }
}

fn map_with(id: u32) -> io::Result<OwnedFd> {
    // SAFETY: the call takes a number and returns a descriptor or an error.
    let fd = checked(unsafe { libbpf_sys::bpf_map_get_fd_by_id(id) })?;
    // SAFETY: the kernel made this descriptor for us, and nobody else holds it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Returns whether the map contains global variables that may change: of rfm's maps only these are mapped.
fn is_global(map: &OwnedFd) -> io::Result<bool> {
    let mut info = libbpf_sys::bpf_map_info::default();
    let mut size = size_of::<libbpf_sys::bpf_map_info>() as u32;
    // SAFETY: the kernel writes at most `size` bytes to `info`, zeroed, in which no pointer is set.
    let result =
        unsafe { libbpf_sys::bpf_map_get_info_by_fd(map.as_raw_fd(), &mut info, &mut size) };
    checked(result)?;
    let constants = libbpf_sys::BPF_F_RDONLY_PROG;
    Ok(info.map_flags & libbpf_sys::BPF_F_MMAPABLE != 0 && info.map_flags & constants == 0)
}

/// Freezes the map, unless it is mapped. Also returns true if an earlier check froze it.
fn can_be_frozen(map: &OwnedFd) -> io::Result<bool> {
    if is_frozen(map)? {
        return Ok(true);
    }
    // SAFETY: the call takes an open descriptor.
    match checked(unsafe { libbpf_sys::bpf_map_freeze(map.as_raw_fd()) }) {
        Ok(_) => Ok(true),
        Err(error) if Errno::from_io_error(&error) == Some(Errno::BUSY) => Ok(false),
        Err(error) => Err(error),
    }
}

fn is_frozen(map: &OwnedFd) -> io::Result<bool> {
    let text = fs::read_to_string(format!("/proc/self/fdinfo/{}", map.as_raw_fd()))?;
    Ok(text.lines().any(|line| {
        let frozen = line.strip_prefix("frozen:");
        frozen.is_some_and(|value| value.trim() == "1")
    }))
}

/// Converts a result of libbpf: a value, or an error below 0.
fn checked(result: i32) -> io::Result<i32> {
    match result {
        0.. => Ok(result),
        errno => Err(io::Error::from_raw_os_error(-errno)),
    }
}
