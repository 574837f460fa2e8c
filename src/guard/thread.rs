// SPDX-License-Identifier: AGPL-3.0-only
//! THREAD guard: the attacks in progress and their rules in the firewall.

use std::collections::HashSet;
use std::time::{Duration, Instant, SystemTime};

use crossbeam_channel::{Receiver, select};

use super::ActionSettings;
use super::backend::RuleBackend;
use super::baseline_file::BaselineFile;
use super::links::{FULL, LinkCounters, LinkLoad, LinkMeter};
use super::recorder::AttackRecorder;
use super::report::{AttackId, AttackReport, DetectorEvent};
use super::rules::{Decision, decide};
use super::shared::{AttackStatus, AttackStep, GuardHandle, GuardRequest, OperatorCommand};
use crate::store::event_log;
use crate::sys::threads::Heartbeat;
use crate::types::event::EventKind;
use crate::types::guard::{GuardAction, GuardMode, Quantity};
use crate::types::named::Named;
use crate::types::prefix::Prefix;
use crate::types::rule::{Action, Rule};

/// The time between two readings of the rules' counters.
const INTERVAL: Duration = Duration::from_millis(250);
/// The rules are in force: what is still known of the traffic before them is no reason for others.
const SETTLED: Duration = Duration::from_secs(3);
/// A rule shows an attack while it matches this part of the threshold.
const RULE_PART: f32 = 0.3;
/// Attacks in progress; a further one is only logged.
const MAX_ATTACKS: usize = 256;

struct TrackedAttack {
    status: AttackStatus,
    /// The rules in force; empty in mode watch.
    rules: Vec<Rule>,
    applied: Option<Instant>,
    expires: Instant,
    /// Packets and bytes of the rules at the previous reading, and its time.
    counted: Option<(Instant, u64, u64)>,
    is_calm: bool,
    is_stopped: bool,
    link: Option<LinkMeter>,
}

pub struct Worker {
    settings: ActionSettings,
    backend: Option<Box<dyn RuleBackend>>,
    recorder: Option<Box<dyn AttackRecorder>>,
    baseline: Option<BaselineFile>,
    handle: GuardHandle,
    links: LinkCounters,
    attacks: Vec<TrackedAttack>,
    allowed: Vec<Prefix>,
    next_check: Instant,
}

impl Worker {
    /// `backend` is `None` if the firewall is disabled.
    pub fn new(
        settings: ActionSettings,
        backend: Option<Box<dyn RuleBackend>>,
        handle: GuardHandle,
        links: LinkCounters,
    ) -> Self {
        Self {
            settings,
            backend,
            recorder: None,
            baseline: None,
            handle,
            links,
            attacks: Vec::new(),
            allowed: Vec::new(),
            next_check: Instant::now(),
        }
    }

    /// Stores the first packets of attacks.
    pub fn record(mut self, recorder: Box<dyn AttackRecorder>) -> Self {
        self.recorder = Some(recorder);
        self
    }

    /// Saves what the detector learns.
    pub fn save(mut self, baseline: Option<BaselineFile>) -> Self {
        self.baseline = baseline;
        self
    }

    /// Runs until the end is requested.
    pub fn run(
        mut self,
        events: &Receiver<DetectorEvent>,
        requests: &Receiver<GuardRequest>,
        heartbeat: &Heartbeat,
    ) {
        while !heartbeat.stopping() {
            heartbeat.beat();
            let wait = self.next_check.saturating_duration_since(Instant::now());
            select! {
                recv(events) -> event => match event {
                    Ok(event) => self.handle(event, Instant::now()),
                    // thread flow has ended
                    Err(_) => std::thread::sleep(INTERVAL),
                },
                recv(requests) -> request => if let Ok((command, reply)) = request {
                    let done = self.command(&command, Instant::now());
                    // the client may have left
                    let _ = reply.try_send(done);
                },
                default(wait) => {}
            }
            let now = Instant::now();
            if now >= self.next_check {
                self.next_check = now + INTERVAL;
                self.check(now);
            }
        }
    }

    pub fn handle(&mut self, event: DetectorEvent, now: Instant) {
        match event {
            DetectorEvent::Alarm(report) => self.alarm(*report, now),
            DetectorEvent::Update(report) => self.update(*report, now),
            DetectorEvent::Calm(id) => {
                if let Some(attack) = self.find(id) {
                    attack.is_calm = true;
                }
            }
        }
    }

    fn find(&mut self, id: AttackId) -> Option<&mut TrackedAttack> {
        self.attacks
            .iter_mut()
            .find(|attack| attack.status.report.id == id)
    }

    /// Returns the reply to an attack, with no more rules than there is room for.
    fn decide(&self, report: &AttackReport) -> Decision {
        let is_allowed = self.allowed.iter().any(|prefix| is_within(report, prefix));
        if is_allowed {
            return Decision {
                action: GuardAction::Alert,
                rules: Vec::new(),
                reason: "an operator allows the traffic of this target",
            };
        }
        let decision = decide(report, self.settings.action);
        let used: usize = self.attacks.iter().map(|attack| attack.rules.len()).sum();
        match used + decision.rules.len() > self.settings.max_rules {
            false => decision,
            true => Decision {
                action: GuardAction::Alert,
                rules: Vec::new(),
                reason: "agent.guard.max_rules rules are in force",
            },
        }
    }

    fn alarm(&mut self, report: AttackReport, now: Instant) {
        if self.attacks.len() >= MAX_ATTACKS {
            log::error!(
                "attack on {}: more than {MAX_ATTACKS} attacks are in progress",
                report.target
            );
            return;
        }
        let decision = self.decide(&report);
        let age = report.now_ns.saturating_sub(report.since_ns);
        let alarm = SystemTime::now();
        let status = AttackStatus {
            began: alarm - Duration::from_nanos(age),
            alarm,
            ended: None,
            in_force: false,
            expires: None,
            packets: 0,
            bytes: 0,
            problem: None,
            link: None,
            pcap: None,
            report,
            decision,
        };
        let id = status.report.id;
        self.attacks.push(TrackedAttack {
            status,
            rules: Vec::new(),
            applied: None,
            expires: now,
            counted: None,
            is_calm: false,
            is_stopped: false,
            link: None,
        });
        self.apply(id, now);
        self.store_packets(id, now);
        let Some(attack) = self.find(id) else { return };
        let status = attack.status.clone();
        log::warn!("{}", describe(&status));
        event_log::record(EventKind::Attack, &describe(&status));
        let action = self.action_taken(&status);
        let mut state = self.handle.lock();
        let kind = (status.report.kind, action);
        *state.attacks.entry(kind).or_default() += 1;
        state.record(AttackStep::Alarm, &status);
        drop(state);
        self.publish_rules(id);
        // after the rules: it may wait for the driver
        let links = &self.links;
        if let Some(attack) = self.attacks.last_mut() {
            let report = &attack.status.report;
            let interface = report.interface.clone();
            attack.link = interface.map(|name| LinkMeter::new(name, report.heading, links));
        }
    }

    /// Begins to store the packets of an attack, if this is enabled.
    fn store_packets(&mut self, id: AttackId, now: Instant) {
        let Some(mut recorder) = self.recorder.take() else {
            return;
        };
        // a plain threshold is no attack
        let attack = self.find(id);
        if let Some(attack) = attack.filter(|attack| attack.status.report.kind.is_attack()) {
            match recorder.begin(&attack.status, now) {
                Ok(path) => attack.status.pcap = Some(path),
                Err(why) => log::warn!("attack {}: its packets are not stored: {why}", id.0),
            }
        }
        self.recorder = Some(recorder);
    }

    /// Returns what is done: in mode watch nothing.
    fn action_taken(&self, status: &AttackStatus) -> GuardAction {
        match self.settings.mode {
            GuardMode::Watch => GuardAction::Alert,
            GuardMode::Act => status.decision.action,
        }
    }

    /// Reports the rules of an attack that were just added, or why they were not.
    fn publish_rules(&mut self, id: AttackId) {
        let Some(attack) = self.find(id) else { return };
        let status = attack.status.clone();
        let step = match (&status.problem, status.in_force) {
            (Some(problem), _) => {
                log::error!(
                    "attack {} on {}: no rules: {problem}",
                    id.0,
                    status.report.target
                );
                Some(AttackStep::Failed)
            }
            (None, true) => Some(AttackStep::Rules),
            (None, false) => None,
        };
        if let Some(step) = step {
            self.handle.lock().record(step, &status);
        }
        self.publish();
    }

    fn update(&mut self, report: AttackReport, now: Instant) {
        let id = report.id;
        let decision = self.decide(&report);
        let Some(attack) = self.find(id) else { return };
        let settled = attack
            .applied
            .is_none_or(|at| now.saturating_duration_since(at) >= SETTLED);
        attack.is_calm = false;
        let first = attack.status.report.since_ns;
        attack.status.report = AttackReport {
            since_ns: first,
            signature: match settled {
                true => report.signature,
                false => attack.status.report.signature.take(),
            },
            ..report
        };
        if !settled || attack.is_stopped || decision.rules.is_empty() {
            return;
        }
        let known = attack.rules.clone();
        let is_new = decision.rules.iter().any(|rule| !known.contains(rule));
        let in_force = attack.status.in_force;
        if !is_new || (in_force && attack.status.decision == decision) {
            return;
        }
        attack.status.decision = decision;
        self.apply(id, now);
        if let Some(attack) = self.find(id)
            && attack.status.in_force
        {
            log::warn!("{}", describe(&attack.status.clone()));
        }
        self.publish_rules(id);
    }

    /// Adds the rules that were decided to those in force.
    fn apply(&mut self, id: AttackId, now: Instant) {
        if self.settings.mode == GuardMode::Watch || self.backend.is_none() {
            return;
        }
        let ttl = self.settings.ttl;
        let Some(attack) = self.find(id) else { return };
        let wanted = attack.status.decision.rules.clone();
        if wanted.is_empty() {
            return;
        }
        let before = attack.rules.clone();
        // the rules that pass are first
        let mut rules: Vec<Rule> = Vec::new();
        for rule in wanted.into_iter().chain(before.iter().cloned()) {
            if !rules.contains(&rule) {
                rules.push(rule);
            }
        }
        rules.sort_by_key(|rule| rule.action != Action::Pass);
        attack.rules = rules;
        let done = self.push();
        let Some(attack) = self.find(id) else { return };
        match done {
            Ok(()) => {
                attack.applied = Some(now);
                attack.expires = now + ttl;
                attack.status.in_force = true;
                attack.status.expires = Some(SystemTime::now() + ttl);
                attack.status.problem = None;
            }
            Err(problem) => {
                attack.rules = before;
                attack.status.problem = Some(problem);
            }
        }
    }

    /// Sends the rules of all attacks to the firewall, and reads their counters.
    fn push(&mut self) -> Result<(), String> {
        let Some(backend) = &self.backend else {
            return Ok(());
        };
        let mut known = HashSet::new();
        let all = self.attacks.iter().flat_map(|attack| &attack.rules);
        // two attacks may except the same flow
        let mut rules: Vec<Rule> = all
            .filter(|rule| known.insert(rule.key()))
            .cloned()
            .collect();
        rules.sort_by_key(|rule| rule.action != Action::Pass);
        let counts = backend.set(rules.clone())?;
        for attack in &mut self.attacks {
            let own = rules.iter().zip(&counts);
            let own =
                own.filter(|(rule, _)| attack.rules.contains(rule) && rule.action != Action::Pass);
            let (packets, bytes) = own.fold((0, 0), |(packets, bytes), (_, counts)| {
                (packets + counts.0, bytes + counts.1)
            });
            // a rule that is removed and added again begins at 0
            attack.status.packets = attack.status.packets.max(packets);
            attack.status.bytes = attack.status.bytes.max(bytes);
        }
        Ok(())
    }

    /// Extends rules that match, removes those that have expired, and ends attacks.
    pub fn check(&mut self, now: Instant) {
        if let Some(recorder) = &mut self.recorder {
            recorder.write(now);
        }
        if let Some(baseline) = &self.baseline {
            baseline.save(&self.handle);
        }
        if self.attacks.iter().any(|attack| !attack.rules.is_empty()) {
            // an error is that of the next change too, which reports it
            let _ = self.push();
        }
        self.measure_links(now);
        let ttl = self.settings.ttl;
        let mut removed = Vec::new();
        let mut ended = Vec::new();
        for attack in &mut self.attacks {
            let id = attack.status.report.id;
            if attack.rules.is_empty() {
                if attack.is_calm {
                    ended.push(id);
                }
                continue;
            }
            if attack.matches(now) {
                // the attack may have ended since the previous reading
                let left = ttl.saturating_sub(2 * INTERVAL);
                attack.expires = now + left;
                attack.status.expires = Some(SystemTime::now() + left);
            } else if now >= attack.expires {
                removed.push(id);
            }
        }
        for id in removed {
            self.remove_rules(id);
            if self.find(id).is_some_and(|attack| attack.is_calm) {
                ended.push(id);
            }
        }
        for id in ended {
            self.end(id);
        }
        self.publish();
    }

    /// Measures the links of all attacks, and reports those that are full.
    fn measure_links(&mut self, now: Instant) {
        for attack in &mut self.attacks {
            let Some(meter) = &mut attack.link else {
                continue;
            };
            let load = meter.measure(now, &self.links).clone();
            let was_full = attack.status.link.as_ref().is_some_and(LinkLoad::is_full);
            let is_full = load.is_full();
            attack.status.link = Some(load);
            if is_full && !was_full {
                log::warn!("{}", describe(&attack.status));
                event_log::record(EventKind::Attack, &describe(&attack.status));
                self.handle
                    .lock()
                    .record(AttackStep::LinkFull, &attack.status);
            }
        }
    }

    /// Removes the rules of an attack; returns their number.
    fn remove_rules(&mut self, id: AttackId) -> usize {
        let Some(attack) = self.find(id) else {
            return 0;
        };
        let count = std::mem::take(&mut attack.rules).len();
        if count == 0 {
            return 0;
        }
        attack.applied = None;
        attack.status.in_force = false;
        attack.status.expires = None;
        let status = attack.status.clone();
        if let Err(problem) = self.push() {
            log::error!(
                "cannot remove the rules of attack {}: {problem}; the next change tries again",
                id.0
            );
        }
        log::info!(
            "attack {} on {}: rules removed after {} packets",
            id.0,
            status.report.target,
            status.packets
        );
        self.handle.lock().record(AttackStep::RulesRemoved, &status);
        count
    }

    fn end(&mut self, id: AttackId) {
        let Some(at) = self
            .attacks
            .iter()
            .position(|attack| attack.status.report.id == id)
        else {
            return;
        };
        let mut status = self.attacks.remove(at).status;
        status.ended = Some(SystemTime::now());
        if let Some(recorder) = &mut self.recorder {
            recorder.end(id);
        }
        let text = format!("{} has ended", name(&status.report));
        log::info!("{text}");
        event_log::record(EventKind::AttackEnd, &text);
        let mut state = self.handle.lock();
        state.record(AttackStep::End, &status);
        state.end(status);
    }

    fn command(&mut self, command: &OperatorCommand, now: Instant) -> Result<usize, String> {
        let done = match command {
            OperatorCommand::Stop(id) => {
                let attack = self.find(*id);
                let attack = attack.ok_or_else(|| {
                    format!("no attack {} is in progress (see: rfm guard list)", id.0)
                })?;
                attack.is_stopped = true;
                self.remove_rules(*id)
            }
            OperatorCommand::Allow(prefix) => {
                if !self.allowed.contains(prefix) {
                    if self.allowed.len() >= self.settings.max_rules {
                        return Err(
                            "too many prefixes are allowed; add them to agent.firewall.allow"
                                .into(),
                        );
                    }
                    self.allowed.push(*prefix);
                }
                let attacks = self.attacks.iter_mut().map(|attack| &mut attack.status);
                let met = attacks.filter(|status| is_within(&status.report, prefix));
                let ids: Vec<_> = met.map(|status| status.report.id).collect();
                for id in &ids {
                    if let Some(attack) = self.find(*id) {
                        attack.is_stopped = true;
                    }
                }
                ids.into_iter().map(|id| self.remove_rules(id)).sum()
            }
        };
        self.next_check = now;
        self.publish();
        Ok(done)
    }

    fn publish(&self) {
        let mut state = self.handle.lock();
        state.active = self
            .attacks
            .iter()
            .map(|attack| attack.status.clone())
            .collect();
        state.allowed.clone_from(&self.allowed);
    }
}

impl TrackedAttack {
    /// Returns whether the rules have matched the attack since the previous reading.
    fn matches(&mut self, now: Instant) -> bool {
        let (packets, bytes) = (self.status.packets, self.status.bytes);
        let previous = self.counted.replace((now, packets, bytes));
        let Some((before, old_packets, old_bytes)) = previous else {
            return false;
        };
        let seconds = now
            .saturating_duration_since(before)
            .as_secs_f32()
            .max(0.01);
        let rate = match self.status.report.quantity() {
            Quantity::Bits => bytes.saturating_sub(old_bytes) as f32 * 8.0,
            _ => packets.saturating_sub(old_packets) as f32,
        };
        rate / seconds > self.status.report.threshold * RULE_PART
    }
}

/// Returns whether an operator's prefix covers the target.
fn is_within(report: &AttackReport, prefix: &Prefix) -> bool {
    let target = report.target.prefix();
    target.is_some_and(|target| prefix.contains(target.address()))
}

/// Returns the name of an attack or of the alarm of a plain threshold.
fn name(report: &AttackReport) -> String {
    let what = match report.kind.is_attack() {
        true => "attack",
        false => "threshold alarm",
    };
    format!("{what} {} on {}", report.id.0, report.target)
}

/// Describes an attack in one line.
pub fn describe(status: &AttackStatus) -> String {
    let report = &status.report;
    let name = name(report);
    let values = format!(
        "{:.0} {}/s {}",
        report.values[report.quantity() as usize],
        report.quantity().name(),
        report.heading.name()
    );
    let threshold = report.threshold;
    if !report.kind.is_attack() {
        return format!("{name}: {values}, {} = {threshold:.0}", report.kind.name());
    }
    let signature = match &report.signature {
        Some(signature) => format!("signature: {signature}"),
        None => "no signature".to_owned(),
    };
    let action = match (status.in_force, status.decision.action) {
        (true, action) => format!("action {}", action.name()),
        (false, GuardAction::Alert) => "action alert".to_owned(),
        (false, action) => format!("action alert, proposed {}", action.name()),
    };
    let reason = status.decision.reason;
    let full = status.link.as_ref().filter(|link| link.is_full());
    let full = full.map_or_else(String::new, |link| {
        format!("; the link {} is full: {FULL}", link.interface)
    });
    format!("{name}: {values}, threshold {threshold:.0}; {signature}; {action}: {reason}{full}")
}
