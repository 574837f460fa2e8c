// SPDX-License-Identifier: AGPL-3.0-only
//! The tests of a component: pairs of an operator byte and a value (RFC 8955 section 4.2.1).

use super::nlri::NlriError;
use crate::types::rule::ranges::Ranges;

const END: u8 = 0x80;
const AND: u8 = 0x40;
const LESS: u8 = 0x04;
const GREATER: u8 = 0x02;
const EQUAL: u8 = 0x01;
const NOT: u8 = 0x02;
const ALL_BITS: u8 = 0x01;

/// A test of a number or of bits. The kind of its component decides which.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OperatorTest {
    operator: u8,
    pub value: u64,
    /// The size of the value in bytes: 1, 2, 4 or 8.
    pub size: usize,
}

/// The tests of a component, valid and in their encoded form, which the order of rules compares.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Operators(Box<[u8]>);

impl OperatorTest {
    /// Returns the first test in the bytes and the bytes after it.
    fn read(bytes: &[u8]) -> Option<(Self, &[u8])> {
        let (&operator, rest) = bytes.split_first()?;
        let size = 1 << (operator >> 4 & 3);
        let (value, rest) = rest.split_at_checked(size)?;
        let value = value
            .iter()
            .fold(0, |value, byte| value << 8 | u64::from(*byte));
        let test = Self {
            operator,
            value,
            size,
        };
        Some((test, rest))
    }

    fn is_last(self) -> bool {
        self.operator & END != 0
    }

    /// Returns the numbers up to `max` that pass, as up to two ranges.
    fn numbers(self, max: u32) -> impl Iterator<Item = (u32, u32)> {
        let (max, value) = (u64::from(max), self.value);
        let has = |bit| self.operator & bit != 0;
        let less = (has(LESS) && value > 0).then(|| (0, max.min(value - 1)));
        let equal = (has(EQUAL) && value <= max).then_some((value, value));
        let greater = (has(GREATER) && value < max).then(|| (value + 1, max));
        let ranges = [less, equal, greater].into_iter().flatten();
        ranges.map(|(first, last)| (first as u32, last as u32))
    }

    /// Returns whether the bits of a packet pass, by the bits of the value in `mask`.
    fn has_bits(self, bits: u64, mask: u64) -> bool {
        let wanted = self.value & mask;
        let passes = match self.is_for_all_bits() {
            true => bits & wanted == wanted,
            false => bits & wanted != 0,
        };
        passes != self.is_negated()
    }

    /// Returns whether all bits of the value must be set, and not only one of them.
    pub fn is_for_all_bits(self) -> bool {
        self.operator & ALL_BITS != 0
    }

    pub fn is_negated(self) -> bool {
        self.operator & NOT != 0
    }
}

impl Operators {
    /// Reads up to the test with the end bit; returns the bytes after it.
    pub fn read(bytes: &[u8], max_size: usize) -> Result<(Self, &[u8]), NlriError> {
        let mut rest = bytes;
        loop {
            let (test, after) = OperatorTest::read(rest).ok_or(NlriError::Truncated)?;
            if test.size > max_size {
                return Err(NlriError::ValueSize(test.size));
            }
            rest = after;
            if test.is_last() {
                let used = bytes.len() - rest.len();
                return Ok((Self(bytes[..used].into()), rest));
            }
        }
    }

    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    fn tests(&self) -> impl Iterator<Item = OperatorTest> {
        let mut rest = &*self.0;
        std::iter::from_fn(move || {
            let (test, after) = OperatorTest::read(rest)?;
            rest = after;
            Some(test)
        })
    }

    /// Returns the alternatives, each a list of tests that must all pass: "and" binds more tightly than "or". The
    /// "and" bit of the first test has no meaning.
    pub fn alternatives(&self) -> Vec<Vec<OperatorTest>> {
        let mut alternatives: Vec<Vec<OperatorTest>> = Vec::new();
        for test in self.tests() {
            match alternatives.last_mut() {
                Some(tests) if test.operator & AND != 0 => tests.push(test),
                _ => alternatives.push(vec![test]),
            }
        }
        alternatives
    }

    /// Returns the numbers up to `max` that pass. Only the bits of the values in `mask` have a meaning.
    pub fn numbers(&self, max: u32, mask: u64) -> Ranges {
        let alternatives = self.alternatives().into_iter();
        alternatives
            .flat_map(|tests| {
                let all = vec![(0, max)];
                tests.into_iter().fold(all, |ranges, test| {
                    let value = test.value & mask;
                    intersection(&ranges, OperatorTest { value, ..test }.numbers(max))
                })
            })
            .collect()
    }

    /// Returns a function that tests the bits of a packet. `mask` returns the bits of a value that have a meaning.
    pub fn bits_passed(&self, mask: impl Fn(OperatorTest) -> u64) -> impl Fn(u64) -> bool {
        let alternatives = self.alternatives();
        move |bits| {
            let passes = |test: &OperatorTest| test.has_bits(bits, mask(*test));
            alternatives.iter().any(|tests| tests.iter().all(passes))
        }
    }

    /// Returns whether a test names one of these bits.
    pub fn names(&self, bits: u64) -> bool {
        self.tests().any(|test| test.value & bits != 0)
    }
}

fn intersection(ranges: &[(u32, u32)], with: impl Iterator<Item = (u32, u32)>) -> Vec<(u32, u32)> {
    with.flat_map(|(first, last)| {
        let ends = ranges
            .iter()
            .map(move |range| (range.0.max(first), range.1.min(last)));
        ends.filter(|(first, last)| first <= last)
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(bytes: &[u8], max: u32) -> Vec<(u32, u32)> {
        let (operators, rest) = Operators::read(bytes, 8).unwrap();
        assert!(rest.is_empty());
        operators.numbers(max, u64::MAX).as_slice().to_vec()
    }

    #[test]
    fn and_binds_more_tightly_than_or() {
        // the example of RFC 8955 section 4.3.2: {range [137, 139], 8080}
        let bytes = [0x03, 137, 0x45, 139, 0x91, 0x1f, 0x90];
        assert_eq!(numbers(&bytes, 65_535), [(137, 139), (8080, 8080)]);
        // the "and" bit of the first test is ignored
        assert_eq!(numbers(&[0xc1, 7], 255), [(7, 7)]);
        assert_eq!(numbers(&[0x01, 1, 0xc1, 2], 255), []);
        // 1 or (greater than 5 and less than 8)
        let bytes = [0x01, 1, 0x02, 5, 0xc4, 8];
        assert_eq!(numbers(&bytes, 255), [(1, 1), (6, 7)]);
    }

    #[test]
    fn every_combination_of_less_greater_and_equal_has_its_numbers() {
        for (operator, expected) in [
            (0, vec![]),
            (1, vec![(7, 7)]),
            (2, vec![(8, 255)]),
            (3, vec![(7, 255)]),
            (4, vec![(0, 6)]),
            (5, vec![(0, 7)]),
            (6, vec![(0, 6), (8, 255)]),
            (7, vec![(0, 255)]),
        ] {
            assert_eq!(numbers(&[0x80 | operator, 7], 255), expected, "{operator}");
        }
        // at the ends, beyond the field, and with the reserved bit
        assert_eq!(numbers(&[0x84, 0], 255), []);
        assert_eq!(numbers(&[0x82, 255], 255), []);
        assert_eq!(numbers(&[0x94, 1, 0], 255), [(0, 255)]);
        assert_eq!(numbers(&[0x91, 1, 0], 255), []);
        assert_eq!(numbers(&[0x89, 7], 255), [(7, 7)]);
        let most = [&[0xb5], &u64::MAX.to_be_bytes()[..]].concat();
        assert_eq!(numbers(&most, 255), [(0, 255)]);
    }

    #[test]
    fn bits_pass_if_any_or_all_are_set_or_not() {
        let has = |operator: u8, bits| {
            let (operators, _) = Operators::read(&[0x80 | operator, 0b110], 1).unwrap();
            operators.bits_passed(|_| 0xff)(bits)
        };
        for (operator, expected) in [
            (0, [false, true, true]),
            (1, [false, false, true]),
            (2, [true, false, false]),
            (3, [true, true, false]),
        ] {
            assert_eq!([0b1, 0b10, 0b111].map(|bits| has(operator, bits)), expected);
        }
    }
}
