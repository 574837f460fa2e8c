// SPDX-License-Identifier: AGPL-3.0-only
//! THREAD firewall: owns the rules and the program, and changes them in whole steps.

mod edits;
mod store;
mod tells;

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::io::{self, Read};
use std::net::IpAddr;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender};
use libbpf_rs::{RingBuffer, RingBufferBuilder};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::book::{self, Book};
use super::drops::Drops;
use super::guard::{self, Trusted};
use super::handle::{Inbox, Refusal, Request, Settings};
use super::kernel::{Counts, Kernel};
use super::ledger::Ledger;
use super::ports::Ports;
use crate::flow::export_queue::ExportSender;
use crate::netlink::{self, AddressEvents, Heard, Link, LinkEvents, LinkSocket};
use crate::sys::error_counters::{ErrorCounters, Subsystem};
use crate::sys::threads::Heartbeat;
use crate::types::flow::FlowRecord;
use crate::types::prefix::Prefix;
use crate::types::rule::{Action, Compilable, RuleId};
use store::Store;

/// How often the thread looks up from waiting, and how often where routes may ask for something.
const TICK: Duration = Duration::from_secs(1);
const ROUTES_TICK: Duration = Duration::from_millis(200);

/// After a set that events from outside asked for, the thread rests for this many times as long as it took to make
/// it: a route or an interface that flaps among 100,000 rules takes a fifth of a CPU, and no more.
const REST: u32 = 4;
const MOST_REST: Duration = Duration::from_secs(5);

/// Between two looks at the BMP peers, which is a look at each of them, and at the XDP links.
const PEERS_INTERVAL: Duration = Duration::from_secs(5);

/// The prefixes that BGP wants dropped.
pub trait Blackholes: Send {
    /// With a number that is another after each change.
    fn snapshot(&self) -> (u64, Vec<Prefix>);
    /// A word comes when they have changed. For one listener.
    fn changed(&self) -> Receiver<()>;
}

/// What the thread begins with.
pub struct Start {
    pub kernel: Box<dyn Kernel>,
    pub settings: Settings,
    /// Empty for none.
    pub state_file: PathBuf,
    /// Opened before `links` were read, so that nothing is missed in between.
    pub events: LinkEvents,
    pub links: Vec<Link>,
    /// BMP routers and their BGP peers.
    pub peers: Box<dyn Fn() -> BTreeSet<IpAddr> + Send>,
    pub blackholes: Option<Box<dyn Blackholes>>,
    /// Where flows that are dropped go.
    pub export_sender: Option<ExportSender>,
    pub errors: Arc<ErrorCounters>,
}

pub struct Worker {
    kernel: Box<dyn Kernel>,
    book: Book,
    ports: Ports,
    ledger: Ledger,
    trusted: Trusted,
    store: Store,
    events: LinkEvents,
    addresses: AddressEvents,
    peers: Box<dyn Fn() -> BTreeSet<IpAddr> + Send>,
    blackholes: Option<Box<dyn Blackholes>>,
    blackhole_action: Action,
    /// Of the blackholes in the book.
    generation: Option<u64>,
    errors: Arc<ErrorCounters>,
    requests: Receiver<Request>,
    woken: UnixStream,
    /// The book is not what is in force: a change that nobody waits for failed.
    behind: bool,
    lost_track: bool,
    stale_addresses: bool,
    next_peers: Instant,
    next_tick: Instant,
    /// Not before that do events from outside make a new set.
    next_step: Instant,
    export_sender: Option<ExportSender>,
    /// The largest flows that were dropped in the last seconds.
    dropped: Vec<FlowRecord>,
}

/// Those who wait until what they asked for is in force.
type Waiting = Vec<Box<dyn FnOnce(Result<(), Refusal>)>>;

impl Worker {
    /// The rules are in force before anything is attached.
    pub fn new(start: Start, inbox: Inbox) -> Result<Self, String> {
        let now = Instant::now();
        let settings = start.settings;
        let addresses =
            AddressEvents::open().map_err(|e| format!("listening to rtnetlink: {e}"))?;
        let mut worker = Self {
            kernel: start.kernel,
            book: Book::default(),
            ports: Ports::new(settings.patterns.clone(), start.links),
            ledger: Ledger::default(),
            trusted: Trusted::default(),
            store: Store::new(start.state_file, inbox.problem, now),
            events: start.events,
            addresses,
            peers: start.peers,
            blackholes: start.blackholes,
            blackhole_action: settings.blackhole_action,
            generation: None,
            errors: start.errors,
            requests: inbox.requests,
            woken: inbox.woken,
            behind: false,
            lost_track: false,
            stale_addresses: true,
            next_peers: now,
            next_tick: now,
            next_step: now,
            export_sender: start.export_sender,
            dropped: Vec::new(),
        };
        worker.apply(&settings, now)?;
        worker.restore();
        worker.look_around(now);
        worker.ports.take_renumbered();
        if let Err(why) = worker.put_in_force(now) {
            worker.leave_out_restored(&why);
            worker.put_in_force(now)?;
        }
        Ok(worker)
    }

    /// Runs until it is to end, then detaches the program from all interfaces on which it is not pinned.
    pub fn run(mut self, heartbeat: &Heartbeat) {
        let drops = RefCell::new(Drops::new(Instant::now()));
        let errors = self.errors.clone();
        let ring = self.open_ring(|bytes| {
            if let Err(error) = drops.borrow_mut().take(bytes) {
                errors.count_and_log(Subsystem::RingBuffer, "decode", || error.to_string());
            }
            0
        });
        let mut runs = true;
        while runs && !heartbeat.stopping() {
            heartbeat.beat();
            self.hear();
            let now = Instant::now();
            runs = self.obey(now);
            self.tick(now);
            self.look_at_drops(ring.as_ref(), &drops, now);
            for problem in self.ports.settle(&mut *self.kernel, now) {
                self.errors
                    .count_and_log(Subsystem::Firewall, "attach", || problem);
            }
            self.wait();
        }
        let now = Instant::now();
        drops.borrow_mut().cut_short(now);
        self.look_at_drops(ring.as_ref(), &drops, now);
        self.store.save(self.book.runtime(), &self.errors);
        self.kernel.close(&mut || heartbeat.beat());
    }

    /// Without it there are no samples, and no less of a firewall.
    fn open_ring<'a>(&self, take: impl FnMut(&[u8]) -> i32 + 'a) -> Option<RingBuffer<'a>> {
        let open = || {
            let Some(map) = self.kernel.ring()? else {
                return Ok(None);
            };
            let mut builder = RingBufferBuilder::new();
            builder.add(&map, take).map_err(io::Error::other)?;
            builder.build().map(Some).map_err(io::Error::other)
        };
        open().unwrap_or_else(|error| {
            log::warn!("no samples of what the firewall drops: {error}");
            None
        })
    }

    fn look_at_drops(
        &mut self,
        ring: Option<&RingBuffer<'_>>,
        drops: &RefCell<Drops>,
        now: Instant,
    ) {
        let Some(ring) = ring else { return };
        if let Err(error) = ring.consume() {
            self.errors
                .count_and_log(Subsystem::RingBuffer, "consume", || error.to_string());
        }
        if let Some(flows) = drops.borrow_mut().turn(now, self.export_sender.as_mut()) {
            self.dropped = flows;
        }
    }

    fn wait(&mut self) {
        let soon = [
            self.book.next_expiry(Instant::now()),
            self.ports.next_retry(),
            self.store.next_try(),
        ];
        let until = soon
            .into_iter()
            .flatten()
            .fold(self.next_tick.max(self.next_step), Instant::min);
        let patience = match self.ports.has_work() {
            true => Duration::ZERO,
            false => until.saturating_duration_since(Instant::now()),
        };
        let timeout = Timespec::try_from(patience).ok();
        let mut fds = [
            PollFd::new(&self.events, PollFlags::IN),
            PollFd::new(&self.addresses, PollFlags::IN),
            PollFd::new(&self.woken, PollFlags::IN),
        ];
        // an interrupted wait is one that ended early
        let _ = poll(&mut fds, timeout.as_ref());
        let _ = (&self.woken).read(&mut [0; 64]);
    }

    fn hear(&mut self) {
        match self.events.read() {
            Heard::All(events) => {
                for event in events {
                    self.ports.take(event, &mut *self.kernel);
                }
            }
            Heard::Overflow => self.lost_track = true,
        }
        if self.lost_track
            && let Ok(links) = LinkSocket::new(self.errors.clone()).dump()
        {
            self.ports.replace(links, &mut *self.kernel);
            self.lost_track = false;
        }
        self.stale_addresses |= self.addresses.happened();
    }

    /// All that waits is one step: each request is a change of its own of the book, and they come into
    /// force together. False when told to end.
    fn obey(&mut self, now: Instant) -> bool {
        let before = (
            self.book.clone(),
            self.trusted.clone(),
            self.blackhole_action,
        );
        let mut waiting = Waiting::new();
        let mut patterns = None;
        let mut runs = true;
        let mut reads = Vec::new();
        for request in self.requests.try_iter().collect::<Vec<_>>() {
            match request {
                Request::Edit { edit, asker, reply } => {
                    let edited = self.edit(edit, asker, now);
                    self.answer(edited, reply, &mut waiting);
                }
                Request::Change { settings, reply } => {
                    let changed = self.change(&settings, now);
                    if changed.is_ok() {
                        patterns = Some(settings.patterns);
                    }
                    self.answer(changed, reply, &mut waiting);
                }
                Request::Export(export_sender) => {
                    self.export_sender = export_sender.map(|export_sender| *export_sender)
                }
                Request::End => runs = false,
                read => reads.push(read),
            }
        }
        if !waiting.is_empty() {
            let done = self.put_in_force(now).map_err(Refusal::new);
            match (&done, patterns) {
                (Ok(()), patterns) => {
                    self.store.changed();
                    patterns
                        .into_iter()
                        .for_each(|p| self.ports.set_patterns(p));
                }
                (Err(_), _) => (self.book, self.trusted, self.blackhole_action) = before,
            }
            for tell in waiting {
                tell(done.clone());
            }
        }
        for read in reads {
            self.tell(read, now);
        }
        runs
    }

    /// A refusal at once; the rest when it is in force. Who has gone meanwhile misses the answer.
    fn answer<T: 'static>(
        &self,
        result: Result<T, Refusal>,
        reply: Sender<Result<T, Refusal>>,
        waiting: &mut Waiting,
    ) {
        match result {
            Ok(value) => waiting.push(Box::new(move |done: Result<(), Refusal>| {
                let _ = reply.try_send(done.map(|()| value));
            })),
            Err(refusal) => drop(reply.try_send(Err(refusal))),
        }
    }

    /// Restores the runtime rules of the previous run. A state file that cannot be used costs rules, never
    /// the agent.
    fn restore(&mut self) {
        let entries = self.store.load(&self.errors);
        let count = entries.len();
        let left_out = self.book.restore(entries);
        if left_out > 0 {
            self.store
                .damaged(format!("{left_out} rules found no room"));
        }
        if count > left_out {
            log::info!("{} firewall rules restored", count - left_out);
        }
    }

    /// The kernel refused the restored rules together with those of the configuration.
    fn leave_out_restored(&mut self, why: &str) {
        let count = self.book.flush();
        if count > 0 {
            self.store
                .damaged(format!("{count} restored rules are not in force: {why}"));
        }
    }

    /// What happens by itself.
    fn tick(&mut self, now: Instant) {
        let expired = self.book.expire(now);
        if expired {
            self.store.changed();
        }
        let paced = now < self.next_step;
        let moved = match !paced && (now >= self.next_tick || self.stale_addresses) {
            true => {
                self.next_tick = now + self.interval();
                self.look_around(now)
            }
            false => false,
        };
        let renumbered = !paced && self.ports.take_renumbered() && !self.book.patterns().is_empty();
        if expired || moved || renumbered || (self.behind && !paced) {
            self.behind = false;
            let start = Instant::now();
            if let Err(why) = self.put_in_force(now) {
                self.behind = true;
                self.errors
                    .count_and_log(Subsystem::Firewall, "rules", || why);
            }
            let done = Instant::now();
            self.next_step = done + ((done - start) * REST).min(MOST_REST);
        }
        if self.store.is_due(now) {
            self.store.save(self.book.runtime(), &self.errors);
        }
    }

    fn interval(&self) -> Duration {
        match self.blackholes {
            Some(_) => ROUTES_TICK,
            None => TICK,
        }
    }

    /// Own addresses, peers and blackholes; whether something is not what it was.
    fn look_around(&mut self, now: Instant) -> bool {
        if std::mem::take(&mut self.stale_addresses) {
            match netlink::addresses() {
                Ok(own) => self.trusted.own = own.into_iter().take(guard::MAX_OWN).collect(),
                Err(error) => {
                    self.stale_addresses = true;
                    self.errors
                        .count_and_log(Subsystem::Netlink, "addresses", || error.to_string());
                }
            }
        }
        if now >= self.next_peers {
            self.next_peers = now + PEERS_INTERVAL;
            for name in self.ports.find_removed(&*self.kernel) {
                self.errors.count_and_log(Subsystem::Firewall, "hook", || {
                    format!("{name}: another program removed the XDP link; it is attached again")
                });
            }
            let peers = (self.peers)();
            self.trusted.peers = peers.into_iter().take(guard::MAX_PEERS).collect();
        }
        let trusted = self.book.set_allow(self.trusted.matches());
        self.look_at_blackholes() || trusted
    }

    fn look_at_blackholes(&mut self) -> bool {
        let Some(blackholes) = &self.blackholes else {
            return false;
        };
        let told = blackholes.changed().try_recv().is_ok();
        if !told && self.generation.is_some() {
            return false;
        }
        let (generation, prefixes) = blackholes.snapshot();
        if self.generation.take() == Some(generation) {
            self.generation = Some(generation);
            return false;
        }
        let left_out = self.book.set_blackholes(&prefixes, self.blackhole_action);
        self.generation = Some(generation);
        if left_out > 0 {
            self.errors.count_and_log(Subsystem::Firewall, "room", || {
                format!(
                    "{left_out} blackholes found no room among {} rules",
                    book::MAX_RULES
                )
            });
        }
        true
    }

    fn compile(&self, now: Instant) -> Vec<Compilable> {
        self.book
            .compile(now, |pattern| self.ports.resolve(pattern))
    }

    /// The book as it is, in one step.
    fn put_in_force(&mut self, now: Instant) -> Result<(), String> {
        let counts = match self.ledger.loses(&self.book) {
            true => self.counts(),
            false => Vec::new(),
        };
        self.kernel.replace(&self.compile(now))?;
        self.ledger.follow(&self.book, &counts);
        Ok(())
    }

    fn counts(&self) -> Vec<(RuleId, Counts)> {
        self.kernel.counts().unwrap_or_else(|error| {
            self.errors
                .count_and_log(Subsystem::BpfMap, "read", || error.to_string());
            Vec::new()
        })
    }
}
