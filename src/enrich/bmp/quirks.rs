// SPDX-License-Identifier: AGPL-3.0-only
//! BMP implementations that need special handling.

/// A BMP implementation with behavior of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Implementation {
    /// Before a change of May 2026, FRR writes the paths of external peers as if it passed them on: it
    /// prepends its own AS, in every view. It also marks the end of views that it does not send.
    Frr,
    /// Its Loc-RIB has one route per prefix, the best. If this route has a path identifier, the next one
    /// has a different identifier, and the previous one is not withdrawn (seen: 4.8).
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
