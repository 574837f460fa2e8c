// SPDX-License-Identifier: AGPL-3.0-only
//! TCX links, and clsact filters where the kernel has no TCX: attach, detach, find what was left.
//!
//! A TCX link goes with the process. A clsact filter does not: it is found again by its priority,
//! its handle and the name of its program, and by nothing less, so that no other filter is touched.

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::ptr::NonNull;

use libbpf_rs::{Link, TC_EGRESS, TC_INGRESS, TcAttachPoint, TcHook, TcHookBuilder};

use super::load::Loaded;
use crate::flow::key::Direction;

/// "rfm": the handle of our clsact filters.
const CLSACT_HANDLE: u32 = 0x0072_666d;

/// All our programs are named so.
const PROGRAM_PREFIX: &[u8] = b"rfm_";

/// How many priorities are tried, from the wanted end of the chain inwards.
const CLSACT_TRIES: u32 = 8;

/// Where in the chain of programs on a hook.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Position {
    Head,
    Tail,
}

/// How a program is attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HookKind {
    Tcx,
    Clsact,
}

impl HookKind {
    pub fn name(self) -> &'static str {
        match self {
            Self::Tcx => "tcx",
            Self::Clsact => "clsact",
        }
    }

    /// What this kernel has: TCX came with 6.6. Asked by a query, which attaches nothing.
    pub fn detect() -> Self {
        const LOOPBACK: i32 = 1;
        // SAFETY: bpf_prog_query_opts reads and writes the options it is given, whose size is set;
        // no output array is passed, so that it only answers with a count.
        let result = unsafe {
            let mut opts = libbpf_sys::bpf_prog_query_opts {
                sz: size_of::<libbpf_sys::bpf_prog_query_opts>() as libbpf_sys::size_t,
                ..Default::default()
            };
            libbpf_sys::bpf_prog_query_opts(LOOPBACK, libbpf_sys::BPF_TCX_INGRESS, &mut opts)
        };
        if result == 0 { Self::Tcx } else { Self::Clsact }
    }
}

/// One program on one hook of one interface; dropping it detaches.
#[must_use = "dropping a hook detaches the program"]
pub enum Hook {
    Tcx(Link),
    Clsact(Filter),
}

/// A clsact filter of ours.
#[derive(Clone, Copy, Debug)]
pub struct Filter {
    ifindex: i32,
    direction: Direction,
    priority: u32,
}

impl Filter {
    /// To query and detach: these name a filter and need no program, any descriptor will do.
    fn hook(self) -> TcHook {
        let stderr = io::stderr();
        TcHookBuilder::new(stderr.as_fd())
            .ifindex(self.ifindex)
            .handle(CLSACT_HANDLE)
            .priority(self.priority)
            .hook(attach_point(self.direction))
    }
}

impl Hook {
    /// Whether it is still attached to this interface: the kernel lets go of a device that is deleted.
    pub fn is_at(&self, ifindex: u32) -> bool {
        match self {
            Self::Tcx(link) => tcx_ifindex(link).is_some_and(|at| at == ifindex),
            Self::Clsact(filter) => filter.hook().query().is_ok(),
        }
    }
}

/// The device that a link is attached to; 0 where that has gone.
fn tcx_ifindex(link: &Link) -> Option<u32> {
    let mut info = libbpf_sys::bpf_link_info::default();
    let mut size = size_of::<libbpf_sys::bpf_link_info>() as u32;
    // SAFETY: the kernel writes at most `size` bytes to `info`, zeroed, in which no pointer is set.
    let result = unsafe {
        libbpf_sys::bpf_link_get_info_by_fd(link.as_fd().as_raw_fd(), &mut info, &mut size)
    };
    // SAFETY: for a link that was made by attach_tcx this is the member that the kernel fills in; it is
    // integers, zeroed before, of which any bytes are a value.
    let ifindex = unsafe { info.__bindgen_anon_1.tcx.ifindex };
    (result == 0).then_some(ifindex)
}

/// Whether no interface has this index, in the network namespace of the caller.
pub fn has_gone(ifindex: u32) -> bool {
    let socket = rustix::net::socket(
        rustix::net::AddressFamily::UNIX,
        rustix::net::SocketType::DGRAM,
        None,
    );
    socket.is_ok_and(|socket| {
        rustix::net::netdevice::index_to_name(&socket, ifindex) == Err(rustix::io::Errno::NODEV)
    })
}

impl Drop for Hook {
    fn drop(&mut self) {
        if let Self::Clsact(filter) = self {
            // ENOENT: somebody removed the filter or the interface; it is gone, as was wanted
            let _ = filter.hook().detach();
        }
    }
}

/// Attaches the program of one direction to one interface.
pub fn attach(
    loaded: &Loaded,
    kind: HookKind,
    position: Position,
    ifindex: u32,
    direction: Direction,
) -> io::Result<Hook> {
    let ifindex = i32::try_from(ifindex).map_err(io::Error::other)?;
    match kind {
        HookKind::Tcx => attach_tcx(loaded, position, ifindex, direction).map(Hook::Tcx),
        HookKind::Clsact => attach_clsact(loaded, position, ifindex, direction).map(Hook::Clsact),
    }
}

fn attach_tcx(
    loaded: &Loaded,
    position: Position,
    ifindex: i32,
    direction: Direction,
) -> io::Result<Link> {
    let opts = libbpf_sys::bpf_tcx_opts {
        sz: size_of::<libbpf_sys::bpf_tcx_opts>() as libbpf_sys::size_t,
        // without a relative program these mean the ends of the chain (kernel/bpf/mprog.c)
        flags: match position {
            Position::Head => libbpf_sys::BPF_F_BEFORE,
            Position::Tail => libbpf_sys::BPF_F_AFTER,
        },
        ..Default::default()
    };
    // SAFETY: the program belongs to a loaded object that outlives the call; opts carries its size.
    let link = unsafe {
        libbpf_sys::bpf_program__attach_tcx(loaded.raw_program(direction), ifindex, &opts)
    };
    let link = NonNull::new(link).ok_or_else(io::Error::last_os_error)?;
    // SAFETY: libbpf made this link for us, and nobody else holds it.
    Ok(unsafe { Link::from_ptr(link) })
}

fn attach_clsact(
    loaded: &Loaded,
    position: Position,
    ifindex: i32,
    direction: Direction,
) -> io::Result<Filter> {
    let fd = loaded.program_fd(direction);
    let mut hook = TcHook::new(fd);
    hook.ifindex(ifindex).attach_point(attach_point(direction));
    hook.create().map_err(os_error)?;
    detach_leftovers(ifindex.unsigned_abs(), direction);

    let mut refused = io::Error::from(io::ErrorKind::AddrInUse);
    for priority in priorities(position) {
        let mut hook = TcHookBuilder::new(fd)
            .ifindex(ifindex)
            .replace(false)
            .handle(CLSACT_HANDLE)
            .priority(priority)
            .hook(attach_point(direction));
        match hook.attach() {
            Ok(_) => {
                return Ok(Filter {
                    ifindex,
                    direction,
                    priority,
                });
            }
            // taken by another filter, or by another kind of classifier
            Err(error) => refused = os_error(error),
        }
    }
    Err(refused)
}

fn os_error(error: libbpf_rs::Error) -> io::Error {
    io::Error::other(error)
}

/// Removes from one hook what a killed run left there. Returns how many filters that were.
pub fn detach_leftovers(ifindex: u32, direction: Direction) -> usize {
    let Ok(ifindex) = i32::try_from(ifindex) else {
        return 0;
    };
    [Position::Head, Position::Tail]
        .into_iter()
        .flat_map(priorities)
        .filter(|&priority| {
            let filter = Filter {
                ifindex,
                direction,
                priority,
            };
            let mut hook = filter.hook();
            hook.query().is_ok_and(is_ours) && hook.detach().is_ok()
        })
        .count()
}

/// Does this program carry our name? The kernel keeps its first 15 bytes.
fn is_ours(program_id: u32) -> bool {
    let Ok(fd) = libbpf_rs::Program::fd_from_id(program_id) else {
        return false;
    };
    let mut info = libbpf_sys::bpf_prog_info::default();
    let mut size = size_of::<libbpf_sys::bpf_prog_info>() as u32;
    // SAFETY: the kernel writes at most `size` bytes to `info`, whose array pointers are null.
    let result =
        unsafe { libbpf_sys::bpf_prog_get_info_by_fd(fd.as_raw_fd(), &mut info, &mut size) };
    let name = info.name.map(|c| c as u8);
    result == 0
        && CStr::from_bytes_until_nul(&name)
            .is_ok_and(|name| name.to_bytes().starts_with(PROGRAM_PREFIX))
}

fn attach_point(direction: Direction) -> TcAttachPoint {
    match direction {
        Direction::Ingress => TC_INGRESS,
        Direction::Egress => TC_EGRESS,
    }
}

/// Filters run in ascending order of priority, 1 to 65,535.
fn priorities(position: Position) -> std::ops::RangeInclusive<u32> {
    match position {
        Position::Head => 1..=CLSACT_TRIES,
        Position::Tail => 0x1_0000 - CLSACT_TRIES..=0xffff,
    }
}
