// SPDX-License-Identifier: AGPL-3.0-only
//! `rfm guard list`, `show`, `stop`, `allow` and `watch`.

use super::change::to_json;
use super::format::plural;
use super::{AgentClient, ClientError, output, read, watch};
use crate::args::GuardCommand;
use crate::control::api;

pub fn run(agent: &AgentClient, command: GuardCommand) -> Result<String, ClientError> {
    match command {
        GuardCommand::List => agent.print(&agent.get("guard", &[])?, output::guard),
        GuardCommand::Show { id } => show(agent, id),
        GuardCommand::Stop { id } => {
            let request = to_json(&api::GuardStop { id })?;
            agent.print(&agent.post("guard/stop", &request)?, removed)
        }
        GuardCommand::Allow { prefix } => {
            let request = to_json(&api::GuardAllow { prefix })?;
            agent.print(&agent.post("guard/allow", &request)?, removed)
        }
        GuardCommand::Watch(options) => watch::run(agent, options),
    }
}

fn show(agent: &AgentClient, id: u64) -> Result<String, ClientError> {
    let reply: api::GuardReply = read(&agent.get("guard", &[])?)?;
    let attacks = reply.active.into_iter().chain(reply.ended);
    let attack = attacks.into_iter().find(|attack| attack.id == id);
    let attack = attack.ok_or_else(|| {
        ClientError::Failed(format!("there is no attack {id} (see: rfm guard list)"))
    })?;
    agent.print(&to_json(&attack)?, output::attack)
}

fn removed(changed: &api::GuardChanged) -> String {
    format!("{} removed\n", plural(changed.removed_rules, "rule"))
}
