// SPDX-License-Identifier: AGPL-3.0-only
//! Who sends, where that makes a difference.

/// Programs with ways of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Implementation {
    /// Before a change of May 2026 it writes the paths of external peers as if it passed them on: with its
    /// own AS before them, in every view. It marks the end of views that it does not send.
    Frr,
    /// Its Loc-RIB has one route of a prefix, the best. Where that comes with a path identifier, the next
    /// has another, and the one before is not withdrawn (seen: 4.8).
    Gobgp,
    Other,
}

impl Implementation {
    pub fn of(sys_name: &str, sys_descr: &str) -> Self {
        if sys_descr.starts_with("FRRouting ") {
            Self::Frr
        } else if sys_name == "GoBGP" {
            Self::Gobgp
        } else {
            Self::Other
        }
    }
}
