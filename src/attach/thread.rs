// SPDX-License-Identifier: AGPL-3.0-only
//! THREAD links: follows the interfaces that come, go and change, and keeps the watch in step.

use std::collections::{HashMap, HashSet};
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::attacher::{Outcome, Watcher};
use super::work_queue::{Pending, Work};
use crate::bpf::load::LoadedPrograms;
use crate::interfaces::Interfaces;
use crate::netlink::ipsec::Ipsec;
use crate::netlink::{Event, Heard, Link, LinkEvents, LinkLayer, LinkSocket};
use crate::sys::error_counters::{ErrorCounters, Subsystem};
use crate::sys::threads::Heartbeat;
use crate::types::flow::Direction;
use crate::types::interface_pattern::Patterns;

/// How often the thread looks up from waiting: for its heartbeat, and for slots to be freed.
const TICK: Duration = Duration::from_secs(1);

/// How often hooks that another program removed are looked for.
const CHECK: Duration = Duration::from_secs(5);

/// An interface that could not be attached is tried again after this, then after twice as long, ...
const FIRST_RETRY: Duration = Duration::from_secs(1);
const LAST_RETRY: Duration = Duration::from_secs(300);

/// Orders that wait.
const ORDERS: usize = 4;

/// What the thread may be told.
pub enum Order {
    /// What to watch from now on.
    Watch {
        patterns: Arc<Patterns>,
        directions: Vec<Direction>,
    },
    /// Detach all and end.
    End,
}

/// Tells the thread what to do.
pub struct Handle {
    orders: Sender<Order>,
    /// A byte here ends the thread's wait.
    waker: UnixStream,
}

impl Handle {
    /// Waits where several orders are waiting already; false if the thread has ended.
    pub fn order(&self, order: Order) -> bool {
        let sent = self.orders.send(order).is_ok();
        // a full socket has woken it already
        let _ = (&self.waker).write(&[0]);
        sent
    }
}

/// How far the interfaces found at the start have come.
#[derive(Default)]
pub struct Progress {
    tried: AtomicBool,
    attached: AtomicBool,
}

impl Progress {
    /// Attaching was tried with each of them.
    pub fn tried(&self) -> bool {
        self.tried.load(Ordering::Acquire)
    }

    /// They will be detached.
    pub fn end(&self) {
        self.attached.store(false, Ordering::Release);
    }

    /// Those that are still there and wanted are attached.
    pub fn attached(&self) -> bool {
        self.attached.load(Ordering::Acquire)
    }
}

/// What the thread begins with.
pub struct Start {
    pub watcher: Watcher,
    /// Opened before `links` were read, so that nothing is missed in between.
    pub events: LinkEvents,
    pub links: Vec<Link>,
    pub patterns: Arc<Patterns>,
    pub progress: Arc<Progress>,
    pub errors: Arc<ErrorCounters>,
    /// Called once, when all found at the start were tried.
    pub on_tried: Box<dyn Fn() + Send>,
}

pub struct Follower {
    watcher: Watcher,
    interfaces: Arc<Interfaces>,
    events: LinkEvents,
    pending: Pending,
    patterns: Arc<Patterns>,
    progress: Arc<Progress>,
    errors: Arc<ErrorCounters>,
    on_tried: Box<dyn Fn() + Send>,
    orders: Receiver<Order>,
    woken: UnixStream,
    /// Found at the start, and neither attached nor gone yet.
    awaited: HashSet<u32>,
    /// That none is awaited any more has been told.
    reported: bool,
    /// Links of a kind that is not read, of which that was said.
    said: HashSet<u32>,
    /// When those that failed are tried again, and how long they waited for it.
    retries: HashMap<u32, (Instant, Duration)>,
    /// Events were lost, and the links could not be read anew yet.
    lost_track: bool,
    next_tick: Instant,
    next_check: Instant,
    ipsec: Ipsec,
}

impl Follower {
    pub fn new(start: Start) -> std::io::Result<(Self, Handle)> {
        let (waker, woken) = UnixStream::pair()?;
        waker.set_nonblocking(true)?;
        woken.set_nonblocking(true)?;
        let (sender, orders) = bounded(ORDERS);
        let wanted = |link: &&Link| start.patterns.matches(&link.name, link.loopback);
        let awaited = start.links.iter().filter(wanted);
        let mut follower = Self {
            awaited: awaited.map(|link| link.ifindex).collect(),
            reported: false,
            interfaces: start.watcher.interfaces(),
            watcher: start.watcher,
            events: start.events,
            pending: Pending::default(),
            patterns: start.patterns,
            progress: start.progress,
            errors: start.errors,
            on_tried: start.on_tried,
            orders,
            woken,
            said: HashSet::new(),
            retries: HashMap::new(),
            lost_track: false,
            next_tick: Instant::now() + TICK,
            next_check: Instant::now() + CHECK,
            ipsec: Ipsec::default(),
        };
        follower.pending.replace(start.links);
        let handle = Handle {
            orders: sender,
            waker,
        };
        Ok((follower, handle))
    }

    /// Runs until told to end, then detaches all. The programs, whose maps may still be read, are given
    /// back.
    pub fn run(mut self, heartbeat: &Heartbeat) -> LoadedPrograms {
        self.check_ipsec();
        while !heartbeat.stopping() && self.obey() {
            heartbeat.beat();
            self.hear();
            match self.pending.next() {
                Some(Work::Look(ifindex)) => self.look(ifindex),
                Some(Work::Depart(ifindex)) => self.depart(ifindex),
                None => {}
            }
            self.report_progress();
            self.tick();
            self.wait();
        }
        self.watcher.unwatch_all(heartbeat)
    }

    /// Until something happens; not at all while there is something to do.
    fn wait(&mut self) {
        let patience = match self.pending.is_empty() {
            true => self.next_tick.saturating_duration_since(Instant::now()),
            false => return,
        };
        let timeout = Timespec::try_from(patience).ok();
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

    /// False when told to end.
    fn obey(&mut self) -> bool {
        while let Ok(order) = self.orders.try_recv() {
            match order {
                Order::Watch {
                    patterns,
                    directions,
                } => {
                    self.patterns = patterns;
                    self.watcher.set_directions(directions);
                    self.pending.look_at_all();
                }
                Order::End => return false,
            }
        }
        true
    }

    fn hear(&mut self) {
        match self.events.read() {
            Heard::All(events) => {
                for event in events {
                    self.rename_at_once(&event);
                    self.pending.take(event);
                }
            }
            Heard::Overflow => {
                self.errors
                    .count_and_log(Subsystem::Netlink, "overflow", || {
                        "more happened to interfaces than could be told: reading them anew".into()
                    });
                self.lost_track = true;
            }
        }
        if self.lost_track && self.read_anew() {
            self.lost_track = false;
        }
        if let Some(vrfs) = self.pending.vrfs() {
            self.interfaces.set_vrfs(&vrfs);
        }
    }

    /// Names are exchanged in the order of the events, before anything that takes time: else two
    /// interfaces had the same name for as long as another is being attached.
    fn rename_at_once(&mut self, event: &Event) {
        if let Event::New(link) = event
            && self.patterns.matches(&link.name, link.loopback)
        {
            self.watcher.rename(link);
        }
    }

    fn read_anew(&mut self) -> bool {
        // the socket has counted and logged the error
        let Ok(links) = LinkSocket::new(self.errors.clone()).dump() else {
            return false;
        };
        for ifindex in self.watcher.watched() {
            if crate::netlink::find(&links, ifindex).is_none() || !self.watcher.is_intact(ifindex) {
                self.watcher.unwatch(ifindex);
            }
        }
        self.pending.replace(links);
        true
    }

    fn depart(&mut self, ifindex: u32) {
        self.watcher.unwatch(ifindex);
        self.said.remove(&ifindex);
        self.settled(ifindex);
    }

    fn look(&mut self, ifindex: u32) {
        let Some(link) = self.pending.link(ifindex) else {
            return self.settled(ifindex);
        };
        let wanted = self.patterns.matches(&link.name, link.loopback);
        let readable = link.layer() != LinkLayer::Unsupported;
        if wanted && !readable && self.said.insert(ifindex) {
            log::info!(
                "{} (ifindex {ifindex}) is not watched: links of its type ({}, ARPHRD {}) are not read",
                link.name,
                link.kind,
                link.arphrd
            );
        }
        if !(wanted && readable) {
            self.watcher.unwatch(ifindex);
            return self.settled(ifindex);
        }
        let master = link.master.and_then(|master| self.pending.link(master));
        let vrf_member = master.is_some_and(|master| master.kind == "vrf");
        match self.watcher.watch(link, vrf_member) {
            Outcome::Watched | Outcome::Gone => self.settled(ifindex),
            Outcome::Failed => {
                let waited = self.retries.get(&ifindex).map(|&(_, waited)| waited * 2);
                let delay = waited.unwrap_or(FIRST_RETRY).min(LAST_RETRY);
                self.retries
                    .insert(ifindex, (Instant::now() + delay, delay));
            }
        }
    }

    /// Nothing is left to be done for this interface.
    fn settled(&mut self, ifindex: u32) {
        self.retries.remove(&ifindex);
        self.awaited.remove(&ifindex);
        self.interfaces.settle_refused(ifindex);
    }

    fn report_progress(&mut self) {
        if self.awaited.is_empty() && !self.reported {
            self.reported = true;
            self.progress.attached.store(true, Ordering::Release);
        }
        if self.pending.is_empty() && !self.progress.tried() {
            self.progress.tried.store(true, Ordering::Release);
            (self.on_tried)();
        }
    }

    fn tick(&mut self) {
        let now = Instant::now();
        if now < self.next_tick {
            return;
        }
        self.next_tick = now + TICK;
        self.watcher.settle(now);
        if now >= self.next_check {
            self.next_check = now + CHECK;
            self.check();
        }
        for (&ifindex, &(at, _)) in &self.retries {
            if at <= now {
                self.pending.look(ifindex);
            }
        }
    }

    fn check_ipsec(&mut self) {
        if self.ipsec.check() {
            self.watcher.set_ipsec(self.ipsec.is_active());
            self.pending.look_at_all();
        }
    }

    /// No event reports that another program removed a hook.
    fn check(&mut self) {
        self.check_ipsec();
        for ifindex in self.watcher.watched() {
            if self.pending.link(ifindex).is_some() && self.watcher.has_lost(ifindex) {
                self.pending.look(ifindex);
            }
        }
    }
}
