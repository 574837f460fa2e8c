// SPDX-License-Identifier: AGPL-3.0-only
//! Holds the attributes of routes: each set once, for all routes that share it.

use std::hash::BuildHasher;
use std::net::IpAddr;

use foldhash::fast::RandomState;
use hashbrown::HashTable;
use hashbrown::hash_table::Entry as Slot;

use super::as_path::SegmentKind;
use super::attributes::{Attributes, DEFAULT_LOCAL_PREF};
use super::details;
use super::store::{ByteStore, RefCounted};
use crate::types::network_path::NetworkPath;

/// The number of held attributes: from 1, below 2^30.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AttributesId(pub(super) u32);

/// Interners smaller than this are not rebuilt.
const KEEP: usize = 1 << 12;

/// Number of parts of the index. Each part grows separately, which is a small piece of work: moving all
/// entries at once takes longer than lookups may wait.
const PARTS: usize = 1 << 8;

/// Holds attributes in two arrays: a lookup that finds one route reads only the first array, and as much as
/// possible of it stays in the processor's cache.
#[derive(Debug, Default)]
pub struct AttributeInterner {
    interned: Vec<Interned>,
    interned_details: Vec<InternedDetails>,
    free: Vec<u32>,
    index: ShardedIndex,
    hasher: RandomState,
    exits: RefCounted<Exit>,
    preferences: RefCounted<Preference>,
    details: ByteStore,
    /// The number of attributes that request a blackhole, and of those in which the router finds itself:
    /// mostly 0, and then lookups can skip the check.
    blackhole_requests: usize,
    looping: usize,
}

/// Numbers by the hash of their content.
#[derive(Debug, Default)]
struct ShardedIndex {
    /// Empty until there is an entry.
    parts: Vec<HashTable<u32>>,
    len: usize,
}

/// The part that a lookup reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Interned {
    origin_asn: u32,
    exit: u32,
}

/// The part of [`Interned`] that many attributes share.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Exit {
    peer_asn: u32,
    next_hop: Option<IpAddr>,
    blackhole: bool,
    requests_blackhole: bool,
}

/// The parts that only the decision process or an operator reads.
#[derive(Clone, Copy, Debug)]
struct InternedDetails {
    preference: u32,
    details: u32,
    users: u32,
}

/// The values that the decision process compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Preference {
    local_pref: Option<u32>,
    med: Option<u32>,
    originator_id: Option<u32>,
    path_length: u16,
    clusters: u16,
    origin: u8,
    llgr_stale: bool,
    looped: bool,
    of_member: bool,
}

impl Attributes {
    pub fn preference(&self) -> Preference {
        Preference {
            local_pref: self.local_pref,
            med: self.med,
            originator_id: self.originator_id,
            path_length: self.path_length,
            clusters: self.cluster_list.len() as u16,
            origin: self.origin,
            llgr_stale: self.llgr_stale,
            looped: self.looped,
            of_member: self.of_member,
        }
    }

    fn exit(&self) -> Exit {
        Exit {
            peer_asn: self.peer_asn,
            next_hop: self.next_hop,
            blackhole: self.blackhole,
            requests_blackhole: self.requests_blackhole,
        }
    }
}

impl AttributeInterner {
    pub fn len(&self) -> usize {
        self.index.len
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Adds a user of these attributes. If all details held would take more than `limit` bytes, path and
    /// lists are left out, and the result has `false`.
    pub fn acquire(&mut self, attributes: &Attributes, limit: usize) -> (AttributesId, bool) {
        let interned = Interned {
            origin_asn: attributes.origin_asn,
            exit: self.exits.acquire(attributes.exit()),
        };
        let preference = self.preferences.acquire(attributes.preference());
        let mut details = Vec::with_capacity(64);
        details::encode(attributes, &mut details);
        let has_room = self.details.used() + details.len() <= limit;
        if !has_room {
            details.clear();
            details.extend(details::LEFT_OUT);
        }
        details.resize(ByteStore::padded(details.len()), 0);
        let hash = self.hasher.hash_one((interned, preference, &details[..]));
        let slot = self.index.part(hash).entry(
            hash,
            |&i| {
                let interned_details = &self.interned_details[i as usize];
                self.interned[i as usize] == interned
                    && interned_details.preference == preference
                    && *self.details.get(interned_details.details) == details[..]
            },
            |&i| {
                let interned_details = &self.interned_details[i as usize];
                let details = self.details.get(interned_details.details);
                let interned = self.interned[i as usize];
                self.hasher
                    .hash_one((interned, interned_details.preference, details))
            },
        );
        let i = match slot {
            Slot::Occupied(found) => {
                let i = *found.get();
                self.interned_details[i as usize].users += 1;
                self.exits.release(interned.exit);
                self.preferences.release(preference);
                i
            }
            Slot::Vacant(slot) => {
                let i = self.free.pop().unwrap_or(self.interned.len() as u32);
                slot.insert(i);
                self.index.len += 1;
                self.blackhole_requests += usize::from(attributes.requests_blackhole);
                self.looping += usize::from(attributes.looped);
                let interned_details = InternedDetails {
                    preference,
                    details: self.details.insert(&details),
                    users: 1,
                };
                put(&mut self.interned, i, interned);
                put(&mut self.interned_details, i, interned_details);
                i
            }
        };
        (AttributesId(i + 1), has_room)
    }

    pub fn retain(&mut self, id: AttributesId) {
        self.interned_details[id.index()].users += 1;
    }

    pub fn release(&mut self, id: AttributesId) {
        let interned_details = &mut self.interned_details[id.index()];
        interned_details.users -= 1;
        if interned_details.users > 0 {
            return;
        }
        let (interned, interned_details) = (self.interned[id.index()], *interned_details);
        let details = self.details.get(interned_details.details);
        let hash = self
            .hasher
            .hash_one((interned, interned_details.preference, details));
        let i = id.0 - 1;
        let part = self.index.part(hash);
        if let Ok(found) = part.find_entry(hash, |&other| other == i) {
            found.remove();
            self.index.len -= 1;
        }
        if self.is_empty() {
            *self = Self::default();
            return;
        }
        self.blackhole_requests -= usize::from(self.exits.get(interned.exit).requests_blackhole);
        self.looping -= usize::from(self.preferences.get(interned_details.preference).looped);
        self.exits.release(interned.exit);
        self.preferences.release(interned_details.preference);
        self.details.remove(interned_details.details);
        self.free.push(i);
    }

    pub fn get(&self, id: AttributesId) -> Attributes {
        let interned = &self.interned[id.index()];
        let exit = self.exits.get(interned.exit);
        let preference = self.preference(id);
        let mut attributes = Attributes {
            origin_asn: interned.origin_asn,
            peer_asn: exit.peer_asn,
            path_length: preference.path_length,
            local_pref: preference.local_pref,
            med: preference.med,
            next_hop: exit.next_hop,
            origin: preference.origin,
            originator_id: preference.originator_id,
            llgr_stale: preference.llgr_stale,
            looped: preference.looped,
            of_member: preference.of_member,
            blackhole: exit.blackhole,
            requests_blackhole: exit.requests_blackhole,
            ..Attributes::default()
        };
        let details = self.details.get(self.interned_details[id.index()].details);
        details::decode(details, &mut attributes);
        attributes
    }

    /// Writes the path of these attributes, as sums over paths use it.
    pub fn network_path(&self, id: AttributesId, path: &mut NetworkPath) {
        let origin_asn = self.interned[id.index()].origin_asn;
        let peer_asn = self.peer_asn(id);
        path.clear();
        let details = self.details.get(self.interned_details[id.index()].details);
        let ends = (peer_asn, origin_asn);
        let is_whole = details::visit_path(details, ends, |kind, asns| match kind {
            SegmentKind::Sequence => path.push_sequence(asns),
            SegmentKind::Set => path.push_set(asns),
            SegmentKind::ConfedSequence | SegmentKind::ConfedSet => asns.for_each(drop),
        });
        path.begin_with(peer_asn);
        if !is_whole && path.path().neighbors().is_empty() && self.preference(id).path_length > 0 {
            // there was no memory for the path
            path.push_sequence(std::iter::once(peer_asn));
        }
        path.set_origin(origin_asn);
    }

    /// Returns next hop and peer AS of all attributes held, each pair at least once.
    pub fn exits(&self) -> impl Iterator<Item = (IpAddr, u32)> {
        let exits = self.exits.values();
        exits.filter_map(|exit| Some((exit.next_hop?, exit.peer_asn)))
    }

    /// Returns origin AS, peer AS, next hop and blackhole flag.
    pub fn lookup_values(&self, id: AttributesId) -> (u32, u32, Option<IpAddr>, bool) {
        let interned = &self.interned[id.index()];
        let exit = self.exits.get(interned.exit);
        (
            interned.origin_asn,
            exit.peer_asn,
            exit.next_hop,
            exit.blackhole,
        )
    }

    pub fn requests_blackhole(&self, id: AttributesId) -> bool {
        self.blackhole_requests > 0 && self.exit(id).requests_blackhole
    }

    /// See [`Attributes::looped`].
    pub fn is_looped(&self, id: AttributesId) -> bool {
        self.looping > 0 && self.preference(id).looped
    }

    pub fn peer_asn(&self, id: AttributesId) -> u32 {
        self.exit(id).peer_asn
    }

    pub fn preference(&self, id: AttributesId) -> Preference {
        *self
            .preferences
            .get(self.interned_details[id.index()].preference)
    }

    fn exit(&self, id: AttributesId) -> &Exit {
        self.exits.get(self.interned[id.index()].exit)
    }

    /// Returns whether most of the memory is held for removed attributes.
    pub fn is_sparse(&self) -> bool {
        self.interned.len() > KEEP && self.len() < self.interned.len() / 4
    }

    /// Renumbers the attributes and frees memory. Returns the new raw number of each old raw number; 0
    /// stands for removed attributes.
    pub fn rebuild(&mut self) -> Vec<u32> {
        let mut renumbered = vec![0; self.interned.len() + 1];
        let old = std::mem::take(self);
        for &i in old.index.parts.iter().flatten() {
            let id = AttributesId(i + 1);
            let (new, _) = self.acquire(&old.get(id), usize::MAX);
            self.interned_details[new.index()].users = old.interned_details[id.index()].users;
            renumbered[id.0 as usize] = new.0;
        }
        renumbered
    }
}

impl ShardedIndex {
    fn part(&mut self, hash: u64) -> &mut HashTable<u32> {
        if self.parts.is_empty() {
            self.parts.resize_with(PARTS, HashTable::new);
        }
        // uses bits that the part itself does not use: the part uses the lowest and the highest
        &mut self.parts[(hash >> 40) as usize % PARTS]
    }
}

impl Preference {
    /// Returns the same values without LOCAL_PREF.
    pub fn without_local_pref(self) -> Self {
        Self {
            local_pref: None,
            ..self
        }
    }

    pub fn local_pref(self) -> u32 {
        self.local_pref.unwrap_or(DEFAULT_LOCAL_PREF)
    }

    pub fn path_length(self) -> u16 {
        self.path_length
    }

    pub fn origin(self) -> u8 {
        self.origin
    }

    /// Returns the MED; a missing one counts as 0, the lowest (RFC 4271 section 9.1.2.2).
    pub fn med(self) -> u32 {
        self.med.unwrap_or(0)
    }

    pub fn originator_id(self) -> Option<u32> {
        self.originator_id
    }

    pub fn cluster_list_length(self) -> u16 {
        self.clusters
    }

    pub fn llgr_stale(self) -> bool {
        self.llgr_stale
    }

    /// See [`Attributes::of_member`].
    pub fn of_member(self) -> bool {
        self.of_member
    }
}

impl AttributesId {
    fn index(self) -> usize {
        (self.0 - 1) as usize
    }
}

/// Stores a value at an index, or appends it.
fn put<T>(values: &mut Vec<T>, index: u32, value: T) {
    match values.get_mut(index as usize) {
        Some(void) => *void = value,
        None => values.push(value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attributes(origin_asn: u32) -> Attributes {
        Attributes {
            origin_asn,
            peer_asn: 1,
            local_pref: Some(100),
            communities: vec![origin_asn; origin_asn as usize % 3],
            next_hop: [None, Some([192, 0, 2, 1].into())][origin_asn as usize % 2],
            path_length: 1,
            requests_blackhole: origin_asn == 99,
            ..Attributes::default()
        }
    }

    #[test]
    fn equal_attributes_are_held_once_and_as_long_as_they_have_users() {
        let mut interner = AttributeInterner::default();
        let mut acquire = |n| interner.acquire(&attributes(n), usize::MAX).0;
        let (a, b) = (acquire(1), acquire(2));
        assert_eq!(acquire(1), a);
        interner.release(a);
        assert_eq!(interner.get(a).origin_asn, 1);
        interner.release(a);
        assert_eq!(interner.len(), 1);
        let next = interner.acquire(&attributes(3), usize::MAX).0;
        assert_eq!(next, a, "the number is free");
        interner.release(a);
        interner.release(b);
        assert_eq!(
            interner.interned.capacity() + interner.interned_details.capacity(),
            0
        );
    }

    #[test]
    fn after_a_rebuild_users_and_values_are_the_same() {
        let mut interner = AttributeInterner::default();
        let ids: Vec<_> = (0..100)
            .map(|n| interner.acquire(&attributes(n), usize::MAX).0)
            .collect();
        interner.retain(ids[99]);
        ids[..99].iter().for_each(|&id| interner.release(id));
        let renumbered = interner.rebuild();
        let id = AttributesId(renumbered[ids[99].0 as usize]);
        assert_eq!(interner.get(id), attributes(99));
        interner.release(id);
        assert_eq!(interner.len(), 1);
        interner.release(id);
        assert!(interner.is_empty());
    }
}
