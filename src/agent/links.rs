// SPDX-License-Identifier: AGPL-3.0-only
//! The interfaces at the start, and thread links, which monitors them from then on.

use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, bounded};

use super::derive::is_forced;
use super::{Error, Running, stale_hooks};
use crate::attach::attacher::{Attacher, Plan};
use crate::attach::thread::{LinkCommand, LinkMonitor, LinksHandle, LinksStart};
use crate::bpf::load::LoadedPrograms;
use crate::config::Agent;
use crate::netlink::{Link, LinkEvents, LinkSocket};
use crate::sys::error_counters::ErrorCounters;
use crate::types::hook::HookKind;
use crate::types::interface_pattern::Patterns;

/// The existing interfaces, and the socket that receives their events.
pub(super) struct Found {
    pub events: LinkEvents,
    pub socket: LinkSocket,
    pub links: Vec<Link>,
    /// The number of interfaces that match the configuration.
    pub wanted: usize,
}

/// Opens the socket for events, then reads all links.
pub(super) fn find(
    agent: &Agent,
    patterns: &Patterns,
    errors: &Arc<ErrorCounters>,
) -> Result<Found, Error> {
    let events = LinkEvents::open(errors.clone()).map_err(Error::Links)?;
    let mut socket = LinkSocket::new(errors.clone());
    let links = socket.dump().map_err(Error::Links)?;
    let matching = links
        .iter()
        .filter(|link| patterns.matches(&link.name, link.loopback));
    let wanted = matching.count();
    if wanted == 0 {
        if agent.require_interface {
            let names: Vec<_> = links.iter().map(|link| link.name.as_str()).collect();
            let present = names.join(", ");
            return Err(Error::NoInterface { present });
        }
        log::warn!("agent.interfaces matches no interface that is present now");
    }
    Ok(Found {
        events,
        socket,
        links,
        wanted,
    })
}

/// Thread links.
pub(super) struct LinksThread {
    pub handle: LinksHandle,
    /// Receives the programs when the thread ends.
    programs: Receiver<LoadedPrograms>,
}

impl LinksThread {
    /// Detaches all hooks and ends the thread. Returns none if the thread has ended by itself.
    pub fn end(
        self,
        running: &Running,
        waiting: &mut dyn FnMut(Duration),
    ) -> Option<LoadedPrograms> {
        self.handle.send(LinkCommand::End);
        running.threads.stop_with("links", waiting);
        self.programs.try_recv().ok()
    }
}

impl Running {
    /// Starts thread links; it calls `on_tried` after the first attempt with each interface.
    pub(super) fn start_links(
        &self,
        agent: &Agent,
        loaded: LoadedPrograms,
        (events, links): (LinkEvents, Vec<Link>),
        on_tried: impl Fn() + Send + 'static,
    ) -> Result<LinksThread, Error> {
        let plan = Plan {
            kind: match is_forced("clsact") {
                true => HookKind::Clsact,
                false => HookKind::detect(),
            },
            position: agent.bpf.position,
            directions: agent.directions.clone(),
        };
        if plan.kind == HookKind::Clsact {
            stale_hooks::replace(&links);
        }
        let (interfaces, errors) = (self.interfaces.clone(), self.errors.clone());
        let attacher =
            Attacher::new(loaded, interfaces, errors.clone(), plan).map_err(Error::Maps)?;
        let (monitor, handle) = LinkMonitor::new(LinksStart {
            attacher,
            events,
            links,
            patterns: self.live.get().patterns,
            roles: agent.interface.clone(),
            progress: self.progress.clone(),
            errors,
            on_tried: Box::new(on_tried),
        })
        .map_err(Error::Start)?;
        let (return_programs, programs) = bounded(1);
        self.spawn("links", move |heartbeat| {
            // fails only if the main thread has ended
            drop(return_programs.send(monitor.run(&heartbeat)));
        })?;
        Ok(LinksThread { handle, programs })
    }
}
