// SPDX-License-Identifier: AGPL-3.0-only
//! Encodes the conditions of rules that have more than one protocol and one range of ports. Rules with the same
//! conditions share them.

use std::collections::HashMap;
use std::sync::Arc;

use super::bplus_tree::BlockWriter;
use super::encode::{EncodeError, Encoder, hidden_flags, range_of_rule};
use super::types;
use crate::bpf::constants::*;
use crate::types::rule::KernelRule;
use crate::types::rule::fields::MatchField;
use crate::types::rule::ranges::Ranges;

// The kernel has the numbers of this enum.
const _: () = {
    assert!(MatchField::ALL.len() == RFM_FW_FIELDS as usize);
    // a port has two sides
    assert!(MatchField::ALL.len() <= RFM_FW_MAX_CONDITIONS as usize);
    assert!(MatchField::Protocol as u32 == RFM_FW_PROTOCOL);
    assert!(MatchField::Sport as u32 == RFM_FW_SPORT);
    assert!(MatchField::Dport as u32 == RFM_FW_DPORT);
    assert!(MatchField::Port as u32 == RFM_FW_PORT);
    assert!(MatchField::TcpFlags as u32 == RFM_FW_TCP_FLAGS);
    assert!(MatchField::IcmpType as u32 == RFM_FW_ICMP_TYPE);
    assert!(MatchField::IcmpCode as u32 == RFM_FW_ICMP_CODE);
    assert!(MatchField::Length as u32 == RFM_FW_LENGTH);
    assert!(MatchField::Fragment as u32 == RFM_FW_FRAGMENT);
    assert!(MatchField::Dscp as u32 == RFM_FW_DSCP);
    assert!(MatchField::FlowLabel as u32 == RFM_FW_FLOW_LABEL);
};

const _: () = {
    use crate::types::rule::flags;
    assert!(flags::DONT_FRAGMENT == RFM_FW_DONT_FRAGMENT);
    assert!(flags::LATER_FRAGMENT == RFM_FW_LATER_FRAGMENT);
    assert!(flags::FIRST_FRAGMENT == RFM_FW_FIRST_FRAGMENT);
    assert!(flags::LAST_FRAGMENT == RFM_FW_LAST_FRAGMENT);
};

/// A block of 512 bits.
type Page = [u64; 8];

pub struct ConditionWriter<'a> {
    encoder: &'a mut Encoder,
    /// By content: the block.
    pages: HashMap<Page, u32>,
    /// By values: the set.
    sets: HashMap<Arc<Ranges>, u32>,
    /// By fields, with their flags, and sets: the block.
    blocks: HashMap<Vec<(u32, u32)>, u32>,
}

impl<'a> ConditionWriter<'a> {
    pub fn new(encoder: &'a mut Encoder) -> Self {
        Self {
            encoder,
            pages: HashMap::new(),
            sets: HashMap::new(),
            blocks: HashMap::new(),
        }
    }

    /// Returns the block of each rule; 0 = none.
    pub fn write(mut self, rules: &[KernelRule]) -> Result<Vec<u32>, EncodeError> {
        let write = |rule: &KernelRule| match rule.matcher.has_prefix() {
            true => self.write_rule(rule),
            // in the index
            false => Ok(0),
        };
        rules.iter().map(write).collect()
    }

    fn write_rule(&mut self, rule: &KernelRule) -> Result<u32, EncodeError> {
        let flags = condition_flags(rule);
        let mut conditions = Vec::new();
        for (field, values) in rule.matcher.fields() {
            if range_of_rule(*field, values).is_some() {
                continue;
            }
            let set = self.write_set(values)?;
            match field {
                MatchField::Port => {
                    conditions.push((RFM_FW_SPORT | flags | RFM_FW_CONDITION_OR_NEXT, set));
                    conditions.push((RFM_FW_DPORT | flags, set));
                }
                _ => conditions.push((*field as u32 | flags, set)),
            }
        }
        if conditions.is_empty() {
            return Ok(0);
        }
        if let Some(block) = self.blocks.get(&conditions) {
            return Ok(*block);
        }
        let mut raw = types::rfm_fw_conditions {
            count: conditions.len() as u32,
            ..Default::default()
        };
        for (n, (field, set)) in conditions.iter().enumerate() {
            raw.field[n] = *field as u8;
            raw.set[n] = *set;
        }
        let block = self.encoder.write(&[raw])?;
        self.blocks.insert(conditions, block);
        Ok(block)
    }

    fn write_set(&mut self, values: &Arc<Ranges>) -> Result<u32, EncodeError> {
        if let Some(set) = self.sets.get(values) {
            return Ok(*set);
        }
        let mut table = Vec::new();
        for page in pages_of(values) {
            table.push(match self.pages.get(&page) {
                Some(block) => *block,
                None => {
                    let block = self.encoder.write(&page)?;
                    self.pages.insert(page, block);
                    block
                }
            });
        }
        let blocks = table.len() as u32 / RFM_FW_TABLE_PAGES;
        let set = self.encoder.write(&table)? | blocks << RFM_FW_SET_BLOCKS_SHIFT;
        self.sets.insert(values.clone(), set);
        Ok(set)
    }
}

/// Returns the pages with the bits of a set, in whole blocks of the table.
fn pages_of(values: &Ranges) -> Vec<Page> {
    let max = values.as_slice().last().map_or(0, |(_, last)| *last);
    let pages =
        (max >> RFM_FW_PAGE_BITS) / RFM_FW_TABLE_PAGES * RFM_FW_TABLE_PAGES + RFM_FW_TABLE_PAGES;
    let mut pages = vec![Page::default(); pages as usize];
    let words = pages.as_flattened_mut();
    for &(first, last) in values.as_slice() {
        for word in first / u64::BITS..=last / u64::BITS {
            let start = word * u64::BITS;
            let low = first.saturating_sub(start);
            let high = (last - start).min(u64::BITS - 1);
            words[word as usize] |= (u64::MAX << low) & (u64::MAX >> (u64::BITS - 1 - high));
        }
    }
    pages
}

/// Returns the flags of the conditions of a rule.
fn condition_flags(rule: &KernelRule) -> u32 {
    let flags = hidden_flags(&rule.matcher, rule.action);
    let pairs = [
        (RFM_FW_MATCHES_LATER, RFM_FW_CONDITION_LATER),
        (RFM_FW_MATCHES_UNREAD, RFM_FW_CONDITION_UNREAD),
    ];
    let set = pairs.iter().filter(|(flag, _)| flags & flag != 0);
    set.fold(0, |all, (_, condition)| all | condition)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_have_the_bits_of_their_values() {
        for ranges in [
            &[(0, 0)][..],
            &[(3, 70), (500, 530), (65_535, 65_535)],
            &[(0, 65_535)],
            &[(64, 127), (8191, 8192)],
        ] {
            let values: Ranges = ranges.iter().copied().collect();
            let pages = pages_of(&values);
            assert_eq!(pages.len() % 16, 0);
            let has = |value: u32| {
                let word = pages.as_flattened().get(value as usize / 64);
                word.is_some_and(|word| word >> (value % 64) & 1 != 0)
            };
            assert!(
                (0..70_000).all(|value| has(value) == values.contains(value)),
                "{ranges:?}"
            );
        }
        assert_eq!(pages_of(&Ranges::one(1 << 20)).len(), 2048 + 16);
    }
}
