// SPDX-License-Identifier: AGPL-3.0-only
//! Applies the changes that other threads request: completely, or not at all.

use std::time::Instant;

use super::super::handle::{Edit, Edited, FirewallError, FirewallSettings, Requester};
use super::super::rule_set::{self, RuleBody};
use super::Worker;
use crate::types::named::Named;
use crate::types::rule::{Action, Rule, RuleId};

impl Worker {
    pub(super) fn edit(
        &mut self,
        edit: Edit,
        requester: Requester,
        now: Instant,
    ) -> Result<Edited, FirewallError> {
        let before = self.rule_set.clone();
        let edited = self.try_edit(edit, requester, now);
        if edited.is_err() {
            self.rule_set = before;
        }
        edited
    }

    fn try_edit(
        &mut self,
        edit: Edit,
        requester: Requester,
        now: Instant,
    ) -> Result<Edited, FirewallError> {
        let refused = |refused: rule_set::RuleSetError| FirewallError::new(refused.to_string());
        let insecure = |requester: Requester| requester.caller.filter(|_| !requester.force);
        let stopper = |worker: &Self| {
            let caller = insecure(requester)?;
            caller.stopped_by(&worker.compile(now))
        };
        let stopped = stopper(self);
        let mut edited = Edited::default();
        match edit {
            Edit::Add { rules, replace } => {
                if !requester.force {
                    refuse_everything(&rules)?;
                }
                if replace {
                    edited.removed = self.rule_set.flush();
                }
                edited.added = self.rule_set.add(rules, now).map_err(refused)?;
            }
            Edit::Remove(ids) => {
                self.rule_set.remove(&ids).map_err(refused)?;
                edited.removed = ids.len();
            }
            Edit::Flush => edited.removed = self.rule_set.flush(),
        }
        match stopper(self) {
            Some(id) if stopped.is_none() => Err(FirewallError {
                needs_force: true,
                why: self.would_stop(id, requester),
            }),
            _ => Ok(edited),
        }
    }

    fn would_stop(&self, id: RuleId, requester: Requester) -> String {
        let rule = self.rule_set.iter().find(|shown| shown.id == id);
        let rule = match rule.map(|shown| shown.rule) {
            Some(RuleBody::Entry(entry)) => entry.rule.to_string(),
            _ => format!("rule {}", id.0),
        };
        let client = requester.caller.map(|caller| caller.client.to_string());
        format!(
            "\"{rule}\" would stop your own SSH connection from {}. Change the rule",
            client.unwrap_or_default()
        )
    }

    pub(super) fn change(
        &mut self,
        settings: &FirewallSettings,
        now: Instant,
    ) -> Result<(), FirewallError> {
        let before = self.rule_set.clone();
        self.apply(settings, now).map_err(|why| {
            self.rule_set = before;
            FirewallError::new(why)
        })
    }

    pub(super) fn apply(
        &mut self,
        settings: &FirewallSettings,
        now: Instant,
    ) -> Result<(), String> {
        self.rule_set
            .set_config(&settings.rules, now)
            .map_err(|refused| format!("agent.firewall.rule: {refused}"))?;
        self.allowlist.allow.clone_from(&settings.allow);
        self.allowlist.allow_own = settings.allow_own;
        if self.blackhole_action != settings.blackhole_action {
            self.blackhole_action = settings.blackhole_action;
            self.generation = None;
        }
        self.rule_set.set_allow(self.allowlist.matches());
        Ok(())
    }
}

/// Refuses a rule without a condition that stops packets, because it is most often a mistake.
fn refuse_everything(rules: &[Rule]) -> Result<(), FirewallError> {
    let stops = |rule: &&Rule| matches!(rule.action, Action::Drop | Action::Limit);
    match rules
        .iter()
        .filter(stops)
        .find(|rule| rule.is_for_everything())
    {
        None => Ok(()),
        Some(rule) => Err(FirewallError {
            needs_force: true,
            why: format!(
                "this rule would {} ALL traffic. Give --src, --dst or --protocol",
                rule.action.name()
            ),
        }),
    }
}
