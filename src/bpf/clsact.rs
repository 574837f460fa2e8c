// SPDX-License-Identifier: AGPL-3.0-only
//! Filters on a clsact qdisc, for kernels without TCX: attach, detach, find those that a killed run left.
//!
//! A filter outlives its process. It is found again by its priority, its handle and the name of its program,
//! and by nothing less, so that no other filter is touched. The handle also states whether this program
//! created the qdisc: then the last filter removes it, since beside it nobody can add an `ingress` qdisc.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use libbpf_rs::{TC_EGRESS, TC_INGRESS, TcAttachPoint, TcHook, TcHookBuilder};

use super::load::Loaded;
use super::owner::{self, Program};
use crate::netlink::qdisc::{self, Kind};
use crate::types::flow::Direction;
use crate::types::hook::Position;

/// "rfm": the handle of our filters on the qdisc of another program.
const HANDLE: u32 = 0x0072_666d;

/// The handle of our filters on a qdisc of our own.
const HANDLE_OWN: u32 = 0x0172_666d;

/// All our programs are named so.
const PROGRAM_PREFIX: &str = "rfm_";

/// How many priorities are tried, from the wanted end of the chain inwards.
const TRIES: u32 = 8;

/// A filter of ours; dropping it detaches.
#[derive(Debug)]
pub struct Filter {
    place: Place,
    program_id: u32,
}

/// What names a filter.
#[derive(Clone, Copy, Debug)]
struct Place {
    ifindex: i32,
    direction: Direction,
    handle: u32,
    priority: u32,
}

impl Place {
    /// To query and detach, which need no program: any descriptor will do.
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

    /// The number of the program of the filter here, if there is one.
    fn program(self) -> Option<u32> {
        self.hook().query().ok()
    }

    /// Removes the filter here, and the qdisc with the last filter on it if the qdisc is ours.
    fn clear(self) -> bool {
        // ENOENT: the filter or the interface has gone, which is as good
        let cleared = self.hook().detach().is_ok();
        if self.handle == HANDLE_OWN {
            remove_if_empty(self.ifindex);
        }
        cleared
    }
}

impl Filter {
    pub fn is_attached(&self) -> bool {
        self.place.program() == Some(self.program_id)
    }
}

impl Drop for Filter {
    fn drop(&mut self) {
        // of another program: ours was removed, and the place was given away
        if self.is_attached() {
            self.place.clear();
        }
    }
}

/// Attaches the program of one direction, on the qdisc that is there or on a new one.
pub(super) fn attach(
    loaded: &Loaded,
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
        // all its filters run at ingress, whatever their parent is
        Some(Kind::Ingress) if direction == Direction::Egress => {
            return Err(io::Error::other(
                "it has an ingress qdisc, which has no egress; a clsact qdisc in its place takes the same filters",
            ));
        }
        Some(_) if has_own_qdisc(loaded, ifindex)? => HANDLE_OWN,
        Some(_) => HANDLE,
    };
    let mut refused = io::Error::from(io::ErrorKind::AddrInUse);
    for priority in priorities(position) {
        let place = Place {
            ifindex,
            direction,
            handle,
            priority,
        };
        match place.hook_of(fd).attach() {
            Ok(_) => return Ok(Filter { place, program_id }),
            // taken by another filter, or by another kind of classifier
            Err(error) => refused = os_error(error),
        }
    }
    Err(refused)
}

/// Whether a filter of this process states that the qdisc is ours.
fn has_own_qdisc(loaded: &Loaded, ifindex: i32) -> io::Result<bool> {
    for direction in Direction::ALL {
        let id = owner::id_of(loaded.program_fd(direction))?;
        let is_there = |place: Place| place.handle == HANDLE_OWN && place.program() == Some(id);
        if places(ifindex, direction).any(is_there) {
            return Ok(true);
        }
    }
    Ok(false)
}

fn remove_if_empty(ifindex: i32) {
    let is = |kind| qdisc::kind(ifindex as u32).is_ok_and(|found| found == Some(kind));
    if is(Kind::Clsact) && qdisc::is_empty(ifindex as u32).unwrap_or(false) {
        let stderr = io::stderr();
        let mut hook = TcHook::new(stderr.as_fd());
        hook.ifindex(ifindex).attach_point(TC_INGRESS | TC_EGRESS);
        // the interface may have gone meanwhile
        let _ = hook.destroy();
    }
}

/// Filters of rfm that were found on one hook.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Leftovers {
    /// Of an agent that was killed: they are removed.
    pub removed: usize,
    /// Of an agent that runs: they stay.
    pub in_use: usize,
}

/// Removes from one hook the filters that a killed agent left there, and no others.
pub fn detach_leftovers(ifindex: u32, direction: Direction) -> Leftovers {
    let mut found = Leftovers::default();
    let Ok(ifindex) = i32::try_from(ifindex) else {
        return found;
    };
    for place in places(ifindex, direction) {
        let program = place.program().and_then(Program::find);
        let Some(program) = program.filter(is_ours) else {
            continue;
        };
        if !program.is_orphan() {
            found.in_use += 1;
        } else if place.clear() {
            found.removed += 1;
        }
    }
    found
}

/// Everywhere that a filter of ours may be.
fn places(ifindex: i32, direction: Direction) -> impl Iterator<Item = Place> {
    let ends = [Position::Head, Position::Tail];
    let priorities = ends.into_iter().flat_map(priorities);
    priorities.flat_map(move |priority| {
        [HANDLE, HANDLE_OWN].map(|handle| Place {
            ifindex,
            direction,
            handle,
            priority,
        })
    })
}

/// Does this program carry our name?
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

/// Filters run in ascending order of priority, 1 to 65,535.
fn priorities(position: Position) -> std::ops::RangeInclusive<u32> {
    match position {
        Position::Head => 1..=TRIES,
        Position::Tail => 0x1_0000 - TRIES..=0xffff,
    }
}
