// SPDX-License-Identifier: AGPL-3.0-only
//! The state file as the thread uses it: a failed save is tried again, and errors of the file are shown as a
//! problem. Nothing here ends the thread.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::super::handle::FirewallProblem;
use super::super::persist::{self, Now};
use super::super::rule_set::RuleEntry;
use crate::sys::error_counters::{ErrorCounters, Subsystem};
use crate::sys::os_error;

/// The time between two attempts to save.
const RETRY: Duration = Duration::from_secs(2);
/// The most invalid lines that are logged one by one.
const SHOWN: usize = 10;

pub(super) struct Store {
    /// Empty = no state file.
    path: PathBuf,
    /// Whether the file does not have the current rules.
    unsaved: bool,
    next_try: Instant,
    /// Whether the file on the disk has content that was not restored.
    damaged: bool,
    problem: FirewallProblem,
}

impl Store {
    pub fn new(path: PathBuf, problem: FirewallProblem, now: Instant) -> Self {
        Self {
            path,
            unsaved: false,
            next_try: now,
            damaged: false,
            problem,
        }
    }

    fn is_used(&self) -> bool {
        !self.path.as_os_str().is_empty()
    }

    /// Returns the valid rules of the file. Everything else is logged and stays in a copy.
    pub fn load(&mut self, errors: &ErrorCounters) -> Vec<RuleEntry> {
        if !self.is_used() {
            return Vec::new();
        }
        let shown = self.path.display();
        match persist::load(&self.path, Now::read()) {
            Ok((entries, mistakes)) => {
                for mistake in mistakes.iter().take(SHOWN) {
                    log::warn!("{shown}: {mistake}: left out");
                }
                if !mistakes.is_empty() {
                    self.damaged(format!("{} lines cannot be read", mistakes.len()));
                }
                entries
            }
            Err(error) => {
                errors.count(Subsystem::Firewall);
                let problem = format!(
                    "agent.firewall.state_file: {shown}: {error}; no rule was restored from it"
                );
                log::error!("{problem}");
                self.problem.set(Some(problem));
                self.damaged = true;
                Vec::new()
            }
        }
    }

    /// Records that a part of the file was not restored: a copy stays beside the file, which is written again.
    pub fn damaged(&mut self, why: String) {
        log::warn!("agent.firewall.state_file: {}: {why}", self.path.display());
        (self.damaged, self.unsaved) = (true, true);
    }

    /// Records that the current rules have changed.
    pub fn changed(&mut self) {
        self.unsaved |= self.is_used();
    }

    pub fn is_due(&self, now: Instant) -> bool {
        self.unsaved && now >= self.next_try
    }

    /// Returns the time of the next attempt after a failure.
    pub fn next_try(&self) -> Option<Instant> {
        self.unsaved.then_some(self.next_try)
    }

    /// Writes the file, if the rules have changed since it was written.
    pub fn save(&mut self, entries: &[RuleEntry], errors: &ErrorCounters) {
        if !self.unsaved {
            return;
        }
        let shown = self.path.display();
        if std::mem::take(&mut self.damaged) {
            match persist::keep(&self.path) {
                Ok(Some(kept)) => log::warn!("{shown}: the file as it was is {}", kept.display()),
                Ok(None) => {}
                Err(error) => log::warn!(
                    "{shown}: cannot keep a copy of the file: {}",
                    os_error::reason(&error)
                ),
            }
        }
        match persist::save(&self.path, entries, Now::read()) {
            Ok(()) => {
                self.unsaved = false;
                self.problem.set(None);
            }
            Err(error) => {
                self.next_try = Instant::now() + RETRY;
                let problem = format!(
                    "agent.firewall.state_file: cannot save the rules to {shown}: {}; \
                     a restart would lose the last changes",
                    os_error::reason(&error)
                );
                errors.count_and_log(Subsystem::Firewall, "state_file", || problem.clone());
                self.problem.set(Some(problem));
            }
        }
    }
}
