// SPDX-License-Identifier: AGPL-3.0-only
//! Numbers of the names of configured prefixes, for one minute.

use std::sync::Arc;

use foldhash::fast::RandomState;
use hashbrown::HashMap;

/// The maximum number of names in a minute; prefixes beyond it are not counted.
const MAX_NAMES: usize = 4096;

/// A name is found by its address in memory, which no other one has while it is held here.
#[derive(Debug, Default)]
pub(super) struct PrefixNames {
    numbers: HashMap<usize, u32, RandomState>,
    names: Vec<Arc<str>>,
}

impl PrefixNames {
    /// Returns the number of a name; `None` if there is no room for another one.
    pub fn number(&mut self, name: &Arc<str>) -> Option<u32> {
        let address = Arc::as_ptr(name).addr();
        if let Some(number) = self.numbers.get(&address) {
            return Some(*number);
        }
        let number = u32::try_from(self.names.len()).ok()?;
        if self.names.len() >= MAX_NAMES {
            return None;
        }
        self.names.push(name.clone());
        self.numbers.insert(address, number);
        Some(number)
    }

    pub fn name(&self, number: u32) -> Option<Arc<str>> {
        self.names.get(number as usize).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_name_has_one_number_and_there_is_a_limit() {
        let mut names = PrefixNames::default();
        let held: Vec<Arc<str>> = (0..=MAX_NAMES).map(|n| n.to_string().into()).collect();
        for _ in 0..2 {
            for (n, name) in held[..MAX_NAMES].iter().enumerate() {
                assert_eq!(names.number(name), Some(n as u32));
            }
        }
        assert_eq!(names.number(&held[MAX_NAMES]), None);
        assert_eq!(names.name(7).as_deref(), Some("7"));
    }
}
