// SPDX-License-Identifier: AGPL-3.0-only
//! Defines at which position and how programs are attached to an interface.

use super::named::{Named, serialize_by_name};

/// The position in the chain of programs on a hook.
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

/// The mechanism that attaches a program.
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

/// The first header of a device's frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameStart {
    Ethernet,
    Ip,
    /// IP, perhaps after the outer headers of the tunnel.
    Gre,
}

/// Records per CPU of the smallest flow cache; `bpf/cache.rs` asserts that it fits the programs.
pub const MIN_RECORDS: u32 = 32;
