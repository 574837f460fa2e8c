// SPDX-License-Identifier: AGPL-3.0-only
//! Which socket is meant: the one named, else the configuration's, else the usual one.

use std::path::{Path, PathBuf};

use crate::config::{self, control::DEFAULT_SOCKET};

pub struct Found {
    pub path: PathBuf,
    /// Why it may be the wrong one.
    pub doubt: Option<String>,
}

pub fn find(named: Option<PathBuf>, config: &Path) -> Found {
    if let Some(path) = named {
        let doubt = None;
        return Found { path, doubt };
    }
    let usual = |why: String| Found {
        path: DEFAULT_SOCKET.into(),
        doubt: Some(why),
    };
    let file = config.display();
    match config::control::socket_in(config) {
        Ok(Some(path)) if path.as_os_str().is_empty() => usual(format!(
            "agent.control.socket is \"\" in {file}: an agent with that has no socket"
        )),
        Ok(path) => Found {
            path: path.unwrap_or_else(|| DEFAULT_SOCKET.into()),
            doubt: None,
        },
        // it is often for root alone
        Err(error) => usual(format!(
            "this is the usual socket, since {file} cannot be read ({error}); name another with \
             --socket"
        )),
    }
}
