// SPDX-License-Identifier: AGPL-3.0-only
//! What others ask the thread to change: whole, or not at all.

use std::time::Instant;

use super::super::book::{self, ShownRule};
use super::super::handle::{Asker, Edit, Edited, Refusal, Settings};
use super::Worker;
use crate::types::rule::{Action, Rule, RuleId};

impl Worker {
    pub(super) fn edit(
        &mut self,
        edit: Edit,
        asker: Asker,
        now: Instant,
    ) -> Result<Edited, Refusal> {
        let before = self.book.clone();
        let edited = self.try_edit(edit, asker, now);
        if edited.is_err() {
            self.book = before;
        }
        edited
    }

    fn try_edit(&mut self, edit: Edit, asker: Asker, now: Instant) -> Result<Edited, Refusal> {
        let refused = |refused: book::Refused| Refusal::new(refused.to_string());
        let insecure = |asker: Asker| asker.caller.filter(|_| !asker.force);
        let stopper = |worker: &Self| {
            let caller = insecure(asker)?;
            caller.stopped_by(&worker.compile(now))
        };
        let stopped = stopper(self);
        let mut edited = Edited::default();
        match edit {
            Edit::Add { rules, replace } => {
                if !asker.force {
                    refuse_everything(&rules)?;
                }
                if replace {
                    edited.removed = self.book.flush();
                }
                edited.added = self.book.add(rules, now).map_err(refused)?;
            }
            Edit::Remove(ids) => {
                self.book.remove(&ids).map_err(refused)?;
                edited.removed = ids.len();
            }
            Edit::Flush => edited.removed = self.book.flush(),
        }
        match stopper(self) {
            Some(id) if stopped.is_none() => Err(Refusal {
                needs_force: true,
                why: self.would_stop(id, asker),
            }),
            _ => Ok(edited),
        }
    }

    fn would_stop(&self, id: RuleId, asker: Asker) -> String {
        let rule = self.book.iter().find(|shown| shown.id == id);
        let rule = match rule.map(|shown| shown.rule) {
            Some(ShownRule::Entry(entry)) => entry.rule.to_string(),
            _ => format!("rule {}", id.0),
        };
        let client = asker.caller.map(|caller| caller.client.to_string());
        format!(
            "\"{rule}\" would stop your own SSH connection from {}: nothing was changed",
            client.unwrap_or_default()
        )
    }

    pub(super) fn change(&mut self, settings: &Settings, now: Instant) -> Result<(), Refusal> {
        let before = self.book.clone();
        self.apply(settings, now).map_err(|why| {
            self.book = before;
            Refusal::new(why)
        })
    }

    pub(super) fn apply(&mut self, settings: &Settings, now: Instant) -> Result<(), String> {
        self.book
            .set_config(&settings.rules, now)
            .map_err(|refused| format!("agent.firewall.rule: {refused}"))?;
        self.trusted.allow.clone_from(&settings.allow);
        self.trusted.allow_own = settings.allow_own;
        if self.blackhole_action != settings.blackhole_action {
            self.blackhole_action = settings.blackhole_action;
            self.generation = None;
        }
        self.book.set_allow(self.trusted.matches());
        Ok(())
    }
}

/// A rule without anything that narrows it down is most often a slip.
fn refuse_everything(rules: &[Rule]) -> Result<(), Refusal> {
    let stops = |rule: &&Rule| matches!(rule.action, Action::Drop | Action::Limit);
    match rules
        .iter()
        .filter(stops)
        .find(|rule| rule.is_for_everything())
    {
        None => Ok(()),
        Some(rule) => Err(Refusal {
            needs_force: true,
            why: format!("\"{rule}\" is for every packet: nothing was changed"),
        }),
    }
}
