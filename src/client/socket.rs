// SPDX-License-Identifier: AGPL-3.0-only
//! The agent's socket: the one on the command line, else the configuration's, else the default.

use std::path::{Path, PathBuf};

use crate::config::{self, control::DEFAULT_SOCKET};

pub struct AgentSocket {
    pub path: PathBuf,
    /// Why it may be the wrong one: added to errors.
    pub hint: Option<String>,
}

pub fn find(named: Option<PathBuf>, config: &Path) -> AgentSocket {
    if let Some(path) = named {
        let hint = None;
        return AgentSocket { path, hint };
    }
    let usual = |why: String| AgentSocket {
        path: DEFAULT_SOCKET.into(),
        hint: Some(why),
    };
    let file = config.display();
    match config::control::socket_in(config) {
        Ok(Some(path)) if path.as_os_str().is_empty() => usual(format!(
            "agent.control.socket is \"\" in {file}: an agent with that has no socket"
        )),
        Ok(path) => AgentSocket {
            path: path.unwrap_or_else(|| DEFAULT_SOCKET.into()),
            hint: None,
        },
        // it is often for root alone
        Err(error) => usual(format!(
            "this is the usual socket, since {file} cannot be read ({error}); name another with \
             --socket"
        )),
    }
}
