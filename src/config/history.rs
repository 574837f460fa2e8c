// SPDX-License-Identifier: AGPL-3.0-only
//! `[agent.history]`: the history on disk.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::reference::ReloadClass::Restart;
use super::section::section;
use super::values::{SECOND, duration, named, path as folder, size};
use crate::types::byte_size::ByteSize;
use crate::types::conversation_detail::ConversationDetail;

const MAX_PATH: usize = 3_900;
const LEAST_SIZE: ByteSize = ByteSize(16 << 20);
const LARGEST_SIZE: ByteSize = ByteSize(1 << 40);

section! {
    pub struct History() {
        /// Empty: no history on disk.
        path: PathBuf = key {
            reload: Restart,
            type: folder(MAX_PATH),
            default: PathBuf::new(),
            recommended: "\"/var/lib/rfm/history\"",
            text: "Folder of the history; \"\" = only the day that the page keeps in memory.",
            details: "rfm creates it. A folder that is not a history of this version is renamed, and a new one starts. \
                      docs/history.md describes its content.",
        }
        max_size: ByteSize = key {
            reload: Restart,
            type: size(LEAST_SIZE..=LARGEST_SIZE),
            default: ByteSize(96 << 20),
            text: "Size of all files. The oldest files are deleted first.",
        }
        conversations: ConversationDetail = key {
            reload: Restart,
            type: named(),
            default: ConversationDetail::Prefixes,
            text: "Addresses of conversations on disk: \"prefixes\" (/24 and /48), \"hosts\", or \"off\" for no conversations.",
            details: "Addresses of hosts are personal data in many countries.",
        }
        #[serde(with = "humantime_serde")]
        sync_interval: Duration = key {
            reload: Restart,
            type: duration(SECOND),
            default: Duration::from_secs(300),
            text: "Time between two writes: a crash loses at most the rows of this time.",
            details: "Rows are those of minutes, so that an interval below a minute writes once a minute. An interval above \
                      an hour is one hour.",
        }
    }
}

impl History {
    /// Returns the folder; `None` without a history on disk.
    pub fn folder(&self) -> Option<&Path> {
        let path = self.path.as_path();
        (!path.as_os_str().is_empty()).then_some(path)
    }
}
