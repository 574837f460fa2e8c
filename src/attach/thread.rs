// SPDX-License-Identifier: AGPL-3.0-only
//! THREAD links: attaches programs to interfaces that appear, and updates or detaches those that change.

use std::collections::{HashMap, HashSet};
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::attacher::{AttachOutcome, Attacher};
use super::work_queue::{Work, WorkQueue};
use crate::bpf::load::LoadedPrograms;
use crate::interfaces::InterfaceRegistry;
use crate::netlink::ipsec::Ipsec;
use crate::netlink::stacked_interfaces::all_stacked;
use crate::netlink::{Event, Link, LinkEvents, LinkSocket, LinkType, ReadResult};
use crate::sys::error_counters::{ErrorCounters, Subsystem};
use crate::sys::threads::Heartbeat;
use crate::types::flow::Direction;
use crate::types::interface_pattern::Patterns;
use crate::types::role::{InterfaceRole, RoleRule};

/// The longest wait: for the heartbeat, and to free slots.
const INTERVAL: Duration = Duration::from_secs(1);

/// The interval of the check for hooks that another program removed.
const CHECK_INTERVAL: Duration = Duration::from_secs(5);

/// The delay of the first retry after a failure to attach; it doubles with each retry, up to the last.
const FIRST_RETRY: Duration = Duration::from_secs(1);
const LAST_RETRY: Duration = Duration::from_secs(300);

/// Maximum number of queued commands.
const MAX_COMMANDS: usize = 4;

/// A command to the thread.
pub enum LinkCommand {
    /// The interfaces and directions to attach from now on.
    Watch {
        patterns: Arc<Patterns>,
        directions: Vec<Direction>,
        roles: Vec<RoleRule>,
    },
    /// Detach all hooks and end.
    End,
}

/// Sends commands to the thread.
pub struct LinksHandle {
    commands: Sender<LinkCommand>,
    /// A byte written to this socket ends the thread's wait.
    waker: UnixStream,
}

impl LinksHandle {
    /// Sends a command. Blocks if the queue of commands is full; returns false if the thread has ended.
    pub fn send(&self, command: LinkCommand) -> bool {
        let sent = self.commands.send(command).is_ok();
        // if the socket is full, the thread is already woken
        let _ = (&self.waker).write(&[0]);
        sent
    }
}

/// The state of the interfaces that existed at the start.
#[derive(Default)]
pub struct Progress {
    tried: AtomicBool,
    attached: AtomicBool,
}

impl Progress {
    /// Returns whether rfm has tried to attach to each of them.
    pub fn tried(&self) -> bool {
        self.tried.load(Ordering::Acquire)
    }

    /// Records that they will be detached.
    pub fn end(&self) {
        self.attached.store(false, Ordering::Release);
    }

    /// Returns whether those that still exist and match the configuration are attached.
    pub fn attached(&self) -> bool {
        self.attached.load(Ordering::Acquire)
    }
}

/// Everything that the thread needs at its start.
pub struct LinksStart {
    pub attacher: Attacher,
    /// Opened before `links` were read, so that no event is missed.
    pub events: LinkEvents,
    pub links: Vec<Link>,
    pub patterns: Arc<Patterns>,
    pub roles: Vec<RoleRule>,
    pub progress: Arc<Progress>,
    pub errors: Arc<ErrorCounters>,
    /// Called once, after the first attempt with each initial interface.
    pub on_tried: Box<dyn Fn() + Send>,
}

pub struct LinkMonitor {
    attacher: Attacher,
    interfaces: Arc<InterfaceRegistry>,
    events: LinkEvents,
    queue: WorkQueue,
    patterns: Arc<Patterns>,
    roles: Vec<RoleRule>,
    progress: Arc<Progress>,
    errors: Arc<ErrorCounters>,
    on_tried: Box<dyn Fn() + Send>,
    commands: Receiver<LinkCommand>,
    woken: UnixStream,
    /// Initial interfaces that are neither attached nor removed yet.
    pending_initial: HashSet<u32>,
    /// Whether the end of `pending_initial` was reported.
    reported: bool,
    /// Links of an unsupported type that were logged.
    unsupported_logged: HashSet<u32>,
    /// The time of the next retry of failed interfaces, and its delay.
    retries: HashMap<u32, (Instant, Duration)>,
    /// Events were lost, and the links were not read again yet.
    needs_resync: bool,
    /// The interfaces that sums leave out may have changed.
    summed_outdated: bool,
    next_periodic: Instant,
    next_check: Instant,
    ipsec: Ipsec,
}

impl LinkMonitor {
    pub fn new(start: LinksStart) -> std::io::Result<(Self, LinksHandle)> {
        let (waker, woken) = UnixStream::pair()?;
        waker.set_nonblocking(true)?;
        woken.set_nonblocking(true)?;
        let (sender, commands) = bounded(MAX_COMMANDS);
        let wanted = |link: &&Link| start.patterns.matches(&link.name, link.loopback);
        let pending_initial = start.links.iter().filter(wanted);
        let mut monitor = Self {
            pending_initial: pending_initial.map(|link| link.ifindex).collect(),
            reported: false,
            interfaces: start.attacher.interfaces(),
            attacher: start.attacher,
            events: start.events,
            queue: WorkQueue::default(),
            patterns: start.patterns,
            roles: start.roles,
            progress: start.progress,
            errors: start.errors,
            on_tried: start.on_tried,
            commands,
            woken,
            unsupported_logged: HashSet::new(),
            retries: HashMap::new(),
            needs_resync: false,
            summed_outdated: true,
            next_periodic: Instant::now() + INTERVAL,
            next_check: Instant::now() + CHECK_INTERVAL,
            ipsec: Ipsec::default(),
        };
        monitor.queue.replace(start.links);
        let handle = LinksHandle {
            commands: sender,
            waker,
        };
        Ok((monitor, handle))
    }

    /// Runs until the command to end, then detaches all. Returns the programs, whose maps may still be read.
    pub fn run(mut self, heartbeat: &Heartbeat) -> LoadedPrograms {
        self.check_ipsec();
        while !heartbeat.stopping() && self.apply_commands() {
            heartbeat.beat();
            self.read_events();
            match self.queue.next() {
                Some(Work::Reconcile(ifindex)) => self.reconcile(ifindex),
                Some(Work::Remove(ifindex)) => self.remove(ifindex),
                None => {}
            }
            self.choose_summed();
            self.report_progress();
            self.do_periodic();
            self.wait();
        }
        self.attacher.detach_all(heartbeat)
    }

    /// Waits for an event, a command or the interval; not at all while the queue has work.
    fn wait(&mut self) {
        let timeout = match self.queue.is_empty() {
            true => self.next_periodic.saturating_duration_since(Instant::now()),
            false => return,
        };
        let timeout = Timespec::try_from(timeout).ok();
        let ipsec = self.ipsec.events();
        let mut fds = vec![
            PollFd::new(&self.events, PollFlags::IN),
            PollFd::new(&self.woken, PollFlags::IN),
        ];
        fds.extend(ipsec.map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)));
        // an interrupted wait is one that ended early
        let _ = poll(&mut fds, timeout.as_ref());
        let ipsec_changed = fds.get(2).is_some_and(|fd| !fd.revents().is_empty());
        let _ = (&self.woken).read(&mut [0; 64]);
        if ipsec_changed {
            self.check_ipsec();
        }
    }

    /// Applies the queued commands; returns false after the command to end.
    fn apply_commands(&mut self) -> bool {
        while let Ok(command) = self.commands.try_recv() {
            match command {
                LinkCommand::Watch {
                    patterns,
                    directions,
                    roles,
                } => {
                    self.patterns = patterns;
                    self.roles = roles;
                    self.attacher.set_directions(directions);
                    self.summed_outdated = true;
                    self.queue.reconcile_all();
                }
                LinkCommand::End => return false,
            }
        }
        true
    }

    fn read_events(&mut self) {
        match self.events.read() {
            ReadResult::Events(events) if events.is_empty() => {}
            ReadResult::Events(events) => {
                for event in events {
                    self.rename_at_once(&event);
                    self.queue.apply(event);
                }
                self.summed_outdated = true;
            }
            ReadResult::Overflow => {
                self.errors
                    .count_and_log(Subsystem::Netlink, "overflow", || {
                        "netlink events were lost: reading the interfaces again".into()
                    });
                self.needs_resync = true;
            }
        }
        if self.needs_resync && self.resync() {
            self.needs_resync = false;
        }
        if let Some(vrfs) = self.queue.vrfs() {
            self.interfaces.set_vrfs(&vrfs);
        }
    }

    /// Applies new names in the order of the events, before anything that takes time: otherwise two interfaces
    /// would have the same name while another is attached.
    fn rename_at_once(&mut self, event: &Event) {
        if let Event::New(link) = event
            && self.patterns.matches(&link.name, link.loopback)
        {
            self.attacher.rename(link);
        }
    }

    fn resync(&mut self) -> bool {
        // the socket has counted and logged the error
        let Ok(links) = LinkSocket::new(self.errors.clone()).dump() else {
            return false;
        };
        for ifindex in self.attacher.ifindexes() {
            if crate::netlink::find(&links, ifindex).is_none() || !self.attacher.is_intact(ifindex)
            {
                self.attacher.detach(ifindex);
            }
        }
        self.queue.replace(links);
        self.summed_outdated = true;
        true
    }

    /// Publishes the monitored interfaces that sums leave out, after all events that have arrived.
    fn choose_summed(&mut self) {
        if !self.queue.is_empty() || !std::mem::take(&mut self.summed_outdated) {
            return;
        }
        let links = self.queue.links();
        let watched = links.filter(|link| self.patterns.matches(&link.name, link.loopback));
        let stacked = all_stacked(watched.clone());
        let is_internal = |link: &Link| {
            InterfaceRole::of(&self.roles, &link.name, link.loopback, &link.alias).is_internal()
        };
        let unsummed = watched.filter(|link| stacked.contains(&link.ifindex) || is_internal(link));
        let unsummed = unsummed.map(|link| link.ifindex).collect();
        self.interfaces.set_unsummed(unsummed);
    }

    fn remove(&mut self, ifindex: u32) {
        self.attacher.detach(ifindex);
        self.unsupported_logged.remove(&ifindex);
        self.finished(ifindex);
    }

    fn reconcile(&mut self, ifindex: u32) {
        let Some(link) = self.queue.link(ifindex) else {
            return self.finished(ifindex);
        };
        let wanted = self.patterns.matches(&link.name, link.loopback);
        let readable = link.link_type() != LinkType::Unsupported;
        if wanted && !readable && self.unsupported_logged.insert(ifindex) {
            log::info!(
                "{} (ifindex {ifindex}) is not watched: links of its type ({}, ARPHRD {}) are not read",
                link.name,
                link.kind,
                link.arphrd
            );
        }
        if !(wanted && readable) {
            self.attacher.detach(ifindex);
            return self.finished(ifindex);
        }
        let master = link.master.and_then(|master| self.queue.link(master));
        let vrf_member = master.is_some_and(|master| master.kind == "vrf");
        match self.attacher.attach(link, vrf_member) {
            AttachOutcome::Attached | AttachOutcome::Removed => self.finished(ifindex),
            AttachOutcome::Failed => {
                let waited = self.retries.get(&ifindex).map(|&(_, waited)| waited * 2);
                let delay = waited.unwrap_or(FIRST_RETRY).min(LAST_RETRY);
                self.retries
                    .insert(ifindex, (Instant::now() + delay, delay));
            }
        }
    }

    /// Ends the work on this interface.
    fn finished(&mut self, ifindex: u32) {
        self.retries.remove(&ifindex);
        self.pending_initial.remove(&ifindex);
        self.interfaces.clear_failure(ifindex);
    }

    fn report_progress(&mut self) {
        if self.pending_initial.is_empty() && !self.reported {
            self.reported = true;
            self.progress.attached.store(true, Ordering::Release);
        }
        if self.queue.is_empty() && !self.progress.tried() {
            self.progress.tried.store(true, Ordering::Release);
            (self.on_tried)();
        }
    }

    fn do_periodic(&mut self) {
        let now = Instant::now();
        if now < self.next_periodic {
            return;
        }
        self.next_periodic = now + INTERVAL;
        self.attacher.free_slots(now);
        if now >= self.next_check {
            self.next_check = now + CHECK_INTERVAL;
            self.check();
        }
        for (&ifindex, &(at, _)) in &self.retries {
            if at <= now {
                self.queue.reconcile(ifindex);
            }
        }
    }

    fn check_ipsec(&mut self) {
        if self.ipsec.check() {
            self.attacher.set_ipsec(self.ipsec.is_active());
            self.queue.reconcile_all();
        }
    }

    /// Checks for hooks that another program removed, which no event reports.
    fn check(&mut self) {
        self.check_ipsec();
        for ifindex in self.attacher.ifindexes() {
            if self.queue.link(ifindex).is_some() && self.attacher.has_missing_hooks(ifindex) {
                self.queue.reconcile(ifindex);
            }
        }
    }
}
