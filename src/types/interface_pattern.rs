// SPDX-License-Identifier: AGPL-3.0-only
//! Selects interfaces by regular expressions over the whole name.

use std::fmt;
use std::str::FromStr;

use regex_lite::{Regex, RegexBuilder};

/// The memory limit of one compiled pattern; interface names have at most 15 bytes.
const SIZE_LIMIT: usize = 64 * 1024;

/// One pattern: "*" for everything but loopback, otherwise a regular expression.
#[derive(Clone, Debug)]
pub struct Pattern {
    text: String,
    /// `None` for "*".
    regex: Option<Regex>,
}

impl Pattern {
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Returns true for "*".
    pub fn is_wildcard(&self) -> bool {
        self.regex.is_none()
    }

    /// Returns whether the pattern matches this interface; `is_loopback`: its type is ARPHRD_LOOPBACK.
    pub fn matches(&self, name: &str, is_loopback: bool) -> bool {
        match &self.regex {
            None => !is_loopback,
            Some(regex) => regex.is_match(name),
        }
    }
}

impl FromStr for Pattern {
    type Err = regex_lite::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let regex = if text == "*" {
            None
        } else {
            // First without the parentheses: `a)|(b` is an error, but would be valid between ours.
            compile(text)?;
            Some(compile(&format!("^(?:{text})$"))?)
        };
        Ok(Self {
            text: text.to_owned(),
            regex,
        })
    }
}

fn compile(pattern: &str) -> Result<Regex, regex_lite::Error> {
    RegexBuilder::new(pattern).size_limit(SIZE_LIMIT).build()
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

super::named::serialize_as_text!(Pattern);

/// `interfaces` and `exclude_interfaces` together; exclusion wins.
#[derive(Clone, Debug, PartialEq)]
pub struct Patterns {
    include: Vec<Pattern>,
    exclude: Vec<Pattern>,
}

impl Patterns {
    pub fn new(include: Vec<Pattern>, exclude: Vec<Pattern>) -> Self {
        Self { include, exclude }
    }

    /// Returns whether the interface is to be monitored.
    pub fn matches(&self, name: &str, is_loopback: bool) -> bool {
        self.include.iter().any(|p| p.matches(name, is_loopback))
            && !self.excludes(name, is_loopback)
    }

    /// Returns true if only loopback may be excluded.
    pub fn watch_all(&self) -> bool {
        self.exclude.is_empty() && self.include.iter().any(Pattern::is_wildcard)
    }

    /// Returns for each pattern of `interfaces`, in the order of the file, how many of these interfaces (name,
    /// is loopback) are monitored because of it. A pattern with a count of 0 may be a mistake.
    pub fn counts<'a>(
        &self,
        interfaces: impl IntoIterator<Item = (&'a str, bool)>,
    ) -> Vec<(&str, u64)> {
        let mut counts: Vec<_> = self.include.iter().map(|p| (p.as_str(), 0)).collect();
        for (name, is_loopback) in interfaces {
            if self.excludes(name, is_loopback) {
                continue;
            }
            for (pattern, (_, count)) in self.include.iter().zip(&mut counts) {
                *count += u64::from(pattern.matches(name, is_loopback));
            }
        }
        counts
    }

    fn excludes(&self, name: &str, is_loopback: bool) -> bool {
        self.exclude.iter().any(|p| p.matches(name, is_loopback))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn patterns(include: &[&str], exclude: &[&str]) -> Patterns {
        let parse = |list: &[&str]| list.iter().map(|p| p.parse().unwrap()).collect();
        Patterns::new(parse(include), parse(exclude))
    }

    #[test]
    fn a_pattern_means_the_whole_name() {
        for (pattern, name, expected) in [
            ("eth0", "eth0", true),
            ("eth0", "eth01", false),
            ("eth0", "veth0", false),
            ("eth0|wan", "wan", true),
            ("eth0|wan", "eth0wan", false),
            ("a|ab", "ab", true),
            ("eth.*", "eth0.100", true),
            ("eth0.100", "eth0.100", true),
            ("(?i)WAN", "wan", true),
            ("", "eth0", false),
            (".*", "lo", true),
            ("eth0", "eth0\n", false),
        ] {
            let got = patterns(&[pattern], &[]).matches(name, name == "lo");
            assert_eq!(got, expected, "{pattern} on {name:?}");
        }
    }

    #[test]
    fn the_wildcard_leaves_out_loopback_whatever_its_name() {
        let all = patterns(&["*"], &[]);
        assert!(all.matches("eth0", false));
        assert!(!all.matches("lo", true));
        assert!(all.matches("lo", false));
        assert!(patterns(&["*", "lo"], &[]).matches("lo", true));
    }

    #[test]
    fn exclusion_wins() {
        let p = patterns(&["*", "wg0"], &["wg.*"]);
        assert!(p.matches("eth0", false));
        assert!(!p.matches("wg0", false));
        assert!(!p.watch_all());
        assert!(patterns(&["*"], &[]).watch_all());
        assert!(!patterns(&["eth0"], &[]).watch_all());
    }

    #[test]
    fn counts_name_the_pattern_that_watches() {
        let p = patterns(&["eth.*", "eth0", "ppp0", "*"], &["eth2"]);
        let interfaces = [
            ("lo", true),
            ("eth0", false),
            ("eth1", false),
            ("eth2", false),
            ("wan", false),
        ];
        assert_eq!(
            p.counts(interfaces),
            [("eth.*", 2), ("eth0", 1), ("ppp0", 0), ("*", 3)]
        );
    }

    #[test]
    fn what_is_no_expression_is_refused() {
        for text in ["(", "a)|(b", "[", "**", "+", "a{1000}{1000}{1000}"] {
            assert!(text.parse::<Pattern>().is_err(), "{text}");
        }
    }
}
