// SPDX-License-Identifier: AGPL-3.0-only
//! The state of a flow that fits in 32 bits. Pure.

/// The observer's generation when the set was found, the class of the flow's first partial record, and the list
/// that holds the partial record. They share 32 bits, because a flow has no spare byte.
///
/// The list is stored and not derived from the limits, which may change while the partial record is
/// in the list.
#[derive(Clone, Copy, Debug)]
pub struct Mark(u32);

/// The list of a partial record or, while there is none, of the next one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PartList {
    /// It ends by the active timeout.
    Start,
    /// The end of the flow was seen.
    End,
    /// It ends by the timeout of the flow's class, because no active timeout separates it from the previous one.
    First,
}

impl Mark {
    const GENERATION: u32 = (1 << 22) - 1;
    const CLASS_AT: u32 = 22;
    const LIST_AT: u32 = 30;

    pub fn new(generation: u32, hash: u64) -> Self {
        // these bits take no part in the position in the index
        let class = (hash >> 40) as u8;
        let mut mark = Self(u32::from(class) << Self::CLASS_AT);
        mark.set_generation(generation);
        mark.set_list(PartList::First);
        mark
    }

    pub fn is_of(self, generation: u32) -> bool {
        self.0 & Self::GENERATION == generation & Self::GENERATION
    }

    pub fn set_generation(&mut self, generation: u32) {
        self.0 = self.0 & !Self::GENERATION | generation & Self::GENERATION;
    }

    pub fn class(self) -> u8 {
        (self.0 >> Self::CLASS_AT) as u8
    }

    pub fn list(self) -> PartList {
        match self.0 >> Self::LIST_AT {
            0 => PartList::Start,
            1 => PartList::End,
            _ => PartList::First,
        }
    }

    pub fn set_list(&mut self, list: PartList) {
        let others = self.0 & ((1 << Self::LIST_AT) - 1);
        self.0 = others | (list as u32) << Self::LIST_AT;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_three_values_do_not_change_each_other() {
        let mut mark = Mark::new(u32::MAX, 0xab << 40);
        for list in [PartList::Start, PartList::End, PartList::First] {
            for generation in [0, 7, (1 << 22) - 1, u32::MAX] {
                mark.set_list(list);
                mark.set_generation(generation);
                assert!(mark.is_of(generation) && !mark.is_of(generation.wrapping_add(1)));
                assert_eq!((mark.list(), mark.class()), (list, 0xab));
            }
        }
    }
}
