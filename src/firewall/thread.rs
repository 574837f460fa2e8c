// SPDX-License-Identifier: AGPL-3.0-only
//! THREAD firewall: owns the rules and the program, and applies each change in one step.

mod apply;
mod events;
mod report;
mod store;

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

use super::allowlist::{self, Allowlist};
use super::attachments::Attachments;
use super::backend::{Backend, Counts};
use super::drop_samples::DropSamples;
use super::handle::{FirewallError, FirewallSettings, Request, RequestReceiver};
use super::rule_series::RuleSeries;
use super::rule_set::{self, RuleSet};
use crate::flow::export_queue::ExportSender;
use crate::netlink::{self, AddressEvents, Link, LinkEvents, LinkSocket, ReadResult};
use crate::sys::error_counters::{ErrorCounters, Subsystem};
use crate::sys::os_error;
use crate::sys::threads::Heartbeat;
use crate::types::flow::FlowRecord;
use crate::types::prefix::Prefix;
use crate::types::rule::{Action, KernelRule, Rule, RuleId};
use store::Store;

/// The time between two refreshes; the second constant applies if there are blackholes.
const INTERVAL: Duration = Duration::from_secs(1);
const ROUTES_INTERVAL: Duration = Duration::from_millis(200);

/// After a rule set that external events caused, the thread rests for this many times the time that it took to
/// apply it: a flapping route or interface among 100,000 rules uses at most a fifth of a CPU.
const REST_FACTOR: u32 = 4;
const MAX_REST: Duration = Duration::from_secs(5);

/// The time between two reads of all BMP peers and of the XDP links.
const PEERS_INTERVAL: Duration = Duration::from_secs(5);

/// The source of the prefixes that BGP routes request to drop.
pub trait Blackholes: Send {
    /// Returns the prefixes, and a number that differs after each change.
    fn snapshot(&self) -> (u64, Vec<Prefix>);
    /// Returns a channel that receives a message after each change. For one listener.
    fn changed(&self) -> Receiver<()>;
}

/// The parameters of the thread at its start.
pub struct WorkerParams {
    pub backend: Box<dyn Backend>,
    pub settings: FirewallSettings,
    /// Empty = no state file.
    pub state_file: PathBuf,
    /// Opened before `links` were read, so that no event is missed in between.
    pub events: LinkEvents,
    pub links: Vec<Link>,
    /// BMP routers and their BGP peers.
    pub peers: Box<dyn Fn() -> BTreeSet<IpAddr> + Send>,
    pub blackholes: Option<Box<dyn Blackholes>>,
    /// The rules of the source check.
    pub source_check: Option<Box<dyn Fn() -> Arc<Vec<Rule>> + Send>>,
    /// Receives the dropped flows.
    pub export_sender: Option<ExportSender>,
    pub errors: Arc<ErrorCounters>,
}

pub struct Worker {
    backend: Box<dyn Backend>,
    rule_set: RuleSet,
    attachments: Attachments,
    rule_series: RuleSeries,
    allowlist: Allowlist,
    store: Store,
    events: LinkEvents,
    addresses: AddressEvents,
    peers: Box<dyn Fn() -> BTreeSet<IpAddr> + Send>,
    blackholes: Option<Box<dyn Blackholes>>,
    source_check: Option<Box<dyn Fn() -> Arc<Vec<Rule>> + Send>>,
    blackhole_action: Action,
    /// The generation of the blackholes in the rule set.
    generation: Option<u64>,
    errors: Arc<ErrorCounters>,
    requests: Receiver<Request>,
    woken: UnixStream,
    /// Whether the kernel does not have the current rule set, because a change without a caller failed.
    behind: bool,
    events_lost: bool,
    stale_addresses: bool,
    next_peers: Instant,
    next_refresh: Instant,
    /// External events cause no new rule set before this time.
    next_apply: Instant,
    export_sender: Option<ExportSender>,
    /// The largest flows that were dropped in the last seconds.
    dropped: Vec<FlowRecord>,
}

/// Callers that wait until their change is in effect.
type Waiting = Vec<Box<dyn FnOnce(Result<(), FirewallError>)>>;

impl Worker {
    /// Creates the thread's state. The rules are applied before anything is attached.
    pub fn new(start: WorkerParams, requests: RequestReceiver) -> Result<Self, String> {
        let now = Instant::now();
        let settings = start.settings;
        let addresses = AddressEvents::open().map_err(|error| {
            let reason = os_error::reason(&error);
            format!("cannot follow the addresses of this machine: {reason}")
        })?;
        let mut worker = Self {
            backend: start.backend,
            rule_set: RuleSet::default(),
            attachments: Attachments::new(settings.patterns.clone(), start.links),
            rule_series: RuleSeries::default(),
            allowlist: Allowlist::default(),
            store: Store::new(start.state_file, requests.problem, now),
            events: start.events,
            addresses,
            peers: start.peers,
            blackholes: start.blackholes,
            source_check: start.source_check,
            blackhole_action: settings.blackhole_action,
            generation: None,
            errors: start.errors,
            requests: requests.requests,
            woken: requests.woken,
            behind: false,
            events_lost: false,
            stale_addresses: true,
            next_peers: now,
            next_refresh: now,
            next_apply: now,
            export_sender: start.export_sender,
            dropped: Vec::new(),
        };
        worker.apply(&settings, now)?;
        worker.restore();
        worker.refresh(now);
        worker.attachments.take_renumbered();
        if let Err(why) = worker.apply_rules(now) {
            worker.leave_out_restored(&why);
            worker.apply_rules(now)?;
        }
        Ok(worker)
    }

    /// Runs until the end is requested, then detaches the program from all interfaces on which it is not pinned.
    pub fn run(mut self, heartbeat: &Heartbeat) {
        let drop_samples = RefCell::new(DropSamples::new(Instant::now()));
        let errors = self.errors.clone();
        let ring = self.open_ring(|bytes| {
            if let Err(error) = drop_samples.borrow_mut().take(bytes) {
                errors.count_and_log(Subsystem::RingBuffer, "decode", || error.to_string());
            }
            0
        });
        let mut runs = true;
        while runs && !heartbeat.stopping() {
            heartbeat.beat();
            self.read_events();
            let now = Instant::now();
            runs = self.handle_requests(now);
            self.reconcile(now);
            self.collect_drops(ring.as_ref(), &drop_samples, now);
            for problem in self.attachments.reconcile(&mut *self.backend, now) {
                self.errors
                    .count_and_log(Subsystem::Firewall, "attach", || problem);
            }
            self.wait();
        }
        let now = Instant::now();
        drop_samples.borrow_mut().cut_short(now);
        self.collect_drops(ring.as_ref(), &drop_samples, now);
        self.store.save(self.rule_set.runtime(), &self.errors);
        self.backend.close(&mut || heartbeat.beat());
    }

    /// Opens the ring. If this fails, there are no samples, and the firewall works without them.
    fn open_ring<'a>(&self, take: impl FnMut(&[u8]) -> i32 + 'a) -> Option<RingBuffer<'a>> {
        let open = || {
            let Some(map) = self.backend.ring()? else {
                return Ok(None);
            };
            let mut builder = RingBufferBuilder::new();
            builder.add(&map, take).map_err(io::Error::other)?;
            builder.build().map(Some).map_err(io::Error::other)
        };
        open().unwrap_or_else(|error| {
            log::warn!(
                "firewall stats has no dropped flows: cannot open the ring buffer: {}; the rules work",
                os_error::reason(&error)
            );
            None
        })
    }

    fn collect_drops(
        &mut self,
        ring: Option<&RingBuffer<'_>>,
        drop_samples: &RefCell<DropSamples>,
        now: Instant,
    ) {
        let Some(ring) = ring else { return };
        if let Err(error) = ring.consume() {
            self.errors
                .count_and_log(Subsystem::RingBuffer, "consume", || error.to_string());
        }
        if let Some(flows) = drop_samples
            .borrow_mut()
            .end_interval(now, self.export_sender.as_mut())
        {
            self.dropped = flows;
        }
    }

    fn wait(&mut self) {
        let soon = [
            self.rule_set.next_expiry(Instant::now()),
            self.attachments.next_retry(),
            self.store.next_try(),
        ];
        let until = soon
            .into_iter()
            .flatten()
            .fold(self.next_refresh.max(self.next_apply), Instant::min);
        let timeout = match self.attachments.has_work() {
            true => Duration::ZERO,
            false => until.saturating_duration_since(Instant::now()),
        };
        let timeout = Timespec::try_from(timeout).ok();
        let mut fds = [
            PollFd::new(&self.events, PollFlags::IN),
            PollFd::new(&self.addresses, PollFlags::IN),
            PollFd::new(&self.woken, PollFlags::IN),
        ];
        // an interrupted wait only ends early
        let _ = poll(&mut fds, timeout.as_ref());
        let _ = (&self.woken).read(&mut [0; 64]);
    }

    fn read_events(&mut self) {
        match self.events.read() {
            ReadResult::Events(events) => {
                for event in events {
                    self.attachments.take(event, &mut *self.backend);
                }
            }
            ReadResult::Overflow => self.events_lost = true,
        }
        if self.events_lost
            && let Ok(links) = LinkSocket::new(self.errors.clone()).dump()
        {
            self.attachments.replace(links, &mut *self.backend);
            self.events_lost = false;
        }
        self.stale_addresses |= self.addresses.happened();
    }

    /// Handles all waiting requests in one batch: each changes the rule set separately, and all changes are applied
    /// together. Returns false if the thread must end.
    fn handle_requests(&mut self, now: Instant) -> bool {
        let before = (
            self.rule_set.clone(),
            self.allowlist.clone(),
            self.blackhole_action,
        );
        let mut waiting = Waiting::new();
        let mut patterns = None;
        let mut runs = true;
        let mut reads = Vec::new();
        let mut guarding = Vec::new();
        let mut guard_changed = false;
        for request in self.requests.try_iter().collect::<Vec<_>>() {
            match request {
                Request::Edit {
                    edit,
                    requester,
                    reply,
                } => {
                    let edited = self.edit(edit, requester, now);
                    self.answer(edited, reply, &mut waiting);
                }
                Request::Change { settings, reply } => {
                    let changed = self.change(&settings, now);
                    if changed.is_ok() {
                        patterns = Some(settings.patterns);
                    }
                    self.answer(changed, reply, &mut waiting);
                }
                Request::Guard { rules, reply } => {
                    guard_changed |= self.rule_set.set_guard(&rules);
                    guarding.push(reply);
                }
                Request::Export(export_sender) => {
                    self.export_sender = export_sender.map(|export_sender| *export_sender)
                }
                Request::End => runs = false,
                read => reads.push(read),
            }
        }
        let mut done = Ok(());
        if !waiting.is_empty() || guard_changed {
            done = self.apply_rules(now).map_err(FirewallError::new);
            match (&done, patterns) {
                (Ok(()), patterns) => {
                    events::record_added(&before.0, &self.rule_set);
                    if !waiting.is_empty() {
                        self.store.changed();
                    }
                    patterns
                        .into_iter()
                        .for_each(|p| self.attachments.set_patterns(p));
                }
                (Err(_), _) => (self.rule_set, self.allowlist, self.blackhole_action) = before,
            }
            for report in waiting {
                report(done.clone());
            }
        }
        for reply in guarding {
            let counts = done.clone().map(|()| self.guard_counts());
            drop(reply.try_send(counts));
        }
        for read in reads {
            self.report(read, now);
        }
        runs
    }

    /// Returns an error to the caller at once, and a success when the change is in effect. A caller that no longer
    /// waits receives no answer.
    fn answer<T: 'static>(
        &self,
        result: Result<T, FirewallError>,
        reply: Sender<Result<T, FirewallError>>,
        waiting: &mut Waiting,
    ) {
        match result {
            Ok(value) => waiting.push(Box::new(move |done: Result<(), FirewallError>| {
                let _ = reply.try_send(done.map(|()| value));
            })),
            Err(refusal) => drop(reply.try_send(Err(refusal))),
        }
    }

    /// Restores the runtime rules of the previous run. An unusable state file loses rules, but never ends the
    /// agent.
    fn restore(&mut self) {
        let entries = self.store.load(&self.errors);
        let count = entries.len();
        let left_out = self.rule_set.restore(entries);
        if left_out > 0 {
            self.store.damaged(format!(
                "{left_out} rules are left out: the limits of rules are reached"
            ));
        }
        if count > left_out {
            log::info!("{} firewall rules restored", count - left_out);
        }
    }

    /// Removes the restored rules, after the kernel refused them together with those of the configuration.
    fn leave_out_restored(&mut self, why: &str) {
        let count = self.rule_set.flush();
        if count > 0 {
            self.store
                .damaged(format!("{count} restored rules are not in force: {why}"));
        }
    }

    /// Applies changes without a request: expiry, addresses, peers, blackholes, interfaces.
    fn reconcile(&mut self, now: Instant) {
        let before = self.rule_set.shared_runtime();
        let expired = self.rule_set.expire(now);
        if expired {
            events::record_expired(&before, &self.rule_set);
            self.store.changed();
        }
        let paced = now < self.next_apply;
        let moved = match !paced && (now >= self.next_refresh || self.stale_addresses) {
            true => {
                self.next_refresh = now + self.interval();
                self.refresh(now)
            }
            false => false,
        };
        let renumbered =
            !paced && self.attachments.take_renumbered() && !self.rule_set.patterns().is_empty();
        if expired || moved || renumbered || (self.behind && !paced) {
            self.behind = false;
            let start = Instant::now();
            if let Err(why) = self.apply_rules(now) {
                self.behind = true;
                self.errors
                    .count_and_log(Subsystem::Firewall, "rules", || why);
            }
            let done = Instant::now();
            self.next_apply = done + ((done - start) * REST_FACTOR).min(MAX_REST);
        }
        if self.store.is_due(now) {
            self.store.save(self.rule_set.runtime(), &self.errors);
        }
    }

    fn interval(&self) -> Duration {
        match self.blackholes {
            Some(_) => ROUTES_INTERVAL,
            None => INTERVAL,
        }
    }

    /// Reads local addresses, peers and blackholes; returns whether one of them changed.
    fn refresh(&mut self, now: Instant) -> bool {
        if std::mem::take(&mut self.stale_addresses) {
            match netlink::addresses() {
                Ok(local) => {
                    self.allowlist.local = local.into_iter().take(allowlist::MAX_LOCAL).collect()
                }
                Err(error) => {
                    self.stale_addresses = true;
                    self.errors
                        .count_and_log(Subsystem::Netlink, "addresses", || error.to_string());
                }
            }
        }
        if now >= self.next_peers {
            self.next_peers = now + PEERS_INTERVAL;
            for name in self.attachments.find_removed(&*self.backend) {
                self.errors.count_and_log(Subsystem::Firewall, "hook", || {
                    format!("{name}: another program removed the XDP link; it is attached again")
                });
            }
            let peers = (self.peers)();
            self.allowlist.peers = peers.into_iter().take(allowlist::MAX_PEERS).collect();
        }
        let allowlist = self.rule_set.set_allow(self.allowlist.matches());
        let source_check = self.source_check.as_ref().map(|rules| rules());
        let source_check = source_check.is_some_and(|rules| self.rule_set.set_source_check(&rules));
        self.update_blackholes() || allowlist || source_check
    }

    fn update_blackholes(&mut self) -> bool {
        let Some(blackholes) = &self.blackholes else {
            return false;
        };
        let reported = blackholes.changed().try_recv().is_ok();
        if !reported && self.generation.is_some() {
            return false;
        }
        let (generation, prefixes) = blackholes.snapshot();
        if self.generation.take() == Some(generation) {
            self.generation = Some(generation);
            return false;
        }
        let before = self.rule_set.clone();
        let left_out = self
            .rule_set
            .set_blackholes(&prefixes, self.blackhole_action);
        events::record_blackholes(&before, &self.rule_set);
        self.generation = Some(generation);
        if left_out > 0 {
            self.errors.count_and_log(Subsystem::Firewall, "room", || {
                format!(
                    "{left_out} blackholes are left out: at most {} rules; limit them with \
                     agent.enrich.rib.bmp.allow or remove rules",
                    rule_set::MAX_RULES
                )
            });
        }
        true
    }

    fn compile(&self, now: Instant) -> Vec<KernelRule> {
        self.rule_set
            .compile(now, |pattern| self.attachments.resolve(pattern))
    }

    /// Applies the rule set in one step.
    fn apply_rules(&mut self, now: Instant) -> Result<(), String> {
        let counts = match self.rule_series.needs_counts(&self.rule_set) {
            true => self.counts(),
            false => Vec::new(),
        };
        self.backend.replace(&self.compile(now))?;
        self.rule_series.update(&self.rule_set, &counts);
        Ok(())
    }

    fn counts(&self) -> Vec<(RuleId, Counts)> {
        self.backend.counts().unwrap_or_else(|error| {
            self.errors
                .count_and_log(Subsystem::BpfMap, "read", || error.to_string());
            Vec::new()
        })
    }
}
