// SPDX-License-Identifier: AGPL-3.0-only
//! `rfm set` and `rfm reload`.

use super::{AgentClient, ClientError};
use crate::control::api;
use crate::types::did_you_mean::nearest;

/// The keys that can be set while the agent runs, and their valid values.
pub const KEYS: [(&str, &str); 2] = [
    ("bpf.sample_rate", "a whole number from 1 to 4294967295"),
    ("log_level", "off, error, warn, info, debug or trace"),
];

pub fn set(agent: &AgentClient, key: &str, value: &str) -> Result<String, ClientError> {
    // the key may have the prefix "agent.", as in the configuration, or not
    let key = key.strip_prefix("agent.").unwrap_or(key);
    let (path, body) = match key {
        "bpf.sample_rate" => {
            let sample_rate = value.parse().ok().filter(|n| *n > 0);
            let sample_rate = sample_rate.ok_or_else(|| wrong(key, value))?;
            ("sample_rate", to_json(&api::SampleRate { sample_rate })?)
        }
        "log_level" => {
            let log_level = value.to_owned();
            let known = value.parse::<log::LevelFilter>();
            known.map_err(|_| wrong(key, value))?;
            ("log_level", to_json(&api::LogLevel { log_level })?)
        }
        _ => return Err(ClientError::Usage(unknown(key))),
    };
    let reply = agent.post(path, &body)?;
    agent.print(&reply, |_: &serde_json::Value| format!("{key} = {value}\n"))
}

pub(super) fn to_json(value: &impl serde::Serialize) -> Result<Vec<u8>, ClientError> {
    serde_json::to_vec(value).map_err(|error| ClientError::Failed(error.to_string()))
}

fn wrong(key: &str, value: &str) -> ClientError {
    let takes = KEYS.iter().find(|(known, _)| *known == key);
    let takes = takes.map_or("another value", |(_, takes)| takes);
    let value = value.escape_debug();
    ClientError::Usage(format!("{key}: expected {takes}, got \"{value}\""))
}

fn unknown(key: &str) -> String {
    let key = key.escape_debug().to_string();
    let names = KEYS.iter().map(|(name, _)| *name);
    match nearest(&key, names) {
        Some(near) => format!("unknown key {key}, did you mean {near}?"),
        None => format!(
            "unknown key {key}; these can be set while the agent runs: {}. For the others edit the \
             configuration, and rfm reload",
            KEYS.map(|(name, _)| name).join(", ")
        ),
    }
}

pub fn reload(agent: &AgentClient) -> Result<String, ClientError> {
    let reply = agent.post("reload", b"")?;
    agent.print(&reply, |reloaded: &api::ReloadReply| {
        let api::ReloadReply {
            changed,
            needs_restart,
        } = reloaded;
        let mut text = match changed.len() {
            0 => "reloaded: nothing changed\n".to_owned(),
            _ => format!("reloaded: {}\n", changed.join(", ")),
        };
        if !needs_restart.is_empty() {
            text += &format!("after a restart: {}\n", needs_restart.join(", "));
        }
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_key_is_answered_by_the_nearest_or_by_all() {
        assert_eq!(
            unknown("bpf.sampel_rate"),
            "unknown key bpf.sampel_rate, did you mean bpf.sample_rate?"
        );
        assert_eq!(
            unknown("sample_rate"),
            "unknown key sample_rate, did you mean bpf.sample_rate?"
        );
        let all = unknown("colour");
        assert!(all.contains("bpf.sample_rate, log_level"), "{all}");
    }
}
