// SPDX-License-Identifier: AGPL-3.0-only
//! `[agent.control]`: the control socket.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::Serialize;

use super::document::Section;
use super::values::{path, text, word};
use crate::types::named::serialize_as_text;

pub const DEFAULT_SOCKET: &str = "/run/rfm/rfm.sock";
pub const DEFAULT_MODE: Mode = Mode(0o660);

/// `sun_path` of unix(7) with its final zero.
const MAX_SOCKET_PATH: usize = 107;

/// utmp and the shadow tools keep group names this short.
const MAX_GROUP_NAME: usize = 32;

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Control {
    /// "" = no socket.
    pub socket: PathBuf,
    pub mode: Mode,
    /// "" = the agent's own group.
    pub group: String,
    /// "" = only root and the own uid may change anything.
    pub write_group: String,
}

/// Permission bits, written in octal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mode(pub u32);

impl Control {
    pub(super) fn read(section: &Section<'_>) -> Self {
        let mode = word("octal permission bits such as \"0660\"");
        Self {
            socket: section.read("socket", path(MAX_SOCKET_PATH), DEFAULT_SOCKET.into()),
            mode: section.read("mode", mode, DEFAULT_MODE),
            group: section.read("group", text(MAX_GROUP_NAME), String::new()),
            write_group: section.read("write_group", text(MAX_GROUP_NAME), String::new()),
        }
    }
}

impl FromStr for Mode {
    type Err = &'static str;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        let digits = (3..=4).contains(&s.len()) && s.bytes().all(|b| (b'0'..=b'7').contains(&b));
        match u32::from_str_radix(s, 8) {
            Ok(mode) if digits && mode <= 0o777 => Ok(Self(mode)),
            _ => Err("from \"0000\" to \"0777\""),
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04o}", self.0)
    }
}

serialize_as_text!(Mode);

/// What the file at `path` says of the socket, whatever else is in it: for those who ask the agent, and
/// may have another idea of its keys.
pub fn socket_in(path: &Path) -> Result<Option<PathBuf>, String> {
    let text = super::load::read(path)?;
    let table: toml::Table = text.parse().map_err(|_| "it is not TOML".to_owned())?;
    let agent = table.get("agent").and_then(|agent| agent.get("control"));
    let socket = agent.and_then(|control| control.get("socket"));
    Ok(socket.and_then(|socket| socket.as_str()).map(PathBuf::from))
}
