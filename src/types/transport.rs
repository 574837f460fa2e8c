// SPDX-License-Identifier: AGPL-3.0-only
//! The transport of an IPFIX collector.

use super::named::{Named, serialize_by_name};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    Udp,
    Tcp,
}

impl Named for Transport {
    const ALL: &'static [Self] = &[Self::Udp, Self::Tcp];

    fn name(self) -> &'static str {
        match self {
            Self::Udp => "udp",
            Self::Tcp => "tcp",
        }
    }
}

serialize_by_name!(Transport);
