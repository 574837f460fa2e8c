// SPDX-License-Identifier: AGPL-3.0-only
//! Manages filters on a clsact qdisc, for kernels without TCX: attaches and detaches them, and finds the stale
//! ones of a killed agent.
//!
//! A filter outlives its process. The agent finds it again by its priority, its handle and the name of its
//! program; all three must match, so that no other filter is removed. The handle also states whether this
//! program created the qdisc: then the qdisc is removed with the last filter, since no `ingress` qdisc can be
//! added beside it.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use libbpf_rs::{TC_EGRESS, TC_INGRESS, TcAttachPoint, TcHook, TcHookBuilder};

use super::load::LoadedPrograms;
use super::owner::{self, Program};
use crate::netlink::qdisc::{self, QdiscKind};
use crate::types::flow::Direction;
use crate::types::hook::Position;

/// The handle ("rfm") of our filters on the qdisc of another program.
const HANDLE: u32 = 0x0072_666d;

/// The handle of our filters on a qdisc of our own.
const HANDLE_OWN: u32 = 0x0172_666d;

/// The prefix of the names of our programs.
const PROGRAM_PREFIX: &str = "rfm_";

/// The number of priorities to try, starting from the configured end of the chain.
const TRIES: u32 = 8;

/// A filter of ours; dropping it detaches.
#[derive(Debug)]
pub struct Filter {
    id: FilterId,
    program_id: u32,
}

/// The identity of a filter.
#[derive(Clone, Copy, Debug)]
struct FilterId {
    ifindex: i32,
    direction: Direction,
    handle: u32,
    priority: u32,
}

impl FilterId {
    /// Returns a hook to query and detach. This needs no program: the kernel accepts any descriptor.
    fn hook(self) -> TcHook {
        let stderr = io::stderr();
        self.hook_of(stderr.as_fd())
    }

    fn hook_of(self, program: BorrowedFd<'_>) -> TcHook {
        TcHookBuilder::new(program)
            .ifindex(self.ifindex)
            .replace(false)
            .handle(self.handle)
            .priority(self.priority)
            .hook(attach_point(self.direction))
    }

    /// Returns the id of the filter's program, if the filter exists.
    fn program(self) -> Option<u32> {
        self.hook().query().ok()
    }

    /// Removes the filter, and the qdisc with its last filter if the qdisc is ours.
    fn remove(self) -> bool {
        // ENOENT: the filter or the interface no longer exists
        let removed = self.hook().detach().is_ok();
        if self.handle == HANDLE_OWN {
            remove_if_empty(self.ifindex);
        }
        removed
    }
}

impl Filter {
    pub fn is_attached(&self) -> bool {
        self.id.program() == Some(self.program_id)
    }
}

impl Drop for Filter {
    fn drop(&mut self) {
        // otherwise our filter was removed, and another one has its priority
        if self.is_attached() {
            self.id.remove();
        }
    }
}

/// Attaches the program of one direction, on the existing qdisc or on a new one.
pub(super) fn attach(
    loaded: &LoadedPrograms,
    position: Position,
    ifindex: i32,
    direction: Direction,
) -> io::Result<Filter> {
    let fd = loaded.program_fd(direction);
    let program_id = owner::id_of(fd)?;
    let handle = match qdisc::kind(ifindex as u32)? {
        None => {
            let mut hook = TcHook::new(fd);
            hook.ifindex(ifindex).attach_point(attach_point(direction));
            hook.create().map_err(os_error)?;
            HANDLE_OWN
        }
        // all its filters run at ingress, with any parent
        Some(QdiscKind::Ingress) if direction == Direction::Egress => {
            return Err(io::Error::other(
                "it has an ingress qdisc, which has no egress; a clsact qdisc in its place takes the same filters",
            ));
        }
        Some(_) if has_own_qdisc(loaded, ifindex)? => HANDLE_OWN,
        Some(_) => HANDLE,
    };
    let mut last_error = io::Error::from(io::ErrorKind::AddrInUse);
    for priority in priorities(position) {
        let id = FilterId {
            ifindex,
            direction,
            handle,
            priority,
        };
        match id.hook_of(fd).attach() {
            Ok(_) => return Ok(Filter { id, program_id }),
            // another filter, or another kind of classifier, has this priority
            Err(error) => last_error = os_error(error),
        }
    }
    Err(last_error)
}

/// Returns whether a filter of this process states that the qdisc is ours.
fn has_own_qdisc(loaded: &LoadedPrograms, ifindex: i32) -> io::Result<bool> {
    for direction in Direction::ALL {
        let program = owner::id_of(loaded.program_fd(direction))?;
        let is_own = |id: FilterId| id.handle == HANDLE_OWN && id.program() == Some(program);
        if candidates(ifindex, direction).any(is_own) {
            return Ok(true);
        }
    }
    Ok(false)
}

fn remove_if_empty(ifindex: i32) {
    let is = |kind| qdisc::kind(ifindex as u32).is_ok_and(|found| found == Some(kind));
    if is(QdiscKind::Clsact) && qdisc::is_empty(ifindex as u32).unwrap_or(false) {
        let stderr = io::stderr();
        let mut hook = TcHook::new(stderr.as_fd());
        hook.ifindex(ifindex).attach_point(TC_INGRESS | TC_EGRESS);
        // the interface may have been removed meanwhile
        let _ = hook.destroy();
    }
}

/// The filters of rfm that were found on one hook.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StaleFilters {
    /// Filters of a killed agent, now removed.
    pub removed: usize,
    /// Filters of a running agent; they stay.
    pub in_use: usize,
}

/// Removes from one hook the filters that a killed agent left there, and no others.
pub fn detach_stale(ifindex: u32, direction: Direction) -> StaleFilters {
    let mut found = StaleFilters::default();
    let Ok(ifindex) = i32::try_from(ifindex) else {
        return found;
    };
    for id in candidates(ifindex, direction) {
        let program = id.program().and_then(Program::find);
        let Some(program) = program.filter(is_ours) else {
            continue;
        };
        if !program.is_orphan() {
            found.in_use += 1;
        } else if id.remove() {
            found.removed += 1;
        }
    }
    found
}

/// Returns all identities that a filter of ours may have.
fn candidates(ifindex: i32, direction: Direction) -> impl Iterator<Item = FilterId> {
    let ends = [Position::Head, Position::Tail];
    let priorities = ends.into_iter().flat_map(priorities);
    priorities.flat_map(move |priority| {
        [HANDLE, HANDLE_OWN].map(|handle| FilterId {
            ifindex,
            direction,
            handle,
            priority,
        })
    })
}

/// Does the name of this program have our prefix?
fn is_ours(program: &Program) -> bool {
    let name = program.name();
    name.is_some_and(|name| name.starts_with(PROGRAM_PREFIX))
}

fn os_error(error: libbpf_rs::Error) -> io::Error {
    io::Error::other(error)
}

fn attach_point(direction: Direction) -> TcAttachPoint {
    match direction {
        Direction::Ingress => TC_INGRESS,
        Direction::Egress => TC_EGRESS,
    }
}

/// Returns the priorities to try. Filters run in ascending order of priority, 1 to 65,535.
fn priorities(position: Position) -> std::ops::RangeInclusive<u32> {
    match position {
        Position::Head => 1..=TRIES,
        Position::Tail => 0x1_0000 - TRIES..=0xffff,
    }
}
