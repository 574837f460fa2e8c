// SPDX-License-Identifier: AGPL-3.0-only
//! The routes of one view of one peer in one family: maps prefix numbers to attributes, with an Add-Path
//! identifier if the peer sent one.
//!
//! A full table is an array indexed by prefix number, with 4 bytes per route (8 with identifiers); the
//! table of a peer with few routes is a hash table. In both cases, memory is bounded by the number of
//! routes.

use hashbrown::{HashMap, HashTable, hash_table};

use super::attribute_interner::AttributesId;

/// Number of a route table that holds something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HolderId(pub(super) u32);

/// Maximum number of paths of one prefix from one peer.
pub const MAX_PATHS: usize = 256;

/// An array with more entries per route than this becomes a hash table. A hash table becomes an array at a
/// quarter of this value.
const SPREAD: usize = 64;
/// A table with fewer routes is a hash table: a decision searches each array, so that there must be few.
/// A table that shrinks stays an array down to a quarter of this.
const FEW: usize = 1 << 10;

/// In `PathCell::word`: the path has an identifier.
const NUMBERED: u32 = 1 << 31;
/// In `PathCell::word`: the path is of labelled unicast.
const LABELLED: u32 = 1 << 30;
/// All marks of `PathCell::word`.
const MARKS: u32 = NUMBERED | LABELLED;
/// In `PathCell::word`: more than one path, held in `RouteTable::many`.
const MANY: u32 = u32::MAX;
const NONE: u32 = 0;

/// One path of a prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RoutePath {
    /// The Add-Path identifier (RFC 7911).
    pub id: Option<u32>,
    /// The path is of labelled unicast (RFC 8277).
    pub labelled: bool,
    pub attributes: AttributesId,
}

/// Identifies a path among those that a peer has for a prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PathKey {
    pub id: Option<u32>,
    /// Labelled unicast is a separate family: neither family replaces the other.
    pub labelled: bool,
}

impl PathKey {
    /// Returns whether an announcement or withdraw with this key applies to a path that is held. A path
    /// without identifier is the only one of its family.
    fn names(self, held: &RoutePath) -> bool {
        let same_id = self.id.is_none() || held.id.is_none() || held.id == self.id;
        held.labelled == self.labelled && same_id
    }
}

#[derive(Debug, Default)]
pub struct RouteTable {
    /// The number of the table, while it holds routes.
    pub holder: Option<HolderId>,
    /// The time at which the first route of the table was received.
    pub since: u64,
    store: RouteStorage,
    many: HashMap<u32, Vec<RoutePath>>,
    prefixes: usize,
    routes: usize,
    /// Number of labelled routes.
    labelled: usize,
}

#[derive(Debug)]
enum RouteStorage {
    Sparse(HashTable<(u32, PathCell)>),
    Dense {
        words: Vec<u32>,
        /// Empty until a path has an identifier.
        ids: Vec<u32>,
    },
}

/// A path in 8 bytes: the attributes with the marks, and the identifier.
#[derive(Clone, Copy, Debug)]
struct PathCell {
    word: u32,
    id: u32,
}

/// Whether a prefix has no path, one path (with its attributes) or several.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SinglePath {
    None,
    Path(AttributesId),
    Many,
}

/// The result of a change.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RouteChange {
    /// Number of added paths.
    pub added: usize,
    /// Number of removed paths; a replaced path counts in both.
    pub removed: usize,
    /// The prefix had no path before.
    pub appeared: bool,
    /// The prefix no longer has a path.
    pub vanished: bool,
}

impl Default for RouteStorage {
    fn default() -> Self {
        Self::Sparse(HashTable::new())
    }
}

impl RouteTable {
    pub fn len(&self) -> usize {
        self.routes
    }

    pub fn is_empty(&self) -> bool {
        self.routes == 0
    }

    /// Returns whether the table is an array.
    pub fn is_large(&self) -> bool {
        matches!(self.store, RouteStorage::Dense { .. })
    }

    /// Returns whether the table has labelled routes (`true`) or others (`false`).
    pub fn has(&self, labelled: bool) -> bool {
        match labelled {
            true => self.labelled > 0,
            false => self.labelled < self.routes,
        }
    }

    /// Returns whether a path would be added, and not replace another one.
    pub fn is_new(&self, prefix: u32, key: PathKey) -> bool {
        !self.paths(prefix).any(|held| key.names(&held))
    }

    pub fn has_room(&self, prefix: u32) -> bool {
        self.many.get(&prefix).is_none_or(|m| m.len() < MAX_PATHS)
    }

    /// Enters a path. A path without identifier is the only one that a peer has for the prefix in its
    /// family: it replaces all others, and any other replaces it. `released` receives the attributes of the
    /// replaced paths; `universe` is one more than the greatest prefix number.
    pub fn announce(
        &mut self,
        prefix: u32,
        path: RoutePath,
        universe: usize,
        mut released: impl FnMut(AttributesId),
    ) -> RouteChange {
        let mut change = RouteChange {
            added: 1,
            ..RouteChange::default()
        };
        match self.cell(prefix) {
            None => {
                change.appeared = true;
                self.prefixes += 1;
                self.put(prefix, PathCell::from(path), universe);
            }
            Some(PathCell { word: MANY, .. }) => self.announce_among(prefix, path, |a| {
                change.removed += 1;
                released(a);
            }),
            Some(cell) => {
                let held = cell.path();
                if path.key().names(&held) {
                    change.removed = 1;
                    released(held.attributes);
                    self.put(prefix, PathCell::from(path), universe);
                } else {
                    self.many.insert(prefix, vec![held, path]);
                    self.put(prefix, PathCell { word: MANY, id: 0 }, universe);
                }
            }
        }
        self.routes += change.added;
        self.routes -= change.removed;
        if path.labelled {
            self.labelled += change.added;
            self.labelled -= change.removed;
        }
        change
    }

    fn announce_among(
        &mut self,
        prefix: u32,
        path: RoutePath,
        mut released: impl FnMut(AttributesId),
    ) {
        let Some(paths) = self.many.get_mut(&prefix) else {
            return;
        };
        let key = path.key();
        let replaced = paths.extract_if(.., |held| key.names(held));
        replaced.for_each(|held| released(held.attributes));
        paths.push(path);
        if paths.len() == 1 {
            self.many.remove(&prefix);
            self.put(prefix, PathCell::from(path), 0);
        }
    }

    /// Removes the path with this identifier, or a path without identifier; without an identifier, all
    /// paths of the family.
    pub fn withdraw(
        &mut self,
        prefix: u32,
        key: PathKey,
        mut released: impl FnMut(AttributesId),
    ) -> RouteChange {
        let mut change = RouteChange::default();
        match self.cell(prefix) {
            None => return change,
            Some(PathCell { word: MANY, .. }) => {
                let Some(paths) = self.many.get_mut(&prefix) else {
                    return change;
                };
                paths.retain(|p| {
                    let keep = !key.names(p);
                    if !keep {
                        change.removed += 1;
                        released(p.attributes);
                    }
                    keep
                });
                match paths[..] {
                    [] => change.vanished = true,
                    [last] => self.put(prefix, PathCell::from(last), 0),
                    _ => {}
                }
                if paths_left(self.many.get(&prefix)) < 2 {
                    self.many.remove(&prefix);
                }
            }
            Some(cell) => {
                let held = cell.path();
                if key.names(&held) {
                    change.removed = 1;
                    change.vanished = true;
                    released(held.attributes);
                }
            }
        }
        self.routes -= change.removed;
        if key.labelled {
            self.labelled -= change.removed;
        }
        if change.vanished {
            self.prefixes -= 1;
            self.clear(prefix);
        }
        change
    }

    /// Returns the path of a prefix that has one, without the extra work that several paths need.
    pub fn single_path(&self, prefix: u32) -> SinglePath {
        match self.cell(prefix) {
            None => SinglePath::None,
            Some(PathCell { word: MANY, .. }) => SinglePath::Many,
            Some(cell) => SinglePath::Path(cell.path().attributes),
        }
    }

    pub fn paths(&self, prefix: u32) -> impl Iterator<Item = RoutePath> + '_ {
        let (one, many) = match self.cell(prefix) {
            None => (None, None),
            Some(PathCell { word: MANY, .. }) => (None, self.many.get(&prefix)),
            Some(cell) => (Some(cell.path()), None),
        };
        one.into_iter().chain(many.into_iter().flatten().copied())
    }

    /// Returns the numbers of all prefixes that have a path, in no particular order.
    pub fn prefixes(&self) -> Box<dyn Iterator<Item = u32> + '_> {
        match &self.store {
            RouteStorage::Sparse(table) => Box::new(table.iter().map(|(prefix, _)| *prefix)),
            RouteStorage::Dense { words, .. } => Box::new(
                (0..)
                    .zip(words)
                    .filter(|(_, word)| **word != NONE)
                    .map(|(prefix, _)| prefix),
            ),
        }
    }

    /// Converts the table into routes that are removed step by step.
    pub fn into_pending_removal(self, holder: HolderId) -> PendingRemoval {
        let (cells, words) = match self.store {
            RouteStorage::Sparse(table) => (table, Vec::new()),
            RouteStorage::Dense { words, .. } => (HashTable::new(), words),
        };
        PendingRemoval {
            holder,
            cells: cells.into_iter(),
            words,
            many: self.many,
            routes: self.routes,
        }
    }

    /// Applies a new numbering of prefixes and attributes.
    pub fn renumber(&mut self, prefixes: Option<&[u32]>, attributes: Option<&[u32]>) {
        let prefix_of = |old: u32| prefixes.map_or(old, |new| new[old as usize]);
        let attributes_of = |old: u32| attributes.map_or(old, |new| new[old as usize]);
        let store = std::mem::take(&mut self.store);
        let cells: Box<dyn Iterator<Item = (u32, PathCell)>> = match store {
            RouteStorage::Sparse(table) => Box::new(table.into_iter()),
            RouteStorage::Dense { words, ids } => {
                Box::new(words.into_iter().enumerate().filter_map(move |(i, word)| {
                    let id = ids.get(i).copied().unwrap_or(0);
                    (word != NONE).then_some((i as u32, PathCell { word, id }))
                }))
            }
        };
        let universe = prefixes.map_or(0, |new| new.iter().max().map_or(0, |&m| m as usize + 1));
        for (prefix, mut cell) in cells {
            if cell.word != MANY {
                cell.word = attributes_of(cell.word & !MARKS) | cell.word & MARKS;
            }
            self.put(prefix_of(prefix), cell, universe);
        }
        let many = std::mem::take(&mut self.many);
        self.many = many
            .into_iter()
            .map(|(prefix, mut paths)| {
                for path in &mut paths {
                    path.attributes = AttributesId(attributes_of(path.attributes.0));
                }
                (prefix_of(prefix), paths)
            })
            .collect();
    }

    fn cell(&self, prefix: u32) -> Option<PathCell> {
        let cell = match &self.store {
            RouteStorage::Sparse(table) => table.find(hash(prefix), |e| e.0 == prefix)?.1,
            RouteStorage::Dense { words, ids } => PathCell {
                word: *words.get(prefix as usize)?,
                id: ids.get(prefix as usize).copied().unwrap_or(0),
            },
        };
        (cell.word != NONE).then_some(cell)
    }

    fn put(&mut self, prefix: u32, cell: PathCell, universe: usize) {
        match &mut self.store {
            RouteStorage::Sparse(table) => {
                if let Some(held) = table.find_mut(hash(prefix), |e| e.0 == prefix) {
                    held.1 = cell;
                } else {
                    table.insert_unique(hash(prefix), (prefix, cell), |e| hash(e.0));
                    let is_dense = table.len() * SPREAD / 4 > universe;
                    if universe > 0 && table.len() >= FEW && is_dense {
                        self.make_dense();
                    }
                }
            }
            RouteStorage::Dense { words, ids } => {
                let i = prefix as usize;
                if i >= words.len() {
                    words.resize(i + 1, NONE);
                }
                words[i] = cell.word;
                let numbered = cell.word != MANY && cell.word & NUMBERED != 0;
                if numbered && i >= ids.len() {
                    ids.resize(words.len(), 0);
                }
                if let Some(id) = ids.get_mut(i) {
                    *id = cell.id;
                }
            }
        }
    }

    fn clear(&mut self, prefix: u32) {
        match &mut self.store {
            RouteStorage::Sparse(table) => {
                if let Ok(found) = table.find_entry(hash(prefix), |e| e.0 == prefix) {
                    found.remove();
                }
                if table.len() < table.capacity() / 8 {
                    table.shrink_to(table.len() * 2, |e| hash(e.0));
                }
            }
            RouteStorage::Dense { words, .. } => {
                if let Some(word) = words.get_mut(prefix as usize) {
                    *word = NONE;
                }
                if self.prefixes < FEW / 4 || self.prefixes * SPREAD < words.len() {
                    self.make_sparse();
                }
            }
        }
    }

    fn make_dense(&mut self) {
        let RouteStorage::Sparse(table) = std::mem::take(&mut self.store) else {
            return;
        };
        self.store = RouteStorage::Dense {
            words: Vec::new(),
            ids: Vec::new(),
        };
        for (prefix, cell) in table {
            self.put(prefix, cell, 0);
        }
    }

    fn make_sparse(&mut self) {
        let RouteStorage::Dense { words, ids } = std::mem::take(&mut self.store) else {
            return;
        };
        for (i, word) in words.into_iter().enumerate() {
            if word != NONE {
                let id = ids.get(i).copied().unwrap_or(0);
                self.put(i as u32, PathCell { word, id }, 0);
            }
        }
    }
}

/// Routes that lookups no longer use, but that still count as users of prefixes and attributes.
#[derive(Debug)]
pub struct PendingRemoval {
    pub holder: HolderId,
    cells: hash_table::IntoIter<(u32, PathCell)>,
    words: Vec<u32>,
    many: HashMap<u32, Vec<RoutePath>>,
    routes: usize,
}

impl PendingRemoval {
    pub fn len(&self) -> usize {
        self.routes
    }

    pub fn is_empty(&self) -> bool {
        self.routes == 0
    }

    /// Removes the paths of one prefix.
    pub fn pop(&mut self, mut released: impl FnMut(AttributesId)) -> Option<u32> {
        let (prefix, cell) = self.pop_cell()?;
        if cell.word == MANY {
            for path in self.many.remove(&prefix).unwrap_or_default() {
                self.routes -= 1;
                released(path.attributes);
            }
        } else {
            self.routes -= 1;
            released(cell.path().attributes);
        }
        Some(prefix)
    }

    fn pop_cell(&mut self) -> Option<(u32, PathCell)> {
        if let Some(cell) = self.cells.next() {
            return Some(cell);
        }
        while let Some(word) = self.words.pop() {
            if word != NONE {
                return Some((self.words.len() as u32, PathCell { word, id: 0 }));
            }
        }
        None
    }
}

impl RoutePath {
    pub fn key(&self) -> PathKey {
        PathKey {
            id: self.id,
            labelled: self.labelled,
        }
    }
}

impl PathCell {
    fn path(self) -> RoutePath {
        RoutePath {
            id: (self.word & NUMBERED != 0).then_some(self.id),
            labelled: self.word & LABELLED != 0,
            attributes: AttributesId(self.word & !MARKS),
        }
    }
}

impl From<RoutePath> for PathCell {
    fn from(path: RoutePath) -> Self {
        let numbered = if path.id.is_some() { NUMBERED } else { 0 };
        let labelled = if path.labelled { LABELLED } else { 0 };
        Self {
            word: path.attributes.0 | numbered | labelled,
            id: path.id.unwrap_or(0),
        }
    }
}

fn paths_left(paths: Option<&Vec<RoutePath>>) -> usize {
    paths.map_or(0, Vec::len)
}

/// Hashes a prefix number. The agent assigns these numbers densely: a multiplication spreads them well
/// enough.
fn hash(prefix: u32) -> u64 {
    u64::from(prefix).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}
