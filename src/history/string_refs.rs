// SPDX-License-Identifier: AGPL-3.0-only
//! Names of networks and places, stored while a line uses them (pure).

use std::mem::size_of;
use std::sync::Arc;

use foldhash::fast::RandomState;
use hashbrown::{HashMap, HashSet};

use super::top_table::{TopKey, TopKind};

/// The number of the value `other` of the flow series. No AS, protocol or text has this number.
pub const OTHER: u32 = u32::MAX;

/// Below this number of names, unused names are not removed.
const FEW: usize = 256;

#[derive(Debug, Default)]
pub struct StringRefs {
    asns: HashMap<u32, Arc<str>, RandomState>,
    numbers: HashMap<Arc<str>, u32, RandomState>,
    texts: HashMap<u32, Arc<str>, RandomState>,
    last: u32,
    /// The number of names after the last removal of unused names.
    used: usize,
}

impl StringRefs {
    pub fn learn(&mut self, asns: &[(u32, Arc<str>)]) {
        for (asn, name) in asns {
            if self.asns.get(asn) != Some(name) {
                self.asns.insert(*asn, name.clone());
            }
        }
    }

    pub fn asn(&self, asn: u32) -> Option<&str> {
        self.asns.get(&asn).map(|name| &**name)
    }

    /// Returns the number of a text: 0 for the empty one, [`OTHER`] for `other`.
    pub fn number(&mut self, text: &str) -> u32 {
        match text {
            "" => return 0,
            "other" => return OTHER,
            _ => {}
        }
        if let Some(&number) = self.numbers.get(text) {
            return number;
        }
        let free = |number: &u32| !matches!(*number, 0 | OTHER) && !self.texts.contains_key(number);
        let mut number = self.last.wrapping_add(1);
        while !free(&number) {
            number = number.wrapping_add(1);
        }
        self.last = number;
        let text: Arc<str> = text.into();
        self.numbers.insert(text.clone(), number);
        self.texts.insert(number, text);
        number
    }

    /// Returns the number of a text that has one.
    pub fn find(&self, text: &str) -> Option<u32> {
        match text {
            "" => Some(0),
            _ => self.numbers.get(text).copied(),
        }
    }

    pub fn text(&self, number: u32) -> &str {
        match number {
            OTHER => "other",
            _ => self.texts.get(&number).map_or("", |text| text),
        }
    }

    /// Returns whether [`StringRefs::retain_used`] is due.
    pub fn is_grown(&self) -> bool {
        self.len() > self.used + self.used / 4 + FEW
    }

    /// Removes the names that no key uses.
    pub fn retain_used<'a>(&mut self, keys: impl Iterator<Item = &'a TopKey>) {
        let mut asns: HashSet<u32, RandomState> = HashSet::default();
        let mut texts: HashSet<u32, RandomState> = HashSet::default();
        for key in keys {
            match key.kind {
                TopKind::Asn(_) | TopKind::Peer(_) => asns.insert(key.value),
                TopKind::City(_) | TopKind::Country(_) => texts.insert(key.value),
                TopKind::Family | TopKind::Flows | TopKind::Protocol => continue,
            };
        }
        self.asns.retain(|asn, _| asns.contains(asn));
        self.texts.retain(|number, _| texts.contains(number));
        self.numbers.retain(|_, number| texts.contains(number));
        self.used = self.len();
    }

    fn len(&self) -> usize {
        self.asns.len() + self.texts.len()
    }

    /// Returns the memory in use, without names of ASNs, which the flow thread shares.
    pub fn bytes(&self) -> usize {
        let texts: usize = self.texts.values().map(|text| text.len() + 16).sum();
        let place = size_of::<(u32, Arc<str>)>() + 1;
        texts + place * (self.asns.capacity() + self.texts.capacity() + self.numbers.capacity())
    }
}

#[cfg(test)]
mod tests {
    use super::super::top_table::{Scope, Side};
    use super::*;
    use crate::types::flow::Direction;

    fn key(kind: TopKind, value: u32) -> TopKey {
        let scope = Scope {
            interface: 0,
            direction: Direction::Ingress,
        };
        TopKey { scope, kind, value }
    }

    #[test]
    fn a_text_has_one_number() {
        let mut names = StringRefs::default();
        let bern = names.number("Bern");
        assert_eq!(names.number("Bern"), bern);
        assert_eq!(names.text(bern), "Bern");
        assert_eq!((names.number(""), names.text(0)), (0, ""));
        assert_eq!((names.number("other"), names.text(OTHER)), (OTHER, "other"));
        assert_ne!(names.number("Basel"), bern);
    }

    #[test]
    fn names_out_of_use_go() {
        let mut names = StringRefs::default();
        let bern = names.number("Bern");
        names.learn(&[(64_500, "A".into()), (64_501, "B".into())]);
        for n in 0..1000 {
            names.number(&format!("city {n}"));
        }
        assert!(names.is_grown());
        let keys = [
            key(TopKind::City(Side::Near), bern),
            key(TopKind::Peer(Side::Far), 64_501),
        ];
        names.retain_used(keys.iter());
        assert!(!names.is_grown());
        assert_eq!(names.text(bern), "Bern");
        assert_eq!(names.number("Bern"), bern);
        assert_eq!((names.asn(64_500), names.asn(64_501)), (None, Some("B")));
        assert_eq!((names.texts.len(), names.numbers.len()), (1, 1));
    }
}
