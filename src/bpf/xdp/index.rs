// SPDX-License-Identifier: AGPL-3.0-only
//! Encodes the index of the rules without a prefix, in the layout of firewall.h: a vector with a bit for each rule,
//! for each distinct set of rules that some values of a field select. Pure.

use std::collections::HashMap;

use super::encode::{EncodeError, hidden_flags, raw_action};
use super::types;
use crate::bpf::constants::*;
use crate::types::rule::fields::MatchField;
use crate::types::rule::ranges::Ranges;
use crate::types::rule::{Action, KernelRule};

type Vector = [u64; RFM_FW_VECTOR_WORDS as usize];

const UNIT: usize = 1 << RFM_FW_UNIT_SHIFT;
/// References of a page: one for each value of the lower bits.
const PAGE: usize = 1 << RFM_FW_VALUE_SHIFT;
type Page = [u16; PAGE];

const UNITS: usize = RFM_FW_INDEX_BYTES as usize / UNIT;

const _: () = {
    assert!(size_of::<Vector>() == UNIT);
    assert!(RFM_FW_VECTOR_WORDS * u64::BITS == RFM_FW_GROUP_RULES);
    // a reference has 16 bits
    assert!(UNITS <= 1 << 16);
    assert!(RFM_FW_INTERFACE as usize == MatchField::ALL.len());
    assert!(RFM_FW_INDEX_FIELDS == RFM_FW_INTERFACE + 1);
    // the first page is that of the values from RFM_FW_ABSENT on
    assert!(RFM_FW_VALUE_PAGE(0) == 1);
    assert!(RFM_FW_ABSENT.wrapping_add(PAGE as u32) < PAGE as u32);
};

/// The bytes of one group: the first [`RFM_FW_INDEX_BYTES`] or less of a value of the map.
pub type GroupBytes = Vec<u8>;

/// The group has no room for more values.
struct Full;

/// Encodes rules, given by their numbers. `interfaces` are those that rules name, sorted.
pub fn build(
    rules: &[KernelRule],
    numbers: &[u32],
    interfaces: &[u32],
) -> Result<Vec<GroupBytes>, EncodeError> {
    let mut groups = Vec::new();
    let mut rest = numbers;
    while !rest.is_empty() {
        let mut count = rest.len().min(RFM_FW_GROUP_RULES as usize);
        let group = loop {
            match Group::build(rules, &rest[..count], interfaces) {
                Ok(group) => break group,
                // rules that name very many values have an index of their own
                Err(Full) if count > 1 => count /= 2,
                Err(Full) => return Err(EncodeError::TooVaried),
            }
        };
        groups.push(group);
        rest = &rest[count..];
    }
    match groups.len() > RFM_FW_MAX_GROUPS as usize {
        true => Err(EncodeError::TooVaried),
        false => Ok(groups),
    }
}

/// One group while it is written.
struct Group {
    bytes: Vec<u8>,
    vectors: HashMap<Vector, u16>,
    pages: HashMap<Page, u16>,
}

/// The values of one field that a rule accepts: its bit in the group, and whether it accepts hidden values.
struct Accepted<'a> {
    bit: usize,
    values: &'a Ranges,
    later: bool,
    unread: bool,
}

impl Group {
    fn build(
        rules: &[KernelRule],
        numbers: &[u32],
        interfaces: &[u32],
    ) -> Result<GroupBytes, Full> {
        let mut group = Self {
            bytes: vec![0; size_of::<types::rfm_fw_index>().next_multiple_of(UNIT)],
            vectors: HashMap::new(),
            pages: HashMap::new(),
        };
        let members: Vec<&KernelRule> = numbers.iter().map(|n| &rules[*n as usize]).collect();
        let mut head = types::rfm_fw_index::default();
        let mut links = Vec::with_capacity(numbers.len());
        for (bit, (rule, number)) in members.iter().zip(numbers).enumerate() {
            set(&mut head.all, bit);
            if rule.action == Action::Count {
                set(&mut head.count_only, bit);
            }
            links.push((number + 1) | raw_action(rule.action) << RFM_FW_LINK_ACTION_SHIFT);
        }
        head.links = group.append(&links)?;
        for field in MatchField::ALL {
            let accepted = members.iter().enumerate().filter_map(|(bit, rule)| {
                let hidden = hidden_flags(&rule.matcher, rule.action);
                Some(Accepted {
                    bit,
                    values: rule.matcher.field(field)?,
                    later: hidden & RFM_FW_MATCHES_LATER != 0,
                    unread: hidden & RFM_FW_MATCHES_UNREAD != 0,
                })
            });
            let accepted: Vec<_> = accepted.collect();
            if accepted.is_empty() {
                continue;
            }
            let written = group.write_field(&head.all, &accepted, values_of(field))?;
            head.pages[field as usize] = written;
        }
        group.write_interfaces(&mut head, &members, interfaces)?;
        // SAFETY: what is Plain here consists of integers without padding between them.
        let bytes = unsafe { plain::as_bytes(&head) };
        group.bytes[..bytes.len()].copy_from_slice(bytes);
        Ok(group.bytes)
    }

    /// The values of this field are the numbers of interfaces plus one; 0: an interface that no rule names.
    fn write_interfaces(
        &mut self,
        head: &mut types::rfm_fw_index,
        members: &[&KernelRule],
        interfaces: &[u32],
    ) -> Result<(), Full> {
        let named = members.iter().enumerate().filter_map(|(bit, rule)| {
            let list = rule.matcher.interfaces.as_ref()?.iter();
            let number = |i: &u32| Some(interfaces.binary_search(i).ok()? as u32 + 1);
            Some((bit, list.filter_map(number).collect::<Ranges>()))
        });
        let named: Vec<_> = named.collect();
        if named.is_empty() {
            return Ok(());
        }
        let accepted: Vec<_> = named
            .iter()
            .map(|(bit, values)| Accepted {
                bit: *bit,
                values,
                later: false,
                unread: false,
            })
            .collect();
        let count = interfaces.len() as u32 + 1;
        head.pages[RFM_FW_INTERFACE as usize] = self.write_field(&head.all, &accepted, count)?;
        Ok(())
    }

    /// Writes the pages of one field with values below `count`; returns the reference to them. Rules that are not in
    /// `accepted` accept all.
    fn write_field(
        &mut self,
        rules: &Vector,
        accepted: &[Accepted<'_>],
        count: u32,
    ) -> Result<u16, Full> {
        let mut others = *rules;
        for one in accepted {
            others[one.bit / 64] &= !(1 << (one.bit % 64));
        }
        let with = |accepts: fn(&Accepted<'_>) -> bool| {
            let mut vector = others;
            for one in accepted.iter().filter(|one| accepts(one)) {
                set(&mut vector, one.bit);
            }
            vector
        };
        let hidden = [
            with(|_| false),
            with(|one| one.later),
            with(|one| one.unread),
        ];
        let mut first = [0; PAGE];
        for (reference, vector) in first[RFM_FW_ABSENT as usize % PAGE..]
            .iter_mut()
            .zip(hidden)
        {
            *reference = self.vector(vector)?;
        }
        let mut pages = vec![self.page(first)?];
        let mut parts = self.parts(others, accepted, count)?.into_iter().peekable();
        let mut current = 0;
        for start in (0..count).step_by(PAGE) {
            let mut page = [0; PAGE];
            for (value, reference) in (start..).zip(&mut page) {
                while let Some((_, next)) = parts.next_if(|(from, _)| *from <= value) {
                    current = next;
                }
                *reference = current;
            }
            pages.push(self.page(page)?);
        }
        self.append(&pages)
    }

    /// Splits the values into ranges with the same vector: the first value of each, and the vector.
    fn parts(
        &mut self,
        others: Vector,
        accepted: &[Accepted<'_>],
        count: u32,
    ) -> Result<Vec<(u32, u16)>, Full> {
        let mut ends = Vec::new();
        for one in accepted {
            for &(first, last) in one.values.as_slice() {
                ends.push((first, one.bit));
                ends.push((last.saturating_add(1), one.bit));
            }
        }
        ends.sort_unstable();
        let mut vector = others;
        let mut parts = vec![(0, self.vector(vector)?)];
        let mut ends = ends
            .into_iter()
            .filter(|(value, _)| *value < count)
            .peekable();
        while let Some((value, bit)) = ends.next() {
            vector[bit / 64] ^= 1 << (bit % 64);
            if ends.peek().is_none_or(|(next, _)| *next != value) {
                parts.push((value, self.vector(vector)?));
            }
        }
        Ok(parts)
    }

    fn vector(&mut self, vector: Vector) -> Result<u16, Full> {
        if let Some(reference) = self.vectors.get(&vector) {
            return Ok(*reference);
        }
        let reference = self.append(&vector)?;
        self.vectors.insert(vector, reference);
        Ok(reference)
    }

    fn page(&mut self, page: Page) -> Result<u16, Full> {
        if let Some(reference) = self.pages.get(&page) {
            return Ok(*reference);
        }
        let reference = self.append(&page)?;
        self.pages.insert(page, reference);
        Ok(reference)
    }

    /// Appends values in units of their own; returns the reference to the first unit.
    fn append<T: plain::Plain>(&mut self, values: &[T]) -> Result<u16, Full> {
        let unit = self.bytes.len() / UNIT;
        // SAFETY: integers.
        self.bytes.extend(unsafe { plain::as_bytes(values) });
        self.bytes
            .resize(self.bytes.len().next_multiple_of(UNIT), 0);
        match self.bytes.len() <= RFM_FW_INDEX_BYTES as usize {
            true => u16::try_from(unit).map_err(|_| Full),
            false => Err(Full),
        }
    }
}

fn set(vector: &mut Vector, bit: usize) {
    vector[bit / 64] |= 1 << (bit % 64);
}

/// Returns the number of values that a packet may have in a field.
fn values_of(field: MatchField) -> u32 {
    match field {
        MatchField::Protocol
        | MatchField::TcpFlags
        | MatchField::IcmpType
        | MatchField::IcmpCode => 1 << 8,
        MatchField::Sport | MatchField::Dport | MatchField::Port | MatchField::Length => 1 << 16,
        MatchField::Fragment => 1 << 4,
        MatchField::Dscp => 1 << 6,
        MatchField::FlowLabel => 1 << 20,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::rule::{Match, Per, RuleId};

    fn rule(matcher: Match, action: Action) -> KernelRule {
        KernelRule {
            id: RuleId(0),
            matcher,
            action,
            rate: None,
            burst: None,
            per: Per::Rule,
        }
    }

    fn reference(group: &GroupBytes, unit: u16, at: usize) -> u16 {
        let at = usize::from(unit) * UNIT + at * 2;
        u16::from_ne_bytes([group[at], group[at + 1]])
    }

    /// Finds the rules that accept a value, as the program does.
    fn accepting(group: &GroupBytes, field: u32, value: u32) -> Vec<usize> {
        let mut head = types::rfm_fw_index::default();
        plain::copy_from_bytes(&mut head, group).expect("a whole head");
        let pages = head.pages[field as usize];
        let page = reference(
            group,
            pages,
            (value.wrapping_add(64) >> RFM_FW_VALUE_SHIFT) as usize,
        );
        let vector = usize::from(reference(group, page, value as usize % PAGE)) * UNIT;
        let bit = |bit: &usize| group[vector + bit / 8] >> (bit % 8) & 1 != 0;
        (0..RFM_FW_GROUP_RULES as usize).filter(bit).collect()
    }

    #[test]
    fn a_value_selects_the_rules_that_accept_it() {
        let ports = |ranges: &[(u32, u32)]| {
            Match::default().with(MatchField::Dport, ranges.iter().copied().collect())
        };
        let rules = [
            rule(ports(&[(53, 53), (63, 64)]), Action::Drop),
            rule(
                Match::default().with(MatchField::Protocol, Ranges::one(6)),
                Action::Drop,
            ),
            rule(ports(&[(64, 65_535)]), Action::Pass),
        ];
        let groups = build(&rules, &[0, 1, 2], &[]).unwrap();
        assert_eq!(groups.len(), 1);
        for (value, expected) in [
            (0, &[1][..]),
            (53, &[0, 1]),
            (63, &[0, 1]),
            (64, &[0, 1, 2]),
            (65, &[1, 2]),
            (65_535, &[1, 2]),
            // not there, in the first fragment, not readable: a rule that passes needs to read it
            (RFM_FW_ABSENT, &[1]),
            (RFM_FW_LATER, &[0, 1]),
            (RFM_FW_UNREAD, &[0, 1]),
        ] {
            assert_eq!(
                accepting(&groups[0], RFM_FW_DPORT, value),
                expected,
                "{value}"
            );
        }
        // few values need few units
        assert!(groups[0].len() < 8192, "{} bytes", groups[0].len());
    }

    #[test]
    fn groups_are_as_large_as_fits() {
        // nearly each port has another set of rules, and so another vector
        let rule_of = |n: u32| {
            let half = |port: &u32| port.wrapping_mul(0x9e37_79b1) >> (8 + n) & 1 != 0;
            let ports = (0..17_000_u32).filter(half).collect();
            rule(
                Match::default().with(MatchField::Sport, ports),
                Action::Drop,
            )
        };
        let numbers: Vec<u32> = (0..RFM_FW_GROUP_RULES + 1).collect();
        let same: Vec<_> = numbers.iter().map(|_| rule_of(0)).collect();
        assert_eq!(build(&same, &numbers, &[]).unwrap().len(), 2);
        let various: Vec<_> = (0..20).map(rule_of).collect();
        let groups = build(&various, &numbers[..20], &[]).unwrap();
        assert!((2..8).contains(&groups.len()), "{} groups", groups.len());
        let largest = groups.iter().map(Vec::len).max();
        assert!(largest <= Some(RFM_FW_INDEX_BYTES as usize));
        // not even one rule: each page is another one
        let labels = (0..1 << 14).flat_map(|page: u32| {
            let is_set = move |bit: &u32| page >> bit & 1 != 0;
            (0..14).filter(is_set).map(move |bit| page * 64 + bit)
        });
        let matcher = Match::default().with(MatchField::FlowLabel, labels.collect());
        let error = build(&[rule(matcher, Action::Drop)], &[0], &[]).err();
        assert_eq!(error, Some(EncodeError::TooVaried));
    }
}
