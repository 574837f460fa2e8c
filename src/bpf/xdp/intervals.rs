// SPDX-License-Identifier: AGPL-3.0-only
//! Converts the prefixes of rules into intervals of the address space, each with its chain of rules. Pure.

use crate::bpf::constants::RFM_FW_MAX_CHAIN;

/// One rule of one prefix. IPv4 addresses are numbers of 32 bits, IPv6 addresses of 128.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PrefixRule {
    pub start: u128,
    pub length: u8,
    /// The number of the rule: its priority.
    pub number: u32,
    /// Matches every packet of the prefix and ends the search: later rules of the prefix cannot be reached.
    pub terminal: bool,
}

/// An interval from `start` up to the next one. `link` begins its chain of rules; 0 = no rule.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Interval {
    pub start: u128,
    pub link: u32,
    /// The rule of the link ends the search, and no rule of the chain precedes it.
    pub terminal: bool,
}

/// More rules apply to one prefix than a chain may have.
#[derive(Debug, PartialEq, Eq)]
pub struct ChainTooLongError {
    pub start: u128,
    pub length: u8,
    pub rules: u32,
}

/// A prefix that contains the current address.
struct OpenPrefix {
    end: u128,
    link: u32,
    chain: u32,
    /// The first of all rules that apply here.
    first: PrefixRule,
}

impl OpenPrefix {
    fn interval(&self, start: u128) -> Interval {
        let terminal = self.first.terminal;
        let link = if terminal {
            self.first.number + 1
        } else {
            self.link
        };
        Interval {
            start,
            link,
            terminal,
        }
    }
}

/// Sorts the entries, links the rules (`next[number]`), and returns the intervals; the first starts at 0.
pub fn build(
    entries: &mut [PrefixRule],
    width: u8,
    next: &mut [u32],
) -> Result<Vec<Interval>, ChainTooLongError> {
    entries.sort_unstable();
    let mut intervals = vec![Interval::default()];
    let mut open: Vec<OpenPrefix> = Vec::new();
    for group in entries.chunk_by(|a, b| (a.start, a.length) == (b.start, b.length)) {
        let PrefixRule { start, length, .. } = group[0];
        close(&mut open, &mut intervals, Some(start), width);
        let outer = open.last().map_or((0, 0), |o| (o.link, o.chain));
        let (link, own) = chain(group, outer.0, next);
        let rules = own + outer.1;
        if rules > RFM_FW_MAX_CHAIN {
            return Err(ChainTooLongError {
                start,
                length,
                rules,
            });
        }
        let around = open.last().map(|o| o.first);
        let inner = OpenPrefix {
            end: start | ones(width - length),
            link,
            chain: rules,
            first: around
                .filter(|e| e.number < group[0].number)
                .unwrap_or(group[0]),
        };
        push(&mut intervals, inner.interval(start));
        open.push(inner);
    }
    close(&mut open, &mut intervals, None, width);
    Ok(intervals)
}

/// Returns intervals of single keys, in ascending order: the link of each is its index in the list plus one.
pub fn of_single_keys(numbers: &[u32]) -> Vec<Interval> {
    let interval = |start, link| Interval {
        start,
        link,
        terminal: false,
    };
    let mut intervals = vec![interval(0, 0)];
    for (link, number) in (1..).zip(numbers) {
        let start = u128::from(*number);
        push(&mut intervals, interval(start, link));
        intervals.push(interval(start + 1, 0));
    }
    intervals
}

/// Links the rules of one prefix by priority, then to those of the prefixes that contain it. Returns the link to
/// the first, and the number of reachable ones.
fn chain(group: &[PrefixRule], outer: u32, next: &mut [u32]) -> (u32, u32) {
    let reached = group
        .iter()
        .position(|e| e.terminal)
        .map_or(group.len(), |at| at + 1);
    let mut link = outer;
    for entry in group[..reached].iter().rev() {
        next[entry.number as usize] = link;
        link = entry.number + 1;
    }
    (link, reached as u32)
}

/// Closes the prefixes that end before an address; if there is none, all prefixes.
fn close(
    open: &mut Vec<OpenPrefix>,
    intervals: &mut Vec<Interval>,
    before: Option<u128>,
    width: u8,
) {
    while let Some(top) = open.pop_if(|o| before.is_none_or(|at| o.end < at)) {
        if top.end < ones(width) {
            let start = top.end + 1;
            let nothing = Interval {
                start,
                ..Default::default()
            };
            push(
                intervals,
                open.last().map_or(nothing, |o| o.interval(start)),
            );
        }
    }
}

/// Adds an interval. If two start at one address, the later one is correct: that of the longer prefix, or of the
/// prefix that contains it.
fn push(intervals: &mut Vec<Interval>, interval: Interval) {
    match intervals.last_mut() {
        Some(last) if last.start == interval.start => *last = interval,
        _ => intervals.push(interval),
    }
}

fn ones(bits: u8) -> u128 {
    u128::MAX.checked_shr(128 - u32::from(bits)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(start: u128, length: u8, number: u32) -> PrefixRule {
        PrefixRule {
            start,
            length,
            number,
            terminal: false,
        }
    }

    /// The numbers in the chain at an address.
    fn at(intervals: &[Interval], next: &[u32], address: u128) -> Vec<u32> {
        let mut link = intervals[intervals.partition_point(|b| b.start <= address) - 1].link;
        let mut found = Vec::new();
        while link != 0 {
            found.push(link - 1);
            link = next[link as usize - 1];
        }
        found
    }

    #[test]
    fn chains_go_from_the_longest_prefix_outwards() {
        let mut entries = [
            entry(0x0a00_0000, 8, 0),
            entry(0x0a01_0000, 16, 2),
            entry(0x0a01_0000, 16, 1),
            entry(0x0a01_ffff, 32, 3),
            entry(0xffff_ffff, 32, 4),
        ];
        let mut next = [0; 5];
        let intervals = build(&mut entries, 32, &mut next).unwrap();
        for (address, expected) in [
            (0, &[][..]),
            (0x09ff_ffff, &[]),
            (0x0a00_0000, &[0]),
            (0x0a01_0000, &[1, 2, 0]),
            (0x0a01_fffe, &[1, 2, 0]),
            (0x0a01_ffff, &[3, 1, 2, 0]),
            (0x0a02_0000, &[0]),
            (0x0b00_0000, &[]),
            (0xffff_fffe, &[]),
            (0xffff_ffff, &[4]),
        ] {
            assert_eq!(at(&intervals, &next, address), expected, "{address:#x}");
        }
    }

    #[test]
    fn a_prefix_of_all_addresses_has_no_end() {
        let mut next = [0];
        let intervals = build(&mut [entry(0, 0, 0)], 128, &mut next).unwrap();
        let all = Interval {
            start: 0,
            link: 1,
            terminal: false,
        };
        assert_eq!(intervals, [all]);
    }

    /// The first rule of nested prefixes applies, if it needs only the address.
    #[test]
    fn rules_that_need_only_the_address_are_terminal() {
        let ending = |start, length, number| PrefixRule {
            terminal: true,
            ..entry(start, length, number)
        };
        let mut entries = [
            ending(0x0a00_0000, 8, 3),
            ending(0x0a01_0000, 16, 5),
            entry(0x0a02_0000, 16, 4),
            ending(0x0a03_0000, 16, 2),
            entry(0x0a04_0000, 16, 1),
            ending(0x0a04_0000, 16, 6),
        ];
        let mut next = [0; 7];
        let intervals = build(&mut entries, 32, &mut next).unwrap();
        for (address, link, terminal) in [
            (0x0a00_0001, 4, true),
            (0x0a01_0001, 4, true),
            (0x0a02_0001, 4, true),
            (0x0a03_0001, 3, true),
            (0x0a04_0001, 2, false),
            (0x0a05_0001, 4, true),
            (0x0b00_0001, 0, false),
        ] {
            let found = intervals[intervals.partition_point(|b| b.start <= address) - 1];
            assert_eq!(
                (found.link, found.terminal),
                (link, terminal),
                "{address:#x}"
            );
        }
    }

    #[test]
    fn unreachable_rules_are_in_no_chain() {
        let mut entries = [entry(0, 8, 0), entry(0, 8, 1), entry(0, 8, 2)];
        entries[1].terminal = true;
        let mut next = [0; 3];
        let intervals = build(&mut entries, 32, &mut next).unwrap();
        assert_eq!(at(&intervals, &next, 1), [0, 1]);
    }

    #[test]
    fn a_chain_is_limited_with_the_prefixes_around() {
        let mut entries: Vec<PrefixRule> = (0..RFM_FW_MAX_CHAIN).map(|n| entry(0, 8, n)).collect();
        let mut next = vec![0; RFM_FW_MAX_CHAIN as usize + 1];
        assert!(build(&mut entries.clone(), 32, &mut next).is_ok());
        entries.push(entry(0, 9, RFM_FW_MAX_CHAIN));
        let too_long = ChainTooLongError {
            start: 0,
            length: 9,
            rules: RFM_FW_MAX_CHAIN + 1,
        };
        assert_eq!(build(&mut entries, 32, &mut next), Err(too_long));
    }
}
