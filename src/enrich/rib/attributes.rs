// SPDX-License-Identifier: AGPL-3.0-only
//! The attributes of a route.

use std::net::IpAddr;

use super::as_path::AsPath;

/// Maximum number of entries of a list that are kept. Routers send more only by mistake, and memory must
/// have a limit.
pub const MAX_ENTRIES: usize = 128;

/// RFC 4271 section 5.1.5: the preference of a route without LOCAL_PREF.
pub const DEFAULT_LOCAL_PREF: u32 = 100;

/// The attributes of a route.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Attributes {
    /// The last AS of the path; 0 if it has no single origin.
    pub origin_asn: u32,
    /// The first AS of the path that is not the router's own.
    pub peer_asn: u32,
    pub path: AsPath,
    /// ASes of the path, a set counting one and confederation segments none (RFC 5065 section 5.3).
    pub path_length: u16,
    pub local_pref: Option<u32>,
    /// MULTI_EXIT_DISC
    pub med: Option<u32>,
    pub next_hop: Option<IpAddr>,
    /// IGP, EGP, INCOMPLETE
    pub origin: u8,
    pub originator_id: Option<u32>,
    pub cluster_list: Vec<u32>,
    /// COMMUNITIES (RFC 1997)
    pub communities: Vec<u32>,
    /// LARGE_COMMUNITY (RFC 8092)
    pub large_communities: Vec<[u32; 3]>,
    /// Carries the LLGR_STALE community (RFC 9494).
    pub llgr_stale: bool,
    /// The router finds itself in AS_PATH, ORIGINATOR_ID or CLUSTER_LIST: as received, it does not use
    /// the route (RFC 4271 section 9.1.2, RFC 4456 section 8).
    pub looped: bool,
    /// The path begins with a segment of a confederation: a member sent it (RFC 5065).
    pub of_member: bool,
    /// Carries the BLACKHOLE community (RFC 7999).
    pub blackhole: bool,
    /// Carries a community by which the configuration lets neighbors request a blackhole.
    pub requests_blackhole: bool,
    /// The path or a list is incomplete: see [`Attributes::cut`].
    pub cut: bool,
}

impl Attributes {
    /// Shortens path and lists to the maximum that is held, and records that in `cut`. The ends and the
    /// length of the path do not change.
    pub fn cut(&mut self) {
        let lists = [
            self.communities.len(),
            self.large_communities.len(),
            self.cluster_list.len(),
        ];
        self.cut |=
            lists.into_iter().any(|length| length > MAX_ENTRIES) | self.path.truncate(MAX_ENTRIES);
        self.communities.truncate(MAX_ENTRIES);
        self.large_communities.truncate(MAX_ENTRIES);
        self.cluster_list.truncate(MAX_ENTRIES);
    }
}
