// SPDX-License-Identifier: AGPL-3.0-only
//! Declares each part of a rule once. The table below generates [`Rule`], its words on the command line and in
//! files, its table in the configuration, its JSON, the options of `rfm firewall add` and their completions. It
//! does not generate the kernel's part, [`Match`](super::Match).

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use serde::ser::SerializeStruct;
use serde::{Deserialize, Serialize, Serializer};

use super::fields::{
    DestinationPorts, Dscps, FlowLabels, IcmpCodes, IcmpTypes, Lengths, Ports, Protocols,
    SourcePorts,
};
use super::flags::{Fragments, TcpFlags};
use super::kinds::{
    Burst, Interfaces, MAX_PATTERNS, Name, PartError, PartForm, PartKind, PatternCache, Rate, TTLS,
    Text, Ttl,
};
use super::rate::LimitRate;
use super::{Action, Per};
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
            proto: Option<Protocols> = Text<Protocols>, Match {
                option: "protocol",
                expected: "protocols such as `tcp`, `47` or `tcp,udp`",
                json: proto,
                argument: "protocol",
                help: "protocol: tcp, udp, icmp, icmpv6, sctp, gre, esp, or a number; or a list: tcp,udp",
                text: "Protocol, a name or a number, or a list.",
                example: "\"udp\"",
            }
            sport: Option<SourcePorts> = Text<SourcePorts>, Match {
                option: "sport",
                expected: "ports such as `80` or `53,6000-6063`",
                json: sport,
                argument: "ports",
                help: "source ports: 53, 6000-6063 or a list of these",
                text: "Source ports, a list of numbers and ranges.",
                example: "\"53,123,11211\"",
            }
            dport: Option<DestinationPorts> = Text<DestinationPorts>, Match {
                option: "dport",
                expected: "ports such as `80` or `53,6000-6063`",
                json: dport,
                argument: "ports",
                help: "destination ports: 80, 6000-6063 or a list of these",
                text: "Destination ports, a list of numbers and ranges.",
                example: "\"6000-6063\"",
            }
            port: Option<Ports> = Text<Ports>, Match {
                option: "port",
                expected: "ports such as `80` or `53,6000-6063`",
                json: port,
                argument: "ports",
                help: "ports of which one side has one: 53, 6000-6063 or a list of these",
                text: "Ports, of which the source or the destination port is one.",
                example: "\"53\"",
            }
            tcp_flags: Option<TcpFlags> = Text<TcpFlags>, Match {
                option: "tcp-flags",
                expected: "flags such as `syn/syn,ack` or `rst`",
                json: tcp_flags,
                argument: "flags",
                help: "TCP flags: of those after the slash, exactly those before it are set, as in syn/syn,ack; alternatives: syn|rst",
                text: "TCP flags: of those after the slash, exactly those before it are set; \"rst\" is \"rst/rst\". Alternatives: \"syn|rst\".",
                example: "\"syn/syn,ack\"",
            }
            icmp_type: Option<IcmpTypes> = Text<IcmpTypes>, Match {
                option: "icmp-type",
                expected: "types such as `8` or `3,11`",
                json: icmp_type,
                argument: "types",
                help: "ICMP or ICMPv6 types: 8, 128-129 or a list of these",
                text: "Types of ICMP or ICMPv6, a list of numbers and ranges.",
                example: "\"8\"",
            }
            icmp_code: Option<IcmpCodes> = Text<IcmpCodes>, Match {
                option: "icmp-code",
                expected: "codes such as `0` or `0-3`",
                json: icmp_code,
                argument: "codes",
                help: "ICMP or ICMPv6 codes: 0, 1-3 or a list of these",
                text: "Codes of ICMP or ICMPv6, a list of numbers and ranges.",
                example: "\"0\"",
            }
            length: Option<Lengths> = Text<Lengths>, Match {
                option: "length",
                expected: "lengths such as `40` or `1000-1500`",
                json: length,
                argument: "bytes",
                help: "lengths of the IP packet with its header: 40, 1000-1500 or a list of these",
                text: "Lengths of the IP packet with its header, a list of numbers and ranges.",
                example: "\"1000-1500\"",
            }
            fragment: Option<Fragments> = Text<Fragments>, Match {
                option: "fragment",
                expected: "`first`, `later`, `last`, `any`, `none` or `dont-fragment`, or a list",
                json: fragment,
                argument: "kinds",
                help: "fragment: first, later (with the last), last, any, none or dont-fragment (the flag), or a list",
                text: "Fragments: \"first\", \"later\" (with the last), \"last\", \"any\", \"none\" (whole packets), \"dont-fragment\" (the flag), or a list.",
                example: "\"first,later\"",
            }
            dscp: Option<Dscps> = Text<Dscps>, Match {
                option: "dscp",
                expected: "classes such as `ef`, `0` or `cs1,10-14`",
                json: dscp,
                argument: "classes",
                help: "DSCP: 0, 10-14, a name such as ef, or a list of these",
                text: "DSCP, a list of names, numbers and ranges.",
                example: "\"ef,cs5\"",
            }
            flow_label: Option<FlowLabels> = Text<FlowLabels>, Match {
                option: "flow-label",
                expected: "labels such as `0` or `1-1048575`",
                json: flow_label,
                argument: "labels",
                help: "IPv6 flow labels: 0, 1-1048575 or a list of these",
                text: "Flow labels of IPv6, a list of numbers and ranges.",
                example: "\"0\"",
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
            rate: Option<LimitRate> = Rate, Limit {
                option: "rate",
                expected: "packets per second such as `1000`, or bits per second such as `10mbit`",
                json: rate,
                argument: "rate",
                help: "packets per second that limit passes, or bits per second with a unit: 10mbit",
                text: "Packets per second that pass, or bits per second such as \"10mbit\", for \"limit\" only.",
                example: "1000",
            }
            burst: Option<u32> = Burst, Limit {
                option: "burst",
                expected: "packets, or bytes if the rate is in bits",
                json: burst,
                argument: "burst",
                help: "packets, or bytes for a rate in bits, that pass at once after a pause (default: a tenth of a second)",
                text: "Packets, or bytes if the rate is in bits, that pass at once after a pause; unset: those of a tenth of a second.",
                example: "500",
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
            PartForm::Text | PartForm::NumberOrText => self.expected.replace('`', ""),
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
            PartError::Invalid(Some(reason))
                if matches!(self.form, PartForm::Text | PartForm::NumberOrText) =>
            {
                format!(" ({reason})")
            }
            PartError::Invalid(_) => String::new(),
        };
        let (expected, text) = (self.expected(), text.escape_debug());
        format!("{name}: expected {expected}, got \"{text}\"{reason}")
    }
}
