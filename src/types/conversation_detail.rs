// SPDX-License-Identifier: AGPL-3.0-only
//! How much of the addresses of conversations is stored on disk.

use super::named::{Named, serialize_by_name};

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ConversationDetail {
    /// Prefixes: /24 and /48.
    #[default]
    Prefixes,
    /// Addresses.
    Hosts,
    /// No conversations.
    Off,
}

impl Named for ConversationDetail {
    const ALL: &'static [Self] = &[Self::Prefixes, Self::Hosts, Self::Off];

    fn name(self) -> &'static str {
        match self {
            Self::Prefixes => "prefixes",
            Self::Hosts => "hosts",
            Self::Off => "off",
        }
    }
}

serialize_by_name!(ConversationDetail);
