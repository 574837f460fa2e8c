// SPDX-License-Identifier: AGPL-3.0-only
//! A rule in the words of the command line: `--src 192.0.2.0/24 --proto udp --action drop`.

use std::collections::HashMap;
use std::fmt::{self, Display};
use std::str::FromStr;
use std::time::Duration;

use humantime_serde::re::humantime;

use crate::config::MAX_DURATION;
use crate::types::did_you_mean::nearest;
use crate::types::interface_pattern::Pattern;
use crate::types::named::Named;
use crate::types::rule::{Action, DEFAULT_ACTION, MAX_RATE, Per, Rule};

/// The options of a rule, as they are typed.
pub const OPTIONS: [&str; 9] = [
    "src",
    "dst",
    "proto",
    "dport",
    "interface",
    "action",
    "rate",
    "per",
    "ttl",
];

/// The values of the options, by their place in [`OPTIONS`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Words<'a>(pub [Option<&'a str>; OPTIONS.len()]);

/// Each pattern of interfaces is compiled once, however many rules name it.
#[derive(Default)]
pub struct Known(HashMap<String, Pattern>);

/// Distinct patterns in one batch: a pattern is a small program, kept for as long as its rule.
pub const MAX_PATTERNS: usize = 256;

impl Known {
    fn pattern(&mut self, text: &str) -> Result<Pattern, String> {
        if let Some(pattern) = self.0.get(text) {
            return Ok(pattern.clone());
        }
        if self.0.len() == MAX_PATTERNS {
            return Err(format!(
                "interface: expected at most {MAX_PATTERNS} different patterns"
            ));
        }
        let pattern: Pattern = read("interface", "a regular expression or \"*\"", text)?;
        self.0.insert(text.to_owned(), pattern.clone());
        Ok(pattern)
    }
}

impl Words<'_> {
    /// The rule, or what is wrong with it.
    pub fn rule(&self, known: &mut Known) -> Result<Rule, String> {
        const PREFIX: &str = "a prefix such as 10.0.0.0/8";
        let [src, dst, proto, dport, interface, action, rate, per, ttl] = self.0;
        let rule = Rule {
            src: optional("src", PREFIX, src)?,
            dst: optional("dst", PREFIX, dst)?,
            proto: optional("proto", "a protocol such as tcp or 47", proto)?,
            dport: optional("dport", "ports such as 80 or 6000-6063", dport)?,
            interface: interface.map(|text| known.pattern(text)).transpose()?,
            action: action.map_or(Ok(DEFAULT_ACTION), read_action)?,
            rate: rate.map(read_rate).transpose()?,
            per: per.map_or(Ok(Per::Rule), |text| {
                read_name("per", "rule or source", text)
            })?,
            ttl: ttl.map(read_ttl).transpose()?,
        };
        check(&rule)?;
        Ok(rule)
    }
}

/// Whether the parts of a rule fit together.
pub fn check(rule: &Rule) -> Result<(), String> {
    match rule.faults().into_iter().next() {
        Some((key, fault)) => Err(format!("{key}: {fault}")),
        None => Ok(()),
    }
}

fn optional<T>(name: &str, expected: &str, text: Option<&str>) -> Result<Option<T>, String>
where
    T: FromStr<Err: Display>,
{
    text.map(|text| read(name, expected, text)).transpose()
}

fn read<T>(name: &str, expected: &str, text: &str) -> Result<T, String>
where
    T: FromStr<Err: Display>,
{
    text.parse()
        .map_err(|reason| format!("{} ({reason})", wrong(name, expected, text)))
}

fn wrong(name: &str, expected: &str, text: &str) -> String {
    format!(
        "{name}: expected {expected}, got \"{}\"",
        text.escape_debug()
    )
}

/// "drop", "pass", "count" or "limit".
pub fn read_action(text: &str) -> Result<Action, String> {
    read_name("action", "drop, pass, count or limit", text)
}

fn read_name<T: Named>(name: &str, expected: &str, text: &str) -> Result<T, String> {
    let found = T::ALL.iter().find(|one| one.name() == text);
    found.copied().ok_or_else(|| wrong(name, expected, text))
}

fn read_rate(text: &str) -> Result<u32, String> {
    let rate = text.parse().ok();
    rate.filter(|rate| (1..=MAX_RATE).contains(rate))
        .ok_or_else(|| wrong("rate", "packets per second from 1 to 1000000000", text))
}

fn read_ttl(text: &str) -> Result<Duration, String> {
    let ttl = humantime::parse_duration(text).ok();
    ttl.filter(|ttl| (Duration::from_secs(1)..=MAX_DURATION).contains(ttl))
        .ok_or_else(|| wrong("ttl", "a time such as 10m, from 1s to 365days", text))
}

/// The words of one line; `more` are options that stand there beside those of a rule, and come back
/// with their values.
pub fn parse<'a, const N: usize>(
    line: &'a str,
    more: [&str; N],
) -> Result<(Words<'a>, [Option<&'a str>; N]), String> {
    let mut words = Words::default();
    let mut others = [None; N];
    let mut rest = line.split_whitespace();
    while let Some(word) = rest.next() {
        let Some(option) = word.strip_prefix("--") else {
            return Err(format!(
                "expected an option such as --src, got \"{}\"",
                word.escape_debug()
            ));
        };
        let (name, value) = match option.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (option, rest.next()),
        };
        let slot = match OPTIONS.iter().position(|known| *known == name) {
            Some(at) => Some(&mut words.0[at]),
            None => {
                let at = more.iter().position(|known| *known == name);
                at.map(|at| &mut others[at])
            }
        };
        let slot = slot.ok_or_else(|| unknown(name))?;
        if slot.is_some() {
            return Err(format!("--{name} is given twice"));
        }
        *slot = Some(value.ok_or_else(|| format!("--{name} has no value"))?);
    }
    Ok((words, others))
}

fn unknown(name: &str) -> String {
    let shown = name.escape_debug();
    match nearest(name, OPTIONS.iter().copied()) {
        Some(near) => format!("unknown option --{shown}, did you mean --{near}?"),
        None => format!(
            "unknown option --{shown}, expected one of --{}",
            OPTIONS.join(", --")
        ),
    }
}

/// A rule as [`parse`] reads it.
pub struct Shown<'a>(pub &'a Rule);

impl Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rule = self.0;
        write!(f, "--action {}", rule.action.name())?;
        let mut part = |name: &str, value: Option<&dyn Display>| match value {
            Some(value) => write!(f, " --{name} {value}"),
            None => Ok(()),
        };
        part("src", rule.src.as_ref().map(|v| v as _))?;
        part("dst", rule.dst.as_ref().map(|v| v as _))?;
        part("proto", rule.proto.as_ref().map(|v| v as _))?;
        part("dport", rule.dport.as_ref().map(|v| v as _))?;
        part("interface", rule.interface.as_ref().map(|v| v as _))?;
        part("rate", rule.rate.as_ref().map(|v| v as _))?;
        let per = (!rule.per.is_rule()).then(|| rule.per.name());
        part("per", per.as_ref().map(|v| v as _))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(line: &str) -> Result<Rule, String> {
        parse(line, [])?.0.rule(&mut Known::default())
    }

    #[test]
    fn what_is_shown_is_read_back() {
        for line in [
            "--action drop",
            "--action drop --src 192.0.2.0/24",
            "--action pass --dst 2001:db8::/32 --interface eth.*",
            "--action limit --src 192.0.2.1/32 --dst 198.51.100.0/24 --proto udp --dport 6000-6063 --rate 1000 --per source",
            "--action count --proto 89",
        ] {
            assert_eq!(Shown(&rule(line).unwrap()).to_string(), line);
        }
        let rule = rule("--src=::1 --ttl 10m").unwrap();
        assert_eq!(rule.ttl, Some(Duration::from_secs(600)));
        assert_eq!(rule.action, Action::Drop);
    }

    #[test]
    fn mistakes_are_named() {
        for (line, expected) in [
            (
                "192.0.2.1",
                "expected an option such as --src, got \"192.0.2.1\"",
            ),
            (
                "--scr 192.0.2.1",
                "unknown option --scr, did you mean --src?",
            ),
            ("--src", "--src has no value"),
            ("--src ::1 --src ::2", "--src is given twice"),
            (
                "--src 192.0.2.1/24",
                "src: expected a prefix such as 10.0.0.0/8, got \"192.0.2.1/24\" \
                 (has bits beyond its length, the prefix would be 192.0.2.0/24)",
            ),
            (
                "--dport 80",
                "dport: needs a proto with ports, such as \"tcp\"",
            ),
            ("--action limit", "rate: required with action \"limit\""),
            ("--rate 5", "rate: needs action \"limit\""),
            ("--per source", "per: needs action \"limit\""),
            (
                "--action limit --rate 5 --per packet",
                "per: expected rule or source, got \"packet\"",
            ),
            (
                "--action limit --rate 0",
                "rate: expected packets per second from 1 to 1000000000, got \"0\"",
            ),
            (
                "--ttl 1ms",
                "ttl: expected a time such as 10m, from 1s to 365days, got \"1ms\"",
            ),
            (
                "--action deny",
                "action: expected drop, pass, count or limit, got \"deny\"",
            ),
            (
                "--src ::/0 --dst 0.0.0.0/0",
                "dst: expected the family of src (::/0), got 0.0.0.0/0",
            ),
        ] {
            assert_eq!(rule(line), Err(expected.into()), "{line}");
        }
        let bad = rule("--interface (").unwrap_err();
        assert!(
            bad.starts_with("interface: expected a regular expression"),
            "{bad}"
        );
    }

    #[test]
    fn patterns_are_compiled_once_and_bounded() {
        let mut known = Known::default();
        for n in 0..MAX_PATTERNS {
            known.pattern(&format!("eth{n}")).unwrap();
        }
        assert!(known.pattern("eth0").is_ok());
        assert!(known.pattern("wan").is_err());
    }
}
