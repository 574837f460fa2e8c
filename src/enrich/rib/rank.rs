// SPDX-License-Identifier: AGPL-3.0-only
//! The ranks of routers.

/// The order in which routers answer: a router of a later rank answers only if those of the previous ranks
/// have no route, or only a default route.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Rank {
    Local,
    /// Another session of the same identity began later.
    LocalOlder,
    Remote,
    RemoteOlder,
}

pub(super) const RANKS: usize = 4;
