// SPDX-License-Identifier: AGPL-3.0-only
//! Explains a lookup step by step: every route for an address, the best one, and the reason why each of the
//! others lost.

use std::fmt::Display;
use std::net::{IpAddr, Ipv4Addr};

use super::blackhole::BlackholeRejectReason;
use super::counts::HeldRoute;
use super::decision::{self, Candidate, DecisionStep};
use super::journal::Age;
use super::lookup::{SHORTEST_NETWORK, is_unlabelled};
use super::peer::{RibPeer, TableId, View};
use super::prefix::{Family, RoutePrefix, split};
use super::rank::{RANKS, Rank};
use super::{Rib, of_family};

const UNLABELLED: &str = "loopback, link-local and multicast addresses belong to no network";
/// RFC 4271 section 9.1.2, RFC 4456 section 8
const NOT_USED: &str = "the router does not use it: it finds itself in the path";

/// One route for the address, with the reason why it won or lost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExplainedRoute {
    pub route: HeldRoute,
    /// The name that the router sent (sysName).
    pub sys_name: String,
    /// The AS of the peer; 0 if unknown.
    pub session_asn: u32,
    /// The name that the peer sent.
    pub peer_name: Option<String>,
    pub age: Age,
    pub best: bool,
    /// The reason why it is the best, or why it lost.
    pub reason: String,
    /// The step of the decision process at which it won or lost, if it took part.
    pub step: Option<DecisionStep>,
    /// Steps before that one for which BMP carries no data: the router may have decided there.
    pub unknown: Vec<&'static str>,
    /// If the route requests a blackhole: whether it has one, or why not.
    pub blackhole: Option<Result<(), BlackholeRejectReason>>,
}

/// A matching route, and the data that a lookup would use of it.
struct MatchedRoute<'a> {
    peer: &'a RibPeer,
    peer_id: u32,
    view: View,
    /// The route in the decision, if its view takes part in lookups.
    candidate: Option<Candidate>,
    prefix: u32,
    age: Age,
    route: HeldRoute,
}

/// The best route.
struct BestPath {
    prefix: u32,
    length: u8,
    candidate: Candidate,
}

impl Rib {
    /// Returns at most `limit` routes: longest prefix first, but the best route before all others.
    pub fn explain(&self, address: IpAddr, table: TableId, limit: usize) -> Vec<ExplainedRoute> {
        let (family, bits) = split(address);
        self.explain_prefix(RoutePrefix::new(family, bits, family.bits()), table, limit)
    }

    /// Returns the same for a whole prefix: its routes, and those of the prefixes that contain it.
    pub fn explain_prefix(
        &self,
        asked: RoutePrefix,
        table: TableId,
        limit: usize,
    ) -> Vec<ExplainedRoute> {
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
        let best_path = match unlabelled {
            true => None,
            false => self.best_of_all(table, family, &prefixes),
        };
        let mut all = Vec::new();
        for &(prefix, length) in &prefixes {
            let named = RoutePrefix::new(family, bits, length);
            self.find_routes(table, prefix, named, &mut all);
        }
        let explain_route = |found: &MatchedRoute| match unlabelled {
            true => self.explained(found, false, None, UNLABELLED.to_owned()),
            false => self.explain_route(found, best_path.as_ref(), &all),
        };
        let mut explained: Vec<_> = all.iter().map(explain_route).collect();
        explained.sort_by_key(|explained| {
            (
                !explained.best,
                std::cmp::Reverse(explained.route.prefix.length()),
            )
        });
        explained.truncate(limit);
        explained
    }

    /// Returns the best route, as a lookup finds it.
    fn best_of_all(
        &self,
        table: TableId,
        family: Family,
        prefixes: &[(u32, u8)],
    ) -> Option<BestPath> {
        let mut found = [const { None }; RANKS];
        for &(prefix, length) in prefixes {
            let best = self.decide(table, family, prefix);
            for (found, best) in found.iter_mut().zip(best) {
                let best_path = best.map(|candidate| BestPath {
                    prefix,
                    length,
                    candidate,
                });
                *found = found.take().or(best_path);
            }
        }
        let found: Vec<_> = found.into_iter().flatten().collect();
        let is_network = |best_path: &BestPath| best_path.length >= SHORTEST_NETWORK;
        let index = found.iter().position(is_network).unwrap_or(0);
        found.into_iter().nth(index)
    }

    fn find_routes<'a>(
        &'a self,
        table: TableId,
        prefix: u32,
        named: RoutePrefix,
        all: &mut Vec<MatchedRoute<'a>>,
    ) {
        let holding = self.holding(named.family(), prefix);
        for (table_key, routes) in holding.filter(|(table_key, _)| table_key.table == table) {
            let peer = &self.peers[table_key.peer];
            let source = self.eligible_view(table_key.peer, table_key.view, table_key.family);
            for path in routes.paths(prefix) {
                all.push(MatchedRoute {
                    peer,
                    peer_id: table_key.peer,
                    view: table_key.view,
                    candidate: source.map(|source| self.candidate(source, path)),
                    prefix,
                    age: self.journal.age(
                        (table_key.peer, table_key.view, named, path.key()),
                        routes.since,
                    ),
                    route: HeldRoute {
                        router: self.routers[peer.router].identity.address,
                        peer: peer.key,
                        view: table_key.view,
                        prefix: named,
                        path_id: path.id,
                        labelled: path.labelled,
                        attributes: self.attributes.get(path.attributes),
                        stale: table_key.stale,
                    },
                });
            }
        }
    }

    fn explain_route(
        &self,
        found: &MatchedRoute,
        best_path: Option<&BestPath>,
        all: &[MatchedRoute],
    ) -> ExplainedRoute {
        let best = best_path.is_some_and(|best_path| is_best(found, best_path));
        let (step, reason) = match best_path {
            None => (None, self.not_chosen(found)),
            Some(best_path) if best => self.won_by(found, best_path, all),
            Some(best_path) => self.lost_by(found, best_path, all),
        };
        self.explained(found, best, step, reason)
    }

    fn explained(
        &self,
        found: &MatchedRoute,
        best: bool,
        step: Option<DecisionStep>,
        reason: String,
    ) -> ExplainedRoute {
        let asks = found.route.attributes.requests_blackhole;
        ExplainedRoute {
            route: found.route.clone(),
            sys_name: self.routers[found.peer.router].identity.sys_name.clone(),
            session_asn: found.peer.info.asn,
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

    /// Returns why a matching route was not chosen, if no route was chosen.
    fn not_chosen(&self, found: &MatchedRoute) -> String {
        match found.candidate {
            None => format!(
                "{}, and has no route for this address",
                self.other_view(found)
            ),
            Some(_) => NOT_USED.to_owned(),
        }
    }

    /// Names the view that answers instead of a view that takes no part.
    fn other_view(&self, found: &MatchedRoute) -> String {
        let view = match found.view {
            View::PrePolicy if self.post_policy_answers(found) => "post-policy view",
            _ => "Loc-RIB",
        };
        format!("the router's {view} answers in its place")
    }

    /// Returns the step at which the last rival of the best route lost.
    fn won_by(
        &self,
        found: &MatchedRoute,
        best_path: &BestPath,
        all: &[MatchedRoute],
    ) -> (Option<DecisionStep>, String) {
        let steps = all
            .iter()
            .filter(|other| !is_best(other, best_path))
            .filter_map(|other| self.lost_by(other, best_path, all).0);
        let step = steps.max();
        let is_default = found.route.prefix.length() < SHORTEST_NETWORK;
        let reason = match step {
            Some(step) => step.name(),
            None if is_default => "only a default route",
            None => "longest prefix",
        };
        (step, reason.to_owned())
    }

    /// Returns the step at which a route lost, if it took part in the decision, and the reason as text.
    fn lost_by(
        &self,
        found: &MatchedRoute,
        best_path: &BestPath,
        all: &[MatchedRoute],
    ) -> (Option<DecisionStep>, String) {
        let best = best_path.candidate.source;
        let Some(candidate) = &found.candidate else {
            return (None, self.other_view(found));
        };
        if candidate.looped {
            return (None, NOT_USED.to_owned());
        }
        let rank = candidate.source.rank;
        if rank != best.rank {
            return (None, rank_lost(rank, best.rank).to_owned());
        }
        if found.prefix != best_path.prefix {
            return (None, "a longer prefix matches".into());
        }
        let rivals: Vec<_> = all
            .iter()
            .filter(|other| other.prefix == found.prefix)
            .filter_map(|other| other.candidate)
            .filter(|other| other.source.rank == rank && !other.looped)
            .collect();
        let step = decision::lost_at(candidate, &best_path.candidate, &rivals);
        let least_med = decision::least_med(candidate, &rivals);
        let words = describe(step, candidate, &best_path.candidate, least_med);
        (Some(step), words)
    }

    fn post_policy_answers(&self, found: &MatchedRoute) -> bool {
        let family = found.route.prefix.family();
        self.eligible_view(found.peer_id, View::PostPolicy, family)
            .is_some()
    }
}

/// Returns the steps before this one for which BMP carries no data. A Loc-RIB is the router's own choice.
fn unknown_before(found: &MatchedRoute, step: Option<DecisionStep>) -> Vec<&'static str> {
    let mut unknown = Vec::new();
    if found.view == View::LocRib || found.candidate.is_none() {
        return unknown;
    }
    if found.view == View::PrePolicy {
        unknown.push("import policy");
    }
    let Some(step) = step.filter(|step| *step > DecisionStep::View) else {
        return unknown;
    };
    unknown.push("weight or preference");
    // routers send LOCAL_PREF only to internal peers
    let sent = found.route.attributes.local_pref.is_some() || found.view == View::PrePolicy;
    if !sent && step >= DecisionStep::LocalPref {
        unknown.push("local preference");
    }
    if step > DecisionStep::External {
        unknown.extend(["cost to the next hop", "oldest external path"]);
    }
    unknown
}

fn is_best(found: &MatchedRoute, best_path: &BestPath) -> bool {
    let candidate = &best_path.candidate;
    found.prefix == best_path.prefix
        && found.peer_id == candidate.source.peer
        && found.view == candidate.source.view
        && (found.route.path_id, found.route.labelled) == (candidate.path_id, candidate.labelled)
}

/// Describes the values that differ at the step at which a route lost.
fn describe(step: DecisionStep, own: &Candidate, best: &Candidate, least_med: u32) -> String {
    let name = match step {
        DecisionStep::LocalPref => "local preference",
        DecisionStep::PathLength => "AS path length",
        DecisionStep::Origin => "origin",
        DecisionStep::Identifier => "BGP identifier",
        DecisionStep::ClusterList => "CLUSTER_LIST length",
        _ => "peer address",
    };
    let values =
        |own: &dyn Display, sign, best: &dyn Display| format!("{} {own} {sign} {best}", name);
    match step {
        DecisionStep::LlgrStale => "LLGR_STALE: the session it is from ended".into(),
        DecisionStep::View => "a Loc-RIB or post-policy view is preferred".into(),
        DecisionStep::LocalPref => values(&own.local_pref, "<", &best.local_pref),
        DecisionStep::PathLength => values(&own.path_length(), ">", &best.path_length()),
        DecisionStep::Origin => values(&own.origin(), ">", &best.origin()),
        DecisionStep::Med => format!("MED {} > {least_med} of the same neighbour", own.med()),
        DecisionStep::External => "iBGP after eBGP".into(),
        DecisionStep::Identifier => {
            let [own, best] = [own, best].map(|c| Ipv4Addr::from(c.identifier));
            values(&own, ">", &best)
        }
        DecisionStep::ClusterList => values(&own.clusters, ">", &best.clusters),
        DecisionStep::Address => values(&own.address, ">", &best.address),
        DecisionStep::Session => "an older session".into(),
        DecisionStep::PathId => "a higher path identifier".into(),
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
