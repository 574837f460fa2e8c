// SPDX-License-Identifier: AGPL-3.0-only
//! Prefixes of rules → boundaries of the address space, and the chain of rules between two of them (pure).

/// Rules that one packet may be held against by one address, and those without a prefix:
/// RFM_FW_MAX_CHAIN of fw_rules.bpf.h.
pub const MAX_CHAIN: u32 = 1024;

/// One rule under one prefix. Addresses of IPv4 are numbers of 32 bits, those of IPv6 of 128.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Entry {
    pub start: u128,
    pub length: u8,
    /// Of the rule: its priority.
    pub number: u32,
    /// Matches every packet of the prefix and ends the search: what comes after it cannot be reached.
    pub ends: bool,
}

/// From `start` up to the next one, `link` begins the chain; 0 = no rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bound {
    pub start: u128,
    pub link: u32,
}

/// Under one prefix lie more rules than a packet may be held against.
#[derive(Debug, PartialEq, Eq)]
pub struct TooLong {
    pub start: u128,
    pub length: u8,
    pub rules: u32,
}

/// A prefix that is not yet left behind.
struct Open {
    end: u128,
    link: u32,
    chain: u32,
}

/// Sorts the entries, links the rules (`next[number]`), and returns the boundaries; the first is at 0.
pub fn build(entries: &mut [Entry], width: u8, next: &mut [u32]) -> Result<Vec<Bound>, TooLong> {
    entries.sort_unstable();
    let mut bounds = vec![Bound { start: 0, link: 0 }];
    let mut open: Vec<Open> = Vec::new();
    for group in entries.chunk_by(|a, b| (a.start, a.length) == (b.start, b.length)) {
        let Entry { start, length, .. } = group[0];
        close(&mut open, &mut bounds, Some(start), width);
        let outer = open.last().map_or((0, 0), |o| (o.link, o.chain));
        let (link, own) = chain(group, outer.0, next);
        let rules = own + outer.1;
        if rules > MAX_CHAIN {
            return Err(TooLong {
                start,
                length,
                rules,
            });
        }
        push(&mut bounds, Bound { start, link });
        open.push(Open {
            end: start | ones(width - length),
            link,
            chain: rules,
        });
    }
    close(&mut open, &mut bounds, None, width);
    Ok(bounds)
}

/// Links rules of one prefix by priority, then to those around it. Returns the link to the first, and how
/// many can be reached.
fn chain(group: &[Entry], outer: u32, next: &mut [u32]) -> (u32, u32) {
    let reached = group
        .iter()
        .position(|e| e.ends)
        .map_or(group.len(), |at| at + 1);
    let mut link = outer;
    for entry in group[..reached].iter().rev() {
        next[entry.number as usize] = link;
        link = entry.number + 1;
    }
    (link, reached as u32)
}

/// Ends the prefixes that end before an address; all without one.
fn close(open: &mut Vec<Open>, bounds: &mut Vec<Bound>, before: Option<u128>, width: u8) {
    while let Some(top) = open.pop_if(|o| before.is_none_or(|at| o.end < at)) {
        if top.end < ones(width) {
            let link = open.last().map_or(0, |o| o.link);
            push(
                bounds,
                Bound {
                    start: top.end + 1,
                    link,
                },
            );
        }
    }
}

/// Of two boundaries at one address the later one, of the longer prefix or of the one around, is right.
fn push(bounds: &mut Vec<Bound>, bound: Bound) {
    match bounds.last_mut() {
        Some(last) if last.start == bound.start => last.link = bound.link,
        _ => bounds.push(bound),
    }
}

fn ones(bits: u8) -> u128 {
    u128::MAX.checked_shr(128 - u32::from(bits)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(start: u128, length: u8, number: u32) -> Entry {
        Entry {
            start,
            length,
            number,
            ends: false,
        }
    }

    /// The numbers in the chain at an address.
    fn at(bounds: &[Bound], next: &[u32], address: u128) -> Vec<u32> {
        let mut link = bounds[bounds.partition_point(|b| b.start <= address) - 1].link;
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
        let bounds = build(&mut entries, 32, &mut next).unwrap();
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
            assert_eq!(at(&bounds, &next, address), expected, "{address:#x}");
        }
    }

    #[test]
    fn a_prefix_of_everything_has_no_end() {
        let mut next = [0];
        let bounds = build(&mut [entry(0, 0, 0)], 128, &mut next).unwrap();
        assert_eq!(bounds, [Bound { start: 0, link: 1 }]);
    }

    #[test]
    fn what_cannot_be_reached_is_in_no_chain() {
        let mut entries = [entry(0, 8, 0), entry(0, 8, 1), entry(0, 8, 2)];
        entries[1].ends = true;
        let mut next = [0; 3];
        let bounds = build(&mut entries, 32, &mut next).unwrap();
        assert_eq!(at(&bounds, &next, 1), [0, 1]);
    }

    #[test]
    fn a_chain_is_bounded_with_what_lies_around() {
        let mut entries: Vec<Entry> = (0..MAX_CHAIN).map(|n| entry(0, 8, n)).collect();
        let mut next = vec![0; MAX_CHAIN as usize + 1];
        assert!(build(&mut entries.clone(), 32, &mut next).is_ok());
        entries.push(entry(0, 9, MAX_CHAIN));
        let too_long = TooLong {
            start: 0,
            length: 9,
            rules: MAX_CHAIN + 1,
        };
        assert_eq!(build(&mut entries, 32, &mut next), Err(too_long));
    }
}
