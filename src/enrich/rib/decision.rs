// SPDX-License-Identifier: AGPL-3.0-only
//! The decision process (RFC 4271 section 9.1): chooses the best of the routes of one prefix (pure).

use std::cmp::{Ordering, Reverse};
use std::net::IpAddr;

use super::Rib;
use super::attributes::{AttributesId, Preference};
use super::lookup::Answer;
use super::routes::Path;

/// The steps of the decision process, in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    /// A Loc-RIB goes before a post-policy view, and that before a pre-policy view.
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
    /// The lower BGP identifier, f).
    Identifier,
    /// The lower peer address, g).
    Address,
    /// The newer session. From here on the steps only make the choice definite.
    Session,
    /// The lower path identifier.
    PathId,
}

impl Step {
    /// The name that the operator reads.
    pub fn name(self) -> &'static str {
        match self {
            Self::View => "view",
            Self::LocalPref => "local preference",
            Self::PathLength => "AS path length",
            Self::Origin => "origin",
            Self::Med => "MED",
            Self::External => "eBGP over iBGP",
            Self::Identifier => "lowest BGP identifier",
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
    pub answer: Answer,
    pub path_id: Option<u32>,
    preference: Preference,
    neighbour_asn: u32,
    internal: bool,
    bgp_id: u32,
    address: IpAddr,
    /// Of the router's session: a later one has a higher number.
    serial: u64,
}

impl Rib {
    pub(super) fn candidate(&self, answer: Answer, path: Path) -> Candidate {
        let peer = &self.peers[answer.peer];
        Candidate {
            attributes: path.attributes,
            answer,
            path_id: path.id,
            preference: self.attributes.preference(path.attributes),
            neighbour_asn: self.attributes.neighbour_asn(path.attributes),
            internal: peer.info.internal,
            bgp_id: peer.info.bgp_id,
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
pub(super) fn compare(a: &Candidate, b: &Candidate) -> (Ordering, Step) {
    let med = || match a.neighbour_asn == b.neighbour_asn {
        true => a.preference.med().cmp(&b.preference.med()),
        false => Ordering::Equal,
    };
    let broad = compare_broadly(a, b);
    let (order, step) = match broad.0 {
        Ordering::Equal => (med(), Step::Med),
        _ => broad,
    };
    match order {
        Ordering::Equal => compare_finely(a, b),
        _ => (order, step),
    }
}

/// Returns the best candidate.
pub(super) fn choose(candidates: impl IntoIterator<Item = Candidate>) -> Option<Candidate> {
    let mut candidates = candidates.into_iter();
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
    // the least MED of each neighbor AS stays
    let by_neighbour = |c: &Candidate| (c.neighbour_asn, c.preference.med());
    equals.sort_unstable_by_key(by_neighbour);
    let neighbours = equals.chunk_by(|a, b| a.neighbour_asn == b.neighbour_asn);
    neighbours
        .flat_map(|all| {
            all.iter()
                .take_while(|c| c.preference.med() == all[0].preference.med())
        })
        .min_by(|a, b| compare_finely(a, b).0)
        .copied()
}

/// The step at which a candidate lost to the best one. `all` are the candidates of the prefix: a third one
/// may have had the lower MED.
pub(super) fn lost_at<'a>(
    candidate: &Candidate,
    best: &Candidate,
    all: impl IntoIterator<Item = &'a Candidate>,
) -> Step {
    let (_, step) = compare(candidate, best);
    let beats_by_med = |rival: &Candidate| {
        let (order, step) = compare(rival, candidate);
        (order, step) == (Ordering::Less, Step::Med)
    };
    match step > Step::Med && all.into_iter().any(beats_by_med) {
        true => Step::Med,
        false => step,
    }
}

/// The steps before MED.
fn compare_broadly(a: &Candidate, b: &Candidate) -> (Ordering, Step) {
    let (own, other) = (&a.preference, &b.preference);
    first_of([
        (a.answer.view.cmp(&b.answer.view), Step::View),
        (
            own.local_pref().cmp(&other.local_pref()).reverse(),
            Step::LocalPref,
        ),
        (
            own.path_length().cmp(&other.path_length()),
            Step::PathLength,
        ),
        (own.origin().cmp(&other.origin()), Step::Origin),
    ])
}

/// The steps after MED.
fn compare_finely(a: &Candidate, b: &Candidate) -> (Ordering, Step) {
    first_of([
        (a.internal.cmp(&b.internal), Step::External),
        (a.bgp_id.cmp(&b.bgp_id), Step::Identifier),
        (a.address.cmp(&b.address), Step::Address),
        (Reverse(a.serial).cmp(&Reverse(b.serial)), Step::Session),
        (a.path_id.cmp(&b.path_id), Step::PathId),
    ])
}

/// The first step at which two candidates differ, or the last one.
fn first_of<const N: usize>(steps: [(Ordering, Step); N]) -> (Ordering, Step) {
    let differs = |(order, _): &(Ordering, Step)| order.is_ne();
    steps.into_iter().find(differs).unwrap_or(steps[N - 1])
}
