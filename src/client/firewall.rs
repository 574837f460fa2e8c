// SPDX-License-Identifier: AGPL-3.0-only
//! `rfm firewall add`, `del`, `list`, `flush`, `stats` and `load`.

use std::path::Path;

use super::change::to_json;
use super::format::plural;
use super::{AgentClient, ClientError, output, read};
use crate::args::FirewallCommand;
use crate::control::api;
use crate::control::firewall::MAX_RULES;
use crate::firewall::file;
use crate::types::rule::{FirewallRule, PARTS, PatternCache, RuleArgs, RuleSource};

pub fn run(agent: &AgentClient, command: FirewallCommand) -> Result<String, ClientError> {
    match command {
        FirewallCommand::Add { rule, force } => add(agent, &rule, force),
        FirewallCommand::Del { ids, force } => del(agent, ids, force),
        FirewallCommand::List { all } => list(agent, all),
        FirewallCommand::Flush { force } => flush(agent, force),
        FirewallCommand::Stats => agent.print(&agent.get("firewall", &[])?, output::firewall),
        FirewallCommand::Load {
            file,
            replace,
            force,
        } => load(agent, &file, replace, force),
    }
}

/// Returns the SSH connection over which this command was entered, if there is one.
fn ssh_connection() -> Option<String> {
    std::env::var("SSH_CONNECTION")
        .ok()
        .filter(|c| !c.is_empty())
}

/// Names the option of a part of a rule: "proto: expected ..." is about "--protocol".
fn name_option(error: &str) -> String {
    let part = |name: &str| PARTS.iter().find(|part| part.name == name);
    match error
        .split_once(": ")
        .map(|(name, reason)| (part(name), reason))
    {
        Some((Some(part), reason)) => format!("--{}: {reason}", part.option),
        _ => format!("--{error}"),
    }
}

fn add(agent: &AgentClient, args: &RuleArgs<'_>, force: bool) -> Result<String, ClientError> {
    let rule = args.rule(&mut PatternCache::default());
    let rule = rule.map_err(|error| ClientError::Usage(name_option(&error)))?;
    let request = api::FirewallAdd {
        rules: vec![(&rule).into()],
        replace: false,
        force,
        ssh_connection: ssh_connection(),
    };
    let reply = agent.post("firewall/add", &to_json(&request)?)?;
    agent.print(&reply, |edited: &api::FirewallEdited| {
        let ids = edited.added.iter().map(|id| format!("rule {id}\n"));
        ids.collect()
    })
}

fn load(
    agent: &AgentClient,
    file: &Path,
    replace: bool,
    force: bool,
) -> Result<String, ClientError> {
    let rules = file::load(file).map_err(ClientError::Usage)?;
    let request = api::FirewallAdd {
        rules: rules.iter().map(FirewallRule::from).collect(),
        replace,
        force,
        ssh_connection: ssh_connection(),
    };
    let reply = agent.post("firewall/add", &to_json(&request)?)?;
    agent.print(&reply, |edited: &api::FirewallEdited| {
        let removed = match edited.removed {
            0 => String::new(),
            n => format!(" in place of {n}"),
        };
        let added = edited.added.len() as u64;
        format!("{}{removed}\n", plural(added, "rule"))
    })
}

fn del(agent: &AgentClient, ids: Vec<u64>, force: bool) -> Result<String, ClientError> {
    if ids.is_empty() {
        let error = "expected the number of a rule, as rfm firewall list shows it";
        return Err(ClientError::Usage(error.into()));
    }
    let request = api::FirewallDel {
        ids,
        force,
        ssh_connection: ssh_connection(),
    };
    let reply = agent.post("firewall/del", &to_json(&request)?)?;
    agent.print(&reply, removed)
}

fn flush(agent: &AgentClient, force: bool) -> Result<String, ClientError> {
    let request = api::FirewallFlush {
        force,
        ssh_connection: ssh_connection(),
    };
    let reply = agent.post("firewall/flush", &to_json(&request)?)?;
    agent.print(&reply, removed)
}

fn removed(edited: &api::FirewallEdited) -> String {
    format!("{} removed\n", plural(edited.removed, "rule"))
}

/// Lists the rules, page by page: the agent limits the rules in one answer. The allow list is left out unless `all`.
fn list(agent: &AgentClient, with_allow: bool) -> Result<String, ClientError> {
    let mut all = api::FirewallRules::default();
    loop {
        let page = [
            ("from", all.rules.len().to_string()),
            ("limit", MAX_RULES.to_string()),
        ];
        let some: api::FirewallRules = read(&agent.get("firewall/rules", &page)?)?;
        let is_last = some.rules.len() < MAX_RULES;
        all.total = some.total;
        all.rules.extend(some.rules);
        if is_last {
            break;
        }
    }
    let received = all.rules.len();
    if !with_allow {
        all.rules
            .retain(|rule| rule.origin != RuleSource::Allow.name());
    }
    let hidden = received - all.rules.len();
    all.total = all.total.saturating_sub(hidden as u64);
    agent.print(&to_json(&all)?, |list| output::firewall_rules(list, hidden))
}
