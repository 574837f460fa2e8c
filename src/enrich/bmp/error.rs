// SPDX-License-Identifier: AGPL-3.0-only
//! What went wrong in a session, and how much went right.

use super::families::IgnoredFamily;

/// The values of the label `kind` of `rfm_bmp_errors_total`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum BmpError {
    /// A connection could not be accepted or set up.
    Accept,
    /// From a source that `allow` does not name.
    NotAllowed,
    /// `max_sessions` are up.
    SessionLimit,
    /// Too many sessions are from one source.
    AddressLimit,
    /// A session without a peer ended to make room for another.
    Idle,
    /// No message came within the time given to begin.
    Silent,
    /// The connection broke.
    Read,
    /// Not BMP, or a message of a length that cannot be.
    Frame,
    /// A per-peer header or peer-up that cannot be read.
    Peer,
    /// More peers than can be kept.
    PeerLimit,
    /// Routes of a peer that is not up.
    UnknownPeer,
    /// An UPDATE that cannot be read.
    Update,
    /// Attributes that cannot be read: the routes count as withdrawn.
    Attributes,
    /// Prefixes that make no sense.
    Nlri,
    /// `max_routes` are held.
    RouteLimit,
    /// More paths of one prefix than can be kept.
    PathLimit,
    /// AS paths and communities take all the memory they may.
    DetailLimit,
}

impl BmpError {
    pub const ALL: [Self; 17] = [
        Self::Accept,
        Self::NotAllowed,
        Self::SessionLimit,
        Self::AddressLimit,
        Self::Idle,
        Self::Silent,
        Self::Read,
        Self::Frame,
        Self::Peer,
        Self::PeerLimit,
        Self::UnknownPeer,
        Self::Update,
        Self::Attributes,
        Self::Nlri,
        Self::RouteLimit,
        Self::PathLimit,
        Self::DetailLimit,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::Accept => "accept",
            Self::NotAllowed => "not_allowed",
            Self::SessionLimit => "session_limit",
            Self::AddressLimit => "address_limit",
            Self::Idle => "idle",
            Self::Silent => "silent",
            Self::Read => "read",
            Self::Frame => "frame",
            Self::Peer => "peer",
            Self::PeerLimit => "peer_limit",
            Self::UnknownPeer => "unknown_peer",
            Self::Update => "update",
            Self::Attributes => "attributes",
            Self::Nlri => "nlri",
            Self::RouteLimit => "route_limit",
            Self::PathLimit => "path_limit",
            Self::DetailLimit => "detail_limit",
        }
    }
}

/// What a stretch of messages brought. It is filled while the Rib is locked; logs and counters have
/// their turn afterwards.
#[derive(Debug, Default)]
pub struct SessionStats {
    /// Prefixes announced.
    pub updates: u64,
    /// Prefixes withdrawn.
    pub withdraws: u64,
    pub messages: u64,
    /// Routes announced of each family that is not read.
    pub ignored: [u64; IgnoredFamily::ALL.len()],
    /// For the first time in the session, bytes that belong to no UPDATE followed one.
    pub trailing: bool,
    /// How often each error came.
    error_counts: [u64; BmpError::ALL.len()],
    /// The first of each, in words.
    details: Vec<(BmpError, String)>,
}

impl SessionStats {
    pub fn count_error(&mut self, error: BmpError, detail: impl FnOnce() -> String) {
        let count = &mut self.error_counts[error as usize];
        if *count == 0 {
            self.details.push((error, detail()));
        }
        *count += 1;
    }

    pub fn error_count(&self, error: BmpError) -> u64 {
        self.error_counts[error as usize]
    }

    /// Each error that came, how often, and the first in words.
    pub fn error_counts(&self) -> impl Iterator<Item = (BmpError, u64, &str)> {
        let details = self.details.iter();
        details.map(|(error, text)| (*error, self.error_count(*error), text.as_str()))
    }
}
