// SPDX-License-Identifier: AGPL-3.0-only
//! Where and how programs are attached to an interface.

use super::named::{Named, serialize_by_name};

/// Where in the chain of programs on a hook.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Position {
    Head,
    Tail,
}

impl Named for Position {
    const ALL: &'static [Self] = &[Self::Head, Self::Tail];

    fn name(self) -> &'static str {
        match self {
            Self::Head => "head",
            Self::Tail => "tail",
        }
    }
}

serialize_by_name!(Position);

/// How a program is attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HookKind {
    Tcx,
    Clsact,
}

impl HookKind {
    pub fn name(self) -> &'static str {
        match self {
            Self::Tcx => "tcx",
            Self::Clsact => "clsact",
        }
    }
}

/// What a device's frames begin with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameStart {
    Ethernet,
    Ip,
    /// IP, perhaps after the outer headers of the tunnel.
    Gre,
}

/// Records per CPU of the smallest flow cache; `bpf/cache.rs` asserts that it fits the programs.
pub const MIN_RECORDS: u32 = 32;
