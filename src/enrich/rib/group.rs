// SPDX-License-Identifier: AGPL-3.0-only
//! Prefixes that lie close together, next to each other in memory: most lookups end in one group, where
//! a hash table would have to be probed once for each length.
//!
//! All groups share one array. One that outgrows its place moves to the end of it; what is left behind
//! is won back by moving all together, when it has become too much.

use foldhash::fast::RandomState;
use hashbrown::HashMap;

/// Lengths a group holds: so many from the first on.
pub const LENGTHS: u8 = 32;
/// Beyond it a group takes no more: to enter one would have to move too many.
const MAX_ENTRIES: usize = 1024;
/// Prefix numbers that fit.
const MAX_ID: u32 = 1 << ID_BITS;
const ID_BITS: u32 = 27;
/// The array may waste as much as this.
const KEEP: usize = 1 << 13;
/// Words of a cache line.
const LINE: usize = 8;
/// Lines that are read ahead of a search.
const MAX_LINES: usize = 5;
/// Groups that are numbered by so few bits have an array for their places.
const DIRECT_BITS: u8 = 16;

/// Name of a prefix: the group, its length from the first that groups hold, and the 32 bits of the
/// address that follow those that the group shares.
#[derive(Clone, Copy, Debug)]
pub struct Name {
    pub group: u32,
    pub length: u8,
    pub bits: u32,
}

#[derive(Debug)]
pub struct Groups {
    places: Places,
    /// A group is a word with a bit for each length that occurs in it, and its entries, sorted by
    /// length and then by address: length in 5 bits, address in 32, number in 27.
    words: Vec<u64>,
    /// Words that belong to a group.
    used: usize,
}

#[derive(Debug)]
enum Places {
    Direct(Vec<Place>),
    Hashed(HashMap<u32, Place, RandomState>),
}

/// Where a group stands. Without entries it is none.
#[derive(Clone, Copy, Debug, Default)]
struct Place {
    start: u32,
    entries: u16,
    /// How many entries fit.
    room: u16,
}

impl Groups {
    /// Groups are numbered by this many bits.
    pub fn new(bits: u8) -> Self {
        Self {
            places: match bits {
                DIRECT_BITS => Places::Direct(Vec::new()),
                _ => Places::Hashed(HashMap::default()),
            },
            words: Vec::new(),
            used: 0,
        }
    }

    /// The group of this number, to look for several prefixes in.
    #[inline]
    pub fn get(&self, group: u32) -> Option<Group<'_>> {
        let place = self.places.get(group)?;
        let (lengths, entries) = self.words[place.words()].split_first()?;
        Some(Group {
            lengths: *lengths as u32,
            entries,
        })
    }

    pub fn find(&self, name: Name) -> Option<u32> {
        self.get(name.group)?.find(name)
    }

    /// Enters a prefix that is not there. False if it does not fit.
    pub fn insert(&mut self, name: Name, id: u32) -> bool {
        let mut place = self.places.get(name.group).unwrap_or_default();
        let entries = usize::from(place.entries);
        if entries >= MAX_ENTRIES || id >= MAX_ID || self.words.len() > u32::MAX as usize / 2 {
            return false;
        }
        if place.entries == place.room {
            place = self.enlarge(place);
        }
        place.entries += 1;
        self.places.set(name.group, place);
        let group = &mut self.words[place.words()];
        let at = 1 + search(&group[1..=entries], name);
        group.copy_within(at..=entries, at + 1);
        group[at] = name.key() << ID_BITS | u64::from(id);
        group[0] |= 1 << name.length;
        self.compact();
        true
    }

    /// Takes out a prefix. False if it is not there.
    pub fn remove(&mut self, name: Name) -> bool {
        if self.find(name).is_none() {
            return false;
        }
        let Some(mut place) = self.places.get(name.group) else {
            return false;
        };
        let group = &mut self.words[place.words()];
        let at = 1 + search(&group[1..], name);
        let of_length = |entry: &u64| entry >> (ID_BITS + 32) == u64::from(name.length);
        if group[1..].iter().filter(|entry| of_length(entry)).count() == 1 {
            group[0] &= !(1 << name.length);
        }
        group.copy_within(at + 1.., at);
        place.entries -= 1;
        if place.entries == 0 {
            self.used -= place.size();
            self.places.remove(name.group);
        } else {
            self.places.set(name.group, place);
        }
        self.compact();
        true
    }

    /// The numbers of all prefixes.
    pub fn ids(&self) -> impl Iterator<Item = u32> + '_ {
        let places = self.places.all();
        let entries = places.flat_map(|place| &self.words[place.words()][1..]);
        entries.map(|entry| id(*entry))
    }

    /// Moves a group to the end of the array, with more room.
    fn enlarge(&mut self, place: Place) -> Place {
        let room = (place.room + place.room / 2).max(4);
        let larger = Place {
            start: self.words.len() as u32,
            room,
            ..place
        };
        if place.entries == 0 {
            self.words.push(0);
        } else {
            self.words.extend_from_within(place.words());
            self.used -= place.size();
        }
        self.words.resize(larger.start as usize + larger.size(), 0);
        self.used += larger.size();
        larger
    }

    /// Moves all groups together when as much is wasted as is used by half.
    fn compact(&mut self) {
        if self.words.len() < KEEP + self.used + self.used / 2 {
            return;
        }
        let mut words = Vec::with_capacity(self.used + self.used / 4);
        self.places.each(|place| {
            let start = words.len() as u32;
            words.extend_from_slice(&self.words[place.words()]);
            // a few entries more may come
            let room = place.entries + place.entries / 8 + 1;
            place.start = start;
            place.room = room.min(place.room);
            words.resize(start as usize + place.size(), 0);
        });
        self.used = words.len();
        self.words = words;
    }
}

/// One group.
#[derive(Clone, Copy, Debug, Default)]
pub struct Group<'a> {
    pub lengths: u32,
    entries: &'a [u64],
}

impl Group<'_> {
    /// Reads a word of each of the first cache lines; most groups have no more. These reads do not depend on
    /// each other, while those of a search do.
    #[inline]
    pub fn touch(self) -> u64 {
        let lines = self.entries.chunks(LINE).take(MAX_LINES);
        lines.fold(0, |sum, line| sum ^ line[line.len() - 1])
    }

    /// The number of a prefix of this group.
    pub fn find(&self, name: Name) -> Option<u32> {
        let entry = *self.entries.get(search(self.entries, name))?;
        (entry >> ID_BITS == name.key()).then_some(id(entry))
    }

    /// The same, where after this only shorter prefixes will be looked for: each search is in what the
    /// one before has left.
    #[inline]
    pub fn find_next(&mut self, name: Name) -> Option<u32> {
        let place = search(self.entries, name);
        let entry = self.entries.get(place).copied();
        self.entries = &self.entries[..place];
        entry.filter(|e| e >> ID_BITS == name.key()).map(id)
    }
}

impl Place {
    /// Its words that mean something.
    fn words(self) -> std::ops::Range<usize> {
        let start = self.start as usize;
        start..start + 1 + usize::from(self.entries)
    }

    /// All its words.
    fn size(self) -> usize {
        1 + usize::from(self.room)
    }
}

impl Places {
    fn get(&self, group: u32) -> Option<Place> {
        let place = match self {
            Self::Direct(places) => places.get(group as usize),
            Self::Hashed(places) => places.get(&group),
        };
        place.copied().filter(|place| place.entries > 0)
    }

    fn set(&mut self, group: u32, place: Place) {
        match self {
            Self::Direct(places) => {
                if places.is_empty() {
                    places.resize(1 << DIRECT_BITS, Place::default());
                }
                places[group as usize] = place;
            }
            Self::Hashed(places) => drop(places.insert(group, place)),
        }
    }

    fn remove(&mut self, group: u32) {
        match self {
            Self::Direct(places) => places[group as usize] = Place::default(),
            Self::Hashed(places) => drop(places.remove(&group)),
        }
    }

    fn all(&self) -> Box<dyn Iterator<Item = Place> + '_> {
        match self {
            Self::Direct(places) => Box::new(places.iter().copied().filter(|p| p.entries > 0)),
            Self::Hashed(places) => Box::new(places.values().copied()),
        }
    }

    fn each(&mut self, change: impl FnMut(&mut Place)) {
        match self {
            Self::Direct(places) => places.iter_mut().filter(|p| p.entries > 0).for_each(change),
            Self::Hashed(places) => places.values_mut().for_each(change),
        }
    }
}

impl Name {
    fn key(self) -> u64 {
        u64::from(self.length) << 32 | u64::from(self.bits)
    }
}

/// Where a prefix stands among the entries, or would stand.
fn search(entries: &[u64], name: Name) -> usize {
    let key = name.key();
    entries.partition_point(|entry| entry >> ID_BITS < key)
}

fn id(entry: u64) -> u32 {
    (entry & u64::from(MAX_ID - 1)) as u32
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn many_groups_grow_and_shrink_in_one_array() {
        for bits in [DIRECT_BITS, 32] {
            let mut groups = Groups::new(bits);
            let mut model = BTreeMap::new();
            let mut state = 1_u64;
            let mut most = 0;
            for step in 0..400_000_u32 {
                state = state
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1);
                let random = (state >> 33) as u32;
                let name = Name {
                    group: random % 500,
                    length: (random >> 9) as u8 % 4,
                    bits: (random >> 11) % 64,
                };
                let key = (name.group, name.length, name.bits);
                // first mostly in, then mostly out
                let into = (random >> 20) % 8 < if step < 250_000 { 7 } else { 1 };
                let held = model.get(&key).copied();
                assert_eq!(groups.find(name), held);
                match (held, into) {
                    (None, true) => {
                        assert!(groups.insert(name, step));
                        model.insert(key, step);
                    }
                    (Some(_), false) => {
                        assert!(groups.remove(name));
                        model.remove(&key);
                    }
                    (None, false) => assert!(!groups.remove(name)),
                    (Some(_), true) => {}
                }
                most = most.max(model.len());
            }
            assert!(most > 20_000 && model.len() < most / 2);
            let mut ids: Vec<_> = groups.ids().collect();
            let mut expected: Vec<_> = model.values().copied().collect();
            ids.sort_unstable();
            expected.sort_unstable();
            assert_eq!(ids, expected);
            assert!(groups.words.len() <= KEEP + 2 * groups.used);
            for ((group, length, bits), id) in model {
                let name = Name {
                    group,
                    length,
                    bits,
                };
                assert_eq!(groups.find(name), Some(id));
                assert!(groups.get(group).unwrap().lengths & 1 << length != 0);
            }
        }
    }
}
