// SPDX-License-Identifier: AGPL-3.0-only
//! The decision process (RFC 4271 section 9.1): chooses the best of the routes of one prefix (pure).

use std::cmp::{Ordering, Reverse};
use std::net::IpAddr;

use super::Rib;
use super::attribute_interner::{AttributesId, Preference};
use super::attributes::DEFAULT_LOCAL_PREF;
use super::peer::{EligibleView, PeerInfo, View};
use super::route_table::RoutePath;

/// The steps of the decision process, in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum DecisionStep {
    /// A route without LLGR_STALE (RFC 9494 section 4.3).
    LlgrStale,
    /// A Loc-RIB is preferred to a post-policy view, and a post-policy view to a pre-policy view.
    View,
    /// The higher LOCAL_PREF (RFC 4271 section 9.1.1).
    LocalPref,
    /// The shorter AS path, a).
    PathLength,
    /// The lower ORIGIN, b).
    Origin,
    /// The lower MED among routes of the same neighbor AS, c).
    Med,
    /// External before internal, d). There is no interior cost to compare in e).
    External,
    /// The lower BGP identifier, f), or ORIGINATOR_ID in its place (RFC 4456 section 9).
    Identifier,
    /// The shorter CLUSTER_LIST (RFC 4456 section 9).
    ClusterList,
    /// The lower peer address, g).
    Address,
    /// The newer session. From here on the steps only make the choice definite.
    Session,
    /// The lower path identifier.
    PathId,
}

impl DecisionStep {
    /// Returns the name that the operator reads.
    pub fn name(self) -> &'static str {
        match self {
            Self::LlgrStale => "LLGR_STALE",
            Self::View => "view",
            Self::LocalPref => "local preference",
            Self::PathLength => "AS path length",
            Self::Origin => "origin",
            Self::Med => "MED",
            Self::External => "eBGP over iBGP",
            Self::Identifier => "lowest BGP identifier",
            Self::ClusterList => "shortest CLUSTER_LIST",
            Self::Address => "lowest peer address",
            Self::Session => "newest session",
            Self::PathId => "lowest path identifier",
        }
    }
}

/// A route in the decision process, with everything that the steps compare.
#[derive(Clone, Copy, Debug)]
pub(super) struct Candidate {
    pub attributes: AttributesId,
    pub source: EligibleView,
    pub path_id: Option<u32>,
    /// The route is not considered: see [`Rib::is_looped`].
    pub looped: bool,
    pub labelled: bool,
    preference: Preference,
    pub local_pref: u32,
    peer_asn: u32,
    internal: bool,
    pub identifier: u32,
    pub clusters: u16,
    pub address: IpAddr,
    /// The serial number of the router's session: a later session has a higher number.
    serial: u64,
}

impl Rib {
    /// Returns whether a route in a pre-policy view is looped. Such a view contains the routes that a peer
    /// sent. The router does not use a route in which it finds itself (RFC 4271 section 9.1.2, RFC 4456
    /// section 8). A route that passed import policy was accepted by the router (`allowas-in`).
    pub(super) fn is_looped(&self, view: View, attributes: AttributesId) -> bool {
        view == View::PrePolicy && self.attributes.is_looped(attributes)
    }

    pub(super) fn candidate(&self, source: EligibleView, path: RoutePath) -> Candidate {
        let peer = &self.peers[source.peer];
        let preference = self.attributes.preference(path.attributes);
        let PeerInfo {
            internal, bgp_id, ..
        } = peer.info;
        // RFC 4271 section 5.1.5: from an external peer it is ignored. Members of a confederation use it
        // among themselves (RFC 5065 section 4).
        let has_local_pref = source.view != View::PrePolicy || internal || preference.of_member();
        // within an AS only: RFC 7606 section 7.9
        let reflected = internal || source.view == View::LocRib;
        let originator = preference.originator_id().filter(|_| reflected);
        Candidate {
            attributes: path.attributes,
            source,
            path_id: path.id,
            looped: self.is_looped(source.view, path.attributes),
            labelled: path.labelled,
            preference,
            local_pref: match has_local_pref {
                true => preference.local_pref(),
                false => DEFAULT_LOCAL_PREF,
            },
            peer_asn: self.attributes.peer_asn(path.attributes),
            // RFC 5065 section 5.3: other members of the confederation count as internal
            internal: internal || preference.of_member() && source.view != View::LocRib,
            identifier: originator.unwrap_or(bgp_id),
            clusters: match reflected {
                true => preference.cluster_list_length(),
                false => 0,
            },
            address: peer.key.address,
            serial: self.routers[peer.router].serial,
        }
    }
}

/// Compares two candidates: less is better. Also returns the step that decides; if none does, it is the
/// last one.
///
/// MEDs are comparable only between routes of one neighbor AS, so this order is not transitive: the best
/// of more than two is what [`choose`] returns.
pub(super) fn compare(a: &Candidate, b: &Candidate) -> (Ordering, DecisionStep) {
    let med = || match a.peer_asn == b.peer_asn {
        true => a.med().cmp(&b.med()),
        false => Ordering::Equal,
    };
    let broad = compare_broadly(a, b);
    let (order, step) = match broad.0 {
        Ordering::Equal => (med(), DecisionStep::Med),
        _ => broad,
    };
    match order {
        Ordering::Equal => compare_finely(a, b),
        _ => (order, step),
    }
}

impl Candidate {
    pub fn path_length(&self) -> u16 {
        self.preference.path_length()
    }

    pub fn origin(&self) -> u8 {
        self.preference.origin()
    }

    pub fn med(&self) -> u32 {
        self.preference.med()
    }
}

/// Returns the best candidate.
pub(super) fn choose(candidates: impl IntoIterator<Item = Candidate>) -> Option<Candidate> {
    let mut candidates = candidates.into_iter().filter(|c| !c.looped);
    let mut best = candidates.next()?;
    let mut equals = Vec::new();
    for candidate in candidates {
        match compare_broadly(&candidate, &best).0 {
            Ordering::Less => {
                best = candidate;
                equals.clear();
            }
            Ordering::Equal => equals.push(candidate),
            Ordering::Greater => {}
        }
    }
    if equals.is_empty() {
        return Some(best);
    }
    equals.push(best);
    // only the routes with the least MED of each neighbor AS remain
    let by_peer_asn = |c: &Candidate| (c.peer_asn, c.med());
    equals.sort_unstable_by_key(by_peer_asn);
    let peer_ases = equals.chunk_by(|a, b| a.peer_asn == b.peer_asn);
    peer_ases
        .flat_map(|all| all.iter().take_while(|c| c.med() == all[0].med()))
        .min_by(|a, b| compare_finely(a, b).0)
        .copied()
}

/// Returns the step at which a candidate lost to the best one. `all` are the candidates of the prefix: a
/// third one may have had the lower MED.
pub(super) fn lost_at(candidate: &Candidate, best: &Candidate, all: &[Candidate]) -> DecisionStep {
    let (_, step) = compare(candidate, best);
    match step > DecisionStep::Med && least_med(candidate, all) < candidate.med() {
        true => DecisionStep::Med,
        false => step,
    }
}

/// Returns the least MED of the candidates that are equal up to MED and of the same neighbor AS.
pub(super) fn least_med(candidate: &Candidate, all: &[Candidate]) -> u32 {
    let comparable = |other: &&Candidate| {
        other.peer_asn == candidate.peer_asn && compare_broadly(other, candidate).0.is_eq()
    };
    let meds = all.iter().filter(comparable).map(Candidate::med);
    meds.fold(candidate.med(), u32::min)
}

/// Compares by the steps before MED.
fn compare_broadly(a: &Candidate, b: &Candidate) -> (Ordering, DecisionStep) {
    let (own, other) = (&a.preference, &b.preference);
    first_of([
        (
            own.llgr_stale().cmp(&other.llgr_stale()),
            DecisionStep::LlgrStale,
        ),
        (a.source.view.cmp(&b.source.view), DecisionStep::View),
        (
            a.local_pref.cmp(&b.local_pref).reverse(),
            DecisionStep::LocalPref,
        ),
        (
            own.path_length().cmp(&other.path_length()),
            DecisionStep::PathLength,
        ),
        (own.origin().cmp(&other.origin()), DecisionStep::Origin),
    ])
}

/// Compares by the steps after MED.
fn compare_finely(a: &Candidate, b: &Candidate) -> (Ordering, DecisionStep) {
    first_of([
        (a.internal.cmp(&b.internal), DecisionStep::External),
        (a.identifier.cmp(&b.identifier), DecisionStep::Identifier),
        (a.clusters.cmp(&b.clusters), DecisionStep::ClusterList),
        (a.address.cmp(&b.address), DecisionStep::Address),
        (
            Reverse(a.serial).cmp(&Reverse(b.serial)),
            DecisionStep::Session,
        ),
        (
            (a.path_id, a.labelled).cmp(&(b.path_id, b.labelled)),
            DecisionStep::PathId,
        ),
    ])
}

/// Returns the first step at which two candidates differ, or the last step.
fn first_of<const N: usize>(steps: [(Ordering, DecisionStep); N]) -> (Ordering, DecisionStep) {
    let differs = |(order, _): &(Ordering, DecisionStep)| order.is_ne();
    steps.into_iter().find(differs).unwrap_or(steps[N - 1])
}
