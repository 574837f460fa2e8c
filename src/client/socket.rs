// SPDX-License-Identifier: AGPL-3.0-only
//! Finds the agent's socket: from the command line, otherwise from the configuration, otherwise the default.

use std::path::PathBuf;

use crate::config::{self, ConfigSource, control::DEFAULT_SOCKET};

pub struct AgentSocket {
    pub path: PathBuf,
    /// The reason why it may be the wrong socket; added to errors.
    pub hint: Option<String>,
}

pub fn find(named: Option<PathBuf>, config: &ConfigSource) -> AgentSocket {
    if let Some(path) = named {
        let hint = None;
        return AgentSocket { path, hint };
    }
    let usual = |why: String| AgentSocket {
        path: DEFAULT_SOCKET.into(),
        hint: Some(why),
    };
    let file = config.file.display();
    match config::control::socket_in(config) {
        Ok(Some(path)) if path.as_os_str().is_empty() => {
            usual("agent.control.socket is \"\": an agent with that has no socket".to_owned())
        }
        Ok(path) => AgentSocket {
            path: path.unwrap_or_else(|| DEFAULT_SOCKET.into()),
            hint: None,
        },
        // often only root may read it
        Err(error) => usual(format!(
            "this is the usual socket, since {file} cannot be read ({error}); name another with \
             --socket"
        )),
    }
}
