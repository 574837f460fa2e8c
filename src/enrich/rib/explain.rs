// SPDX-License-Identifier: AGPL-3.0-only
//! Every route for an address, which one answers, and what the others lost by: what a lookup does,
//! told step by step.

use std::fmt::Display;
use std::net::{IpAddr, Ipv4Addr};

use super::blackhole::BlackholeRefusal;
use super::counts::HeldRoute;
use super::decision::{self, Candidate, Step};
use super::journal::Age;
use super::lookup::{RANKS, Rank, SHORTEST_NETWORK, is_unlabelled};
use super::peer::{Peer, TableId, View};
use super::prefix::{Family, Prefix, split};
use super::{Rib, of_family};

const UNLABELLED: &str = "loopback, link-local and multicast addresses belong to no network";
/// RFC 4271 section 9.1.2, RFC 4456 section 8
const NOT_USED: &str = "the router does not use it: it finds itself in the path";

/// One route for the address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explained {
    pub route: HeldRoute,
    /// What the router calls itself.
    pub sys_name: String,
    /// The AS of the peer; 0 if it is not known.
    pub peer_asn: u32,
    /// As the peer names itself.
    pub peer_name: Option<String>,
    pub age: Age,
    pub best: bool,
    /// Why it is the best, or what it lost by.
    pub reason: String,
    /// The step of the decision process at which it won or lost, if it took part.
    pub step: Option<Step>,
    /// StartupSteps before that one for which BMP carries no data: the router may have decided there.
    pub unknown: Vec<&'static str>,
    /// Where it asks for a blackhole: whether it has one, or why not.
    pub blackhole: Option<Result<(), BlackholeRefusal>>,
}

/// A route of the answer, and what a lookup would see of it.
struct Found<'a> {
    peer: &'a Peer,
    peer_id: u32,
    view: View,
    /// Its part in the decision, if its view takes part in lookups.
    candidate: Option<Candidate>,
    prefix: u32,
    age: Age,
    route: HeldRoute,
}

/// The route that answers.
struct Winner {
    prefix: u32,
    length: u8,
    candidate: Candidate,
}

impl Rib {
    /// At most `limit` routes: of the longest prefix first, the best of all before the others.
    pub fn explain(&self, address: IpAddr, table: TableId, limit: usize) -> Vec<Explained> {
        let (family, bits) = split(address);
        self.explain_prefix(Prefix::new(family, bits, family.bits()), table, limit)
    }

    /// The same for a whole prefix: routes of it, and of those that contain it.
    pub fn explain_prefix(&self, asked: Prefix, table: TableId, limit: usize) -> Vec<Explained> {
        let (family, bits) = (asked.family(), asked.bits());
        let mut prefixes = Vec::new();
        let note = |prefix, length| {
            if length <= asked.length() {
                prefixes.push((prefix, length));
            }
            false
        };
        of_family!(self.prefixes, family, matches(bits, note));
        let unlabelled = is_unlabelled(asked.address());
        let winner = match unlabelled {
            true => None,
            false => self.best_of_all(table, family, &prefixes),
        };
        let mut all = Vec::new();
        for &(prefix, length) in &prefixes {
            let named = Prefix::new(family, bits, length);
            self.find_routes(table, prefix, named, &mut all);
        }
        let tell = |found: &Found| match unlabelled {
            true => self.told(found, false, None, UNLABELLED.to_owned()),
            false => self.tell(found, winner.as_ref(), &all),
        };
        let mut told: Vec<_> = all.iter().map(tell).collect();
        told.sort_by_key(|told| (!told.best, std::cmp::Reverse(told.route.prefix.length())));
        told.truncate(limit);
        told
    }

    /// As the lookup finds it.
    fn best_of_all(
        &self,
        table: TableId,
        family: Family,
        prefixes: &[(u32, u8)],
    ) -> Option<Winner> {
        let mut found = [const { None }; RANKS];
        for &(prefix, length) in prefixes {
            let best = self.decide(table, family, prefix);
            for (found, best) in found.iter_mut().zip(best) {
                let winner = best.map(|candidate| Winner {
                    prefix,
                    length,
                    candidate,
                });
                *found = found.take().or(winner);
            }
        }
        let found: Vec<_> = found.into_iter().flatten().collect();
        let is_network = |winner: &Winner| winner.length >= SHORTEST_NETWORK;
        let place = found.iter().position(is_network).unwrap_or(0);
        found.into_iter().nth(place)
    }

    fn find_routes<'a>(
        &'a self,
        table: TableId,
        prefix: u32,
        named: Prefix,
        all: &mut Vec<Found<'a>>,
    ) {
        let holding = self.holding(named.family(), prefix);
        for (place, routes) in holding.filter(|(place, _)| place.table == table) {
            let peer = &self.peers[place.peer];
            let answer = self.standing(place.peer, place.view, place.family);
            for path in routes.paths(prefix) {
                all.push(Found {
                    peer,
                    peer_id: place.peer,
                    view: place.view,
                    candidate: answer.map(|answer| self.candidate(answer, path)),
                    prefix,
                    age: self
                        .journal
                        .age((place.peer, place.view, named, path.key()), routes.since),
                    route: HeldRoute {
                        router: self.routers[peer.router].identity.address,
                        peer: peer.key,
                        view: place.view,
                        prefix: named,
                        path_id: path.id,
                        labelled: path.labelled,
                        attributes: self.attributes.get(path.attributes),
                        stale: place.stale,
                    },
                });
            }
        }
    }

    fn tell(&self, found: &Found, winner: Option<&Winner>, all: &[Found]) -> Explained {
        let best = winner.is_some_and(|winner| is_winner(found, winner));
        let (step, reason) = match winner {
            None => (None, self.not_chosen(found)),
            Some(winner) if best => self.won_by(found, winner, all),
            Some(winner) => self.lost_by(found, winner, all),
        };
        self.told(found, best, step, reason)
    }

    fn told(&self, found: &Found, best: bool, step: Option<Step>, reason: String) -> Explained {
        let asks = found.route.attributes.discard;
        Explained {
            route: found.route.clone(),
            sys_name: self.routers[found.peer.router].identity.sys_name.clone(),
            peer_asn: found.peer.info.asn,
            peer_name: found.peer.name.as_deref().map(str::to_owned),
            age: found.age,
            best,
            reason,
            step,
            unknown: unknown_before(found, step),
            blackhole: asks
                .then(|| self.blackhole_at(found.route.prefix, found.peer_id, found.view))
                .flatten(),
        }
    }

    /// Why no route was chosen, of one that matches.
    fn not_chosen(&self, found: &Found) -> String {
        match found.candidate {
            None => format!(
                "{}, and has no route for this address",
                self.other_view(found)
            ),
            Some(_) => NOT_USED.to_owned(),
        }
    }

    /// The view that answers in the place of a view that takes no part.
    fn other_view(&self, found: &Found) -> String {
        let view = match found.view {
            View::PrePolicy if self.post_policy_answers(found) => "post-policy view",
            _ => "Loc-RIB",
        };
        format!("the router's {view} answers in its place")
    }

    /// The step at which its last rival lost.
    fn won_by(&self, found: &Found, winner: &Winner, all: &[Found]) -> (Option<Step>, String) {
        let steps = all
            .iter()
            .filter(|other| !is_winner(other, winner))
            .filter_map(|other| self.lost_by(other, winner, all).0);
        let step = steps.max();
        let is_default = found.route.prefix.length() < SHORTEST_NETWORK;
        let reason = match step {
            Some(step) => step.name(),
            None if is_default => "only a default route",
            None => "longest prefix",
        };
        (step, reason.to_owned())
    }

    /// The step at which it lost, where it got as far as the decision; and that in words.
    fn lost_by(&self, found: &Found, winner: &Winner, all: &[Found]) -> (Option<Step>, String) {
        let best = winner.candidate.answer;
        let Some(candidate) = &found.candidate else {
            return (None, self.other_view(found));
        };
        if candidate.looped {
            return (None, NOT_USED.to_owned());
        }
        let rank = candidate.answer.rank;
        if rank != best.rank {
            return (None, rank_lost(rank, best.rank).to_owned());
        }
        if found.prefix != winner.prefix {
            return (None, "a longer prefix matches".into());
        }
        let rivals: Vec<_> = all
            .iter()
            .filter(|other| other.prefix == found.prefix)
            .filter_map(|other| other.candidate)
            .filter(|other| other.answer.rank == rank && !other.looped)
            .collect();
        let step = decision::lost_at(candidate, &winner.candidate, &rivals);
        let least_med = decision::least_med(candidate, &rivals);
        let words = describe(step, candidate, &winner.candidate, least_med);
        (Some(step), words)
    }

    fn post_policy_answers(&self, found: &Found) -> bool {
        let family = found.route.prefix.family();
        self.standing(found.peer_id, View::PostPolicy, family)
            .is_some()
    }
}

/// The steps before this one for which BMP carries no data. A Loc-RIB is the router's own choice.
fn unknown_before(found: &Found, step: Option<Step>) -> Vec<&'static str> {
    let mut unknown = Vec::new();
    if found.view == View::LocRib || found.candidate.is_none() {
        return unknown;
    }
    if found.view == View::PrePolicy {
        unknown.push("import policy");
    }
    let Some(step) = step.filter(|step| *step > Step::View) else {
        return unknown;
    };
    unknown.push("weight or preference");
    // routers send it to internal peers only
    let sent = found.route.attributes.local_pref.is_some() || found.view == View::PrePolicy;
    if !sent && step >= Step::LocalPref {
        unknown.push("local preference");
    }
    if step > Step::External {
        unknown.extend(["cost to the next hop", "oldest external path"]);
    }
    unknown
}

fn is_winner(found: &Found, winner: &Winner) -> bool {
    let candidate = &winner.candidate;
    found.prefix == winner.prefix
        && found.peer_id == candidate.answer.peer
        && found.view == candidate.answer.view
        && (found.route.path_id, found.route.labelled) == (candidate.path_id, candidate.labelled)
}

/// The values that differ at the step at which a route lost.
fn describe(step: Step, own: &Candidate, best: &Candidate, least_med: u32) -> String {
    let name = match step {
        Step::LocalPref => "local preference",
        Step::PathLength => "AS path length",
        Step::Origin => "origin",
        Step::Identifier => "BGP identifier",
        Step::ClusterList => "CLUSTER_LIST length",
        _ => "peer address",
    };
    let values =
        |own: &dyn Display, sign, best: &dyn Display| format!("{} {own} {sign} {best}", name);
    match step {
        Step::LlgrStale => "LLGR_STALE: the session it is from ended".into(),
        Step::View => "a Loc-RIB or post-policy view is preferred".into(),
        Step::LocalPref => values(&own.local_pref, "<", &best.local_pref),
        Step::PathLength => values(&own.path_length(), ">", &best.path_length()),
        Step::Origin => values(&own.origin(), ">", &best.origin()),
        Step::Med => format!("MED {} > {least_med} of the same neighbour", own.med()),
        Step::External => "iBGP after eBGP".into(),
        Step::Identifier => {
            let [own, best] = [own, best].map(|c| Ipv4Addr::from(c.identifier));
            values(&own, ">", &best)
        }
        Step::ClusterList => values(&own.clusters, ">", &best.clusters),
        Step::Address => values(&own.address, ">", &best.address),
        Step::Session => "an older session".into(),
        Step::PathId => "a higher path identifier".into(),
    }
}

fn rank_lost(own: Rank, best: Rank) -> &'static str {
    match (own, best) {
        (Rank::LocalOlder, Rank::Local) | (Rank::RemoteOlder, Rank::Remote) => {
            "a newer session of the router answers first"
        }
        _ if own > best => "a session on this machine answers first",
        _ => "only a default route, and another router has more",
    }
}
