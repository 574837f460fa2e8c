// SPDX-License-Identifier: AGPL-3.0-only
//! `[agent.control]`: the control socket.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use super::ConfigSource;
use super::document::Document;
use super::reference::ReloadClass::Restart;
use super::section::section;
use super::values::{path, text, word};
use crate::types::named::serialize_as_text;

pub const DEFAULT_SOCKET: &str = "/run/rfm/rfm.sock";
pub const DEFAULT_MODE: Mode = Mode(0o660);

/// `sun_path` of unix(7) with its final zero.
const MAX_SOCKET_PATH: usize = 107;

/// The longest group name: utmp and the shadow tools have this limit.
const MAX_GROUP_NAME: usize = 32;

section! {
    pub struct Control() {
        /// "" = no socket.
        socket: PathBuf = key {
            reload: Restart,
            type: path(MAX_SOCKET_PATH),
            default: DEFAULT_SOCKET.into(),
            text: "Path; \"\" = no socket.",
        }
        mode: Mode = key {
            reload: Restart,
            type: word("octal permission bits such as \"0660\""),
            default: DEFAULT_MODE,
            text: "Its permission bits.",
        }
        /// "" = the agent's own group.
        group: String = key {
            reload: Restart,
            type: text(MAX_GROUP_NAME),
            default: String::new(),
            text: "Its group, a name in /etc/group or a number; \"\" = the agent's.",
            details: "Its members may use the commands that only read.",
        }
        /// "" = only root and the own uid may change anything.
        write_group: String = key {
            reload: Restart,
            type: text(MAX_GROUP_NAME),
            default: String::new(),
            text: "The group that may change things, beside root and the agent's user; \"\" = nobody.",
        }
    }
}

/// Permission bits, written in octal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mode(pub u32);

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

/// Reads only the path of the socket, and ignores all other keys: a client may be of another version than the agent,
/// with other keys.
pub fn socket_in(source: &ConfigSource) -> Result<Option<PathBuf>, String> {
    let text = super::load::read(&source.file)?;
    let document =
        Document::parse("", &text, &source.overrides).map_err(|_| "it is not TOML".to_owned())?;
    let control = document.root().section("agent").section("control");
    Ok(control.optional("socket", path(MAX_SOCKET_PATH)))
}
