// SPDX-License-Identifier: AGPL-3.0-only
//! Errors and counters of a session.

use super::families::IgnoredFamily;

/// The values of the label `kind` of `rfm_bmp_errors_total`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum BmpError {
    /// A connection could not be accepted or set up.
    Accept,
    /// The source address is not in `allow`.
    NotAllowed,
    /// `max_sessions` are up.
    SessionLimit,
    /// Too many sessions are from one source.
    AddressLimit,
    /// A session without a peer ended to make room for another.
    Idle,
    /// No complete message arrived within the timeout.
    Silent,
    /// Reading from the connection failed.
    Read,
    /// Not BMP, or a message with an impossible length.
    Frame,
    /// A per-peer header or peer-up that cannot be decoded.
    Peer,
    /// More peers than can be kept.
    PeerLimit,
    /// Routes of a peer that is not up.
    UnknownPeer,
    /// An UPDATE that cannot be decoded.
    Update,
    /// Attributes that cannot be decoded: the routes count as withdrawn.
    Attributes,
    /// Malformed prefixes.
    Nlri,
    /// `max_routes` are held.
    RouteLimit,
    /// More paths of one prefix than can be kept.
    PathLimit,
    /// AS paths and communities use all the memory that they may use.
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

/// The statistics of a batch of messages. They are collected while the Rib is locked, and logged and
/// counted afterwards.
#[derive(Debug, Default)]
pub struct SessionStats {
    /// Prefixes announced.
    pub updates: u64,
    /// Prefixes withdrawn.
    pub withdraws: u64,
    pub messages: u64,
    /// Routes announced of each ignored family.
    pub ignored: [u64; IgnoredFamily::ALL.len()],
    /// For the first time in the session, bytes that belong to no UPDATE followed one.
    pub trailing: bool,
    /// Number of errors of each kind.
    error_counts: [u64; BmpError::ALL.len()],
    /// The text of the first error of each kind.
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

    /// Returns each error that occurred, its count, and the text of the first one.
    pub fn error_counts(&self) -> impl Iterator<Item = (BmpError, u64, &str)> {
        let details = self.details.iter();
        details.map(|(error, text)| (*error, self.error_count(*error), text.as_str()))
    }
}
