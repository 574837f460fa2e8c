// SPDX-License-Identifier: AGPL-3.0-only
//! The state of the guard for other threads, and the requests that they send to it.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use crossbeam_channel::{Receiver, Sender, bounded};

use super::baseline::LearnedTraffic;
use super::links::LinkLoad;
use super::report::{AttackId, AttackReport};
use super::rules::Decision;
use crate::sys::wake_up::WakeUp;
use crate::types::guard::{AlarmKind, GuardAction};
use crate::types::prefix::Prefix;

/// Events that a client may still read.
const MAX_EVENTS: usize = 256;
/// Attacks that have ended and are still listed.
const MAX_ENDED: usize = 64;
/// Requests that wait for thread guard.
const MAX_WAITING: usize = 16;
const TIMEOUT: Duration = Duration::from_secs(15);

/// A step in the course of an attack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttackStep {
    Alarm,
    /// Its rules were added, or others.
    Rules,
    /// Its rules could not be added.
    Failed,
    /// The link is full.
    LinkFull,
    /// Its rules expired, or an operator removed them.
    RulesRemoved,
    End,
}

impl AttackStep {
    pub fn name(self) -> &'static str {
        match self {
            Self::Alarm => "alarm",
            Self::Rules => "rules",
            Self::Failed => "failed",
            Self::LinkFull => "link_full",
            Self::RulesRemoved => "rules_removed",
            Self::End => "end",
        }
    }
}

/// An attack as clients see it.
#[derive(Clone, Debug)]
pub struct AttackStatus {
    pub report: AttackReport,
    pub decision: Decision,
    pub began: SystemTime,
    pub alarm: SystemTime,
    pub ended: Option<SystemTime>,
    /// Whether its rules are in the firewall.
    pub in_force: bool,
    pub expires: Option<SystemTime>,
    /// The packets that its rules have matched, without those that pass.
    pub packets: u64,
    pub bytes: u64,
    /// Why its rules are not in force.
    pub problem: Option<String>,
    /// The load of the link that it crosses.
    pub link: Option<LinkLoad>,
    /// The file with its first packets.
    pub pcap: Option<String>,
}

#[derive(Clone, Debug)]
pub struct AttackEvent {
    pub number: u64,
    pub time: SystemTime,
    pub step: AttackStep,
    pub attack: AttackStatus,
}

/// The state at one moment.
#[derive(Clone, Debug, Default)]
pub struct GuardState {
    pub active: Vec<AttackStatus>,
    /// The latest last.
    pub ended: VecDeque<AttackStatus>,
    pub events: VecDeque<AttackEvent>,
    /// The number before that of the first event of this agent.
    pub first_event: u64,
    pub last_event: u64,
    /// Wakes the server of the streams of events.
    pub wake_up: Option<Arc<WakeUp>>,
    pub attacks: BTreeMap<(AlarmKind, GuardAction), u64>,
    /// Targets for which an operator has forbidden rules.
    pub allowed: Vec<Prefix>,
    pub protect: Vec<Prefix>,
    /// The usual traffic of the protected prefixes; what is not saved yet.
    pub learned: Arc<LearnedTraffic>,
    pub unsaved: Option<Arc<LearnedTraffic>>,
    pub hosts: u64,
    pub watched: u64,
    pub evictions: u64,
    /// Reports that found the queue to thread guard full.
    pub lost_reports: u64,
}

impl GuardState {
    /// Records an event of an attack.
    pub fn record(&mut self, step: AttackStep, attack: &AttackStatus) {
        self.last_event += 1;
        if self.events.len() == MAX_EVENTS {
            self.events.pop_front();
        }
        self.events.push_back(AttackEvent {
            number: self.last_event,
            time: SystemTime::now(),
            step,
            attack: attack.clone(),
        });
        if let Some(wake_up) = &self.wake_up {
            wake_up.wake();
        }
    }

    /// Returns the first event after a number, and how many between both are no longer kept. A number of a previous agent
    /// is lower than all of this one.
    pub fn next_event(&self, after: u64) -> Option<(&AttackEvent, u64)> {
        // the clock has been set back since the previous agent
        let after = match after > self.last_event {
            true => self.first_event,
            false => after.max(self.first_event),
        };
        let at = self.events.partition_point(|event| event.number <= after);
        let event = self.events.get(at)?;
        Some((event, event.number - after - 1))
    }

    /// Moves an attack to the ended ones.
    pub fn end(&mut self, attack: AttackStatus) {
        self.active
            .retain(|active| active.report.id != attack.report.id);
        if self.ended.len() == MAX_ENDED {
            self.ended.pop_front();
        }
        self.ended.push_back(attack);
    }
}

/// A request of an operator.
#[derive(Clone, Debug)]
pub enum OperatorCommand {
    /// Removes the rules of an attack, and adds no others for it.
    Stop(AttackId),
    /// Removes the rules for a prefix, and adds none for it while the agent runs.
    Allow(Prefix),
}

/// A command, and the channel of its result.
pub type GuardRequest = (OperatorCommand, Sender<Result<usize, String>>);

/// Reads the state, and sends requests; cheap to clone, for any thread.
#[derive(Clone)]
pub struct GuardHandle {
    state: Arc<Mutex<GuardState>>,
    requests: Sender<GuardRequest>,
}

impl GuardHandle {
    pub fn new() -> (Self, Receiver<GuardRequest>) {
        let (requests, received) = bounded(MAX_WAITING);
        // so that clients can continue after a restart: JSON has integers up to 2^53 microseconds, the year 2255
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let first = now.map_or(0, |since| since.as_micros() as u64);
        let state = Arc::new(Mutex::new(GuardState {
            first_event: first,
            last_event: first,
            ..GuardState::default()
        }));
        (Self { state, requests }, received)
    }

    pub fn lock(&self) -> MutexGuard<'_, GuardState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends a request; returns the number of rules that it removed.
    pub fn ask(&self, command: OperatorCommand) -> Result<usize, String> {
        let (reply, answer) = bounded(1);
        let sent = self.requests.try_send((command, reply));
        sent.map_err(|_| "too many requests wait for thread guard; try again".to_owned())?;
        let late = |_| "thread guard does not answer; read the log".to_owned();
        answer.recv_timeout(TIMEOUT).map_err(late)?
    }
}
