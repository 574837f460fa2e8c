// SPDX-License-Identifier: AGPL-3.0-only
//! The parts of a rule that test bits: the flags of TCP, and whether a packet is a fragment.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use super::kinds::Proposed;
use super::ranges::Ranges;
use super::serialize_as_text;
/// The flags of a TCP header (RFC 9293 section 3.1), from the lowest bit.
const FLAGS: [&str; 8] = ["fin", "syn", "rst", "psh", "ack", "urg", "ece", "cwr"];
const NO_FLAG: &str = "none";
const ALL_FLAGS: &str = "all";

/// Alternatives in one rule.
const MAX_TESTS: usize = 64;

/// Of the flags in `mask`, exactly those in `value` are set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct FlagTest {
    value: u8,
    mask: u8,
}

/// Tests of TCP flags, of which one must be true: `syn/syn,ack|rst`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TcpFlags(Arc<Vec<FlagTest>>);

impl TcpFlags {
    /// Returns the matching values of the byte that has the flags.
    pub fn ranges(&self) -> Ranges {
        let matches = |flags: &u32| {
            self.0
                .iter()
                .any(|test| *flags as u8 & test.mask == test.value)
        };
        (0..=u32::from(u8::MAX)).filter(matches).collect()
    }
}

fn parse_flags(text: &str) -> Result<u8, String> {
    match text {
        NO_FLAG => return Ok(0),
        ALL_FLAGS => return Ok(u8::MAX),
        _ => {}
    }
    let mut flags = 0;
    for word in text.split(',') {
        let bit = FLAGS
            .iter()
            .position(|flag| flag.eq_ignore_ascii_case(word));
        let bit = bit.ok_or_else(|| format!("the flags are {}, none and all", FLAGS.join(", ")))?;
        flags |= 1 << bit;
    }
    Ok(flags)
}

fn write_flags(flags: u8, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    match flags {
        0 => return f.write_str(NO_FLAG),
        u8::MAX => return f.write_str(ALL_FLAGS),
        _ => {}
    }
    let set = (0..).zip(FLAGS).filter(|(bit, _)| flags >> bit & 1 != 0);
    let names: Vec<_> = set.map(|(_, name)| name).collect();
    f.write_str(&names.join(","))
}

impl FromStr for FlagTest {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (value, mask) = match text.split_once('/') {
            Some((value, mask)) => (parse_flags(value)?, parse_flags(mask)?),
            None => {
                let flags = parse_flags(text)?;
                (flags, flags)
            }
        };
        if mask == 0 {
            return Err(
                "no flag is tested: write those to test after a slash, as in none/syn,ack".into(),
            );
        }
        match value & !mask {
            0 => Ok(Self { value, mask }),
            _ => Err("a flag before the slash is not among those after it".into()),
        }
    }
}

impl fmt::Display for FlagTest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_flags(self.value, f)?;
        if self.value == self.mask {
            return Ok(());
        }
        f.write_str("/")?;
        write_flags(self.mask, f)
    }
}

impl FromStr for TcpFlags {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let tests: Result<Vec<FlagTest>, String> = text.split('|').map(str::parse).collect();
        let mut tests = tests?;
        tests.sort_unstable();
        tests.dedup();
        match tests.len() > MAX_TESTS {
            true => Err(format!("more than {MAX_TESTS} tests")),
            false => Ok(Self(Arc::new(tests))),
        }
    }
}

impl fmt::Display for TcpFlags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, test) in self.0.iter().enumerate() {
            f.write_str(if n == 0 { "" } else { "|" })?;
            write!(f, "{test}")?;
        }
        Ok(())
    }
}

impl Proposed for TcpFlags {
    fn proposals() -> Vec<&'static str> {
        vec![
            "syn/syn,ack",
            "syn,ack/syn,ack",
            "ack/syn,ack",
            "rst",
            "none/all",
        ]
    }
}

/// The bits of the state of a packet (RFC 8955 section 4.2.2.12), which the kernel also has (`enum rfm_fw_fragment`).
pub const DONT_FRAGMENT: u32 = 1;
/// Its offset is not 0.
pub const LATER_FRAGMENT: u32 = 2;
pub const FIRST_FRAGMENT: u32 = 4;
pub const LAST_FRAGMENT: u32 = 8;

/// A kind of fragment: its name, and the bits that it tests. One of them must be set, or none of them may be.
struct FragmentKind {
    name: &'static str,
    tests: u32,
    is_set: bool,
}

const IS_FRAGMENT: u32 = FIRST_FRAGMENT | LATER_FRAGMENT;

const FRAGMENT_KINDS: [FragmentKind; 6] = [
    FragmentKind {
        name: "first",
        tests: FIRST_FRAGMENT,
        is_set: true,
    },
    FragmentKind {
        name: "later",
        tests: LATER_FRAGMENT,
        is_set: true,
    },
    FragmentKind {
        name: "last",
        tests: LAST_FRAGMENT,
        is_set: true,
    },
    FragmentKind {
        name: "any",
        tests: IS_FRAGMENT,
        is_set: true,
    },
    FragmentKind {
        name: "none",
        tests: IS_FRAGMENT,
        is_set: false,
    },
    FragmentKind {
        name: "dont-fragment",
        tests: DONT_FRAGMENT,
        is_set: true,
    },
];

/// The number of states of a packet: combinations of the four bits.
const STATES: u32 = (DONT_FRAGMENT | IS_FRAGMENT | LAST_FRAGMENT) + 1;

/// Kinds of fragments, of which a packet must be one: `first,later`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Fragments(u8);

impl Fragments {
    fn kinds(self) -> impl Iterator<Item = &'static FragmentKind> {
        let named = FRAGMENT_KINDS.iter().enumerate();
        named
            .filter(move |(bit, _)| self.0 >> bit & 1 != 0)
            .map(|(_, kind)| kind)
    }

    /// Returns the matching states of a packet.
    pub fn ranges(self) -> Ranges {
        let matches = |state: &u32| {
            self.kinds()
                .any(|kind| (state & kind.tests != 0) == kind.is_set)
        };
        (0..STATES).filter(matches).collect()
    }
}

impl FromStr for Fragments {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut kinds = 0;
        for word in text.split(',') {
            let bit = FRAGMENT_KINDS.iter().position(|kind| kind.name == word);
            kinds |=
                1 << bit.ok_or_else(|| format!("\"{}\" is none of them", word.escape_debug()))?;
        }
        Ok(Self(kinds))
    }
}

impl fmt::Display for Fragments {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.kinds().map(|kind| kind.name).collect();
        f.write_str(&names.join(","))
    }
}

impl Proposed for Fragments {
    fn proposals() -> Vec<&'static str> {
        FRAGMENT_KINDS.iter().map(|kind| kind.name).collect()
    }
}

serialize_as_text!(TcpFlags, Fragments);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_before_the_slash_are_set_and_the_others_are_not() {
        let ranges = |text: &str| text.parse::<TcpFlags>().unwrap().ranges();
        let syn = ranges("syn/syn,ack");
        assert!(syn.contains(0b10) && syn.contains(0b11) && syn.contains(0b1100_0010));
        assert!(!syn.contains(0b1_0010) && !syn.contains(0));
        assert!(ranges("syn").contains(0b1_0010));
        let either = ranges("syn/syn,ack|rst");
        assert!(either.contains(2) && either.contains(0b1_0100) && !either.contains(0b1_0010));
        assert_eq!(ranges("none/all").as_slice(), [(0, 0)]);
        for text in [
            "syn/syn,ack",
            "syn",
            "none/fin,syn",
            "all",
            "none/all",
            "rst|syn,ack",
        ] {
            let mut parts: Vec<_> = text.split('|').collect();
            parts.sort_unstable_by_key(|part| part.parse::<FlagTest>().unwrap());
            assert_eq!(
                text.parse::<TcpFlags>().unwrap().to_string(),
                parts.join("|")
            );
        }
        for text in ["", "sin", "none", "syn/ack", "syn/none", "syn|"] {
            assert!(text.parse::<TcpFlags>().is_err(), "{text}");
        }
    }

    #[test]
    fn later_fragments_include_the_last() {
        let states = |text: &str| text.parse::<Fragments>().unwrap().ranges();
        let (first, middle) = (FIRST_FRAGMENT, LATER_FRAGMENT);
        let last = middle | LAST_FRAGMENT;
        let whole = DONT_FRAGMENT;
        for (text, expected) in [
            ("first", [true, false, false, false]),
            ("later", [false, true, true, false]),
            ("last", [false, false, true, false]),
            ("any", [true, true, true, false]),
            ("none", [false, false, false, true]),
            ("dont-fragment", [false, false, false, true]),
            ("first,last", [true, false, true, false]),
        ] {
            let ranges = states(text);
            assert_eq!(
                [first, middle, last, whole].map(|s| ranges.contains(s)),
                expected,
                "{text}"
            );
            assert_eq!(text.parse::<Fragments>().unwrap().to_string(), text);
        }
        assert!(states("none").contains(0) && !states("dont-fragment").contains(0));
        assert!("middle".parse::<Fragments>().is_err());
    }
}
