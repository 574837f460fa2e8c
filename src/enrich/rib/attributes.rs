// SPDX-License-Identifier: AGPL-3.0-only
//! What a route says beside its prefix, held once for all routes that say the same.

use std::hash::BuildHasher;
use std::net::IpAddr;

use foldhash::fast::RandomState;
use hashbrown::HashTable;
use hashbrown::hash_table::Entry as Slot;

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
}

/// The number of held attributes: from 1, below 2^31.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AttributesId(pub(super) u32);

/// Interners smaller than this are left as they are.
const KEEP: usize = 1 << 12;

#[derive(Debug, Default)]
pub struct Interner {
    entries: Vec<Entry>,
    free: Vec<u32>,
    index: HashTable<u32>,
    hasher: RandomState,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    attributes: Attributes,
    users: u32,
}

impl Interner {
    pub fn len(&self) -> usize {
        self.index.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// One more user of these attributes.
    pub fn acquire(&mut self, attributes: &Attributes) -> AttributesId {
        let Self {
            entries,
            free,
            index,
            hasher,
        } = self;
        let slot = index.entry(
            hasher.hash_one(attributes),
            |&i| entries[i as usize].attributes == *attributes,
            |&i| hasher.hash_one(entries[i as usize].attributes),
        );
        let i = match slot {
            Slot::Occupied(found) => {
                let i = *found.get();
                entries[i as usize].users += 1;
                i
            }
            Slot::Vacant(slot) => {
                let entry = Entry {
                    attributes: *attributes,
                    users: 1,
                };
                let i = free.pop().unwrap_or(entries.len() as u32);
                slot.insert(i);
                match entries.get_mut(i as usize) {
                    Some(void) => *void = entry,
                    None => entries.push(entry),
                }
                i
            }
        };
        AttributesId(i + 1)
    }

    pub fn retain(&mut self, id: AttributesId) {
        self.entries[(id.0 - 1) as usize].users += 1;
    }

    pub fn release(&mut self, id: AttributesId) {
        let i = id.0 - 1;
        let entry = &mut self.entries[i as usize];
        entry.users -= 1;
        if entry.users > 0 {
            return;
        }
        let hash = self.hasher.hash_one(entry.attributes);
        if let Ok(found) = self.index.find_entry(hash, |&other| other == i) {
            found.remove();
        }
        if self.is_empty() {
            self.entries = Vec::new();
            self.free = Vec::new();
            self.index = HashTable::new();
        } else {
            self.free.push(i);
        }
    }

    pub fn get(&self, id: AttributesId) -> &Attributes {
        &self.entries[(id.0 - 1) as usize].attributes
    }

    /// Whether most of the memory is held for attributes that are gone.
    pub fn is_sparse(&self) -> bool {
        self.entries.len() > KEEP && self.len() < self.entries.len() / 4
    }

    /// Numbers the attributes anew and gives memory back. The result tells the new raw number of
    /// each old raw number, with 0 for what is gone.
    pub fn rebuild(&mut self) -> Vec<u32> {
        let mut renumbered = vec![0; self.entries.len() + 1];
        let old = std::mem::take(self);
        self.entries.reserve_exact(old.len());
        for &i in &old.index {
            let entry = old.entries[i as usize];
            let new = self.acquire(&entry.attributes);
            self.entries[(new.0 - 1) as usize].users = entry.users;
            renumbered[i as usize + 1] = new.0;
        }
        renumbered
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
            next_hop: None,
            path_length: 1,
            origin: 0,
            blackhole: false,
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
        assert_eq!(interner.entries.capacity() + interner.free.capacity(), 0);
    }

    #[test]
    fn after_a_rebuild_users_and_values_are_the_same() {
        let mut interner = Interner::default();
        let ids: Vec<_> = (0..100).map(|n| interner.acquire(&attributes(n))).collect();
        interner.retain(ids[99]);
        ids[..99].iter().for_each(|&id| interner.release(id));
        let renumbered = interner.rebuild();
        let id = AttributesId(renumbered[ids[99].0 as usize]);
        assert_eq!(interner.get(id), &attributes(99));
        interner.release(id);
        assert_eq!(interner.len(), 1);
        interner.release(id);
        assert!(interner.is_empty());
    }
}
