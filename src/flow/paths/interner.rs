// SPDX-License-Identifier: AGPL-3.0-only
//! Stores each path once, with a number. A number is valid while it has users.

use std::hash::BuildHasher;
use std::sync::Arc;

use foldhash::fast::RandomState;
use hashbrown::HashTable;

use super::MAX_ENTRIES;
use crate::types::network_path::PathWords;
use crate::types::slab::Slab;

/// Maximum number of paths of all intervals.
pub const MAX_PATHS: usize = 1 << 14;
/// Maximum number of words of all paths: 16 of each.
const MAX_WORDS: usize = MAX_PATHS * 16;
/// The paths that an interval adds at most, and one that is added before another is removed.
const ROOM: usize = MAX_ENTRIES + 1;

#[derive(Debug)]
struct StoredPath {
    words: Arc<[u32]>,
    users: u32,
}

#[derive(Debug, Default)]
pub struct PathInterner {
    paths: Slab<StoredPath>,
    index: HashTable<u32>,
    hasher: RandomState,
    words: usize,
}

impl PathInterner {
    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.paths.len()
    }

    /// Returns about the memory in use, without that of the allocator.
    #[cfg(test)]
    pub fn bytes(&self) -> usize {
        let each = size_of::<Option<StoredPath>>() + 16 + 2 * size_of::<u32>();
        self.paths.len() * each + self.words * size_of::<u32>()
    }

    /// Returns whether the paths of a whole interval find room.
    pub fn has_room(&self) -> bool {
        self.paths.len() + ROOM <= MAX_PATHS && self.words + ROOM * 16 <= MAX_WORDS
    }

    /// Returns the number of a path, `None` if there is no room for it. A new path has no users yet.
    pub fn find_or_insert(&mut self, words: &[u32]) -> Option<u32> {
        let hash = self.hasher.hash_one(words);
        let is_it = |&id: &u32| *self.paths[id].words == *words;
        if let Some(&id) = self.index.find(hash, is_it) {
            return Some(id);
        }
        if self.paths.len() >= MAX_PATHS || self.words + words.len() > MAX_WORDS {
            return None;
        }
        self.words += words.len();
        let id = self.paths.insert(StoredPath {
            words: words.into(),
            users: 0,
        });
        let (paths, hasher) = (&self.paths, &self.hasher);
        let rehash = |&id: &u32| hasher.hash_one(&*paths[id].words);
        self.index.insert_unique(hash, id, rehash);
        Some(id)
    }

    pub fn retain(&mut self, id: u32) {
        self.paths[id].users += 1;
    }

    /// Removes a user, and the path with its last one.
    pub fn release(&mut self, id: u32) {
        let path = &mut self.paths[id];
        path.users -= 1;
        if path.users > 0 {
            return;
        }
        let hash = self.hasher.hash_one(&*path.words);
        self.words -= path.words.len();
        if let Ok(found) = self.index.find_entry(hash, |&other| other == id) {
            found.remove();
        }
        self.paths.remove(id);
    }

    /// Returns a path that has users.
    pub fn path(&self, id: u32) -> PathWords<'_> {
        PathWords(&self.paths[id].words)
    }

    /// Returns the words of each path by its number.
    pub fn all(&self) -> Vec<Option<Arc<[u32]>>> {
        let mut all = Vec::new();
        for (id, path) in self.paths.iter() {
            all.resize(id as usize, None);
            all.push(Some(path.words.clone()));
        }
        all
    }
}
