// SPDX-License-Identifier: AGPL-3.0-only
//! Declares each part of a rule once. The table below generates [`Rule`], its words on the command line and in
//! files, its table in the configuration, its JSON, the options of `rfm firewall add` and their completions. It
//! does not generate the kernel's part, [`Match`](super::Match).

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use serde::ser::SerializeStruct;
use serde::{Deserialize, Serialize, Serializer};

use super::kinds::{
    Interfaces, MAX_PATTERNS, Name, PartError, PartForm, PartKind, PatternCache, Rate, TTLS, Text,
    Ttl,
};
use super::{Action, Per, PortRange, Protocol};
use crate::types::duration;
use crate::types::interface_pattern::Pattern;
use crate::types::prefix::Prefix;

/// Calls a macro with all parts, in the order in which they are listed:
/// - `option`: its name on the command line;
/// - `Kind`, `Role`: how its value is read and displayed, and its meaning in the rule;
/// - `expected`: the valid words, with examples between \`\`; a kind of names lists them itself;
/// - `json`: the field of the JSON;
/// - `argument`, `help`: the option of the command; the argument also determines what a shell proposes;
/// - `text`, `example`: its purpose and a value in the documents of the configuration.
macro_rules! rule_parts {
    ($then:ident) => {
        $then! {
            src: Option<Prefix> = Text<Prefix>, Match {
                option: "src",
                expected: "a prefix such as `10.0.0.0/8`",
                json: src,
                argument: "prefix",
                help: "source address or prefix",
                text: "Source prefix.",
                example: "\"192.0.2.0/24\"",
            }
            dst: Option<Prefix> = Text<Prefix>, Match {
                option: "dst",
                expected: "a prefix such as `10.0.0.0/8`",
                json: dst,
                argument: "prefix",
                help: "destination address or prefix",
                text: "Destination prefix.",
                example: "\"198.51.100.0/24\"",
            }
            proto: Option<Protocol> = Text<Protocol>, Match {
                option: "protocol",
                expected: "a protocol such as `tcp` or `47`",
                json: proto,
                argument: "protocol",
                help: "protocol: tcp, udp, icmp, icmpv6, sctp, gre, esp, or a number",
                text: "Protocol, a name or a number.",
                example: "\"udp\"",
            }
            dport: Option<PortRange> = Text<PortRange>, Match {
                option: "dport",
                expected: "ports such as `80` or `6000-6063`",
                json: dport,
                argument: "ports",
                help: "destination port or range of ports: 80, 6000-6063",
                text: "Destination port or ports.",
                example: "\"6000-6063\"",
            }
            interface: Option<Pattern> = Interfaces, Match {
                option: "interface",
                expected: "a regular expression or \"*\"",
                json: interface,
                argument: "name",
                help: "interface, or a pattern of interfaces",
                text: "Pattern of interfaces.",
                example: "\"*\"",
            }
            action: Action = Name<Action>, Action {
                option: "action",
                expected: "",
                json: action,
                argument: "action",
                help: "action: drop, pass, count (then the next rule is evaluated) or limit (default: drop)",
                text: "\"drop\", \"pass\", \"count\" (counts only, the next rules are evaluated) or \"limit\".",
                example: "",
            }
            rate: Option<u32> = Rate, Limit {
                option: "rate",
                expected: "packets per second",
                json: rate,
                argument: "pps",
                help: "packets per second that limit passes",
                text: "Packets per second that pass, for \"limit\" only.",
                example: "1000",
            }
            per: Per = Name<Per>, Limit {
                option: "per",
                expected: "",
                json: per,
                argument: "scope",
                help: "scope of the rate: rule, or source, which is an IPv4 address or the /64 of an IPv6 \
                       address (default: rule)",
                text: "To which packets the rate applies: \"rule\" (all it matches together) or \"source\" (each address, or \
                       IPv6 /64).",
                example: "",
            }
            ttl: Option<Duration> = Ttl, Lifetime {
                option: "ttl",
                expected: "",
                json: ttl_seconds,
                argument: "time",
                help: "time after which the rule expires: 10m",
                text: "Ends the rule after this time.",
                example: "\"10m\"",
            }
        }
    };
}
pub(crate) use rule_parts;

/// The meaning of a part in its rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PartRole {
    /// A condition on a packet.
    Match,
    /// Always displayed, before all others.
    Action,
    /// A parameter of the action.
    Limit,
    /// When the rule expires. Two rules that differ only in this are the same rule.
    Lifetime,
}

/// A part of a rule, without its value.
#[derive(Debug)]
pub struct RulePart {
    pub name: &'static str,
    /// Its name on the command line, where `name` is also accepted.
    pub option: &'static str,
    pub role: PartRole,
    pub form: PartForm,
    pub argument: &'static str,
    pub help: &'static str,
    /// The description of the key in the configuration.
    pub text: &'static str,
    /// An example value for the documents, as TOML; may be empty.
    pub example: &'static str,
    expected: &'static str,
    words: fn() -> Vec<&'static str>,
    read: fn(&mut Rule, &str, &mut PatternCache) -> Result<(), PartError>,
    is_shown: fn(&Rule) -> bool,
    write: fn(&Rule, &mut fmt::Formatter<'_>) -> fmt::Result,
    copy: fn(&Rule, &mut Rule),
}

macro_rules! define {
    ($($name:ident: $field:ty = $kind:ty, $role:ident {
        option: $option:literal,
        expected: $expected:literal,
        json: $json:ident,
        argument: $argument:literal,
        help: $help:literal,
        text: $text:literal,
        example: $example:literal,
    })*) => {
        /// A rule as an operator writes it.
        #[derive(Clone, Debug, Default, PartialEq)]
        pub struct Rule {
            $(#[doc = $help] pub $name: $field,)*
        }

        pub static PARTS: [RulePart; RuleArgs::COUNT] = [$(RulePart {
            name: stringify!($name),
            option: $option,
            role: PartRole::$role,
            form: <$kind>::FORM,
            argument: $argument,
            help: $help,
            text: $text,
            example: $example,
            expected: $expected,
            words: <$kind>::words,
            read: |rule, text, patterns| {
                rule.$name = <$kind>::read(text, patterns)?;
                Ok(())
            },
            is_shown: |rule| PartRole::$role == PartRole::Action || rule.$name != <$field>::default(),
            write: |rule, f| <$kind>::write(&rule.$name, f),
            copy: |from, to| to.$name.clone_from(&from.$name),
        }),*];

        /// A rule whose parts are words, in the order of [`PARTS`].
        #[derive(Clone, Debug, Default, PartialEq, Eq)]
        pub struct RuleArgs<'a>([Option<Cow<'a, str>>; RuleArgs::COUNT]);

        impl RuleArgs<'_> {
            const COUNT: usize = [$(stringify!($name)),*].len();
        }

        /// A rule in the JSON of the control API, in the words of the command line. A part that is not set matches
        /// everything, or has its default.
        #[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
        #[serde(deny_unknown_fields)]
        pub struct FirewallRule {
            $(
                #[doc = $help]
                #[serde(skip_serializing_if = "Option::is_none")]
                pub $json: Option<<$kind as PartKind>::Json>,
            )*
        }

        impl From<&Rule> for FirewallRule {
            fn from(rule: &Rule) -> Self {
                let mut parts = PARTS.iter();
                let mut is_shown = || parts.next().is_some_and(|part| part.is_shown(rule));
                Self {
                    $($json: is_shown().then(|| <$kind>::to_json(&rule.$name)).flatten(),)*
                }
            }
        }

        impl FirewallRule {
            pub fn args(&self) -> RuleArgs<'_> {
                RuleArgs([$(self.$json.as_ref().map(<$kind>::json_to_word)),*])
            }
        }

        /// Serializes the rule as in the configuration.
        impl Serialize for Rule {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                let mut parts = PARTS.iter();
                let mut fields = serializer.serialize_struct("Rule", PARTS.len())?;
                $(
                    match parts.next().is_some_and(|part| part.is_shown(self)) {
                        true => fields.serialize_field(stringify!($name), &<$kind>::to_toml(&self.$name))?,
                        false => fields.skip_field(stringify!($name))?,
                    }
                )*
                fields.end()
            }
        }

        /// The key that equal rules share; the lifetime is not part of it.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub struct RuleKey<'a> {
            $($name: Option<<$kind as PartKind>::Key<'a>>,)*
        }

        impl Rule {
            pub fn key(&self) -> RuleKey<'_> {
                RuleKey {
                    $($name: (PartRole::$role != PartRole::Lifetime).then(|| <$kind>::key(&self.$name)),)*
                }
            }
        }
    };
}
rule_parts!(define);

impl RulePart {
    /// Reads the part of `rule` from a word.
    pub fn read(
        &self,
        rule: &mut Rule,
        text: &str,
        patterns: &mut PatternCache,
    ) -> Result<(), PartError> {
        (self.read)(rule, text, patterns)
    }

    /// Returns whether the part of `rule` differs from its default; an action is always displayed.
    pub fn is_shown(&self, rule: &Rule) -> bool {
        (self.is_shown)(rule)
    }

    /// Copies the part from `from` to `to`.
    pub fn copy(&self, from: &Rule, to: &mut Rule) {
        (self.copy)(from, to);
    }

    /// Returns the part of `rule` as a word.
    pub fn word(&self, rule: &Rule) -> String {
        PartWord { part: self, rule }.to_string()
    }

    /// Returns the description of the valid values for the configuration.
    pub fn expected_text(&self) -> String {
        self.expected.replace('`', "\"")
    }

    /// Returns the unit of a number.
    pub fn unit(&self) -> Option<&'static str> {
        matches!(self.form, PartForm::Number { .. }).then_some(self.expected)
    }

    /// Returns the values that a shell proposes.
    pub fn words(&self) -> Vec<&'static str> {
        (self.words)()
    }

    /// Returns the description of the valid words of the command line.
    fn expected(&self) -> String {
        match self.form {
            PartForm::Text => self.expected.replace('`', ""),
            PartForm::Name => match &self.words()[..] {
                [words @ .., last] => format!("{} or {last}", words.join(", ")),
                [] => String::new(),
            },
            PartForm::Number { min, max } => format!("{} from {min} to {max}", self.expected),
            PartForm::Duration => duration::expected(&TTLS, false),
        }
    }
}

/// A part of a rule as a word.
struct PartWord<'a> {
    part: &'a RulePart,
    rule: &'a Rule,
}

impl fmt::Display for PartWord<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (self.part.write)(self.rule, f)
    }
}

/// Displays the rule in the form that [`RuleArgs`] reads, without its lifetime.
impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_first = |part: &&RulePart| part.role == PartRole::Action;
        let first = PARTS.iter().filter(is_first);
        let others = PARTS.iter().filter(|part| !is_first(part));
        let shown = |part: &&RulePart| part.role != PartRole::Lifetime && part.is_shown(self);
        for (n, part) in first.chain(others).filter(shown).enumerate() {
            let space = if n == 0 { "" } else { " " };
            write!(f, "{space}--{} ", part.name)?;
            (part.write)(self, f)?;
        }
        Ok(())
    }
}

impl<'a> RuleArgs<'a> {
    /// Builds the arguments from the words of all parts, in the order of [`PARTS`].
    pub fn new(words: [Option<Cow<'a, str>>; RuleArgs::COUNT]) -> Self {
        Self(words)
    }

    /// Returns the word of a part, to be set, by either name. `None` if there is no such part.
    pub fn get_mut(&mut self, name: &str) -> Option<&mut Option<Cow<'a, str>>> {
        let called = |part: &RulePart| part.name == name || part.option == name;
        let at = PARTS.iter().position(called)?;
        self.0.get_mut(at)
    }

    /// Iterates over the parts, each with its word.
    pub fn iter(&self) -> impl Iterator<Item = (&'static RulePart, Option<&str>)> {
        PARTS.iter().zip(self.0.iter().map(Option::as_deref))
    }

    /// Parses the rule, or returns an error that names the part.
    pub fn rule(&self, patterns: &mut PatternCache) -> Result<Rule, String> {
        let mut rule = Rule::default();
        for (part, text) in self.iter() {
            if let Some(text) = text {
                let read = part.read(&mut rule, text, patterns);
                read.map_err(|error| part.error(text, error))?;
            }
        }
        match rule.faults().into_iter().next() {
            Some((name, fault)) => Err(format!("{name}: {fault}")),
            None => Ok(rule),
        }
    }
}

impl RulePart {
    fn error(&self, text: &str, error: PartError) -> String {
        let name = self.name;
        let reason = match error {
            PartError::TooManyPatterns => {
                return format!("{name}: expected at most {MAX_PATTERNS} different patterns");
            }
            PartError::Invalid(Some(reason)) if self.form == PartForm::Text => {
                format!(" ({reason})")
            }
            PartError::Invalid(_) => String::new(),
        };
        let (expected, text) = (self.expected(), text.escape_debug());
        format!("{name}: expected {expected}, got \"{text}\"{reason}")
    }
}
