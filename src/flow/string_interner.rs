// SPDX-License-Identifier: AGPL-3.0-only
//! Label values as numbers: each text is stored once, as long as a series uses it.

use std::borrow::Cow;
use std::hash::BuildHasher;

use foldhash::fast::RandomState;
use hashbrown::HashTable;

use crate::types::slab::Slab;

/// The maximum length of names from outside (databases, interface names), in characters.
const MAX_CHARS: usize = 128;

/// A text stored in [`StringInterner`]; equal symbols are equal texts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Symbol(u32);

impl Symbol {
    /// The empty text: the value is unknown or not relevant.
    pub const EMPTY: Self = Self(0);
    /// The value `other`, used for sets that exceeded the limit.
    pub const OTHER: Self = Self(1);

    pub fn number(self) -> u32 {
        self.0
    }

    /// Undoes [`Symbol::number`].
    pub fn from_number(number: u32) -> Self {
        Self(number)
    }

    /// Returns true for the constants, which are never released and not counted.
    fn is_constant(self) -> bool {
        self.0 <= Self::OTHER.0
    }
}

#[derive(Debug)]
pub struct StringInterner {
    entries: Slab<InternedString>,
    index: HashTable<u32>,
    hasher: RandomState,
}

#[derive(Debug)]
struct InternedString {
    text: Box<str>,
    users: u32,
}

impl Default for StringInterner {
    fn default() -> Self {
        let mut symbols = Self {
            entries: Slab::default(),
            index: HashTable::new(),
            hasher: RandomState::default(),
        };
        for text in ["", "other"] {
            symbols.insert(text);
        }
        symbols
    }
}

impl StringInterner {
    /// Returns the symbol of a text, to be released once. Removes control characters and cuts long
    /// texts here and not at output; otherwise two sets could have the same text.
    pub fn acquire(&mut self, text: &str) -> Symbol {
        let text = &*clean(text);
        let hash = self.hasher.hash_one(text);
        match self
            .index
            .find(hash, |&i| &*self.entries[i].text == text)
            .copied()
        {
            Some(i) => {
                self.retain(Symbol(i));
                Symbol(i)
            }
            None => self.insert(text),
        }
    }

    /// Adds a user to a stored symbol.
    pub fn retain(&mut self, symbol: Symbol) {
        if !symbol.is_constant() {
            self.entries[symbol.0].users += 1;
        }
    }

    pub fn release(&mut self, symbol: Symbol) {
        if symbol.is_constant() {
            return;
        }
        let entry = &mut self.entries[symbol.0];
        entry.users -= 1;
        if entry.users == 0 {
            let hash = self.hasher.hash_one(&*entry.text);
            if let Ok(found) = self.index.find_entry(hash, |&i| i == symbol.0) {
                found.remove();
            }
            self.entries.remove(symbol.0);
        }
    }

    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    pub fn text(&self, symbol: Symbol) -> &str {
        &self.entries[symbol.0].text
    }

    fn insert(&mut self, text: &str) -> Symbol {
        let i = self.entries.insert(InternedString {
            text: text.into(),
            users: 1,
        });
        let Self {
            entries,
            index,
            hasher,
        } = self;
        index.insert_unique(hasher.hash_one(text), i, |&i| {
            hasher.hash_one(&*entries[i].text)
        });
        Symbol(i)
    }
}

/// Removes control characters and cuts the text. Newlines stay, because the text format can
/// represent them.
pub(super) fn clean(text: &str) -> Cow<'_, str> {
    let unwanted = |c: char| c.is_control() && c != '\n';
    if text.len() <= MAX_CHARS && !text.contains(unwanted) {
        return text.into();
    }
    let kept = text.chars().filter(|&c| !unwanted(c)).take(MAX_CHARS);
    kept.collect::<String>().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_constants_are_what_they_say() {
        let mut symbols = StringInterner::default();
        assert_eq!(symbols.acquire(""), Symbol::EMPTY);
        assert_eq!(symbols.acquire("other"), Symbol::OTHER);
        for _ in 0..3 {
            symbols.release(Symbol::OTHER);
        }
        assert_eq!(symbols.text(Symbol::OTHER), "other");
    }

    #[test]
    fn a_text_lives_as_long_as_its_users() {
        let mut symbols = StringInterner::default();
        let eth0 = symbols.acquire("eth0");
        assert_eq!(symbols.acquire("eth0"), eth0);
        assert_ne!(symbols.acquire("eth1"), eth0);
        symbols.retain(eth0);
        for _ in 0..3 {
            assert_eq!(symbols.text(eth0), "eth0");
            symbols.release(eth0);
        }
        assert_eq!(symbols.len(), 3);
        assert_eq!(symbols.index.len(), 3);
        let again = symbols.acquire("eth0");
        assert_eq!(symbols.text(again), "eth0");
    }

    #[test]
    fn texts_that_read_the_same_are_the_same() {
        let mut symbols = StringInterner::default();
        let plain = symbols.acquire("Zürich\n");
        assert_eq!(symbols.acquire("Z\u{7}ü\u{1b}rich\n\u{0}"), plain);
        let long = symbols.acquire(&"ä".repeat(1000));
        assert_eq!(symbols.acquire(&"ä".repeat(2000)), long);
        assert_eq!(symbols.text(long).chars().count(), MAX_CHARS);
    }
}
