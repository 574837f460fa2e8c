// SPDX-License-Identifier: AGPL-3.0-only
//! Which interfaces there are at the start, and thread links, which follows them from then on.

use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, bounded};

use super::derive::is_forced;
use super::{Error, Running, stale_hooks};
use crate::attach::attacher::{Plan, Watcher};
use crate::attach::thread::{Follower, Handle, Order, Start};
use crate::bpf::load::LoadedPrograms;
use crate::config::Agent;
use crate::netlink::{Link, LinkEvents, LinkSocket};
use crate::sys::error_counters::ErrorCounters;
use crate::types::hook::HookKind;
use crate::types::interface_pattern::Patterns;

/// The interfaces there are, and the socket that tells what becomes of them.
pub(super) struct Found {
    pub events: LinkEvents,
    pub socket: LinkSocket,
    pub links: Vec<Link>,
    /// How many of them are to be watched.
    pub wanted: usize,
}

/// Asks for all links, having begun to listen before.
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
    pub handle: Handle,
    /// The programs come back when the thread ends.
    programs: Receiver<LoadedPrograms>,
}

impl LinksThread {
    /// Detaches everything and ends the thread. None if it had died.
    pub fn end(
        self,
        running: &Running,
        waiting: &mut dyn FnMut(Duration),
    ) -> Option<LoadedPrograms> {
        self.handle.order(Order::End);
        running.threads.stop_with("links", waiting);
        self.programs.try_recv().ok()
    }
}

impl Running {
    /// From now on interfaces are attached; `on_tried` is called when all found were tried.
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
        let watcher =
            Watcher::new(loaded, interfaces, errors.clone(), plan).map_err(Error::Maps)?;
        let (follower, handle) = Follower::new(Start {
            watcher,
            events,
            links,
            patterns: self.live.get().patterns,
            progress: self.progress.clone(),
            errors,
            on_tried: Box::new(on_tried),
        })
        .map_err(Error::Start)?;
        let (give_back, programs) = bounded(1);
        self.spawn("links", move |heartbeat| {
            // fails only where the main thread has gone
            drop(give_back.send(follower.run(&heartbeat)));
        })?;
        Ok(LinksThread { handle, programs })
    }
}
