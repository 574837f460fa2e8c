// SPDX-License-Identifier: AGPL-3.0-only
//! What a route says beside its prefix, held once for all routes that say the same.

use std::hash::BuildHasher;
use std::net::IpAddr;

use foldhash::fast::RandomState;
use hashbrown::hash_table::Entry as Slot;
use hashbrown::{HashMap, HashTable};

use crate::flow::slab::Slab;

/// What lookup and best path need of the attributes of a route; the rest is not kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Attributes {
    /// The last AS of the path; 0 where it has no single origin.
    pub origin_asn: u32,
    /// The first AS of the path.
    pub neighbour_asn: u32,
    pub local_pref: u32,
    /// MULTI_EXIT_DISC; absent counts as the least (RFC 4271 section 9.1.2.2).
    pub med: u32,
    pub next_hop: Option<IpAddr>,
    /// ASes of the path, a set counting one and confederation segments none (RFC 5065 section 5.3).
    pub path_length: u16,
    /// IGP, EGP, INCOMPLETE
    pub origin: u8,
    /// Carries the BLACKHOLE community (RFC 7999).
    pub blackhole: bool,
    /// Carries one of those by which the configuration lets neighbours ask for a blackhole.
    pub discard: bool,
}

/// The number of held attributes: from 1, below 2^31.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AttributesId(pub(super) u32);

/// Interners smaller than this are left as they are.
const KEEP: usize = 1 << 12;

/// Parts of the index. Each grows by itself, a small piece of work: to move all at once takes longer than
/// lookups shall wait for.
const PARTS: usize = 1 << 8;

/// Attributes in two arrays: a lookup that finds one route reads only what it tells, and of that as
/// many as can be stay in the processor's cache.
#[derive(Debug, Default)]
pub struct Interner {
    told: Vec<Told>,
    compared: Vec<Compared>,
    free: Vec<u32>,
    index: Index,
    hasher: RandomState,
    next_hops: NextHops,
    /// How many of them ask to discard: mostly none, and then nobody need look.
    discarding: usize,
}

/// Numbers by the hash of what they stand for.
#[derive(Debug, Default)]
struct Index {
    /// Empty until there is something to find.
    parts: Vec<HashTable<u32>>,
    len: usize,
}

/// What a lookup tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Told {
    origin_asn: u32,
    neighbour_asn: u32,
    next_hop: u32,
    blackhole: bool,
    discard: bool,
}

// so large as without the marks: they fill what alignment leaves
const _: () = assert!(size_of::<Told>() == 16);

/// What else it takes to find the best path.
#[derive(Clone, Copy, Debug)]
struct Compared {
    preference: Preference,
    users: u32,
}

/// In the order of the decision process. Less is better.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Preference {
    /// LOCAL_PREF, turned round.
    dispreference: u32,
    path_length: u16,
    origin: u8,
    med: u32,
}

impl Interner {
    pub fn len(&self) -> usize {
        self.index.len
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// One more user of these attributes.
    pub fn acquire(&mut self, attributes: &Attributes) -> AttributesId {
        let told = Told {
            origin_asn: attributes.origin_asn,
            neighbour_asn: attributes.neighbour_asn,
            next_hop: self.next_hops.acquire(attributes.next_hop),
            blackhole: attributes.blackhole,
            discard: attributes.discard,
        };
        let preference = Preference {
            dispreference: u32::MAX - attributes.local_pref,
            path_length: attributes.path_length,
            origin: attributes.origin,
            med: attributes.med,
        };
        let hash = self.hasher.hash_one((told, preference));
        let slot = self.index.part(hash).entry(
            hash,
            |&i| {
                let i = i as usize;
                self.told[i] == told && self.compared[i].preference == preference
            },
            |&i| {
                let i = i as usize;
                let preference = self.compared[i].preference;
                self.hasher.hash_one((self.told[i], preference))
            },
        );
        let i = match slot {
            Slot::Occupied(found) => {
                let i = *found.get();
                self.compared[i as usize].users += 1;
                self.next_hops.release(told.next_hop);
                i
            }
            Slot::Vacant(slot) => {
                let i = self.free.pop().unwrap_or(self.told.len() as u32);
                slot.insert(i);
                self.index.len += 1;
                self.discarding += usize::from(told.discard);
                let compared = Compared {
                    preference,
                    users: 1,
                };
                put(&mut self.told, i, told);
                put(&mut self.compared, i, compared);
                i
            }
        };
        AttributesId(i + 1)
    }

    pub fn retain(&mut self, id: AttributesId) {
        self.compared[id.index()].users += 1;
    }

    pub fn release(&mut self, id: AttributesId) {
        let Compared { preference, users } = &mut self.compared[id.index()];
        *users -= 1;
        if *users > 0 {
            return;
        }
        let told = self.told[id.index()];
        self.next_hops.release(told.next_hop);
        self.discarding -= usize::from(told.discard);
        let hash = self.hasher.hash_one((told, *preference));
        let i = id.0 - 1;
        let part = self.index.part(hash);
        if let Ok(found) = part.find_entry(hash, |&other| other == i) {
            found.remove();
            self.index.len -= 1;
        }
        if self.is_empty() {
            *self = Self::default();
        } else {
            self.free.push(i);
        }
    }

    pub fn get(&self, id: AttributesId) -> Attributes {
        let told = &self.told[id.index()];
        let preference = self.preference(id);
        Attributes {
            origin_asn: told.origin_asn,
            neighbour_asn: told.neighbour_asn,
            local_pref: preference.local_pref(),
            med: preference.med,
            next_hop: self.next_hops.get(told.next_hop),
            path_length: preference.path_length,
            origin: preference.origin,
            blackhole: told.blackhole,
            discard: told.discard,
        }
    }

    /// Origin AS, neighbour AS, next hop, blackhole mark.
    pub fn tell(&self, id: AttributesId) -> (u32, u32, Option<IpAddr>, bool) {
        let told = &self.told[id.index()];
        let next_hop = self.next_hops.get(told.next_hop);
        (
            told.origin_asn,
            told.neighbour_asn,
            next_hop,
            told.blackhole,
        )
    }

    pub fn asks_to_discard(&self, id: AttributesId) -> bool {
        self.discarding > 0 && self.told[id.index()].discard
    }

    pub fn neighbour_asn(&self, id: AttributesId) -> u32 {
        self.told[id.index()].neighbour_asn
    }

    pub fn preference(&self, id: AttributesId) -> Preference {
        self.compared[id.index()].preference
    }

    /// Whether most of the memory is held for attributes that are gone.
    pub fn is_sparse(&self) -> bool {
        self.told.len() > KEEP && self.len() < self.told.len() / 4
    }

    /// Numbers the attributes anew and gives memory back. The result tells the new raw number of
    /// each old raw number, with 0 for what is gone.
    pub fn rebuild(&mut self) -> Vec<u32> {
        let mut renumbered = vec![0; self.told.len() + 1];
        let old = std::mem::take(self);
        for &i in old.index.parts.iter().flatten() {
            let id = AttributesId(i + 1);
            let new = self.acquire(&old.get(id));
            self.compared[new.index()].users = old.compared[id.index()].users;
            renumbered[id.0 as usize] = new.0;
        }
        renumbered
    }
}

impl Index {
    fn part(&mut self, hash: u64) -> &mut HashTable<u32> {
        if self.parts.is_empty() {
            self.parts.resize_with(PARTS, HashTable::new);
        }
        // bits that the part itself makes no use of: it takes the lowest and the highest
        &mut self.parts[(hash >> 40) as usize % PARTS]
    }
}

impl Preference {
    pub fn local_pref(self) -> u32 {
        u32::MAX - self.dispreference
    }

    pub fn path_length(self) -> u16 {
        self.path_length
    }

    pub fn origin(self) -> u8 {
        self.origin
    }

    pub fn med(self) -> u32 {
        self.med
    }
}

impl AttributesId {
    fn index(self) -> usize {
        (self.0 - 1) as usize
    }
}

/// Next hops by number; 0 is none.
#[derive(Debug, Default)]
struct NextHops {
    entries: Slab<(IpAddr, u32)>,
    numbers: HashMap<IpAddr, u32, RandomState>,
}

impl NextHops {
    fn acquire(&mut self, next_hop: Option<IpAddr>) -> u32 {
        let Some(address) = next_hop else { return 0 };
        let entries = &mut self.entries;
        let number = *self
            .numbers
            .entry(address)
            .or_insert_with(|| entries.insert((address, 0)));
        self.entries[number].1 += 1;
        number + 1
    }

    fn release(&mut self, number: u32) {
        let Some(number) = number.checked_sub(1) else {
            return;
        };
        let (address, users) = &mut self.entries[number];
        *users -= 1;
        if *users == 0 {
            self.numbers.remove(address);
            self.entries.remove(number);
        }
    }

    fn get(&self, number: u32) -> Option<IpAddr> {
        Some(self.entries[number.checked_sub(1)?].0)
    }
}

/// Puts a value in a place, or behind the last.
fn put<T>(values: &mut Vec<T>, place: u32, value: T) {
    match values.get_mut(place as usize) {
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
            neighbour_asn: 1,
            local_pref: 100,
            med: 0,
            next_hop: [None, Some([192, 0, 2, 1].into())][origin_asn as usize % 2],
            path_length: 1,
            origin: 0,
            blackhole: false,
            discard: origin_asn == 99,
        }
    }

    #[test]
    fn equal_attributes_are_held_once_and_as_long_as_they_have_users() {
        let mut interner = Interner::default();
        let a = interner.acquire(&attributes(1));
        let b = interner.acquire(&attributes(2));
        assert_eq!(interner.acquire(&attributes(1)), a);
        interner.release(a);
        assert_eq!(interner.get(a).origin_asn, 1);
        interner.release(a);
        assert_eq!(interner.len(), 1);
        assert_eq!(interner.acquire(&attributes(3)), a, "the number is free");
        interner.release(a);
        interner.release(b);
        assert_eq!(interner.told.capacity() + interner.compared.capacity(), 0);
    }

    #[test]
    fn after_a_rebuild_users_and_values_are_the_same() {
        let mut interner = Interner::default();
        let ids: Vec<_> = (0..100).map(|n| interner.acquire(&attributes(n))).collect();
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
