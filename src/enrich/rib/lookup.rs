// SPDX-License-Identifier: AGPL-3.0-only
//! From an address to the route that answers for it.

use std::net::IpAddr;

use super::attributes::AttributesId;
use super::decision::{self, Candidate};
use super::peer::{Peer, PeerKind, Router, TableId, View};
use super::prefix::{Family, split};
use super::routes::Sole;
use super::{Rib, of_family};

/// Any shorter prefix is a default route: it tells where to send, not whose the address is.
pub const SHORTEST_NETWORK: u8 = 8;

/// What routes say of an address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Route {
    /// 0: not known, because of a default route or an AS_SET.
    pub origin_asn: u32,
    /// 0: not known.
    pub neighbour_asn: u32,
    pub next_hop: Option<IpAddr>,
    pub prefix_len: u8,
    pub blackhole: bool,
}

/// The order in which routers answer: one of a later rank only where those before have no route, or
/// only a default.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Rank {
    Local,
    /// Another session of the same identity began later.
    LocalOlder,
    Remote,
    RemoteOlder,
}

const RANKS: usize = 4;

/// Paths of a prefix that are compared: whoever sends more shall not make lookups slow.
const MAX_CANDIDATES: usize = 1 << 13;

/// A view that takes part in lookups.
#[derive(Clone, Copy, Debug)]
pub(super) struct Answer {
    pub rank: Rank,
    pub view: View,
    pub peer: u32,
}

/// The views that take part, by table and family.
#[derive(Debug)]
pub(super) struct Answers(Vec<[Vec<Answer>; 2]>);

/// By view: whether a session carries routes in it.
#[derive(Clone, Copy, Debug, Default)]
struct Sends([bool; 3]);

impl Sends {
    /// End-of-RIB means something only for a view that the router sends. Without any route, each may be
    /// one.
    fn may_send(self, view: View) -> bool {
        self.0[view as usize] || self.0 == [false; 3]
    }
}

impl Answers {
    pub fn new(tables: usize) -> Self {
        Self((0..tables).map(|_| Default::default()).collect())
    }

    pub fn of(&self, table: TableId, family: Family) -> &[Answer] {
        &self.0[usize::from(table.0)][family as usize]
    }
}

impl Rib {
    /// Finds out anew which views answer, and which blackholes stand. Whoever changed something calls it
    /// before lookups.
    pub fn settle(&mut self) {
        let unsettled = std::mem::take(&mut self.unsettled);
        if unsettled {
            self.find_answers();
        }
        self.settle_blackholes(unsettled);
        for (table, answers) in self.answers.0.iter().enumerate() {
            for (family, answers) in Family::ALL.into_iter().zip(answers) {
                let is_contest = match answers[..] {
                    [first, .., last] => first.rank == last.rank,
                    _ => false,
                };
                let universe = of_family!(self.prefixes, family, universe());
                let wanted = if is_contest { universe } else { 0 };
                self.winners.fit(table, family, wanted);
            }
        }
    }

    fn find_answers(&mut self) {
        self.changed = true;
        self.winners.clear();
        let mut answers = Answers::new(self.tables.len());
        for (id, _) in self.routers.iter() {
            for family in Family::ALL {
                self.answers_of_router(id, family, &mut answers);
            }
        }
        for family in answers.0.iter_mut().flatten() {
            family.sort_unstable_by_key(|a| (a.rank, a.view, a.peer));
            family.shrink_to_fit();
        }
        self.answers = answers;
    }

    fn answers_of_router(&self, id: u32, family: Family, answers: &mut Answers) {
        let router = &self.routers[id];
        let rank = self.rank(id);
        let sends = self.sends(router, family);
        let newest = self
            .newer_sessions(router)
            .filter(|newer| newer.ended.is_none())
            .max_by_key(|newer| newer.serial)
            .map(|newest| (newest, self.sends(newest, family)));
        // the newest session of the router has sent it in full, so this one is half-open
        let is_superseded = |peer: &Peer, view: View| {
            newest.is_some_and(|(newest, sends)| {
                let held = newest.peers.get(&peer.key).map(|&id| &self.peers[id]);
                sends.may_send(view) && held.is_some_and(|p| p.up && p.view(view, family).complete)
            })
        };
        let peers = router.peers.values().map(|&id| (id, &self.peers[id]));
        // tables for which the router's own choice is known in full
        let chosen: Vec<_> = peers
            .clone()
            .filter(|(_, p)| p.key.is_loc_rib() && !p.filtered)
            .filter(|(_, p)| p.view(View::LocRib, family).has_routes())
            .filter_map(|(_, p)| p.table)
            .collect();
        for (id, peer) in peers {
            let Some(table) = peer.table else { continue };
            let view = if peer.key.is_loc_rib() {
                View::LocRib
            } else if chosen.contains(&table) {
                continue;
            } else {
                peer.policy_view(family, sends.0[View::PostPolicy as usize])
            };
            if peer.view(view, family).has_routes() && !is_superseded(peer, view) {
                let answer = Answer {
                    rank,
                    view,
                    peer: id,
                };
                answers.0[usize::from(table.0)][family as usize].push(answer);
            }
        }
    }

    /// The views that carry routes of the router's peers.
    fn sends(&self, router: &Router, family: Family) -> Sends {
        let mut sends = Sends::default();
        let peers = router.peers.values().map(|&id| &self.peers[id]);
        // routes of the router itself are in one view, whatever it sends of its peers
        for peer in peers.filter(|peer| peer.key.kind != PeerKind::Originated) {
            for (view, _, held) in peer.views().filter(|(_, f, _)| *f == family) {
                sends.0[view as usize] |= held.has_routes();
            }
        }
        sends
    }

    /// Sessions of the same router that began later.
    fn newer_sessions<'a>(&'a self, router: &'a Router) -> impl Iterator<Item = &'a Router> {
        let routers = self.routers.iter().map(|(_, router)| router);
        routers.filter(|r| r.serial > router.serial && r.identity.is_same(&router.identity))
    }

    fn rank(&self, id: u32) -> Rank {
        let router = &self.routers[id];
        let older = self.newer_sessions(router).next().is_some();
        match (router.local, older) {
            (true, false) => Rank::Local,
            (true, true) => Rank::LocalOlder,
            (false, false) => Rank::Remote,
            (false, true) => Rank::RemoteOlder,
        }
    }

    /// The route that answers for an address in a table.
    pub fn lookup(&self, address: IpAddr, table: TableId) -> Option<Route> {
        debug_assert!(!self.unsettled, "settle() comes first");
        let (family, bits) = split(address);
        self.route(address, self.best_match(family, bits, table)?)
    }

    /// Those for several addresses: the processor waits for the memory of all of them at once.
    pub fn lookup_all<const N: usize>(
        &self,
        addresses: [IpAddr; N],
        table: TableId,
    ) -> [Option<Route>; N] {
        let keys = addresses.map(split);
        for (family, bits) in keys {
            of_family!(self.prefixes, family, warm(bits));
        }
        let mut found = [None; N];
        for (found, (family, bits)) in found.iter_mut().zip(keys) {
            *found = self.best_match(family, bits, table);
        }
        let mut routes = [None; N];
        for (i, found) in found.into_iter().enumerate() {
            routes[i] = found.and_then(|found| self.route(addresses[i], found));
        }
        routes
    }

    fn route(&self, address: IpAddr, found: (u8, AttributesId)) -> Option<Route> {
        if is_unlabelled(address) {
            return None;
        }
        let (length, attributes) = found;
        let (origin_asn, neighbour_asn, next_hop, blackhole) = self.attributes.tell(attributes);
        let is_default = length < SHORTEST_NETWORK;
        Some(Route {
            origin_asn: if is_default { 0 } else { origin_asn },
            neighbour_asn,
            next_hop,
            prefix_len: length,
            blackhole,
        })
    }

    fn best_match(&self, family: Family, bits: u128, table: TableId) -> Option<(u8, AttributesId)> {
        let answers = &self.answers.0[usize::from(table.0)][family as usize][..];
        // sorted: the first rank is the one that need not wait for another
        let (first, last) = (answers.first()?.rank, answers.last()?.rank);
        if first == last {
            return self.longest(answers, family, bits, table);
        }
        let mut found: [Option<(u8, AttributesId)>; RANKS] = [None; RANKS];
        let visit = |prefix: u32, length: u8| {
            for group in answers.chunk_by(|a, b| a.rank == b.rank) {
                let best = &mut found[group[0].rank as usize];
                if best.is_none() {
                    let winner = self.best(group, family, prefix);
                    *best = winner.map(|attributes| (length, attributes));
                }
            }
            found[first as usize].is_some()
        };
        of_family!(self.prefixes, family, matches(bits, visit));
        let specific = |route: &&Option<(u8, AttributesId)>| {
            route.is_some_and(|(length, _)| length >= SHORTEST_NETWORK)
        };
        let network = found.iter().find(specific).copied().flatten();
        network.or_else(|| found.into_iter().flatten().next())
    }

    /// Where all are of one rank, which is the rule, and for which winners are kept.
    fn longest(
        &self,
        answers: &[Answer],
        family: Family,
        bits: u128,
        table: TableId,
    ) -> Option<(u8, AttributesId)> {
        let mut found = None;
        let visit = |prefix: u32, length: u8| {
            let best = || self.best(answers, family, prefix);
            let winner = self.winners.get_or(table, family, prefix, best);
            found = winner.map(|attributes| (length, attributes));
            found.is_some()
        };
        of_family!(self.prefixes, family, matches(bits, visit));
        found
    }

    /// The best path among the routes that these views have for a prefix.
    fn best(&self, answers: &[Answer], family: Family, prefix: u32) -> Option<AttributesId> {
        let mut only = None;
        for answer in answers {
            let held = self.peers[answer.peer].view(answer.view, family);
            for routes in held.tables() {
                match routes.sole(prefix) {
                    Sole::None => {}
                    Sole::Path(attributes) if only.is_none() => only = Some(attributes),
                    Sole::Path(_) | Sole::Many => return self.choose(answers, family, prefix),
                }
            }
        }
        only
    }

    fn choose(&self, answers: &[Answer], family: Family, prefix: u32) -> Option<AttributesId> {
        self.choose_candidate(answers, family, prefix)
            .map(|candidate| candidate.attributes)
    }

    /// The best of the routes that these views have for a prefix.
    pub(super) fn choose_candidate(
        &self,
        answers: &[Answer],
        family: Family,
        prefix: u32,
    ) -> Option<Candidate> {
        let candidates = answers.iter().flat_map(|answer| {
            let held = self.peers[answer.peer].view(answer.view, family);
            let paths = held.tables().flat_map(|routes| routes.paths(prefix));
            paths.map(|path| self.candidate(*answer, path))
        });
        decision::choose(candidates.take(MAX_CANDIDATES))
    }
}

/// Addresses that no routing table speaks for.
pub fn is_unlabelled(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(a) => a.is_loopback() || a.is_link_local() || a.is_multicast(),
        IpAddr::V6(a) => a.is_loopback() || a.is_unicast_link_local() || a.is_multicast(),
    }
}
