// SPDX-License-Identifier: AGPL-3.0-only
//! A set of numbers. Every combination of "or" and "and" over one number is such a set.

/// Ranges (first, last) in ascending order, which neither overlap nor touch.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Ranges(Vec<(u32, u32)>);

impl Ranges {
    pub fn one(value: u32) -> Self {
        Self(vec![(value, value)])
    }

    pub fn as_slice(&self) -> &[(u32, u32)] {
        &self.0
    }

    pub fn contains(&self, value: u32) -> bool {
        let after = self.0.partition_point(|(first, _)| *first <= value);
        after > 0 && value <= self.0[after - 1].1
    }
}

impl FromIterator<(u32, u32)> for Ranges {
    fn from_iter<I: IntoIterator<Item = (u32, u32)>>(ranges: I) -> Self {
        let mut all: Vec<_> = ranges.into_iter().collect();
        all.sort_unstable();
        let mut merged: Vec<(u32, u32)> = Vec::with_capacity(all.len());
        for (first, last) in all {
            match merged.last_mut() {
                Some(before) if first <= before.1.saturating_add(1) => {
                    before.1 = before.1.max(last)
                }
                _ => merged.push((first, last)),
            }
        }
        merged.shrink_to_fit();
        Self(merged)
    }
}

/// Collects single numbers.
impl FromIterator<u32> for Ranges {
    fn from_iter<I: IntoIterator<Item = u32>>(values: I) -> Self {
        values.into_iter().map(|value| (value, value)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_sorted_and_merged() {
        let ranges: Ranges = [(7, 9), (1, 2), (3, 3), (8, 12), (20, 20)]
            .into_iter()
            .collect();
        assert_eq!(ranges.as_slice(), [(1, 3), (7, 12), (20, 20)]);
        for (value, inside) in [
            (0, false),
            (1, true),
            (3, true),
            (4, false),
            (12, true),
            (13, false),
            (20, true),
            (21, false),
        ] {
            assert_eq!(ranges.contains(value), inside, "{value}");
        }
        let all: Ranges = [(0, u32::MAX), (5, 6)].into_iter().collect();
        assert_eq!(all.as_slice(), [(0, u32::MAX)]);
        assert!(!Ranges::default().contains(0));
    }
}
