// SPDX-License-Identifier: AGPL-3.0-only
//! The state of the guard for other threads, and the requests that they send to it.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use crossbeam_channel::{Receiver, Sender, bounded};

use super::report::{AttackId, AttackReport};
use super::rules::Decision;
use crate::types::guard::{GuardAction, Quantity};
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
    pub last_event: u64,
    pub attacks: BTreeMap<(Quantity, GuardAction), u64>,
    /// Targets for which an operator has forbidden rules.
    pub allowed: Vec<Prefix>,
    pub protect: Vec<Prefix>,
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
        let state = Arc::default();
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
