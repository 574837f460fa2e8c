// SPDX-License-Identifier: AGPL-3.0-only
//! Patterns of BGP communities.

use std::fmt;
use std::str::FromStr;

use super::named::serialize_as_text;

/// A pattern for communities (RFC 1997), such as `64500:*`, or for large communities (RFC 8092), such as
/// `64500:1:*`. An asterisk matches any number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CommunityPattern {
    Plain([Option<u16>; 2]),
    Large([Option<u32>; 3]),
}

impl CommunityPattern {
    pub fn matches(self, community: u32) -> bool {
        let parts = [(community >> 16) as u16, community as u16];
        matches!(self, Self::Plain(pattern) if fits(pattern, parts))
    }

    pub fn matches_large(self, community: [u32; 3]) -> bool {
        matches!(self, Self::Large(pattern) if fits(pattern, community))
    }
}

fn fits<T: PartialEq, const N: usize>(pattern: [Option<T>; N], parts: [T; N]) -> bool {
    let mut pairs = pattern.into_iter().zip(parts);
    pairs.all(|(wanted, part)| wanted.is_none_or(|wanted| wanted == part))
}

fn part<T: FromStr>(text: &str) -> Result<Option<T>, &'static str> {
    match text {
        "*" => Ok(None),
        number => number
            .parse()
            .map(Some)
            .map_err(|_| "a part is neither \"*\" nor a number of 16 bits (large communities: 32)"),
    }
}

impl FromStr for CommunityPattern {
    type Err = &'static str;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        match s.split(':').collect::<Vec<_>>()[..] {
            [a, b] => Ok(Self::Plain([part(a)?, part(b)?])),
            [a, b, c] => Ok(Self::Large([part(a)?, part(b)?, part(c)?])),
            _ => Err("neither two nor three parts"),
        }
    }
}

impl fmt::Display for CommunityPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |part: Option<u32>| part.map_or("*".to_owned(), |n| n.to_string());
        let parts = match *self {
            Self::Plain(parts) => parts.map(|part| shown(part.map(u32::from))).join(":"),
            Self::Large(parts) => parts.map(shown).join(":"),
        };
        f.write_str(&parts)
    }
}

serialize_as_text!(CommunityPattern);

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(text: &str) -> CommunityPattern {
        text.parse().unwrap()
    }

    #[test]
    fn an_asterisk_matches_any_number() {
        let community = 64500 << 16 | 7;
        for (text, plain, large) in [
            ("64500:*", true, false),
            ("*:7", true, false),
            ("64500:7", true, false),
            ("64500:8", false, false),
            ("64501:*", false, false),
            ("64500:*:*", false, true),
            ("64500:1:2", false, true),
            ("64500:1:3", false, false),
        ] {
            assert_eq!(pattern(text).matches(community), plain, "{text}");
            assert_eq!(pattern(text).matches_large([64500, 1, 2]), large, "{text}");
            assert_eq!(pattern(text).to_string(), text);
        }
    }

    #[test]
    fn other_texts_are_refused() {
        for text in [
            "",
            "64500",
            "65536:1",
            "1:65536",
            "1:2:3:4",
            "a:*",
            "1:",
            "1:2:4294967296",
        ] {
            assert!(text.parse::<CommunityPattern>().is_err(), "{text}");
        }
    }
}
